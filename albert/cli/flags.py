"""How a command line becomes values: flags, programs, parsing and `--help`. No TensorFlow: `--help` answers at once.

Flags are absl's, as the predecessor's were: `--flag=value`, `--flag value`, `--flag` and `--noflag` for booleans.
Unlike there, an unknown flag stops the program: each program knows its own flags only. Most flags are fields of the
settings' dataclasses, which declare them (`albert.settings.fields`). All problems are reported together.
"""

import dataclasses
import itertools
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from absl import flags as absl_flags

from albert.cli.flag_files import with_flags_of_files
from albert.cli.other_names import unknown_flags
from albert.errors import UserError
from albert.settings.fields import GROUPS, Bounds, declaration_of, problem_of
from albert.system.homes import expanded
from albert.system.text_encoding import half_surrogate

T = TypeVar("T")

_LONGEST_VALUE = 200
# Of Linux and its file systems, in bytes; a path with the zero that ends it.
_LONGEST_FILE_NAME, _LONGEST_PATH = 255, 4096
_LONG_WORD = re.compile(r"(\S{200})\S{300,}")
# A word that, alone, asks for help as --help does.
_HELP = "help"
_SETTING = re.compile("`([a-z0-9_]+)`(=?)")
_FLAG = re.compile("--([a-z0-9_]+)")
# What says that something was not given.
_OF_LACK = re.compile(r"\b(is missing|nothing to do|needs|must be given|give one of|belong together|is named)\b")
# Texts that are tokenised or stored, and names that TensorFlow takes, which are UTF-8. Files of other names, as other
# systems leave them, can be read and written.
_IN_UTF8 = ("question", "label_delimiter", "output_dir", "model_dir", "init_checkpoint")


class HelpRequested(Exception):
    """`--help` was given; carries the text to print."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag of any number of programs.

    `kind` is bool, int, float, str, Path, tuple for two step numbers, or list for texts, one each time that the flag is
    given. `setting` is the field that it becomes, where that has another name; `choices` are the words that are
    allowed.
    """

    name: str
    kind: type
    default: object
    text: str
    group: str
    bounds: Bounds | None = None
    choices: tuple[str, ...] = ()
    setting: str = ""
    required: bool = False

    def read(self, text: str) -> Any:
        """The value that `text` spells. Raises ValueError saying what it is not."""
        if self.kind is bool:
            return _boolean(text)
        if not text:
            if self.kind in (str, Path) and (self.required or self.default is None):
                return None  # as a script passes it when a variable is empty: not given
            raise ValueError("is empty; give a value, or leave the flag out")
        if self.name in _IN_UTF8 and half_surrogate(text) is not None:
            raise ValueError("is not UTF-8; set the terminal to it, or choose another name")
        if self.kind is tuple:
            return _two_steps(text)
        if self.kind in (int, float):
            return _number(text, self.kind)
        return _path(text) if self.kind is Path else text


@dataclasses.dataclass(frozen=True)
class Program:
    """One entry point: its module, its flags, and what is its own in those that it shares.

    `about` is one sentence and `example` the arguments of one command, both for --help, as are `notes`, which follow.
    `changes` replace fields of a flag, by its name; `other_names` are names that a flag has besides its own.
    `unless` says what takes the place of a required flag, to follow "Required unless". `feature_files` are the flags
    that name the caches, by split. `arguments` says, for --help, what may be given beside flags; "" for nothing.
    `package` is where the module is. `if_stopped` is said of what there is when a signal ends it.
    """

    module: str
    about: str
    declared_flags: tuple[Flag, ...]
    required: tuple[str, ...]
    example: tuple[str, ...]
    changes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    other_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unless: Mapping[str, str] = dataclasses.field(default_factory=dict)
    feature_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: str = ""
    arguments: str = ""
    package: str = "albert"
    if_stopped: str = "what was saved before is intact"

    @cached_property
    def flags(self) -> tuple[Flag, ...]:
        """All its flags, as this program has them."""
        return tuple(
            dataclasses.replace(flag, required=flag.name in self.required, **self.changes.get(flag.name, {}))
            for flag in self.declared_flags
        )

    @cached_property
    def flag_of(self) -> dict[str, str]:
        """The name of the flag for each setting, under the names of both."""
        return {flag.name: flag.name for flag in self.flags} | {
            flag.setting: flag.name for flag in self.flags if flag.setting
        }

    def in_flags(self, text: str, filled: Mapping[str, str] = MappingProxyType({})) -> str:
        """`text` with this program's flags in place of the settings that it names in backquotes.

        `filled` are settings that nobody gave, each with the one that is named in its place, "" for its value alone.
        """

        def named(found: re.Match[str]) -> str:
            setting = filled.get(found[1], found[1])
            if not setting and found[2]:
                return ""
            setting = setting or found[1]
            return f"--{self.flag_of[setting]}{found[2]}" if setting in self.flag_of else found[0]

        return _SETTING.sub(named, text)

    def define(self, problems: list[str] | None = None) -> absl_flags.FlagValues:
        """All its flags, not parsed yet; --help among them. Values that cannot be read are added to `problems`."""
        values = absl_flags.FlagValues()
        values.set_gnu_getopt(True)  # flags may follow other arguments, also those that are refused
        for flag in self.flags:
            parser = _Reader(flag, [] if problems is None else problems)
            kind: Any = absl_flags.MultiFlag if flag.kind is list else absl_flags.Flag
            defined = kind(parser, None, flag.name, flag.default, flag.text, boolean=flag.kind is bool)
            absl_flags.DEFINE_flag(defined, values)
        for other_name, name in self.other_names.items():
            absl_flags.DEFINE_alias(other_name, name, flag_values=values)
        absl_flags.DEFINE_bool("help", False, "Print this text.", short_name="h", flag_values=values)
        return values


@dataclasses.dataclass(frozen=True)
class Values:
    """What a command line gave: the value of each flag of a program, by its name.

    `given` are the flags that were on the command line, `arguments` what is not a flag. `problems` are those of single
    flags, each as one phrase. `filled` are settings that follow from another flag, as `Program.in_flags` takes them.
    `strange` are problems of what is no flag of the program, and `meant` the flags that it may be meant for. Beside
    them nothing is said of what is missing, which may be meant by them, too.
    """

    program: Program
    by_flag: Mapping[str, Any]
    given: frozenset[str]
    problems: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    filled: Mapping[str, str] = dataclasses.field(default_factory=dict)
    strange: tuple[str, ...] = ()
    meant: frozenset[str] = frozenset()

    def __getitem__(self, flag: str) -> Any:
        return self.by_flag[flag]

    def __contains__(self, flag: str) -> bool:
        return flag in self.by_flag

    def fields_of(self, kind: type) -> dict[str, Any]:
        """The fields of the dataclass `kind` for which the program has flags."""
        names = {field.name for field in dataclasses.fields(kind)}
        values = {flag.setting or flag.name: self.by_flag[flag.name] for flag in self.program.flags}
        return {name: value for name, value in values.items() if name in names}

    def make(self, kind: type[T], **others: Any) -> T:
        """A dataclass of its fields in the flags, and `others`, which win."""
        return kind(**(self.fields_of(kind) | others))

    def replace(self, **by_flag: Any) -> "Values":
        """The same with other values for some flags."""
        return dataclasses.replace(self, by_flag={**self.by_flag, **by_flag})

    def with_problem(self, error: UserError) -> "Values":
        """The same with the problems of `error`, too."""
        return dataclasses.replace(self, problems=(*self.problems, *_problems_of(error)))

    def defaults_from(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """By flag, the `settings` (by field) for which the program has a flag that was not given; None sets nothing."""
        flag_of = {flag.setting or flag.name: flag.name for flag in self.program.flags}
        named = {flag_of[name]: value for name, value in settings.items() if name in flag_of and value is not None}
        return {flag: value for flag, value in named.items() if flag not in self.given}

    def check(self, problems: Iterable[str] = ()) -> None:
        """Raises UserError with the flags' problems and further ones, each once, if there are any."""
        of_one, others = (
            [self.program.in_flags(problem, self.filled) for problem in some] for some in (self.problems, problems)
        )
        if self.strange:
            others = [each for each in others if not self.meant & set(_FLAG.findall(each))]
        raise_for([*self.strange, *(each for each in of_one + others if not (self.strange and _OF_LACK.search(each)))])


def declared(kind: type, *names: str, without: Sequence[str] = ()) -> tuple[Flag, ...]:
    """The flags of the dataclass `kind`: those of the fields `names`, or all that it declares but `without`."""
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if declaration_of(field)}
    wanted = names or [name for name in fields if name not in without]
    return tuple(_flag_of_field(fields[name], hints[name]) for name in wanted)


def parse(
    program: Program,
    argv: Sequence[str],
    complete: Callable[["Values"], "Values"] | None = None,
    of_unknown: Callable[[str], str | None] = lambda name: None,
) -> Values:
    """The values of `program`'s flags in `argv`, whose first element is the program's name.

    A flag whose value cannot be read has its default, and a problem. `complete` may fill in flags that were not given,
    before it is asked which are missing. `of_unknown` may say of an unknown flag what is meant by it.

    Unknown flags, and other arguments unless it takes such, are problems, too, which `Values.check` raises together
    with what the caller finds. Raises HelpRequested for --help, and UserError for what cannot be parsed at all.
    """
    problems: list[str] = []
    parsed = program.define(problems)
    arguments = list(with_flags_of_files(argv[1:]))
    detached = list(_detached_booleans(parsed, arguments, _SAID if program.arguments else _SAID | _SAID_OTHERWISE))
    try:
        unknown, rest = _without_unknown(parsed([*argv[:1], *arguments], known_only=True)[1:])
    except (absl_flags.Error, ValueError, OSError) as error:
        raise UserError(_shortened(" ".join(str(error).split()))) from error
    if parsed.help or list(argv[1:]) == [_HELP]:
        raise HelpRequested(help_text(program))
    by_flag = {flag.name: _without_unread(parsed[flag.name].value) for flag in program.flags}
    given = frozenset(flag.name for flag in program.flags if parsed[flag.name].present)
    said = unknown_flags(unknown, {flag.name for flag in program.flags}, of_unknown)
    meant = frozenset(flag for text in said for flag in _FLAG.findall(text)) & by_flag.keys()
    strange = [*detached, *said]
    if rest and not program.arguments and not strange:
        strange = [f"unexpected argument {rest[0]!r}: everything is given as --flag=value"]
    values = Values(program, by_flag, given, (), tuple(rest), strange=tuple(strange), meant=meant)
    values = complete(values) if complete else values
    unread = {problem.partition("=")[0] for problem in problems}
    missing = [f"--{name}" for name in program.required if values[name] is None and f"--{name}" not in unread]
    # What could not be completed says more, and what is strange may be what is missing.
    if missing and not values.problems and not strange:
        problems.insert(0, f"{', '.join(missing)} must be given (--help lists all flags)")
    problems += _out_of_bounds(program, values.by_flag)
    return dataclasses.replace(values, problems=(*values.problems, *problems))


def _without_unknown(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags among what is no known flag, as NAME=VALUE, and the other arguments, without the -- if it is there."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [argument for argument in arguments[:place] if argument.startswith("-") and argument.strip("-")]
    others = [argument for argument in arguments[:place] if argument not in flags]
    return [flag.lstrip("-") for flag in flags], [*others, *arguments[place + 1 :]]


def _out_of_bounds(program: Program, by_flag: Mapping[str, Any]) -> Iterator[str]:
    """A problem for each value that its flag does not allow."""
    for flag in program.flags:
        value = by_flag[flag.name]
        problem = None if value is None else problem_of(value, flag.bounds, flag.choices)
        if problem:
            yield f"--{flag.name}={value} {problem}"


def _without_unread(value: Any) -> Any:
    """`value`, of a flag that may be given several times without those values that could not be read."""
    return [each for each in value if each is not None] if isinstance(value, list) else value


def _problems_of(error: UserError) -> list[str]:
    return [problem.rstrip(".") for problem in error.problems or (str(error),)]


def raise_for(problems: Sequence[str]) -> None:
    """Raises UserError with all `problems`, each once, if there are any."""
    if problems:
        raise UserError.of([_shortened(problem) for problem in dict.fromkeys(problems)])


def _detached_booleans(
    values: absl_flags.FlagValues, arguments: Sequence[str], words: Mapping[str, str]
) -> Iterator[str]:
    """A problem for each of `words` that is written behind a boolean flag without =.

    The flag alone is true: where a program takes other arguments, `--flag false` would turn it on.
    """
    for argument, word in itertools.pairwise(itertools.takewhile(lambda argument: argument != "--", arguments)):
        name, said = argument.lstrip("-"), words.get(word.lower())
        if argument.startswith("-") and said and name in values and values[name].boolean:
            flag = values[name].name
            also = f"--{flag}" if said == "true" else f"--no{flag}"
            yield f"{argument} {word}: a boolean flag has its value behind =. Write --{flag}={said} or {also}"


def _shortened(message: str) -> str:
    """`message` with the beginnings of words that nobody reads to their end."""
    return _LONG_WORD.sub(r"\1...", message)


def flag_names(programs: Iterable[Program]) -> dict[str, frozenset[str]]:
    """For each program, by its module's name in the package, the names of its flags, with `noNAME` for booleans."""
    defined = {program.module: program.define() for program in programs}
    return {
        module: frozenset(values) | {f"no{name}" for name in values if values[name].boolean}
        for module, values in defined.items()
    }


class _Reader(absl_flags.ArgumentParser):
    """Notes a value that cannot be read, where absl would stop at the first such value."""

    def __init__(self, flag: Flag, problems: list[str]):
        self._flag = flag
        self._problems = problems

    def parse(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            return argument  # a default
        try:
            return self._flag.read(argument)
        except ValueError as error:
            shown = argument if len(argument) <= _LONGEST_VALUE else f"{argument[:_LONGEST_VALUE]}..."
            shown = shown.encode(errors="backslashreplace").decode()
            self._problems.append(f"--{self._flag.name}={shown} {error}")
            return None if self._flag.kind is list else self._flag.default  # None: one of several, left out

    def flag_type(self) -> str:
        return self._flag.kind.__name__


def _flag_of_field(field: dataclasses.Field, hint: Any) -> Flag:
    declaration = declaration_of(field)
    assert declaration, f"{field.name} is not declared with `setting`"
    [hint] = set(get_args(hint)) - {NoneType} if isinstance(hint, UnionType) else [hint]
    kind = list if get_args(hint) == (str, Ellipsis) else get_origin(hint) or hint
    assert kind not in (int, float) or declaration.bounds, f"{field.name} is a number without bounds"
    default = None if field.default is dataclasses.MISSING else field.default
    return Flag(
        declaration.flag or field.name,
        kind,
        default,
        declaration.text,
        declaration.group,
        declaration.bounds,
        declaration.choices,
        field.name if declaration.flag else "",
    )


# --- Values ----------------------------------------------------------------------------------------------------------

# What people write behind a boolean flag, and what is meant; the second only where it is not a text to predict.
_SAID = {"true": "true", "false": "false"}
_SAID_OTHERWISE = {
    **dict.fromkeys(("t", "1", "yes", "y", "on"), "true"),
    **dict.fromkeys(("f", "0", "no", "n", "off"), "false"),
}
# Absl reads 0x10 and 0o20, too.
_BASES = {"0x": 16, "0o": 8}


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise ValueError("is neither true nor false")


def _number(text: str, kind: type) -> int | float:
    try:
        return int(text, _BASES.get(text[:2], 10)) if kind is int else float(text)
    except ValueError:
        what = "is not a whole number" if kind is int else "is not a number"
        several = "; albert.sweep trains with several" if "," in text else ""
        raise ValueError(f"{what}{several}") from None


def _path(text: str) -> Path:
    path = expanded(text)
    encoded = os.fsencode(path)
    if len(encoded) >= _LONGEST_PATH or any(len(name) > _LONGEST_FILE_NAME for name in encoded.split(b"/")):
        raise ValueError(f"is too long: a name has at most {_LONGEST_FILE_NAME} bytes, a path {_LONGEST_PATH - 1}")
    return path


def _two_steps(text: str) -> tuple[int, int]:
    try:
        first, last = map(int, text.split(","))
    except ValueError:
        raise ValueError("must be two step numbers, as 10,20") from None
    return first, last


# --- Help ------------------------------------------------------------------------------------------------------------

_WIDTH = 110


def help_text(program: Program) -> str:
    """What --help prints: required flags first, then the others in groups, an example, and the program's notes."""
    by_name = {flag.name: flag for flag in program.flags}
    required: dict[str, list[Flag]] = {}
    for flag in (by_name[name] for name in program.required):
        if flag.default is None:
            unless = program.unless.get(flag.name)
            required.setdefault(f"Required unless {unless}:" if unless else "Required:", []).append(flag)
    shown = [flag for flags in required.values() for flag in flags]
    arguments = f" {program.arguments}" * bool(program.arguments)
    lines = [
        f"usage: python3 -m {program.package}.{program.module} --flag=value ...{arguments}",
        "",
        program.about,
    ]
    for heading in sorted(required, key=len):
        lines += ["", heading, *(line for flag in required[heading] for line in _described(program, flag))]
    for group in GROUPS:
        flags_of_group = [flag for flag in program.flags if flag.group == group and flag not in shown]
        lines += ["", f"{group}:"] if flags_of_group else []
        lines += [line for flag in flags_of_group for line in _described(program, flag)]
    command = " \\\n      ".join((f"python3 -m {program.package}.{program.module}", *program.example))
    lines += ["", "Example:", f"  {command}"]
    lines += ["", *textwrap.wrap(program.notes, _WIDTH)] if program.notes else []
    lines += [
        "",
        "--flag value works too, but for boolean flags: they are --flag, --flag=true, --noflag or --flag=false.",
        "The last of two values wins.",
    ]
    return "\n".join(lines)


def _described(program: Program, flag: Flag) -> list[str]:
    name = f"[no]{flag.name}" if flag.kind is bool else flag.name
    parts = [f"--{name}: {program.in_flags(flag.text)}"]
    if flag.choices:
        parts.append(f"One of {', '.join(flag.choices)}.")
    if flag.default not in (None, ()):
        default = str(flag.default).lower() if flag.kind is bool else flag.default
        parts.append(f"(default: {default})")
    lines = textwrap.wrap(
        " ".join(parts),
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines + [
        f"  --{other}: The same as --{flag.name}." for other, of in program.other_names.items() if of == flag.name
    ]
