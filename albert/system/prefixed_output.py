"""Lines of several processes in one stream, each behind the name of its process. No TensorFlow."""

import contextlib
import os
from typing import BinaryIO

from albert.system.held_lines import HeldLines, Repetition

_LONGEST_LINE = 1 << 16
_CLEAR = b"\r\x1b[K"


class Screen:
    """A stream that lines of several sources go to, below them at most one progress bar.

    Where nobody reads the stream any more, what goes to it is dropped: the processes have other things to do.
    """

    def __init__(self, stream: BinaryIO):
        self._stream: BinaryIO | None = stream
        self.is_terminal = stream.isatty()
        self._bar = b""
        self._is_inside_line = False

    def line(self, text: bytes) -> None:
        """Writes a whole line, above the bar."""
        self.text(text + b"\n")

    def text(self, data: bytes) -> None:
        """Writes lines above the bar, which is away as long as the last one has no end."""
        clear = _CLEAR * bool(self._bar and not self._is_inside_line)
        self._is_inside_line = not data.endswith(b"\n")
        self._write(clear + data + (b"" if self._is_inside_line else self._bar))

    def bar(self, text: bytes) -> None:
        """Draws the bar in place of the one before; b"" removes it. Only a terminal has one."""
        if not self.is_terminal:
            return
        text = self._fitted(text)
        if text != self._bar and not self._is_inside_line:
            self._write(_CLEAR + text)
        self._bar = text

    def _fitted(self, text: bytes) -> bytes:
        """What has room in a line of the terminal: more could not be removed again."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns if self._stream else 0
        except (OSError, ValueError):
            columns = 0
        return text.decode(errors="replace")[: columns - 1].encode() if columns > 1 else text

    def _write(self, data: bytes) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError:
            # Python flushes once more at its exit, and would complain then.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._stream = None


class PrefixedSource:
    """What comes from one process, on its way to a screen; `has_bar`: its progress bar is shown.

    A bar is text without an end of line that is overwritten after a carriage return. Of what was overwritten only the
    last state is kept: the lines of a log are states that somebody may want to read. What only repeats another line is
    left out, as `repetition` says.
    """

    def __init__(self, screen: Screen, prefix: bytes, has_bar: bool = False, repetition: Repetition | None = None):
        self._screen = screen
        self._prefix = prefix
        self._has_bar = has_bar
        self._rest = b""
        self._held = HeldLines(repetition, self._show) if repetition else None

    def feed(self, data: bytes) -> None:
        """Passes on what can be."""
        *lines, rest = (self._rest + data).split(b"\n")
        if lines and self._has_bar:
            self._screen.bar(b"")
        for line in lines:
            self._line(_last_state(line))
        if b"\r" in rest:
            rest = b"\r" + _last_state(rest)
            if self._has_bar:
                self._screen.bar(self._prefix + rest[1:] if rest[1:].strip() else b"")
        while len(rest) > _LONGEST_LINE:
            self._screen.line(self._prefix + rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._rest = rest

    def end(self) -> None:
        """Passes on what has no end of line."""
        if self._has_bar:
            self._screen.bar(b"")
        if rest := _last_state(self._rest).rstrip():
            self._line(rest)
        self._rest = b""
        if self._held:
            self._held.end()

    def _line(self, text: bytes) -> None:
        if self._held:
            self._held.line(text)
        else:
            self._show(text)

    def _show(self, text: bytes) -> None:
        self._screen.line(self._prefix + text)


class BarSource:
    """A process's progress bar, on its way to a screen: lines, each the state of the bar, an empty one for no bar."""

    def __init__(self, screen: Screen, prefix: bytes = b""):
        self._screen = screen
        self._prefix = prefix
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Shows the newest state."""
        *states, self._rest = (self._rest + data).split(b"\n")
        if states:
            self._screen.bar(self._prefix + states[-1] if states[-1] else b"")

    def end(self) -> None:
        """Removes the bar."""
        self._screen.bar(b"")


def _last_state(line: bytes) -> bytes:
    """What is seen of a line after its carriage returns."""
    states = [state for state in line.split(b"\r") if state]
    return states[-1] if states else b""
