"""Which columns of a table hold texts and labels, and what kind of labels these are."""

import dataclasses
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.tasks.own.files import Header, alike, all_column_names, choose_from_header, list_names, log_spelling

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
SINGLE: ProblemType = "single_label_classification"
MULTI: ProblemType = "multi_label_classification"
REGRESSION: ProblemType = "regression"
# A tag for each word of a text, which tasks.tags reads.
TAGGING = "token_classification"
PROBLEM_TYPES = (REGRESSION, SINGLE, MULTI, TAGGING)

# What data sets call their texts, most common first. Pairs come before a part of them: QNLI has a question beside its
# sentence.
_TEXTS = (
    ("text",),
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("question", "sentence"), ("question1", "question2")),
    ("sentence",),
)
USUAL_TEXTS = tuple(name for names in _TEXTS for name in names)
_LABELS = ("label", "labels", "class", "category", "target")

MAX_CLASSES = 10_000
MAX_LABEL = 256  # characters

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# Rates and losses are float32, and so is the square of what a label is from a prediction.
_LARGEST_SCORE = 1e15


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of the columns that are read: one text or two, and the label, None where the rows have none."""

    texts: tuple[str, ...]
    label: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the label last."""
        return self.texts if self.label is None else (*self.texts, self.label)


def choose_columns(
    path: Path,
    texts: str | None,
    known: Sequence[str] = (),
    label: str | None = None,
    needs_label: bool | None = None,
) -> Columns:
    """The columns that are read of a table, as it spells them; `needs_label` None: without labels.

    Logs those that are spelled otherwise. Raises UserError where `choose_texts` or `choose_label` does.
    """
    named = (texts, *map(str.strip, texts.split(","))) if texts else ()
    asked = (*named, *known, *USUAL_TEXTS)

    def choose(header: Header) -> Columns:
        found = choose_texts(path, header.names, texts, known)
        if needs_label is None:
            return Columns(found, None)
        # Rows to predict whose texts are found as they are spelled have no label but one that is, too.
        is_spelled = header.is_usual and all(name in asked for name in found) and not label and not needs_label
        return Columns(found, choose_label(path, header.names, found, label, needs_label, is_spelled))

    columns, _ = choose_from_header(path, choose)
    expected = (*asked, *((label,) if label else _LABELS))
    for name in columns.names:
        if name not in expected and (meant := alike(expected, name)):
            log_spelling(path, name, meant[0])
    return columns


def choose_texts(path: Path, header: Sequence[str], named: str | None, known: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns of the texts: those `named` (one, or two with a comma); else those `known` of a model, or usual ones.

    Names that differ in capitals or white space around them count where no others are there. A first record of JSON
    that lacks them is refused as such when it is read, if others have them. Raises UserError listing the header where
    none has, or it is not clear which.
    """
    try:
        return _texts_in(path, header, named, known)
    except UserError:
        of_all_rows = all_column_names(path, header)
        if set(of_all_rows) == set(header):
            raise
        return _texts_in(path, of_all_rows, named, known)


def _texts_in(path: Path, header: Sequence[str], named: str | None, known: Sequence[str]) -> tuple[str, ...]:
    if named:
        return _named_texts(path, header, named)
    # The model's own columns come first, however they are spelled.
    found = (_spelled_texts(header, [known]) if known else None) or _spelled_texts(header, _TEXTS)
    several = next((names for name in known if len(names := alike(header, name)) > 1 and name not in header), None)
    if several:
        raise UserError(
            f"{path}: {list_names(several)} could all be the model's column of texts: say which with "
            "`text_column_names`, or rename the others."
        )
    if found:
        return found
    usual = "; ".join(" and ".join(names) for names in _TEXTS)
    raise UserError(
        f"{path}: no column for the text ({usual}); its columns are {list_names(header)}. Name the column "
        f"with `text_column_names`, or two with a comma for pairs.{_header_hint(path)}"
    )


def _spelled_texts(header: Sequence[str], candidates: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """The first of `candidates` that is in `header`, else the first that is but for capitals; None where none is."""
    for names in candidates:
        if all(name in header for name in names):
            return tuple(names)
    for names in candidates:
        found = [alike(header, name) for name in names]
        if all(found):
            is_clear = len({name for spelled in found for name in spelled}) == len(names) == sum(map(len, found))
            return tuple(name for (name,) in found) if is_clear else None
    return None


def choose_label(
    path: Path,
    header: Sequence[str],
    texts: Sequence[str],
    named: str | None,
    is_needed: bool = True,
    is_spelled: bool = False,
) -> str | None:
    """The column of the label: the one `named`, else the first with a usual name; None where there is none.

    Unless `is_spelled`, a name that differs in capitals or white space around it counts where no other is there.
    Records of JSON may lack keys, and the first one too: `header` decides where it has a label, otherwise all records.
    Raises UserError where it `is_needed` or named, and not there: in the only file, such a name is a mistake.
    """
    candidates = (named,) if named else tuple(name for name in _LABELS if name not in texts)
    if not any(name in header for name in candidates):
        header = all_column_names(path, header)
    found = next((name for name in candidates if name in header), None)
    if found is None and not is_spelled:
        spelled = next(filter(None, (alike(header, name) for name in candidates)), [])
        if len(spelled) > 1:
            raise UserError(
                f"{path}: {list_names(spelled)} could all be the label: say which with `label_column_name`, or rename "
                "the others."
            )
        found = spelled[0] if spelled and (named or spelled[0] not in texts) else None
    if found is None and named:
        way_out = "" if is_needed else " Leave the name out if there are no labels."
        raise UserError(
            f"{path}: no column {short_repr(named)} for `label_column_name`; its columns are {list_names(header)}."
            f"{way_out}"
        )
    if found is None and is_needed:
        raise UserError(
            f"{path}: no column for the label ({', '.join(_LABELS)}); its columns are {list_names(header)}. Name the "
            f"column with `label_column_name`.{_header_hint(path)}"
        )
    if found in texts:
        raise UserError(f"{path}: column {short_repr(found)} cannot be both the text and the label.")
    return found


def _named_texts(path: Path, header: Sequence[str], named: str) -> tuple[str, ...]:
    # A name with a comma in it is one name where the header has it.
    names = (named,) if named in header else tuple(name.strip() for name in named.split(","))
    if len(names) > 2 or len(set(names)) < len(names):
        raise UserError(f"`text_column_names`={named}: name one column, or two different ones with a comma: a pair.")
    found: list[str] = []
    for name in names:
        spelled = [name] if name in header else alike(header, name)
        if len(spelled) != 1 or spelled[0] in found:
            raise UserError(
                f"{path}: no column {short_repr(name)} for `text_column_names`; its columns are {list_names(header)}."
            )
        found += spelled
    return tuple(found)


def _header_hint(path: Path) -> str:
    ending = path.suffix.lower()
    tags = f" A word and its tag a line need `problem_type`={TAGGING}." if ending == ".tsv" else ""
    return "" if ending.startswith(".json") else f" The first line must be a header with the column names.{tags}"


# --- Labels -----------------------------------------------------------------------------------------------------------


def is_number(label: str) -> bool:
    """Whether a label is a decimal number."""
    return bool(_NUMBER.fullmatch(label))


def is_integer(label: str) -> bool:
    """Whether a label is a whole number, without a decimal point."""
    return bool(_INTEGER.fullmatch(label))


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in the order of their numbers if all are integers, otherwise in that of their code points."""
    labels = tuple(labels)
    if all(map(is_integer, labels)):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def check_label(label: str) -> None:
    """Raises ValueError where `label` cannot be the name of a class, saying why, to follow the column's name."""
    if len(label) > MAX_LABEL:
        raise ValueError(f"holds a label of {len(label):,} characters ({short_repr(label)}); {MAX_LABEL} are allowed")
    # Line and paragraph separators too: a label is shown on one line.
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in label):
        raise ValueError(f"holds a label with a control character in it ({label!a})")


def looks_alike(label: str) -> str:
    """The same for labels that people would hardly tell apart: without capitals, blanks, zeros and what is not seen."""
    if is_number(label) and math.isfinite(float(label)):
        return str(int(label)) if is_integer(label) else repr(float(label)).removesuffix(".0")
    shown = unicodedata.normalize("NFKC", label)
    seen = (character for character in shown if unicodedata.category(character) != "Cf")
    return "".join("".join(seen).split()).casefold()


def is_score(label: str) -> bool:
    """Whether a label that is a number can be a score of a regression."""
    return abs(float(label)) <= _LARGEST_SCORE


def score_of(label: str) -> float:
    """The number that a label of a regression spells. Raises ValueError as `check_label`."""
    if not is_number(label):
        raise ValueError(f"holds {short_repr(label)}, not a number, which a regression needs")
    if not is_score(label):
        raise ValueError(f"holds {short_repr(label)}, which is not between -1e15 and 1e15")
    return float(label)


def split_label(label: str, delimiter: str) -> tuple[str, ...]:
    """The labels between delimiters, sorted; none in an empty cell. Raises ValueError as `check_label`."""
    labels = [part.strip() for part in label.split(delimiter)] if label else []
    if "" in labels:
        raise ValueError(f"holds {short_repr(label)}, with nothing before or after a {short_repr(delimiter)}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"holds {short_repr(label)}, which names a label twice")
    return tuple(sorted(labels))
