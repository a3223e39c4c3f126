"""Makes the task of own data: looks at all rows once, decides what the labels are and which rows are in which split."""

import dataclasses
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from albert.data.source_files import FileState
from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.system.printing import counted, part_of
from albert.tasks.base import Labels, MultiLabels, Score, Split, Tags
from albert.tasks.own.columns import (
    MAX_CLASSES,
    MULTI,
    REGRESSION,
    SINGLE,
    TAGGING,
    Columns,
    ProblemType,
    choose_columns,
    in_order,
)
from albert.tasks.own.parts import Part, part_of_file, state_of
from albert.tasks.own.selection import HoldOut, hold_out, remark_on_share
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.own.survey import (
    Survey,
    Table,
    survey,
    warn_of_conflicts,
    warn_of_leak,
    warn_of_lists,
    warn_of_similar,
    warn_of_single,
)
from albert.tasks.own.task import OwnDataTask, unknown_label
from albert.tasks.text import metrics_for

_LOG = logging.getLogger(__name__)

_LISTED_LABELS = 20
# Those that every evaluation reports; the first one decides which checkpoint is the best.
_METRICS: Mapping[ProblemType, tuple[str, ...]] = {
    SINGLE: ("accuracy", "f1_macro", "f1_weighted", "matthews_correlation"),
    MULTI: ("f1_micro", "f1_macro", "accuracy"),
    REGRESSION: ("pearson", "spearman", "rmse"),
}
_MAX_NAMES = 320_000  # bytes: `model.json` has each name twice, and is at most 1 MiB


@dataclasses.dataclass(frozen=True)
class Known:
    """What a model predicts, by the file `path`, and the columns of its texts: one or two; () where nobody says."""

    output: Labels | MultiLabels | Score | Tags
    text_columns: tuple[str, ...]
    path: Path

    @property
    def delimiter(self) -> str | None:
        """What stands between labels in one cell; None where a label has it, as those of lists in JSON may."""
        if not isinstance(self.output, MultiLabels) or any(self.output.delimiter in name for name in self.output.names):
            return None
        return self.output.delimiter


def own_data_task(
    settings: OwnDataSettings,
    seed: int,
    wanted: Collection[Split],
    known: Known | None = None,
    order: Sequence[str] = (),
) -> OwnDataTask:
    """The task that `settings` describe, with its splits `wanted`.

    The labels are those of `known`, where a model is there already, otherwise those of `train_file`: in `order`, the
    classes of a head that is to be trained further, where these are the same. Logs the columns, the kind of labels, how
    many rows each has, and what is odd about them. Raises UserError for the first row that cannot be used, and for
    labels that training does not know.
    """
    files = files_of(settings, wanted, known)
    check_kind(settings, known)
    columns = _columns(files, settings, known)
    if known:
        assert not isinstance(known.output, Tags), "tags.build makes such tasks"
        settings = dataclasses.replace(
            settings,
            problem_type=problem_type_of(known.output),
            label_delimiter=settings.label_delimiter or known.delimiter,
        )
    looked_at: dict[Split, _Look] = {}
    if "train" in files:
        looked_at["train"] = _look(files["train"], columns, settings, seed)
    train = looked_at.get("train")
    output, known_from = _output(train, settings, known, order)
    problem_type = problem_type_of(output)
    others: tuple[Split, ...] = ("dev", "test")
    for split in others:
        if split in files:
            again = dataclasses.replace(settings, problem_type=problem_type)
            looked_at[split] = _look(files[split], columns, again, seed, needs_label=split == "dev")
    for look in looked_at.values():
        _check_labels(look.found, output, known_from, is_resumed=known is not None and "train" in files)
    held = None
    if "dev" in wanted and "dev" not in files:
        assert train, "files_of demands a file"
        held = hold_out(train.found, problem_type, settings.validation_split, seed)
        looked_at["dev"] = train
    fitting = metrics_for(output)
    members = {split: _members(look.found, split, held) for split, look in looked_at.items()}
    used = [split for split in looked_at if split in wanted or (split == "train" and held)]
    parts = {split: _part(looked_at[split], split, members[split], settings) for split in used}
    _log_rows(looked_at, members, columns, problem_type)
    if held and (remark := remark_on_share(held, int(members["dev"].sum()), len(members["dev"]), "row")):
        _LOG.info(remark)
    _warn(looked_at, members)
    return OwnDataTask(
        output=output,
        metrics=tuple((name, fitting[name]) for name in _METRICS[problem_type]),
        best_metric=_METRICS[problem_type][0],
        columns=columns,
        parts=parts,
        known_from=known_from,
        seed=seed,
        hold_out=held,
    )


def kind_of_output(output: Labels | MultiLabels | Score | Tags) -> str:
    """One of PROBLEM_TYPES."""
    return TAGGING if isinstance(output, Tags) else problem_type_of(output)


def problem_type_of(output: Labels | MultiLabels | Score) -> ProblemType:
    """What the labels of a model are."""
    return SINGLE if isinstance(output, Labels) else REGRESSION if isinstance(output, Score) else MULTI


@dataclasses.dataclass(frozen=True)
class _Look:
    found: Survey
    state: FileState


def files_of(settings: OwnDataSettings, wanted: Collection[Split], known: Known | None) -> dict[Split, Path]:
    """The files to look at, by split. Raises UserError where one is needed and not given."""
    files: dict[Split, Path | None] = {
        "train": settings.train_file,
        "dev": settings.validation_file if "dev" in wanted else None,
        "test": settings.test_file if "test" in wanted else None,
    }
    found = {split: path for split, path in files.items() if path}
    if "train" in wanted and "train" not in found:
        raise UserError("`do_train` needs `train_file`: texts with labels.")
    if "dev" in wanted and not found.keys() & {"train", "dev"}:
        raise UserError("`do_eval` needs `validation_file`, or the `train_file` that rows are held out of.")
    if "test" in wanted and "test" not in found:
        raise UserError("`do_predict` needs `test_file`: the texts to predict.")
    if "train" not in found and known is None:
        raise UserError(
            "the labels are not known: give `train_file`, or the folder of a model that was trained on own data."
        )
    return found


def check_kind(settings: OwnDataSettings, known: Known | None) -> None:
    """Raises UserError where `problem_type` is not that of the model that is there."""
    if known and settings.problem_type not in (None, kind_of_output(known.output)):
        raise UserError(
            f"`problem_type`={settings.problem_type}, but the model of {known.path} is one of "
            f"{kind_of_output(known.output)}."
        )


def _columns(files: Mapping[Split, Path], settings: OwnDataSettings, known: Known | None) -> Columns:
    """Those of the first file; the others must have them too, but for the label of test rows."""
    (split, path), *_ = files.items()
    columns = choose_columns(
        path,
        settings.text_column_names,
        known.text_columns if known else (),
        settings.label_column_name,
        needs_label=split != "test",
    )
    texts = columns.texts
    if known and known.text_columns and len(texts) != len(known.text_columns):
        counts = ("one text", "two texts")
        raise UserError(
            f"{known.path}: the model reads {counts[len(known.text_columns) - 1]} a row, but {path} would give "
            f"{counts[len(texts) - 1]} ({', '.join(texts)}). Name its columns with `text_column_names`."
        )
    return columns


def _look(path: Path, columns: Columns, settings: OwnDataSettings, seed: int, needs_label: bool = True) -> _Look:
    problem_type = settings.problem_type
    assert problem_type is None or problem_type in (SINGLE, MULTI, REGRESSION), problem_type
    table = Table(path, columns, problem_type, settings.label_delimiter, needs_label)
    state = state_of(path)
    return _Look(survey(table, seed), state)


def _output(
    train: _Look | None, settings: OwnDataSettings, known: Known | None, order: Sequence[str]
) -> tuple[Labels | MultiLabels | Score, str]:
    """What is predicted, and the file that says so."""
    if known:
        output = known.output
        assert not isinstance(output, Tags), "refused before"
        if isinstance(output, MultiLabels):
            output = dataclasses.replace(output, delimiter=settings.label_delimiter or output.delimiter)
        return output, str(known.path)
    assert train, "files_of demands a file"
    found = train.found
    path = found.table.path
    if found.problem_type == REGRESSION:
        if found.spelling.is_constant:
            raise UserError(f"{path}: the only score is {found.spelling.number:g}; at least two are needed.")
        return Score(), str(path)
    counts = found.names()
    names = in_order(counts)
    if len(names) < 2:
        what = f"the only label is {short_repr(names[0])}" if names else "no row has a label"
        raise UserError(f"{path}: {what}; at least two are needed.")
    if found.problem_type == MULTI and len(names) > MAX_CLASSES:
        raise UserError(f"{path}: {len(names):,} different labels; {MAX_CLASSES:,} are allowed.")
    if (size := sum(len(json.dumps(name, ensure_ascii=False).encode()) for name in names)) > _MAX_NAMES:
        raise UserError(
            f"{path}: the names of the {len(names):,} labels have {size:,} bytes together, {_MAX_NAMES:,} are allowed; "
            "write numbers or short names in their place."
        )
    warn_of_similar(found)
    warn_of_single(found)
    warn_of_lists(found)
    if names != tuple(order) and set(names) == set(order):
        _LOG.info("%s: the labels are in the order of the checkpoint's classes: %s", path, ", ".join(order))
        names = tuple(order)
    if found.problem_type == SINGLE:
        return Labels(names), str(path)
    return MultiLabels(names, settings.label_delimiter or "|"), str(path)


def _check_labels(
    found: Survey, output: Labels | MultiLabels | Score, known_from: str, is_resumed: bool = False
) -> None:
    """Raises UserError with the first row whose label is not known; `is_resumed`: to the run that left `known_from`."""
    if isinstance(output, Score):
        return
    known = set(output.names)
    numbers = {}
    for number, label in enumerate(found.labels):
        names = () if label is None else (label,) if isinstance(label, str) else label
        if unknown := [name for name in names if name not in known]:
            numbers[number] = unknown[0]
    if numbers:
        row, number = next((row, number) for row, number in enumerate(found.strata) if number in numbers)
        raise unknown_label(found.table, found.lines[row], numbers[number], output.names, known_from, is_resumed)


# --- Rows of the splits -----------------------------------------------------------------------------------------------


def _members(found: Survey, split: Split, held: HoldOut | None) -> np.ndarray:
    """Which rows of a table are in a split, bool [rows]."""
    if held is None or split == "test":
        return np.ones(found.num_rows, bool)
    is_held = held.held_rows(found.labels, np.array(found.strata, np.int64), np.array(found.rows, np.uint64))
    return is_held if split == "dev" else ~is_held


def _part(look: _Look, split: Split, members: np.ndarray, settings: OwnDataSettings) -> Part[Table]:
    if not members.any():
        raise UserError(
            f"{look.found.table.path}: no rows are left for {split}: no two rows with the same label differ, so that "
            "none can be held out. Give `validation_file`."
        )
    return part_of_file(look.found.table, look.state, split, np.array(look.found.rows, np.uint64), members, settings)


def _log_rows(
    looked_at: Mapping[Split, _Look], members: Mapping[Split, np.ndarray], columns: Columns, problem_type: ProblemType
) -> None:
    """Says which columns are read, and how many rows of each label are in which split."""
    texts = " and ".join(map(short_repr, columns.texts))
    label = short_repr(columns.label) if columns.label else "none"
    _LOG.info("Own data: text in column %s, label in %s: %s.", texts, label, problem_type)
    for split, look in looked_at.items():
        rows = part_of(int(members[split].sum()), look.found.num_rows, "row")
        shown = "" if problem_type == REGRESSION else _label_counts(look.found, members[split])
        _LOG.info("%s: %s of %s%s", split, rows, look.found.table.path, shown)


def _label_counts(found: Survey, members: np.ndarray) -> str:
    strata = np.bincount(np.array(found.strata, np.int64)[members], minlength=len(found.labels))
    counts: dict[str, int] = {}
    for label, count in zip(found.labels, strata.tolist(), strict=True):
        for name in () if label is None else (label,) if isinstance(label, str) else label:
            counts[name] = counts.get(name, 0) + count
    if not counts:
        return ""
    names = in_order(counts)
    more = f" and {counted(len(names) - _LISTED_LABELS, 'more label')}" if len(names) > _LISTED_LABELS else ""
    # A number beside one that ends a label would be read as one of both.
    end_in_digits = any(name[-1:].isdigit() for name in names)
    shown = [
        f"{_called(name)}: {counted(counts[name], 'row')}" if end_in_digits else f"{name} {counts[name]:,}"
        for name in names[:_LISTED_LABELS]
    ]
    return ": " + ", ".join(shown) + more


def _called(label: str) -> str:
    return label if any(map(str.isalpha, label)) else f"label {label}"


def _warn(looked_at: Mapping[Split, _Look], members: Mapping[Split, np.ndarray]) -> None:
    """Warns of texts that are there twice, in one split or in two."""
    for split, look in looked_at.items():
        if split == "train" or look is not looked_at.get("train"):
            warn_of_conflicts(look.found)
    others: tuple[Split, ...] = ("dev", "test")
    for split in others:
        if split in looked_at and "train" in looked_at:
            train = looked_at["train"]
            warn_of_leak(looked_at[split].found, members[split], train.found, members["train"])
