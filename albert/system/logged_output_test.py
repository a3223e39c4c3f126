"""The process that writes a log file beside what a terminal shows, as `scripts/show_and_log.py` is started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 60


class Shown:
    """The process, with a pipe for its bar and, if `on_terminal`, a terminal for what it shows."""

    def __init__(self, log: Path, on_terminal: bool = True):
        self.bar_read, self.bar = os.pipe()
        self.terminal, other = os.openpty()
        streams = {"stdout": other if on_terminal else subprocess.PIPE, "stderr": other}
        command = [sys.executable, str(ROOT / "scripts/show_and_log.py"), str(log), str(self.bar_read)]
        self.process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, pass_fds=[self.bar_read],
            **streams,
        )  # fmt: skip
        os.close(other)

    def __enter__(self) -> "Shown":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for descriptor in (self.bar_read, self.bar, self.terminal):
            os.close(descriptor)

    def say(self, data: bytes) -> None:
        os.write(self.process.stdin.fileno(), data)

    def screen_until(self, end: bytes) -> bytes:
        said = b""
        while not said.endswith(end):
            said += os.read(self.terminal, 1 << 16)
        return said

    def end(self) -> int:
        self.process.stdin.close()
        return self.process.wait(SECONDS)


@pytest.mark.timeout(SECONDS)
def test_the_screen_gets_the_bar_and_the_log_does_not(tmp_path):
    log = tmp_path / "run.log"
    log.write_bytes(b"before\n")
    with Shown(log) as shown:
        os.write(shown.bar, b"train: 10%\n")
        assert shown.screen_until(b"10%") == b"\r\x1b[Ktrain: 10%"
        shown.say("step 1: \xff\n".encode("latin-1"))
        assert shown.screen_until(b"10%") == b"\r\x1b[Kstep 1: \xff\r\ntrain: 10%"
        shown.say(b"unfinished")
        assert shown.screen_until(b"unfinished") == b"\r\x1b[Kunfinished"
        assert shown.end() == 0
    assert log.read_bytes() == b"before\nstep 1: \xff\nunfinished"


@pytest.mark.timeout(SECONDS)
def test_where_only_errors_have_a_terminal_the_bar_is_there_alone(tmp_path):
    with Shown(tmp_path / "log", on_terminal=False) as shown:
        os.write(shown.bar, b"10%\n")
        assert shown.screen_until(b"10%") == b"\r\x1b[K10%"
        shown.say(b"line\n")
        assert os.read(shown.process.stdout.fileno(), 100) == b"line\n"
        assert shown.end() == 0
        assert shown.screen_until(b"\x1b[K") == b"\r\x1b[K"


@pytest.mark.timeout(SECONDS)
def test_a_log_that_cannot_be_written_is_told_once_and_ends_with_1(tmp_path):
    with Shown(tmp_path) as shown:
        assert shown.screen_until(b"\n") == f"{tmp_path}: Is a directory\r\n".encode()
        for line in (b"one\n", b"two\n"):
            shown.say(line)
            assert shown.screen_until(b"\n") == line.replace(b"\n", b"\r\n")
        assert shown.end() == 1
