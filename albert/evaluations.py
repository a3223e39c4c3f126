"""What every evaluated checkpoint scored, and which was best: `evaluations.json` beside the checkpoints.

Owns that file and the comparison. Knows neither TensorFlow nor any task.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

from albert.files import write_text
from albert.settings import UserError


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The metrics after `step` updates; `is_best` compares `best_metric` with every evaluation before."""

    step: int
    metrics: Mapping[str, float]
    best_metric: str
    is_best: bool

    @property
    def value(self) -> float:
        """The metric that is maximised."""
        return self.metrics[self.best_metric]

    def summary(self) -> str:
        """`name = value` of every metric but the step, in one line."""
        return ", ".join(
            f"{name} = {value:.4f}" for name, value in sorted(self.metrics.items()) if name != "global_step"
        )


class EvaluationLog:
    """All evaluations of a run in order, kept in `<directory>/evaluations.json`.

    Reads the file when it is created. Raises UserError, naming it, when it is not what `append` writes.
    """

    def __init__(self, directory: Path):
        self._path = Path(directory) / "evaluations.json"
        self._entries: list[Evaluation] = []
        if not self._path.exists():
            return
        try:
            self._entries = [Evaluation(**entry) for entry in json.loads(self._path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{self._path} is damaged ({error}). Move it away to have the checkpoints evaluated again."
            ) from error

    def __iter__(self):
        return iter(self._entries)

    @property
    def steps(self) -> set[int]:
        """Steps that were evaluated."""
        return {entry.step for entry in self._entries}

    @property
    def best(self) -> Evaluation | None:
        """The evaluation whose weights are in `model.ckpt-best`."""
        return next((entry for entry in reversed(self._entries) if entry.is_best), None)

    def improves(self, value: float) -> bool:
        """Whether `value` beats the best so far. The first does, and a number beats NaN: there is always a best."""
        best = self.best
        return best is None or (not math.isnan(value) and (math.isnan(best.value) or value > best.value))

    def append(self, evaluation: Evaluation) -> None:
        """Adds an evaluation and writes the file."""
        self._entries.append(evaluation)
        text = json.dumps([dataclasses.asdict(entry) for entry in self._entries], indent=1)
        write_text(self._path, text + "\n")
