"""The command line of `albert.sweep`: its flags, those of every run behind `--`, and the request they become.

No TensorFlow.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence

from albert.cli import fine_tuning
from albert.cli.flag_files import with_flags_of_files
from albert.cli.flags import Flag, Program, declared, parse
from albert.cli.other_names import Always, did_you_mean, similar, suggestions
from albert.cli.own_data import sharing_tasks
from albert.cli.predict import command_for
from albert.errors import UserError
from albert.runs.sweep.conduct import Sweep
from albert.runs.sweep.jobs import CLASS_WEIGHTS
from albert.runs.sweep.plan import CLASSIFIER, OWN_DATA, RACE, SQUAD, ParsedRun
from albert.runs.sweep.request import RANDOM, TPE, SweepRequest
from albert.runs.sweep.search import space_of, values_of
from albert.settings import Settings
from albert.settings.fields import DEVICES, SPEED
from albert.tasks.base import Task
from albert.tasks.objective import LossChoice, with_metric

SWEEP = Program(
    "sweep",
    "Runs tasks with several seeds and settings side by side, and compares them.",
    declared(SweepRequest),
    required=("output_dir",),
    example=(
        "--task_name=MRPC,RTE --seeds=1,2,3 --set learning_rate=1e-5,2e-5 --output_dir=sweep",
        "-- --model_dir=pretrained_model/albert_base_v2",
    ),
    arguments="-- FLAGS OF EVERY RUN",
    if_stopped="what the runs saved before is intact, and the same command resumes",
    changes={"output_dir": {"default": None}},
    notes="Behind -- are flags of albert.run_multigpus_classifier, or of the programs for SQuAD and RACE. What they do "
    "not set comes from the task's recipe. The same command resumes, and runs no finished run again.",
)

_PARSERS: Mapping[str, Callable[[Sequence[str]], tuple[Task, Settings]]] = {
    CLASSIFIER: fine_tuning.parse_classifier_flags,
    RACE: fine_tuning.parse_race_flags,
    SQUAD["SQuAD1.1"]: lambda argv: fine_tuning.parse_squad_flags(argv, "1.1"),
    SQUAD["SQuAD2.0"]: lambda argv: fine_tuning.parse_squad_flags(argv, "2.0"),
}
_PROGRAMS = {program.module: program for program in fine_tuning.FINE_TUNING_PROGRAMS}

# The sweep gives these to each run, from flags of its own.
_INSTEAD = {
    "output_dir": "--output_dir of the sweep",
    "overwrite_output_dir": "another --output_dir of the sweep",
    "task_name": "--task_name in front of --",
    "seed": "--seeds",
    "do_train": "",
    "do_eval": "",
    "do_predict": "--[no]do_predict in front of --",
}
# Neither where nor how fast something is computed decides what comes out of it. What is read counts by its contents.
_NOT_DECIDING = (
    *("cached_dir", "compilation_cache", "log_steps", "keep_checkpoint_max", "output_dir", "train_batch_size", "seed"),
    *("data_dir", "model_dir", "albert_config_file", "spm_model_file", "vocab_file"),
)
_DECIDING = ("dtype",)
_UNKNOWN = re.compile(r"unknown flag --")
_DATA = ("data_dir", "predict_file", *OWN_DATA)
_OF_SEARCHES = {"trials": (RANDOM, TPE), "search_seed": (RANDOM, TPE), "prune": (TPE,)}


def parse_sweep_flags(argv: Sequence[str]) -> SweepRequest:
    """The request in `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for everything that does not go together, at once.
    """
    own, run_flags = list(argv), []
    if "--" in own:
        place = own.index("--")
        own, run_flags = own[:place], list(with_flags_of_files(own[place + 1 :]))
    named = _flags_of_runs()
    values = parse(SWEEP, own, of_unknown=lambda name: _of_another_place(name, named))
    problems = [
        *(f"unexpected argument {argument!r}: flags of the runs come behind --" for argument in values.arguments[:1])
    ]
    if values["output_dir"] is None:
        values.check(problems)  # a request cannot be made without
    problems += [
        f"--{name} is for --search={' or --search='.join(searches)}"
        for name, searches in _OF_SEARCHES.items()
        if name in values.given and values["search"] not in searches
    ]
    flags_of_runs = {}
    while run_flags:
        try:
            name, value = _next_flag_of_runs(run_flags, named)
            flags_of_runs[name] = value
        except UserError as error:
            problems.append(str(error))
    varied = {}
    for flag in ("set", "space"):
        texts = []
        for text in values[flag]:
            try:
                texts.append(_normalised(text, flag, named))
            except UserError as error:
                problems.append(str(error).rstrip("."))
                texts.append(text)  # so that it does not seem to be missing
        varied[flag] = tuple(texts)
        for name in (values_of(text)[0] for text in texts):
            if name in flags_of_runs:
                logging.info("--%s %s takes the place of --%s=%s.", flag, name, name, flags_of_runs[name])
    request = values.make(SweepRequest, run_flags=flags_of_runs, grid=varied["set"], space=varied["space"])
    values.check([*problems, *request.problems()])
    return request


def of_sweep_and_runs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts arguments that have no `--` into the sweep's own and those of its runs, which share no flag.

    The sweep's are the flags that it has, since the runs refuse those. Raises UserError for a --flagfile that cannot be
    read.
    """
    own = {flag.name: flag for flag in SWEEP.flags}
    of_sweep: list[str] = []
    of_runs: list[str] = []
    waiting = list(with_flags_of_files(arguments))
    while waiting:
        argument = waiting.pop(0)
        name, has_value, _ = argument.lstrip("-").partition("=")
        is_flag = argument.startswith("-")
        is_switch = not has_value and name in {"h", "help", *(f"no{flag}" for flag in own)} - own.keys()
        part = of_sweep if is_flag and (name in own or is_switch) else of_runs
        part.append(argument)
        if not is_flag or has_value or is_switch or not waiting:
            continue
        # Its value is the next argument; of a flag of the runs, whose kind is not known here, unless that is a flag.
        if own[name].kind is not bool if name in own else not waiting[0].startswith("-"):
            part.append(waiting.pop(0))
    return of_sweep, of_runs


def sweep(request: SweepRequest) -> None:
    """Runs the sweep. Exits with 1 where a run failed."""
    try:
        with sharing_tasks():
            failures = Sweep(request, parsed_run, command_of, use=command_for).run()
    except UserError as error:
        problems = list(error.problems or (str(error),))
        for program in (SWEEP, *_PROGRAMS.values()):
            problems = [program.in_flags(problem) for problem in problems]
        raise UserError.of(problems) from error
    if failures:
        raise SystemExit(1)


def command_of(module: str, flags: Mapping[str, object]) -> list[str]:
    """The command line of a program of the package."""
    return [sys.executable, "-m", f"albert.{module}", *(f"--{name}={value}" for name, value in flags.items())]


def parsed_run(module: str, flags: Mapping[str, str]) -> ParsedRun:
    """What a program of fine-tuning makes of the flags of a run; raises UserError as it does."""
    argv = command_of(module, flags)[2:]
    program = _PROGRAMS[module]
    previous = logging.root.manager.disable
    logging.disable(logging.INFO)  # each run says of itself what it takes from its recipe
    try:
        task, settings = _PARSERS[module](argv)
    except UserError as error:
        # Programs have different flags, and a sweep may be of several programs.
        of = f"albert.{module}: " * bool(_UNKNOWN.match(str(error)))
        raise UserError(of + program.in_flags(str(error))) from error
    finally:
        logging.disable(previous)
    given = parse(program, argv)
    groups = {flag.name: flag.group for flag in program.flags}
    deciding = {
        name: str(given[name])
        for name in sorted(given.given)
        if name in _DECIDING or not (groups[name] in (DEVICES, SPEED) or name in _NOT_DECIDING)
    }
    replicas = 1 if settings.strategy_type == "one" else settings.num_replicas
    deciding["task_name"] = task.name
    deciding["examples per step"] = str(settings.train.global_batch_size(replicas))
    weights = LossChoice.of(task, settings.objective).class_weights
    if isinstance(weights, tuple):  # of a file, whose name says nothing of them
        deciding[CLASS_WEIGHTS] = ", ".join(map(repr, weights))
    return ParsedRun(with_metric(task, settings.objective), settings, deciding)


def _flags_of_runs() -> dict[str, Flag]:
    """The flags of the programs that are run, by name."""
    return {flag.name: flag for program in reversed(_PROGRAMS.values()) for flag in program.flags}


def _of_another_place(name: str, named: Mapping[str, Flag]) -> str | None:
    """What to say of a flag that the sweep does not know where it is one of the runs; otherwise None."""
    for flag in (name, name.removeprefix("no")):
        if flag in _INSTEAD:
            return _not_for_runs(flag)
        if flag in named:
            return f"--{flag} is a flag of the runs: give it behind --"
    meant = () if suggestions(name, {flag.name for flag in SWEEP.flags}) else suggestions(name, named)
    if not meant:
        return None
    if isinstance(meant[0], Always):
        return f"unknown flag --{name}{did_you_mean(meant)} (--help lists all)"
    return f"unknown flag --{name}: did you mean --{meant[0]}, which comes behind --? (--help lists all)"


def _next_flag_of_runs(waiting: list[str], named: Mapping[str, Flag]) -> tuple[str, str]:
    """Takes the next flag from `waiting`: `--name=value`, `--name value`, `--name` or `--noname`; its name and value.

    Raises UserError for what no run has.
    """
    argument = waiting.pop(0)
    follows = bool(waiting) and not waiting[0].startswith("--")
    if not argument.startswith("-"):
        raise UserError(f"{argument!r} behind --: write flags of the runs as --flag=value")
    name, has_value, value = argument.lstrip("-").partition("=")
    if name not in named and not has_value and name.startswith("no") and name[2:] in named:
        name, value = name[2:], "false"
    if not has_value and follows and (name not in named or named[name].kind is not bool):
        value, has_value = waiting.pop(0), "="
    if name not in named and name in {flag.name for flag in SWEEP.flags}:
        raise UserError(f"--{name} is a flag of the sweep: give it in front of --")
    if name not in named:
        raise UserError(f"the runs have no flag --{name}{did_you_mean(similar(name, named))}")
    if name in _INSTEAD:
        raise UserError(_not_for_runs(name))
    _check_is_for_one_process(name, [value])
    if not has_value and named[name].kind is not bool:
        raise UserError(f"--{name} behind -- has no value: write --{name}=VALUE")
    return name, value if has_value else value or "true"


def _normalised(text: str, flag: str, named: Mapping[str, Flag]) -> str:
    """`name=a,b` with values as Python writes them, so that 1e-5 and 0.00001 are one. Raises UserError for others."""
    name, values = values_of(text)
    if name in _INSTEAD:
        raise UserError(_not_for_runs(name))
    if name not in named:
        raise UserError(f"--{flag} {text}: the runs have no flag --{name}{did_you_mean(similar(name, named))}")
    if name in _DATA:
        raise UserError(f"--{name} names data: runs on other data are another sweep; give it behind --")
    if "=" not in text:
        raise UserError(f"--{flag} {text}: give values, as {name}=VALUE,VALUE")
    if flag == "space":
        space = space_of(text)
        values = space.choices or (repr(space.low), repr(space.high))
    _check_is_for_one_process(name, values)
    read = []
    for value in values:
        try:
            read.append(_text(named[name].read(value)))
        except ValueError as error:
            raise UserError(f"--{flag} {text}: {value or 'a value'} {error}") from None
    if len(set(read)) < len(read):
        raise UserError(f"--{flag} {text} has a value twice")
    if flag == "space" and not space.choices:
        return text
    return f"{name}={','.join(read)}"


def _check_is_for_one_process(name: str, values: Sequence[str]) -> None:
    if name == "strategy_type" and "multi_worker" in values:
        raise UserError(
            "--strategy_type=multi_worker is not for a sweep, whose runs are one process each: leave it out"
        )


def _text(value: object) -> str:
    if value is None:
        return ""  # a path that is set to nothing
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _not_for_runs(name: str) -> str:
    instead = f": use {_INSTEAD[name]}" if _INSTEAD[name] else ""
    return f"--{name} is set by the sweep{instead}"
