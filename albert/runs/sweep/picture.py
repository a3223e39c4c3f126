"""`sweep.png`: a dot a run, a bar the mean of a setting, one panel a task. No TensorFlow.

Dots of equal scores stand side by side.
"""

import functools
import io
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from albert.runs.sweep.plan import label_of
from albert.runs.sweep.table import Cell, TaskResult

if TYPE_CHECKING:  # drawing is imported where something is drawn
    from matplotlib.axes import Axes

_RATE = "learning_rate"
_PANELS_IN_A_ROW = 3
_MAX_LABELS = 8  # of settings that are not learning rates
# Of the decades of a logarithmic axis: what a setting takes, and the most of the room to the next rate.
_WIDTH, _MOST_OF_GAP = 0.05, 0.6
# Of the range of a task's scores: dots that are nearer hide each other.
_NEAR = 0.015


def draw(results: Sequence[TaskResult]) -> bytes | None:
    """PNG; None where no run is finished. Learning rates are on a logarithmic axis, other settings side by side."""
    results = [result for result in results if result.cells]
    if not results:
        return None
    from matplotlib.figure import Figure

    columns = min(len(results), _PANELS_IN_A_ROW)
    num_rows = math.ceil(len(results) / columns)
    figure = Figure(figsize=(1 + 3.6 * columns, 0.5 + 3 * num_rows), layout="constrained")
    for place, result in enumerate(results, start=1):
        axes = figure.add_subplot(num_rows, columns, place)
        axes.set_title(f"{result.task}: {result.metric}", fontsize="small", parse_math=False)
        axes.grid(axis="y", alpha=0.3)
        axes.tick_params(labelsize="x-small")
        if all(_rate_of(cell) for cell in result.cells):
            _draw_rates(axes, result)
        else:
            _draw_side_by_side(axes, result)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format="png")
    return picture.getvalue()


def _draw_rates(axes: "Axes", result: TaskResult) -> None:
    axes.set_xscale("log")
    rates = sorted({_rate_of(cell) for cell in result.cells})
    shown = rates if len(rates) <= _MAX_LABELS else [rates[0], rates[len(rates) // 2], rates[-1]]
    axes.set_xticks(shown, [f"{rate:g}" for rate in shown])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("learning rate", fontsize="x-small")
    series: dict[str, list[Cell]] = {}
    for cell in result.cells:
        series.setdefault(label_of(tuple(pair for pair in cell.setting if pair[0] != _RATE)), []).append(cell)
    gap = min((math.log10(high / low) for low, high in itertools.pairwise(rates)), default=1)
    width = min(_WIDTH, _MOST_OF_GAP * gap / len(series))
    for number, (label, cells) in enumerate(series.items()):
        # Settings with the same rate stand side by side.
        shift = (number - (len(series) - 1) / 2) * width
        for cell in cells:
            middle = math.log10(_rate_of(cell)) + shift
            place = functools.partial(_on_log_axis, middle, width / 2)
            _draw_cell(axes, result, cell, place, f"C{number % 10}")
        axes.plot([], [], "o", color=f"C{number % 10}", label=label)
    if 1 < len(series) <= _MAX_LABELS:
        axes.legend(fontsize="x-small")


def _on_log_axis(middle: float, half: float, part: float) -> float:
    return 10 ** (middle + part * half)


def _draw_side_by_side(axes: "Axes", result: TaskResult) -> None:
    for place, cell in enumerate(result.cells):
        color = "C0" if cell is not result.chosen else "C1"
        _draw_cell(axes, result, cell, functools.partial(_on_even_axis, place), color)
    labels = [label_of(cell.setting) for cell in result.cells]
    shown = range(len(labels)) if len(labels) <= _MAX_LABELS else []
    axes.set_xticks(shown, [labels[place].replace(",", "\n") for place in shown])
    axes.set_xlim(-0.7, len(labels) - 0.3)


def _on_even_axis(middle: float, part: float) -> float:
    return middle + 0.2 * part


def _draw_cell(axes: "Axes", result: TaskResult, cell: Cell, place: Callable[[float], float], color: str) -> None:
    """`place` is from -1, the left end of the cell, to 1."""
    scores = [score for each in result.cells for score in each.scores]
    across = [place(0.8 * part) for part in beside(cell.scores, _NEAR * (max(scores) - min(scores)))]
    axes.plot(across, cell.scores, "o", color=color, alpha=0.6, markersize=4)
    axes.plot([place(-1), place(1)], [cell.mean, cell.mean], color=color, linewidth=2)


def beside(scores: Sequence[float], near: float) -> list[float]:
    """Where the dot of each score stands, from -1 to 1: in the middle, or beside those that it would hide."""
    order = sorted(range(len(scores)), key=lambda place: scores[place])
    groups: list[list[int]] = []
    for place in order:
        if groups and scores[place] - scores[groups[-1][-1]] <= near:
            groups[-1].append(place)
        else:
            groups.append([place])
    found = [0.0] * len(scores)
    for group in groups:
        half = (len(group) - 1) / 2
        for number, place in enumerate(group):
            found[place] = (number - half) / max(half, 1)
    return found


def _rate_of(cell: Cell) -> float:
    """The learning rate of a setting; 0 where it has none."""
    return float(dict(cell.setting).get(_RATE, 0))
