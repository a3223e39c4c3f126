"""Files that appear whole or not at all."""

import pytest

from albert.files import append_text, write_bytes, write_text
from albert.settings import UserError
from albert.testing import full_disk


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


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*/file/below: "):
        write_text(tmp_path / "file" / "below", "")
    with pytest.raises(UserError, match=r"cannot write .*/file/deep/below: Not a directory"):
        write_text(tmp_path / "file" / "deep" / "below", "")
    with pytest.raises(UserError, match="File name too long"):
        write_text(tmp_path / ("n" * 250), "")
