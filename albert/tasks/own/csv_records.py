"""Records of CSV as Python's csv reads them, of files of any size. No TensorFlow."""

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.tasks.own.cells import MAX_FIELD
from albert.tasks.own.lines import MAX_RECORD, numbered_lines, split_at_line_feeds, texts_of_lines
from albert.tasks.rows import RowTally

# What may stand between columns of CSV in place of commas, as Excel writes where a comma is the decimal point, and how
# a header with quotes around names shows it.
MARKS = {";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_QUOTED_NAMES = re.compile(r'"[^"]*"([;\t|])(?:"|\w)')
WRITE_COMMAS = "write commas there, or tabs in a file whose name ends in .tsv"


def parse_csv(
    path: Path, delimiter: str, tally: RowTally | None = None, chosen: bytes | None = None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(first line, cells) of every record, as Python's csv reads them.

    Where `chosen` is given, the first that is not blank, and of those behind it the ones that it has a 1 for.
    """
    # The limit is one for the process, and is only ever raised: no other reader can lose a field by it.
    if csv.field_size_limit() < MAX_RECORD:
        csv.field_size_limit(MAX_RECORD)
    feed = _Feed(path, tally)
    reader = csv.reader(feed.lines(), delimiter=delimiter, strict=True)
    records: Iterator[list[str]] = reader
    if chosen is not None:  # without a step of Python for the others
        records = itertools.compress(filter(None, reader), itertools.chain(b"\1", chosen))
        feed.checks_size = False
    while True:
        feed.first = first = reader.line_num + 1
        try:
            cells = next(records, None)
        except csv.Error as error:
            fault = _other_delimiter(path, delimiter) or _fault(str(error), first, reader.line_num)
            raise UserError(f"{path}, line {first}: {fault}.") from None
        if cells is None:
            return
        if chosen is not None:
            first = reader.line_num - sum([cell.count("\n") for cell in cells])
        elif feed.size > MAX_FIELD:
            _check_fields(path, first, cells)
        yield first, tuple(cells)


def _check_fields(path: Path, line: int, cells: Sequence[str]) -> None:
    for number, cell in enumerate(cells, start=1):
        if len(cell) > MAX_FIELD:
            raise UserError(
                f"{path}, line {line}: column {number} holds {len(cell):,} characters; {MAX_FIELD:,} are allowed. Is a "
                "quote missing, or one too many?"
            )


class _Feed:
    """The lines of a file for Python's csv. Ends a record that grows without end, as after a quote that is not closed.

    `first` is the line on which the record begins that is read, and `size` at least its characters so far, where the
    file `checks_size`.
    """

    def __init__(self, path: Path, tally: RowTally | None):
        self._path, self._tally = path, tally
        self.first, self.size = 1, 0
        self.checks_size = True

    def lines(self) -> Iterator[str]:
        """All of them, one by one. Raises UserError where those of one record are too long together."""
        return itertools.chain.from_iterable(self._parts())

    def _parts(self) -> Iterator[Iterable[str]]:
        for number, text in texts_of_lines(self._path, self._tally):
            self.size += len(text)
            if self.checks_size and self.size > MAX_RECORD:
                raise UserError(
                    f"{self._path}, line {self.first}: a row longer than {MAX_RECORD >> 20} MiB begins here. Is a "
                    "quote missing, or one too many?"
                )
            yield split_at_line_feeds(text)
            # More is wanted: for a record that began before this part, or in it.
            if self.first >= number:
                own = itertools.islice(split_at_line_feeds(text), self.first - number, None)
                self.size = sum(map(len, own))


def _other_delimiter(path: Path, delimiter: str) -> str | None:
    """What to say where the file's first line has names in quotes, but something else between them."""
    found = _QUOTED_NAMES.match(next((text.strip() for _, text in numbered_lines(path) if text.strip()), ""))
    if found is None or found[1] == delimiter:
        return None
    mark = MARKS.get(found[1], short_repr(found[1]))
    return f"{mark} seems to stand between columns; {WRITE_COMMAS}"


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
