"""A task made from tables of texts with labels: what the labels are, and which rows are trained and evaluated on."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from albert.data.schema import HostRecord
from albert.errors import UserError
from albert.system.files import Text
from albert.system.json_text import short_repr
from albert.tasks.base import Example, Labels, MultiLabels, Score, Split
from albert.tasks.class_reports import predictions_csv
from albert.tasks.own.columns import MULTI, REGRESSION, SINGLE, Columns, ProblemType
from albert.tasks.own.parts import ChosenRows, Part
from albert.tasks.own.selection import HoldOut
from albert.tasks.own.settings import OWN
from albert.tasks.own.survey import OTHER_COLUMN, Table
from albert.tasks.scoring import scores_of_labelled
from albert.tasks.text import TextTask, probabilities_table

_NO_LABELS = Labels(())  # a field without a default would have the base class's property
_LISTED_LABELS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnDataTask(ChosenRows, TextTask):
    """Texts of one's own with one label, several labels or a score; `build.own_data_task` makes it.

    `known_from` says where the labels come from, for messages. `seed` decides which rows are held out and sampled.
    """

    name: str = OWN
    output: Labels | MultiLabels | Score = _NO_LABELS
    submission_file: str = ""
    columns: Columns
    parts: Mapping[Split, Part[Table]]
    known_from: str
    seed: int
    hold_out: HoldOut | None = None

    @property
    def problem_type(self) -> ProblemType:
        """What the labels are."""
        return SINGLE if isinstance(self.output, Labels) else REGRESSION if isinstance(self.output, Score) else MULTI

    def read(self, split: Split, data_dir: Path) -> Iterator[Example]:
        """The rows of a split, one by one. Raises UserError naming file and line."""
        for row in self.chosen_rows(split, data_dir):
            table = self.parts[split].file
            label = None if row.label is None else self._parsed(row.label, table, row.line)
            yield Example(str(row.number), row.texts[0], row.texts[1] if len(row.texts) > 1 else None, label)

    def identity(self) -> dict[str, Any]:
        """The columns, the labels and the choice of rows."""
        return {
            "name": self.name,
            "columns": self.columns.names,
            "labels": None if isinstance(self.output, Score) else self.output.names,
            "problem_type": self.problem_type,
            **self.identity_of_choice(),
        }

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The names of the columns with texts."""
        return self.columns.texts

    def result_files(
        self,
        items: Sequence[Example],
        predictions: Mapping[str, np.ndarray],
        records: Sequence[HostRecord] = (),
    ) -> dict[str, Text]:
        """`test_predictions.csv`, `test_scores.json`, and `test_results.tsv`: the probabilities of all labels."""
        place = f" in column {short_repr(self.columns.label)}" if self.columns.label else ""
        return {
            "test_results.tsv": probabilities_table(predictions),
            "test_predictions.csv": predictions_csv(items, self.columns.texts, self.output, predictions),
            **scores_of_labelled(self, items, predictions, self._labelled(items), place=place),
        }

    def _labelled(self, items: Sequence[Example]) -> list[int]:
        """Which items have a label."""
        labelled = [number for number, item in enumerate(items) if item.label is not None]
        if isinstance(self.output, MultiLabels) and not any(np.any(items[number].label) for number in labelled):
            return []  # empty cells of a file without labels, which would be read as rows of no label
        return labelled

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        assert not isinstance(self.output, Score), "scores have no numbers"
        return {name: number for number, name in enumerate(self.output.names)}

    def _parsed(self, label: str | tuple[str, ...], table: Table, line: int) -> int | float | tuple[int, ...]:
        try:
            if isinstance(self.output, Score):
                assert isinstance(label, str), "the table refuses lists"
                return self.output.parse(label)
            if isinstance(label, str):
                return self._numbers[label]
            given = {self._numbers[name] for name in label}
            return tuple(int(number in given) for number in range(len(self.output.names)))
        except KeyError as error:
            raise unknown_label(table, line, error.args[0], tuple(self._numbers), self.known_from) from None
        except ValueError as error:
            raise UserError(f"{table.path}, line {line}: {error}; correct or remove the row.") from None


def unknown_label(
    table: Table, line: int, label: str, names: tuple[str, ...], known_from: str, is_resumed: bool = False
) -> UserError:
    """What to say of a label that was not trained on: the column may not be the one of the labels.

    `is_resumed`: the row is to be trained on, in the output directory of an earlier run, which may have had other rows.
    """
    more = f" and {len(names) - _LISTED_LABELS} more" if len(names) > _LISTED_LABELS else ""
    known = ", ".join(names[:_LISTED_LABELS]) + more
    remedy = f"Correct the label, or {OTHER_COLUMN}"
    if is_resumed:
        remedy = (
            "An earlier run left that model: to train with other labels choose another `output_dir`, or start again "
            "with `overwrite_output_dir`, which moves it aside"
        )
    return UserError(
        f"{table.path}, line {line}: label {short_repr(label)} in column {short_repr(table.columns.label)} does not "
        f"occur in {known_from}; known are {known}. {remedy}."
    )
