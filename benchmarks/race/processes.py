"""The processes of the race, and the environment the peers run in. Knows nothing of what they compute."""

import collections
import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from albert.errors import UserError

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "benchmarks" / ".peers"
REQUIREMENTS = ROOT / "benchmarks" / "requirements-peers.txt"
# glibc otherwise gives large blocks back to the kernel after each operation and pays for their pages again; both
# frameworks gain from keeping them.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "67108864",
}
# Threads of a contender whose turn is over spin a little before they sleep.
REST_SECONDS = 0.3


class ContenderError(Exception):
    """A contender's process failed, or took too long; one line for the report."""


class Process:
    """A contender's process, spoken to as `benchmarks.race.common` says.

    A context manager: at its end the process is gone.

    Args:
      python: the interpreter of its environment.
      module: what it runs.
      config: its first argument, as JSON.
      threads: processor cores it may use.
      limit_seconds: the longest it may take to get ready, or for one reply.
      folder: for its log.
      root: the checkout whose module it is.
    """

    def __init__(
        self,
        python: Path,
        module: str,
        config: dict,
        threads: int,
        limit_seconds: float,
        folder: Path,
        root: Path = ROOT,
    ) -> None:
        self._limit_seconds = limit_seconds
        self._log = folder / f"{module}-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", module, json.dumps(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=root,
                env=environment(threads),
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read_lines, daemon=True).start()

    def wait_until_ready(self) -> dict:
        """What it says of itself once it has warmed up. Raises ContenderError."""
        return self._reply()["ready"]

    def ask(self, request: dict) -> dict:
        """Its reply to one request. Raises ContenderError."""
        time.sleep(REST_SECONDS)
        with contextlib.suppress(OSError):  # a process that is gone says so by having no reply
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> dict:
        try:
            line = self._lines.get(timeout=self._limit_seconds)
        except queue.Empty:
            self._process.kill()
            raise ContenderError(f"no answer within {self._limit_seconds / 60:g} minutes") from None
        if line is None:
            code = self._process.wait()
            raise ContenderError(f"ended with exit code {code}{self._last_words()}")
        reply = json.loads(line)
        if "error" in reply:
            raise ContenderError(_shortened(reply["error"]))
        return reply

    def _last_words(self) -> str:
        lines = collections.deque(self._log.read_text(encoding="utf-8", errors="replace").splitlines(), maxlen=1)
        return f": {_shortened(lines[0])}" if lines else ""

    def _read_lines(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()


def _shortened(text: str, length: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def environment(threads: int) -> dict[str, str]:
    """The environment variables of every contender: this process's, and what is set equally for all."""
    return {
        **os.environ,
        **ALLOCATOR,
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "HF_HUB_OFFLINE": "1",  # nothing is fetched: weights are random
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
    }


def own_python() -> Path:
    """The interpreter that runs this program: the project's environment."""
    return Path(sys.executable)


def peers_python(named: Path | None) -> Path:
    """The peers' interpreter: the one named, otherwise that of benchmarks/.peers, which is made where it is not whole.

    Raises UserError where it is not there or cannot be made.
    """
    if named is not None:
        if not os.access(named, os.X_OK) or named.is_dir():
            raise UserError(
                f"--peers_python={named} is not a program; name the Python of an environment with the peers"
            )
        return named.absolute()
    python, made_from = PEERS / "bin" / "python", PEERS / "made_from"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    with contextlib.suppress(OSError):
        if made_from.read_text(encoding="utf-8") == digest and python.exists():
            return python
    print(f"Setting up the peers' environment in {PEERS} (once).", file=sys.stderr)
    for step in (
        [sys.executable, "-m", "venv", "--clear", str(PEERS)],
        [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)],
    ):
        # What the tools print is for people, and standard output is for the report.
        if subprocess.run(step, stdout=sys.stderr, check=False).returncode:
            raise UserError(
                f"The peers' environment could not be made (see above). Make one with {REQUIREMENTS} yourself and name "
                "its interpreter with --peers_python, or race without peers: --peers=none."
            )
    made_from.write_text(digest, encoding="utf-8")
    return python
