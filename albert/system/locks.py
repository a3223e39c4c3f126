"""One process at a time works in an output directory. No TensorFlow.

Owns the file `run.lock` there, which says who does and is gone when that one is done. What excludes others is a lock
of the operating system on that file, which ends with its holder however it ends; so a file that a killed process left
locks nobody out.
"""

import contextlib
import datetime
import errno
import fcntl
import logging
import os
import socket
import sys
from pathlib import Path
from types import TracebackType

from albert.errors import UserError
from albert.system.files import cannot_write

LOCK = "run.lock"


class OutputLock:
    """The right to write in `directory`, from when this is made until `release` or the end of a `with`.

    Creates the directory. Raises UserError naming the holder where another process has that right, and where the
    directory cannot be written. The message names `setting` and its `value`, by default the directory.
    """

    def __init__(self, directory: Path, setting: str = "output_dir", value: Path | None = None):
        self.directory = directory
        self._descriptor: int | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._descriptor = _locked(directory / LOCK, setting, value or directory)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, _who_we_are().encode())
        except OSError as error:
            self.release()
            raise cannot_write(Path(error.filename or directory / LOCK), error) from error

    def __enter__(self) -> "OutputLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Lets others in, and leaves nothing behind. May be called again."""
        if getattr(self, "_descriptor", None) is None:
            return
        # Removed first, while nobody else can have it: who waits for the old file's lock sees that it is not the file.
        with contextlib.suppress(OSError):
            (self.directory / LOCK).unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def follow(self, directory: Path) -> None:
        """Says that the directory, with its lock, was renamed."""
        self.directory = directory


def _locked(path: Path, setting: str, value: Path) -> int:
    """The descriptor of the file at `path`, with its lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError as error:
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip() or "a process that has just begun"
            os.close(descriptor)
            raise UserError(
                f"`{setting}`={value} is in use by {holder}. Wait until it is done, stop it, or choose another "
                f"`{setting}`."
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                os.close(descriptor)
                raise
            logging.warning("The file system of %s has no locks: take care that no two runs write there.", path.parent)
            return descriptor
        os.close(descriptor)  # its holder removed it in between


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _who_we_are() -> str:
    now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return f"{Path(sys.argv[0]).stem or 'python'} (process {os.getpid()} on {socket.gethostname()}, since {now})\n"
