"""`sweep.png`: a dot a run, a bar the mean of a setting, one panel a task. No TensorFlow."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from albert.runs.sweep.plan import label_of
from albert.runs.sweep.table import Cell, TaskResult

if TYPE_CHECKING:  # drawing is imported where something is drawn
    from matplotlib.axes import Axes

_RATE = "learning_rate"
_PANELS_IN_A_ROW = 3
_MAX_LABELS = 8  # of settings that are not learning rates


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
    for number, (label, cells) in enumerate(series.items()):
        for cell in cells:
            rate = _rate_of(cell)
            _draw_cell(axes, cell, rate, rate / 1.06, rate * 1.06, f"C{number % 10}")
        axes.plot([], [], "o", color=f"C{number % 10}", label=label)
    if 1 < len(series) <= _MAX_LABELS:
        axes.legend(fontsize="x-small")


def _draw_side_by_side(axes: "Axes", result: TaskResult) -> None:
    for place, cell in enumerate(result.cells):
        _draw_cell(axes, cell, place, place - 0.2, place + 0.2, "C0" if cell is not result.chosen else "C1")
    labels = [label_of(cell.setting) for cell in result.cells]
    shown = range(len(labels)) if len(labels) <= _MAX_LABELS else []
    axes.set_xticks(shown, [labels[place].replace(",", "\n") for place in shown])
    axes.set_xlim(-0.7, len(labels) - 0.3)


def _draw_cell(axes: "Axes", cell: Cell, x: float, left: float, right: float, color: str) -> None:
    axes.plot([x] * len(cell.scores), cell.scores, "o", color=color, alpha=0.6, markersize=4)
    axes.plot([left, right], [cell.mean, cell.mean], color=color, linewidth=2)


def _rate_of(cell: Cell) -> float:
    """The learning rate of a setting; 0 where it has none."""
    return float(dict(cell.setting).get(_RATE, 0))
