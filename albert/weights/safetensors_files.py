"""Files in safetensors' format: one, or the shards that an index names. The library checks every offset."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from albert.errors import UserError
from albert.system.json_text import parse_json, short_repr
from albert.system.text_encoding import read_regular

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_ENDINGS = (".safetensors", ".safetensors.index.json")


def is_safetensors(path: Path) -> bool:
    """Whether `path` is a file of this format or an index of such, by its name or else its first bytes."""
    if not path.is_file():
        return False
    if path.name.endswith(_ENDINGS):
        return True
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:  # which is told by what reads the file
        return False


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[dict[str, Any]]:
    """The open file that holds a tensor, by the tensor's name.

    Raises UserError, also for what happens while tensors are read, when something is missing or damaged.
    """
    try:
        with contextlib.ExitStack() as stack:
            files: dict[str, Any] = {}
            for shard, expected in _shards(path).items():
                file = stack.enter_context(safe_open(str(shard), "np"))
                names = list(file.keys())
                if expected is not None and set(names) != expected:
                    raise UserError(f"{shard} is not the file that {path.name} describes: it holds other tensors.")
                files |= dict.fromkeys(names, file)
            yield files
    except (SafetensorError, OSError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise UserError(f"{path} cannot be read, it may be damaged: {reason}. Download it again.") from error


def _shards(path: Path) -> dict[Path, set[str] | None]:
    """`path`, or the shards of the index that it is, with their tensors. Raises UserError where one is missing."""
    if not path.name.endswith(".json"):
        return {path: None}
    try:
        values = parse_json(read_regular(path))
    except ValueError as error:
        raise UserError(f"{path} is {error}") from error
    shards = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise UserError(f"{path} has no weight_map, which says in which file a tensor is.")
    names = sorted(set(shards.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise UserError(f"{path}: {short_repr(outside[0])} is no name of a file beside it.")
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise UserError(
            f"{path} needs {len(names)} files, but {len(missing)} are missing, among them {missing[0]}. "
            "Download them too."
        )
    return {path.parent / name: {tensor for tensor, shard in shards.items() if shard == name} for name in names}
