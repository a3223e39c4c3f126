"""TFRecord files: written one record after the other, read at random.

A record is its length (8 bytes), the length's checksum (4), the data, and the data's checksum (4).
"""

import array
import dataclasses
import functools
import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from albert.errors import UserError
from albert.system.files import WholeFile

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_HEADER_BYTES, _FOOTER_BYTES = 12, 4
_SCANNED_AT_ONCE = 1 << 22


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

    def write(self, records: bytes | memoryview, count: int = 1) -> None:
        """Adds `count` records as `framed` makes them. Raises UserError when the disk is full or fails."""
        self._file.write(records)
        self._sha256.update(records)
        self.count += count
        self.size += len(records)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordFile:
    """A file of records that is open for reading. Holds 20 bytes a record; the records stay in the file.

    Attributes:
      path: where it was when it was opened; the file that is read is that one, whatever the path holds by now.
      lengths: [count], bytes of each record's data.
      checksums: [count], what `masked_crc` of the data must be, as it was when all bytes were verified.
      advice: what to do where it was changed, as one sentence.
    """

    path: Path
    file: BinaryIO
    lengths: np.ndarray
    checksums: np.ndarray
    advice: str
    _offsets: np.ndarray = dataclasses.field(init=False, repr=False)  # int64 [count], of the data

    def __post_init__(self) -> None:
        # Here, and not when they are first needed, which is in many threads at once; in one array, of many records.
        offsets = self.lengths.astype(np.int64)
        offsets += _HEADER_BYTES + _FOOTER_BYTES
        np.cumsum(offsets, out=offsets)
        offsets -= self.lengths
        offsets -= _FOOTER_BYTES
        object.__setattr__(self, "_offsets", offsets)

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self.lengths)

    def number_at(self, offset: int) -> int:
        """The record that begins at byte `offset` of the file."""
        return int(np.searchsorted(self._offsets, offset))

    def read(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        """The data of the records `numbers`, in that order. May be called from several threads.

        Raises UserError where the file was changed since it was opened: every record's checksum is compared.
        """
        wanted = np.asarray(numbers, np.int64)
        descriptor = self.file.fileno()
        if len(wanted) > 1 and (np.diff(wanted) == 1).all() and (found := self._read_run(descriptor, wanted)):
            return found
        places = zip(wanted.tolist(), self.lengths[wanted].tolist(), self._offsets[wanted].tolist(), strict=True)
        return [self._read(descriptor, *place) for place in places]

    def _read_run(self, descriptor: int, wanted: np.ndarray) -> list[bytes] | None:
        """Records one after the other, which are read at once; None where one is not as it was."""
        offsets, lengths = self._offsets[wanted].tolist(), self.lengths[wanted].tolist()
        first = offsets[0]
        data = _read_at(self.path, descriptor, offsets[-1] + lengths[-1] - first, first)
        found = [
            data[offset - first : offset - first + length] for offset, length in zip(offsets, lengths, strict=True)
        ]
        return found if list(map(masked_crc, found)) == self.checksums[wanted].tolist() else None

    def _read(self, descriptor: int, number: int, length: int, offset: int) -> bytes:
        data = _read_at(self.path, descriptor, length, offset)
        if len(data) != length:
            raise UserError(f"{self.path} was cut short while it was in use: record {number} is gone. {self.advice}")
        if masked_crc(data) != self.checksums[number]:
            raise UserError(
                f"{self.path} is damaged, or was changed while it was in use: record {number} does not fit its "
                f"checksum. {self.advice}"
            )
        return data


def scan(path: Path, descriptor: int, digest: "hashlib._Hash | None" = None) -> tuple[np.ndarray, np.ndarray]:
    """Length (int64) and checksum (uint32, as the file has it) of every record, by going from length to length.

    Adds all bytes to `digest`, so that a file is read once. Raises UserError where a record does not end, or the file
    cannot be read; the cause is then an OSError. The file is read and not mapped: a mapped one that is cut short
    meanwhile, or whose disk fails, ends the process without a word.
    """
    lengths, checksums = array.array("q"), array.array("I")  # lists would take six times as much
    size = os.fstat(descriptor).st_size
    place = -_FOOTER_BYTES  # where the last record's checksum is, with the next record's header behind it
    for start in range(0, size, _SCANNED_AT_ONCE):
        wanted = min(size - start, _SCANNED_AT_ONCE + _FOOTER_BYTES + _HEADER_BYTES)
        block = _read_at(path, descriptor, wanted, start)
        if len(block) < wanted:
            raise UserError(f"{path} was cut short while it was being read. Start again when it is finished.")
        if digest is not None:
            digest.update(memoryview(block)[:_SCANNED_AT_ONCE])
        while place < min(start + _SCANNED_AT_ONCE, size):
            if place >= 0:
                checksums.append(_CHECKSUM.unpack_from(block, place - start)[0])
            header = place + _FOOTER_BYTES
            if header == size:
                place = size
                break
            length = _LENGTH.unpack_from(block, header - start)[0] if header + _HEADER_BYTES <= size else size
            place = header + _HEADER_BYTES + length
            if place + _FOOTER_BYTES > size:
                raise _does_not_end(path, len(lengths))
            lengths.append(length)
    return np.frombuffer(lengths, np.int64), np.frombuffer(checksums, np.uint32)


def _does_not_end(path: Path, number: int) -> UserError:
    if number == 0:
        return UserError(f"{path} is not a file of TFRecords, or cut short within the first")
    return UserError(f"{path} is cut short or damaged: record {number} does not end. Make it again.")


def _read_at(path: Path, descriptor: int, size: int, offset: int) -> bytes:
    """The bytes from `offset`, fewer than `size` at the file's end. Raises UserError where the system cannot read."""
    try:
        return os.pread(descriptor, size, offset)
    except OSError as error:  # a disk or a network file system that fails; the system itself has tried again
        raise UserError(
            f"{path} cannot be read at byte {offset}: {error.strerror or error}. Check the disk or network it is on, "
            "and start again; what was saved is intact."
        ) from error
