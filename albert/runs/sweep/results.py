"""What the runs of a sweep scored: a row a run, in `results.csv`. No TensorFlow."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from albert.runs.sweep.jobs import EVAL_RESULTS, read_outcome, read_test_metrics
from albert.runs.sweep.plan import Setting, Trained
from albert.system.csv_text import csv_lines
from albert.tasks.leaderboard import score_of

FINISHED, FAILED, PRUNED, MISSING = "finished", "failed", "ended early", "not finished"
_COLUMNS = ("task", "seed", "state", "metric", "score", "best_step", "seconds", "examples_per_second", "folder")


@dataclasses.dataclass(frozen=True)
class Row:
    """One run that trained. `score` is that of its best checkpoint on the dev set, None where it is not finished.

    `metrics` are all its metrics there; `metric` names those that `score` is the mean of. `test_score` is the same of
    own data's test file, None where its rows have no labels.
    """

    trained: Trained
    state: str
    metric: str
    score: float | None
    metrics: Mapping[str, float]
    best_step: int | None = None
    seconds: float | None = None
    examples_per_second: float | None = None
    test_score: float | None = None

    @property
    def task(self) -> str:
        """The name of its task."""
        return self.trained.task.name

    @property
    def setting(self) -> Setting:
        """What was set in it."""
        return self.trained.setting

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.trained.seed

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.trained.job.folder


def row_of(trained: Trained, state: str = MISSING) -> Row:
    """What a run scored, with what its model scores on other parts of the same task; `state` if it is not finished."""
    outcome = read_outcome(trained.job.folder) if trained.job.is_finished() else None
    besides = [job for job in trained.evaluated.values() if EVAL_RESULTS in job.products]
    others = [read_outcome(job.folder) for job in besides if job.is_finished()]
    names = trained.task.score_metrics
    metric = " and ".join(names) + (", matched and mismatched" if besides else "")
    if outcome is None or len(others) < len(besides) or not set(names) <= outcome.best.keys():
        return Row(trained, state, metric, None, {})
    scores = [score_of(names, found.best) for found in (outcome, *others) if found]
    metrics = {name: value for name, value in outcome.best.items() if name != "global_step"}
    for job, found in zip(besides, others, strict=True):
        metrics |= {f"{job.folder.parts[-3]} {name}": found.best[name] for name in names if found}
    test = read_test_metrics(trained.job.folder)
    metrics |= {f"test {name}": value for name, value in test.items()}
    known = outcome.hyperparameters
    seconds, speed = known.get("Total time"), known.get("Speed")
    score = _finite(sum(scores) / len(scores))
    test_score = _finite(score_of(names, test)) if set(names) <= test.keys() else None
    return Row(trained, FINISHED, metric, score, metrics, outcome.best_step, seconds, speed, test_score)


def _finite(score: float) -> float | None:
    return score if math.isfinite(score) else None


def results_csv(rows: Sequence[Row]) -> str:
    """A row a run: what was set, what it scored, every metric of its best checkpoint."""
    settings = list(dict.fromkeys(name for row in rows for name, _ in row.setting))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    lines: list[list[object]] = [[_COLUMNS[0], *settings, *_COLUMNS[1:], *metrics]]
    for row in rows:
        chosen = dict(row.setting)
        found = [row.seed, row.state, row.metric, row.score, row.best_step, row.seconds, row.examples_per_second]
        cells = [row.task, *(chosen.get(name) for name in settings), *found, row.folder]
        cells += [row.metrics.get(name) for name in metrics]
        lines.append(["" if cell is None or _is_nan(cell) else cell for cell in cells])
    return csv_lines(lines)


def _is_nan(cell: object) -> bool:
    return isinstance(cell, float) and math.isnan(cell)
