"""One file from an HTTP server, whatever happens on the way: resumed, tried again, checked.

Owns the `.part` file, which holds what has arrived, and the note beside it that says whether more may be added to it.
Knows nothing of data sets, folders to fill or progress bars.
"""

import base64
import dataclasses
import http.client
import io
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests
import urllib3

from albert.downloads import answers
from albert.downloads.addresses import shown, without_secrets
from albert.downloads.answers import Answer, RetryPolicy, Stopped, TooSlowError
from albert.downloads.checksums import git_sha1_of, md5_of, sha256_of
from albert.downloads.dataset import DownloadError, RemoteFile
from albert.errors import UserError
from albert.system.files import advice_on, write_text
from albert.system.json_text import parse_json
from albert.system.text_encoding import read_regular

# Of files whose size nobody knows beforehand; Google's largest archive has less than 1 GB.
_MAX_UNKNOWN_BYTES = 4 << 30
# What a server may answer differently a moment later.
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


@dataclasses.dataclass(frozen=True)
class Callbacks:
    """Where a transfer tells what it does: `progress(bytes that are there, bytes in all or None)`, `say(line)`."""

    progress: Callable[[int, int | None], None] = lambda done, total: None
    say: Callable[[str], None] = lambda line: None


class _TryAgainError(Exception):
    """Another try may succeed; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


class _WrongContentError(Exception):
    """All has arrived and is not what it should be."""


class _Part:
    """The part of a file that has arrived, and (in `<name>.part.json`) the version on the server that it belongs to."""

    def __init__(self, folder: Path, file: RemoteFile):
        self.path = folder / f"{file.name}.part"
        self._note_path = folder / f"{file.name}.part.json"
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise UserError(f"{self.path} is no file of this program, but something else by its name. Move it away.")
        self.note = self._read_note()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def belongs_to(self, file: RemoteFile) -> bool:
        """Whether more of `file` may be added. Without a checksum, only the server can say that pieces fit together."""
        if file.has_checksum and file.num_bytes:
            return self.size <= file.num_bytes
        return self.note.get("url") == shown(file.url) and self.version is not None

    @property
    def version(self) -> str | None:
        """The server's name for what the part is of."""
        version = self.note.get("version")
        return version if isinstance(version, str) else None

    def is_complete(self, file: RemoteFile) -> bool:
        return self.size > 0 and self.size == (file.num_bytes or self.note.get("num_bytes"))

    def clear(self) -> None:
        self.note = {}
        self._note_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def describe(self, **note: object) -> None:
        self.note = note
        write_text(self._note_path, json.dumps(note))

    def open(self) -> io.FileIO:
        """To add to it. No link is followed: others may write to the folder, and know the name."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return io.FileIO(os.open(self.path, flags, 0o666), "ab")

    def _read_note(self) -> dict:
        try:
            note = parse_json(read_regular(self._note_path))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}


def fetch(
    file: RemoteFile, folder: Path, patience: RetryPolicy, listener: Callbacks, stopped: threading.Event
) -> tuple[Path, RemoteFile]:
    """Gets `file` into `folder`; returns its path there, and `file` with the size and checksum that it has.

    What is in `folder` from an earlier call is continued. Raises DownloadError when it cannot be had, Stopped soon
    after `stopped` is set, UserError when `folder` cannot be written to; what has arrived stays for the next call.
    """
    try:
        return _fetch(file, folder, patience, listener, stopped)
    except OSError as error:
        where, reason = error.filename or folder, error.strerror or error
        raise UserError(f"cannot write {where}: {reason}. {advice_on(error, 'choose another folder')}.") from error


def _fetch(
    file: RemoteFile, folder: Path, patience: RetryPolicy, listener: Callbacks, stopped: threading.Event
) -> tuple[Path, RemoteFile]:
    part = _Part(folder, file)
    furthest = earlier = part.size  # after the last try, and after the last fruitful one
    fruitless, wrong, begun = 0, 0, time.monotonic()
    while True:
        wait = 0.0
        try:
            if part.size and not part.belongs_to(file):
                part.clear()
            if not part.is_complete(file):
                _request(file, part, patience, listener, stopped)
            return part.path, _checked(file, part)
        except _WrongContentError as error:
            # It may have been damaged on the way, which does not happen twice in a row.
            part.clear()
            wrong += 1
            if wrong == 2:
                raise DownloadError(f"{shown(file.url)}: {error}") from None
            reason = f"{error}; starting again"
        except _TryAgainError as error:
            reason, wait = str(error), error.wait
        # The wait before it counts too: a server may as well send one byte to each request.
        wanted = max(1.0, patience.least_rate * (time.monotonic() - begun))
        if part.size - furthest >= wanted:
            fruitless, earlier = 0, part.size
        else:
            fruitless += 1
        furthest, begun = max(furthest, part.size), time.monotonic()
        if fruitless >= patience.fruitless_tries:
            brought = "nothing" if part.size <= earlier else "too little"
            raise DownloadError(f"{shown(file.url)}: {reason} ({fruitless} tries that brought {brought})")
        wait = max(wait, patience.first_wait * 2 ** max(0, fruitless - 1)) * random.uniform(0.75, 1.25)
        wait = min(wait, patience.longest_wait)
        listener.say(f"{file.name}: {reason}; next try in {wait:.0f} s, from byte {part.size:,}")
        if stopped.wait(wait):
            raise Stopped


def _request(
    file: RemoteFile, part: _Part, patience: RetryPolicy, listener: Callbacks, stopped: threading.Event
) -> None:
    """One request: adds to the part what the server sends. Raises DownloadError, _TryAgainError, _WrongContentError."""
    # As stored: a transfer encoding would change what the checksum is of, and where a byte is.
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.version:
            headers["If-Range"] = part.version
    try:
        with answers.opened(file.url, headers, patience, stopped) as answer:
            response = answer.head()
            if response.status_code == 416:
                _at_the_end(part, response)
            else:
                _receive(part, answer, _begin(file, part, response), listener)
    except TooSlowError as error:
        raise _TryAgainError(str(error)) from None
    except (requests.TooManyRedirects, ValueError) as error:
        # ValueError: requests' InvalidURL, InvalidSchema and their like.
        raise DownloadError(f"{shown(file.url)}: {_reason(error, patience)}") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        reason = _reason(error, patience)
        if "certificate verify failed" in reason.lower():
            raise DownloadError(f"{shown(file.url)}: {reason}") from None
        raise _TryAgainError(reason) from None


def _begin(file: RemoteFile, part: _Part, response: requests.Response) -> int | None:
    """Looks at the head of the answer and makes the part fit to it; returns how many bytes the whole file has."""
    if response.status_code not in (200, 206):
        reason = without_secrets(f"the server answers {response.status_code} {response.reason}")
        if response.status_code in _PASSING_STATUS:
            raise _TryAgainError(reason, _seconds(response.headers.get("Retry-After")))
        raise DownloadError(f"{shown(file.url)}: {reason}")
    if not file.has_checksum and file.url.startswith("https:") and not response.url.startswith("https:"):
        leads = f"{shown(file.url)} leads to {shown(response.url)}"
        raise DownloadError(f"{leads}, without encryption: refused, as no checksum is known")
    if response.status_code == 206:
        if _is_other_version(part.version, response):
            part.clear()
            raise _TryAgainError("the file has changed on the server; starting again")
        start, total = _content_range(response)
        if start != part.size or total not in (None, part.note.get("num_bytes") or total):
            part.clear()
            raise _TryAgainError("the server sent another piece than asked for")
    else:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
    if file.num_bytes is not None and total is not None and total != file.num_bytes:
        # Before the part is touched: this may be a log-in page of the network.
        raise _TryAgainError(f"the server sends {total:,} bytes instead of {file.num_bytes:,}{_according_to(file)}")
    if response.status_code == 200 and part.size:  # it cannot resume, or the file has changed
        part.clear()
    if (total or 0) > _MAX_UNKNOWN_BYTES:
        raise DownloadError(f"{shown(file.url)}: {total:,} bytes, but only {_MAX_UNKNOWN_BYTES:,} are allowed")
    if part.size == 0:
        part.describe(url=shown(file.url), num_bytes=total, version=_version(response), md5=_md5(response))
    return file.num_bytes if total is None else total


def _at_the_end(part: _Part, response: requests.Response) -> None:
    """The server has no more bytes: this was the end, or else the part is none of this file and goes."""
    total = _content_range(response)[1]
    if total is None or total != part.size:
        part.clear()
        raise _TryAgainError("the server cannot continue what is here; starting again")


def _receive(part: _Part, answer: Answer, expected: int | None, listener: Callbacks) -> None:
    size = part.size
    limit = _MAX_UNKNOWN_BYTES if expected is None else expected
    listener.progress(size, expected)
    with part.open() as file:
        for piece in answer.pieces():
            if size + len(piece) > limit:
                raise _WrongContentError(f"has more than {limit:,} bytes")
            view = memoryview(piece)
            while view:  # a full disk may take a part of it first
                view = view[file.write(view) :]
            size += len(piece)
            listener.progress(size, expected)
    if expected is not None and size < expected:
        raise _TryAgainError(f"the transfer ended after {size:,} of {expected:,} bytes")


def _checked(file: RemoteFile, part: _Part) -> RemoteFile:
    """`file` with its size and checksum. Raises _WrongContentError when they are not those that are known of it."""
    size, sha256 = part.size, sha256_of(part.path)
    if file.num_bytes not in (None, size):
        raise _WrongContentError(f"has {size:,} bytes instead of {file.num_bytes:,}{_according_to(file)}")
    if file.sha256 not in (None, sha256):
        raise _WrongContentError(f"has the SHA-256 {sha256} instead of {file.sha256}{_according_to(file)}")
    if file.git_sha1 is not None and file.git_sha1 != git_sha1_of(part.path):
        raise _WrongContentError(f"does not have git's number {file.git_sha1}{_according_to(file)}")
    md5 = None if file.has_checksum else part.note.get("md5")
    if md5 and md5_of(part.path) != md5:
        raise _WrongContentError("does not have the MD5 sum that the server announced")
    return dataclasses.replace(file, num_bytes=size, sha256=sha256)


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """(first byte, bytes of the whole file) of `bytes 0-9/100`, `bytes */100`; None for what is not said."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not found:
        return None, None
    start, total = found.groups()
    return int(start) if start else None, None if total == "*" else int(total)


def _version(response: requests.Response) -> str | None:
    """What identifies this version of the file exactly, for If-Range."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag


def _is_other_version(version: str | None, response: requests.Response) -> bool:
    """Whether the server names another version than `version`; an entity tag and a date tell nothing of each other."""
    found = _version(response)
    is_comparable = version is not None and found is not None and version.startswith('"') == found.startswith('"')
    return is_comparable and version != found


def _md5(response: requests.Response) -> str | None:
    """The MD5 sum of the whole file as Google's storage announces it: `x-goog-hash: crc32c=...,md5=<base64>`."""
    found = re.search(r"\bmd5=([A-Za-z0-9+/]{22}==)", response.headers.get("x-goog-hash", ""))
    return base64.b64decode(found[1]).hex() if found and response.status_code == 200 else None


def _seconds(retry_after: str | None) -> float:
    """`Retry-After` where it is a number of seconds; as a date it is as good as none."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


def _according_to(file: RemoteFile) -> str:
    return f" ({file.origin})" if file.origin else ""


def _reason(error: Exception, patience: RetryPolicy) -> str:
    """What went wrong, without the names of objects that requests and urllib3 put around it."""
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {patience.connect:g} s"
    chain: list[BaseException] = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__ or getattr(chain[-1], "reason", None):
        if not isinstance(inner, BaseException):
            break
        chain.append(inner)
    if any(isinstance(link, TimeoutError | urllib3.exceptions.ReadTimeoutError) for link in chain):
        return f"nothing arrived for {patience.silence:g} s"
    if any(isinstance(link, http.client.IncompleteRead) for link in chain):
        return "the connection was cut"
    innermost = chain[-1]
    text = innermost.strerror if isinstance(innermost, OSError) and innermost.strerror else str(innermost)
    return without_secrets(text or type(innermost).__name__)
