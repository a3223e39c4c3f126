"""The model folder: everything that a trained model needs, in one folder that can be copied and handed on.

    albert_config.json    the architecture, with the dropout rates that were used
    spiece.model          the vocabulary; vocab.txt where it is of word pieces
    model.json            what is predicted, and how text becomes rows; see `description`
    model.ckpt-best       the weights, and other checkpoints of the run

`model_files` has the names of the files and finds them. No TensorFlow.
"""

import dataclasses
import logging
from pathlib import Path

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.serving import hugging_face, imported
from albert.serving.description import DESCRIPTION, ModelDescription, read_description
from albert.serving.model_files import (
    CONFIG,
    HUGGING_FACE_CONFIG,
    SENTENCEPIECE,
    WORDPIECE,
    check_folder,
    find_config,
    find_vocabulary,
)
from albert.system.files import write_bytes
from albert.system.text_encoding import read_regular
from albert.tokenization import SentencePieceTokenizer, Tokenizer


@dataclasses.dataclass(frozen=True)
class ModelFiles:
    """What a model folder holds beside the weights. Of `spm_model_file` and `vocab_file` one is None."""

    config_file: Path
    spm_model_file: Path | None
    vocab_file: Path | None
    description: ModelDescription | None


def find_model(folder: Path) -> ModelFiles:
    """The files of the model in `folder`: one that a run left, or a downloaded one.

    Raises UserError naming what is missing, or the candidates where there are several.
    """
    check_folder(folder)
    config_file = find_config(folder)
    description = read_description(folder)
    if config_file.name == HUGGING_FACE_CONFIG:
        description = _agreed(description, config_file)
    return ModelFiles(config_file, *find_vocabulary(folder), description)


def _agreed(description: ModelDescription | None, config_file: Path) -> ModelDescription | None:
    """`description`, which an exported folder has beside Hugging Face's configuration; otherwise what that says.

    Raises UserError where the two differ: the library may have written another model over an export.
    """
    theirs = imported.describe(config_file)
    if description is None:
        return theirs
    said = [(type(each.output), getattr(each.output, "names", ())) for each in (description, theirs) if each]
    if len(set(said)) > 1 or theirs is None:
        raise UserError(
            f"{config_file.parent / DESCRIPTION} describes another model than {config_file.name} beside it. Delete the "
            "first if transformers has written this folder since it was exported."
        )
    return description


def find_casing(folder: Path) -> dict[str, bool]:
    """`do_lower_case` and `keep_accents`, as far as the folder says them: in `model.json`, otherwise Hugging Face's."""
    description = read_description(folder)
    if description:
        return {"do_lower_case": description.do_lower_case, "keep_accents": description.keep_accents}
    return hugging_face.read_casing(folder)


def contents_of(
    config: AlbertConfig, tokenizer: Tokenizer | None, description: ModelDescription | None
) -> dict[str, bytes]:
    """Everything but the weights, by the names of the files; the description last, if there is one."""
    contents = {CONFIG: config.to_json_string().encode()}
    if tokenizer:
        contents[vocabulary_name(tokenizer)] = tokenizer.vocabulary_bytes
    if description:
        contents[DESCRIPTION] = description.to_json().encode()
    return contents


def vocabulary_name(tokenizer: Tokenizer) -> str:
    """The name of the vocabulary's file."""
    return SENTENCEPIECE if isinstance(tokenizer, SentencePieceTokenizer) else WORDPIECE


def write_model_folder(
    folder: Path, config: AlbertConfig, tokenizer: Tokenizer | None, description: ModelDescription | None
) -> None:
    """Puts everything but the weights into `folder`; each file whole, the description last, none that is there already.

    A pretrained model has no description, and no vocabulary where nobody named one. Raises UserError where a file of
    that name is there that says something else and is not of a run.
    """
    contents = contents_of(config, tokenizer, description)
    is_ours = (folder / DESCRIPTION).exists()
    missing = {name: data for name, data in contents.items() if _content(folder / name) != data}
    for name in missing:
        if not is_ours and name != DESCRIPTION and (folder / name).exists():
            raise UserError(
                f"{folder / name} is not the one of this run, which would leave its own there. Choose another "
                "`output_dir`, or move it away."
            )
    for name, data in missing.items():
        write_bytes(folder / name, data)
    if missing and not is_ours:
        logging.debug("Model folder: %s holds %s.", folder, ", ".join(contents))


def _content(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}), and this run would write it.") from error
