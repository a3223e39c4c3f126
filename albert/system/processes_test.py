"""Work dealt to processes."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.system.processes import number_of_workers, parallel_map


def slow_if_even(item: int) -> tuple[int, int]:
    time.sleep(0.02 * (item % 2 == 0))
    return item, os.getpid()


def fails_at_3(item: int) -> int:
    if item == 3:
        raise UserError("item 3 is wrong")
    return item


def dies_at_3(item: int) -> int:
    if item == 3:
        os._exit(9)
    return item


class InterruptedAtTheStart:
    """Work in whose process somebody presses Ctrl-C, and closes the terminal, before it can ignore that."""

    def __setstate__(self, _state: object) -> None:
        for process in (os.getpid(), os.getppid()):  # the other one started it
            for number in (signal.SIGINT, signal.SIGHUP):
                os.kill(process, number)

    def __getstate__(self) -> str:
        return "something"

    def __call__(self, item: int) -> int:
        return item


class DiesWhileItStarts:
    """Work whose process dies before it has taken an item."""

    def __setstate__(self, _state: object) -> None:
        time.sleep(0.2)
        os._exit(9)

    def __getstate__(self) -> str:
        return "something"

    def __call__(self, item: int) -> int:
        return item


def items_until_ctrl_c():
    yield from range(5)  # one more than three workers' queue holds
    time.sleep(0.1)  # until the pool's thread has filled it
    raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    results = list(parallel_map(slow_if_even, range(20), workers))
    assert [item for item, _ in results] == list(range(20))
    assert (os.getpid() in {process for _, process in results}) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_reach_the_caller(workers):
    with pytest.raises(UserError, match="item 3 is wrong"):
        list(parallel_map(fails_at_3, range(20), workers))


def test_a_process_that_dies_is_reported():
    with pytest.raises(UserError, match=r"died.*too little memory"):
        list(parallel_map(dies_at_3, range(20), 2))


def test_workers_that_begin_get_nothing_that_a_terminal_sends():
    assert list(parallel_map(InterruptedAtTheStart(), range(4), 2)) == [0, 1, 2, 3]


def test_workers_that_die_while_the_rest_is_cancelled_raise_nothing_elsewhere(monkeypatch):
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    with pytest.raises(KeyboardInterrupt):
        list(parallel_map(DiesWhileItStarts(), items_until_ctrl_c(), 3))
    assert raised == []


UNGUARDED = """
import os
from albert.system.processes import parallel_map

def process_of(link):
    return str(os.getpid())

print("started")
print({{str(os.getpid())}} == set(parallel_map({work}, ["/proc/self"] * 3, 2)))
"""


@pytest.mark.parametrize(
    ("work", "is_here"), [("process_of", True), ("lambda link: os.readlink(link)", True), ("os.readlink", False)]
)
def test_a_script_is_not_run_again_by_the_workers_that_it_starts(tmp_path, work, is_here):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(work=work))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == f"started\n{is_here}\n", done.stderr


def test_items_are_read_only_a_few_ahead():
    read = []

    def items():
        for item in range(1000):
            read.append(item)
            yield item

    for done, _ in enumerate(parallel_map(fails_at_3, (item + 4 for item in items()), 2)):
        assert len(read) <= done + 1 + 2 * 2
        if done == 50:
            break


def test_workers_are_as_many_as_processors_unless_said():
    assert number_of_workers(3) == 3
    assert number_of_workers(0) == len(os.sched_getaffinity(0))


def test_where_processes_cannot_share_anything_one_does_the_work(monkeypatch, caplog):
    def no_semaphores(*_arguments: object, **_options: object) -> None:  # as in a container without /dev/shm
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", no_semaphores)
    assert list(parallel_map(fails_at_3, range(3), 2)) == [0, 1, 2]
    (record,) = caplog.records
    assert "by one process instead of 2" in record.getMessage()
    assert "/dev/shm: Read-only file system" in record.getMessage()


LONG_NAMED = """
import os, sys
from albert.system import processes
if sys.argv[1] == "nowhere":
    processes._SHORT_NAMED = ("/nowhere",)
readers = processes.parallel_map(os.readlink, ["/proc/self"] * 3, 2)
print(list(processes.parallel_map(str, range(3), 2)), str(os.getpid()) in readers)
"""


@pytest.mark.parametrize(("short_named", "is_alone"), [("somewhere", False), ("nowhere", True)])
def test_temporary_files_may_lie_where_names_are_too_long_for_sockets(tmp_path, short_named, is_alone):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    command = [sys.executable, "-c", LONG_NAMED, short_named]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.stdout == f"['0', '1', '2'] {is_alone}\n", done.stderr
    assert list(folder.iterdir()) == []
