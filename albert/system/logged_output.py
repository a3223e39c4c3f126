"""What a program says, to a log file and to the screen, where its progress bar is below it. No TensorFlow.

Stands in for `tee -a` where somebody watches: only the screen gets the bar, which comes through a pipe of its own.
"""

import contextlib
import datetime
import os
import selectors
import shlex
import sys
from collections.abc import Sequence

from albert.system.prefixed_output import BarSource, Screen

_READ_BYTES = 1 << 16

# Begins the line above each run's part of a log (also written by scripts/run_common.sh).
PART = "=== "


def part_line(command: Sequence[str], is_first: bool) -> bytes:
    """The line above a run's part of a log: when it began, as which command; a blank line in front of all but one."""
    words = " ".join(shlex.join(command).splitlines())
    line = f"{PART}{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z} {words}\n"
    return ("" if is_first else "\n").encode() + line.encode(errors="surrogateescape")


def show_and_log(source: int, log_file: str, bar: int) -> int:
    """Passes `source` on until its end; `bar` has the states of the bar. All are descriptors.

    Returns the exit code, 1 where the log could not be written. One line says so, and the screen gets the rest.
    """
    screen = Screen(sys.stdout.buffer)
    shown = BarSource(screen if screen.is_terminal else Screen(sys.stderr.buffer))
    log = _Log(log_file)
    os.set_blocking(bar, False)
    with selectors.DefaultSelector() as selector:
        for descriptor in (source, bar):
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if bar in ready:
                with contextlib.suppress(BlockingIOError):
                    shown.feed(os.read(bar, _READ_BYTES))
            if source in ready:
                data = os.read(source, _READ_BYTES)
                if not data:
                    shown.end()
                    return log.code
                log.write(data)
                screen.text(data)


class _Log:
    """The file that is added to; `code` is 1 once it cannot be."""

    def __init__(self, path: str):
        self._path = path
        self.code = 0
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            self._fail(error)

    def write(self, data: bytes) -> None:
        """Adds `data`, as far as that is possible."""
        try:
            while data and not self.code:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.code = 1
        print(f"{self._path}: {error.strerror}", file=sys.stderr, flush=True)
