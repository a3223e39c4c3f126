"""Settings compared over their seeds: `table.md` and `table.json`. No TensorFlow."""

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from albert.runs.sweep.plan import Setting, label_of
from albert.runs.sweep.request import MEDIAN
from albert.runs.sweep.results import Row
from albert.system.json_text import parse_json
from albert.tasks.leaderboard import ranked_of

# Means of the same scores may differ in their last bit.
_SAME = 1e-12
# More settings than this are rows of a table, not columns.
_MAX_COLUMNS = 6
_NOTHING = "—"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One task with one setting: the rows of its finished runs."""

    setting: Setting
    rows: tuple[Row, ...]
    lower_is_better: bool = False

    @property
    def scores(self) -> list[float]:
        """By run."""
        return [row.score for row in self.rows if row.score is not None]

    @property
    def test_scores(self) -> list[float]:
        """Of the runs that have one."""
        return [row.test_score for row in self.rows if row.test_score is not None]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.scores)

    @property
    def median(self) -> float:
        """Over the seeds."""
        return statistics.median(self.scores)

    @property
    def deviation(self) -> float | None:
        """The standard deviation of a sample; None of a single run."""
        return _deviation(self.scores)

    @property
    def best(self) -> Row:
        """The run with the best score; of equal ones the first."""
        return min(self.rows, key=lambda row: _badness(row.score, self.lower_is_better))

    def value(self, report: str) -> float:
        """What settings are compared by."""
        return self.median if report == MEDIAN else self.mean


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """One task: its settings with finished runs, and the one that is chosen, None where there is none."""

    task: str
    metric: str
    cells: tuple[Cell, ...]
    chosen: Cell | None
    in_average: bool
    tied: tuple[Cell, ...] = ()  # settings as good as the chosen one, which came first

    def tie(self, report: str) -> str | None:
        """Says that the choice is one among equals; None where it is not."""
        if not self.chosen or not self.tied:
            return None
        return (
            f"{self.task}: {len(self.tied) + 1} settings tie at {self.chosen.value(report):.4f}; the first "
            f"is taken, {_label(self.chosen.setting)}."
        )


def compare(rows: Sequence[Row], report: str) -> list[TaskResult]:
    """The tasks in the order of `rows`. The setting is chosen among those with the most finished runs."""
    results = []
    for task in dict.fromkeys(row.task for row in rows):
        of_task = [row for row in rows if row.task == task]
        trained = of_task[0].trained.task
        cells = []
        for setting in dict.fromkeys(row.setting for row in of_task):
            found = [row for row in of_task if row.setting == setting and row.score is not None]
            cells += [Cell(setting, tuple(found), trained.lower_is_better)] if found else []
        most = max((len(cell.rows) for cell in cells), default=0)
        best = _best_of([cell for cell in cells if len(cell.rows) == most], report)
        ranked = ranked_of(trained.task)
        metric = of_task[0].metric
        in_average = bool(ranked and ranked.in_average)
        chosen = best[0] if best else None
        results.append(TaskResult(task, metric, tuple(cells), chosen, in_average, tuple(best[1:])))
    return results


def _best_of(cells: Sequence[Cell], report: str) -> list[Cell]:
    """The best of `cells`, several where they are equal, in their order."""
    values = [_badness(cell.value(report), cell.lower_is_better) for cell in cells]
    return [cell for cell, value in zip(cells, values, strict=True) if math.isclose(value, min(values), abs_tol=_SAME)]


def average_of(results: Sequence[TaskResult], report: str) -> tuple[float, list[str]] | None:
    """The mean over GLUE's tasks of the chosen settings, and the names of these tasks; None for fewer than two."""
    found = {result.task: result.chosen.value(report) for result in results if result.chosen and result.in_average}
    return (statistics.fmean(found.values()), list(found)) if len(found) > 1 else None


def optimism(results: Sequence[TaskResult]) -> str | None:
    """What the scores of chosen settings do not say, in one sentence; None where nothing was chosen."""
    most = max((len(result.cells) for result in results), default=0)
    if most < 2:
        return None
    return (
        f"A chosen setting is the best of {most} by its dev scores, so that its own score is optimistic: only rows "
        "that chose nothing, such as a test set, tell how good it is."
    )


def markdown(results: Sequence[TaskResult], report: str) -> str:
    """The tables for people."""
    settings = list(dict.fromkeys(cell.setting for result in results for cell in result.cells))
    value = "median" if report == MEDIAN else "mean"
    parts = [_chosen_table(results)]
    if len(settings) > 1:
        table = _wide_table(results, settings) if len(settings) <= _MAX_COLUMNS else _long_table(results, report)
        parts.append(
            f"Mean ± standard deviation over the seeds (runs); bold: the chosen setting, by its {value}.\n\n{table}"
        )
    if average := average_of(results, report):
        number, names = average
        left_out = [result.task for result in results if result.task not in names]
        without = f"; without {', '.join(left_out)}" if left_out else ""
        parts.append(f"Average of the chosen {value}s of {', '.join(names)}{without}: {number:.4f}.")
    if ties := [tie for result in results if (tie := result.tie(report))]:
        parts.append("\n".join(ties))
    parts += [note] if (note := optimism(results)) else []
    return "\n\n".join(parts) + "\n"


def _chosen_table(results: Sequence[TaskResult]) -> str:
    has_test = any(result.chosen and result.chosen.test_scores for result in results)
    lines = [
        "| task | dev metric | chosen setting | mean ± sd | median | best | runs |" + " test, mean ± sd |" * has_test,
        "| --- | --- | --- | ---: | ---: | ---: | ---: |" + " ---: |" * has_test,
    ]
    for result in results:
        cell = result.chosen
        if cell is None:
            lines.append(f"| {result.task} | {result.metric} | none is finished | | | | 0 |" + " |" * has_test)
            continue
        best = f"{cell.best.score:.4f} (seed {cell.best.seed})"
        figures = f"{_spread(cell.scores)} | {cell.median:.4f} | {best} | {len(cell.rows)} |"
        figures += f" {_spread(cell.test_scores)} |" * has_test
        lines.append(f"| {result.task} | {result.metric} | {_label(cell.setting)} | {figures}")
    return "\n".join(lines)


def _wide_table(results: Sequence[TaskResult], settings: Sequence[Setting]) -> str:
    lines = [
        f"| task | {' | '.join(map(_label, settings))} |",
        "| --- |" + " ---: |" * len(settings),
    ]
    for result in results:
        cells = {cell.setting: cell for cell in result.cells}
        shown = [_marked(cells[setting], result) if setting in cells else _NOTHING for setting in settings]
        lines.append(f"| {result.task} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _long_table(results: Sequence[TaskResult], report: str) -> str:
    lines = ["| task | setting | mean ± sd (runs) |", "| --- | --- | ---: |"]
    for result in results:
        ordered = sorted(result.cells, key=lambda cell: _badness(cell.value(report), cell.lower_is_better))
        lines += [f"| {result.task} | {_label(cell.setting)} | {_marked(cell, result)} |" for cell in ordered]
    return "\n".join(lines)


def _label(setting: Setting) -> str:
    """In a cell of a table, which `|` would end."""
    return label_of(setting).replace("|", "\\|")


def _marked(cell: Cell, result: TaskResult) -> str:
    text = f"{_spread(cell.scores)} ({len(cell.rows)})"
    return f"**{text}**" if cell is result.chosen else text


def _spread(scores: Sequence[float]) -> str:
    if not scores:
        return _NOTHING
    deviation = _deviation(scores)
    return f"{statistics.fmean(scores):.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _deviation(scores: Sequence[float]) -> float | None:
    return statistics.stdev(scores) if len(scores) > 1 else None


def as_json(results: Sequence[TaskResult], report: str) -> str:
    """The same figures for programs, unrounded."""
    average = average_of(results, report)
    found = {
        "report": report,
        "tasks": [_task_json(result) for result in results],
        "average": average and {"value": average[0], "tasks": average[1]},
        "note": optimism(results),
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def scores_in(text: bytes) -> set[tuple[str, str, str, float]]:
    """(task, setting, seed, score) of every finished run in what `as_json` wrote; empty for what is no such text."""
    try:
        return {
            (str(task["task"]), json.dumps(cell["setting"], sort_keys=True), seed, float(score))
            for task in parse_json(text)["tasks"]
            for cell in task["settings"]
            for seed, score in cell["scores"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return set()


def _task_json(result: TaskResult) -> Mapping[str, Any]:
    return {
        "task": result.task,
        "metric": result.metric,
        "chosen": result.chosen and dict(result.chosen.setting),
        "tied": [dict(cell.setting) for cell in result.tied],
        "settings": [
            {
                "setting": dict(cell.setting),
                "runs": len(cell.rows),
                "mean": cell.mean,
                "standard_deviation": cell.deviation,
                "median": cell.median,
                "best": cell.best.score,
                "best_seed": cell.best.seed,
                "scores": {str(row.seed): row.score for row in cell.rows},
                "test_scores": {str(row.seed): row.test_score for row in cell.rows if row.test_score is not None},
            }
            for cell in result.cells
        ],
    }


def _badness(score: float | None, lower_is_better: bool) -> float:
    """For comparing: the better, the smaller. What is not a number is worst."""
    if score is None or math.isnan(score):
        return math.inf
    return score if lower_is_better else -score
