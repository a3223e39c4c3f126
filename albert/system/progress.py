"""Progress bars: where they are drawn, and lines of a log above them. No TensorFlow.

A program draws its bar on its own terminal. Where its output goes through another process, to a log file as well, it
has no terminal: it tells that process the state of its bar through a pipe of its own, so that no log ever contains one.
"""

import contextlib
import functools
import os
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

# DESCRIPTOR:COLUMNS, the writing end of that pipe and the width of the terminal behind it.
PROGRESS_BAR = "ALBERT_PROGRESS_BAR"

_USUAL_COLUMNS = 80
# A write of up to PIPE_BUF bytes arrives as a whole.
_MOST_CHARACTERS = 1000
# How tqdm moves to bars below the first one, and back.
_UP = "\x1b[A"


def progress_bar(*arguments: Any, **options: Any) -> "tqdm":
    """A tqdm; with `disable=None` it is shown where there is a terminal, or a process that has one."""
    from tqdm import tqdm  # not at the top: --help, and what only passes bars on, begin sooner

    channel = channel_of(os.environ.get(PROGRESS_BAR, ""))
    if channel:
        options |= {"file": channel, "ncols": channel.columns}
    elif sys.stderr is None:  # it was closed when the process began
        options["disable"] = True
    return tqdm(*arguments, **options)


@contextlib.contextmanager
def above_bars(stream: TextIO) -> Iterator[None]:
    """Around what is written to `stream`: a bar on the same terminal is removed first and drawn again below it."""
    drawn = sys.modules.get("tqdm.std")
    with drawn.tqdm.external_write_mode(file=stream) if drawn else contextlib.nullcontext():
        yield


@functools.cache
def channel_of(named: str) -> "Channel | None":
    """The channel that `named`, a value of the variable, means; None unless it is a pipe of this process."""
    descriptor, _, columns = named.partition(":")
    try:
        if not stat.S_ISFIFO(os.fstat(int(descriptor)).st_mode):
            return None
        return Channel(int(descriptor), int(columns) or _USUAL_COLUMNS)
    except (OSError, ValueError, OverflowError):
        return None


class Channel:
    """The file that tqdm draws on: each state of a bar becomes a line in the pipe, "" for none.

    A state that has no room in the pipe is dropped: a bar must never wait.
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int, columns: int):
        self.descriptor = descriptor
        self.columns = columns
        os.set_blocking(descriptor, False)

    def isatty(self) -> bool:
        """There is a terminal at the end."""
        return True

    def write(self, text: str) -> int:
        """Takes what tqdm writes at once: a state, an end, or a movement, of which there are none here."""
        if state := text.replace(_UP, ""):
            line = state.strip()[:_MOST_CHARACTERS]
            with contextlib.suppress(OSError):
                os.write(self.descriptor, line.encode(errors="replace") + b"\n")
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
