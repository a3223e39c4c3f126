"""`on_log` of `albert.fine_tune`: a function of the caller that hears of a training, and may end it. No TensorFlow."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from albert.system.signals import AskedToStop

if TYPE_CHECKING:
    from albert.engine.evaluations import Evaluation
    from albert.engine.throughput import StepRecord

# What happened: step and loss of a step, or step and metrics of an evaluation.
Function = Callable[[dict[str, float]], object]


class OnLog:
    """Tells `function` of every `log_steps`-th step and of every evaluation, in the thread that trains."""

    def __init__(self, function: Function, log_steps: int):
        self._function = function
        self._log_steps = log_steps

    def on_start(self, first_step: int) -> None:
        """Nothing has happened yet."""

    def on_steps(self, records: "Sequence[StepRecord]") -> None:
        """Those that are due. Raises AskedToStop from what the function raises."""
        for record in records:
            if record.step % self._log_steps == 0:
                figures = {"loss": record.loss, "gradient_norm": record.gradient_norm}
                self._tell({"step": record.step, **figures, "learning_rate": record.learning_rate})

    def on_evaluation(self, evaluation: "Evaluation") -> None:
        """The metrics of a checkpoint. Raises as `on_steps`."""
        metrics = {name: float(value) for name, value in evaluation.metrics.items() if name != "global_step"}
        self._tell({"step": evaluation.step, **metrics})

    def _tell(self, values: dict[str, float]) -> None:
        try:
            with _working_directory_put_back():
                self._function(values)
        except BaseException as error:  # KeyboardInterrupt and SystemExit, too
            raise AskedToStop from error


@contextlib.contextmanager
def _working_directory_put_back() -> Iterator[None]:
    """Around what may change it: the paths of a run, which may be relative, mean the same behind it.

    By its descriptor, which stays that of the folder wherever that is moved.
    """
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.fchdir(folder)
        os.close(folder)
