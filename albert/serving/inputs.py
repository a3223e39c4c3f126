"""What is to be predicted, read from files and standard input piece by piece. No TensorFlow."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from albert.errors import UserError
from albert.system.text_encoding import decoded, open_regular, what_is, without_marks
from albert.tasks.glue import is_blank
from albert.tasks.own.cells import text_of
from albert.tasks.own.columns import choose_columns, choose_texts
from albert.tasks.own.files import (
    JSON,
    TABLES,
    Row,
    cells_of_line,
    choose_from_header,
    describe_unknown,
    log_reading,
    read_columns,
    read_lines,
)
from albert.tasks.own.lines import MAX_RECORD
from albert.tasks.rows import RowTally

_EMPTY = "{rows} with an empty text, used all the same"
_READ_BYTES = 1 << 18
_TEXT = ".txt"


class Texts(NamedTuple):
    """One text, or two, and the row of a table that they are in, where that is wanted."""

    first: str
    second: str | None
    row: Row | None = None


def read_texts(
    path: Path,
    num_texts: int | None,
    named: str | None,
    known: Sequence[str] = (),
    with_rows: bool = False,
    on_read: Callable[[int], object] | None = None,
) -> Iterator[Texts]:
    """The texts of a file, by its ending, in their order; what is odd about them is logged at the end.

    Args:
      path: lines of text, or a table.
      num_texts: of each row, as the model reads them; None for either, the same in all rows.
      named: columns of a table as the user names them.
      known: columns that the model was trained on, taken where the table has them.
      with_rows: keep the rows of a table with their texts.
      on_read: as that of `RowTally`.

    Raises UserError, before the first row where that can be, for a file or a row that is no such text.
    """
    if path.suffix.lower() == _TEXT:
        _check_readable(path)
        if named:
            raise UserError(f"`text_column_names`={named}: {path} has no columns, but a text a line.")
        tally = RowTally(path, on_read)
        return _checked(path, read_lines(path, tally), num_texts, tally)
    if path.suffix.lower() not in TABLES:
        raise UserError(f"{path}{describe_unknown(path)}; use {_TEXT}, {', '.join(TABLES)}.")
    _check_readable(path)
    return _read_table(path, num_texts, named, known, with_rows, on_read)


def names_of_columns(path: Path, named: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """Those of all columns of the table that `read_texts` reads; () of JSON, whose objects may have different keys."""
    if path.suffix.lower() in JSON or path.stat().st_size == 0:
        return ()
    return choose_from_header(path, lambda header: choose_texts(path, header.names, named, known))[1].names


def lines_as_they_come(num_texts: int | None, descriptor: int = 0) -> Iterator[list[Texts]]:
    """The lines of standard input, all that are there at a time, as lists that are not empty; see `read_texts`."""
    path, tally, numbers, rest = Path("standard input"), RowTally(Path("standard input")), itertools.count(1), b""
    rows = _RowCheck(path, num_texts, tally)
    while data := _available(path, descriptor):
        lines, ended, rest = (rest + data).rpartition(b"\n")
        if len(rest) > MAX_RECORD:
            raise UserError(f"{path}: a line longer than {MAX_RECORD >> 20} MiB; write a text a line.")
        if ended:
            # A line with its end is told from one that stops within a character.
            yield [rows.texts(_stdin_row(path, next(numbers), line + b"\n", tally)) for line in lines.split(b"\n")]
    if rest:
        yield [rows.texts(_stdin_row(path, next(numbers), rest, tally))]
    tally.log()


def _available(path: Path, descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError as error:  # closed, or a folder
        raise UserError(f"{path} cannot be read: {error.strerror}; write texts to it, a text a line.") from error


def _stdin_row(path: Path, line: int, data: bytes, tally: RowTally) -> Row:
    try:
        text = decoded(without_marks(data) if line == 1 else data)
    except ValueError as error:
        if line == 1 and not data.isascii() and (description := what_is(data)):
            raise UserError(f"{path} is {description}.") from None
        raise UserError(f"{path}, line {line} is {error}.") from None
    return Row(line, cells_of_line(line, text, tally))


class _RowCheck:
    """Makes texts of the cells of rows: as many as the model reads."""

    def __init__(self, path: Path, num_texts: int | None, tally: RowTally, with_rows: bool = False):
        self._path = path
        self._num_texts = num_texts
        self._tally = tally
        self._with_rows = with_rows

    def texts(self, row: Row) -> Texts:
        """Raises UserError, naming the line, for another number of texts."""
        cells = row.cells
        if self._num_texts is None:
            self._num_texts = len(cells)
        if self._num_texts == 2 and cells == ("",):
            cells = ("", "")
        if len(cells) != self._num_texts or len(cells) > 2:
            needs = "one text" if self._num_texts == 1 else "two texts with a tab between them"
            raise UserError(f"{self._path}, line {row.line}: {len(cells) - 1} tabs, but {needs} a line are read.")
        blank = next((cell for cell in cells if is_blank(cell)), None)
        if blank is not None:
            self._tally.add(_EMPTY, row.line, blank)
        return Texts(cells[0], cells[1] if len(cells) > 1 else None, row if self._with_rows else None)


def _checked(
    path: Path, rows: Iterator[Row], num_texts: int | None, tally: RowTally, with_rows: bool = False
) -> Iterator[Texts]:
    check = _RowCheck(path, num_texts, tally, with_rows)
    for row in rows:
        yield check.texts(row)
    tally.log()


def _read_table(
    path: Path,
    num_texts: int | None,
    named: str | None,
    known: Sequence[str],
    with_rows: bool,
    on_read: Callable[[int], object] | None,
) -> Iterator[Texts]:
    if path.stat().st_size == 0:
        return iter(())
    names = choose_columns(path, named, known).texts
    if num_texts not in (None, len(names)):
        counts = ("one text", "two texts")
        raise UserError(
            f"{path}: the model reads {counts[(num_texts or 1) - 1]} a row, but {', '.join(names)} "
            f"{'is' if len(names) == 1 else 'are'} {counts[len(names) - 1]}. Name its columns with `text_column_names`."
        )
    log_reading(path, names)
    tally = RowTally(path, on_read)
    rows = read_columns(path, names, tally, may_be_empty=True)
    return _checked(path, _text_rows(path, rows, names), len(names), tally, with_rows)


def _text_rows(path: Path, rows: Iterator[Row], names: Sequence[str]) -> Iterator[Row]:
    for row in rows:
        cells: list[Any] = []
        for name, cell in zip(names, row.cells, strict=True):
            try:
                cells.append(text_of(cell))
            except ValueError as error:
                raise UserError(f"{path}, line {row.line}: column {name!r} {error}.") from None
        yield row._replace(cells=tuple(cells))


def _check_readable(path: Path) -> None:
    try:
        open_regular(path).close()
    except OSError as error:
        raise UserError(f"`input_file`={path} cannot be read: {error.strerror}.") from error
