"""What a run leaves for people: result files, the training log, TensorBoard's events and the curve's picture.

Owns names and formats of those files. Knows no loop and no model; figures come from the engine's records.
"""

import contextlib
import dataclasses
import io
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import summary_v2  # what its `api` exports, which also imports Keras

from albert.engine.evaluations import Evaluation
from albert.engine.throughput import StepRecord, Throughput
from albert.errors import UserError
from albert.settings import ONCE_CONSTANT, Settings
from albert.system.files import Text, advice_on, append_text, as_os_error, write_bytes, write_text, write_texts
from albert.system.json_text import parse_json
from albert.system.printing import counted
from albert.system.text_encoding import read_regular

if TYPE_CHECKING:  # drawing is imported where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_STOPPED = "Stopped early at step"
# Seconds of training steps: of all, or where a run was resumed, of those since then.
_WHOLE_TIME, _LAST_TIME = "Total time", "Time since the last start"
# What a report calls these settings, where they are not what they always were at first.
_TITLES = {
    "lr_scheduler_type": "Learning rate schedule",
    "weight_decay": "Weight decay",
    "max_grad_norm": "Max gradient norm",
    "adam_beta1": "Adam beta 1",
    "adam_beta2": "Adam beta 2",
    "adam_epsilon": "Adam epsilon",
}
TRAINING_LOG = "training_log.jsonl"
CURVE = "training_curve.png"


class TrainingLog:
    """One JSON object per training step in `training_log.jsonl`; rows of steps that are recomputed are dropped.

    Each row also says how many steps the run takes, which its settings do not say where they count epochs.
    """

    def __init__(self, output_dir: Path, training_steps: int):
        self._path = output_dir / TRAINING_LOG
        self._training_steps = training_steps

    def on_start(self, first_step: int) -> None:
        """Keeps the rows up to `first_step`, where training resumes."""
        kept = [row for row in read_training_log(self._path) if row["step"] <= first_step]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def on_steps(self, records: Sequence[StepRecord]) -> None:
        """Appends; a line cut by a kill or a full disk is dropped at the next start."""
        rows = [_json_numbers(_flat(record)) | {"training_steps": self._training_steps} for record in records]
        append_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Evaluations have a file of their own."""


def read_training_log(path: Path) -> list[dict[str, float]]:
    """The rows of a training log, those with a step and a loss; nothing if it is missing.

    A cut last line is left out, and so is, with a warning, every other line that is not a row. Raises UserError if the
    file cannot be read.
    """
    try:
        *lines, last = read_regular(path).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Move it away to begin a new one.") from error
    rows = [_row(line) for line in lines if line.strip()]
    num_left_out = rows.count(None)
    if num_left_out:
        logging.warning("%s: left out, not rows of a training log: %s", path, counted(num_left_out, "line"))
    return [row for row in (*rows, _row(last)) if row is not None]


def _row(line: bytes) -> dict[str, float] | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    is_row = isinstance(row, dict) and type(row.get("step")) is int and type(row.get("loss")) in (int, float, NoneType)
    return row if is_row and "loss" in row else None


def _flat(record: StepRecord) -> dict[str, float]:
    """The record's numbers by name, those of its speed among them."""
    values = dataclasses.asdict(record)
    return values | values.pop("speed")


def _json_numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    """`values` with null for what JSON has no number for: NaN and the infinities."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def hyperparameters(settings: Settings, num_replicas: int) -> dict[str, bool | int | float | str]:
    """What two runs are compared by, under the names of the settings; without what has no value."""
    data, model, train = settings.data, settings.model, settings.train
    values: dict[str, bool | int | float | str | None] = {
        "task_name": data.task_name,
        "max_seq_length": data.max_seq_length,
        "init_checkpoint": str(model.init_checkpoint) if model.init_checkpoint else None,
        "albert_dropout_prob": model.albert_dropout_prob,
        "dtype": model.dtype,
        "global_batch_size": train.global_batch_size(num_replicas),
        "num_replicas": num_replicas,
        "learning_rate": train.learning_rate,
        "optimizer": train.optimizer,
        **{name: getattr(train, name) for name in ONCE_CONSTANT},
        "train_steps": train.train_steps,
        "warmup_steps": train.warmup_steps,
        "seed": train.seed,
    }
    return {name: value for name, value in values.items() if value is not None}


class TensorBoard:
    """Scalars under `train/` and `dev/`, and the settings on the HPARAMS page: `tensorboard --logdir <folder>`.

    Where the folder holds several output directories, TensorBoard compares these runs by `settings`.
    """

    def __init__(self, output_dir: Path, settings: Mapping[str, bool | int | float | str]):
        self._output_dir = output_dir
        self._settings = dict(settings)
        with self._errors_named():
            self._writer = tf.summary.create_file_writer(str(output_dir))

    def on_start(self, first_step: int) -> None:
        """Writes the settings. TensorBoard itself shows the newest value of a step that was computed twice."""
        with self._errors_named(), self._writer.as_default(first_step):
            summary_v2.hparams(self._settings)
            self._writer.flush()

    def on_steps(self, records: Sequence[StepRecord]) -> None:
        """One point per call of the compiled loop: its last step."""
        values = _flat(records[-1])
        self._write("train", int(values.pop("step")), values)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Every dev metric at its step."""
        metrics = {name: value for name, value in evaluation.metrics.items() if name != "global_step"}
        self._write("dev", evaluation.step, metrics)

    def _write(self, folder: str, step: int, values: Mapping[str, float]) -> None:
        with self._errors_named(), self._writer.as_default(step):
            for name, value in values.items():
                if math.isfinite(value):
                    tf.summary.scalar(f"{folder}/{name}", value)
            self._writer.flush()

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            reason = as_os_error(error)
            advice = advice_on(reason, "choose another `output_dir`")
            raise UserError(
                f"cannot write TensorBoard's events in {self._output_dir}: {reason.strerror}. {advice}."
            ) from error


class Results:
    """`eval_results.txt` (the predecessor's lines) and `eval_results.json` of one run.

    `examples` are how many examples each split has, for the JSON.
    """

    def __init__(
        self,
        settings: Settings,
        best_metric: str,
        num_replicas: int,
        examples: Mapping[str, int] = MappingProxyType({}),
    ):
        self._settings = settings
        self._best_metric = best_metric
        train = settings.train
        # A run that does not train, or has nothing left to, says how the model was trained before it.
        self._hyperparameters = _hyperparameters_on_disk(settings.output_dir)
        self._examples = _examples_on_disk(settings.output_dir) | dict(examples)
        if not settings.do_train:
            return
        self._hyperparameters |= {
            "Training batch size": train.per_replica_batch_size,
            "Gradient accumulation steps": train.gradient_accumulation_steps,
            "Max sequence length": settings.data.max_seq_length,
            "Learning rate": train.learning_rate,
            "Num of GPU cores": num_replicas,
            "Global batch size": train.global_batch_size(num_replicas),
            "Optimizer": train.optimizer,
            "Seed": train.seed,
            "Training steps": train.train_steps,
            "Warmup steps": train.warmup_steps,
            **{
                title: getattr(train, name)
                for name, title in _TITLES.items()
                if getattr(train, name) != ONCE_CONSTANT[name]
            },
        }

    def trained(self, throughput: Throughput, stopped_at: int | None = None, is_resumed: bool = False) -> None:
        """Adds time and speed of this process's training steps without warm-up, if it made any.

        `stopped_at` is the step at which early stopping ended training. `is_resumed`: an earlier process made the first
        steps, and nothing says exactly how long they took.
        """
        self._hyperparameters.pop(_STOPPED, None)
        if stopped_at is not None:
            self._hyperparameters[_STOPPED] = stopped_at
        if throughput.seconds:
            speed = throughput.speed
            for name in (_WHOLE_TIME, _LAST_TIME):
                self._hyperparameters.pop(name, None)
            self._hyperparameters |= {
                _LAST_TIME if is_resumed else _WHOLE_TIME: round(throughput.seconds, 2),
                "Speed": round(speed.examples_per_second, 2),
                "Seconds per step": round(speed.seconds_per_step, 4),
            }
            if not math.isnan(speed.padding_share):
                self._hyperparameters |= {
                    "Real tokens per second": round(speed.tokens_per_second, 1),
                    "Share of padding": round(speed.padding_share, 4),
                }

    def evaluated(
        self,
        evaluations: Iterable[Evaluation],
        best_metrics: Mapping[str, float],
        labels: Sequence[str] = (),
        others: Mapping[str, Text] | None = None,
    ) -> None:
        """Writes both files: every evaluated checkpoint, the metrics of the best, and the names of the labels, if any.

        `others` are files of the same evaluation by name, which are written together with these two.
        """
        evaluations = list(evaluations)
        lines = ["===== Hyperparameters ====="]
        lines += [f"{name} = {value}" for name, value in self._hyperparameters.items()]
        best = None
        for evaluation in evaluations:
            best = evaluation if evaluation.is_best else best
            lines += ["===== Evaluations ====="]
            lines += [f"{name} = {value}" for name, value in sorted(evaluation.metrics.items())]
            assert best, "the first evaluation is the best so far"
            lines += [f"best = {best.value}"]
            if evaluation.is_best:
                lines += [f"saved model.ckpt-{evaluation.step} to model.ckpt-best"]
            lines += ["=" * 50]
        lines += [f"best {self._best_metric} = {best_metrics[self._best_metric]} at step {best_metrics['global_step']}"]
        summary = {
            "task": self._settings.data.task_name,
            "hyperparameters": self._hyperparameters,
            "best_metric": self._best_metric,
            "examples": self._examples,
            "best": _json_numbers(best_metrics),
            "evaluations": [{"is_best": e.is_best, **_json_numbers(e.metrics)} for e in evaluations],
        }
        if labels:
            summary["labels"] = list(labels)
        texts: dict[str, Text] = {
            "eval_results.txt": "\n".join(lines) + "\n",
            "eval_results.json": json.dumps(summary, indent=2) + "\n",
        }
        write_texts(self._settings.output_dir, {**texts, **(others or {})})


def _hyperparameters_on_disk(output_dir: Path) -> dict[str, object]:
    """What `eval_results.json` says of training; nothing if it is missing or not ours."""
    try:
        found = parse_json(read_regular(output_dir / "eval_results.json"))["hyperparameters"]
        json.dumps(found, ensure_ascii=False).encode()  # ValueError for half a surrogate pair, which cannot be written
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    is_ours = isinstance(found, dict) and all(isinstance(value, str | int | float) for value in found.values())
    return found if is_ours else {}


def _examples_on_disk(output_dir: Path) -> dict[str, int]:
    """How many examples each split had by `eval_results.json`; nothing if it does not say so, or is not ours."""
    try:
        found = parse_json(read_regular(output_dir / "eval_results.json"))["examples"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    is_ours = isinstance(found, dict) and found.keys() <= {"train", "dev"}
    return found if is_ours and all(type(count) is int and 0 < count < 1 << 63 for count in found.values()) else {}


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
