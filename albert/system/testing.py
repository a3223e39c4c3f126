"""Programs as processes of their own that start at once: forks of a process that has imported what they need.

Importing TensorFlow is most of what a program costs that trains a tiny model. Such a fork is the child of whoever
asked for it, with its own signals, streams, folder and environment; only what a program does before it has imported
TensorFlow has been done already, and tests of that start Python.
"""

import ctypes
import functools
import gc
import importlib
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# What programs that train import sooner or later. None of it starts a thread, which a fork would lack.
_IMPORTED = ("albert.runs.fine_tuning", "albert.runs.pretraining", "matplotlib.figure")
_PR_SET_CHILD_SUBREAPER = 36
_MOST_BYTES = 1 << 17
_MOST_SECONDS = 120


def start_program(module: str, flags: Sequence[object], **options: Any) -> subprocess.Popen:
    """Starts `python -m module flags`; of the `options` of `subprocess.Popen`, streams, `text`, `cwd` and `env`."""
    kind = _Fork if sys.platform == "linux" else subprocess.Popen
    return kind([sys.executable, "-m", module, *map(str, flags)], **options)


def run_program(
    module: str, flags: Sequence[object], timeout: float = 600, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module flags` to its end, and returns what it printed; kills it after `timeout` seconds."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start_program(module, flags, cwd=cwd, **streams) as process:
        try:
            printed, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)


class _Fork(subprocess.Popen):
    """A process like any other of `subprocess`, but for how it comes to be."""

    def _execute_child(self, *given: Any) -> None:
        """Stands where `Popen` forks and executes; its own arguments, by their names in the standard library."""
        names = inspect.signature(super()._execute_child).bind(*given).arguments
        streams = [names[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        request = {
            "command": names["args"],
            "folder": os.fspath(names["cwd"] or Path.cwd()),
            "environment": dict(os.environ if names["env"] is None else names["env"]),
            "parent": os.getpid(),
        }
        # -1: as this process has it.
        self.pid = _fork_server().fork(request, [number if it == -1 else it for number, it in enumerate(streams)])
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(names[name] for name in pipes))


class _ForkServer:
    """The process that programs are forked from. It ends with this one."""

    def __init__(self) -> None:
        self._forking = threading.Lock()
        self._channel, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_MOST_SECONDS)
        with its_end:
            command = [sys.executable, "-m", __name__, str(its_end.fileno())]
            environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, pass_fds=[its_end.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def fork(self, request: dict[str, Any], streams: list[int]) -> int:
        """The process ID of a fork that does as `request` says, with the descriptors `streams` as 0, 1 and 2."""
        message = json.dumps(request).encode()
        assert len(message) <= _MOST_BYTES, f"the flags and the environment of a program are {len(message)} bytes"
        with self._forking:
            # The fork's parent ends at once. Linux gives an orphan to the nearest ancestor that asks for orphans: this
            # process, which so can wait for it.
            _adopt_orphans(True)
            try:
                socket.send_fds(self._channel, [message], streams)
                answer = self._channel.recv(_MOST_BYTES)
            except ConnectionError:
                answer = b""
            finally:
                _adopt_orphans(False)
        if not answer:
            _fork_server.cache_clear()  # the next program starts another one
            raise RuntimeError(f"the process that programs are forked from ended with code {self._process.wait()}")
        return int(answer)


@functools.cache
def _fork_server() -> _ForkServer:
    return _ForkServer()


def _adopt_orphans(does: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(does), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


# --- In the process that programs are forked from -------------------------------------------------------------------


def _main(channel: socket.socket) -> None:
    """Forks once for each request, until nobody can send any; returns in that process alone. A fork is its program."""
    # Ctrl-C is for the tests.
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.freeze()
    while True:
        message, streams, _, _ = socket.recv_fds(channel, _MOST_BYTES, 3)
        if not message:
            return
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)
            break
        os.waitpid(between, 0)
        for stream in streams:
            os.close(stream)
    request = json.loads(message)
    while os.getppid() != request["parent"]:
        time.sleep(0.001)
    channel.send(str(os.getpid()).encode())
    channel.close()
    signal.signal(signal.SIGINT, usual)
    _become(request, streams)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Is the program of `request`, as if Python had been started for it."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    _, _, module, *flags = request["command"]
    sys.argv = [module, *flags]
    sys.path[0] = request["folder"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(socket.socket(fileno=int(sys.argv[1])))
