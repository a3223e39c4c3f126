"""What tells one content of a file from another."""

import hashlib
from pathlib import Path

from albert.system.text_encoding import open_regular


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits, as all here."""
    return _digest(path, "sha256")


def md5_of(path: Path) -> str:
    """Its MD5 sum."""
    return _digest(path, "md5")


def git_sha1_of(path: Path) -> str:
    """The number that git gives a file's content: a SHA-1 of a header and of it."""
    with open_regular(path) as file:
        data = file.read()  # git itself holds only small files
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _digest(path: Path, algorithm: str) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
