"""Rows of tables that people write: CSV and TSV (RFC 4180), JSON Lines, and plain lines of text.

Every reader is a generator, so that memory does not grow with the rows: it keeps one record of at most `MAX_RECORD`
bytes. Whatever is not a row of the table raises UserError in one line, with the file and the record's first line. Knows
no task.
"""

import csv
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from albert.errors import UserError
from albert.system.json_text import parse_json, short_repr
from albert.system.printing import counted
from albert.system.text_encoding import decoded, open_text
from albert.tasks.rows import CARRIAGE_RETURN, RowTally

MAX_COLUMNS = 64
MAX_FIELD = 1 << 20  # characters
MAX_RECORD = 1 << 24  # bytes
_SHOWN_NAMES = 20
_BLANK = "skipped {rows} on blank lines"
_JOINED = (
    "{rows} in which quotes hold tabs and line ends, so that several lines are one row; where quotes are letters, put "
    "quotes around the field and write each in it twice"
)

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
# What stands between columns that no file may have there, in CSV, and how a header with quotes around names shows it.
_MARKS = {";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_QUOTED_NAMES = re.compile(r'"[^"]*"([;\t|])(?:"|\w)')
_WRITE_COMMAS = "write commas there, or tabs in a file whose name ends in .tsv"
# What a header may have around its names where files that begin with a byte order mark were joined.
_AROUND_NAMES = '\ufeff" \t\r\n'
_JSON = (".json", ".jsonl")
TABLES = (*_DELIMITERS, *_JSON)


class Row(NamedTuple):
    """One record: the number of its first line, from 1, and its cells in the order that was asked for.

    Cells of CSV and TSV are texts; those of JSON are whatever JSON has.
    """

    line: int
    cells: tuple[Any, ...]


def column_names(path: Path) -> tuple[str, ...]:
    """The names of a table's columns: its header, or the keys of its first object. Raises UserError."""
    return _json_names(path) if _is_json(path) else next(_records(path, RowTally(path)))[1]


def all_column_names(path: Path) -> tuple[str, ...]:
    """The names that any row has: `column_names`, but of JSON the keys of all objects. Raises UserError."""
    if not _is_json(path):
        return column_names(path)
    return tuple(dict.fromkeys(key for _, found in _objects(path, RowTally(path)) for key in found))


def read_columns(
    path: Path, names: Sequence[str], tally: RowTally, optional: Sequence[str] = (), may_be_empty: bool = False
) -> Iterator[Row]:
    """The cells of the columns `names`, then `optional`, of every row: None where an optional one is not there.

    What is left out goes to `tally`. Raises UserError for a table without rows unless it `may_be_empty`, for a column
    of `names` that it lacks, and for every record that is not a row.
    """
    read = _json_rows if _is_json(path) else _csv_rows
    rows = read(path, names, optional, tally)
    first = next(rows, None)
    if first is not None:
        yield first
    elif not may_be_empty:
        raise UserError(f"{path} has no rows; write one for each text.")
    yield from rows


def read_lines(path: Path, tally: RowTally) -> Iterator[Row]:
    """The lines of a plain text file, empty ones too: one text, or two with a tab between them."""
    for line, text in _lines(path):
        cells = cells_of_line(line, text, tally)
        if len(cells) > 2:
            raise UserError(
                f"{path}, line {line}: {len(cells) - 1} tabs; a line is a text, or two with one tab between them."
            )
        yield Row(line, cells)


def cells_of_line(line: int, text: str, tally: RowTally) -> tuple[str, ...]:
    """What stands between tabs on a line of plain text, without its line end."""
    text = text.removesuffix("\n").removesuffix("\r")
    if "\r" in text:
        tally.add(CARRIAGE_RETURN, line, text)
    return tuple(text.split("\t"))


def text_of(cell: Any) -> str:
    """The text in a cell. Raises ValueError saying what else it holds, to follow the name of the column."""
    if not isinstance(cell, str):
        raise ValueError(f"holds {_kind(cell)} ({shown(cell)}), not a text in quotes")
    if len(cell) > MAX_FIELD:
        raise ValueError(f"holds {len(cell):,} characters; {MAX_FIELD:,} are allowed")
    if "\0" in cell:
        raise ValueError("holds the character NUL, which no text has")
    if not cell.isascii():
        try:
            cell.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a surrogate pair, which is not a character") from None
    return cell


def label_of(cell: Any) -> str | tuple[str, ...]:
    """The label in a cell without the white space around it, or the labels in a list of JSON.

    A number of JSON is the label that it spells. Raises ValueError as `text_of`.
    """
    if isinstance(cell, list):
        labels = [_label_word(label) for label in cell]
        if len(set(labels)) < len(labels):
            raise ValueError(f"holds {short_repr(cell)}, which names a label twice")
        if "" in labels:
            raise ValueError(f"holds {short_repr(cell)}, with an empty label")
        return tuple(sorted(labels))
    return _label_word(cell)


def shown(value: Any) -> str:
    """`value` as JSON spells it, cut to about one line."""
    return short_repr(value) if isinstance(value, str | list | dict) else json.dumps(value)


def list_names(names: Sequence[str]) -> str:
    """The names of columns for a message, the first of many."""
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(map(short_repr, names[:_SHOWN_NAMES])) + more


def _label_word(cell: Any) -> str:
    if isinstance(cell, bool | int) or (isinstance(cell, float) and math.isfinite(cell)):
        return json.dumps(cell)
    return text_of(cell).strip()


def _kind(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true or false"
    kinds = {dict: "an object", list: "a list", int: "a number", float: "a number", type(None): "null"}
    return kinds[type(cell)]


def _is_json(path: Path) -> bool:
    """Whether a table is JSON Lines, by its name's end. Raises UserError where that is none that is known."""
    ending = path.suffix.lower()
    if ending not in TABLES:
        raise UserError(
            f"{path}: unknown file type; use {', '.join((*_DELIMITERS, *_JSON))}. JSON files have one object a line."
        )
    return ending in _JSON


# --- Lines ------------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text with its line feed) of every line: UTF-8, with or without byte order marks."""
    try:
        with open_text(path) as file:
            yield from _decoded_lines(path, file)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _decoded_lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, str]]:
    for line in itertools.count(1):
        data = file.readline(MAX_RECORD + 1)
        if not data:
            return
        if len(data) > MAX_RECORD:
            raise UserError(f"{path}, line {line}: longer than {MAX_RECORD >> 20} MiB; write a row a line.")
        try:
            yield line, decoded(data)
        except ValueError as error:
            raise UserError(f"{path}, line {line} is {error}.") from None


# --- CSV and TSV ------------------------------------------------------------------------------------------------------


def _csv_rows(path: Path, names: Sequence[str], optional: Sequence[str], tally: RowTally) -> Iterator[Row]:
    records = _records(path, tally)
    header_line, header = next(records)
    places: list[int | None] = [_place(path, header_line, header, name) for name in names]
    places += [header.index(name) if name in header else None for name in optional]
    for line, cells in records:
        if cells[0].strip(_AROUND_NAMES) == header[0] and tuple(c.strip(_AROUND_NAMES) for c in cells) == header:
            raise UserError(f"{path}, line {line}: the header again, as where files are joined; remove the line.")
        if len(cells) != len(header):
            raise UserError(
                f"{path}, line {line}: {counted(len(cells), 'column')}, but the header has {len(header)}; put quotes "
                "around a field with a delimiter or a line end in it, and write a quote in it twice."
            )
        yield Row(line, tuple(None if place is None else cells[place] for place in places))


def _place(path: Path, line: int, header: Sequence[str], name: str) -> int:
    if name not in header:
        raise UserError(f"{path}, line {line}: no column {short_repr(name)}; its columns are {list_names(header)}.")
    return header.index(name)


def _records(path: Path, tally: RowTally) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(first line, cells) of every record that is not blank, the header, which is checked, first."""
    header, delimiter = False, _DELIMITERS[path.suffix.lower()]
    is_tsv = delimiter == "\t"
    for line, cells in _parsed(path, delimiter):
        if not cells:
            tally.add(_BLANK, line, "")
            continue
        if not header:
            header = True
            cells = tuple(cell.strip() for cell in cells)
            _check_header(path, line, cells)
        elif any(cell.startswith(" ") and cell.lstrip(" ").startswith('"') for cell in cells):
            tally.add("{rows} with a blank before a quote, which is a letter there", line, " ".join(cells))
        if is_tsv and any("\n" in cell and "\t" in cell for cell in cells):
            tally.add(_JOINED, line, "\t".join(cells))
        yield line, cells
    if not header:
        raise UserError(f"{path} is empty; write a header with the names of the columns, and a row for each text.")


def _parsed(path: Path, delimiter: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(first line, cells) of every record, as Python's csv reads them."""
    # The limit is one for the process, and is only ever raised: no other reader can lose a field by it.
    if csv.field_size_limit() < MAX_RECORD:
        csv.field_size_limit(MAX_RECORD)
    sizes = _RecordSize(path)
    reader = csv.reader(sizes.watched(_lines(path)), delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        sizes.begin(first)
        try:
            cells = next(reader, None)
        except csv.Error as error:
            fault = sizes.other_delimiter(delimiter) or _fault(str(error), first, reader.line_num)
            raise UserError(f"{path}, line {first}: {fault}.") from None
        if cells is None:
            return
        for number, cell in enumerate(cells, start=1):
            if len(cell) > MAX_FIELD:
                raise UserError(
                    f"{path}, line {first}: column {number} holds {len(cell):,} characters; {MAX_FIELD:,} are "
                    "allowed. Is a quote missing, or one too many?"
                )
        yield first, tuple(cells)


class _RecordSize:
    """Ends a record that grows without end, as after a quote that is never closed."""

    def __init__(self, path: Path):
        self._path = path
        self._first = self._size = 0
        self._header = ""

    def begin(self, line: int) -> None:
        """A record begins on `line`."""
        self._first, self._size = line, 0

    def watched(self, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
        """The lines. Raises UserError where those of one record are too long together."""
        for _, text in lines:
            self._header = self._header or text.strip()
            self._size += len(text)
            if self._size > MAX_RECORD:
                raise UserError(
                    f"{self._path}, line {self._first}: a row longer than {MAX_RECORD >> 20} MiB begins here. Is a "
                    "quote missing, or one too many?"
                )
            yield text

    def other_delimiter(self, delimiter: str) -> str | None:
        """What to say where the file's first line has names in quotes, but something else between them."""
        found = _QUOTED_NAMES.match(self._header)
        if found is None or found[1] == delimiter:
            return None
        mark = _MARKS.get(found[1], short_repr(found[1]))
        return f"{mark} seems to stand between columns; {_WRITE_COMMAS}"


def _fault(error: str, first: int, last: int) -> str:
    """What is wrong, where Python's csv says `error`, in the record from line `first` to `last`."""
    if "new-line" in error:
        return "a carriage return outside quotes; end lines with a line feed, and put quotes around a field with one"
    if "expected after" in error:
        where = f" (on line {last})" if last > first else ""
        return f"a letter follows a closing quote{where}; write a quote inside a field in quotes twice"
    if "end of data" in error:
        return "a quote opens here that is never closed; close it, or write a quote inside a field in quotes twice"
    return error


def _check_header(path: Path, line: int, names: Sequence[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise UserError(f"{path}, line {line}: {len(names)} columns; {MAX_COLUMNS} are allowed.")
    if names[0].startswith("sep=") and len(names) < 3 and not any(names[1:]):
        raise UserError(
            f"{path}, line {line}: {names[0]} is a line for Excel and no header; remove it. Between columns, "
            f"{_WRITE_COMMAS}."
        )
    if "" in names:
        raise UserError(
            f"{path}, line {line}: column {names.index('') + 1} has no name; name every column (pandas writes a first "
            "one without name unless to_csv gets index=False)."
        )
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path}, line {line}: two columns are called {short_repr(repeated)}; name every column.")
    mark = next((mark for mark in _MARKS if mark in names[0]), None)
    if len(names) == 1 and path.suffix.lower() == ".csv" and mark:
        raise UserError(
            f"{path}, line {line}: the only column is called {short_repr(names[0])}, so {_MARKS[mark]} seems to stand "
            f"between columns; {_WRITE_COMMAS}."
        )


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json_names(path: Path) -> tuple[str, ...]:
    first = next(_objects(path, RowTally(path)), None)
    if first is None:
        raise UserError(f"{path} is empty; write one JSON object a line.")
    return tuple(first[1])


def _json_rows(path: Path, names: Sequence[str], optional: Sequence[str], tally: RowTally) -> Iterator[Row]:
    for line, found in _objects(path, tally):
        for name in names:
            if name not in found:
                raise UserError(
                    f"{path}, line {line}: no {short_repr(name)}; its keys are {list_names(tuple(found))}. Write it, "
                    "or remove the row."
                )
        yield Row(line, (*(found[name] for name in names), *map(found.get, optional)))


def _objects(path: Path, tally: RowTally) -> Iterator[tuple[int, dict[str, Any]]]:
    is_first = True
    for line, text in _lines(path):
        if not text.strip():
            tally.add(_BLANK, line, "")
            continue
        if is_first and text.lstrip().startswith("["):
            raise UserError(
                f"{path}, line {line}: a list; write one object a line, without commas between them, as does: "
                "jq -c '.[]'"
            )
        is_first = False
        try:
            found = parse_json(text.strip())
        except ValueError as error:
            raise UserError(f"{path}, line {line} is {error}; write one whole object a line.") from None
        if not isinstance(found, dict):
            raise UserError(f"{path}, line {line} is {_kind_of_json(found)}; write one object a line.")
        if len(found) > MAX_COLUMNS:
            raise UserError(f"{path}, line {line}: {len(found)} keys; {MAX_COLUMNS} are allowed.")
        yield line, found


def _kind_of_json(value: Any) -> str:
    return "a text" if isinstance(value, str) else _kind(value)
