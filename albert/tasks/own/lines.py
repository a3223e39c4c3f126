"""The lines of text files, one by one, and a bar while many of them are read."""

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from albert.errors import UserError
from albert.system.progress import progress_bar
from albert.system.text_encoding import decoded, open_text, with_file
from albert.tasks.rows import RowTally

MAX_RECORD = 1 << 24  # bytes
_BYTES_AT_ONCE = 1 << 14
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
    for first, text in texts_of_lines(path, tally):
        yield from enumerate(split_at_line_feeds(text), first)


def texts_of_lines(path: Path, tally: RowTally | None = None) -> Iterator[tuple[int, str]]:
    """The same, a few whole lines together: (number of the first, text)."""
    try:
        with open_text(path) as file:
            yield from _decoded(path, _blocks(file, tally))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def split_at_line_feeds(text: str) -> Iterable[str]:
    """The lines of a text with their line feeds; nothing else ends one."""
    return io.StringIO(text, newline="\n")


def _decoded(path: Path, blocks: Iterator[bytes]) -> Iterator[tuple[int, str]]:
    line = 1
    for block in blocks:
        if block.find(b"\n", 0, MAX_RECORD) < 0 and len(block) > MAX_RECORD:
            raise UserError(f"{path}, line {line}: longer than {MAX_RECORD >> 20} MiB; write a row a line.")
        try:
            text = decoded(block)
        except ValueError:
            yield from _decoded_one_by_one(path, line, block)
            raise
        yield line, text
        line += text.count("\n")


def _decoded_one_by_one(path: Path, line: int, block: bytes) -> Iterator[tuple[int, str]]:
    """The lines before the one that is no text, for which it raises UserError."""
    for number, data in enumerate(io.BytesIO(block), line):
        try:
            yield number, decoded(data)
        except ValueError as error:
            raise UserError(f"{path}, line {number} is {with_file(error, path)}.") from None


def _blocks(file: BinaryIO, tally: RowTally | None) -> Iterator[bytes]:
    """Bytes of whole lines. Where one is longer than MAX_RECORD, so much of it that this shows, and nothing more."""
    unreported, on_read = 0, tally and tally.on_read
    parts, size = list[bytes](), 0  # of a line that goes on
    while size <= MAX_RECORD and (data := file.read(_BYTES_AT_ONCE)):
        unreported += len(data)
        if on_read and unreported >= _REPORTED_BYTES:
            on_read(unreported)
            unreported = 0
        end = data.rfind(b"\n") + 1
        if end:
            yield b"".join([*parts, data[:end]])
            parts, size, data = [], 0, data[end:]
        parts.append(data)
        size += len(data)
    if size:
        yield b"".join(parts)


def is_chosen(chosen: bytes, number: int) -> bool:
    """Whether `chosen` has a 1 for the row with that number, from 0.

    It has none for a row beyond its end, of a file that grows while it is read, which is refused when it was read.
    """
    return number < len(chosen) and chosen[number] == 1
