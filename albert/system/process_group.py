"""Several processes that do one piece of work together: started, listened to, ended, none left behind. No TensorFlow.

Each is the leader of a session of its own, so that what it starts can be ended with it, and so that an interrupt at the
terminal reaches only this process, which passes it on. A watcher in each session ends it if this process is killed.
"""

import contextlib
import dataclasses
import fcntl
import os
import selectors
import signal
import struct
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Mapping, Sequence
from pathlib import Path

from albert.system import guarded_start
from albert.system.held_lines import Repetition
from albert.system.prefixed_output import BarSource, PrefixedSource, Screen
from albert.system.progress import PROGRESS_BAR, channel_of

_POLL_SECONDS = 0.05
_READ_BYTES = 1 << 16
# What is left in pipes after the ends of all processes is there already.
_LAST_WORDS_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class End:
    """How a process ended: its index, its exit code (negative: by that signal)."""

    index: int
    code: int


class ProcessGroup:
    """Processes of `command`, one for each of `environments`; as a context manager leaves none behind.

    Their lines go to `out` and `errors`, prefixed; a progress bar of the first one too if `errors` is a terminal. Of
    their errors, lines are left out as `repetition` says.
    """

    def __init__(
        self,
        command: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        out: Screen,
        errors: Screen,
        repetition: Repetition | None = None,
    ):
        self._repetition = repetition
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, subprocess.Popen] = {}
        self._sessions: list[int] = []
        self._descriptors: set[int] = set()
        self._lifeline, self._pipe_end = os.pipe()
        try:
            for index, environment in enumerate(environments):
                self._start(index, command, environment, out, errors)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(self._lifeline)

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def is_running(self) -> bool:
        """Whether any of them runs."""
        return bool(self._running)

    def serve(self) -> list[End]:
        """Passes on for a moment what they say; those that ended in it, in no order."""
        self._pass_on(_POLL_SECONDS)
        ends = []
        for index, process in list(self._running.items()):
            if (code := process.poll()) is not None:
                del self._running[index]
                ends.append(End(index, code))
        return ends

    def send(self, number: int) -> None:
        """Sends a signal to those that run; what they started is theirs to stop."""
        for process in self._running.values():
            process.send_signal(number)

    def close(self) -> None:
        """Kills whatever is left, also of those that ended, and passes on the last words."""
        for session in self._sessions:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)
        self._sessions = []
        for process in self._running.values():
            process.wait()
        self._running = {}
        end = time.monotonic() + _LAST_WORDS_SECONDS
        while self._descriptors and time.monotonic() < end:
            self._pass_on(_POLL_SECONDS)
        for descriptor in list(self._descriptors):
            self._forget(descriptor)
        self._selector.close()
        if self._pipe_end >= 0:
            os.close(self._pipe_end)
            self._pipe_end = -1

    def _start(
        self, index: int, command: Sequence[str], environment: Mapping[str, str], out: Screen, errors: Screen
    ) -> None:
        guard = [sys.executable, "-I", "-S", str(Path(guarded_start.__file__)), str(self._lifeline)]
        prefix = f"[worker {index}] "
        has_bar = errors.is_terminal and index == 0
        columns = _columns_behind(prefix) if has_bar else 0
        (out_end, out_write), (errors_end, errors_write) = os.pipe(), _terminal(columns) if has_bar else os.pipe()
        bar = _Bar.of(environment, columns) if index == 0 else _Bar()
        try:
            process = subprocess.Popen(
                [*guard, *command],
                env={**environment, PROGRESS_BAR: bar.variable},
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=errors_write,
                pass_fds=(self._lifeline, *bar.passed_on),
                start_new_session=True,
            )
        finally:
            os.close(out_write)
            os.close(errors_write)
            self._listen(out_end, PrefixedSource(out, prefix.encode()))
            self._listen(errors_end, PrefixedSource(errors, prefix.encode(), has_bar, self._repetition))
            if bar.reading_end >= 0:
                os.close(*bar.passed_on)
                self._listen(bar.reading_end, BarSource(errors, prefix.encode()))
        self._running[index] = process
        self._sessions.append(process.pid)

    def _listen(self, descriptor: int, source: PrefixedSource | BarSource) -> None:
        self._descriptors.add(descriptor)
        self._selector.register(descriptor, selectors.EVENT_READ, source)

    def _pass_on(self, seconds: float) -> None:
        if not self._descriptors:
            time.sleep(seconds)
            return
        for key, _ in self._selector.select(seconds):
            try:
                data = os.read(key.fd, _READ_BYTES)
            except OSError:  # how a terminal ends
                data = b""
            if data:
                key.data.feed(data)
            else:
                self._forget(key.fd)

    def _forget(self, descriptor: int) -> None:
        self._selector.get_key(descriptor).data.end()
        self._selector.unregister(descriptor)
        self._descriptors.remove(descriptor)
        os.close(descriptor)


@dataclasses.dataclass(frozen=True)
class _Bar:
    """How a process of ours tells its progress bar: through a pipe that `variable` names and `passed_on` ends in.

    `reading_end` is this process's; -1 where the pipe was given to it, for another process that reads.
    """

    variable: str = ""
    passed_on: tuple[int, ...] = ()
    reading_end: int = -1

    @classmethod
    def of(cls, environment: Mapping[str, str], columns: int) -> "_Bar":
        """A pipe to here for a terminal with `columns`; without one, the pipe that this process was given, if any."""
        if columns:
            reading_end, writing_end = os.pipe()
            return cls(f"{writing_end}:{columns}", (writing_end,), reading_end)
        variable = environment.get(PROGRESS_BAR, "")
        channel = channel_of(variable)
        return cls(variable, (channel.descriptor,)) if channel else cls()


def _columns_behind(prefix: str) -> int:
    """What a prefix leaves of this process's terminal."""
    return max(20, os.get_terminal_size(sys.stderr.fileno()).columns - len(prefix))


def _terminal(columns: int) -> tuple[int, int]:
    """Both ends of a terminal: other libraries' programs draw their bars on one."""
    own, other = os.openpty()
    tty.setraw(other)
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return own, other
