"""Reads files of tensors by name, safetensors' and PyTorch's, which their first bytes tell apart: one, or shards."""

from pathlib import Path

from albert.errors import UserError
from albert.weights import pytorch_files, safetensors_files
from albert.weights.pickled_tensors import ForeignPickle
from albert.weights.stored_tensors import StoredTensor, check_is_itself, first_bytes, shards_of

# In a folder, the first that is there counts.
NAMES = tuple(
    f"{name}{ending}" for name in ("model.safetensors", "pytorch_model.bin") for ending in ("", ".index.json")
)
_ENDINGS = (".safetensors", ".index.json")
_OLD = (
    "it is a pickle of PyTorch before 1.6, which could run code and is not read. Where you trust it: python3 -c "
    "\"import torch; torch.save(torch.load('{0}', weights_only=True), '{0}')\" writes it as PyTorch does today"
)
_STATE_DICT = "Save the tensors of the model alone: torch.save(model.state_dict(), '{0}')."
_PICKLE_STARTS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


def is_tensor_file(path: Path) -> bool:
    """Whether `path` is a file of tensors or an index of such, by its name or else its first bytes."""
    if not path.is_file():
        return False
    if path.name.endswith(_ENDINGS) or path.name in NAMES:
        return True
    start = first_bytes(path)
    return safetensors_files.is_safetensors(start) or start.startswith(
        (pytorch_files.ZIP_START, pytorch_files.OLD_START)
    )


def read_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file, or of the shards of an index, by their names. None of their values is read.

    Raises UserError when something is missing or damaged.
    """
    if not path.name.endswith(".json"):
        return _read_file(path)
    tensors: dict[str, StoredTensor] = {}
    for shard, expected in shards_of(path).items():
        found = _read_file(shard)
        if set(found) != expected:
            raise UserError(f"{shard} is not the file that {path.name} describes: it holds other tensors.")
        tensors |= found
    return tensors


def damaged(path: Path, reason: object) -> UserError:
    """One line on a file that cannot be read."""
    return UserError(f"{path} cannot be read, it may be damaged: {reason}. Download it again.")


def _read_file(path: Path) -> dict[str, StoredTensor]:
    check_is_itself(path)
    start = first_bytes(path)
    if start.startswith(pytorch_files.OLD_START):
        raise UserError(f"{path} cannot be read: {_OLD.format(path.name)}.")
    if start.startswith(_PICKLE_STARTS) and not safetensors_files.is_safetensors(start):
        raise UserError(f"{path} cannot be read: it is a pickle of Python's. {_STATE_DICT.format(path.name)}")
    module = pytorch_files if start.startswith(pytorch_files.ZIP_START) else safetensors_files
    try:
        return module.read_tensors(path)
    except OSError as error:
        raise damaged(path, error.strerror or error) from error
    except ForeignPickle as error:
        what = str(error).partition("\n")[0][:200]
        raise UserError(f"{path} cannot be read: {what}. {_STATE_DICT.format(path.name)}") from error
    except ValueError as error:
        raise damaged(path, str(error).partition("\n")[0][:200]) from error
