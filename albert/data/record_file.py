"""TFRecord files: written one record after the other, read at random.

A record is its length (8 bytes), the length's checksum (4), the data, and the data's checksum (4).
"""

import array
import contextlib
import dataclasses
import functools
import hashlib
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from albert.errors import UserError
from albert.system.files import WholeFile

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_HEADER_BYTES, _FOOTER_BYTES = 12, 4
_HASHED_AT_ONCE = 1 << 22


def framed(data: bytes) -> bytes:
    """`data` as a record of a file."""
    return b"".join((_header(len(data)), data, _CHECKSUM.pack(masked_crc(data))))


def masked_crc(data: bytes | memoryview) -> int:
    """CRC-32C of `data`, rotated and shifted as TFRecords have it, so that it can be stored with what it checks."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def file_size(lengths: np.ndarray) -> int:
    """Bytes of a file whose records hold `lengths` bytes of data."""
    return int(lengths.sum()) + lengths.size * (_HEADER_BYTES + _FOOTER_BYTES)


@functools.lru_cache(maxsize=4096)
def _header(length: int) -> bytes:
    data = _LENGTH.pack(length)
    return data + _CHECKSUM.pack(masked_crc(data))


class RecordWriter:
    """Writes records to `file`, and knows of them what a manifest says: their number, size and digest."""

    def __init__(self, file: WholeFile):
        self._file = file
        self._sha256 = hashlib.sha256()
        self.count = 0
        self.size = 0

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of all bytes written."""
        return self._sha256.hexdigest()

    def write(self, record: bytes | memoryview) -> None:
        """Adds a record as `framed` makes it. Raises UserError when the disk is full or fails."""
        self._file.write(record)
        self._sha256.update(record)
        self.count += 1
        self.size += len(record)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordFile:
    """A file of records that is open for reading. Holds 20 bytes a record; the records stay in the file.

    Attributes:
      path: where it was when it was opened; the file that is read is that one, whatever the path holds by now.
      lengths: [count], bytes of each record's data.
      checksums: [count], what `masked_crc` of the data must be; None where the file's own checksums are to be trusted,
        because its bytes were verified.
      advice: what to do where it was changed, as one sentence.
    """

    path: Path
    file: BinaryIO
    lengths: np.ndarray
    checksums: np.ndarray | None
    advice: str

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self.lengths)

    @functools.cached_property
    def _offsets(self) -> np.ndarray:
        """int64 [count], of the data, past the record's header."""
        ends = np.cumsum(self.lengths.astype(np.int64) + (_HEADER_BYTES + _FOOTER_BYTES))
        return ends - self.lengths - _FOOTER_BYTES

    def number_at(self, offset: int) -> int:
        """The record that begins at byte `offset` of the file."""
        return int(np.searchsorted(self._offsets, offset))

    def read(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        """The data of the records `numbers`, in that order. May be called from several threads.

        Raises UserError where the file was changed since it was opened: every record's checksum is compared.
        """
        wanted = np.asarray(numbers, np.int64)
        descriptor = self.file.fileno()
        places = zip(wanted.tolist(), self.lengths[wanted].tolist(), self._offsets[wanted].tolist(), strict=True)
        return [self._read(descriptor, *place) for place in places]

    def _read(self, descriptor: int, number: int, length: int, offset: int) -> bytes:
        stored = os.pread(descriptor, length + _FOOTER_BYTES, offset)
        data = stored[:length]
        if len(data) != length:
            raise UserError(f"{self.path} was cut short while it was in use: record {number} is gone. {self.advice}")
        # Its own checksum may have been cut off, with nothing lost.
        expected = stored[length:] if self.checksums is None else _CHECKSUM.pack(int(self.checksums[number]))
        if len(expected) == _FOOTER_BYTES and _CHECKSUM.pack(masked_crc(data)) != expected:
            raise UserError(f"{self.path} was changed while it was in use: record {number} is another. {self.advice}")
        return data


def scan(path: Path, descriptor: int, digest: "hashlib._Hash | None" = None) -> tuple[np.ndarray, np.ndarray]:
    """Length (int64) and checksum (uint32, as the file has it) of every record, by going from length to length.

    Adds all bytes to `digest`, so that a file is read once. Raises UserError where a record does not end.
    """
    lengths, checksums = array.array("q"), array.array("I")  # lists would take six times as much
    with _mapped(descriptor) as data:
        place, size, hashed = 0, len(data), 0
        while place < size:
            length = _LENGTH.unpack_from(data, place)[0] if place + _HEADER_BYTES <= size else size
            end = place + _HEADER_BYTES + length
            if end + _FOOTER_BYTES > size:
                if not lengths:
                    raise UserError(f"{path} is not a file of TFRecords, or cut short within the first")
                raise UserError(f"{path} is cut short or damaged: record {len(lengths)} does not end. Make it again.")
            lengths.append(length)
            checksums.append(_CHECKSUM.unpack_from(data, end)[0])
            place = end + _FOOTER_BYTES
            if digest is not None and place - hashed >= _HASHED_AT_ONCE:
                digest.update(data[hashed:place])
                hashed = place
        if digest is not None:
            digest.update(data[hashed:])
    return np.frombuffer(lengths, np.int64), np.frombuffer(checksums, np.uint32)


@contextlib.contextmanager
def _mapped(descriptor: int) -> Iterator[mmap.mmap | bytes]:
    if os.fstat(descriptor).st_size == 0:  # cannot be mapped
        yield b""
        return
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        yield data
