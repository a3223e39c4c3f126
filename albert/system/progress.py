"""Progress bars: where they are drawn, and lines of a log above them. No TensorFlow.

A program draws its bar on its own terminal. Where its output goes through another process, to a log file as well, it
has no terminal: it tells that process the state of its bar through a pipe of its own, so that no log ever contains one.
In a notebook, standard error is no terminal either, but the cell's output, which shows bars all the same.
"""

import contextlib
import functools
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

# DESCRIPTOR:COLUMNS, the writing end of that pipe and the width of the terminal behind it.
PROGRESS_BAR = "ALBERT_PROGRESS_BAR"

_USUAL_COLUMNS = 80
# Of a bar of text in a notebook, which says nothing of its width, and the least time between two states of it: a
# notebook that is run without a browser saves them all.
_NOTEBOOK_COLUMNS, _NOTEBOOK_SECONDS = 100, 0.5
# A write of up to PIPE_BUF bytes arrives as a whole.
_MOST_CHARACTERS = 1000
# How tqdm moves to bars below the first one, and back.
_UP = "\x1b[A"


def progress_bar(*arguments: Any, **options: Any) -> "tqdm":
    """A tqdm; with `disable=None` it is shown in a notebook, and where there is a terminal, or a process with one."""
    from tqdm import tqdm  # not at the top: --help, and what only passes bars on, begin sooner

    channel = channel_of(os.environ.get(PROGRESS_BAR, ""))
    if channel:
        options |= {"file": channel, "ncols": channel.columns}
    elif sys.stderr is None:  # it was closed when the process began
        options["disable"] = True
    elif options.get("disable", False) is None and in_notebook():
        return _notebook_bar(*arguments, **options)
    return tqdm(*arguments, **options)


def in_notebook() -> bool:
    """Whether standard error is the output of a cell: of Jupyter, Colab, VS Code, whatever talks to a kernel.

    Not where it is captured or redirected.
    """
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return _is_called(type(get_ipython()), "ZMQInteractiveShell") and _is_called(type(sys.stderr), "OutStream")


def _is_called(kind: type, name: str) -> bool:
    """Whether a class, or one that it is derived from, has this name: nothing is imported to find out."""
    return any(base.__name__ == name for base in kind.__mro__)


def _notebook_bar(*arguments: Any, **options: Any) -> "tqdm":
    """A widget where ipywidgets is installed, otherwise a line of text that is written again and again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets it tells how to install them
        from tqdm.auto import tqdm
    options["disable"] = False
    if _is_called(tqdm, "tqdm_notebook"):
        return tqdm(*arguments, **options)
    # The width that tqdm would find is that of the terminal in which the notebook's server was started. A bar within
    # another one is written over it: in a cell no cursor goes up.
    fixed = {"file": sys.stderr, "ncols": _NOTEBOOK_COLUMNS, "mininterval": _NOTEBOOK_SECONDS, "position": 0}
    return tqdm(*arguments, **(options | fixed))


@contextlib.contextmanager
def above_bars(stream: TextIO) -> Iterator[None]:
    """Around what is written to `stream`: a bar on the same terminal is removed first and drawn again below it."""
    drawn = sys.modules.get("tqdm.std")
    with drawn.tqdm.external_write_mode(file=stream) if drawn else contextlib.nullcontext():
        yield


def clear_bars(stream: TextIO) -> None:
    """Before another's line is written to `stream`: bars there are removed until they change the next time."""
    if drawn := sys.modules.get("tqdm.std"):
        both = (sys.stdout, sys.stderr)
        with drawn.tqdm.get_lock():
            for bar in getattr(drawn.tqdm, "_instances", ()):
                # As tqdm's `external_write_mode`: what is not drawn yet has no start.
                if hasattr(bar, "start_t") and (bar.fp == stream or (stream in both and bar.fp in both)):
                    bar.clear(nolock=True)


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
