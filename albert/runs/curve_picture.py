"""`training_curve.png`: losses and the dev metric over the steps of a training, drawn from its log."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from albert.engine.evaluations import Evaluation
from albert.runs.training_log import TRAINING_LOG, read_training_log
from albert.system.files import write_bytes

if TYPE_CHECKING:  # drawing is imported where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

CURVE = "training_curve.png"


def draw_curve(output_dir: Path, evaluations: Iterable[Evaluation], best_metric: str) -> Path | None:
    """Draws `training_curve.png`: losses and dev metric over steps. None when nothing was trained."""
    rows = read_training_log(output_dir / TRAINING_LOG)
    if not rows:
        return None
    # The object interface draws without a display and without touching pyplot's global state.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    evaluations = list(evaluations)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(output_dir.name, parse_math=False)  # a name with dollar signs is not a formula
    axes.set(xlabel="step", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    _plot_training_loss(axes, rows)
    _plot_dev_loss(axes, evaluations)
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    handles = [*axes.get_legend_handles_labels()[0], *_plot_metric(axes, evaluations, best_metric)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format="png")
    write_bytes(output_dir / CURVE, picture.getvalue())
    return output_dir / CURVE


def _plot_training_loss(axes: "Axes", rows: Sequence[Mapping[str, float]]) -> None:
    """The loss of every step, and its mean over a window once there are enough steps for one."""
    steps = [row["step"] for row in rows]
    # A loss that was not a number is null there, and a gap here.
    losses = np.array([math.nan if row["loss"] is None else row["loss"] for row in rows])
    window = len(losses) // 50
    if window < 2:
        # A line needs two points.
        marker = "o" if len(losses) == 1 else None
        axes.plot(steps, losses, marker=marker, color="tab:blue", label="training loss")
        return
    axes.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=0.8)
    finite = np.isfinite(losses)
    sums, counts = (np.convolve(v, np.ones(window), mode="valid") for v in (np.where(finite, losses, 0), finite))
    smooth = np.where(counts > 0, sums / np.maximum(counts, 1), math.nan)
    axes.plot(steps[window - 1 :], smooth, color="tab:blue", label=f"training loss (mean of {window} steps)")


def _plot_dev_loss(axes: "Axes", evaluations: Sequence[Evaluation]) -> None:
    """The dev loss, of tasks that have one."""
    points = [(e.step, e.metrics["eval_loss"]) for e in evaluations if "eval_loss" in e.metrics]
    points = [(step, loss) for step, loss in points if math.isfinite(loss)]
    if points:
        axes.plot(*zip(*sorted(points), strict=True), "s--", color="tab:green", markersize=4, label="dev loss")


def _plot_metric(axes: "Axes", evaluations: Sequence[Evaluation], best_metric: str) -> list["Line2D"]:
    """The dev metric on an axis of its own, the best evaluation as a star; the lines for a legend."""
    evaluations = [e for e in evaluations if not math.isnan(e.value)]
    if not evaluations:
        return []
    metric_axes = axes.twinx()
    steps, values = zip(*sorted((e.step, e.value) for e in evaluations), strict=True)
    (line,) = metric_axes.plot(steps, values, "o-", color="tab:orange", label=f"dev {best_metric}")
    best = [e for e in evaluations if e.is_best][-1:]
    metric_axes.plot([e.step for e in best], [e.value for e in best], "*", color="tab:red", markersize=14)
    metric_axes.set_ylabel(f"dev {best_metric} (star: best)")
    return [line]
