"""Programs that tests fork: each is a child of the test's process, as one that Python was started for."""

import json
import os
import signal
import subprocess
import sys

import pytest

from albert.system.testing import _fork_server, run_program, start_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are forked on Linux only")
PROGRAM = """
import json, os, sys
kept = {name: os.environ.get(name) for name in ("ONLY_THERE", "HOME")}
loaded = sorted(name for name in ("tensorflow", "albert.runs.fine_tuning") if name in sys.modules)
print(json.dumps([sys.argv[1:], os.getcwd(), os.getppid(), kept, loaded, sys.stdin.read()]))
print("last words", file=sys.stderr)
sys.exit(7)
"""


# In one test, since the process that programs are forked from takes three seconds to start.
@pytest.mark.slow
def test_a_forked_program_is_as_one_that_was_started(tmp_path, monkeypatch):
    (tmp_path / "program_to_fork.py").write_text(PROGRAM)
    monkeypatch.delenv("HOME")
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "ONLY_THERE": "1"}
    with start_program("program_to_fork", ["--a", 1], cwd=tmp_path, env=environment, **streams) as process:
        printed, errors = process.communicate("read", timeout=60)
    loaded = ["albert.runs.fine_tuning", "tensorflow"]
    expected = [["--a", "1"], str(tmp_path), os.getpid(), {"ONLY_THERE": "1", "HOME": None}, loaded, "read"]
    assert (process.returncode, json.loads(printed), errors) == (7, expected, "last words\n")
    # An error as Python reports it.
    done = run_program("no_such_module", [])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("No module named no_such_module\n")
    for number in (signal.SIGKILL, signal.SIGTERM):
        with start_program("timeit", ["import time", "time.sleep(60)"]) as sleeping:
            assert sleeping.poll() is None
            sleeping.send_signal(number)
            assert sleeping.wait(60) == -number
    # Ctrl-C, which the process that programs are forked from leaves to the tests.
    (tmp_path / "program_to_stop.py").write_text("import time\nprint(1, flush=True)\nwhile True: time.sleep(0.01)")
    with start_program("program_to_stop", [], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as stopped:
        assert stopped.stdout.readline() == b"1\n"
        stopped.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in stopped.communicate(timeout=60)[1]
    assert stopped.returncode == -signal.SIGINT


@pytest.mark.slow
def test_the_process_that_programs_are_forked_from_may_be_killed():
    assert run_program("timeit", ["-n1", "-r1"]).returncode == 0
    os.kill(_fork_server()._process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="forked from ended with code -9"):
        run_program("timeit", ["-n1", "-r1"])
    assert run_program("timeit", ["-n1", "-r1"]).returncode == 0


@pytest.mark.slow
def test_a_program_with_more_flags_than_a_message_has_room_for_is_refused():
    with pytest.raises(AssertionError, match=r"are \d+ bytes"):
        run_program("timeit", ["x" * (1 << 17)])
