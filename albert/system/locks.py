"""One process at a time works in an output directory, or builds a cache. No TensorFlow.

What excludes others is a lock of the operating system (flock) on a file, which ends with its holder however it ends; so
a file that a killed process left locks nobody out. The file says who holds it, and is gone when that one is done.

Some file systems have no locks. There, work continues without locks, after one warning for each folder:
refusing would make them useless to the many who run one program at a time.

The filelock package is not used: it does not say who holds a lock, and what it does where there are no locks differs
between its versions, up to taking the file itself for the lock, so that a killed process locks everybody out.
"""

import contextlib
import datetime
import errno
import fcntl
import itertools
import logging
import os
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from albert.errors import UserError
from albert.system.files import cannot_write
from albert.system.text_encoding import open_regular

LOCK = "run.lock"

# What file systems answer that have no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
# What NFS answers about an open file that another machine has removed.
_REMOVED = (errno.ENOENT, errno.ESTALE)
_TIMES_REMOVED, _PAUSE_SECONDS = 50, 0.1
_folders_without_locks: set[Path] = set()  # that were warned about


class FileLock:
    """The lock on the file at `path`, for which `take` asks. Not held in the beginning.

    Where the file cannot be written, `cannot` makes the UserError, as for `albert.system.files.whole_file`.
    """

    def __init__(self, path: Path, cannot: Callable[[Path, OSError], UserError] = cannot_write):
        self._path = path
        self._cannot = cannot
        self._descriptor: int | None = None
        self._holder = b""  # what we wrote into the file
        self.is_exclusive = True  # unless it was taken where there are no locks

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def take(self, wait: bool = False) -> str | None:
        """Takes the lock and returns None; or where another has it, returns who does. With `wait` waits for that one.

        Raises UserError where the file cannot be written, or is something that nobody locks: a symbolic link above all,
        which could make this process overwrite another user's file.
        """
        try:
            found = self._lock(wait)
            if isinstance(found, str):
                return found
            self._descriptor = found
            self._holder = _who_we_are().encode()
            os.ftruncate(found, 0)
            os.write(found, self._holder)
        except OSError as error:
            self.release()
            raise self._cannot(self._path, error) from error
        return None

    def keep(self) -> str | None:
        """Takes the lock again where its file was removed, which lets others in; as `take`, who has it then."""
        if self._descriptor is None or not self.is_exclusive or self._is_ours():
            return None
        os.close(self._descriptor)
        self._descriptor = None
        return self.take()

    def release(self) -> None:
        """Lets others in, and leaves nothing behind. May be called again."""
        descriptor = getattr(self, "_descriptor", None)
        if descriptor is None:
            return
        # Removed first, while nobody else can have it: who waits for the old file's lock sees that it is not the file.
        with contextlib.suppress(OSError):
            if self._is_ours():
                self._path.unlink()
        os.close(descriptor)
        self._descriptor = None

    def follow(self, path: Path) -> None:
        """Says that the file was renamed to `path`, with its directory."""
        self._path = path

    def _is_ours(self) -> bool:
        """Whether what is at the path is the file that we hold. By its text, too: not all disks number files."""
        assert self._descriptor is not None, "a lock that is held"
        return _is_at(self._descriptor, self._path) or _start_of(self._path) == self._holder

    def _lock(self, wait: bool) -> int | str:
        """The descriptor of the locked file, or who has the lock."""
        for attempt in itertools.count(1):
            descriptor = _opened(self._path)
            is_ours = False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_ours = _is_at(descriptor, self._path)
            except BlockingIOError:
                return os.pread(descriptor, 1000, 0).decode(errors="replace").strip() or "a process that has just begun"
            except OSError as error:
                if error.errno == errno.ESTALE and attempt < _TIMES_REMOVED:
                    time.sleep(_PAUSE_SECONDS)  # until this machine hears that the name is another file's, or nobody's
                    continue
                if error.errno not in _NO_LOCKS:
                    raise
                _warn_once(self._path.parent)
                self.is_exclusive, is_ours = False, True
            finally:
                if not is_ours:
                    os.close(descriptor)
            if is_ours:
                return descriptor
            # Its holder removed the file in between: once more, with the one that is there now.
        raise AssertionError("counting has no end")


class OutputLock(FileLock):
    """The right to write in `directory`, from when this is made until `release` or the end of a `with`.

    Creates the directory. Raises UserError naming the holder where another process has that right, and where the
    directory cannot be written. The message names `output`, by default the directory.
    """

    def __init__(self, directory: Path, output: Path | None = None):
        super().__init__(directory / LOCK)
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(Path(error.filename or directory), error) from error
        holder = self.take()
        if holder is not None:
            raise UserError(
                f"{output or directory} is in use by {holder}. Wait until it is done, stop it, or write elsewhere."
            )

    def follow(self, directory: Path) -> None:
        """Says that the directory, with its lock, was renamed."""
        super().follow(directory / LOCK)
        self.directory = directory


def _opened(path: Path) -> int:
    """The descriptor of a file to lock. Raises UserError where the file at `path` is not one of ours."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(f"{path} is a symbolic link, which is never followed. Remove it.") from error
        raise
    found = os.fstat(descriptor)
    # A file with a second name may be another user's, as a symbolic link's target may; without a name it was removed.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise UserError(f"{path} is not a lock file (it is special, or has a second name). Remove it.")
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError as error:
        if error.errno in _REMOVED:
            return False
        raise


def _start_of(path: Path) -> bytes | None:
    """The first bytes of a regular file; None where there is none."""
    try:
        with open_regular(path) as file:
            return file.read(1000)
    except OSError:
        return None


def _warn_once(folder: Path) -> None:
    if folder not in _folders_without_locks:
        _folders_without_locks.add(folder)
        logging.warning("The file system of %s has no locks: take care that no two programs write there.", folder)


def _who_we_are() -> str:
    now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return f"{Path(sys.argv[0]).stem or 'python'} (process {os.getpid()} on {socket.gethostname()}, since {now})\n"
