"""Results as lines, tables and arrays: a row for each row of the input, in its order. No TensorFlow."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from albert.errors import UserError
from albert.serving.request import CSV, NPY
from albert.serving.results import Result
from albert.serving.sentences import tag_line
from albert.system.csv_text import csv_lines
from albert.system.files import WholeFile, cannot_write, whole_file
from albert.system.json_text import short_repr
from albert.tasks.base import MultiLabels
from albert.tasks.own.files import Row

# What columns of predictions are called beside those of an input, which may well have a label of its own.
_BESIDE = "predicted_"
_LIST_BESIDE = "predictions"
# What float32 needs to be read back as the same number.
_DIGITS = 9
# numpy's header of an array of any number of rows: 128 bytes are a multiple of 64 that holds it.
_NPY_HEADER_BYTES = 128


class ReaderGone(Exception):
    """Nobody reads standard output any more, as behind `| head`."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes) -> Any: ...


class StandardOutput:
    """Standard output, flushed after every write."""

    def write(self, data: bytes) -> None:
        """Raises ReaderGone where the other end was closed, UserError where the disk behind it is full."""
        if sys.stdout is None:
            raise UserError("standard output is closed: leave it open, or name an `output_file`.")
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Python flushes once more at its exit, and would complain then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise ReaderGone from None
        except OSError as error:
            raise cannot_write(Path("standard output"), error) from error


class Rows:
    """Writes the results of rows, each a list of records, in one form; `has_one` says that lists have one record."""

    def __init__(self, has_one: bool):
        self._has_one = has_one

    def form(self, rows: Sequence[Sequence[Result]], inputs: Sequence[Row] = ()) -> bytes:
        """The bytes of some rows, each behind its row of a table where `inputs` are given."""
        raise NotImplementedError


def check_beside(place: str, names: Sequence[str], added: Sequence[str]) -> None:
    """Raises UserError where what is at `place` has a column already that is to be `added`."""
    if both := [name for name in added if name in names]:
        raise UserError(
            f"{place}: there is a column {short_repr(both[0])} already, as `with_inputs` calls predictions; rename it."
        )


class JsonLines(Rows):
    """An object a line, or a list of objects; or the objects of the table at `path` with predictions added to them."""

    def __init__(self, has_one: bool, path: Path | None = None):
        super().__init__(has_one)
        self._path = path
        self.added = (f"{_BESIDE}label", f"{_BESIDE}score") if has_one else (_LIST_BESIDE,)

    def form(self, rows: Sequence[Sequence[Result]], inputs: Sequence[Row] = ()) -> bytes:
        """The bytes of some rows. Raises UserError for an input that has a key of the predictions."""
        if self._path is not None:
            return "".join(map(self._beside, inputs, rows)).encode()
        values = (row[0] if self._has_one else list(row) for row in rows)
        return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()

    def _beside(self, row: Row, results: Sequence[Result]) -> str:
        assert self._path, "what is beside a table"
        added = {f"{_BESIDE}{name}": value for name, value in results[0].items()} if self._has_one else {}
        added = added or {_LIST_BESIDE: list(results)}
        check_beside(f"{self._path}, line {row.line}", row.names, tuple(added))
        whole = row.whole
        if not isinstance(whole, str):
            whole = json.dumps(dict(zip(row.names, whole, strict=True)), ensure_ascii=False)
        # As it is written: numbers that are read and written again may be others.
        return f"{whole[:-1].rstrip()}, {json.dumps(added, ensure_ascii=False)[1:]}\n"


class PlainLines(Rows):
    """What is found and its score, with tabs between them, for people."""

    def form(self, rows: Sequence[Sequence[Result]], inputs: Sequence[Row] = ()) -> bytes:
        """The bytes of some rows."""
        lines = []
        for row in rows:
            found = [(" ".join(str(r.get("label", r.get("answer"))).split()), f"{r['score']:.4f}") for r in row]
            lines.append("\t".join(cell for cells in found for cell in cells) + "\n")
        return "".join(lines).encode()


class TagLines(Rows):
    """A line for each text: its entities, or its words with their tags, for people."""

    def form(self, rows: Sequence[Sequence[Result]], inputs: Sequence[Row] = ()) -> bytes:
        """The bytes of some rows."""
        return "".join(f"{tag_line(row[0])}\n" for row in rows).encode()


class Table(Rows):
    """CSV with a header. Where a row has up to `width` records their columns are numbered; what it lacks is empty.

    `beside` are the columns of the input's table that stand in front of them; None for those of predictions alone.
    """

    def __init__(self, names: Sequence[str], has_one: bool, width: int, beside: Sequence[str] | None = None):
        super().__init__(has_one)
        self._names = names
        self._width = 1 if has_one else width
        self._has_header = False
        numbers = [""] if self._has_one else [f"_{number}" for number in range(1, self._width + 1)]
        prefix = "" if beside is None else _BESIDE
        self.added = tuple(f"{prefix}{name}{number}" for number in numbers for name in names)
        self._header = [*(beside or ()), *self.added]

    def form(self, rows: Sequence[Sequence[Result]], inputs: Sequence[Row] = ()) -> bytes:
        """The bytes of some rows, behind the header if they are the first."""
        lines = [] if self._has_header else [self._header]
        self._has_header = True
        for number, row in enumerate(rows):
            cells = [record.get(name, "") for record in row for name in self._names]
            filled = cells + [""] * (self._width * len(self._names) - len(cells))
            lines.append([*(inputs[number].whole if inputs else ()), *filled])
        return csv_lines(lines).encode()


class LabelsTable(Table):
    """CSV of any number of labels a row: all in one cell, their scores in the next."""

    def __init__(self, output: MultiLabels, beside: Sequence[str] | None = None):
        super().__init__(("labels", "scores"), has_one=True, width=1, beside=beside)
        self._output = output

    def form(self, rows: Sequence[Sequence[Result]], inputs: Sequence[Row] = ()) -> bytes:
        """The bytes of some rows."""
        joined: list[list[Result]] = []
        for row in rows:
            names = [result["label"] for result in row]
            has_delimiter = any(self._output.delimiter in name for name in self._output.names)
            labels = json.dumps(names, ensure_ascii=False) if has_delimiter else self._output.delimiter.join(names)
            joined.append([{"labels": labels, "scores": self._output.join_scores([str(r["score"]) for r in row])}])
        return super().form(joined, inputs)


def vector_lines(vectors: np.ndarray) -> bytes:
    """A JSON list a line, of the numbers of `vector_rows`."""
    return "".join(json.dumps(row) + "\n" for row in vector_rows(vectors)).encode()


def vector_rows(vectors: np.ndarray) -> list[list[float]]:
    """Float32 vectors [n, H] as lists of the shortest numbers that are read back as the same."""
    return [[float(f"{value:.{_DIGITS}g}") for value in row] for row in vectors.tolist()]


class VectorFile:
    """numpy's format, of rows that come piece by piece."""

    def __init__(self, file: WholeFile, width: int):
        self._file = file
        self._width = width
        self._num_rows = 0
        file.write(self._header())

    def write(self, vectors: np.ndarray) -> None:
        """Adds float32 vectors [n, width]."""
        self._num_rows += len(vectors)
        self._file.write(np.ascontiguousarray(vectors, "<f4").tobytes())

    def finish(self) -> None:
        """Says how many there are."""
        self._file.write_start(self._header())

    def _header(self) -> bytes:
        shape = (self._num_rows, self._width)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        magic = np.lib.format.magic(1, 0) + (_NPY_HEADER_BYTES - 10).to_bytes(2, "little")
        return magic + text.ljust(_NPY_HEADER_BYTES - 11).encode() + b"\n"


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[Sink]:
    """The file at `path`, which is there when the block ends, and not where it raises; else standard output."""
    if path is None:
        yield StandardOutput()
        return
    with whole_file(path) as file:
        yield file


def is_table(path: Path | None) -> bool:
    """Whether results go to a CSV file."""
    return path is not None and path.suffix.lower() == CSV


def is_array(path: Path | None) -> bool:
    """Whether vectors go to a file of numpy's."""
    return path is not None and path.suffix.lower() == NPY
