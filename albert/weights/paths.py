"""What people give as a checkpoint: a prefix, one of its files, a folder; other formats are named for what they are."""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.system.text_encoding import open_regular, substitute
from albert.weights import hugging_face, keras_hub, model_garden, tensor_files
from albert.weights.named_tensors import Reader
from albert.weights.stored_tensors import check_is_itself, first_bytes, shards_of

_BYTES_OF_BLOCK = 2**20
_ENDING = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_STEP = re.compile(r"model\.ckpt-(\d{1,18})")
_SHARDS = re.compile(r"\.data-\d{5}-of-(\d{5})$")
_HELP = "Give the prefix, without .index; ./download_pretrained_models.sh fetches Google's models."
_NEEDED = (
    "What is read: TensorFlow's checkpoints (<prefix>.index and <prefix>.data-00000-of-00001) and hub modules, Hugging "
    "Face's model.safetensors or pytorch_model.bin, and KerasHub's presets"
)

_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
# Files of other formats: by their first bytes, and by their names in a folder.
_FIRST_BYTES = ((b"\x80", "a pickle, which could run code"),)
_FOREIGN_FILES = {
    **dict.fromkeys(_ADAPTERS, "PEFT's adapter: merge it into its model"),
    "tf_model.h5": "Hugging Face's, for Keras: transformers writes model.safetensors of it",
    "flax_model.msgpack": "Hugging Face's, for Flax: transformers writes model.safetensors of it",
    "saved_model.pb": "a SavedModel without variables/variables.index",
}
_NUM_SHOWN = 4
TF1_NAMES, HUGGING_FACE, MODEL_GARDEN, KERAS_HUB = "TF1 names", "Hugging Face", "Model Garden", "KerasHub"
_TF1_HUB, _TF2_HUB = "TF1 hub module", "TF2 SavedModel"


def checkpoint_prefix(path: Path) -> Path:
    """The prefix that `path` means: itself, what one of its files begins with, or the one checkpoint of a folder.

    For Hugging Face's weights and KerasHub's, what stands for a prefix is the file, or the index of shards;
    `open_weights` reads them all.

    Of several in a folder it is `model.ckpt-best`, otherwise what the file `checkpoint` names, otherwise the newest of
    a run's. Raises UserError that says what is there instead.
    """
    if checkpoint_files.exists(path):
        return path
    # "." and "/" are folders without a name. ".index" is an ending without one, as "$PREFIX.index" without a PREFIX.
    name = _ENDING.sub("", path.name)
    whole = path.with_name(name) if name else path
    if whole != path and checkpoint_files.exists(whole):
        return whole
    if path.is_dir():
        return _in_folder(path)
    if tensor_files.is_tensor_file(path) or keras_hub.is_hdf5(path):
        return path
    raise UserError(f"`init_checkpoint`={path}: {_what_is_there(path, whole)}")


def open_weights(prefix: Path) -> AbstractContextManager[Reader]:
    """The reader of what `checkpoint_prefix` found, of whatever format. Raises UserError as `open_checkpoint` does."""
    if checkpoint_files.exists(prefix):
        for suffix in checkpoint_files.SUFFIXES:
            check_is_itself(Path(f"{prefix}{suffix}"))
        return _open_checkpoint(prefix)
    if tensor_files.is_tensor_file(prefix):
        return hugging_face.open_weights(prefix)
    if keras_hub.is_hdf5(prefix):
        return keras_hub.open_weights(prefix)
    check_is_itself(prefix)
    return checkpoint_files.open_checkpoint(prefix)


def format_of(prefix: Path) -> str:
    """How people call the format of what `checkpoint_prefix` found. Raises UserError where that is damaged."""
    if not checkpoint_files.exists(prefix):
        return HUGGING_FACE if tensor_files.is_tensor_file(prefix) else KERAS_HUB
    with checkpoint_files.open_checkpoint(prefix) as reader:
        is_of_tf2 = model_garden.is_object_graph(reader)
    if prefix == _variables_of(prefix.parent.parent):
        return _TF2_HUB if is_of_tf2 else _TF1_HUB
    return MODEL_GARDEN if is_of_tf2 else TF1_NAMES


def digest_of(prefix: Path) -> str:
    """Of the weights at what `checkpoint_prefix` found: other weights have another one. Raises UserError.

    Of a checkpoint that is its index, which has the checksum of every tensor.
    """
    files = [prefix]
    if checkpoint_files.exists(prefix):
        files = [Path(f"{prefix}{checkpoint_files.SUFFIXES[1]}")]
    elif prefix.name.endswith(".json"):
        files += shards_of(prefix)
    total = hashlib.sha256()
    for path in files:
        try:
            with open_regular(path) as file:
                while block := file.read(_BYTES_OF_BLOCK):
                    total.update(block)
        except OSError as error:
            raise UserError(f"`init_checkpoint`={path} cannot be read: {error.strerror}.") from error
    return total.hexdigest()


def remarks_on_adapters(prefix: Path) -> list[str]:
    """On an adapter beside Hugging Face's weights, which transformers would apply to them."""
    beside = (
        [name for name in _ADAPTERS if prefix.with_name(name).is_file()] if prefix.name in tensor_files.NAMES else []
    )
    return [f"{name} beside it, PEFT's adapter, is not read: merge it into the model" for name in beside]


@contextlib.contextmanager
def _open_checkpoint(prefix: Path) -> Iterator[Reader]:
    with checkpoint_files.open_checkpoint(prefix) as reader:
        is_of_tf2 = model_garden.is_object_graph(reader)
        # One of TensorFlow 2 that is not Model Garden's is read as it is: its names show in the error what it is.
        yield (model_garden.named_tensors(prefix, reader) if is_of_tf2 else None) or reader


def _variables_of(folder: Path) -> Path | None:
    """The prefix inside a SavedModel; None where `folder` is none."""
    prefix = folder / "variables/variables"
    return prefix if (folder / "saved_model.pb").is_file() and checkpoint_files.exists(prefix) else None


def _in_folder(folder: Path) -> Path:
    for name in (*tensor_files.NAMES, keras_hub.WEIGHTS):
        _check_is_file(folder / name)
        if (folder / name).is_file():
            others = _prefixes(folder)
            if others:
                raise UserError(f"`init_checkpoint`={folder} holds {name} and checkpoints too: {_names(others)}")
            return folder / name
    saved_model = _variables_of(folder)
    if saved_model:
        return saved_model
    prefixes = _prefixes(folder)
    best = folder / "model.ckpt-best"
    if best in prefixes:
        return best
    for name in reversed(checkpoint_files.read_state(folder)):
        if folder / Path(name).name in prefixes:
            return folder / Path(name).name
    numbered = [(int(match[1]), prefix) for prefix in prefixes if (match := _STEP.fullmatch(prefix.name))]
    if len(numbered) == len(prefixes) > 0:
        return max(numbered)[1]
    if len(prefixes) == 1:
        return prefixes[0]
    if prefixes:
        raise UserError(f"`init_checkpoint`={folder} is a folder with {len(prefixes)} checkpoints: {_names(prefixes)}")
    incomplete = sorted(path.with_suffix("") for path in folder.glob("*.index"))
    if len(incomplete) == 1:
        raise UserError(f"`init_checkpoint`={folder}: {_what_is_there(incomplete[0], incomplete[0])}")
    foreign = [f"{name} ({whose})" for name, whose in _FOREIGN_FILES.items() if (folder / name).exists()]
    if foreign:
        raise UserError(f"`init_checkpoint`={folder} holds {', '.join(foreign)}. {_NEEDED}.")
    others = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if others:
        names = ", ".join(path.name for path in others[:_NUM_SHOWN])
        raise UserError(
            f"`init_checkpoint`={folder} holds {names}, but what is read is called {tensor_files.NAMES[0]}, or for "
            f"shards {tensor_files.NAMES[1]}: rename the file, or add that index."
        )
    raise UserError(f"`init_checkpoint`={folder} is a folder without a checkpoint. {_NEEDED}.")


def _check_is_file(path: Path) -> None:
    """Raises UserError where something by that name is there, but no file: the next best name is not what is meant."""
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link to {path.readlink()}, which is not there: copy or download the file itself.")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file: move it away, or put the model's weights there.")


def _prefixes(folder: Path) -> list[Path]:
    indexes = sorted(folder.glob("*.index")) if folder.is_dir() else []
    return [prefix for index in indexes if checkpoint_files.exists(prefix := index.with_suffix(""))]


def _names(prefixes: Sequence[Path]) -> str:
    more = f" and {len(prefixes) - _NUM_SHOWN} more" if len(prefixes) > _NUM_SHOWN else ""
    return ", ".join(prefix.name for prefix in prefixes[:_NUM_SHOWN]) + more + ". Give one of them."


def _what_is_there(path: Path, whole: Path) -> str:
    """Why nothing can be read at `path`, whose prefix would be `whole`."""
    if path.is_file() and not _ENDING.search(path.name):
        return f"{_format_of(path)}. {_NEEDED}"
    files = sorted(whole.parent.glob(f"{_escaped(whole.name)}.*")) if whole.name and whole.parent.is_dir() else []
    shards = {int(match[1]) for file in files if (match := _SHARDS.search(file.name))}
    if shards - {1}:
        return f"its data are in {max(shards)} parts; save them as one (<prefix>.data-00000-of-00001)"
    if any(_ENDING.search(file.name) for file in files):
        missing = [f"{whole}{s}" for s in checkpoint_files.SUFFIXES if not Path(f"{whole}{s}").is_file()]
        return f"no such checkpoint, it is incomplete: no {' and no '.join(missing)}. {_HELP}"
    others = _prefixes(path.parent)
    return f"no such checkpoint. {f'There are {_names(others)} ' if others else ''}{_HELP}"


def _format_of(path: Path) -> str:
    try:
        path.open("rb").close()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    start = first_bytes(path, 1024)
    if description := substitute(start):
        return description
    for magic, what in _FIRST_BYTES:
        if start.startswith(magic):
            return f"a file in {what}" if not what.startswith("a ") else what
    return "a file, but not one of a checkpoint (TensorFlow before 0.12 wrote such)"


def _escaped(name: str) -> str:
    """`name` for a pattern of file names."""
    return re.sub(r"([*?[])", r"[\1]", name)
