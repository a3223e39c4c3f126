"""Which files of records a run has checked, kept in its directory: it resumes without reading them once more.

Owns that file: a line of JSON, then a length and a checksum for each record. Of 100 GB of records, which take 20
minutes to check, it has 400 MB. A checked file is trusted for as long as its place, its size and its times are as they
were; and each record that is read later must still have the checksum that it had.
"""

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from albert.data.source_files import FileState
from albert.system.files import whole_file
from albert.system.json_text import parse_json
from albert.system.text_encoding import open_regular

_FORMAT_VERSION = 1
_MAX_HEADER_BYTES = 1 << 24
# A file that was changed this short before its check may have been changed after it without its times telling: file
# systems' clocks tick every few milliseconds, some only every two seconds.
_CLOCK_TICK_NS = 2_000_000_000


class Checked(NamedTuple):
    """A file whose records were all found good: its state at that time, and when that was (seconds since the epoch)."""

    state: FileState
    checked_ns: int
    lengths: np.ndarray  # [count], of the data
    checksums: np.ndarray  # [count]
    vocabulary: tuple[str, int] | None  # digest and size, where a manifest tells

    def covers(self, state: FileState) -> bool:
        """Whether a file in `state` is the one that was checked."""
        return state == self.state and max(state.mtime_ns, state.ctime_ns) + _CLOCK_TICK_NS < self.checked_ns


def write(path: Path, required: Mapping[str, int], files: Sequence[Checked]) -> None:
    """Keeps `files`, whose records are what is `required`. Raises UserError where the disk is full or fails."""
    body = [np.stack([file.lengths, file.checksums], axis=1).astype("<u4") for file in files]
    digest = hashlib.sha256()
    for part in body:
        digest.update(part.tobytes())
    header = {
        "format_version": _FORMAT_VERSION,
        "required": dict(required),
        "sha256": digest.hexdigest(),
        "files": [
            {
                **dataclasses.asdict(f.state),
                "checked_ns": f.checked_ns,
                "records": len(f.lengths),
                "vocabulary": f.vocabulary,
            }
            for f in files
        ],
    }
    with whole_file(path) as file:
        file.write(json.dumps(header).encode() + b"\n")
        for part in body:
            file.write(part.data)


def read(path: Path | None, required: Mapping[str, int]) -> dict[str, Checked]:
    """What was kept at `path`, by the files' paths; nothing where it is missing, damaged or of another `required`."""
    if path is None:
        return {}
    try:
        with open_regular(path) as file:
            return _read(file, required)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        logging.warning("%s cannot be used (%s): all records are checked again", path, error)
        return {}


def _read(file: BinaryIO, required: Mapping[str, int]) -> dict[str, Checked]:
    header = parse_json(file.readline(_MAX_HEADER_BYTES))
    if header["format_version"] != _FORMAT_VERSION or header["required"] != dict(required):
        return {}
    rest = file.read()
    if hashlib.sha256(rest).hexdigest() != header["sha256"]:
        raise ValueError("it is damaged")
    numbers = np.frombuffer(rest, "<u4").reshape(-1, 2)
    found, first = {}, 0
    for entry in header["files"]:
        checked, first = _file_of(entry, numbers, first)
        found[checked.state.path] = checked
    if first != len(numbers):
        raise ValueError("it is damaged")
    return found


def _file_of(entry: object, numbers: np.ndarray, first: int) -> tuple[Checked, int]:
    """The file of which the header has `entry`, and the place behind its records in `numbers`, which begin at `first`.

    Raises ValueError for what `write` never writes: the checksum in the header is of the numbers alone.
    """
    if not isinstance(entry, dict) or not {"checked_ns", "records", "vocabulary"} <= entry.keys():
        raise ValueError("it is damaged")
    checked_ns, count, vocabulary = (entry.pop(name) for name in ("checked_ns", "records", "vocabulary"))
    if type(checked_ns) is not int or type(count) is not int or not 0 <= count <= len(numbers) - first:
        raise ValueError("it is damaged")
    if vocabulary is not None:
        digest, size = vocabulary
        vocabulary = (digest, size)
    lengths, checksums = numbers[first : first + count].T.copy()
    return Checked(FileState(**entry), checked_ns, lengths, checksums, vocabulary), first + count


def now_ns() -> int:
    """The time, for `Checked.checked_ns`: taken when a check begins."""
    return time.time_ns()


def state_of(path: Path, descriptor: int) -> FileState | None:
    """The state of the open file; None where something else is at `path` by now."""
    state = FileState.of(path, descriptor)
    try:
        return state if state == FileState.of(path) else None
    except OSError:
        return None
