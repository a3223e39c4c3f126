"""A process in which nothing goes on ends, and shows where it stood."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

PROGRAM = """
import sys, time
from albert.engine import watchdog as module

def where_it_stands():
    time.sleep(60)

module._TOGETHER_SECONDS = 0.1
watchdog = module.Watchdog(float(sys.argv[1]), "worker 1 (b:2)")
watchdog.begin("what is not watched")
time.sleep(0.5)
watchdog.start()
for _ in range(10):
    watchdog.begin("a step")
    time.sleep(0.1)
if sys.argv[2] == "stuck":
    where_it_stands()
print("done")
"""


def _run(seconds: float, what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seconds), what], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_process_that_is_stuck_ends_with_its_phase_and_its_stacks():
    ended = _run(0.4, "stuck")
    assert ended.returncode == 75
    line, *stacks = ended.stderr.splitlines()
    assert line.startswith("error: worker 1 (b:2): no progress for 0.4 s in a step: a worker is stuck.")
    assert any("in where_it_stands" in line for line in stacks)


def test_a_process_that_goes_on_is_left_alone_and_so_is_any_without_a_limit():
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(_run, (5, 0), ("busy", "busy")))
    for ended in both:
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
