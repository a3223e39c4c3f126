"""Several data sets at once, from a server that fails now and then, into folders that may hold something already."""

import fcntl
import functools
import json
import os
import threading
import time

import pytest

from albert.downloads import archives, first_use, jobs
from albert.downloads.dataset import Dataset
from albert.downloads.datasets import build_from_archive
from albert.downloads.jobs import FAILED, OK, Options, run
from albert.downloads.placement import Destination
from albert.downloads.testing import IMPATIENT, answer, cut, damaged, raw, refuse, stall, tar_bytes, zip_bytes
from albert.errors import UserError

OPTIONS = Options(parallel=3, patience=IMPATIENT)
TRAIN, DEV = b"train\n" * 40_000, b"dev\n"
MEMBERS = {"train.tsv": TRAIN, "dev.tsv": DEV, "original/notes.txt": b"notes"}


def task(server, name, *faults, members=MEMBERS, known=True, pack=zip_bytes, extension="zip"):
    """A data set whose archive has a top folder of another name."""
    data = pack({f"Top/{member}": content for member, content in members.items()})
    file = server.add(f"{name}.{extension}", data, *faults, known=known)
    build = functools.partial(build_from_archive, limits=archives.Limits(num_bytes=1_000_000))
    return Dataset(name, name, (file,), build, ("train.tsv", "dev.tsv"))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".download.json")
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_all_arrive_in_parallel_and_a_second_call_does_nothing(server, tmp_path, capsys):
    places = [Destination(task(server, name, stall(0), cut(500)), tmp_path / "data") for name in "ABC"]
    assert run(places, OPTIONS) == OK
    assert names(tmp_path / "data") == ["A", "B", "C"]
    for name in "ABC":
        assert contents(tmp_path / "data" / name) == MEMBERS
    output = capsys.readouterr()
    assert f"A: fetched, {tmp_path / 'data/A'} (" in output.out
    assert output.out.endswith("3 fetched, 0 already there, 0 failed.\n")
    assert "nothing arrived for 0.4 s" in output.err

    num_requests = len(server.requests)
    assert run(places, OPTIONS) == OK
    assert len(server.requests) == num_requests
    output = capsys.readouterr().out
    assert f"B: already there, {tmp_path / 'data/B'}\n" in output
    assert output.endswith("Nothing to do: everything is already there.\n")


def test_files_come_at_the_same_time(server, tmp_path):
    together = threading.Barrier(3, timeout=5)
    places = [Destination(task(server, name, answer(end=lambda handler: together.wait())), tmp_path) for name in "ABC"]
    assert run(places, OPTIONS) == OK
    assert not together.broken


def test_one_that_fails_leaves_the_others_and_the_exit_code_is_honest(server, tmp_path, capsys):
    places = [Destination(task(server, "A"), tmp_path), Destination(task(server, "B", refuse(404)), tmp_path)]
    assert run(places, OPTIONS) == FAILED
    assert contents(tmp_path / "A") == MEMBERS
    assert names(tmp_path) == ["A"]
    output = capsys.readouterr()
    assert output.out.endswith("1 fetched, 0 already there, 1 failed.\n")
    assert f"FAILED B: {server.url}/B.zip: the server answers 404 Not Found\n" in output.err
    assert "kept" not in output.err  # nothing has arrived
    assert run(places, OPTIONS) == OK
    assert names(tmp_path) == ["A", "B"]


def test_what_has_arrived_before_a_failure_is_not_fetched_again(server, tmp_path, capsys):
    place = Destination(
        task(server, "A", cut(16_384), refuse(404), members={**MEMBERS, "x": os.urandom(50_000)}), tmp_path
    )
    assert run([place], OPTIONS) == FAILED
    assert "What has arrived is kept: the same command tries again" in capsys.readouterr().err
    assert run([place], OPTIONS) == OK
    assert server.ranges == [None, "bytes=16384-", "bytes=16384-"]
    assert names(tmp_path) == ["A"]


def test_a_mirror_is_asked_instead(server, tmp_path):
    dataset = task(server, "A")
    server.contents = {f"/mirror{path}": content for path, content in server.contents.items()}
    options = Options(patience=IMPATIENT, base_url=f"{server.url}/mirror/")
    assert run([Destination(dataset, tmp_path)], options) == OK
    assert contents(tmp_path / "A") == MEMBERS


HOSTILE = {
    "leads out": (zip_bytes, {"Top/train.tsv": b"1", "../owned": b"1"}, "leads out of the folder"),
    "lacks a file": (zip_bytes, {"Top/train.tsv": b"1", "Top/other": b"1"}, "does not hold dev.tsv"),
    "is none": (lambda members: b"<html>", {}, "is damaged"),
    "has a folder for a file": (zip_bytes, {"Top/train.tsv": b"1", "Top/dev.tsv/x": b"1"}, "does not hold dev.tsv"),
    "has nothing in a file": (zip_bytes, {"Top/train.tsv": b"1", "Top/dev.tsv": b""}, "does not hold dev.tsv"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_that_is_refused_leaves_nothing_and_can_be_mended(server, tmp_path, capsys, case):
    pack, members, message = HOSTILE[case]
    place = Destination(task(server, "A", known=False), tmp_path / "data")
    good = server.contents["/A.zip"]
    server.contents["/A.zip"] = pack(members)
    assert run([place], OPTIONS) == FAILED
    error = capsys.readouterr().err
    assert message in error
    assert "What was fetched is removed; the same command fetches it anew" in error
    assert "kept" not in error
    assert names(tmp_path) == ["data"]
    assert names(tmp_path / "data") == []
    server.contents["/A.zip"] = good
    assert run([place], OPTIONS) == OK
    assert contents(tmp_path / "data/A") == MEMBERS


def test_a_file_without_a_checksum_is_held_to_the_one_of_its_first_use(server, tmp_path, capsys):
    dataset = task(server, "A", known=False, pack=tar_bytes, extension="tar.gz")
    good = server.contents["/A.tar.gz"]
    assert run([Destination(dataset, tmp_path)], OPTIONS) == OK
    lock = json.loads((tmp_path / first_use.FILE_NAME).read_text())
    assert lock["A.tar.gz"]["num_bytes"] == len(good)

    # Fetched once more, when the server has another file.
    (tmp_path / "A").rename(tmp_path / "old")
    for other in (damaged(good), good + b"more"):
        server.contents["/A.tar.gz"] = other
        assert run([Destination(dataset, tmp_path)], OPTIONS) == FAILED
        assert f"recorded in {tmp_path / first_use.FILE_NAME} when it was first fetched" in capsys.readouterr().err
        assert not (tmp_path / "A").exists()
    server.contents["/A.tar.gz"] = good
    assert run([Destination(dataset, tmp_path)], OPTIONS) == OK
    assert contents(tmp_path / "A") == MEMBERS


@pytest.mark.parametrize(
    "damage",
    [
        *("{", "[]", '{"A.zip": 1}', '{"A.zip": {"num_bytes": "x", "sha256": ""}}', "[" * 100_000),
        '{"A.zip": {"num_bytes": Infinity, "sha256": ""}}',
    ],
)
def test_a_damaged_lock_file_is_an_error_and_not_forgotten(server, tmp_path, damage):
    (tmp_path / first_use.FILE_NAME).write_text(damage)
    with pytest.raises(UserError, match=r"download\.lock\.json is damaged"):
        run([Destination(task(server, "A", known=False), tmp_path)], OPTIONS)
    assert (tmp_path / first_use.FILE_NAME).read_text() == damage


def test_a_changed_file_is_named_and_left_as_it_is(server, tmp_path, capsys):
    place = Destination(task(server, "A"), tmp_path)
    run([place], OPTIONS)
    (tmp_path / "A" / "train.tsv").write_bytes(TRAIN[:-1])
    assert run([place], OPTIONS) == FAILED
    assert f"{tmp_path / 'A/train.tsv'}: not as it was downloaded, left as it is" in capsys.readouterr().err
    assert (tmp_path / "A" / "train.tsv").read_bytes() == TRAIN[:-1]
    assert len(server.requests) == 1


def test_a_flipped_byte_is_found_with_verify(server, tmp_path, capsys):
    place = Destination(task(server, "A"), tmp_path)
    run([place], OPTIONS)
    verifying = Options(patience=IMPATIENT, verify=True)
    assert run([place], verifying) == OK
    assert "(checksums right)" in capsys.readouterr().out
    (tmp_path / "A" / "train.tsv").write_bytes(damaged(TRAIN))
    assert run([place], OPTIONS) == OK
    assert run([place], verifying) == FAILED


def test_a_file_that_is_missing_is_put_back_and_the_others_stay(server, tmp_path):
    place = Destination(task(server, "A"), tmp_path)
    run([place], OPTIONS)
    (tmp_path / "A" / "dev.tsv").unlink()
    (tmp_path / "A" / "mine.txt").write_text("mine")
    assert run([place], OPTIONS) == OK
    assert contents(tmp_path / "A") == {**MEMBERS, "mine.txt": b"mine"}
    assert run([place], OPTIONS) == OK
    assert len(server.requests) == 2


def test_what_somebody_else_put_there_is_left_and_completed(server, tmp_path, capsys):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "train.tsv").write_text("mine")
    place = Destination(task(server, "A"), tmp_path)
    assert run([place], OPTIONS) == OK
    assert contents(tmp_path / "A") == {**MEMBERS, "train.tsv": b"mine"}
    assert "left your own train.tsv as it was" in capsys.readouterr().out
    assert run([place], OPTIONS) == OK
    (tmp_path / "A" / ".A.download.json").unlink()
    assert run([place], OPTIONS) == OK
    assert "not put there by this program, so not checked" in capsys.readouterr().out
    assert len(server.requests) == 1


def test_a_damaged_record_is_no_record(server, tmp_path):
    place = Destination(task(server, "A"), tmp_path)
    run([place], OPTIONS)
    infinite = '{"files": {"train.tsv": {"bytes": Infinity, "sha256": ""}}}'
    for damage in ("", "[]", '{"files": {"train.tsv": 1}}', '{"files": []}', infinite, "[" * 100_000):
        (tmp_path / "A" / ".A.download.json").write_text(damage)
        assert run([place], OPTIONS) == OK
    assert len(server.requests) == 1


def test_files_where_folders_are_needed_are_named(server, tmp_path, capsys):
    (tmp_path / "A").write_text("")
    assert run([Destination(task(server, "A"), tmp_path)], OPTIONS) == FAILED
    assert f"{tmp_path / 'A'} is a file, and a folder is to be there" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"cannot write .*/A: (File exists|Not a directory)"):
        run([Destination(task(server, "B"), tmp_path / "A")], OPTIONS)
    assert server.requests == []


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "empty file"])
def test_what_is_no_file_where_one_is_needed_is_named_without_waiting(server, tmp_path, capsys, kind):
    place = Destination(task(server, "A"), tmp_path)
    path = tmp_path / "A/dev.tsv"
    path.parent.mkdir()
    make = {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "empty file": path.touch}
    make.get(kind, lambda: path.symlink_to("/dev/zero"))()
    assert run([place], OPTIONS) == FAILED
    assert f"FAILED A: {path} is " in capsys.readouterr().err
    assert server.requests == []


def test_a_folder_of_somebodys_where_a_lesser_file_would_go_is_left(server, tmp_path, capsys):
    (tmp_path / "A/original/notes.txt").mkdir(parents=True)
    assert run([Destination(task(server, "A"), tmp_path)], OPTIONS) == OK
    assert "left your own original/notes.txt as it was" in capsys.readouterr().out


def test_links_and_pipes_by_the_names_of_working_files_are_not_followed(server, tmp_path, capsys):
    place = Destination(task(server, "A"), tmp_path / "data")
    victim = tmp_path / "victim"
    victim.write_text("somebody else's")
    for make in (lambda path: path.symlink_to(victim), lambda path: path.symlink_to(tmp_path / "new"), os.mkfifo):
        part = tmp_path / "data/.A.download/A.zip.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        make(part)
        assert run([place], OPTIONS) == FAILED
        assert f"{part} is no file of this program" in capsys.readouterr().err
        part.unlink()
    assert victim.read_text() == "somebody else's"
    assert names(tmp_path) == ["data", "victim"]
    note = tmp_path / "data/.A.download/A.zip.part.json"
    note.parent.mkdir(exist_ok=True)
    note.symlink_to(victim)
    assert run([place], OPTIONS) == OK
    assert victim.read_text() == "somebody else's"


def test_a_full_disk_while_unpacking_is_a_line_and_leaves_nothing_half(server, tmp_path, capsys):
    from albert.testing import full_disk  # here, because it takes a second

    place = Destination(task(server, "A"), tmp_path)
    with full_disk(100_000):
        assert run([place], OPTIONS) == FAILED
    assert "FAILED A: cannot write " in capsys.readouterr().err
    assert not (tmp_path / "A").exists()
    assert run([place], OPTIONS) == OK
    assert names(tmp_path) == ["A"]
    assert len(server.requests) == 1  # the archive had arrived


def test_two_calls_into_one_folder_take_turns(server, tmp_path, capsys):
    place = Destination(task(server, "A"), tmp_path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    second = threading.Thread(target=run, args=([place], OPTIONS))
    second.start()
    while "Waiting for another download" not in capsys.readouterr().err:
        time.sleep(0.01)
    assert server.requests == []
    os.close(descriptor)
    second.join(10)
    assert contents(tmp_path / "A") == MEMBERS


def test_nothing_is_shown_as_fetched_that_is_not_what_was_promised(server, tmp_path):
    file = server.add("A.zip", b"x" * 1000, raw(b"HTTP/1.1 200 OK\r\n\r\nlogin"), answer(change=damaged))
    dataset = Dataset("A", "A", (file,), lambda files, folder: pytest.fail("must not be built"), ("x",))
    server.faults["/A.zip"] += [answer(change=damaged)] * 5
    assert run([Destination(dataset, tmp_path)], OPTIONS) == FAILED
    assert jobs.FAILED == 1
