"""Writing files whole or not at all, and adding to logs. Knows nothing of what they hold."""

import contextlib
import glob
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from albert.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Puts `text` at `path` in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, as `whole_file` does."""
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which is at `path` when the block ends, and not at all where it raises.

    That is a temporary file beside `path`, flushed to disk and renamed. Creates the directory. Raises UserError when
    the disk is full or not writable; what was at `path` is then untouched.
    """
    temporary = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename is not None and not _is_of(Path(os.fsdecode(error.filename)), path, temporary):
            raise  # that of another file, which the block reads
        raise cannot_write(path, error) from error
    finally:
        # Where it could not be made, removing it fails too, which must not hide why.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _is_of(named: Path, path: Path, temporary: Path) -> bool:
    return named in (path, temporary) or path.is_relative_to(named)


def delete_leftovers(directory: Path, name: str | None = None) -> None:
    """Removes the temporary files of `whole_file`, for the file `name` there or for all, whose writer was killed.

    Only the process that writes there may call it. Raises UserError where one cannot be removed.
    """
    for leftover in directory.glob(f"{'*' if name is None else glob.escape(name)}.tmp-" + 8 * "[0-9a-f]"):
        try:
            leftover.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(leftover, error) from error


def append_text(path: Path, text: str) -> None:
    """Adds `text` to the file at `path`. Raises UserError as `write_bytes` does; part of `text` may then be there."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> UserError:
    """What to raise where `path` could not be written."""
    return UserError(f"cannot write {path}: {error.strerror}. Free space or choose another directory.")
