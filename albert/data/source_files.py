"""Files that data are made from, digested once and held to it: what is read later must be what was digested."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from albert.errors import UserError
from albert.system.text_encoding import open_regular


@dataclasses.dataclass(frozen=True)
class FileState:
    """What tells whether a file at a path was written, replaced or moved since; `of` makes it.

    The time of change (ctime) besides that of the contents (mtime): programs set the latter back, and `mv` keeps it.
    """

    path: str
    file_number: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path, descriptor: int | None = None) -> "FileState":
        """That of the open file, or of the one at `path`. Raises OSError."""
        found = path.stat() if descriptor is None else os.fstat(descriptor)
        return cls(os.path.realpath(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclasses.dataclass(frozen=True)
class SourceFiles:
    """Files with one `digest` over their bytes and order, whatever they are called; `read` makes it."""

    paths: tuple[Path, ...]
    digest: str
    states: tuple[FileState, ...]
    file_digests: tuple[bytes, ...]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "SourceFiles":
        """Digests `paths`. Raises UserError naming a file that cannot be read, or was changed meanwhile."""
        paths = tuple(paths)
        digests, states = [], []
        for path in paths:
            try:
                with open_regular(path) as file:
                    states.append(FileState.of(path, file.fileno()))
                    digests.append(hashlib.file_digest(file, "sha256").digest())
                    if states[-1] != FileState.of(path):
                        raise _changed(path)
            except OSError as error:
                raise UserError(f"Cannot read {path}: {error.strerror}.") from error
        return cls(paths, _digest(digests), tuple(states), tuple(digests))

    def changed(self) -> Path | None:
        """A file whose bytes are not those that were digested, or that is not there any more; None where none is."""
        for path, state, digest in zip(self.paths, self.states, self.file_digests, strict=True):
            try:
                if FileState.of(path) != state and SourceFiles.read([path]).file_digests != (digest,):
                    return path
            except (OSError, UserError):
                return path
        return None

    def digest_of(self, paths: Iterable[Path]) -> str:
        """That of `read(paths)`, which are some of these."""
        known = dict(zip(self.paths, self.file_digests, strict=True))
        return _digest(known[path] for path in paths)

    def check_unchanged(self) -> None:
        """Raises UserError naming a file that is not the one that was digested, or was not for a while.

        To be called when all was read that `digest` is to stand for. The states tell even of a file that was replaced
        and put back; the digest of one that was written twice within what its file system's clock can tell.
        """
        again = SourceFiles.read(self.paths)
        for path, before, after in zip(self.paths, self.states, again.states, strict=True):
            if before != after:
                raise _changed(path)
        if again.digest != self.digest:
            raise _changed(self.paths[0])


def _digest(file_digests: Iterable[bytes]) -> str:
    # Digest of digests, so that bytes moving from one file to the next change the result.
    return hashlib.sha256(b"".join(file_digests)).hexdigest()


def _changed(path: Path) -> UserError:
    return UserError(f"{path} was changed while it was being read. Nothing was kept of it; start again.")
