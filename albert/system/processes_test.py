"""Work dealt to processes."""

import os
import subprocess
import sys
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


UNGUARDED = """
import operator
from albert.system.processes import parallel_map

def doubled(item):
    return 2 * item

print("started")
print(list(parallel_map({work}, [1, 2, 3], 2)))
"""


@pytest.mark.parametrize("work", ["operator.neg", "doubled"])
def test_workers_do_not_run_the_callers_script_again_unless_their_work_is_in_it(tmp_path, work):
    script = tmp_path / "script.py"
    text = UNGUARDED.format(work=work)
    if work == "doubled":  # then it needs what every script needs that starts processes
        text = text.replace("print(", 'if __name__ == "__main__": print(')
    script.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    expected = {"operator.neg": "[-1, -2, -3]", "doubled": "[2, 4, 6]"}
    assert done.stdout == f"started\n{expected[work]}\n", done.stderr


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
