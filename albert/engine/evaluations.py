"""What every evaluated checkpoint scored, and which was best: `evaluations.json` beside the checkpoints.

Owns that file and the comparison. No TensorFlow.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert.engine.workers import ALONE, Workers
from albert.errors import UserError
from albert.system.files import write_text
from albert.system.json_text import parse_json
from albert.system.text_encoding import read_regular


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The metrics after `step` updates; `is_best` compares `best_metric` with every evaluation before.

    Which of two values of a metric is better is not in the file: a metric's name tells who computes it.
    """

    step: int
    metrics: Mapping[str, float]
    best_metric: str
    is_best: bool

    @property
    def value(self) -> float:
        """The metric that selects the best."""
        return self.metrics[self.best_metric]

    def summary(self) -> str:
        """`name = value` of every metric but the step, in one line. Names that end in `total` are counts."""
        return ", ".join(
            f"{name} = {value:.{0 if name.endswith('total') else 4}f}"
            for name, value in sorted(self.metrics.items())
            if name != "global_step"
        )


def _evaluation(entry: Mapping[str, object]) -> Evaluation:
    """The evaluation that the file holds as `entry`. Raises ValueError for what `append` never writes."""
    names = {field.name for field in dataclasses.fields(Evaluation)}
    if not isinstance(entry, dict) or entry.keys() != names:
        raise ValueError(f"an entry does not hold {', '.join(sorted(names))}")
    read = Evaluation(**entry)
    if type(read.step) is not int or type(read.is_best) is not bool or not isinstance(read.metrics, dict):
        raise ValueError("an entry has no step, no metrics or no verdict")
    if not all(type(number) in (int, float) for number in read.metrics.values()):
        raise ValueError("a metric is not a number")
    if read.best_metric not in list(read.metrics):  # a list, because it need not be a string
        raise ValueError("an entry lacks its best metric")
    return read


class EvaluationLog:
    """All evaluations of a run in order, kept in `<directory>/evaluations.json`.

    Reads the file when it is created. Raises UserError, naming it, when it is not what `append` writes. Of several
    `workers` the chief reads and writes it, and all have the same entries.

    Where training goes back, `continue_from` says to which step. The evaluations of later steps then no longer count,
    but each stays in the file until training has come past it: which of them was the best must not be forgotten before
    it is recomputed.
    """

    def __init__(self, directory: Path, workers: Workers = ALONE):
        self._path = Path(directory) / "evaluations.json"
        self._workers = workers
        self._valid_up_to = math.inf
        self._entries = [Evaluation(**entry) for entry in workers.agree(self._read)]

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        try:
            entries = [_evaluation(entry) for entry in parse_json(read_regular(self._path))]
            if entries and not entries[0].is_best:
                raise ValueError("the first evaluation is not the best so far")
            return [vars(entry) for entry in entries]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{self._path} is damaged ({error}). Move it away to have the checkpoints evaluated again."
            ) from error

    def __iter__(self):
        return iter(self._entries)

    @property
    def steps(self) -> set[int]:
        """Steps that were evaluated and are not recomputed."""
        return {entry.step for entry in self._valid}

    @property
    def best(self) -> Evaluation | None:
        """The evaluation whose weights are in `model.ckpt-best`, or will be again."""
        return _last_best(self._entries)

    @property
    def _valid(self) -> list[Evaluation]:
        return [entry for entry in self._entries if entry.step <= self._valid_up_to]

    def continue_from(self, step: int) -> None:
        """Marks everything after `step` as to be recomputed."""
        self._valid_up_to = step

    def improves(self, value: float, lower_is_better: bool = False) -> bool:
        """Whether `value` beats the best so far. The first does, and a number beats NaN: there is always a best."""
        best = _last_best(self._valid)
        return best is None or _beats(value, best.value, lower_is_better)

    def early_stop(self, patience: int, threshold: float, lower_is_better: bool = False) -> Evaluation | None:
        """The evaluation at which training ends: the last of `patience` in a row that do not improve; None if not yet.

        An evaluation improves if it beats the best before it by more than `threshold`. What a run has evaluated decides
        alone, so that it ends at the same step however often it was killed and resumed.
        """
        best, waited = math.nan, -1  # the first never counts as one that does not improve
        for entry in sorted(self._valid, key=lambda entry: entry.step):
            improves = waited < 0 or _beats(entry.value, best, lower_is_better, threshold)
            waited = 0 if improves else waited + 1
            if not improves and waited == patience:
                return entry
            if _beats(entry.value, best, lower_is_better):
                best = entry.value
        return None

    def append(self, evaluation: Evaluation) -> None:
        """Adds an evaluation, in place of those that were recomputed up to its step, and writes the file."""
        self._entries = [
            *self._valid,
            evaluation,
            *(entry for entry in self._entries if entry.step > max(self._valid_up_to, evaluation.step)),
        ]
        self._valid_up_to = max(self._valid_up_to, evaluation.step)
        text = json.dumps([dataclasses.asdict(entry) for entry in self._entries], indent=1)
        self._workers.on_chief(lambda: write_text(self._path, text + "\n"))


def _beats(value: float, other: float, lower_is_better: bool, threshold: float = 0.0) -> bool:
    """Whether `value` is better by more than `threshold`; every number is better than NaN."""
    if math.isnan(value) or math.isnan(other):
        return math.isnan(other) and not math.isnan(value)
    return (other - value if lower_is_better else value - other) > threshold


def _last_best(entries: list[Evaluation]) -> Evaluation | None:
    return next((entry for entry in reversed(entries) if entry.is_best), None)
