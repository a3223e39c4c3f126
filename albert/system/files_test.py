"""Files that appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.system.files import (
    Pieces,
    append_text,
    as_os_error,
    cannot_write,
    delete_leftovers,
    finish_texts,
    whole_file,
    write_bytes,
    write_text,
    write_texts,
)
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
        write_text(tmp_path / ("n" * 256), "")


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


@pytest.mark.parametrize("name", ["n" * 255, "a" + "\u00e4" * 127, "n" * 223])
def test_a_name_that_leaves_no_room_behind_it_can_be_written_and_cleaned_up_after(tmp_path, monkeypatch, name):
    write_text(tmp_path / name, "old")
    with monkeypatch.context() as killed:
        killed.setattr("pathlib.Path.replace", lambda *_: None)
        killed.setattr("pathlib.Path.unlink", lambda *_: None)
        write_text(tmp_path / name, "half")
        write_text(tmp_path / f"{name[:-1]}b", "another's")
    assert len(list(tmp_path.iterdir())) == 3
    delete_leftovers(tmp_path, name)
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / name).read_text() == "old"


def test_what_the_block_raises_is_not_taken_for_an_error_of_the_disk(tmp_path):
    error = OSError(errno.EIO, "of what the block reads")

    def write_and_fail():
        with whole_file(tmp_path / "file") as file:
            file.write(b"some")
            raise error

    with pytest.raises(OSError, match="of what") as raised:
        write_and_fail()
    assert raised.value is error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_others_can_read_what_the_umask_lets_them(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_a_link_in_place_of_the_file_is_replaced_not_followed(tmp_path):
    (tmp_path / "precious").write_text("old")
    (tmp_path / "file").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "file", "new")
    assert (tmp_path / "precious").read_text() == "old"
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EDQUOT, "Free space or choose"),
        (errno.EACCES, "Give yourself the right"),
        (errno.EROFS, "Only reading is possible there: choose"),
        (errno.EISDIR, "Move what is in the way"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_advice_fits_the_error(number, advice):
    assert f": {os.strerror(number)}. {advice}" in str(cannot_write(Path("f"), OSError(number, os.strerror(number))))


@pytest.mark.parametrize(
    "message",
    [
        "/out/model.ckpt-4.data; No space left on device [Op:SaveV2]",
        "Failed to flush 1 events to /out/events.1; No space left on device\nCould not write",
        "/cache/a.tf_record; No space left on device",
    ],
)
def test_tensorflows_errors_of_the_disk_are_those_of_the_system(message):
    class OpError(Exception):
        pass

    error = OpError()
    error.message = message
    assert (as_os_error(error).errno, as_os_error(error).strerror) == (errno.ENOSPC, "No space left on device")
    assert as_os_error(OSError(1, "as it is")).strerror == "as it is"


def _texts_in(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_several_texts_are_all_old_where_one_cannot_be_written(tmp_path):
    old = {"a.txt": "old", "b.txt": "old"}
    write_texts(tmp_path, old)
    with full_disk(1000), pytest.raises(UserError, match=rf"cannot write {tmp_path}/b\.txt: File too large"):
        write_texts(tmp_path, {"a.txt": "new", "b.txt": "x" * 2000})
    assert _texts_in(tmp_path) == old


def test_bytes_among_texts_are_written_as_they_are(tmp_path):
    write_texts(tmp_path, {"a.txt": "\u00e4", "b.png": b"\x89\x00\xff"})
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa4"
    assert (tmp_path / "b.png").read_bytes() == b"\x89\x00\xff"


def test_a_text_made_of_pieces_is_written_piece_by_piece(tmp_path):
    text = Pieces(lambda: iter(["\u00e4", "", "b\n"]))
    write_texts(tmp_path, {"a.txt": text})
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == str(text) == "\u00e4b\n"


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_several_texts_are_all_new_after_a_kill_between_their_moves(tmp_path, monkeypatch, moved):
    write_texts(tmp_path, {"a.txt": "old", "b.txt": "old"})
    moves = iter(range(moved))

    def replace(path, target):
        if ".tmp-" not in path.name and next(moves, None) is None:
            raise KeyboardInterrupt
        os.replace(path, target)

    with monkeypatch.context() as killed:
        killed.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            write_texts(tmp_path, {"a.txt": "new", "b.txt": "new", "c.txt": "new"})
    finish_texts(tmp_path)
    assert _texts_in(tmp_path) == {"a.txt": "new", "b.txt": "new", "c.txt": "new"}


def test_texts_that_were_not_whole_go_with_the_other_leftovers(tmp_path):
    (tmp_path / "results.ready.tmp-0123abcd").mkdir()
    (tmp_path / "results.ready.tmp-0123abcd" / "a.txt").write_text("half")
    delete_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []
