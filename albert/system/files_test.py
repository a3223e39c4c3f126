"""Files that appear whole or not at all."""

from pathlib import Path

import pytest

from albert.errors import UserError
from albert.system.files import append_text, delete_leftovers, write_bytes, write_text
from albert.testing import full_disk, tiny_disk, unwritable


def test_text_is_written_in_utf_8_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_text(path, "old and longer\n")
    write_text(path, "Fuß\r\n")
    assert path.read_bytes() == b"Fu\xc3\x9f\r\n"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_a_full_disk_leaves_the_old_contents_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with full_disk(1000), pytest.raises(UserError, match=r"cannot write .*/file: File too large\. Free space"):
        write_bytes(path, b"x" * 2000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_that_cannot_grow_is_named(tmp_path):
    append_text(tmp_path / "log", "first\n")
    with full_disk(1000), pytest.raises(UserError, match=r"cannot write .*/log: File too large"):
        append_text(tmp_path / "log", "x" * 2000)
    assert (tmp_path / "log").read_text().startswith("first\n")


def test_a_disk_that_is_really_full_leaves_the_old_contents_and_nothing_else(tmp_path):
    with tiny_disk(tmp_path / "disk", "64k") as disk:
        write_bytes(disk / "file", b"old")
        for content in (b"x" * 100_000, b"x" * 64_000):
            with pytest.raises(UserError, match=r"cannot write .*/file: No space left on device\. Free space"):
                write_bytes(disk / "file", content)
            assert [(path.name, path.read_bytes()) for path in disk.iterdir()] == [("file", b"old")]
        with pytest.raises(UserError, match=r"cannot write .*/log: No space left on device"):
            append_text(disk / "log", "x" * 100_000)
    with pytest.raises(UserError, match="cannot write /dev/full: No space left on device"):
        append_text(Path("/dev/full"), "x")


def test_a_folder_that_cannot_be_written_is_named_and_stays_as_it_is(tmp_path):
    write_text(tmp_path / "file", "old")
    with unwritable(tmp_path):
        for name in ("file", "new", "new/below"):
            with pytest.raises(UserError, match=rf"cannot write .*/{name}: Operation not permitted"):
                write_text(tmp_path / name, "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*/file/below: "):
        write_text(tmp_path / "file" / "below", "")
    with pytest.raises(UserError, match=r"cannot write .*/file/deep/below: Not a directory"):
        write_text(tmp_path / "file" / "deep" / "below", "")
    with pytest.raises(UserError, match="File name too long"):
        write_text(tmp_path / ("n" * 250), "")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path, monkeypatch):
    with monkeypatch.context() as killed:
        # A killed process neither renames nor removes.
        killed.setattr("pathlib.Path.replace", lambda *_: None)
        killed.setattr("pathlib.Path.unlink", lambda *_: None)
        write_text(tmp_path / "results.txt", "half")
    kept = ("results.txt", "results.tmp-old", "model.ckpt-4.tmp-0123abcd.index")
    for name in kept:
        (tmp_path / name).touch()
    assert len(list(tmp_path.iterdir())) == 4
    delete_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
