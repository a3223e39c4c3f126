"""The names of a model's files, and where they are in a folder: our own, or another library's. No TensorFlow.

Opens none of them, so that a script may look for a model at once.
"""

import re
from pathlib import Path

from albert.errors import UserError
from albert.interchange.configurations import KERAS_METADATA
from albert.interchange.tokenizer_json import TOKENIZER_JSON

CONFIG = "albert_config.json"
SENTENCEPIECE = "spiece.model"
WORDPIECE = "vocab.txt"
# Other libraries' names, read where there is no CONFIG: a TF1 hub module's, Hugging Face's and KerasHub's, and that of
# a TF2 SavedModel.
_HUB_CONFIG = f"assets/{CONFIG}"
HUGGING_FACE_CONFIG = "config.json"
_CONFIGS = (CONFIG, _HUB_CONFIG, HUGGING_FACE_CONFIG, KERAS_METADATA)
_SAVED_MODEL = "saved_model.pb"
# Where vocabularies lie: in the folder itself, in a hub module, in a KerasHub preset.
_VOCABULARIES = ("*.model", "assets/*.model", "assets/tokenizer/*.spm")
_MAX_NAMES = 4  # in a message
# What people write who know Hugging Face's names, Google's, or the sizes.
_GOOGLE_MODEL = re.compile(r"(?:albert/)?(?:albert[-_])?(?P<size>base|large|xlarge|xxlarge)(?:[-_]v(?P<version>[12]))?")
_HUB_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*albert[\w.-]*", re.IGNORECASE)


def check_folder(folder: Path) -> None:
    """Raises UserError where `folder` is none."""
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "is not there"
        raise UserError(
            f"`model_dir`={folder} {problem}; {_fetching(folder)}, and every training run leaves a model in its output "
            "folder."
        )


def _fetching(folder: Path) -> str:
    """How to fetch what `folder` is called after, where that is the name of one of Google's models or of a hub's."""
    google = _GOOGLE_MODEL.fullmatch(str(folder))
    if google:
        size, version = google["size"], google["version"] or "2"
        command = f"./download_pretrained_models.sh --version={version} {size}"
        return f"{command} fetches it into pretrained_model/albert_{size}_v{version}"
    if _HUB_MODEL.fullmatch(str(folder)):
        return f"./download_pretrained_models.sh --source=huggingface {folder} fetches it if the hub has it"
    return "./download_pretrained_models.sh fetches models"


def find_config(folder: Path) -> Path:
    """`albert_config.json`, otherwise what another library has in its place. Raises UserError where there is none."""
    for name in _CONFIGS:
        if (folder / name).is_file():
            return folder / name
    if (folder / _SAVED_MODEL).is_file():
        raise UserError(
            f"`model_dir`={folder} is a SavedModel that does not say how many layers it has: put the {CONFIG} of the "
            "same model there."
        )
    versions = sorted(path.parent.name for path in folder.glob(f"*/{_SAVED_MODEL}"))
    inside = f" Is {folder / versions[-1]} meant?" if versions else ""
    raise UserError(
        f"`model_dir`={folder} has neither {CONFIG} nor {HUGGING_FACE_CONFIG}: it does not hold a whole model.{inside} "
        f"A bare checkpoint needs the {CONFIG} and the vocabulary of its model beside it."
    )


def find_vocabulary(folder: Path) -> tuple[Path | None, Path | None]:
    """(SentencePiece model, word pieces), one of them None: the only `*.model`, `vocab.txt`, or `tokenizer.json`.

    The first also where hub modules and KerasHub's presets have it. Raises UserError where there is none of them, or
    where several are called `*.model`.
    """
    for pattern in _VOCABULARIES:
        models = sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
        if len(models) > 1:
            names = " and ".join(path.name for path in models[:_MAX_NAMES])
            raise UserError(
                f"`model_dir`={folder} has several vocabularies, {names}: leave the model's own there alone."
            )
        if models:
            return models[0], None
    if (folder / WORDPIECE).is_file():
        return None, folder / WORDPIECE
    if (folder / TOKENIZER_JSON).is_file():
        return folder / TOKENIZER_JSON, None
    raise UserError(
        f"`model_dir`={folder} has no vocabulary: it needs a *.model (KerasHub: {_VOCABULARIES[-1]}), {WORDPIECE} or "
        f"{TOKENIZER_JSON}."
    )
