"""The lines of text files, one by one, and a bar while many of them are read."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from albert.errors import UserError
from albert.system.progress import progress_bar
from albert.system.text_encoding import decoded, open_text, with_file
from albert.tasks.rows import RowTally

MAX_RECORD = 1 << 24  # bytes
_REPORTED_BYTES = 1 << 14  # are read from one report to the next


@contextlib.contextmanager
def reading_bar(path: Path) -> Iterator[RowTally]:
    """A tally for reading all of a file, during which a bar shows how much of its bytes was read."""
    try:
        total = path.stat().st_size
    except OSError:
        total = None  # whoever reads it says what is wrong
    options: dict[str, Any] = {"unit": "B", "unit_scale": True, "delay": 1, "disable": None, "leave": False}
    with progress_bar(desc=f"reading {path.name}", total=total, **options) as bar:
        yield RowTally(path, bar.update)


def numbered_lines(path: Path, tally: RowTally | None = None) -> Iterator[tuple[int, str]]:
    """(number from 1, text with its line feed) of every line: UTF-8, with or without byte order marks.

    `tally` learns how many bytes were read. Raises UserError naming the file, and the line that is no such text.
    """
    try:
        with open_text(path) as file:
            yield from _decoded_lines(path, file, tally)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _decoded_lines(path: Path, file: BinaryIO, tally: RowTally | None) -> Iterator[tuple[int, str]]:
    unreported, on_read = 0, tally and tally.on_read
    for line in itertools.count(1):
        data = file.readline(MAX_RECORD + 1)
        if not data:
            return
        if len(data) > MAX_RECORD:
            raise UserError(f"{path}, line {line}: longer than {MAX_RECORD >> 20} MiB; write a row a line.")
        unreported += len(data)
        if on_read and unreported >= _REPORTED_BYTES:
            on_read(unreported)
            unreported = 0
        try:
            yield line, decoded(data)
        except ValueError as error:
            raise UserError(f"{path}, line {line} is {with_file(error, path)}.") from None


def is_chosen(chosen: bytes, number: int) -> bool:
    """Whether `chosen` has a 1 for the row with that number, from 0.

    It has none for a row beyond its end, of a file that grows while it is read, which is refused when it was read.
    """
    return number < len(chosen) and chosen[number] == 1
