"""PyTorch's own format since 1.6, `pytorch_model.bin`: where each tensor lies. Needs no PyTorch, no TensorFlow.

It is a zip archive of plain numbers and of a pickle that says which tensor is where, which is not run, see
`pickled_tensors`. As in PyTorch, checksums are not compared: it can be told to write none.
"""

import math
import zipfile
from pathlib import Path
from typing import BinaryIO, cast

from albert.system.json_text import short_repr
from albert.system.text_encoding import open_regular
from albert.weights.pickled_tensors import ForeignPickle, PickledTensor, pickled_tensors
from albert.weights.stored_tensors import BYTES_OF, StoredTensor, num_bytes

ZIP_START, OLD_START = b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_MAX_PICKLE_BYTES, _MAX_DIRECTORY_BYTES, _MAX_MEMBERS = 16 << 20, 16 << 20, 65_536


class _BoundedReads:
    """A file of which `zipfile` cannot ask for a directory that fills the memory."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """As that of a file. Raises ValueError where that is too much."""
        data = self._file.read(_MAX_DIRECTORY_BYTES + 1 if size < 0 else min(size, _MAX_DIRECTORY_BYTES + 1))
        if len(data) > _MAX_DIRECTORY_BYTES:
            raise ValueError("its directory is longer than any model's")
        return data


def read_tensors(path: Path) -> dict[str, StoredTensor]:
    """By their names.

    Raises ForeignPickle where it holds something else than tensors, ValueError with what else is wrong, OSError where
    the file cannot be read.
    """
    with open_regular(path) as file:
        try:
            members = _members(file)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise ValueError(str(error)) from None
        pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive, but not PyTorch's: no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if _content(file, members, f"{folder}byteorder", 16) not in (None, b"little"):
            raise ValueError("its numbers are big-endian")
        tensors = pickled_tensors(_content(file, members, pickles[0], _MAX_PICKLE_BYTES) or b"")
    return {name: _place(path, name, tensor, members, folder) for name, tensor in tensors.items()}


def _members(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """First byte and number of bytes of what the archive holds, all of which lies there as it is."""
    size = file.seek(0, 2)
    with zipfile.ZipFile(cast(BinaryIO, _BoundedReads(file))) as archive:
        infos = archive.infolist()
        if len(infos) > _MAX_MEMBERS:
            raise ValueError(f"it has {len(infos):,} members")
        places = {}
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
                raise ValueError(f"{short_repr(info.filename)} is compressed; PyTorch compresses nothing")
            file.seek(info.header_offset)
            start = file.read(30)
            first = info.header_offset + 30 + sum(int.from_bytes(start[at : at + 2], "little") for at in (26, 28))
            if not start.startswith(ZIP_START) or first + info.file_size > size or info.filename in places:
                raise ValueError(f"{short_repr(info.filename)} is not in the archive where its directory says")
            places[info.filename] = (first, info.file_size)
    return places


def _content(file: BinaryIO, members: dict[str, tuple[int, int]], name: str, limit: int) -> bytes | None:
    if name not in members:
        return None
    first, size = members[name]
    if size > limit:
        raise ValueError(f"{short_repr(name)} has {size:,} bytes")
    file.seek(first)
    return file.read(size)


def _place(
    path: Path, name: str, tensor: PickledTensor, members: dict[str, tuple[int, int]], folder: str
) -> StoredTensor:
    shape, dtype = tensor.shape, tensor.storage.dtype
    place, size = members.get(f"{folder}data/{tensor.storage.key}", (0, -1))
    wide = BYTES_OF.get(dtype, 0)
    if wide and size != tensor.storage.length * wide:
        raise ValueError(f"{short_repr(name)}: its storage has another size than the pickle says, or is missing")
    by_rows = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    is_by_columns = len(shape) == 2 and 1 not in shape and tensor.strides == (1, shape[0])
    long_axes = [axis for axis, length in enumerate(shape) if length != 1]
    if not is_by_columns and any(tensor.strides[axis] != by_rows[axis] for axis in long_axes):
        raise ForeignPickle(f"{short_repr(name)} is a part of another tensor, not .contiguous()")
    if wide and tensor.first * wide + num_bytes(shape, dtype) > size:
        raise ValueError(f"{short_repr(name)} goes beyond its storage")
    return StoredTensor(path, place + tensor.first * wide, shape, dtype, is_by_columns)
