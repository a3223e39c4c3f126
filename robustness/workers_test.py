import subprocess
import sys
import time
from collections import Counter

from robustness.kill_runs import ROOT
from robustness.workers import WorkerKills, table, workers_of


def test_the_workers_of_a_launcher_are_found_by_index():
    command = [sys.executable, "-m", "albert.launch_workers", "--num_workers=2", "--", "timeit", "import time"]
    with subprocess.Popen([*command, "time.sleep(60)"], cwd=ROOT, stdout=subprocess.DEVNULL) as launcher:
        try:
            end = time.monotonic() + 30
            while len(found := workers_of(launcher.pid)) < 2 and time.monotonic() < end:
                time.sleep(0.02)
            assert [worker.index for worker in found] == [0, 1]
        finally:
            launcher.kill()
    assert workers_of(launcher.pid) == []


def test_the_table_counts_kills_and_names_faults():
    test = object.__new__(WorkerKills)
    test.kills, test.equal = Counter({"worker 0": 2, "another worker": 1}), Counter({"worker 0": 2})
    test.faults = ["another worker: a\nb"]
    assert table(test).splitlines()[2:] == [
        "| another worker | 1 | 0 |",
        "| worker 0 | 2 | 2 |",
        "| **all** | 3 | 2 |",
        "",
        "- fault: another worker: a b",
    ]
