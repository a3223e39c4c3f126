"""Writing files whole or not at all, adding to logs, and what a disk's errors mean."""

import contextlib
import errno
import glob
import os
import re
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from albert.errors import UserError
from albert.system.text_encoding import open_regular

if TYPE_CHECKING:
    import hashlib

# What can be done about an error of the file system, by its number.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)
_WRONG_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST)
# The folder of files that are whole and only have to be moved to their places beside it.
_READY = "results.ready"
_BYTES_OF_END = 2**22
_LONGEST_START = 255 - len(".tmp-12345678.data-00000-of-00001")


def write_text(path: Path, text: str) -> None:
    """Puts `text` at `path` in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, as `whole_file` does."""
    with whole_file(path) as file:
        file.write(data)


class Pieces:
    """A text that is made piece by piece whenever it is wanted, because as a whole it may not fit into memory."""

    def __init__(self, make: Callable[[], Iterator[str]]):
        self._make = make

    def __iter__(self) -> Iterator[str]:
        return self._make()

    def __str__(self) -> str:
        return "".join(self)


Text = str | bytes | Pieces
ROWS_OF_A_PIECE = 4096  # of a table


def write_texts(directory: Path, texts: Mapping[str, Text]) -> None:
    """Puts every text at its name in `directory`: all of them, or none where the disk is full or not writable.

    They are written to a folder of their own, which is renamed when all are on disk; then each is moved to its place.
    `finish_texts` does the rest of the moves after a kill. A picture is a text of bytes, which are written as they are.
    Raises UserError as `write_bytes` does; what was there is then untouched.
    """
    staging, ready = temporary_beside(directory / _READY), directory / _READY
    for name in texts:
        if (directory / name).is_dir():  # what no file can be moved to
            raise cannot_write(directory / name, OSError(errno.EISDIR, os.strerror(errno.EISDIR)))
    try:
        for name, text in texts.items():
            with whole_file(staging / name, lambda path, error: cannot_write(directory / path.name, error)) as file:
                for piece in text if isinstance(text, Pieces) else (text,):
                    file.write(piece.encode() if isinstance(piece, str) else piece)
        finish_texts(directory)
        with _errors_of(ready, cannot_write):
            staging.replace(ready)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    finish_texts(directory)


def finish_texts(directory: Path) -> None:
    """Moves to their places what `write_texts` has written whole. Only the process that writes there may call it."""
    ready = directory / _READY
    if not ready.is_dir() or ready.is_symlink():
        return
    for file in sorted(ready.iterdir()):
        with _errors_of(directory / file.name, cannot_write):
            file.replace(directory / file.name)
    with _errors_of(ready, cannot_write):
        ready.rmdir()


def cannot_write(path: Path, error: OSError) -> UserError:
    """What to raise where `path` could not be written: why, and what helps against that."""
    return UserError(f"cannot write {path}: {error.strerror or error}. {advice_on(error)}.")


def advice_on(error: OSError, other: str = "choose another directory") -> str:
    """What to do about an error of writing, as one phrase; `other` is how to write elsewhere."""
    if error.errno in _FULL:
        return f"Free space or {other}"
    if error.errno in _FORBIDDEN:
        return f"Give yourself the right to write there or {other}"
    if error.errno == errno.EROFS:
        return f"Only reading is possible there: {other}"
    if error.errno in _TOO_MANY_OPEN:
        return "Raise the limit of open files (ulimit -n)"
    if error.errno in _WRONG_NAME:
        return f"Move what is in the way or {other}"
    return f"Check the disk or {other}"


class WholeFile:
    """An open file that appears when it is complete; see `whole_file`."""

    def __init__(self, file: BinaryIO, path: Path, cannot: Callable[[Path, OSError], UserError]):
        self._file = file
        self._path = path
        self._cannot = cannot

    def write(self, data: bytes | memoryview) -> int:
        """Adds `data`. Raises UserError when the disk is full or fails."""
        try:
            return self._file.write(data)
        except OSError as error:
            raise self._cannot(self._path, error) from error

    def write_start(self, data: bytes) -> None:
        """Puts `data` over the first bytes, for what is known when the rest is written. Raises UserError as `write`."""
        try:
            self._file.seek(0)
            self._file.write(data)
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._cannot(self._path, error) from error


@contextlib.contextmanager
def whole_file(path: Path, cannot: Callable[[Path, OSError], UserError] = cannot_write) -> Iterator[WholeFile]:
    """A file to write to, which is at `path` when the block ends, and not at all where it raises.

    That is a temporary file beside `path`, flushed to disk and renamed. Creates the directory. Raises the UserError
    that `cannot` makes when the disk is full or not writable; what was at `path` is then untouched. What the block
    itself raises reaches the caller unchanged.
    """
    temporary = temporary_beside(path)
    try:
        with _errors_of(path, cannot):
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x" fails where something has that name, and follows no link. The mode is what the umask leaves of 0666,
            # so that others can read what they may read; a file of the tempfile module would be the owner's alone.
            file = temporary.open("xb")
        try:
            yield WholeFile(file, path, cannot)
            with _errors_of(path, cannot):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with contextlib.suppress(OSError):  # what could not be flushed is reported above, or the block failed
                file.close()
        with _errors_of(path, cannot):
            temporary.replace(path)
    finally:
        # Where it could not be made, removing it fails too, which must not hide why.
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def _errors_of(path: Path, cannot: Callable[[Path, OSError], UserError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot(path, error) from error


def temporary_beside(path: Path) -> Path:
    """A name in the directory of `path` that nobody can guess and put a link at; see `delete_leftovers`."""
    return path.with_name(f"{_temporary_start(path.name)}.tmp-{uuid.uuid4().hex[:8]}")


def _temporary_start(name: str) -> str:
    """What the names of temporary files for `name` begin with: `name`, or where that leaves no room its start, marked.

    A name has at most 255 bytes, of which those of a checkpoint's temporary files need the most behind it.
    """
    data = os.fsencode(name)
    if len(data) <= _LONGEST_START:
        return name
    mark = f"-{zlib.crc32(data):08x}"
    return data[: _LONGEST_START - len(mark)].decode(errors="ignore") + mark


def delete_leftovers(directory: Path, name: str | None = None) -> None:
    """Removes the temporary files of `whole_file`, for the file `name` there or for all, whose writer was killed.

    Only the process that writes there may call it. Raises UserError where one cannot be removed.
    """
    start = "*" if name is None else glob.escape(_temporary_start(name))
    for leftover in directory.glob(f"{start}.tmp-" + 8 * "[0-9a-f]"):
        try:
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            leftover.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(leftover, error) from error


def append_text(path: Path, text: str) -> None:
    """Adds `text` to the file at `path`. Raises UserError as `write_bytes` does; part of `text` may then be there."""
    try:
        # No link is followed, since others may write to the folder and know the name; and a pipe without a reader is
        # an error and not a wait.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise cannot_write(path, error) from error


def flush_to_disk(path: Path | str) -> None:
    """Makes the kernel write the file, or the names in the directory, at `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_ends(path: Path, total: "hashlib._Hash") -> None:
    """Adds a file's size, beginning and end, which is all of a small one: weights need not be read for each run."""
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        total.update(str(size).encode())
        file.seek(0)
        total.update(file.read(_BYTES_OF_END))
        file.seek(max(0, size - _BYTES_OF_END))
        total.update(file.read())


def as_os_error(error: Exception) -> OSError:
    """What an error of TensorFlow's file system says, as the OSError that it was; an OSError as it is.

    TensorFlow reports "<operation> <file>; <what the system said> [Op:<name>]", and more in further lines.
    """
    if isinstance(error, OSError):
        return error
    message = str(getattr(error, "message", error)).partition("\n")[0]
    reason = re.sub(r" \[Op:\w+\]$", "", message.rpartition("; ")[2])
    numbers = (number for number in errno.errorcode if os.strerror(number) == reason)
    return OSError(next(numbers, None), reason)
