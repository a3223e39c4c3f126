"""Finding and reading text files: patterns to files, files to lines of UTF-8. Knows nothing of what the lines hold."""

import contextlib
import glob
import hashlib
import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from albert.errors import UserError
from albert.system.homes import expanded
from albert.system.printing import counted
from albert.system.text_encoding import how_to_convert, open_text, with_file

# What `expand_patterns` takes, for help texts.
INPUT = "comma-separated file names, of which each may be a pattern as 'books/*.txt'"

_LOG = logging.getLogger(__name__)

_LINES_BETWEEN_REPORTS = 256
# How Python's "surrogateescape" shows a byte that is not UTF-8: no UTF-8 text decodes to these. No text has a zero.
_WRONG_BYTE = re.compile("[\0\udc80-\udcff]")


def expand_patterns(patterns: str, setting: str) -> list[Path]:
    """The files that comma-separated names and patterns (`*`, `?`, `[...]`, `**`) stand for, ~ expanded.

    In the order of the patterns, sorted within each; every file once, however often and through whatever links it is
    named, which a warning reports. A folder is not a file. `setting` is the name of the one that holds `patterns`.

    Raises:
      UserError: nothing is named, or a pattern matches no file.
    """
    files: dict[tuple[int, int], Path] = {}
    again: list[tuple[Path, Path]] = []
    named = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    if not named:
        raise UserError(f"`{setting}`={patterns!r} names no file. Give file names or patterns, comma-separated.")
    for pattern in named:
        path = expanded(pattern, f"`{setting}`")
        matches = _matches(str(path))
        if not matches and os.path.isdir(path):  # noqa: PTH112
            raise UserError(
                f"`{setting}`: {pattern!r} is a folder and no file. Name the files in it: `{setting}`='{path / '*'}'."
            )
        if not matches:
            raise UserError(
                f"`{setting}`: no file matches {pattern!r}. Correct the name; quote a pattern, "
                f"or the shell expands it: `{setting}`='books/*.txt'."
            )
        for match in matches:
            try:
                state = match.stat()
            except OSError as error:
                what = "is a link to nothing" if match.is_symlink() else f"cannot be read: {error.strerror}"
                raise UserError(f"`{setting}`: {match} {what}. Remove it, or name the files without it.") from None
            first = files.setdefault((state.st_dev, state.st_ino), match)
            if first is not match:
                again.append((first, match))
    if again:
        _LOG.warning(
            "`%s` names files more than once, %s too often: every file is read once. The first is %s, named "
            "again as %s.",
            *(setting, counted(len(again), "time"), *again[0]),
        )
    return list(files.values())


def warn_of_copies(files: Sequence[Path], setting: str) -> None:
    """Warns where files that `setting` names hold the same bytes: what stands there then counts several times."""
    by_size: dict[int, list[Path]] = {}
    for path in files:
        by_size.setdefault(path.stat().st_size, []).append(path)
    firsts: dict[bytes, Path] = {}
    copies = []
    for size, paths in by_size.items():
        if size and len(paths) > 1:
            for path in paths:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
                if firsts.setdefault(digest, path) is not path:
                    copies.append((path, firsts[digest]))
    if copies:
        _LOG.warning(
            "`%s`: %s with the text of another, which counts more than once. The first is %s, which holds the same as "
            "%s.",
            *(setting, counted(len(copies), "file"), *copies[0]),
        )


def warn_of_empty(files: Sequence[Path], setting: str) -> None:
    """Warns of those of all `files` of `setting` that turned out to hold no text."""
    if files:
        hold = "hold" if len(files) > 1 else "holds"
        _LOG.warning("`%s`: %s %s no text. The first is %s.", setting, counted(len(files), "file"), hold, files[0])


def read_lines(
    path: Path, *, max_characters: int = -1, on_bytes: Callable[[int], object] | None = None
) -> Iterator[tuple[int, str]]:
    r"""(line number from 1, text without its line end) for every line, ended by \n, \r\n or \r; BOMs are left out.

    Args:
      path: a UTF-8 file. Memory is that of its longest line.
      max_characters: a longer line comes in parts of at most so many, which share its number; -1 for never. Parts of
        white space alone at its beginning are left out, which would be taken for a blank line.
      on_bytes: called now and then with the number of bytes read since the last call, and at the end with the rest.

    Raises:
      UserError: the file is not UTF-8 text, or not a regular file; names the file and, where it can, the line.
    """
    number, reported, line_goes_on, is_at_start = 0, 0, False, True
    with _open(path) as (data, file):
        for count, line in enumerate(iter(lambda: file.readline(max_characters), ""), start=1):
            number += not line_goes_on
            line_goes_on = not line.endswith("\n")
            if wrong := _WRONG_BYTE.search(line):
                raise UserError(f"{path}, line {number}: {with_file(_fault(line, wrong), Path(path))}.")
            if is_at_start and len(line) == max_characters and line.isspace() and line_goes_on:
                continue
            is_at_start = not line_goes_on
            yield number, line.removesuffix("\n")
            if on_bytes and count % _LINES_BETWEEN_REPORTS == 0:
                position = data.tell()
                on_bytes(position - reported)
                reported = position
        if on_bytes:
            on_bytes(data.tell() - reported)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO, io.TextIOWrapper]]:
    try:
        with open_text(Path(path)) as file:
            if b"\r\r\n" in file.peek():  # type: ignore[attr-defined]  # a buffered file has it
                raise UserError(
                    rf"{path} has line ends of \r\r\n, so that a blank line would follow every line, as where Windows "
                    r"line ends are converted again; correct them with: tr -d '\r'"
                )
            yield file, io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _fault(line: str, found: re.Match[str]) -> str:
    wrong = found[0]
    if wrong == "\0":
        return "a byte is 0, as in binary or damaged files. Write the file again"
    place = len(line[: found.start()].encode(errors="surrogateescape"))
    advice = how_to_convert(line.encode(errors="surrogateescape"), place)
    return f"the byte 0x{ord(wrong) - 0xDC00:02x} is not UTF-8; {advice}"


def _matches(pattern: str) -> list[Path]:
    path = Path(pattern)
    # A name such as "part[1].txt" may be meant as it stands. Path.exists raises an error for a name that is too long.
    is_name = os.path.exists(path)  # noqa: PTH110
    # Path.glob takes no absolute pattern.
    found = [path] if is_name else map(Path, sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207
    return [match for match in found if not match.is_dir()]
