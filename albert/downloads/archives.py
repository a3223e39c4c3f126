"""Unpacking archives that nobody vouches for: nothing is written outside the folder, and no more than is allowed.

A member is refused, and the archive with it, when its name leads elsewhere, when it is anything but a file or a folder
(a link, a device), or when it is there twice. Names, sizes and numbers are checked before anything is written.
"""

import contextlib
import dataclasses
import functools
import gzip
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from albert.downloads.dataset import DownloadError
from albert.system.text_encoding import open_regular

_CHUNK_BYTES = 1 << 20
# tarfile reads long names and their like into memory in one piece.
_MAX_READ_BYTES = 16 << 20
_MAX_DEPTH = 16


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much an archive may become: bytes and members in all."""

    num_bytes: int
    num_members: int = 100_000


@dataclasses.dataclass(frozen=True)
class _Member:
    """One entry: `is_plain` is true of files and folders; `open` gives a file's bytes."""

    name: str
    num_bytes: int
    is_folder: bool
    is_plain: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, name: str, folder: Path, limits: Limits) -> int:
    """Unpacks the `.zip` or `.tar.gz` file `name` at `archive` into the empty `folder`.

    Returns how many members were left out because only a Mac's Finder needs them. Raises DownloadError when the archive
    is damaged or refused (some files may then be in `folder`), OSError when `folder` cannot be written to.
    """
    members = _zip_members if name.endswith(".zip") else _tar_members
    count = total = left_out = 0
    try:
        with contextlib.closing(members(archive, limits)) as found:
            for member in found:
                path = _safe_path(member)
                count, total = count + 1, total + member.num_bytes
                if member.num_bytes < 0:
                    raise DownloadError("has a member of negative size")
                if count > limits.num_members:
                    raise DownloadError(f"holds more than {limits.num_members:,} files")
                if total > limits.num_bytes:
                    raise DownloadError(f"would take more than {limits.num_bytes:,} bytes unpacked")
                if _is_of_finder(path):
                    left_out += 1
                else:
                    _write(member, folder / path)
    except DownloadError as error:
        raise DownloadError(f"{name} is refused: it {error}") from None
    except (
        *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError),
        # What zipfile and tarfile let through of what they stumble over.
        *(NotImplementedError, RuntimeError, ValueError, OverflowError, LookupError, struct.error),
    ) as error:
        raise DownloadError(f"{name} is damaged: {str(error)[:200] or type(error).__name__}") from None
    return left_out


def content_of(folder: Path) -> Path:
    """`folder`, or the one folder in it when there is nothing else: the archive's own top folder."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _safe_path(member: _Member) -> PurePosixPath:
    """The member's path below the folder. Raises DownloadError when it is refused."""
    name, shown = member.name, ascii(member.name)[:120]
    path = PurePosixPath(name)
    try:
        longest = max((len(part.encode()) for part in path.parts), default=0)
    except UnicodeEncodeError:
        raise DownloadError(f"has a member whose name is not UTF-8: {shown}") from None
    if path.is_absolute() or re.match("[A-Za-z]:", name):
        raise DownloadError(f"has a member with an absolute path: {shown}")
    if ".." in path.parts:
        raise DownloadError(f"has a member that leads out of the folder: {shown}")
    if not name or "\\" in name or any(ord(letter) < 32 for letter in name):
        raise DownloadError(f"has a member whose name has letters that are not allowed: {shown}")
    if longest > 255 or len(path.parts) > _MAX_DEPTH:
        raise DownloadError(f"has a member whose path is too long or too deep: {shown}")
    if member.is_folder and member.num_bytes:
        raise DownloadError(f"has a folder with content of its own: {shown}")
    if not member.is_plain:
        raise DownloadError(f"has a member that is a link or a device: {shown}")
    return path


def _is_of_finder(path: PurePosixPath) -> bool:
    return "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._")


def _write(member: _Member, path: Path) -> None:
    try:
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with _reading():
            source = member.open()
        with source, path.open("xb") as target:
            left = member.num_bytes
            while chunk := _read(source, min(_CHUNK_BYTES, left)):
                target.write(chunk)
                left -= len(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise DownloadError(f"has a member twice: {ascii(member.name)[:120]}") from None
    if left:
        raise EOFError(f"{ascii(member.name)[:120]} ends early")


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """What the system says against reading here, such as a place before the beginning, is a damaged archive."""
    try:
        yield
    except OSError as error:
        raise ValueError(error.strerror or error) from error


def _read(source: IO[bytes], size: int) -> bytes:
    with _reading():
        return source.read(size)


def _zip_members(archive: Path, limits: Limits) -> Generator[_Member]:
    with _reading(), open_regular(archive) as stream, zipfile.ZipFile(stream) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise DownloadError("is encrypted")
            yield _Member(
                # zipfile cuts names at a zero byte.
                name=info.orig_filename,
                num_bytes=info.file_size,
                is_folder=info.orig_filename.endswith("/"),
                is_plain=kind in (0, stat.S_IFREG, stat.S_IFDIR),
                open=functools.partial(file.open, info),
            )


def _tar_members(archive: Path, limits: Limits) -> Generator[_Member]:
    # Padding and headers come on top of the files: a header and less than a block each, more for long names.
    max_bytes = limits.num_bytes + 8192 * limits.num_members
    with _reading(), open_regular(archive) as stream, gzip.open(stream) as unzipped:
        bounded = _Bounded(unzipped, max_bytes)
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:") as file:
            for info in file:
                yield _Member(
                    name=info.name,
                    num_bytes=info.size if info.isfile() else 0,
                    is_folder=info.isdir(),
                    is_plain=info.isfile() or info.isdir(),
                    open=functools.partial(_extracted, file, info),
                )
                file.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            # To the end, where the checksum of everything is.
            while bounded.read(_CHUNK_BYTES):
                pass


def _extracted(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = file.extractfile(info)
    assert content, f"{info.name} is a file"
    return content


class _Bounded:
    """What tarfile needs of a file, up to `max_bytes`: a few compressed bytes can stand for any number of zeros."""

    def __init__(self, file: gzip.GzipFile, max_bytes: int):
        self._file = file
        self._max_bytes = max_bytes

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ_BYTES:
            raise DownloadError("has a header of unreasonable size")
        self._check(self._file.tell())
        return self._file.read(size)

    def seek(self, position: int) -> int:
        self._check(position)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, position: int) -> None:
        if position > self._max_bytes:
            raise DownloadError(f"would take more than {self._max_bytes:,} bytes unpacked")
