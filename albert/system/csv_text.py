"""Rows of CSV as text."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any


def csv_line(cells: Sequence[Any]) -> str:
    """One row with its line feed; cells with delimiters, quotes or line ends of any kind are in quotes."""
    text = io.StringIO(newline="")
    # Before Python 3.13 a carriage return has quotes only where the writer's own line ends have one.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """The rows, one after the other."""
    return "".join(map(csv_line, rows))
