"""Keyword arguments of Python in place of a command line: the arguments that they are, and messages in their words.

A keyword is a flag of the fine-tuning programs. So a call of Python and the command line that it stands for go through
one parser, and are the same run. No TensorFlow.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from albert.cli import in_memory
from albert.cli.fine_tuning import (
    CLASSIFIER,
    FINE_TUNING_PROGRAMS,
    RACE,
    SQUAD_PROGRAMS,
    parse_classifier_flags,
    parse_race_flags,
    parse_squad_flags,
)
from albert.cli.flags import Flag, Program, raise_for
from albert.cli.model_dir import filled_in
from albert.cli.other_names import unknown_flags
from albert.cli.task_names import SQUAD_TASKS, is_race, squad_version
from albert.cli.variables import COMMAND
from albert.errors import UserError
from albert.settings import Settings
from albert.system.homes import expanded
from albert.tasks.base import Task
from albert.tasks.race import RaceTask
from albert.tasks.recipes import recipe_for
from albert.tasks.registry import get_task, task_names

FUNCTION = "albert.fine_tune"
OWN_FILES = in_memory.TABLES

# Which may be a list, for what the flag has with commas.
_LISTS = ("text_column_names", "profile_steps")
# What every command line understands that is no setting.
_OF_PARSERS = ("help", "h", "flagfile", "undefok")
# The tasks of each program, as its keyword `task_name` has them.
TASKS_OF = {
    CLASSIFIER.module: "GLUE and own data",
    **{program.module: f"squad{version}" for version, program in SQUAD_PROGRAMS.items()},
    RACE.module: RaceTask.name,
}
_LONGEST_VALUE = 200

# What messages call a command line, and what it is here.
_PHRASES = (
    ("unknown flag ", "unknown keyword "),
    ("more unknown flags", "more unknown keywords"),
    ("leave the flag out", "leave the keyword out"),
    ("--help lists all flags", f"help({FUNCTION}) lists all"),
    ("--help lists all", f"help({FUNCTION}) lists all"),
    ("the same command", "the same call"),
    ('or a JSON file {"label": weight, ...}', '{"label": weight, ...}, or a JSON file of that,'),
)
_FLAG = re.compile(rf"{COMMAND}|--([^\W\d][\w-]*)")
_WORD = re.compile(r"=([\w.+-]*\w)")


@dataclasses.dataclass(frozen=True)
class Call:
    """Keywords as the command line of a program: `arguments` are --flag=value each.

    `keywords` are those that were given and are not None, as they were given, but the paths of those that are `kept`.
    """

    program: Program
    arguments: tuple[str, ...]
    keywords: Mapping[str, Any]
    parser: Callable[[Sequence[str]], tuple[Task, Settings]]
    kept: Sequence[in_memory.Kept] = ()

    @property
    def argv(self) -> list[str]:
        """The command line, behind Python."""
        return [f"{self.program.package}.{self.program.module}", *self.arguments]

    def parse(self) -> tuple[Task, Settings]:
        """The task and its settings. Raises UserError, in the words of a command line, for everything that is wrong."""
        raise_for(_missing(self.keywords, self.program))
        return self.parser(self.argv)

    @functools.cached_property
    def _filled(self) -> Mapping[str, str]:
        return filled_in(self.program, self.argv)

    def worded(self, text: str) -> str:
        """`text` with keywords in place of settings and flags: `seed`=x and --seed=x are seed='x'."""
        text = self.program.in_flags(text, self._filled)
        text = in_words(text, self.keywords, {flag.name: flag for flag in self.program.flags})
        for kept in self.kept:
            text = kept.worded(text)
        return text


def call_of(keywords: Mapping[str, Any]) -> Call:
    """What `keywords` ask for, with what a caller in Python expects where they do not say.

    Writes what is in memory and a flag has in a file. Raises UserError for keywords that no program knows or only
    another task has, and for a value that no flag can have.
    """
    given = {name: value for name, value in keywords.items() if value is not None}
    program, parser = _program_of(given.get("task_name"))
    raise_for([*_unknown(keywords, program), *_of_other_tasks(given, program), *_unreadable(given, program)])
    kept = _kept(given, program)
    given |= {each.name: each.path for each in kept}
    filled = given | {name: value for name, value in _defaults(given, program).items() if name not in given}
    known = {flag.name: flag for flag in program.flags}
    in_program = [name for name in filled if name != "task_name" or name in known]
    arguments = tuple(f"--{name}={_text(known.get(name), filled[name])}" for name in in_program)
    return Call(program, arguments, given, parser, kept)


def _kept(given: Mapping[str, Any], program: Program) -> list[in_memory.Kept]:
    """The tables and weights that are in memory, written. Raises UserError where something else is missing, too."""
    found = [name for name, value in given.items() if _is_in_memory(name, value, program)]
    if not found:
        return []
    raise_for(_missing(given, program))
    default = next(flag.default for flag in program.flags if flag.name == "cached_dir")
    folder = expanded(_text(None, given.get("cached_dir") or default), "cached_dir")
    return [in_memory.keep(name, given[name], folder) for name in found]


def _is_in_memory(name: str, value: Any, program: Program) -> bool:
    return program is CLASSIFIER and in_memory.is_in_memory(name, value)


def in_words(text: str, given: Mapping[str, Any], flags: Mapping[str, Flag]) -> str:
    """`text` of a command line in the words of Python."""
    for of_commands, here in _PHRASES:
        text = text.replace(of_commands, here)
    return in_keywords(text, given, flags)


def in_keywords(text: str, given: Mapping[str, Any], flags: Mapping[str, Flag]) -> str:
    """`text` with --flag=value as Python has it: the value as it was `given`, words in quotes. Commands stay."""
    parts, place = [], 0
    while found := _FLAG.search(text, place):
        name = found[1]
        parts.append(text[place : found.start()] + (name or found[0]))
        place = found.end()
        if not name or text[place : place + 1] != "=":
            continue
        as_given = re.escape(_plain(given[name])) if name in given else ""
        # A whole number may have become one with a fraction.
        if as_given and (shown := re.compile(rf"={as_given}(\.0\b)?").match(text, place)):
            parts.append(f"={_shown(given[name])}")
            place = shown.end()
        elif name in flags and (word := _WORD.match(text, place)):
            parts.append(f"={_value_of(flags[name], word[1])}")
            place = word.end()
    return "".join((*parts, text[place:]))


# --- Which program ----------------------------------------------------------------------------------------------------


def _program_of(task_name: object) -> tuple[Program, Callable[[Sequence[str]], tuple[Task, Settings]]]:
    if isinstance(task_name, Task):
        return CLASSIFIER, functools.partial(parse_classifier_flags, task=task_name)
    if not isinstance(task_name, str) or not task_name:
        return CLASSIFIER, parse_classifier_flags
    if version := squad_version(task_name):
        return SQUAD_PROGRAMS[version], functools.partial(parse_squad_flags, version=version)
    if is_race(task_name):
        return RACE, parse_race_flags
    try:
        get_task(task_name)
    except UserError:
        known = ", ".join((*task_names(), *SQUAD_TASKS, RaceTask.name))
        raise UserError(f"task_name={_shown(task_name)} is not a task. Choose one of: {known}.") from None
    return CLASSIFIER, parse_classifier_flags


def _defaults(given: Mapping[str, Any], program: Program) -> dict[str, bool]:
    """What is done and by which numbers, where that is not given.

    Trains and evaluates with what there is: of one's own files those that are named, otherwise the splits of the task.
    Predicts where a file to predict is named, or there is nothing else to do. By the recipe, where there is one.
    """
    name = given.get("task_name")
    if program in SQUAD_PROGRAMS.values():
        answers = bool(given.get("predict_file")) and not {"do_eval", "do_predict"} & given.keys()
        actions = {"do_train": bool(given.get("train_file"))} | ({"do_eval": True} if answers else {})
    elif any(given.get(file) for file in OWN_FILES):
        train, dev, test = (bool(given.get(file)) for file in OWN_FILES)
        actions = {"do_train": train, "do_eval": train or dev, "do_predict": test}
    elif program is CLASSIFIER and name and isinstance(name, str | Task):
        splits = (name if isinstance(name, Task) else get_task(name)).splits
        actions = {"do_train": "train" in splits, "do_eval": "dev" in splits, "do_predict": splits == ("test",)}
    else:
        actions = {"do_train": True, "do_eval": True}
    actions["recipe"] = _has_recipe(name)
    return {name: True for name, is_done in actions.items() if is_done}


def _has_recipe(task_name: object) -> bool:
    if isinstance(task_name, Task):
        task_name = task_name.name
    if not isinstance(task_name, str) or not task_name:
        return True  # own data
    version = squad_version(task_name)
    try:
        recipe_for(f"squad{version}" if version else task_name, None)
    except UserError:
        return False
    return True


def _unknown(keywords: Mapping[str, Any], program: Program) -> list[str]:
    """What to say of keywords that no program has, also of those that are None."""
    own = {flag.name: flag for flag in program.flags}
    known = {"task_name", *program.other_names, *_OF_PARSERS}
    known |= {name for each in FINE_TUNING_PROGRAMS for name in each.flag_of}
    known |= {f"no{flag.name}" for flag in program.flags if flag.kind is bool}
    given = [f"{name}={value is not False}" for name, value in keywords.items() if name not in known]
    said = unknown_flags(given, own.keys(), _of_functions)
    return [in_words(text, {}, own) for text in said]


def _of_functions(name: str) -> str | None:
    """What to say of the name that other libraries have for a function which hears of the training."""
    is_meant = name.lower().endswith(("callback", "callbacks"))
    return f"unknown keyword {name}: did you mean on_log? (help({FUNCTION}) lists all)" if is_meant else None


def _missing(given: Mapping[str, Any], program: Program) -> list[str]:
    """What no run can do without, in the words that a caller in Python begins with."""
    found = []
    if program in SQUAD_PROGRAMS.values():
        if not {"train_file", "predict_file", "do_train", "do_eval", "do_predict"} & given.keys():
            found.append("give train_file, predict_file, or both")
    elif "task_name" not in given and not set(OWN_FILES) & given.keys():
        found.append("give train_file for your own data, or task_name")
    if not {"model_dir", "albert_config_file"} & given.keys():
        found.append("model_dir must be given: the folder of the model to begin with")
    if "output_dir" not in given:
        found.append("output_dir must be given")
    return found


def _of_other_tasks(given: Mapping[str, Any], program: Program) -> list[str]:
    """A problem for each keyword that only other tasks have."""
    names = {flag.name for flag in program.flags} | {"task_name", *program.other_names}
    found = []
    for name in given:
        others = [TASKS_OF[other.module] for other in FINE_TUNING_PROGRAMS if name in other.flag_of]
        if name not in names and others:
            found.append(f"{name} is for {' and '.join(others)}, not for {TASKS_OF[program.module]}: leave it out")
    return found


# --- Values -----------------------------------------------------------------------------------------------------------


def _unreadable(given: Mapping[str, Any], program: Program) -> list[str]:
    """A problem for each value that cannot be a flag's, and for names that only a command line has."""
    flags = {flag.name: flag for flag in program.flags}
    found = []
    for name, value in given.items():
        if name in _OF_PARSERS:
            found.append(f"unknown keyword {name} (help({FUNCTION}) lists all)")
        elif name not in flags and (of := flags.get(name.removeprefix("no"))) and of.kind is bool:
            found.append(f"unknown keyword {name}: write {of.name}=False")
        elif name not in flags and name not in program.other_names and name != "task_name":
            continue  # it is named already
        elif _is_in_memory(name, value, program):
            continue  # what is in it is looked at when it is written
        elif not (isinstance(value, list | tuple) or _is_plain(value) or _is_task(name, value)):
            others = (in_memory.kind_of(name) if program is CLASSIFIER else "") and f", {in_memory.kind_of(name)}"
            found.append(f"{name} must be {_kind(flags.get(name))}{others}, not {type(value).__name__}")
        elif unreadable := _no_argument(flags.get(name), value):
            found.append(f"{name} {unreadable}")
        elif problem := _problem(name, value, flags.get(name)):
            found.append(f"{name}={_shown(value)} {problem}")
    return found


def _problem(name: str, value: Any, flag: Flag | None) -> str | None:
    if isinstance(value, list | tuple):
        if name == in_memory.WEIGHTS:
            return f"must be {in_memory.kind_of(name)}, such as {{'label': 1.0, ...}}"
        if name not in _LISTS:
            return "must be one value, not several"
        parts = list(value)
        if not parts:
            return "is empty; give a value, or leave the keyword out"
        if any(isinstance(part, str) and "," in part for part in parts):
            return "has a comma in a name, which would part it in two"
        return None if all(map(_is_plain, parts)) else "must hold texts or numbers"
    if flag and flag.kind is not bool and isinstance(_without_numpy(value), bool):
        return f"must be {_kind(flag)}, not True or False"
    return None


def _no_argument(flag: Flag | None, value: Any) -> str | None:
    """Why no command line could have the value."""
    try:
        text = _text(flag, value)
        os.fsencode(text)
    except UnicodeEncodeError:
        return "holds half a character"
    except ValueError:  # of a number with thousands of digits
        return "is too long"
    return "holds a character with the number 0" if "\0" in text else None


def _kind(flag: Flag | None) -> str:
    words = {bool: "True or False", int: "a whole number", float: "a number", tuple: "two step numbers"}
    return words.get(flag.kind, "a text or a path") if flag else "a text, a number, True or False"


def _is_plain(value: Any) -> bool:
    return isinstance(_without_numpy(value), str | bool | int | float | os.PathLike)


def _is_task(name: str, value: Any) -> bool:
    return name == "task_name" and isinstance(value, Task)


def _without_numpy(value: Any) -> Any:
    """The number of Python that a scalar of NumPy is."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _text(flag: Flag | None, value: Any) -> str:
    """What stands behind the flag's equals sign."""
    if isinstance(value, list | tuple):
        return ",".join(_text(None, part) for part in value)
    value = value.name if isinstance(value, Task) else _without_numpy(value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _plain(value: Any) -> str:
    """A value as messages of the command line show it."""
    return _text(None, value)[:_LONGEST_VALUE]


def _shown(value: Any) -> str:
    """A value as a caller in Python writes it."""
    value = _without_numpy(value)
    shown = repr(_text(None, value) if isinstance(value, os.PathLike | Task) else value)
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}..."


def _value_of(flag: Flag, word: str) -> str:
    """A word that a message has behind a flag, as Python has it."""
    if flag.kind is bool and word.lower() in ("true", "false"):
        return word.title()
    return repr(word) if flag.kind in (str, tuple) or flag.choices else word
