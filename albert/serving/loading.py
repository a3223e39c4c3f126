"""A model folder in memory: configuration, vocabulary, head and weights, checked to belong together."""

import dataclasses
import logging
import re
from pathlib import Path

import tensorflow as tf

from albert.albert_config import AlbertConfig, read_config
from albert.errors import UserError
from albert.heads import head_for
from albert.heads.base import Head
from albert.heads.pretraining import PretrainingHead
from albert.heads.span import SpanHead
from albert.heads.tags import TagHead
from albert.modeling import AlbertModel, VariableSpec
from albert.serving.description import DESCRIPTION, MAX_TOKENS, ModelDescription
from albert.serving.hugging_face import is_cut_as_here
from albert.serving.model_folder import find_casing, find_model
from albert.serving.sentence_transformers import tell_of_vectors
from albert.tokenization import Tokenizer, load_tokenizer
from albert.weights.loading import load_weights
from albert.weights.names import POOLER, canonical_names
from albert.weights.paths import checkpoint_prefix, open_weights

# The settings that name files in training: errors speak of them, but a folder is all that is given here.
_FILE_SETTING = re.compile("`(albert_config|spm_model|vocab)_file`=")
# Masked words and the order of sentences, each with its own variables.
PRETRAINING_HEADS = ("cls/predictions/", "cls/seq_relationship/")


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model that can be used. `description` and `head` are None where it was only pretrained.

    `has_pooler`: whether the pooler's weights came from the checkpoint. `unused`: what else the checkpoint holds, but
    for the state of training.
    """

    folder: Path
    config: AlbertConfig
    tokenizer: Tokenizer
    description: ModelDescription | None
    head: Head | None
    weights: dict[str, tf.Variable]
    has_pooler: bool
    unused: tuple[str, ...] = ()

    @property
    def max_seq_length(self) -> int:
        """The longest row in tokens; of a model that does not say how long they were in training, as many as it has
        positions.
        """
        if self.description:
            return self.description.max_seq_length
        return min(MAX_TOKENS, self.config.max_position_embeddings)


def load_model(folder: Path, device: str, with_pretraining_heads: bool = False) -> LoadedModel:
    """The model in `folder`, its weights on `device`, as TensorFlow calls that.

    With `with_pretraining_heads` a model that was only pretrained keeps the weights of the heads that it has, which no
    prediction needs.

    Raises UserError for what is missing or damaged, and where two of its files are not of the same model.
    """
    files = find_model(folder)
    casing = {"do_lower_case": True} | find_casing(folder)
    try:
        config, remarks = read_config(files.config_file)
        tokenizer = load_tokenizer(files.spm_model_file, files.vocab_file, **casing)
    except UserError as error:
        raise UserError(_FILE_SETTING.sub("", str(error))) from None
    for remark in remarks:
        logging.log(logging.WARNING if remark.is_warning else logging.INFO, "%s: %s.", files.config_file, remark.text)
    description = files.description
    vocabulary = files.spm_model_file or files.vocab_file
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"{vocabulary} has {tokenizer.vocab_size} pieces, but vocab_size in {files.config_file} is "
            f"{config.vocab_size}: they are not of the same model. Copy both from where it was trained."
        )
    head = None
    if description:
        _check(description, folder, config, tokenizer, vocabulary)
        head = head_for(description.output, config)
    try:
        prefix = checkpoint_prefix(folder)
    except UserError as error:  # which speaks of the setting that names a checkpoint in training
        raise UserError(str(error).replace("`init_checkpoint`", "`model_dir`")) from None
    if head:
        _check_head(head, prefix, folder)
    specs = head.variable_specs if head else _pretraining_specs(config, prefix) if with_pretraining_heads else ()
    with tf.device(device):
        weights = AlbertModel(config, specs, seed=None).weights
    report = load_weights(prefix, weights)
    fresh = [name for name in report.fresh if not (name in POOLER and isinstance(head, SpanHead | TagHead))]
    if head and fresh:
        raise _other_model(prefix, f"has no {', '.join(fresh)}", folder)
    for text in report.remarks:
        logging.warning("%s: %s.", prefix, text)
    model = LoadedModel(folder, config, tokenizer, description, head, weights, not report.fresh, report.unused)
    if description is None:
        tell_of_vectors(folder, model.max_seq_length)
    return model


def _pretraining_specs(config: AlbertConfig, prefix: Path) -> list[VariableSpec]:
    """The variables of those pretraining heads that the checkpoint holds whole."""
    with open_weights(prefix) as reader:
        entries = canonical_names(reader.get_variable_to_shape_map()).entries
    specs = PretrainingHead(config).variable_specs
    heads = [[spec for spec in specs if spec.name.startswith(scope)] for scope in PRETRAINING_HEADS]
    return [spec for head in heads if all(spec.name in entries for spec in head) for spec in head]


def _check_head(head: Head, prefix: Path, folder: Path) -> None:
    """Raises UserError where the checkpoint has another head."""
    with open_weights(prefix) as reader:
        shapes = reader.get_variable_to_shape_map()
    # Without a pooler, Hugging Face's head of a classifier of texts is read as one of words: what is missing is that.
    lacks_pooler = not (isinstance(head, SpanHead | TagHead) or any(name in shapes for name in POOLER))
    for spec in head.variable_specs:
        if spec.name not in shapes:
            raise _other_model(prefix, "has no pooler" if lacks_pooler else f"has no {spec.name}", folder)
        if tuple(shapes[spec.name]) != spec.shape:
            found = f"has {spec.name} of shape {shapes[spec.name]}, not {list(spec.shape)}"
            raise _other_model(prefix, found, folder)


def _other_model(prefix: Path, found: str, folder: Path) -> UserError:
    described = folder / DESCRIPTION if (folder / DESCRIPTION).exists() else find_model(folder).config_file
    return UserError(
        f"{prefix} {found}: it is not the model that {described} describes. Copy both from where it was trained."
    )


def _check(
    description: ModelDescription, folder: Path, config: AlbertConfig, tokenizer: Tokenizer, vocabulary: Path | None
) -> None:
    is_sentencepiece = vocabulary is not None and vocabulary.suffix in (".model", ".json")
    if not description.tokenizer_digest and is_sentencepiece and not is_cut_as_here(folder):
        logging.warning(
            "%s: texts are cut as Google's ALBERT cuts them. transformers' tokenizers differ from that at quotes, most "
            "of them also behind ( ) - and full stops: a model that was trained with them may predict a little worse.",
            folder,
        )
    if description.tokenizer_digest and tokenizer.digest != description.tokenizer_digest:
        raise UserError(
            f"{vocabulary}, or the do_lower_case or keep_accents in {folder / DESCRIPTION}, are not those of the "
            "model's training, by the digest there. Copy both files from where it was trained."
        )
    if description.max_seq_length > config.max_position_embeddings:
        raise UserError(
            f"{folder / DESCRIPTION}: max_seq_length is {description.max_seq_length}, but the model has "
            f"{config.max_position_embeddings} positions: it is another model's. Copy it from where it was trained."
        )
