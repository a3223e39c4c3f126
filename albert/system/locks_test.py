"""Who may work in a directory, with real processes."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.system.locks import LOCK, OutputLock

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
        message = rf"`output_dir`={directory} is in use by \S+ \(process {holder.pid} on \S+, since 20\d\d-\S+ \S+\)\. "
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


def test_one_process_cannot_have_it_twice(tmp_path):
    with OutputLock(tmp_path), pytest.raises(UserError, match="is in use"):
        OutputLock(tmp_path)
    with OutputLock(tmp_path):
        pass


def test_a_lock_that_was_removed_while_another_waited_for_it_is_not_taken_for_the_directorys(tmp_path, monkeypatch):
    # As when a holder ends between another's opening the file and its locking it.
    import fcntl

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


def test_a_directory_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*/file/run: Not a directory"):
        OutputLock(tmp_path / "file/run")
    (tmp_path / "run" / LOCK).mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot write .*/run/run\.lock: Is a directory"):
        OutputLock(tmp_path / "run")
