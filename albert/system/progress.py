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

_USUAL_COLUMNS, _USUAL_ROWS = 80, 24
# Of a bar of text in a notebook, which says nothing of its width, and the least time between two states of it: a
# notebook that is run without a browser saves them all.
_NOTEBOOK_COLUMNS, _NOTEBOOK_SECONDS = 100, 0.5
# What is drawn where there is no room for more.
_SHORTER_FORMATS = (
    "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]",
    "{l_bar}{bar}| {n_fmt}/{total_fmt}",
    "{desc}: {percentage:3.0f}%",
)
_SHORTER_WITHOUT_TOTAL = ("{desc}: {n_fmt}{unit}",)
# A bar that is drawn without a width has 10 characters; one would do.
_SMALLEST_BAR = 9
_CUT = "..."
# A write of up to PIPE_BUF bytes arrives as a whole.
_MOST_CHARACTERS = 1000
# How tqdm moves to bars below the first one, and back.
_UP = "\x1b[A"


def progress_bar(*arguments: Any, **options: Any) -> "tqdm":
    """A tqdm; with `disable=None` it is shown in a notebook, and where there is a terminal, or a process with one."""
    channel = channel_of(os.environ.get(PROGRESS_BAR, ""))
    if channel:
        options |= {"file": channel, "ncols": _room(channel.columns)}
    elif sys.stderr is None:  # it was closed when the process began
        options["disable"] = True
    elif options.get("disable", False) is None and in_notebook():
        return _notebook_bar(*arguments, **options)
    elif columns := _columns_of(options.get("file", sys.stderr)):
        # With a number of rows that a terminal does not say, 0, tqdm would take every bar for one below its last row.
        options = {"ncols": _room(columns), "nrows": _USUAL_ROWS, **options}
    return _fitting_bar()(*arguments, **options)


def _columns_of(stream: TextIO | None) -> int:
    """The width of the terminal that `stream` is, the usual one where it does not say; 0 where it is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS if stream else 0
    except (OSError, ValueError, AttributeError):
        return 0


def _room(columns: int) -> int:
    """For a bar in a line of a terminal: many wrap a line that fills all columns."""
    return max(1, columns - 1)


def _less_and_less(bar_format: str | None, postfix: str, has_total: bool) -> Iterator[dict[str, str | None]]:
    """What is drawn of a bar, the most first."""
    yield {"bar_format": bar_format, "postfix": postfix}
    while postfix:
        postfix = postfix.rpartition(", ")[0]
        yield {"bar_format": bar_format, "postfix": postfix}
    for shorter in _SHORTER_FORMATS if has_total else _SHORTER_WITHOUT_TOTAL:
        yield {"bar_format": shorter, "postfix": ""}


@functools.cache
def _fitting_bar() -> "type[tqdm]":
    from tqdm import tqdm  # not at the top: --help, and what only passes bars on, begin sooner
    from tqdm.utils import disp_len

    class FittingBar(tqdm):
        """Leaves out, as a whole, what a narrow terminal has no room for, where tqdm cuts off what stands last."""

        @staticmethod
        def format_meter(  # type: ignore[override]
            n: float, total: Any, elapsed: float, ncols: int | None = None, **rest: Any
        ) -> str:
            def drawn(columns: int | None, **changed: Any) -> str:
                return tqdm.format_meter(n, total, elapsed, columns, **{**rest, **changed})

            if not ncols:
                return drawn(ncols)
            for changed in _less_and_less(rest.get("bar_format"), rest.get("postfix") or "", bool(total)):
                has_bar = total and "{bar}" in (changed["bar_format"] or "{bar}")
                too_many = disp_len(drawn(None, **changed)) - (_SMALLEST_BAR if has_bar else 0) - ncols
                if too_many <= 0:
                    return drawn(ncols, **changed)
            kept = len(rest.get("prefix") or "") - too_many - len(_CUT)
            return drawn(ncols, **changed, prefix=f"{rest['prefix'][:kept]}{_CUT}" if kept > 0 else "")

    return FittingBar


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
