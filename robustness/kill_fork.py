"""Starts of the driver as forks of one process that has imported TensorFlow, which is half of what a start costs."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from robustness import kill_driver

_POLL_SECONDS = 0.01


def preload() -> None:
    """Imports what runs need, before the first fork; none of it is used in this process."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    for module in ("albert.runs.fine_tuning", "matplotlib.figure"):
        importlib.import_module(module)


class ForkedProcess:
    """A process that runs the driver with `arguments`; of `subprocess.Popen` what the kill test needs."""

    def __init__(self, arguments: Sequence[str], errors: Path):
        self._code: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        stream = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self.pid = os.fork()
        if self.pid == 0:
            _drive(arguments, stream)
        os.close(stream)

    def poll(self) -> int | None:
        """The exit code (negative: by a signal), None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float) -> int:
        """The exit code at its end. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_POLL_SECONDS)
        return self._code

    def send_signal(self, number: int) -> None:
        """Nothing once it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _drive(arguments: Sequence[str], errors: int) -> NoReturn:
    """Becomes the driver, whose errors go to the descriptor `errors`.

    Ends as a Python program does, but for what belongs to the process it was forked from.
    """
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(errors, 2)
        sys.argv = ["robustness.kill_driver", *arguments]
        kill_driver.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)
