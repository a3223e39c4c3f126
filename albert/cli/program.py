"""What every entry point does around its work: logging, one line for a user's mistake, exit codes. No TensorFlow."""

import contextlib
import contextvars
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from albert.cli import start
from albert.cli.flags import HelpRequested, Program
from albert.cli.model_dir import filled_in
from albert.cli.predict import command_for
from albert.cli.replicas import is_chief
from albert.cli.variables import in_variables
from albert.errors import UserError
from albert.settings import DataSettings, PretrainingSettings, Settings, SpeedSettings
from albert.system import compilation_cache
from albert.system.endings import LOST_WORKER, LostWorker, leave, leaves_at_once
from albert.system.imports import importing_tensorflow
from albert.system.printing import print_as_far_as_read, say
from albert.system.progress import above_bars
from albert.system.signals import Interrupted, Terminated, exit_on_termination, not_lost_in_clean_up
from albert.tasks.base import Task

T = TypeVar("T")

USER_ERROR = 2
BUG = 1

# Which every program may import. What only some need says so itself.
_PACKAGES = ("tensorflow", "sentencepiece", "matplotlib")

# What is said behind the end of a run that was asked to stop.
_HOW_TO_CONTINUE: contextvars.ContextVar[str | None] = contextvars.ContextVar("how to continue", default=None)


def main(
    argv: Sequence[str],
    parse: Callable[[Sequence[str]], T],
    work: Callable[[T], None],
    program: Program | None = None,
) -> int:
    """Parses, works, and returns the exit code.

    0 when done; 2 after a mistake of the user's, reported in one line; 128 + the signal's number when asked to stop; 75
    when another worker was lost. A bug keeps its traceback. `program` has the flags that an error's message names in
    place of settings. A worker of several does not return, but ends the process with that code.
    """
    worded = _wording(program, argv)
    _configure_logging(worded)
    _configure_tensorflow()
    try:
        if_stopped = program.if_stopped if program else ""
        with not_lost_in_clean_up():
            code = _worked(lambda: work(parse(argv)), worded, _continuing(argv), if_stopped)
        return leave(code)
    except Exception:
        if leaves_at_once():
            traceback.print_exc()
            leave(BUG)
        raise


def _wording(program: Program | None, argv: Sequence[str]) -> Callable[[str], str]:
    """Puts a message into the words of whoever called: flags, or a script's variables, in place of settings."""
    if program is None:
        return in_variables
    filled = filled_in(program, argv)
    return lambda text: in_variables(program.in_flags(text, filled))


def _continuing(argv: Sequence[str]) -> str:
    """What continues a run that was asked to stop: the same command, which may have begun it anew."""
    begins_anew = any(argument.lstrip("-").startswith(("overwrite_output_dir", "flagfile")) for argument in argv[1:])
    return f"; the same command{', without --overwrite_output_dir,' * begins_anew} continues from there."


def _worked(work: Callable[[], None], worded: Callable[[str], str], continuing: str = "", if_stopped: str = "") -> int:
    """Works, and returns the exit code.

    `continuing` is said of a run that was asked to stop, `if_stopped` of one that a signal ends.
    """
    try:
        start.take_interrupts()
        work()
    except HelpRequested as request:
        help_text = str(request)
        return _worked(lambda: print_as_far_as_read(help_text), worded)
    except UserError as error:
        for problem in error.problems or (str(error),):
            say(f"error: {' '.join(worded(problem).split())}")
        return USER_ERROR
    except OSError as error:
        if error.filename is None:
            raise
        say(f"error: {error.filename}: {error.strerror}")
        return USER_ERROR
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        say(f"error: {sys.executable} has no {error.name}: {start.way_out()}")
        return USER_ERROR
    except LostWorker as error:
        say(f"error: {error}")
        return LOST_WORKER
    except Interrupted as stop:
        named = _HOW_TO_CONTINUE.get()
        say(f"{stop}{continuing if named is None else named}")
        return 128 + stop.signal_number
    except (KeyboardInterrupt, Terminated) as stop:
        _forget_interrupt()
        say(f"stopped{'; ' * bool(if_stopped)}{if_stopped}.")
        return 128 + (stop.signal_number if isinstance(stop, Terminated) else signal.SIGINT)
    return 0


def _forget_interrupt() -> None:
    """Makes the exit code after Ctrl-C that of the program.

    Where KeyboardInterrupt came out of an `exec` of text, as in namedtuple and so in many an import, `python -m`
    notes that and dies by SIGINT at its end, whatever was caught (`unhandled_keyboard_interrupt` in CPython). The next
    `exec` of text clears the note.
    """
    exec("")


@contextlib.contextmanager
def named_by_caller() -> Iterator[None]:
    """While active, a program that was asked to stop leaves it to its caller to name the command that continues it."""
    token = _HOW_TO_CONTINUE.set(".")
    try:
        yield
    finally:
        _HOW_TO_CONTINUE.reset(token)


def fine_tune(job: tuple[Task, Settings]) -> None:
    """Runs a task, and names the command that predicts with what it trained.

    Imports TensorFlow only now, when the flags are known to be right, and to fit the model and the folder.
    """
    from albert.runs.preflight import check_fine_tuning

    task, settings = job
    check_fine_tuning(task, settings)
    with keeping_compiled_code(settings.speed):
        with importing_tensorflow():
            from albert.runs.fine_tuning import run

        run(task, settings)
    if settings.do_train and is_chief(settings):
        logging.info("Use the model: %s", command_for(task, settings.output_dir))


def pretrain(settings: PretrainingSettings) -> None:
    """Pretrains. Imports TensorFlow only now, when the flags are known to be right, and to fit model and folder."""
    from albert.runs.preflight import check_pretraining

    check_pretraining(settings)
    with keeping_compiled_code(settings.speed):
        with importing_tensorflow():
            from albert.runs.pretraining import run

        run(settings)


def create_features(job: tuple[Task, DataSettings]) -> None:
    """Makes the caches of a task. Imports TensorFlow, which reads them, only now."""
    with importing_tensorflow():
        from albert.runs.feature_creation import create

    with exit_on_termination():  # nothing that is half written stays, of any size
        summary = create(*job)
    print_as_far_as_read(summary)


@contextlib.contextmanager
def keeping_compiled_code(
    speed: SpeedSettings, use: Callable[[Path, bool], None] = compilation_cache.use
) -> Iterator[None]:
    """While active, compiled code is kept in the folder that `speed` names, if it does: `use` says so to TensorFlow.

    Raises UserError where that cannot be used, or an entry in it cannot be read or written.
    """
    folder = speed.compilation_cache
    if folder is None:
        yield
        return
    use(folder, speed.deterministic)
    try:
        yield
    except Exception as error:
        explained = compilation_cache.as_user_error(folder, error)
        if explained is None:
            raise
        raise explained from error


class Lines(logging.Formatter):
    """A line of the log, in the words of whoever called. Its time has the date, too, from the second day on."""

    def __init__(self, worded: Callable[[str], str]):
        super().__init__("%(asctime)s %(mark)s%(message)s", datefmt="%H:%M:%S")
        self._worded = worded
        self._first_day = time.localtime()[:3]

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 logging's name
        """The time of a line."""
        if time.localtime(record.created)[:3] != self._first_day:
            datefmt = f"%Y-%m-%d {datefmt}"
        return super().formatTime(record, datefmt)

    def format(self, record: logging.LogRecord) -> str:
        record.mark = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return self._worded(super().format(record))


class AboveBars(logging.StreamHandler):
    """Writes lines; a progress bar on the same terminal stays below them."""

    def emit(self, record: logging.LogRecord) -> None:
        with above_bars(self.stream):
            super().emit(record)


def _configure_logging(worded: Callable[[str], str]) -> None:
    """A program that calls another one's `main`, as the demo does, has that one's words from then on."""
    ours = [handler for handler in logging.root.handlers if isinstance(handler.formatter, Lines)]
    handler = ours[0] if ours else AboveBars(sys.stderr)
    handler.setFormatter(Lines(worded))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("tensorflow").setLevel(logging.WARNING)


def _configure_tensorflow() -> None:
    """By variables that it reads when it is imported."""
    # Its C++ start-up notices say nothing about the run; errors stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow imports Keras, a third of the time that its import takes. Nothing here uses it, and of the Keras that
    # this names there is none unless somebody installed it.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
