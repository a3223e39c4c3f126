"""`albert.fine_tune`: a run of the fine-tuning programs in the process of whoever calls it.

Does what `albert.cli.program` does around a run, where the process is not the run's own: what is set up is put back,
and errors are raised. Imports TensorFlow only when the keywords are known to be right.
"""

import contextlib
import csv
import dataclasses
import inspect
import logging
import os
import shlex
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, get_type_hints

from albert.cli import in_memory
from albert.cli.fine_tuning import CLASSIFIER, FINE_TUNING_PROGRAMS
from albert.cli.keyword_types import FineTuningKeywords
from albert.cli.keywords import FUNCTION, TASKS_OF, Call, call_of, in_keywords
from albert.cli.on_log import Function, OnLog
from albert.cli.predict import from_here
from albert.cli.program import AboveBars, Lines, keeping_compiled_code
from albert.errors import UserError
from albert.runs.preflight import check_fine_tuning
from albert.settings import Settings
from albert.settings.fields import GROUPS
from albert.system import compilation_cache
from albert.system.imports import importing_tensorflow_for_others
from albert.system.progress import clear_bars
from albert.system.signals import AskedToStop, Interrupted
from albert.tasks.base import Task

if TYPE_CHECKING:
    from albert.serving.predictor import Predictor

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
# What a run sets for TensorFlow, which reads it once.
_VARIABLES = ("TF_XLA_FLAGS", "TF_CPP_MIN_LOG_LEVEL")
_running = threading.Lock()
Filter = Callable[[logging.LogRecord], bool]


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What a run of `albert.fine_tune` left.

    Attributes:
      output_dir: where checkpoints and results are.
      model_dir: the folder of the model that was trained, evaluated or used to predict: `output_dir`, if it has one.
      metrics: of the best checkpoint on the dev split, by name; empty without `do_eval`.
      best_step: the step of that checkpoint; None without `do_eval`, and for a model that is not in `output_dir`.
      files: what this call wrote in `output_dir`, in the order of their names.
    """

    output_dir: Path
    model_dir: Path
    metrics: Mapping[str, float]
    best_step: int | None
    files: tuple[Path, ...] = dataclasses.field(repr=False)

    def load(self) -> "Predictor":
        """The model, ready to predict: `albert.load(run.model_dir)`."""
        from albert import load

        return load(self.model_dir)


def fine_tune(*values: Any, on_log: Function | None = None, **settings: Unpack[FineTuningKeywords]) -> FinishedRun:
    """Trains, evaluates and predicts, in this process, and returns the metrics and where the model is.

        run = albert.fine_tune(train_file="reviews.csv", model_dir="albert-base", output_dir="out/reviews")
        run.metrics["accuracy"], run.load()(["A first text."])

    `task_name` is a task of GLUE, "squad1.1", "squad2.0" or "race"; own data need `train_file` in its place. The
    keywords are the flags of the command line, and a run is the same as there: what one began, the other continues.
    Where they are not given, the call trains and evaluates with what there is, by the task's recipe; it predicts if
    `test_file` is given. None is the same as leaving a keyword out.

    `on_log` is called with a dictionary after every `log_steps`-th step (`step`, `loss`, `gradient_norm`,
    `learning_rate`) and after every evaluation (`step` and the metrics). What it raises ends the training: the state is
    saved, the call raises that, too, and the same call continues.

    Imports TensorFlow, and leaves the log, the environment and signal handlers as they were. Raises
    `albert.errors.UserError`, in one line, for what is wrong, and KeyboardInterrupt when the state is saved after
    Ctrl-C.
    """
    if values:
        given = ", ".join(repr(value) if isinstance(value, str | Path) else type(value).__name__ for value in values)
        raise TypeError(
            f"fine_tune takes keywords alone, not fine_tune({given}): name each value, such as train_file=..., "
            "model_dir=..., output_dir=..."
        )
    if on_log is not None and not callable(on_log):
        raise UserError(f"on_log must be a function of one dictionary, not {type(on_log).__name__}")
    if not _running.acquire(blocking=False):
        raise UserError("this process fine-tunes already: wait until it is done, or use another process")
    try:
        outcome = _attempt(settings, on_log)
    finally:
        _running.release()
    if isinstance(outcome, AskedToStop):
        assert outcome.__cause__, "it is raised from what on_log raised"
        raise outcome.__cause__
    if isinstance(outcome, Interrupted):
        raise _answer_to(outcome)
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def _attempt(
    settings: Mapping[str, Any], on_log: Function | None
) -> FinishedRun | UserError | Interrupted | AskedToStop:
    """The run, or what to raise: an error that was not raised in it does not hold what it had in memory."""
    call = None
    try:
        call = call_of(settings)
        return _run(call, on_log)
    except UserError as error:
        problem = call.worded(str(error)) if call else str(error)
    except OSError as error:
        if error.filename is None:
            raise
        problem = f"{error.filename}: {error.strerror}"
    except Interrupted as stop:
        anew = ", without overwrite_output_dir," if settings.get("overwrite_output_dir") else ""
        message = f"{stop}; the same call{anew} continues from there"
        return Interrupted(message, stop.signal_number)
    except AskedToStop as stop:
        traceback.clear_frames(stop.__traceback__)  # what on_log raised leads to them, and a notebook keeps that
        return stop.with_traceback(None)
    return UserError(" ".join(problem.split()))


def _answer_to(stop: Interrupted) -> KeyboardInterrupt:
    """Hands the signal that stopped training to the caller's own handler; what to raise if that returns.

    By default that of SIGINT raises KeyboardInterrupt, and SIGTERM ends the process. A handler that returns, as that of
    `asyncio.run` does, must not let a loop over settings begin the next run.
    """
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(stop.signal_number)
    return KeyboardInterrupt(str(stop))


def _run(call: Call, on_log: Function | None) -> FinishedRun:
    if call.keywords.get("strategy_type") == "multi_worker":
        raise UserError(
            "`strategy_type`=multi_worker: several workers are several processes, and this is one. Start them on the "
            "command line (docs/several_machines.md)."
        )
    with _logging(call.worded), _environment():
        task, settings = call.parse()
        if not isinstance(call.keywords.get("task_name"), Task):
            command = shlex.join([str(from_here(Path(sys.executable))), "-m", *call.argv])
            logging.info("The same on the command line: %s", command)
        check_fine_tuning(task, settings)
        with keeping_compiled_code(settings.speed, compilation_cache.use_if_new):
            with importing_tensorflow_for_others():
                from albert.engine.shared_process import leaving_as_found
                from albert.runs.fine_tuning import run

            followers = [OnLog(on_log, settings.train.log_steps)] if on_log else []
            before = _files(settings.output_dir)
            with leaving_as_found():
                metrics = run(task, settings, followers)
        found = _files(settings.output_dir)
        written = tuple(sorted(path for path in found if found[path] != before.get(path)))
        finished = _finished(settings, metrics, written)
        if settings.do_train:
            logging.info("Use the model: albert.load(%r)", str(finished.model_dir))
        return finished


def _finished(settings: Settings, metrics: Mapping[str, float], written: tuple[Path, ...]) -> FinishedRun:
    model_dir, checkpoint = settings.output_dir, settings.model.init_checkpoint
    if checkpoint and not next(model_dir.glob("model.ckpt-*.index"), None):
        model_dir = checkpoint if checkpoint.is_dir() else checkpoint.parent
    values = dict(metrics)
    step = int(values.pop("global_step", 0))  # 0: the model of another folder
    return FinishedRun(settings.output_dir, model_dir, values, step or None, written)


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """What tells a file from one that was written later; those of a run, not all below an output folder like "."."""
    found = {}
    for path in (*folder.glob("*"), *folder.glob("plugins/**/*")):  # profiles are in folders
        with contextlib.suppress(FileNotFoundError):  # another program's
            if path.is_file():
                state = path.stat()
                found[path] = state.st_ino, state.st_mtime_ns
    return found


# --- What is put back -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _VARIABLES}
    longest_field = csv.field_size_limit()
    try:
        yield
    finally:
        csv.field_size_limit(longest_field)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _logging(worded: Callable[[str], str]) -> Iterator[None]:
    """The run's lines in the words of its caller, for the handlers that the log has; on standard error if it has none.

    The level is the caller's, too, unless nobody has set up anything.
    """
    root, tensorflow = logging.getLogger(), logging.getLogger("tensorflow")
    levels = {root: root.level, tensorflow: tensorflow.level}

    def in_words(record: logging.LogRecord) -> bool:
        if record.pathname.startswith(_PACKAGE) and not getattr(record, "is_worded", False):
            record.msg, record.args, record.is_worded = worded(record.getMessage()), (), True
        return True

    def is_telling(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()  # each run traces its own functions

    handler = AboveBars(sys.stderr) if sys.stderr and not root.handlers else None
    if handler:
        handler.setFormatter(Lines(str))
        root.addHandler(handler)
        if root.level == logging.WARNING:  # Python's own choice
            root.setLevel(logging.INFO)
    filters: list[tuple[logging.Handler, Filter]] = [(each, in_words) for each in root.handlers]
    filters += [(each, _bars_cleared(each)) for each in root.handlers if isinstance(each, logging.StreamHandler)]
    for each, is_passed in filters:
        each.addFilter(is_passed)
    tensorflow.addFilter(is_telling)
    tensorflow.setLevel(max(tensorflow.level, logging.WARNING))
    try:
        yield
    finally:
        tensorflow.removeFilter(is_telling)
        for each, is_passed in filters:
            each.removeFilter(is_passed)
        if handler:
            root.removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)


def _bars_cleared(handler: logging.StreamHandler) -> Filter:
    """A filter that lets every line of the handler pass, and keeps bars out of it."""

    def is_passed(record: logging.LogRecord) -> bool:
        if not isinstance(handler, AboveBars):
            clear_bars(handler.stream)
        return True

    return is_passed


# --- What the keywords are, for help() and notebooks ------------------------------------------------------------------


def _listed() -> str:
    """The meaning of every keyword, in the groups of --help."""
    names = get_type_hints(FineTuningKeywords)
    programs = {name: [program for program in FINE_TUNING_PROGRAMS if name in program.flag_of] for name in names}
    flags = {name: next(flag for flag in programs[name][0].flags if flag.name == name) for name in names}
    lines = []
    for group in GROUPS:
        of_group = [flag for flag in flags.values() if flag.group == group]
        lines += ["", f"    {group}:"] if of_group else []
        for flag in of_group:
            first = programs[flag.name][0]
            tasks = () if first is CLASSIFIER else [TASKS_OF[program.module] for program in programs[flag.name]]
            parts = [f"{flag.name}:", f"({', '.join(tasks)})" if tasks else "", first.in_flags(flag.text)]
            parts += [f"One of {', '.join(flag.choices)}."] if flag.choices else []
            parts += [f"Or {in_memory.kind_of(flag.name)}."] if in_memory.kind_of(flag.name) else []
            text = in_keywords(" ".join(filter(None, parts)), {}, flags).replace("Without the flag", "Without it")
            lines += textwrap.wrap(text, 110, initial_indent=" " * 6, subsequent_indent=" " * 10)
    return "\n".join(lines)


def _signature() -> inspect.Signature:
    hints = get_type_hints(FineTuningKeywords)
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
        for name, hint in hints.items()
    ]
    parameters.append(inspect.signature(fine_tune).parameters["on_log"])
    return inspect.Signature(parameters, return_annotation=FinishedRun)


fine_tune.__signature__ = _signature()  # type: ignore[attr-defined]
fine_tune.__doc__ = f"{fine_tune.__doc__}{_listed()}\n    "
fine_tune.__module__ = FUNCTION.partition(".")[0]
