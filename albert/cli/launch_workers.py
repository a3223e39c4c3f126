"""The command line of `albert.launch_workers`: its flags, and those of the program that it starts. No TensorFlow."""

import importlib.util
from collections.abc import Iterator, Sequence

from albert.cli.fine_tuning import CLASSIFIER, FINE_TUNING_PROGRAMS
from albert.cli.flag_files import with_flags_of_files
from albert.cli.flags import Program, declared, parse
from albert.cli.pretraining import RUN_PRETRAINING
from albert.runs.launching import LaunchSettings, run

LAUNCH = Program(
    "launch_workers",
    "Starts a training program several times on this machine, as workers that train together: see "
    "docs/several_machines.md.",
    declared(LaunchSettings),
    required=("num_workers",),
    example=("--num_workers=2 -- albert.run_multigpus_classifier --strategy_type=multi_worker", *CLASSIFIER.example),
    notes="Lines are prefixed with their worker. SIGINT and SIGTERM are passed on. When one worker ends, all do; all "
    "start again unless its exit code was 0, 2 (a mistake of the user's), 130 or 143 (stopped). The exit code is that "
    "of the first worker that ended with another one than 0.",
    arguments="-- MODULE FLAG...",
    if_stopped="what the workers saved before is intact",
)
_TRAINING = {program.module for program in (*FINE_TUNING_PROGRAMS, RUN_PRETRAINING)}
_HOW = "write -- and the program behind the launcher's own flags, as --num_workers=2 -- albert.run_pretraining ..."


def parse_launch_flags(argv: Sequence[str]) -> LaunchSettings:
    """The settings in `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for everything that does not go together, at once.
    """
    words = list(argv)
    place = words.index("--") if "--" in words else len(words)
    values = parse(LAUNCH, words[:place])
    if values.arguments:
        values.check([f"unexpected argument {values.arguments[0]!r}: {_HOW}"])
    command = words[place + 1 :]
    problems = _problems_of(command)
    if values["num_workers"] is None:
        values.check(problems)  # settings cannot be made without
    overwrites = [value.lower() for name, value in _flags(command[1:]) if name == "overwrite_output_dir"]
    settings = values.make(
        LaunchSettings,
        module=command[0] if command else "",
        arguments=tuple(command[1:]),
        is_restartable=overwrites[-1:] in ([], ["false"], ["f"], ["0"]),
    )
    values.check([*settings.problems(), *problems])
    return settings


def launch(settings: LaunchSettings) -> None:
    """Starts the workers."""
    run(settings)


def _problems_of(command: Sequence[str]) -> list[str]:
    if not command:
        return [f"no program is named: {_HOW}"]
    module, *arguments = command
    if not _is_program(module):
        return [f"there is no module {module} to run: {_HOW}"]
    package, _, name = module.partition(".")
    if package != "albert":
        return []
    if name not in _TRAINING:
        return [f"{module} does not train: only {', '.join(sorted(_TRAINING))} have several workers"]
    given = [value for flag, value in _flags(arguments) if flag == "strategy_type"]
    if given[-1:] != ["multi_worker"]:
        return ["behind -- --strategy_type=multi_worker is missing: each worker would train alone"]
    return []


def _is_program(module: str) -> bool:
    """Whether `python3 -m` finds it: a module, or a package that has a __main__."""
    try:
        spec = importlib.util.find_spec(module)
        if spec and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{module}.__main__")
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None


def _flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each flag, roughly: a flag's value may also be the next word."""
    words = list(with_flags_of_files(arguments))
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word.startswith("-"):
            name, has_value, value = word.lstrip("-").partition("=")
            yield name, value if has_value else following
