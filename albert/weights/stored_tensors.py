"""Tensors that lie in a file as plain numbers, little-endian, and the shards that an index names. No TensorFlow."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from albert.errors import UserError
from albert.system.json_text import parse_json, short_repr
from albert.system.printing import counted
from albert.system.text_encoding import open_regular, read_regular, substitute

# What is read at a time.
_BLOCK_BYTES = 16 << 20
# The place of a block's first value in the whole, and the block.
Block = tuple[tuple[int, ...], np.ndarray]
BYTES_OF = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4}


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor that is not read yet.

    Attributes:
      path: the file that holds it.
      offset: of its first byte in that file.
      shape: its axes.
      dtype: NumPy's name of its type; a type that is none of `BYTES_OF` is known by name alone.
      is_by_columns: whether a matrix lies there column by column.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: str
    is_by_columns: bool = False

    def blocks(self, is_transposed: bool = False) -> Iterator[Block]:
        """Its values part by part, [columns, rows] where `is_transposed`; no more than a block is in memory.

        Raises OSError where the file is shorter.
        """
        if self.dtype == "bfloat16":
            import ml_dtypes  # noqa: F401  # which comes with TensorFlow, and tells NumPy of the type
        lying = self.shape[::-1] if self.is_by_columns else self.shape
        is_turned = len(lying) == 2 and is_transposed != self.is_by_columns
        rows, inner = (lying[0], lying[1:]) if lying else (1, ())
        num_rows = max(1, _BLOCK_BYTES // max(1, num_bytes(inner, self.dtype)))
        with open_regular(self.path) as file:
            file.seek(self.offset)
            for first in range(0, rows, num_rows):
                block = np.empty((min(num_rows, rows - first), *inner), self.dtype)
                _fill(file, block)
                if is_turned:
                    yield (0, first), block.T
                else:
                    yield (first, *(0 for _ in inner))[: len(lying)], block if lying else block[0]


def first_bytes(path: Path, count: int = 16) -> bytes:
    """The first `count` bytes of a regular file; b"" where it cannot be read: whatever reads it next says why."""
    try:
        with open_regular(path) as file:
            return file.read(count)
    except OSError:
        return b""


def check_is_itself(path: Path) -> None:
    """Raises UserError where a pointer of Git LFS, a server's page or an archive stands in place of the file."""
    if description := substitute(first_bytes(path, 1024)):
        raise UserError(f"{path} is {description}.")


def num_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """Of the values of a tensor."""
    return math.prod(shape) * BYTES_OF[dtype]


def shards_of(index: Path) -> dict[Path, set[str]]:
    """The files that an index names, with their tensors. Raises UserError where one is missing."""
    try:
        values = parse_json(read_regular(index))
    except ValueError as error:
        raise UserError(f"{index} is {error}") from error
    shards = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise UserError(f"{index} has no weight_map, which says in which file a tensor is.")
    tensors: dict[str, set[str]] = {}
    for tensor, name in shards.items():
        tensors.setdefault(name, set()).add(tensor)
    outside = [name for name in tensors if Path(name).name != name or "\0" in name]
    if outside:
        raise UserError(f"{index}: {short_repr(outside[0])} is no name of a file beside it.")
    missing = sorted(name for name in tensors if not (index.parent / name).is_file())
    if missing:
        raise UserError(
            f"{index} needs {counted(len(tensors), 'file')} and lacks {len(missing):,} of them, as {missing[0]}. "
            "Download what is missing."
        )
    return {index.parent / name: tensors[name] for name in sorted(tensors)}


def _fill(file: BinaryIO, values: np.ndarray) -> None:
    left = values.reshape(-1).view(np.uint8).data
    while len(left):
        count = file.readinto(left)  # type: ignore[attr-defined]  # a file of bytes has it
        if not count:
            raise OSError("it ends too early")
        left = left[count:]
