"""What a program prints for whoever reads it. No TensorFlow."""

import os
import sys
from pathlib import Path
from typing import TextIO

from albert.system.files import cannot_write


def counted(number: int, noun: str, plural: str = "s", singular: str = "") -> str:
    """The number with its noun, as "1 file" or "2,000 files"; the last two are endings of the noun."""
    return f"{number:,} {noun}{singular if number == 1 else plural}"


def part_of(number: int, total: int, noun: str) -> str:
    """Some of all, as "1 of 2,000 files"."""
    return f"{number:,} of {counted(total, noun)}"


def print_as_far_as_read(text: str) -> None:
    """Prints `text`, even if `| head` or a pager closes before its end.

    Raises UserError where it cannot be written for another reason, as on a full disk.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        _let_flush(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise cannot_write(Path("standard output"), error) from error


def say(text: str) -> None:
    """Prints `text` to standard error, if anybody reads that."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _let_flush(sys.stderr)


def _let_flush(stream: TextIO) -> None:
    """Lets Python flush once more at its exit, where it would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
