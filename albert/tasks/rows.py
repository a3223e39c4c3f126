"""Rows of a file of tab-separated columns, with their line numbers. What is no such row is refused or counted."""

import codecs
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from albert.errors import UserError

_LOG = logging.getLogger(__name__)


class ShortRows:
    """Counts the rows of one file that have too few columns."""

    def __init__(self, path: Path):
        self._path = path
        self._count = 0
        self._first_line = 0

    def add(self, line: int) -> None:
        """Counts the row on `line`."""
        self._count += 1
        self._first_line = self._first_line or line

    def log(self) -> None:
        """One warning, if there were any."""
        if self._count:
            rows = "1 row" if self._count == 1 else f"{self._count} rows"
            _LOG.warning(
                "%s: skipped %s with too few columns, the first on line %d", self._path, rows, self._first_line
            )


def read_rows(
    path: Path, min_columns: int, is_row: Callable[[list[str]], bool] | None, short_rows: ShortRows | None = None
) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, columns) of every row of a file: UTF-8, a row a line, tabs between columns, no quoting.

    The first line is a header if `is_row`, which recognises a row, is given: a file without its header would otherwise
    lose its first row. Rows with fewer columns than the header or than `min_columns` go to `short_rows`.
    Raises UserError for them without `short_rows`, for text that is not UTF-8 and for a file without rows.
    """
    row_count = 0
    for line, text in _lines(path):
        columns = text.split("\t")
        if line == 1 and is_row:
            if is_row(columns):
                raise UserError(f"{path}, line 1: expected a header with the names of the columns, not a row; add one.")
            min_columns = max(min_columns, len(columns))
        elif len(columns) >= min_columns:
            row_count += 1
            yield line, columns
        elif short_rows:
            short_rows.add(line)
        else:
            raise UserError(
                f"{path}, line {line}: {len(columns)} column(s) between tabs, at least {min_columns} are needed; "
                "correct or remove the row."
            )
    if not row_count:
        raise UserError(f"{path} is empty or has only a header; fetch or write it again.")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without line end) of a UTF-8 file, with or without byte order mark.

    Lines end at a line feed only: characters such as U+2028, at which `str.splitlines` also splits, occur in texts.
    """
    try:
        with path.open("rb") as file:
            for line, data in enumerate(file, start=1):
                if line == 1:
                    data = data.removeprefix(codecs.BOM_UTF8)
                yield line, data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {line}: not UTF-8 ({error.reason} at byte {error.start + 1} of the line)."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
