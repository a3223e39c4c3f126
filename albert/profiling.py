"""A TensorFlow profile of a few training steps, for TensorBoard's profile page. Knows no loop."""

import logging
from pathlib import Path
from types import TracebackType

import tensorflow as tf


class Profiler:
    """Profiles from when `first` steps are done until `last` are. Entered around the loop.

    `steps` None profiles nothing.
    """

    def __init__(self, directory: Path, steps: tuple[int, int] | None):
        self._directory = directory
        self._steps = steps
        self._is_running = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_running:
            self._stop()

    def advance_to(self, step: int) -> int:
        """Begins or ends the profile if `step` is where it does; returns how many steps follow until the next."""
        if self._steps is None:
            return 1 << 30
        first, last = self._steps
        if self._is_running and step >= last:
            self._stop()
        elif not self._is_running and first <= step < last:
            tf.profiler.experimental.start(str(self._directory))
            self._is_running = True
        boundaries = [boundary - step for boundary in self._steps if boundary > step]
        return min(boundaries, default=1 << 30)

    def _stop(self) -> None:
        tf.profiler.experimental.stop()
        self._is_running = False
        logging.info("Profile of steps %d to %d: tensorboard --logdir %s", *self._steps, self._directory)
