"""Tables and weights that a caller in Python has in memory, as the files that flags name. No TensorFlow.

A run reads files: they can be digested before and after reading, a run on the command line can continue with them, and
rows are checked by one reader. So what is in memory is written to `cached_dir`, once for each content, and read there.
Not to the output directory, which may be moved aside, and which runs that share a table do not share.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from albert.errors import UserError
from albert.system.files import advice_on, delete_leftovers, whole_file
from albert.system.json_text import short_repr
from albert.system.locks import FileLock
from albert.system.progress import progress_bar
from albert.system.text_encoding import open_regular

FOLDER = "tables"
TABLES = ("train_file", "validation_file", "test_file")
WEIGHTS = "class_weights"

_EXAMPLE = '{"text": ..., "label": ...}'
# How the reader calls what JSON has, and a caller in Python.
_PHRASES = (("null (null)", "nothing (None or NaN)"), ("not a text in quotes", "not a text"))
# A line of the file that a message begins with; what the message quotes is left alone.
_LINE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(on )?line (\d+)\b""")
# What stands for a value that is no text, number or list of them: the reader refuses it where the column is read.
_OTHER = "of type"
_OF_TYPE = re.compile(rf"an object \(\{{'{_OTHER}': '([^']*)'\}}\)")
_DIGITS = 16  # of a digest in a name
# Columns of lists of words, whose tags are in another column.
_WORDS = ("tokens", "words")


class PandasFrame(Protocol):
    """A DataFrame of pandas, as far as it is read."""

    columns: Any

    def itertuples(self, index: bool = ..., name: str | None = ...) -> Iterable[tuple[Any, ...]]:
        """The rows."""


class PolarsFrame(Protocol):
    """A DataFrame of polars, as far as it is read."""

    columns: Any

    def iter_rows(self) -> Iterator[Any]:
        """The rows, as tuples."""


class Dataset(Protocol):
    """A `datasets.Dataset`, as far as it is read: it yields a dictionary for each row."""

    @property
    def column_names(self) -> Any:
        """Which tells it from a list."""

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Kept:
    """The value of the keyword `name`, written to `path`."""

    name: str
    path: Path

    def worded(self, text: str) -> str:
        """`text` with the keyword in place of the file, and rows, counted from 0, in place of its lines."""
        path = re.escape(str(self.path))
        if self.name in TABLES and text.startswith(str(self.path)):
            text = re.sub(rf"^{path}, line (\d+)", lambda line: f"row {int(line[1]) - 1} of {self.name}", text)
            text = _LINE.sub(_as_row, re.sub(f"^{path}", self.name, text))
            for of_json, here in _PHRASES:
                text = text.replace(of_json, here)
            text = _OF_TYPE.sub(r"a value of type \1", text)
        text = re.sub(f"{self.name}='{path}'", self.name, text)
        # Behind an equals sign it is part of a command line, which needs the file.
        return re.sub(rf"(?<![=\w/]){path}", self.name, text)


def is_in_memory(name: str, value: Any) -> bool:
    """Whether the value of the keyword `name` is one that `keep` writes, or refuses for what is in it."""
    if name == WEIGHTS:
        return isinstance(value, Mapping)
    return name in TABLES and (isinstance(value, list | tuple) or _is_frame(value) or _is_dataset(value))


def kind_of(name: str) -> str:
    """What `is_in_memory` asks for; "" where that is nothing."""
    if name == WEIGHTS:
        return "a dictionary of labels and weights"
    return "a DataFrame, a datasets.Dataset or a list of dictionaries" if name in TABLES else ""


def keep(name: str, value: Any, cached_dir: Path) -> Kept:
    """Writes a value for which `is_in_memory` is true, unless it is there already.

    Raises UserError, in the words of a caller in Python, for what is no table and no weights, and where it cannot be
    written. What the cells hold is for the reader to judge.
    """
    lines = _weights_lines(value) if name == WEIGHTS else _lines(name, value)
    folder, ending = cached_dir / FOLDER, ".json" if name == WEIGHTS else ".jsonl"
    with _errors_of(folder):
        folder.mkdir(parents=True, exist_ok=True)
    # One process at a time, so that no file is replaced that another one has begun to read.
    with FileLock(folder / f"{FOLDER}.lock", _cannot_write) as lock:
        lock.take(wait=True)
        if lock.is_exclusive:
            delete_leftovers(folder)
        written, total = folder / f"{name}{ending}", hashlib.sha256()
        options: dict[str, Any] = {"unit": " rows", "delay": 1, "disable": None, "leave": False}
        with whole_file(written, _cannot_write) as file:
            for line in progress_bar(lines, f"writing {name}", len(value), **options):
                data = line.encode()
                total.update(data)
                file.write(data)
        path = folder / f"{name}-{total.hexdigest()[:_DIGITS]}{ending}"
        with _errors_of(path):
            if _digest(path) == total.hexdigest():
                written.unlink()
            else:
                written.replace(path)
    return Kept(name, path)


def _digest(path: Path) -> str | None:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _cannot_write(path: Path, error: OSError) -> UserError:
    advice = advice_on(error, "set cached_dir to a folder with room that you may write to")
    return UserError(f"cannot write {path}: {error.strerror or error}. {advice}.")


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from None


def _as_row(found: re.Match[str]) -> str:
    return f"{'in ' if found[1] else ''}row {int(found[2]) - 1}" if found[2] else found[0]


# --- Rows -------------------------------------------------------------------------------------------------------------


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and (hasattr(value, "itertuples") or hasattr(value, "iter_rows"))


def _is_dataset(value: Any) -> bool:
    return hasattr(value, "column_names") and hasattr(value, "__len__") and not isinstance(value, Mapping)


def _lines(name: str, table: Any) -> Iterator[str]:
    """A line of JSON for each row. Raises UserError for what is no row."""
    if not len(table):
        raise UserError(f"{name} has no rows; give one for each text")
    named = _names_of_tags(table)
    for number, row in enumerate(_frame_rows(name, table) if _is_frame(table) else table):
        if not isinstance(row, Mapping):
            raise UserError(
                f"row {number} of {name} is {type(row).__name__}, not a dictionary: give a list such as "
                f"[{_EXAMPLE}, ...], or one path"
            )
        for key in row:
            if not isinstance(key, str):
                raise _unnamed(f"row {number} of {name}", key)
        try:
            cells = {key: _cell(value) for key, value in row.items()}
            yield json.dumps(cells | {key: _tags(cells.get(key), names) for key, names in named.items()}) + "\n"
        except (ValueError, RecursionError):  # a number with thousands of digits, a list that holds itself
            raise UserError(f"row {number} of {name} holds a number that is too long, or lists too deep") from None


def _names_of_tags(table: Any) -> dict[str, list[str]]:
    """The names behind the numbers of tags, by column, where a `datasets.Dataset` has lists of its `ClassLabel`."""
    features = getattr(table, "features", None)
    found: dict[str, list[str]] = {}
    if not isinstance(features, Mapping) or not any(name in features for name in _WORDS):
        return found
    for column, feature in features.items():
        names = getattr(getattr(feature, "feature", None), "names", None)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            found[column] = names
    return found


def _tags(cell: Any, names: list[str]) -> Any:
    """A list of the names of tags, which the dataset holds as numbers; what is none stays as it is."""
    if not isinstance(cell, list):
        return cell
    return [names[tag] if type(tag) is int and 0 <= tag < len(names) else tag for tag in cell]


def _frame_rows(name: str, frame: Any) -> Iterator[dict[str, Any]]:
    names = list(frame.columns)
    for column in names:
        if not isinstance(column, str):
            raise _unnamed(name, column)
        if names.count(column) > 1:
            raise UserError(f"{name}: two columns are called {short_repr(column)}; name every column")
    rows = frame.itertuples(index=False, name=None) if hasattr(frame, "itertuples") else frame.iter_rows()
    for row in rows:
        yield dict(zip(names, row, strict=True))


def _unnamed(place: str, column: Any) -> UserError:
    return UserError(f"{place}: a column is called {short_repr(column)}, which is no text; name every column")


def _cell(value: Any) -> Any:
    """What JSON has of a cell; {"of type": ...} of anything else, which matters only where the column is read."""
    kind = type(value).__name__
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) or kind in ("NAType", "NaTType"):
        # What is missing in a column of pandas, which writes null for it, too.
        return None if kind in ("NAType", "NaTType") or value != value else float(value)
    if isinstance(value, list | tuple):
        return [_cell(part) for part in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _cell(part) for key, part in value.items()}
    if hasattr(value, "dtype") and hasattr(value, "tolist") and getattr(value.dtype, "kind", "") not in ("m", "M"):
        plain = value.tolist()  # of NumPy: a scalar becomes a number, an array a list
        return {_OTHER: kind} if type(plain) is type(value) else _cell(plain)
    return {_OTHER: kind}


# --- Weights ----------------------------------------------------------------------------------------------------------


def _weights_lines(weights: Mapping[Any, Any]) -> Iterator[str]:
    """The JSON of a `class_weights` file: labels as the reader of tables spells them."""
    found: dict[str, Any] = {}
    for label, weight in weights.items():
        plain = _cell(label)
        word = plain if isinstance(plain, str) else json.dumps(plain)
        if isinstance(plain, list | dict) or plain is None:
            raise UserError(f"{WEIGHTS}: {short_repr(label)} is no label: a text or a number is one")
        if word in found:
            raise UserError(f"{WEIGHTS}: two weights for the label {short_repr(word)}")
        found[word] = _cell(weight)
    yield json.dumps(found) + "\n"
