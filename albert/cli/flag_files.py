"""`--flagfile=FILE`: flags from a file, one a line, in the place of the flag. Lines with # or // are comments.

As absl has it, except that everything people bring is read right or refused: absl waits for a pipe, decodes by the
locale, takes no file for an empty one, and prints of a circle only a warning.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from albert.errors import UserError
from albert.system.homes import expanded
from albert.system.json_text import short_text
from albert.system.text_encoding import read_whole_text

# A line is one argument, so that nothing parts a value from its flag but =.
_DETACHED_VALUE = re.compile(r"(--?\w[\w-]*)\s+([^\s=-].*)")
# Blanks around a line mean nothing, but behind this flag they may be all of its value.
_BLANK_VALUE = re.compile(r"\s*(--?label_delimiter=\s+)")


def with_flags_of_files(arguments: Sequence[str], reading: tuple[Path, ...] = ()) -> Iterator[str]:
    """`arguments`, with the flags of a file in place of each --flagfile; `reading` are the files that hold them.

    Raises UserError naming a file that cannot be read, is not text, or contains itself.
    """
    rest = iter(arguments)
    for argument in rest:
        name, has_value, value = argument.lstrip("-").partition("=")
        if argument == "--":
            yield argument
            yield from rest
        elif not argument.startswith("-") or name != "flagfile":
            yield argument
        else:
            path = value.strip() if has_value else next(rest, "")
            if not path:
                raise UserError("--flagfile names no file")
            file = expanded(path, "--flagfile")
            yield from with_flags_of_files(_lines(file, reading), (*reading, file))


def _lines(path: Path, reading: tuple[Path, ...]) -> list[str]:
    if path in reading:
        raise UserError(f"--flagfile={path} contains itself")
    text = read_whole_text(path, f"--flagfile={path}")
    lines = [(number, _argument(line)) for number, line in enumerate(re.split("\r\n|\n|\r", text), 1)]
    for number, line in lines:
        if flag := _DETACHED_VALUE.fullmatch(line):
            written = short_text(f"{flag[1]}={flag[2]}")
            raise UserError(f"--flagfile={path}, line {number}: write {written}, one flag a line")
    return [line for _, line in lines if line and not line.startswith(("#", "//"))]


def _argument(line: str) -> str:
    blank = _BLANK_VALUE.fullmatch(line)
    return blank[1] if blank else line.strip()
