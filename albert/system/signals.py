"""SIGINT, SIGTERM and SIGHUP: a request that the training loop honours, or an exit that cleans up. No TensorFlow.

SIGHUP means that the terminal was closed. It is treated as SIGTERM, except where it was ignored when the program began,
which is how `nohup` asks a program to outlive its terminal.
"""

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class Interrupted(Exception):
    """Training was asked to stop and did, with its state saved. Carries the signal's number."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


class Terminated(SystemExit):
    """SIGTERM or SIGHUP ends the program, see `exit_on_termination`; the exit code is 128 + the signal's number."""

    def __init__(self, signal_number: int):
        super().__init__(128 + signal_number)
        self.signal_number = signal_number


class AskedToStop(Exception):
    """Somebody who follows the training wants it to end, for the reason that is this exception's cause.

    The training loop saves its state before it passes this on.
    """


class StopOnSignal:
    """While active, the first SIGINT, SIGTERM or SIGHUP only sets `requested`; a second does what it always did.

    SIGHUP is the exception: a closed terminal sends it more than once (the kernel does, and so does the shell), so that
    a second one insists on nothing and is ignored. Python delivers signals to the main thread, so elsewhere this does
    nothing.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, _Handler] = {}

    def __enter__(self) -> "StopOnSignal":
        if threading.current_thread() is threading.main_thread():
            self._previous = _handle_by(self._handle, signal.SIGINT, *terminations())
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._received is not None

    @property
    def number(self) -> int:
        """The number of the signal that came; 0 if none did."""
        return self._received or 0

    def raise_if_requested(self, message: str) -> None:
        """Raises Interrupted with `message` if a signal came."""
        if self._received is not None:
            raise Interrupted(message, self._received)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._received = number
        leave_closed_terminal()
        for each, handler in self._previous.items():
            signal.signal(each, signal.SIG_IGN if each == signal.SIGHUP else handler)
        logging.warning("%s: stopping after this step; once more to stop at once.", signal.Signals(number).name)


@contextlib.contextmanager
def exit_on_termination() -> Iterator[None]:
    """While active, SIGTERM and SIGHUP end the program as an exception does, with 128 + their number: `finally` runs.

    For programs that have temporary files. Python delivers signals to the main thread, so elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = _handle_by(_exit, *terminations())
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# Until then the method that swallowed it has ended.
_SECONDS_UNTIL_AGAIN = 0.01


@contextlib.contextmanager
def not_lost_in_clean_up() -> Iterator[None]:
    """While active, Ctrl-C and terminations that come during a `__del__` are raised once more, a moment later.

    Whatever is raised there Python prints and forgets, so that the program would go on.
    """
    usual = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        raised = unraisable.exc_value
        if not isinstance(raised, KeyboardInterrupt | Terminated):
            usual(unraisable)
            return
        number = raised.signal_number if isinstance(raised, Terminated) else int(signal.SIGINT)
        again = threading.Timer(_SECONDS_UNTIL_AGAIN, _thread.interrupt_main, (number,))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual


def ignore_terminal() -> None:
    """Ignores what a terminal sends to the whole process group: for workers, whose parent answers and stops them."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def terminal_held_back() -> Iterator[None]:
    """While active, what a terminal sends to the whole process group waits, and never reaches processes begun here.

    For those that cannot ignore it soon enough themselves: the time between the beginning and `ignore_terminal`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def terminations() -> tuple[signal.Signals, ...]:
    """The signals that end a program from outside; SIGHUP is none of them where it was ignored from the beginning."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if is_ignored else (signal.SIGTERM, signal.SIGHUP)


def _handle_by(handler: _Handler, *numbers: signal.Signals) -> dict[int, _Handler]:
    """Installs `handler`; returns the handlers that were there before."""
    return {number: signal.signal(number, handler) for number in numbers}


def _exit(number: int, _frame: FrameType | None) -> None:
    leave_closed_terminal()
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)  # it comes more than once, and must not disturb the cleaning up
    raise Terminated(number)


def signal_name(number: int) -> str:
    """SIGKILL of 9; real-time signals have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def leave_closed_terminal() -> None:
    """Sends standard output and error to nowhere where their terminal is gone: every write to it would fail."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
