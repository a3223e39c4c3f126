"""What signals do to a program, some with a process and a terminal of its own."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from albert.system.signals import Interrupted, StopOnSignal, exit_on_termination

ROOT = Path(__file__).parents[2]

# Waits for a signal in a loop that writes to the terminal, as a progress bar does; then says in a file how it ended.
LOOP = """
import sys, time
from pathlib import Path
from albert.system.signals import Interrupted, StopOnSignal, exit_on_termination
try:
    with exit_on_termination(), StopOnSignal() if sys.argv[2] == "loop" else exit_on_termination() as stop:
        Path(sys.argv[1], "begun").touch()
        while not (stop and stop.requested):
            time.sleep(0.01)
        time.sleep(0.3)  # the shell's SIGHUP comes after the kernel's
        stop.raise_if_requested("stopped")
except Interrupted as error:
    print("the last words", file=sys.stderr, flush=True)
    sys.exit(128 + error.signal_number)
finally:
    time.sleep(0.3)
    Path(sys.argv[1], "cleaned").touch()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_a_request_and_the_second_does_what_it_always_did(number):
    class SecondError(Exception):
        pass

    def as_always(_number, _frame):
        raise SecondError

    before = signal.signal(number, as_always)
    try:
        with StopOnSignal() as stop:
            stop.raise_if_requested("not yet")
            assert not stop.requested
            signal.raise_signal(number)
            assert stop.requested
            if number == signal.SIGHUP:  # a closed terminal sends it more than once
                signal.raise_signal(number)
            else:
                with pytest.raises(SecondError):
                    signal.raise_signal(number)
            with pytest.raises(Interrupted, match="now") as raised:
                stop.raise_if_requested("now")
            assert raised.value.signal_number == number
        assert signal.getsignal(number) is as_always
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_ends_the_program_as_an_exception_does(number):
    before = signal.signal(number, signal.SIG_DFL)  # what started the tests may ignore it, as nohup does
    try:
        with pytest.raises(SystemExit) as raised, exit_on_termination():
            signal.raise_signal(number)
        assert raised.value.code == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_program_that_ignores_the_end_of_its_terminal_still_does():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopOnSignal() as stop, exit_on_termination():
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("kind", ["loop", "files"])
def test_a_closed_terminal_ends_a_program_as_a_signal_does(tmp_path, kind):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-c", LOOP, str(tmp_path), kind],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    os.close(theirs)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    os.close(ours)
    assert process.wait(60) == 128 + signal.SIGHUP
    assert (tmp_path / "cleaned").exists()
