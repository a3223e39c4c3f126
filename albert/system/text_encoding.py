"""What the first bytes of a file tell of it, and the reading of text that has to be UTF-8.

Every reader of other people's text asks here, so that the advice in an error fits what the file is. An encoding other
than UTF-8 is named where its bytes give it away and never guessed: text in a wrong encoding is text that nobody wrote.
"""

import codecs
import contextlib
import errno
import io
import os
import re
import shlex
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from albert.errors import UserError

# How much of a file `what_is` reads.
START_BYTES = 4096

# First bytes -> what the file is, and what to do. Longer marks come before those that they begin with.
_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe\0\0", "UTF-32 text; convert it with: iconv -f utf-32 -t utf-8"),
    (b"\0\0\xfe\xff", "UTF-32 text; convert it with: iconv -f utf-32 -t utf-8"),
    (codecs.BOM_UTF16_LE, "UTF-16 text; convert it with: iconv -f utf-16 -t utf-8"),
    (codecs.BOM_UTF16_BE, "UTF-16 text; convert it with: iconv -f utf-16 -t utf-8"),
    (b"\x84\x31\x95\x33", "GB18030 text; convert it with: iconv -f gb18030 -t utf-8"),
    ("\ufeff".encode().decode("cp1252").encode(), "UTF-8 that was encoded as UTF-8 twice; write it again, once"),
    (b"PK\x03\x04", "a zip archive (as .xlsx and .docx are too); unpack it with: unzip, or save its table as text"),
    (b"PK\x05\x06", "an empty zip archive"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "a file of an old Office program (as .xls and .doc are); open it there and save a table as CSV, other text as "
        "plain text",
    ),
    (b"%PDF-", "a PDF; a text file is needed"),
    (b"{\\rtf", "rich text (RTF); save it as plain text"),
    (b"PAR1\x15", "a Parquet table; write it as text"),
    (b"ARROW1\0\0", "an Arrow table; write it as text"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; a text file is needed"),
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG); a text file is needed"),
    (b"SQLite format 3\0", "an SQLite database; write it as text"),
)
# What stands in place of a file of any kind. Weights may begin with any two bytes, so no mark is that short.
_SUBSTITUTES: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS, not the file; fetch that with: git lfs pull"),
    (b"\x1f\x8b\x08", "compressed with gzip; unpack it with: gunzip"),
    (b"\x1f\x9d\x90", "compressed with compress; unpack it with: uncompress"),
    (b"\xfd7zXZ\0", "compressed with xz; unpack it with: unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it with: unzstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4; unpack it with: unlz4"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it with: 7z x"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it with: unrar x"),
)
_SUBSTITUTE_PATTERNS = (
    (re.compile(rb"BZh[1-9]1AY&SY"), "compressed with bzip2; unpack it with: bunzip2"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive; unpack it with: tar xf"),
    (
        re.compile(rb"\s*<(?:!doctype html|html)[\s>]", re.IGNORECASE),
        "an HTML page, as a server sends in place of a file; fetch the file itself",
    ),
)
# Names of parts of the zip archives that office programs write, and how such a file begins.
_SPREADSHEET = "a spreadsheet (as .xlsx and .ods are); open it in a spreadsheet program and save it as CSV in UTF-8"
_OFFICE = (
    (
        re.compile(rb"PK\x03\x04.*(?:xl/|mimetypeapplication/vnd\.oasis\.opendocument\.spreadsheet)", re.DOTALL),
        _SPREADSHEET,
    ),
    (
        re.compile(rb"PK\x03\x04.*(?:word/|ppt/|mimetypeapplication/vnd\.oasis\.opendocument)", re.DOTALL),
        "a document of an office program (as .docx and .odt are); open it there and save it as plain text",
    ),
)
_ENCODED_HALF_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")

# What `half_surrogate` finds, to follow "has".
HALF_SURROGATE = "half of a surrogate pair, which is not a character"
# What to do with text in an encoding that its bytes do not tell.
CONVERT = "put its encoding, which must be known, in place of ENCODING, and convert it with: iconv -f ENCODING -t utf-8"
_ICONV = re.compile(r"iconv -f \S+ -t utf-8(?! \S)")
# Windows' encoding of western European letters has single ones of them among ASCII's; other writing has many together.
_WORD = re.compile(rb"[A-Za-z'\x80-\xff]+")
_FOREIGN_RUN = re.compile(rb"[\x80-\xff]{3}")
_WESTERN_MARKS = frozenset("\u2018\u2019\u201c\u201d\u2013\u2014\u2026\u20ac\xab\xbb\xa0")
_REACH = 40  # bytes of a word before and behind


def what_is(start: bytes) -> str | None:
    """What the file that begins with `start` is, with what to do, as "UTF-16 text; convert it with: ..."

    To be put after "is". None for what may be UTF-8 text.
    """
    start = start[:START_BYTES]
    of_office = (description for pattern, description in _OFFICE if pattern.match(start))
    by_mark = (description for mark, description in _MARKS if start.startswith(mark))
    return next(of_office, None) or next(by_mark, None) or substitute(start) or _wide_text(without_marks(start))


def with_file(advice: object, path: Path) -> str:
    """`advice` with the whole command, to be copied, where it says how the text of the file at `path` is converted."""
    converted = path.with_name(f"{path.stem}.utf8{path.suffix}")
    names = [f"./{name}" if str(name).startswith("-") else str(name) for name in (path, converted)]
    command = " > ".join(map(shlex.quote, names))
    return _ICONV.sub(lambda found: f"{found[0]} {command}; then name that file", str(advice))


def substitute(start: bytes) -> str | None:
    """What stands in place of a file of any kind, as `what_is` says it: a pointer, a server's page, an archive."""
    start = start[:START_BYTES]
    by_mark = (description for mark, description in _SUBSTITUTES if start.startswith(mark))
    start = without_marks(start)
    by_pattern = (description for pattern, description in _SUBSTITUTE_PATTERNS if pattern.match(start))
    return next(by_mark, None) or next(by_pattern, None)


def _wide_text(start: bytes) -> str | None:
    """UTF-32 or UTF-16 without a mark. Their zero bytes give them away: text in any other encoding has none."""
    if b"\0" not in start or (start.count(0) < len(start) // 8 and _is_plain(start.replace(b"\0", b""))):
        return None  # the latter is text in which something wrote zeros
    for encoding, other in (("utf-32le", ""), ("utf-32be", ""), ("utf-16le", "utf-16be"), ("utf-16be", "utf-16le")):
        text = _decoded_start(start, encoding)
        if _ascii_counts(text) > _ascii_counts(_decoded_start(start, other) if other else "") and _is_written(text):
            return f"{encoding[:-2].upper()} text; convert it with: iconv -f {encoding} -t utf-8"
    return None


def _decoded_start(data: bytes, encoding: str) -> str:
    """As much as is whole, "" where it is not in that encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return ""


def _ascii_counts(text: str) -> tuple[int, int]:
    """White space, and everything else: read in the wrong order, bytes of other writing look like ASCII letters."""
    return sum(map(text.count, "\t\n\r ")), sum(map(str.isascii, text))


def _is_written(text: str) -> bool:
    categories = [unicodedata.category(character) for character in text if character not in "\t\n\r"]
    return sum(map(categories.count, ("Cc", "Cn", "Co"))) <= len(text) // 50


def _is_plain(data: bytes) -> bool:
    return bool(_decoded_start(data, "utf-8")) and not _CONTROLS.search(data)


def without_marks(data: bytes) -> bytes:
    """`data` without the UTF-8 byte order marks it begins with: some programs put a second one before the first."""
    while data.startswith(codecs.BOM_UTF8):
        data = data.removeprefix(codecs.BOM_UTF8)
    return data


def decoded(data: bytes) -> str:
    """`data`, all of a file or one of its lines, as text. Raises ValueError saying why it is none, to follow "is"."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(data, error)) from None
    if "\0" in text:
        raise ValueError(f"not text: byte {data.index(0) + 1} is 0, as in binary or damaged files; write it again")
    return text


def _not_utf8(data: bytes, error: UnicodeDecodeError) -> str:
    what = f"not UTF-8 ({error.reason} at byte {error.start + 1})"
    if _ENCODED_HALF_SURROGATE.match(data, error.start):
        return f"{what} but CESU-8 or text with halves of surrogate pairs; write it again as UTF-8"
    if data.startswith(b"\xc0\x80", error.start):
        return f"{what} but Java's variant of it; write it again as UTF-8"
    if error.reason == "unexpected end of data" and error.start:
        return f"{what}: it ends within a character; fetch or write it again"
    return f"{what}; {how_to_convert(data, error.start)}"


def how_to_convert(data: bytes, place: int) -> str:
    """What to do about the byte at `place`, which is not UTF-8: what it would be in Windows, where that is a word."""
    words = (found[0] for found in _WORD.finditer(data, max(0, place - _REACH), place + _REACH) if found.end() > place)
    word = next(words, b"")
    try:
        read = word.decode("cp1252")
    except UnicodeDecodeError:
        return CONVERT
    others = [character for character in read if not character.isascii()]
    if _FOREIGN_RUN.search(word) or word.isascii() or not re.search(rb"[A-Za-z]", word):
        return CONVERT
    if not all(character.isalpha() or character in _WESTERN_MARKS for character in others):
        return CONVERT
    return (
        f'read as windows-1252, which Excel writes in western Europe, it holds "{read}". If that is right (otherwise '
        "put its encoding in place of windows-1252), convert it with: iconv -f windows-1252 -t utf-8"
    )


def half_surrogate(text: str) -> int | None:
    """Where `text` first has half of a surrogate pair; None where it has none, and every character can be written.

    JSON can spell one, and Python shows bytes that are not UTF-8 as such.
    """
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def whole_text(data: bytes) -> str:
    """The text of a whole file. Raises ValueError saying what the file is instead, to follow "is"."""
    if description := what_is(data[:START_BYTES]):
        raise ValueError(description)
    return decoded(without_marks(data))


# --- Opening ----------------------------------------------------------------------------------------------------------


def open_regular(path: Path, buffering: int = -1) -> io.BufferedReader | io.FileIO:
    """Opens a regular file to read its bytes.

    `buffering` is that of `open`. Raises OSError for what is none, before a byte is read: a pipe may wait for ever, and
    /dev/zero never ends.
    """
    _check_regular(path, path.stat().st_mode)
    # A file can be exchanged for a pipe in between, which must not block. Regular files ignore O_NONBLOCK.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    file = cast(io.BufferedReader | io.FileIO, os.fdopen(descriptor, "rb", buffering))
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: Path) -> bytes:
    """All bytes of a regular file. Raises OSError as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def read_whole_text(path: Path, named: str) -> str:
    """The text of a whole file. Raises UserError, which begins with `named`, where it cannot be read or is no text."""
    try:
        return whole_text(read_regular(path))
    except OSError as error:
        raise UserError(f"{named} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{named} is {with_file(error, path)}.") from None


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """A regular file of UTF-8 text, at the first byte behind its byte order marks.

    Raises UserError, naming the file, where its first bytes say that it is no such text; OSError as `open_regular`.
    """
    with open_regular(path) as file:
        start = file.read(START_BYTES)
        if description := what_is(start):
            raise UserError(f"{path} is {with_file(description, path)}.")
        file.seek(len(start) - len(without_marks(start)))
        yield file


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise OSError(errno.EINVAL, f"it is not a regular file but {kind}", str(path))
