"""Flags in files: in their place, nested, commented, and what is none in one line. No TensorFlow."""

import os

import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.cli.flag_files import with_flags_of_files
from albert.errors import UserError


def test_flags_of_a_file_stand_in_its_place(tmp_path):
    (tmp_path / "inner").write_bytes(b"\xef\xbb\xbf--c=3\r\n\r\n  --d=a b  \r\n")
    (tmp_path / "outer").write_text(f"# a comment\n// another\n--b=2\n--flagfile={tmp_path / 'inner'}\n--e=\u00e4\n")
    expected = ["--a=1", "--b=2", "--c=3", "--d=a b", "--e=\u00e4", "--f=6"]
    for given in ([f"--flagfile={tmp_path / 'outer'}"], ["-flagfile", str(tmp_path / "outer")]):
        assert list(with_flags_of_files(["--a=1", *given, "--f=6"])) == expected


def test_behind_two_dashes_and_in_other_flags_it_is_none():
    arguments = ["--x=--flagfile=/nowhere", "--flagfiles=1", "flagfile=1", "--", "--flagfile=/nowhere"]
    assert list(with_flags_of_files(arguments)) == arguments


def test_a_file_twice_is_not_a_cycle(tmp_path):
    (tmp_path / "file").write_text("--a=1")
    assert list(with_flags_of_files([f"--flagfile={tmp_path / 'file'}"] * 2)) == ["--a=1", "--a=1"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pipe", "cannot be read: it is not a regular file but a pipe"),
        ("device", "cannot be read: it is not a regular file but a device"),
        ("folder", "cannot be read: it is not a regular file but a folder"),
        ("missing", "cannot be read: No such file or directory"),
        ("UTF-16", "is UTF-16 text; convert it with: iconv"),
        ("gzip", "is compressed with gzip"),
        ("Latin-1", "is not UTF-8"),
        ("circle", "contains itself"),
        ("empty", "--flagfile names no file"),
        ("last", "--flagfile names no file"),
    ],
)
def test_what_is_not_a_flag_file_is_one_line(tmp_path, kind, message):
    path = tmp_path / "flags"
    given = {"empty": "--flagfile=", "last": "--flagfile"}.get(kind, f"--flagfile={path}")
    make = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "UTF-16": lambda: path.write_text("--train_step=1\n", encoding="utf-16"),
        "gzip": lambda: path.write_bytes(b"\x1f\x8b\x08\x00"),
        "Latin-1": lambda: path.write_bytes(b"--data_dir=\xe4\n"),
        "circle": lambda: path.write_text(f"--flagfile={path}"),
    }
    make.get(kind, lambda: None)()
    with pytest.raises(UserError, match=message) as raised:
        parse_classifier_flags(["program", "--train_step=1", given])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("line", "flag"), [("--do_train false", "--do_train=false"), ("-lr\t1e-5 ", "-lr=1e-5")])
def test_a_value_that_a_blank_parts_from_its_flag_is_named_with_its_line(tmp_path, line, flag):
    (tmp_path / "flags").write_text(f"# why\n--train_step=1\n{line}\n")
    message = f"--flagfile={tmp_path / 'flags'}, line 3: write {flag}, one flag a line"
    with pytest.raises(UserError) as raised:
        list(with_flags_of_files([f"--flagfile={tmp_path / 'flags'}"]))
    assert str(raised.value) == message


def test_a_long_value_is_cut_in_the_message(tmp_path):
    (tmp_path / "flags").write_text(f"--data_dir {'9' * 5000}")
    with pytest.raises(UserError, match=r"write --data_dir=9+\.\.\.9+, one flag a line") as raised:
        list(with_flags_of_files([f"--flagfile={tmp_path / 'flags'}"]))
    assert len(str(raised.value)) < 400


def test_texts_and_values_with_blanks_stay_as_they_are(tmp_path):
    lines = ["--text=two words", "two words", "- a list", "--x= --y", "--flag --other"]
    (tmp_path / "flags").write_text("\n".join(lines))
    assert list(with_flags_of_files([f"--flagfile={tmp_path / 'flags'}"])) == lines


def test_a_delimiter_may_be_a_blank_and_only_ends_of_lines_end_a_flag(tmp_path):
    lines = ["  --label_delimiter= \r", "-label_delimiter=\t", "--label_delimiter=; ", "--data_dir=a\u2028b "]
    (tmp_path / "flags").write_text("\n".join(lines))
    expected = ["--label_delimiter= ", "-label_delimiter=\t", "--label_delimiter=;", "--data_dir=a\u2028b"]
    assert list(with_flags_of_files([f"--flagfile={tmp_path / 'flags'}"])) == expected
