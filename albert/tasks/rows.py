"""Rows of a file of tab-separated columns, with their line numbers. Other lines are refused or counted.

Columns are read by their places, so every line is held against the header, and the header against its official names:
a column too many, or two exchanged, would otherwise give other texts without a word.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.system.printing import counted, part_of
from albert.system.text_encoding import decoded, open_text, with_file

_LOG = logging.getLogger(__name__)

# Official names of columns that are read, and what copies of the same data call them.
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "index": ("id", "idx"),
    "id": ("index", "idx"),
    "sentence1": ("premise",),
    "sentence2": ("hypothesis",),
    "#1 String": ("sentence1",),
    "#2 String": ("sentence2",),
    "Quality": ("label",),
    "is_duplicate": ("label",),
    "gold_label": ("label",),
    "score": ("label",),
}
CARRIAGE_RETURN = "{rows} with a carriage return inside, read as white space"  # for a tally
_LISTED_COLUMNS = 6  # longer headers are described by the columns that are read


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the lines of a file hold.

    Attributes:
      header: its official names; a file without header has none of them in it, but `has_header` says so.
      read: the columns that are read, counted from 0; -1 is the last.
      codes: those of them, or others, that hold a word or nothing: text with white space is in the wrong column.
      has_header: whether the first line is a header. Further columns may then follow the official ones.
      skips_torn_rows: rows with too few or too many columns are left out and counted, instead of refused.
    """

    header: tuple[str, ...]
    read: tuple[int, ...]
    codes: tuple[int, ...] = ()
    has_header: bool = True
    skips_torn_rows: bool = False


class RowTally:
    """Counts what was done with rows of one file, with the first of them as an example.

    `on_read` is called with every few kilobytes that were read of the file, and its number of bytes, for a bar.
    """

    def __init__(self, path: Path, on_read: Callable[[int], object] | None = None):
        self._path = path
        self.on_read = on_read
        self._seen: dict[str, tuple[int, int, str]] = {}  # count, line and text of the first

    def add(self, what: str, line: int, text: str) -> None:
        """Counts the row on `line`. `what` has "{rows}" where their number belongs."""
        count, first_line, first_text = self._seen.get(what, (0, line, text))
        self._seen[what] = (count + 1, first_line, first_text)

    def log(self) -> None:
        """One warning for each thing that happened."""
        for what, (count, line, text) in self._seen.items():
            rows = what.format(rows=counted(count, "row"))
            _LOG.warning("%s: %s, the first on line %d: %s", self._path, rows, line, short_repr(text))


def read_rows(path: Path, layout: Layout, tally: RowTally) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, columns) of every row of a file: UTF-8, a row a line, tabs between columns, no quoting.

    What is not refused but not as usual goes to `tally`. Raises UserError for a header with other names, for a row
    that has not as many columns as the header, for text that is not UTF-8 and for a file without rows.
    """
    num_columns, num_rows, num_torn, first_torn = len(layout.header), 0, 0, 0
    header: list[str] = []
    for line, text in _lines(path):
        columns = text.split("\t")
        if line == 1 and layout.has_header:
            _check_header(path, text, layout)
            header, num_columns = columns, len(columns)
            continue
        if len(columns) != num_columns:
            if not layout.skips_torn_rows:
                raise UserError(f"{path}, line {line}: {_fault_of_count(text, len(columns), num_columns)}.")
            num_torn += 1
            first_torn = first_torn or line
            tally.add(f"skipped {{rows}} with too {_few_or_many(len(columns), num_columns)} columns", line, text)
            continue
        _check_row(path, line, columns, header, layout)
        if "\r" in text:
            tally.add(CARRIAGE_RETURN, line, text)
        num_rows += 1
        yield line, columns
    if not num_rows and not num_torn:
        raise UserError(f"{path} is empty or has only a header; fetch or write it again.")
    if num_torn > num_rows:
        raise UserError(
            f"{path}: {part_of(num_torn, num_torn + num_rows, 'row')} without the header's {num_columns} columns "
            f"between tabs, the first on line {first_torn}; fetch or write it again."
        )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without line end) of a UTF-8 file, with or without byte order marks.

    Lines end at a line feed only: characters such as U+2028, at which `str.splitlines` also splits, occur in texts.
    """
    line = 0
    try:
        with open_text(path) as file:
            for line, data in enumerate(file, start=1):
                yield line, decoded(data).removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}, line {line}: {with_file(error, path)}.") from None


# --- Faults -----------------------------------------------------------------------------------------------------------


def _check_header(path: Path, text: str, layout: Layout) -> None:
    """Raises UserError unless the columns that are read have the names that they should have."""
    columns = text.split("\t")
    wanted = {place: layout.header[place] for place in layout.read}
    found = {place: columns[place] if place < len(columns) else "" for place in layout.read}
    names = [name.strip().casefold() for name in columns]
    is_clear = all(names.count(name.strip().casefold()) == 1 for name in found.values())
    if text and is_clear and all(_is_name(found[place], name) for place, name in wanted.items()):
        return
    if not text:
        raise UserError(f"{path} is empty or begins with a blank line; {_header_needed(layout)}.")
    raise UserError(
        f"{path}, line 1: expected a header with the names of the columns, {_shown_header(layout)}, not "
        f"{short_repr(text.replace(chr(9), '<TAB>'))}; {_advice(text, columns, layout)}."
    )


def _is_name(found: str, name: str) -> bool:
    return found.strip().casefold() in {known.casefold() for known in (name, *OTHER_NAMES.get(name, ()))}


def _shown_header(layout: Layout) -> str:
    if len(layout.header) <= _LISTED_COLUMNS:
        return f"'{'<TAB>'.join(layout.header)}'"
    places = {place % len(layout.header): place for place in layout.read}
    return ", ".join(
        f"'{layout.header[place]}' as {'the last' if places[place] < 0 else f'number {place + 1}'}"
        for place in sorted(places)
    )


def _header_needed(layout: Layout) -> str:
    return f"put a line with {_shown_header(layout)} first"


def _advice(text: str, columns: list[str], layout: Layout) -> str:
    """What to do about a first line that is not the header."""
    if "\r" in text:
        return r"lines seem to end in lone carriage returns, convert them with: tr '\r' '\n'"
    if len(columns) == 1 and ("," in text or ";" in text):
        return "put tabs between the columns"
    if len(set(columns)) < len(columns):
        return "give every column a name of its own"
    if any(column.startswith('"') for column in columns):
        return "quotes are letters in these files: write it without quoting, and with the header"
    names = {name.casefold() for official in layout.header for name in (official, *OTHER_NAMES.get(official, ()))}
    if names.isdisjoint(column.strip().casefold() for column in columns):
        return "if that is a row, put the header before it, otherwise name the columns so"
    misnamed = [
        place for place in layout.read if place < len(columns) and not _is_name(columns[place], layout.header[place])
    ]
    if len(misnamed) == 1 and len(columns) >= len(layout.header):
        [place] = misnamed
        return f"column {place % len(columns) + 1} is {short_repr(columns[place])}, call it '{layout.header[place]}'"
    return "put the columns in this order, under these names"


def _few_or_many(count: int, wanted: int) -> str:
    return "few" if count < wanted else "many"


def _fault_of_count(text: str, count: int, wanted: int) -> str:
    if count < wanted:
        return f"{counted(count, 'column')} between tabs, at least {wanted} are needed; correct or remove the row"
    joined = " (a carriage return in it may have ended a row)" if "\r" in text else ""
    return f"{counted(count, 'column')} between tabs, but the header has {wanted}{joined}; correct or remove the row"


def _check_row(path: Path, line: int, columns: list[str], header: list[str], layout: Layout) -> None:
    if columns == header:
        raise UserError(f"{path}, line {line}: the header again, as where files are joined; remove the line.")
    for place in layout.codes:
        if len(columns[place].split()) > 1:
            raise UserError(
                f"{path}, line {line}: column {place + 1} ({layout.header[place]}) holds {short_repr(columns[place])}, "
                "which is a text; put the columns in their order."
            )
