"""What SIGTERM does to a program that has temporary files. Knows nothing of the files."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def terminated_orderly() -> Iterator[None]:
    """While active, SIGTERM ends the program as an exception does, with exit code 128 + its number: `finally` runs.

    Python delivers signals to the main thread, so elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
