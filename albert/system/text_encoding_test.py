import bz2
import codecs
import gzip
import io
import lzma
import os
import random
import re
import socket
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from albert.albert_config import AlbertConfig
from albert.cli.flag_files import with_flags_of_files
from albert.errors import UserError
from albert.pretraining_data.text_files import read_lines
from albert.system.text_encoding import (
    decoded,
    half_surrogate,
    open_regular,
    open_text,
    read_regular,
    read_whole_text,
    what_is,
    whole_text,
    with_file,
)
from albert.tasks.own.files import read_columns
from albert.tasks.own.files import read_lines as read_table_lines
from albert.tasks.race import RaceTask
from albert.tasks.registry import get_task
from albert.tasks.rows import Layout, RowTally, read_rows
from albert.tasks.squad.task import SquadTask
from albert.tokenization import load_tokenizer

TEXTS = {
    "English": "sentence\tlabel\r\nfine film\t1\r\n",
    "Russian": "где моя синица\t1\nхорошо\t0\n",
    # U+4E00 has a zero byte, too, and there is white space only at the ends of lines.
    "Chinese": "一个句子没有空格\n我们一一说\n",
    "Korean": "안녕하세요 세계\n",
    "French": "été à l'école\n",
    "Hebrew": "שלום עולם\n",
    "emoji": "a\U0001f600b\n",
    "JSON": '{"a":1}',
    "a letter": "a",
}
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("name", TEXTS)
def test_wide_text_is_named_and_the_advice_is_right(name, encoding):
    # Long enough to be cut within a character.
    for text in (TEXTS[name], TEXTS[name] * 3001):
        data = text.encode(encoding)
        description = what_is(data)
        assert description.startswith(f"{encoding[:6].upper()} text; convert it with: iconv -f ")
        named = description.split(" -f ")[1].split(" ")[0]
        assert data.decode(named) == text


@pytest.mark.parametrize("name", TEXTS)
def test_utf8_is_read_with_any_number_of_byte_order_marks(name):
    for marks in range(4):
        data = codecs.BOM_UTF8 * marks + TEXTS[name].encode()
        assert what_is(data) is None
        assert whole_text(data) == TEXTS[name]


def _zip() -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as file:
        file.writestr("train.tsv", "x")
    return buffer.getvalue()


def _office(*parts: str, mimetype: str = "") -> bytes:
    """As office programs write their files; what they hold is compressed."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as file:
        if mimetype:
            file.writestr(zipfile.ZipInfo("mimetype"), f"application/vnd.oasis.opendocument.{mimetype}")
        for part in parts:
            file.writestr(part, f"<{part}/>" * 99)
    return buffer.getvalue()


def _tar() -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as file:
        file.addfile(tarfile.TarInfo("train.tsv"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "description"),
    [
        (gzip.compress(b"text", mtime=0), "compressed with gzip; unpack it with: gunzip"),
        (bz2.compress(b"text"), "compressed with bzip2; unpack it with: bunzip2"),
        (lzma.compress(b"text"), "compressed with xz; unpack it with: unxz"),
        (b"\x28\xb5\x2f\xfd\0", "compressed with zstd; unpack it with: unzstd"),
        (_zip(), "a zip archive"),
        (
            _office("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"),
            "a spreadsheet (as .xlsx and .ods are); open",
        ),
        (_office("docProps/app.xml", "xl/worksheets/sheet1.xml"), "a spreadsheet"),
        (_office("content.xml", mimetype="spreadsheet"), "a spreadsheet"),
        (_office("[Content_Types].xml", "word/document.xml"), "a document of an office program"),
        (_office("content.xml", mimetype="text"), "a document of an office program"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "a file of an old Office program (as .xls"),
        (_tar(), "a tar archive; unpack it with: tar xf"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"PAR1\x15\x04", "a Parquet table"),
        (b"\n<!DOCTYPE HTML>\n<html>", "an HTML page, as a server sends in place of a file"),
        (b"\xef\xbb\xbf<html lang='en'>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS, not the file"),
        (b"\xc3\xaf\xc2\xbb\xc2\xbfsentence", "UTF-8 that was encoded as UTF-8 twice"),
        ("\ufeff你好".encode("gb18030"), "GB18030 text; convert it with: iconv -f gb18030 -t utf-8"),
    ],
)
def test_what_is_not_text_is_named_with_what_to_do(data, description):
    assert what_is(data).startswith(description)
    with pytest.raises(ValueError, match=description[:12]):
        whole_text(data)


@pytest.mark.parametrize(
    "text", ["PK is a pair of letters\n", "BZhou wrote it\n", "html\n", "<doc id=1>\n", "7z is a program", "ustar" * 60]
)
def test_text_that_looks_like_something_else_is_text(text):
    assert whole_text(text.encode()) == text


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"caf\xe9 noir", r'not UTF-8 \(invalid continuation byte at byte 4\); read as windows-1252.* holds "café"\.'),
        ("“quoted” words".encode("cp1252"), 'holds "“quoted”".*iconv -f windows-1252 -t utf-8'),
        ("łódź".encode("cp1250"), "in place of ENCODING"),
        ("ą".encode("cp1250"), "in place of ENCODING"),
        ("你好".encode("gb18030"), "put its encoding, which must be known, in place of.* iconv -f ENCODING -t utf-8"),
        ("привет".encode("cp1251"), "put its encoding, which must be known"),
        ("é".encode("shift_jis", "ignore") + b"\x82\xa0", "put its encoding, which must be known"),
        (b"ab\xed\xa0\x80", "at byte 3.* but CESU-8 or text with halves of surrogate pairs"),
        (b"ab\xc0\x80", "at byte 3.* but Java's variant of it"),
        ("caf\xe9".encode()[:-1], "at byte 4.*it ends within a character; fetch or write it again"),
        (b"text with a \0 byte " * 200, "not text: byte 13 is 0, as in binary or damaged files"),
        (b"text\n" * 9 + bytes(300) + b"text\n" * 99, "not text: byte 46 is 0"),
    ],
)  # fmt: skip
def test_other_bytes_are_not_utf8_and_no_encoding_is_assumed(data, fault):
    assert what_is(data) is None
    with pytest.raises(ValueError, match=fault):
        whole_text(data)
    with pytest.raises(ValueError, match=fault):
        decoded(data)


def test_noise_and_models_are_not_taken_for_wide_text(testdata):
    for seed in range(300):
        assert "UTF" not in (what_is(random.Random(seed).randbytes(2000)) or "")
    for path in (*testdata.glob("*.npz"), *testdata.glob("*.model"), *testdata.glob("*.tf_record")):
        assert "UTF" not in (what_is(path.read_bytes()) or "")


# --- Every reader asks here -------------------------------------------------------------------------------------------


def _glue(path):
    (path.parent / "SST-2").mkdir(exist_ok=True)
    target = path.parent / "SST-2/dev.tsv"
    path.rename(target)
    list(get_task("sst-2").read("dev", path.parent))


def _race(path):
    (path.parent / "RACE/dev/high").mkdir(parents=True, exist_ok=True)
    path.rename(path.parent / "RACE/dev/high/1.txt")
    list(RaceTask(high_only=True).read("dev", path.parent))


def _race_merged(path):
    (path.parent / "RACE/dev/high").mkdir(parents=True, exist_ok=True)
    path.rename(path.parent / "RACE/dev/high/all.txt")
    list(RaceTask(high_only=True).read("dev", path.parent))


READERS = {
    "GLUE": _glue,
    "RACE": _race,
    "RACE, merged": _race_merged,
    "SQuAD": lambda path: list(SquadTask(version="1.1", train_file=str(path)).read("train", path.parent)),
    "config": AlbertConfig.from_json_file,
    "word pieces": lambda path: load_tokenizer(None, path, True),
    "sentence pieces": lambda path: load_tokenizer(path, None, True),
    "pretraining text": lambda path: list(read_lines(path)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (TEXTS["English"].encode("utf-16"), "UTF-16 text; convert it with: iconv -f utf-16 -t utf-8"),
        (TEXTS["Russian"].encode("utf-16-be"), "UTF-16 text; convert it with: iconv -f utf-16be -t utf-8"),
        (gzip.compress(b"text", mtime=0), "compressed with gzip; unpack it with: gunzip"),
        (_zip(), "a zip archive"),
        (b"<html><body>404", "an HTML page"),
    ],
)
def test_every_reader_says_what_a_file_is(reader, data, message, tmp_path):
    (tmp_path / "named").write_bytes(data)
    with pytest.raises(UserError, match=message) as raised:
        READERS[reader](tmp_path / "named")
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


CONVERTED = {
    "table": ("a.csv", lambda path: list(read_columns(path, ("text",), RowTally(path)))),
    "lines": ("a.txt", lambda path: list(read_table_lines(path, RowTally(path)))),
    "GLUE": ("train.tsv", lambda path: list(read_rows(path, Layout(("text",), (0,)), RowTally(path)))),
    "pretraining text": ("a.txt", lambda path: list(read_lines(path))),
    "questions": ("a.json", READERS["SQuAD"]),
    "flags": ("a flags.txt", lambda path: list(with_flags_of_files([f"--flagfile={path}"]))),
}


@pytest.mark.parametrize("reader", CONVERTED)
@pytest.mark.parametrize(("encoding", "text"), [("utf-16", "text\nå\n"), ("cp1252", "text\nun café noir\n")])
def test_the_command_that_converts_a_file_can_be_pasted(reader, encoding, text, tmp_path):
    name, read = CONVERTED[reader]
    folder = tmp_path / "it's here"
    folder.mkdir()
    path = folder / name
    path.write_bytes(text.encode(encoding))
    with pytest.raises(UserError) as refused:
        read(path)
    command = re.search(r"convert it with: (iconv .*?); then name that file", str(refused.value))[1]
    subprocess.run(["bash", "-c", command], check=True, timeout=20)
    assert path.with_name(f"{path.stem}.utf8{path.suffix}").read_text() == text


def test_a_file_whose_name_begins_with_a_hyphen_is_no_option():
    command = with_file("convert it with: iconv -f utf-16 -t utf-8", Path("-a b.csv"))
    assert command == "convert it with: iconv -f utf-16 -t utf-8 './-a b.csv' > './-a b.utf8.csv'; then name that file"
    assert with_file(command, Path("-a b.csv")) == command


@pytest.mark.parametrize(
    ("text", "place"), [("", None), ("caf\u00e9 \U0001f600", None), ("a\ud800", 1), ("\u00e9\udfff\ud800", 1)]
)
def test_half_of_a_surrogate_pair_is_found_where_it_is(text, place):
    assert half_surrogate(text) == place


def test_a_whole_text_that_is_none_is_named_as_the_caller_names_it(tmp_path):
    (tmp_path / "a").write_bytes(b"%PDF-1.4")
    with pytest.raises(UserError, match=r"^`it`=x is a PDF; a text file is needed\.$"):
        read_whole_text(tmp_path / "a", "`it`=x")
    with pytest.raises(UserError, match=r"^`it`=x cannot be read: No such file or directory\.$"):
        read_whole_text(tmp_path / "none", "`it`=x")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device"])
def test_every_reader_refuses_what_is_not_a_regular_file_without_waiting(reader, kind, tmp_path, monkeypatch):
    path = tmp_path / "named"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # the path of a socket is limited to 108 bytes
        socket.socket(socket.AF_UNIX).bind("named")
    else:
        path.symlink_to("/dev/zero")
    expected = {"pipe": "a pipe", "folder": "a folder", "socket": "a socket", "device": "a device"}[kind]
    with pytest.raises(UserError, match=f"cannot be read.* not a regular file but {expected}"):
        READERS[reader](path)


def test_a_regular_file_is_read_through_links(tmp_path):
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbftext")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link") == b"\xef\xbb\xbftext"
    with open_text(tmp_path / "link") as file:
        assert file.read() == b"text"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
