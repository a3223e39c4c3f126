"""What can be fetched, as plain descriptions. Knows neither where from in the end (a mirror) nor how."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path


class DownloadError(Exception):
    """Why one file or data set could not be had, in one line; the others continue."""


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file on a server, and what is known of its content; `origin` says who vouches for the checksum.

    `git_sha1` is that which git gives the content, where a server publishes it in place of a SHA-256.
    """

    name: str
    url: str
    num_bytes: int | None = None
    sha256: str | None = None
    origin: str = ""
    git_sha1: str | None = None

    @property
    def has_checksum(self) -> bool:
        """Whether it is known what the content must be."""
        return self.sha256 is not None or self.git_sha1 is not None


# (fetched files by name, an empty folder to fill) -> (the folder that holds what is wanted, remarks for the user).
# Raises DownloadError.
Build = Callable[[Mapping[str, Path], Path], tuple[Path, list[str]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Something that is wanted as a folder: from which files it is made, how, and what must be in it then.

    `files` are fetched, `local_files` are at hand already; `build` gets both. `expected` are the files in the folder,
    and the folders, which end with "/".
    """

    name: str
    folder: str
    files: tuple[RemoteFile, ...]
    build: Build
    expected: tuple[str, ...]
    local_files: Mapping[str, Path] = dataclasses.field(default_factory=dict)

    def lacks(self, folder: Path) -> list[str]:
        """What is expected in `folder` and is not there, or empty."""
        return [name for name in self.expected if not _holds_something(folder / name, name.endswith("/"))]

    @property
    def official(self) -> dict[str, RemoteFile]:
        """The expected files that are fetched as they are, by name: their sizes are known beforehand."""
        return {file.name: file for file in self.files if file.name in self.expected}


def _holds_something(path: Path, is_folder: bool) -> bool:
    if is_folder:
        return path.is_dir() and any(path.iterdir())
    return path.is_file() and path.stat().st_size > 0
