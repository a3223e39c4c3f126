"""Runs the parts of the check, each as a process that may fail, crash or hang: what it had found by then is kept."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from albert.system.signals import signal_name
from benchmarks.gpu_check.findings import Finding, Request, read_findings
from benchmarks.gpu_check.plan import Part
from benchmarks.race.processes import ROOT, environment

DONE, FAILED, TIMED_OUT, NO_TIME = "done", "failed", "stopped at its time limit", "not run: no time was left"
# A part with less time than this would only load TensorFlow.
LEAST_SECONDS = 20.0
_LOOK_SECONDS = 0.2


@dataclasses.dataclass
class Outcome:
    """How a part ended and what it found."""

    part: str
    what: str
    state: str
    seconds: float
    findings: list[Finding]
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it came to its end, with every check within its bound."""
        return self.state == DONE and all(f["is_met"] for f in self.findings if f["kind"] == "check")


def run_part(
    part: Part,
    request: Request,
    folder: Path,
    told: Callable[[Finding], None],
    stopped: threading.Event,
    command: tuple[str, ...] = (sys.executable, "-m", "benchmarks.gpu_check.worker"),
) -> Outcome:
    """Runs a part for `request.seconds` at most, or until `stopped`; `told` gets each finding, `folder` the log."""
    path, log = Path(request.findings), folder / f"{part.name}.log"
    begin = time.monotonic()
    seen = 0

    def tell_news() -> list[dict]:
        nonlocal seen
        found = read_findings(path)
        for finding in found[seen:]:
            told(finding)
        seen = len(found)
        return found

    with _process((*command, json.dumps(dataclasses.asdict(request))), log) as process:
        while process.poll() is None and time.monotonic() - begin < request.seconds and not stopped.is_set():
            stopped.wait(_LOOK_SECONDS)
            tell_news()
        is_late = process.poll() is None
    found = tell_news()
    state, error = DONE, ""
    if is_late:
        state = TIMED_OUT
    elif process.returncode:
        state, error = FAILED, _error_of(process.returncode, found, log)
    return Outcome(part.name, part.what, state, time.monotonic() - begin, found, error)


@contextlib.contextmanager
def _process(command: tuple[str, ...], log: Path) -> Iterator[subprocess.Popen]:
    """A process with all that it starts, which are gone when the context is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment(len(os.sched_getaffinity(0))),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _error_of(code: int, found: list[dict], log: Path) -> str:
    """What the part said of its end; otherwise how its process ended, and the last line of its log."""
    said = [str(finding["text"]) for finding in found if finding["kind"] in {"refused", "failed"}]
    if said:
        return said[-1]
    how = f"killed by {signal_name(-code)}" if code < 0 else f"exit code {code}"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing in its log")
    return f"{how}: {last[:300]}"
