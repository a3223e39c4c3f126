"""Events of training for TensorBoard: its curves, and the settings by which it compares runs."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.hparams import summary_v2  # what its `api` exports, which also imports Keras

from albert.engine.evaluations import Evaluation
from albert.engine.throughput import StepRecord
from albert.errors import UserError
from albert.settings import ONCE_CONSTANT, Settings
from albert.system.files import advice_on, as_os_error


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
        values = records[-1].figures()
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
