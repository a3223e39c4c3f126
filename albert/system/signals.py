"""Stopping at a safe point: SIGINT and SIGTERM become a request that the training loop honours. No TensorFlow."""

import logging
import signal
import threading
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Training was asked to stop and did, with its state saved. Carries the signal's number."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


class StopOnSignal:
    """While active, the first SIGINT or SIGTERM only sets `requested`; a second one does what it always did.

    Python delivers signals to the main thread, so elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopOnSignal":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._received is not None

    def raise_if_requested(self, message: str) -> None:
        """Raises Interrupted with `message` if a signal came."""
        if self._received is not None:
            raise Interrupted(message, self._received)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._received = number
        logging.warning("%s: stopping after this step; once more to stop at once.", signal.Signals(number).name)
        for each, handler in self._previous.items():
            signal.signal(each, handler)
