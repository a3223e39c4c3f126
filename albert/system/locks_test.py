"""Who may work in a directory, with real processes."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.system import locks
from albert.system.locks import LOCK, FileLock, OutputLock

ROOT = Path(__file__).parents[2]
HOLD = "import sys, time; from pathlib import Path; from albert.system.locks import OutputLock; "
HOLD += "lock = OutputLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read(); lock.release()"


def _holder(directory: Path) -> subprocess.Popen:
    """Another process that has the lock, until its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(directory)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_the_holder_is_named_and_afterwards_nothing_is_left(tmp_path):
    directory = tmp_path / "new/run"
    with _holder(directory) as holder:
        message = rf"^{directory} is in use by \S+ \(process {holder.pid} on \S+, since 20\d\d-\S+ \S+\)\. "
        for _ in range(2):  # being refused changes nothing
            with pytest.raises(UserError, match=message) as raised:
                OutputLock(directory)
        assert "\n" not in str(raised.value)
        holder.communicate()
    assert list(directory.iterdir()) == []
    OutputLock(directory).release()
    assert list(directory.iterdir()) == []


def test_a_killed_holder_locks_nobody_out(tmp_path):
    with _holder(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / LOCK).exists()
    with OutputLock(tmp_path) as lock:
        assert re.search(r"\(process \d+ on", (tmp_path / LOCK).read_text())
        assert str(holder.pid) not in (tmp_path / LOCK).read_text()
    lock.release()  # once more does nothing
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_is_taken_again_or_its_new_holder_named(tmp_path):
    with OutputLock(tmp_path) as lock:
        written = (tmp_path / LOCK).read_bytes()
        assert lock.keep() is None
        (tmp_path / LOCK).unlink()
        assert lock.keep() is None  # nobody else came
        assert (tmp_path / LOCK).read_bytes().startswith(written[:20])
        with pytest.raises(UserError, match="is in use"):
            OutputLock(tmp_path)
        (tmp_path / LOCK).unlink()
        with _holder(tmp_path) as other:
            assert f"process {other.pid} on" in lock.keep()
            lock.release()
            assert (tmp_path / LOCK).exists(), "it is the other's"
            other.communicate()


def test_releasing_leaves_the_file_of_another_holder(tmp_path):
    with OutputLock(tmp_path) as lock:
        (tmp_path / LOCK).unlink()
        with _holder(tmp_path) as other:
            lock.release()
            assert str(other.pid) in (tmp_path / LOCK).read_text()
            other.communicate()
    assert not (tmp_path / LOCK).exists()


def test_one_process_cannot_have_it_twice(tmp_path):
    with OutputLock(tmp_path), pytest.raises(UserError, match="is in use"):
        OutputLock(tmp_path)
    with OutputLock(tmp_path):
        pass


def test_a_lock_that_was_removed_while_another_waited_for_it_is_not_taken_for_the_directorys(tmp_path, monkeypatch):
    # As when a holder ends between another's opening the file and its locking it.
    first = OutputLock(tmp_path)
    flock = fcntl.flock

    def release_and_lock(descriptor, operation):
        first.release()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", release_and_lock)
    with OutputLock(tmp_path):
        monkeypatch.undo()
        with pytest.raises(UserError, match="is in use"):
            OutputLock(tmp_path)


def _stale(*_arguments: object) -> None:
    """What NFS answers about an open file that another machine has removed."""
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def test_who_waits_for_a_lock_that_another_machine_removes_gets_it(tmp_path, monkeypatch):
    (tmp_path / LOCK).write_text("of another machine")
    flock, answers = fcntl.flock, [_stale, _stale]  # the name may be known to this machine a while longer

    def removed_by_another(descriptor, operation):
        if answers:
            (tmp_path / LOCK).unlink()
            answers.pop()()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_by_another)
    with FileLock(tmp_path / LOCK) as lock:
        assert lock.take(wait=True) is None
        monkeypatch.undo()
        assert f"process {os.getpid()} on" in FileLock(tmp_path / LOCK).take()


def test_a_held_lock_that_another_machine_removed_is_taken_again(tmp_path, monkeypatch):
    with OutputLock(tmp_path) as lock:
        (tmp_path / LOCK).unlink()
        fstat, answers = os.fstat, [_stale]
        monkeypatch.setattr(os, "fstat", lambda descriptor: (answers.pop() if answers else fstat)(descriptor))
        assert lock.keep() is None
        monkeypatch.undo()
        assert f"process {os.getpid()} on" in FileLock(tmp_path / LOCK).take()


def test_a_file_system_that_never_finds_the_lock_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _stale)
    monkeypatch.setattr(locks, "_PAUSE_SECONDS", 0)
    with pytest.raises(UserError, match=r"cannot write .*/run\.lock: Stale file handle"):
        OutputLock(tmp_path)


def test_a_directory_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*/file/run: Not a directory"):
        OutputLock(tmp_path / "file/run")
    (tmp_path / "run" / LOCK).mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot write .*/run/run\.lock: Is a directory"):
        OutputLock(tmp_path / "run")


@pytest.mark.parametrize(
    "make", [lambda link, target: link.symlink_to(target), lambda link, target: link.hardlink_to(target)]
)
def test_a_link_in_place_of_the_lock_is_refused_and_its_target_stays_as_it_is(tmp_path, make):
    precious, out = tmp_path / "precious.txt", tmp_path / "out"
    out.mkdir()
    precious.write_text("another program's\n")
    make(out / LOCK, precious)
    with pytest.raises(UserError, match=rf"^{out}/{LOCK} is .*\. Remove it\.$"):
        OutputLock(out)
    assert precious.read_text() == "another program's\n"


def test_what_is_not_a_file_is_not_locked(tmp_path):
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(UserError, match="is not a lock file"):
        OutputLock(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_work_continues_after_one_warning(tmp_path, monkeypatch, caplog, number):
    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with OutputLock(tmp_path) as lock, FileLock(tmp_path / "a.lock") as other:
        assert other.take(wait=True) is None
        assert not lock.is_exclusive
        assert not other.is_exclusive
    assert list(tmp_path.iterdir()) == []
    (message,) = [entry.getMessage() for entry in caplog.records]
    assert message.startswith(f"The file system of {tmp_path} has no locks")


def test_another_error_of_locking_is_reported(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(UserError, match=r"cannot write .*/run\.lock: Input/output error\. Check the disk"):
        OutputLock(tmp_path)


def test_who_waits_gets_the_lock_when_its_holder_ends(tmp_path):
    with _holder(tmp_path) as holder:
        lock = FileLock(tmp_path / LOCK)
        assert str(holder.pid) in lock.take()
        holder.stdin.close()
        assert lock.take(wait=True) is None
        assert f"process {os.getpid()} on" in FileLock(tmp_path / LOCK).take()
        lock.release()
        holder.wait()
