"""One look at all rows of a table before a run: its labels, and a fingerprint of each row.

Of a row 24 bytes stay, whatever its texts: enough to choose the rows of a split, and to count texts that are there
twice. What is not refused but worth knowing is logged once, with its count and first place.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import logging
import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.system.printing import counted, part_of
from albert.tasks.own.cells import label_of, text_of
from albert.tasks.own.columns import (
    MAX_CLASSES,
    MULTI,
    REGRESSION,
    SINGLE,
    Columns,
    ProblemType,
    check_label,
    is_integer,
    is_number,
    is_score,
    looks_alike,
    score_of,
    split_label,
)
from albert.tasks.own.files import log_reading, read_columns
from albert.tasks.own.lines import reading_bar
from albert.tasks.rows import RowTally
from albert.tasks.text import is_blank

_LOG = logging.getLogger(__name__)

# What to do about a column whose cells are no labels of the task.
OTHER_COLUMN = "choose another column with `label_column_name`, or rename this one if it holds something else"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_DELIMITERS = ("|", ";", ",")  # of several labels in one cell
# A label with one row is odd where the others have about this many, and so many of them are named.
_MANY_ROWS, _SHOWN_LABELS = 20, 5
_MANY_LABELS = 10  # up to so many, half of the rows may have a label of their own

# A label as the file has it: one, or the sorted names of several. None where the row has none.
Label = str | tuple[str, ...] | None


class TextRow(NamedTuple):
    """A row with what is read of it: `number` counts rows from 0, `line` is the first of its lines, from 1."""

    number: int
    line: int
    texts: tuple[str, ...]
    label: Label


@dataclasses.dataclass(frozen=True)
class Table:
    """A file, the columns that are read of it, and what its labels are.

    `problem_type` None: what the labels look like. `delimiter` stands between the labels of one row; without, only
    JSON has lists of labels. `needs_label`: every row must have a label.
    """

    path: Path
    columns: Columns
    problem_type: ProblemType | None = None
    delimiter: str | None = None
    needs_label: bool = True

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that the file must have."""
        return self.columns.names if self.needs_label else self.columns.texts

    @property
    def optional(self) -> tuple[str, ...]:
        """The column that is read where the file has it."""
        return () if self.needs_label or self.columns.label is None else (self.columns.label,)

    def rows(self, tally: RowTally, chosen: bytes | None = None) -> Iterator[TextRow]:
        """The rows, one by one. Raises UserError with file and line for one that cannot be used.

        Where `chosen` is given, those that it has a 1 for; the others are not looked at.
        """
        num_texts = len(self.columns.texts)
        known: dict[object, Label] = {}  # of the cells of labels that were looked at, since many rows have the same
        numbers = itertools.count() if chosen is None else itertools.compress(itertools.count(), chosen)
        rows = read_columns(self.path, self.needed, tally, self.optional, chosen=chosen)
        for number, row in zip(numbers, rows, strict=False):
            texts: list[str] = []
            label: Label = None
            try:
                for cell in row.cells[:num_texts]:
                    texts.append(text_of(cell))
                if len(row.cells) > num_texts:
                    cell = row.cells[num_texts]
                    # Only texts: 1, 1.0 and true of JSON are the same key, but other labels.
                    label = known.get(cell) if type(cell) is str else None
                    if label is None:
                        label = self._label(cell)
                        if type(cell) is str and len(known) < MAX_CLASSES:
                            known[cell] = label
            except ValueError as error:
                place = f"{self.path}, line {row.line}: column {short_repr(self.columns.names[len(texts)])}"
                remedy = f", or {OTHER_COLUMN}" if len(texts) == num_texts else ""
                raise UserError(f"{place} {error}; correct or remove the row{remedy}.") from None
            yield TextRow(number, row.line, tuple(texts), label)

    def _label(self, cell: object) -> Label:
        if cell is None and not self.needs_label:
            return None
        label = label_of(cell)
        if isinstance(label, str) and self.delimiter:
            label = split_label(label, self.delimiter)
        if label == "":
            if self.needs_label:
                raise ValueError("is empty, but every row needs a label")
            return None
        if self.problem_type == MULTI and isinstance(label, str):
            raise ValueError(f"holds {short_repr(label)}, not a list of labels; `label_delimiter` makes it one")
        if self.problem_type in (SINGLE, REGRESSION) and isinstance(label, tuple):
            raise ValueError(f"holds a list of labels, which is {MULTI}, not `problem_type`={self.problem_type}")
        for name in (label,) if isinstance(label, str) else label:
            check_label(name)
        if self.problem_type == REGRESSION and isinstance(label, str):
            score_of(label)
        return label


class Fingerprints:
    """64-bit numbers that depend on a seed, the texts and the label of a row, and on nothing else."""

    def __init__(self, seed: int):
        self._start = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "little", signed=True))

    def of(self, texts: Sequence[str], label: Label = None) -> int:
        """That of texts with a label, or of texts alone."""
        # Neither texts nor labels have a NUL in them, so that no two rows of a table have the same bytes.
        data = "\0".join(texts)
        if label is not None:
            data += "\0\0" + (label if isinstance(label, str) else "\0".join(label))
        digest = self._start.copy()
        digest.update(data.encode())
        return int.from_bytes(digest.digest(), "little")

    def of_texts_and_row(self, texts: Sequence[str], label: Label) -> tuple[int, int]:
        """`of` the texts alone, and of them with their label."""
        digest = self._start.copy()
        digest.update("\0".join(texts).encode())
        of_texts = int.from_bytes(digest.digest(), "little")
        if label is None:
            return of_texts, of_texts
        # What follows is digested behind what was: the texts are not read again.
        digest.update(("\0\0" + (label if isinstance(label, str) else "\0".join(label))).encode())
        return of_texts, int.from_bytes(digest.digest(), "little")


@dataclasses.dataclass
class Survey:
    """What a look at all rows of a table found; arrays have an entry for each row.

    `labels` counts rows by label as it stands there, in the order of `strata`: for a row the number of its label.
    """

    table: Table
    labels: dict[Label, int] = dataclasses.field(default_factory=dict)
    lines: array = dataclasses.field(default_factory=lambda: array("I"))
    texts: array = dataclasses.field(default_factory=lambda: array("Q"))
    rows: array = dataclasses.field(default_factory=lambda: array("Q"))
    strata: array = dataclasses.field(default_factory=lambda: array("I"))
    spelling: "Spelling" = dataclasses.field(default_factory=lambda: Spelling())
    too_many: int = 0  # the line of the first label beyond MAX_CLASSES

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return len(self.lines)

    @property
    def problem_type(self) -> ProblemType:
        """What the labels are: what was asked for, or what they look like."""
        if self.table.problem_type:
            return self.table.problem_type
        if any(isinstance(label, tuple) for label in self.labels):
            return MULTI
        return REGRESSION if self.spelling.are_scores else SINGLE

    def names(self) -> dict[str, int]:
        """How many rows have each label; of lists, each label of the list."""
        counts: collections.Counter[str] = collections.Counter()
        for label, count in self.labels.items():
            for name in () if label is None else (label,) if isinstance(label, str) else label:
                counts[name] += count
        return dict(counts)

    def first_line(self, name: str) -> int:
        """The line of the first row that has a label, alone or in a list."""
        return self._first_lines[name]

    @functools.cached_property
    def _first_lines(self) -> dict[str, int]:
        """Of all labels at once: a file with many that look alike asks for each."""
        # Labels are numbered in the order in which they came.
        _, rows = np.unique(np.array(self.strata, np.int64), return_index=True)
        found: dict[str, int] = {}
        for label, row in zip(self.labels, rows.tolist(), strict=True):
            for name in () if label is None else (label,) if isinstance(label, str) else label:
                found.setdefault(name, self.lines[row])
        return found


@dataclasses.dataclass
class Spelling:
    """What labels look like: words or numbers. Of each kind the first label, with its line; of words how many.

    `number` is the last of those that can be scores, and `is_constant` says that they are all the same.
    """

    word: tuple[int, str] | None = None
    num_words: int = 0
    with_point: tuple[int, str] | None = None
    has_fraction: bool = False
    too_large: tuple[int, str] | None = None
    number: float | None = None
    is_constant: bool = True

    @property
    def are_numbers(self) -> bool:
        """Whether no label is a word."""
        return self.word is None

    @property
    def are_scores(self) -> bool:
        """Whether all labels are numbers and one has a decimal point."""
        return self.are_numbers and self.with_point is not None

    def add(self, line: int, label: str) -> None:
        """Looks at one more label."""
        if not is_number(label):
            self.word = self.word or (line, label)
            self.num_words += 1
        elif not is_score(label):
            self.too_large = self.too_large or (line, label)
        else:
            self.is_constant = self.is_constant and self.number in (None, float(label))
            self.number = float(label)
        if is_number(label) and not is_integer(label):
            self.with_point = self.with_point or (line, label)
            self.has_fraction = self.has_fraction or not float(label).is_integer()


def survey(table: Table, seed: int) -> Survey:
    """Reads all rows of `table`. Raises UserError for the first that cannot be used; logs what is worth knowing."""
    found, fingerprints = Survey(table), Fingerprints(seed)
    numbers: dict[Label, int] = {}
    num_blank = 0
    log_reading(table.path, table.needed, table.optional)
    with reading_bar(table.path) as tally:
        for row in table.rows(tally):
            if any(map(is_blank, row.texts)):
                num_blank += 1
                tally.add("{rows} with an empty text, used all the same", row.line, row.texts[0])
            of_texts, of_row = fingerprints.of_texts_and_row(row.texts, row.label)
            found.lines.append(row.line)
            found.texts.append(of_texts)
            found.rows.append(of_row)
            found.strata.append(_count(found, numbers, row))
    if num_blank == found.num_rows:
        raise UserError(
            f"{table.path}: an empty text in all of its {counted(num_blank, 'row')}; is it the right column?"
        )
    _check_number(found, is_all=True)
    _check_size(found)
    tally.log()
    if table.problem_type is None:
        _warn_of_kind(found)
    return found


def _count(found: Survey, numbers: dict[Label, int], row: TextRow) -> int:
    """Counts the row's label and returns its number. Raises UserError as `_check_kind` and `_check_number`."""
    label = row.label
    if isinstance(label, str):
        if label not in numbers:
            found.spelling.add(row.line, label)
        if found.table.problem_type == REGRESSION:
            label = ""
    if label not in numbers:
        _check_kind(found.table, row, numbers)
        if isinstance(label, str) and len(numbers) >= MAX_CLASSES:
            found.too_many = found.too_many or row.line
            _check_number(found)
            label = next(iter(numbers))  # scores, if one has a decimal point
        else:
            numbers[label] = len(numbers)
    found.labels[label] = found.labels.get(label, 0) + 1
    return numbers[label]


def _check_kind(table: Table, row: TextRow, labels: Iterable[Label]) -> None:
    """Raises UserError where the row's label is a list and those before it are words, or the other way round."""
    first = next((label for label in labels if label is not None), None)
    if first is not None and row.label is not None and isinstance(row.label, tuple) != isinstance(first, tuple):
        kinds = ("a list", "a word") if isinstance(row.label, tuple) else ("a word", "a list")
        raise UserError(
            f"{table.path}, line {row.line}: the label is {kinds[0]}, but {kinds[1]} in other rows; write all as lists."
        )


def _check_number(found: Survey, is_all: bool = False) -> None:
    """Raises UserError where there are too many labels: at the end, or as soon as they cannot be scores."""
    are_numbers, are_scores = found.spelling.are_numbers, found.spelling.are_scores
    if found.too_many and (not are_numbers or found.table.problem_type or (is_all and not are_scores)):
        raise UserError(
            f"{found.table.path}, line {found.too_many}: more than {MAX_CLASSES:,} different labels; is "
            f"{short_repr(found.table.columns.label)} the right column? (A regression needs `problem_type`="
            f"{REGRESSION}.)"
        )


def _check_size(found: Survey) -> None:
    """Raises UserError where labels turned out to be scores, and one is too large for that."""
    if found.problem_type == REGRESSION and found.spelling.too_large:
        line, label = found.spelling.too_large
        raise UserError(
            f"{found.table.path}, line {line}: column {short_repr(found.table.columns.label)} holds "
            f"{short_repr(label)}, which is not between -1e15 and 1e15; correct or remove the row."
        )


# --- What is worth knowing --------------------------------------------------------------------------------------------


def _warn_of_kind(found: Survey) -> None:
    """Warns where what the labels look like may not be what they are."""
    spelling, path, num_labels = found.spelling, found.table.path, len(found.names())
    if found.problem_type == REGRESSION and not spelling.has_fraction:
        assert spelling.with_point, "what makes it a regression"
        _LOG.warning(
            "%s: the labels are whole numbers, but written with a decimal point (line %d: %s), and so are scores; "
            "`problem_type`=%s makes them classes",
            *(path, *spelling.with_point, SINGLE),
        )
    elif found.problem_type == SINGLE and spelling.word and spelling.with_point:
        _LOG.warning(
            "%s: labels that are not numbers: %d, the first on line %d: %s. So numbers with a decimal point (line %d: "
            "%s) are classes too; for a regression, correct or remove them",
            *(path, spelling.num_words, spelling.word[0], short_repr(spelling.word[1]), *spelling.with_point),
        )
    elif found.problem_type == SINGLE and spelling.word and 2 * spelling.num_words < num_labels:
        _LOG.warning(
            "%s: %d of %d different labels are not numbers, as the others are, the first on line %d: %s; they are "
            "classes too",
            *(path, spelling.num_words, num_labels, spelling.word[0], short_repr(spelling.word[1])),
        )
    elif found.problem_type == SINGLE and spelling.word and _have_decimal_commas(found.names()):
        _LOG.warning(
            "%s: labels look like numbers with a decimal comma (line %d: %s), and are taken as classes; for scores "
            "write a point",
            *(path, spelling.word[0], short_repr(spelling.word[1])),
        )
    elif found.problem_type == SINGLE and num_labels > max(_MANY_LABELS, found.num_rows // 2):
        _LOG.warning(
            "%s: %s in %s, the first %s: is %s the right column? Scores are numbers with a decimal point",
            *(path, counted(num_labels, "different label"), counted(found.num_rows, "row")),
            short_repr(next(iter(found.names()))),
            short_repr(found.table.columns.label),
        )


def _have_decimal_commas(names: Collection[str]) -> bool:
    return all(_DECIMAL_COMMA.fullmatch(name) or is_number(name) for name in names)


def warn_of_lists(found: Survey) -> None:
    """Warns where labels look like lists that were not taken apart."""
    names, path, delimiter = found.names(), found.table.path, found.table.delimiter
    begins = next((name for name in names if name.startswith("[")), None)
    if begins and any(name.endswith("]") for name in names):
        _LOG.warning(
            "%s: labels look like parts of lists, as %s, and are taken as they stand; write x|y with `label_delimiter`="
            "'|', or lists in JSON Lines",
            *(path, short_repr(begins)),
        )
    elif delimiter and not any(isinstance(label, tuple) and len(label) > 1 for label in found.labels):
        _LOG.warning(
            "%s: no row has several labels with `label_delimiter`=%s between them; the first is %s",
            *(path, short_repr(delimiter), short_repr(next(iter(names)))),
        )
    elif found.problem_type == SINGLE and not _have_decimal_commas(names):
        _warn_of_joined(path, names)


def _warn_of_joined(path: Path, names: Collection[str]) -> None:
    """Warns where the parts of labels occur in several of them, so that there are fewer parts than labels."""
    for sign in _DELIMITERS:
        joined = next((name for name in names if sign in name), None)
        if joined and len({part.strip() for name in names for part in name.split(sign)}) < len(names):
            _LOG.warning(
                "%s: labels look like several labels with %s between them, as %s, and are taken as they stand; "
                "`label_delimiter`=%s takes them apart",
                *(path, short_repr(sign), short_repr(joined), short_repr(sign)),
            )
            return


def warn_of_similar(found: Survey) -> None:
    """Warns of labels that differ in capitals or blanks alone, which are two labels all the same."""
    path, counts = found.table.path, found.names()
    alike: dict[str, list[str]] = {}
    for name in counts:
        alike.setdefault(looks_alike(name), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            shown = ", ".join(f"{short_repr(name)} {counts[name]:,}" for name in names)
            rarest = min(names, key=lambda name: counts[name])
            _LOG.warning(
                "%s: labels that differ in capitals, blanks or zeros alone are kept apart; rows: %s, "
                "the first of %s on line %d",
                *(path, shown, short_repr(rarest), found.first_line(rarest)),
            )


def warn_of_single(found: Survey) -> None:
    """Warns of labels that one row of many has: of classes, that is what a spelling mistake makes."""
    counts = found.names()
    single = [name for name, count in counts.items() if count == 1]
    if found.num_rows >= _MANY_ROWS * len(counts) and single:
        shown = ", ".join(f"{short_repr(name)} (line {found.first_line(name)})" for name in single[:_SHOWN_LABELS])
        _LOG.warning(
            "%s: %s with a single row, which may be a spelling mistake: %s%s",
            *(found.table.path, counted(len(single), "label"), shown),
            f" and {len(single) - _SHOWN_LABELS} more" if len(single) > _SHOWN_LABELS else "",
        )


def warn_of_conflicts(found: Survey) -> None:
    """Warns of texts that are there with more than one label."""
    texts, rows = np.array(found.texts, np.uint64), np.array(found.rows, np.uint64)
    order = np.lexsort((rows, texts))
    texts, rows = texts[order], rows[order]
    differ = (texts[1:] == texts[:-1]) & (rows[1:] != rows[:-1])
    if differ.any():
        several = np.unique(texts[1:][differ])
        first = int(np.isin(np.array(found.texts, np.uint64), several).argmax())
        _LOG.warning(
            "%s: texts that are there with different labels: %d, the first on line %d",
            *(found.table.path, len(several), found.lines[first]),
        )


def warn_of_leak(found: Survey, is_member: np.ndarray, train: Survey, is_trained: np.ndarray) -> None:
    """Warns of texts of a split that the model is trained on: the scores on them say nothing of other texts."""
    texts = np.array(found.texts, np.uint64)
    leaked = np.isin(texts, np.array(train.texts, np.uint64)[is_trained]) & is_member
    if leaked.any():
        _LOG.warning(
            "%s: %s with a text that is also trained on (%s), the first on line %d: their scores say nothing of other "
            "texts",
            *(found.table.path, part_of(int(leaked.sum()), int(is_member.sum()), "row")),
            *(train.table.path, found.lines[int(leaked.argmax())]),
        )
