"""Rows of tables that people write: CSV and TSV (RFC 4180), JSON Lines, and plain lines of text.

Every reader is a generator, so that memory does not grow with the rows: it keeps one record of at most `MAX_RECORD`
bytes. Whatever is not a row of the table raises UserError in one line, with the file and the record's first line. Knows
no task.
"""

import itertools
import logging
import operator
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from albert.errors import UserError
from albert.system.json_text import parse_json, short_repr
from albert.system.printing import counted
from albert.system.text_encoding import START_BYTES, open_regular, what_is
from albert.tasks.own.cells import kind_of
from albert.tasks.own.csv_records import MARKS, WRITE_COMMAS, parse_csv
from albert.tasks.own.lines import numbered_lines, reading_bar
from albert.tasks.rows import CARRIAGE_RETURN, RowTally

_LOG = logging.getLogger(__name__)
T = TypeVar("T")

MAX_COLUMNS = 64
_SHOWN_NAMES = 20
_BLANK = "skipped {rows} on blank lines"
_JOINED = (
    "{rows} in which quotes hold tabs and line ends, so that several lines are one row; where quotes are letters, put "
    "quotes around the field and write each in it twice"
)

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
# What a header may have around its names where files that begin with a byte order mark were joined.
_AROUND_NAMES = '\ufeff" \t\r\n'
JSON = (".json", ".jsonl")
TABLES = (*_DELIMITERS, *JSON)
CONLL = (".conll", ".conllu", ".iob", ".iob2", ".bio", ".iobes", ".bioes")  # of words with tags: albert/tasks/tags


class Row(NamedTuple):
    """One record: the number of its first line, from 1, and its cells in the order that was asked for.

    Cells of CSV and TSV are texts; those of JSON are whatever JSON has. `names` are those of all columns, and `whole`
    is the record with all of them: the cells of a table, the text of a JSON object.
    """

    line: int
    cells: tuple[Any, ...]
    names: tuple[str, ...] = ()
    whole: tuple[str, ...] | str = ()


class Header(NamedTuple):
    """The names of a table's columns: its header, or the keys of its first object, which begins on `line`.

    `separator` stands between the columns of CSV and TSV, and `is_usual` says that files with this ending have it.
    """

    line: int
    names: tuple[str, ...]
    separator: str = ""
    is_usual: bool = True


def all_column_names(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    """The names that any row has: those of the `header`, but of JSON the keys of all objects. Raises UserError."""
    if not _is_json(path):
        return tuple(header)
    with reading_bar(path) as tally:
        return tuple(dict.fromkeys(key for _, found, _ in _objects(path, tally) for key in found))


def choose_from_header(path: Path, choose: Callable[[Header], T]) -> tuple[T, Header]:
    """What `choose` takes of a table's header, and that header.

    Where it raises UserError for the usual separator of a .csv, the header is read with each of the others, and the
    only one counts for which it raises none. Raises UserError where that is none: the one for the header that is most
    probably meant.
    """
    try:
        header = _header(path)
        return choose(header), header
    except UserError as error:
        refusal = error
    chosen, refusals = [], []
    for other in _other_headers(path):
        try:
            chosen.append((choose(other), other))
        except UserError as error:
            refusals.append(error)
    if len(chosen) == 1:
        return chosen[0]
    raise refusals[0] if len(refusals) == 1 and not chosen and _is_one_column(path) else refusal


def _is_one_column(path: Path) -> bool:
    """Whether the header of a .csv is one column where commas part them, or none that can be read so."""
    try:
        return len(next((cells for _, cells in parse_csv(path, ",") if cells), ())) == 1
    except UserError:
        return True


def log_reading(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Logs what is not usual about a table of which the columns `names` are read: its separator, other capitals.

    And of `optional` columns, which of those that are spelled otherwise are read, and which are not.
    """
    if _is_json(path):
        return  # each object has its own keys, which are counted where they are read
    places, header = choose_from_header(path, lambda header: _places(path, header, names))
    if not header.is_usual:
        _LOG.info("%s: %s separates the columns.", path, MARKS[header.separator])
    for name, place in zip(names, places, strict=True):
        if header.names[place] != name:
            log_spelling(path, header.names[place], name)
    is_spelled = _is_spelled(header, names)
    for name in optional:
        found = _optional_place(header.names, name, is_spelled)
        if found is not None and header.names[found] != name:
            log_spelling(path, header.names[found], name)
        elif found is None and (others := alike(header.names, name)):
            _LOG.warning(
                "%s: column %s is not read for %s: rename it if it is the same.",
                *(path, list_names(others), short_repr(name)),
            )


def log_spelling(path: Path, found: str, name: str) -> None:
    """Logs that the column `found` is read where one called `name` is looked for."""
    _LOG.info("%s: column %s is read for %s.", path, short_repr(found), short_repr(name))


def alike(names: Sequence[str], name: str) -> list[str]:
    """Those of `names` that are `name`, but for capitals and white space around it."""
    return [other for other in names if other.strip().casefold() == name.strip().casefold()]


def read_columns(
    path: Path,
    names: Sequence[str],
    tally: RowTally,
    optional: Sequence[str] = (),
    may_be_empty: bool = False,
    chosen: bytes | None = None,
) -> Iterator[Row]:
    """The cells of the columns `names`, then `optional`, of every row: None where an optional one is not there.

    Of every row that `chosen` has a 1 for, if it is given: of a file that was read before, whose other rows are neither
    looked at nor counted.

    A column that is not there may be the only one whose name differs in capitals or white space around it. Where all
    `names` are there as they are spelled, the `optional` ones must be, too.

    What is left out goes to `tally`. Raises UserError for a table without rows unless it `may_be_empty`, for a column
    of `names` that it lacks, and for every record that is not a row.
    """
    read = _json_rows if _is_json(path) else _csv_rows
    rows = read(path, names, optional, tally, chosen)
    first = next(rows, None)
    if first is not None:
        yield first
    elif not may_be_empty and chosen is None:
        raise UserError(f"{path} has no rows; write one for each text.")
    yield from rows


def read_lines(path: Path, tally: RowTally) -> Iterator[Row]:
    """The lines of a plain text file, empty ones too: one text, or two with a tab between them."""
    for line, text in numbered_lines(path, tally):
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


def list_names(names: Sequence[str]) -> str:
    """The names of columns for a message, the first of many."""
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(map(short_repr, names[:_SHOWN_NAMES])) + more


def _is_json(path: Path) -> bool:
    """Whether a table is JSON Lines, by its name's end. Raises UserError where that is none that is known."""
    ending = path.suffix.lower()
    if ending not in TABLES:
        if ending in CONLL:
            raise UserError(f"{path} is for words with tags; use {', '.join(TABLES)} for texts with labels.")
        tags = "`problem_type`=token_classification" if ending == ".txt" else CONLL[0]
        lines = " JSON files have one object a line." if "json" in ending else ""
        raise UserError(
            f"{path}{describe_unknown(path)}; use {', '.join(TABLES)}, or {tags} for a word and its tag a line.{lines}"
        )
    return ending in JSON


def describe_unknown(path: Path) -> str:
    """What follows the path of a file whose ending is not known: what the file is, if its first bytes say that."""
    try:
        with open_regular(path) as file:
            found = what_is(file.read(START_BYTES))
    except OSError:
        found = None
    return f" is {found}" if found else ": unknown file type"


# --- CSV and TSV ------------------------------------------------------------------------------------------------------


def _csv_rows(
    path: Path, names: Sequence[str], optional: Sequence[str], tally: RowTally, chosen: bytes | None
) -> Iterator[Row]:
    found, read = choose_from_header(path, lambda header: _places(path, header, names))
    header, separator, is_spelled = read.names, read.separator, _is_spelled(read, names)
    places = [*found, *(_optional_place(header, name, is_spelled) for name in optional)]
    cells_of = _getter(places)
    records = _records(path, tally, separator, chosen)
    next(records)
    for line, cells in records:
        if cells[0].strip(_AROUND_NAMES) == header[0] and tuple(c.strip(_AROUND_NAMES) for c in cells) == header:
            raise UserError(f"{path}, line {line}: the header again, as where files are joined; remove the line.")
        if len(cells) != len(header):
            raise UserError(
                f"{path}, line {line}: {counted(len(cells), 'column')}, but the header has {len(header)}; put quotes "
                "around a field with a delimiter or a line end in it, and write a quote in it twice."
            )
        yield Row(line, cells_of(cells), header, cells)


def _getter(places: Sequence[int | None]) -> Callable[[tuple[str, ...]], tuple[Any, ...]]:
    """What takes the cells at `places` out of a record: None where there is no place."""
    there = [place for place in places if place is not None]
    if len(there) == len(places) > 1:
        return operator.itemgetter(*there)  # in half the time
    return lambda cells: tuple([None if place is None else cells[place] for place in places])


def _places(path: Path, header: Header, names: Sequence[str]) -> tuple[int, ...]:
    """Where the columns `names` are. Raises UserError for the first that is not there, or not clearly."""
    found: list[str] = []
    for name in names:
        spelled = [name] if name in header.names else alike(header.names, name)
        if len(spelled) != 1 or spelled[0] in found:
            raise UserError(
                f"{path}, line {header.line}: no column {short_repr(name)}; its columns are {list_names(header.names)}."
            )
        found += spelled
    return tuple(map(header.names.index, found))


def _is_spelled(header: Header, names: Sequence[str]) -> bool:
    """Whether `names` are there exactly, as earlier versions demanded: then optional ones must be, too."""
    return header.is_usual and all(name in header.names for name in names)


def _optional_place(header: Sequence[str], name: str, is_spelled: bool) -> int | None:
    spelled = [name] if name in header else [] if is_spelled else alike(header, name)
    return header.index(spelled[0]) if len(spelled) == 1 else None


def _header(path: Path) -> Header:
    """Raises UserError where there is none that can be one."""
    if _is_json(path):
        return _json_header(path)
    usual = _DELIMITERS[path.suffix.lower()]
    return Header(*next(_records(path, RowTally(path), usual)), usual)


def _other_headers(path: Path) -> Iterator[Header]:
    """Those of a .csv with something else than commas between its columns, of which there are several."""
    for separator in MARKS if path.suffix.lower() == ".csv" else ():
        try:
            line, names = next(_records(path, RowTally(path), separator))
        except UserError:
            continue
        if len(names) > 1:
            yield Header(line, names, separator, is_usual=False)


def _records(
    path: Path, tally: RowTally, delimiter: str, chosen: bytes | None = None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(first line, cells) of every record that is not blank, the header, which is checked, first.

    Of the others those that `chosen` has a 1 for, if it is given; what is left out was told before.
    """
    header, is_tsv = False, delimiter == "\t"
    for line, cells in parse_csv(path, delimiter, tally, chosen):
        if not cells:
            tally.add(_BLANK, line, "")
            continue
        if not header:
            header = True
            cells = tuple(cell.strip() for cell in cells)
            _check_header(path, line, cells)
        elif chosen is None:
            for cell in cells:
                if cell[:1] == " " and cell.lstrip(" ").startswith('"'):
                    tally.add("{rows} with a blank before a quote, which is a letter there", line, " ".join(cells))
                    break
            if is_tsv and any("\n" in cell and "\t" in cell for cell in cells):
                tally.add(_JOINED, line, "\t".join(cells))
        yield line, cells
    if not header:
        raise UserError(f"{path} is empty; write a header with the names of the columns, and a row for each text.")


def _check_header(path: Path, line: int, names: Sequence[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise UserError(f"{path}, line {line}: {len(names)} columns; {MAX_COLUMNS} are allowed.")
    if names[0].startswith("sep=") and len(names) < 3 and not any(names[1:]):
        raise UserError(f"{path}, line {line}: {names[0]} is a line for Excel and no header; remove it.")
    if "" in names:
        raise UserError(
            f"{path}, line {line}: column {names.index('') + 1} has no name; name every column (pandas writes a first "
            "one without name unless to_csv gets index=False)."
        )
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path}, line {line}: two columns are called {short_repr(repeated)}; name every column.")
    mark = next((mark for mark in MARKS if mark in names[0]), None)
    if len(names) == 1 and path.suffix.lower() == ".csv" and mark:
        raise UserError(
            f"{path}, line {line}: the only column is called {short_repr(names[0])}, so {MARKS[mark]} seems to stand "
            f"between columns; {WRITE_COMMAS}."
        )


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json_header(path: Path) -> Header:
    first = next(_objects(path, RowTally(path)), None)
    if first is None:
        raise UserError(f"{path} is empty; write one JSON object a line.")
    return Header(first[0], tuple(first[1]))


def _json_rows(
    path: Path, names: Sequence[str], optional: Sequence[str], tally: RowTally, chosen: bytes | None
) -> Iterator[Row]:
    for line, found, text in _objects(path, tally, chosen):
        if all(name in found for name in names):
            cells = (*(found[name] for name in names), *map(found.get, optional))
        else:
            cells = _cells_of_other_keys(path, line, found, names, optional, tally)
        yield Row(line, cells, tuple(found), text)


def _cells_of_other_keys(
    path: Path, line: int, found: dict[str, Any], names: Sequence[str], optional: Sequence[str], tally: RowTally
) -> tuple[Any, ...]:
    """The cells of an object that spells keys differently. Raises UserError for one that is not clearly there."""
    keys: list[str] = []
    for name in names:
        spelled = [name] if name in found else alike(tuple(found), name)
        if len(spelled) != 1 or spelled[0] in keys:
            raise UserError(
                f"{path}, line {line}: no {short_repr(name)}; its keys are {list_names(tuple(found))}. Write it, or "
                "remove the row."
            )
        if spelled[0] != name:
            tally.add(f"{{rows}} whose {_braced(spelled[0])} is read for {_braced(name)}", line, spelled[0])
        keys += spelled
    others = [_optional_place(tuple(found), name, is_spelled=False) for name in optional]
    cells = tuple(found.values())
    return (*(found[key] for key in keys), *(None if place is None else cells[place] for place in others))


def _braced(name: str) -> str:
    return short_repr(name).replace("{", "{{").replace("}", "}}")


def _objects(path: Path, tally: RowTally, chosen: bytes | None = None) -> Iterator[tuple[int, dict[str, Any], str]]:
    """(line, object, the same as it is written) of every line that is not blank; `chosen` as for `_records`."""
    is_first = True
    lines: Iterator[tuple[int, str]] = numbered_lines(path, tally)
    if chosen is not None:
        lines = itertools.compress((line for line in lines if line[1].strip()), chosen)
    for line, text in lines:
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
        yield line, found, text.strip()


def _kind_of_json(value: Any) -> str:
    return "a text" if isinstance(value, str) else kind_of(value)
