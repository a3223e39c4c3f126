"""A TensorFlow profile of a few training steps, for TensorBoard's profile page."""

import contextlib
import logging
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import tensorflow as tf

from albert.errors import UserError
from albert.system.files import advice_on, as_os_error, temporary_beside

# Where TensorBoard looks, below the directory.
_PROFILES = Path("plugins/profile")


class Profiler:
    """Profiles from when `first` steps are done until `last` are, or the loop around which it is entered ends.

    `steps` is (first, last); None profiles nothing. A profile appears whole or not at all; where it cannot be written,
    ending and `advance_to` raise UserError; if another error ends the loop, a warning says so. A warning also says
    where a run made none of these steps.
    """

    def __init__(self, directory: Path, steps: tuple[int, int] | None):
        self._directory = directory
        self._steps = steps
        self._is_running = False
        self._begun_at: int | None = None  # the number of steps that were done then
        self._temporary = temporary_beside(directory / "profile")

    def __enter__(self) -> "Profiler":
        for leftover in self._directory.glob("profile.tmp-*"):  # its writer was killed
            shutil.rmtree(leftover, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_running:
            try:
                self._stop("on")
            except UserError as problem:
                if error is None:
                    raise
                logging.warning("%s", problem)  # what ended the run says more
        elif self._steps and self._begun_at is None and error is None:
            logging.warning(
                "`profile_steps`=%d,%d: there is no profile, because this run made none of these steps.", *self._steps
            )

    def advance_to(self, step: int) -> int:
        """Begins or ends the profile if `step` is where it does; returns how many steps follow until the next."""
        if self._steps is None:
            return 1 << 30
        first, last = self._steps
        if self._is_running and step >= last:
            self._stop(f"to {last}")
        elif not self._is_running and first <= step < last:
            with self._errors_named():
                tf.profiler.experimental.start(str(self._temporary))
            self._is_running, self._begun_at = True, step
        boundaries = [boundary - step for boundary in self._steps if boundary > step]
        return min(boundaries, default=1 << 30)

    def _stop(self, end: str) -> None:
        self._is_running = False
        with self._errors_named():
            tf.profiler.experimental.stop()
            for profile in (self._temporary / _PROFILES).iterdir():
                (self._directory / _PROFILES).mkdir(parents=True, exist_ok=True)
                profile.rename(self._directory / _PROFILES / profile.name)
        shutil.rmtree(self._temporary, ignore_errors=True)
        logging.info(
            "Profile of steps %d %s: tensorboard --logdir %s", self._begun_at, end, shlex.quote(str(self._directory))
        )

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (tf.errors.OpError, OSError) as error:
            shutil.rmtree(self._temporary, ignore_errors=True)
            reason = as_os_error(error)
            advice = advice_on(reason, "choose another `output_dir`")
            raise UserError(
                f"cannot write the profile in {self._directory}: {reason.strerror}. {advice}, or leave out "
                "`profile_steps`."
            ) from error
