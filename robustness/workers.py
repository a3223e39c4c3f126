"""Kills workers of runs of several, at any moment, lets the launcher restart them, and compares what the runs leave.

    python3 -m robustness.workers [--kills 10] [--seed 0] [--workers 2]

Every run trains, evaluates and predicts on the bundled task with a tiny model, under `albert.launch_workers`. A kill is
SIGKILL for a worker drawn at random, worker 0 among them, after a time drawn from the seconds of an undisturbed run:
while programs are imported, workers meet, TensorFlow connects them, a step is computed, worker 0 writes.

After each kill all workers have to end and start again; the launcher has to end with 0, with as many restarts as there
were kills and no process left, and its run has the same files as the undisturbed one of as many workers, with the same
bytes but for times. Prints a table and appends it, with date and command, to benchmarks/results/workers.md.
"""

import argparse
import collections
import contextlib
import dataclasses
import itertools
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from benchmarks.results_file import append_result
from robustness.kill_runs import ROOT, KillTestError, Run, differences

KILLS_PER_RUN = 5
MAX_RUNS = 10
# For one start of all workers, and for the end of all after a kill.
PATIENCE_SECONDS = 600
_POLL_SECONDS = 0.02
_RESTART = re.compile(r"restart \d+ of \d+ of all workers")


@dataclasses.dataclass(frozen=True)
class Worker:
    """A process of a launcher."""

    index: int
    pid: int


@dataclasses.dataclass(frozen=True)
class LaunchedRun:
    """A run of several workers, as the launcher starts it."""

    run: Run
    num_workers: int

    @classmethod
    def prepared(cls, folder: Path, num_workers: int, flags: tuple[str, ...] = ()) -> "LaunchedRun":
        """In `folder`, which must not be there, with its data; `flags` win over those that it has."""
        own = ("--strategy_type=multi_worker", "--num_gpu_cores=1", "--train_batch_size=4", "--meeting_seconds=120")
        return cls(Run(folder, extra=(*own, *flags)).prepare(), num_workers)

    @contextlib.contextmanager
    def started(self, max_restarts: int) -> Iterator[subprocess.Popen]:
        """The launcher as a process; ended with all its workers when the block ends."""
        launcher = [f"--num_workers={self.num_workers}", f"--max_restarts={max_restarts}"]
        program = ["albert.run_multigpus_classifier", *self.run.flags()]
        command = [sys.executable, "-m", "albert.launch_workers", *launcher, "--", *program]
        # What one start compiles the next ones find: most of a short run's time.
        flags = f"--tf_xla_persistent_cache_directory={self.run.folder.parent / 'compiled'}"
        environment = {
            **os.environ,
            "TF_XLA_FLAGS": f"{flags} --tf_xla_persistent_cache_device_types=CPU",
            "TF_CPP_MIN_LOG_LEVEL": "3",  # at level 2 there is a line for each function that is found
        }
        with self.errors.open("wb") as stream:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=stream)
        try:
            yield process
        finally:
            process.kill()  # its workers end with it
            process.wait()

    @property
    def errors(self) -> Path:
        """What the launcher and its workers say."""
        return self.run.folder / "errors.txt"

    def num_restarts(self) -> int:
        """How often all workers were started again, as the launcher says."""
        return len(_RESTART.findall(self.errors.read_text(errors="replace")))


def workers_of(launcher: int) -> list[Worker]:
    """The workers that run now, by index; fewer while they start and end."""
    found = []
    for pid in _children(launcher):
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            values = [item.partition(b"=")[2] for item in environment if item.startswith(b"TF_CONFIG=")]
            if values and not _is_ended(pid):
                found.append(Worker(json.loads(values[0])["task"]["index"], pid))
    return sorted(found, key=lambda worker: worker.index)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _is_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


class WorkerKills:
    """Makes runs in `folder`, kills their workers and counts."""

    def __init__(self, folder: Path, num_workers: int, rng: random.Random, flags: tuple[str, ...] = ()):
        self._folder = folder
        self._num_workers = num_workers
        self._rng = rng
        self._flags = flags
        self.kills: collections.Counter[str] = collections.Counter()
        self.equal: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        self._numbers = itertools.count(1)
        self._reference = self._undisturbed("reference")
        begin = time.monotonic()
        again = self._undisturbed("again")  # without the time that compiling takes
        self.seconds = time.monotonic() - begin
        if wrong := differences(self._reference.run, again.run):
            raise KillTestError(f"two undisturbed runs differ: {'; '.join(wrong)}")
        logging.info("An undisturbed run took %.0f s", self.seconds)

    def _undisturbed(self, name: str) -> LaunchedRun:
        launched = LaunchedRun.prepared(self._folder / name, self._num_workers, self._flags)
        with launched.started(0) as launcher:
            self._end(launched, launcher, 0)
        return launched

    def disturb(self, wanted: int) -> int:
        """Kills workers of one run up to `wanted` times and compares it; how many kills there were."""
        name = f"run{next(self._numbers)}"
        launched = LaunchedRun.prepared(self._folder / name, self._num_workers, self._flags)
        killed: list[str] = []
        try:
            with launched.started(max_restarts=wanted) as launcher:
                while len(killed) < wanted and (name := self._kill_one(launched, launcher, len(killed))):
                    killed.append(name)
                self._end(launched, launcher, len(killed))
            wrong = differences(self._reference.run, launched.run)
        except KillTestError as error:
            wrong = [str(error)]
        self.kills.update(killed)
        if wrong:
            self.faults.append(f"{', '.join(killed) or 'no kill'}: {'; '.join(wrong)}")
            logging.error("%s", self.faults[-1])
        else:
            self.equal.update(killed)
        return len(killed)

    def _kill_one(self, launched: LaunchedRun, launcher: subprocess.Popen, restarts: int) -> str | None:
        """Waits for the start after `restarts` ones, kills a worker in it; None if the run ended before."""
        _wait_for(launcher, lambda: len(workers_of(launcher.pid)) == self._num_workers, "the start of all workers")
        due = time.monotonic() + self._rng.uniform(0, self.seconds)
        index = self._rng.randrange(self._num_workers)
        while time.monotonic() < due:
            if launcher.poll() is not None:
                return None
            time.sleep(_POLL_SECONDS)
        victims = [worker for worker in workers_of(launcher.pid) if worker.index == index]
        if not victims:  # it ends
            return None
        logging.info("Killing worker %d, in start %d", index, restarts + 1)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victims[0].pid, signal.SIGKILL)
        begin = time.monotonic()
        _wait_for(launcher, lambda: launched.num_restarts() > restarts, "a restart after a kill")
        if launcher.poll() is not None and launched.num_restarts() <= restarts:
            return None  # all was done already
        logging.info("All workers had ended after %.1f s", time.monotonic() - begin)
        return "worker 0" if index == 0 else "another worker"

    def _end(self, launched: LaunchedRun, launcher: subprocess.Popen, restarts: int) -> None:
        """Waits for the end. Raises KillTestError unless it is the one wanted."""
        code = launcher.wait(PATIENCE_SECONDS)
        text = launched.errors.read_text(errors="replace")
        if code or launched.num_restarts() != restarts or "Traceback" in text:
            raise KillTestError(
                f"exit code {code} after {launched.num_restarts()} restarts, not 0 after {restarts}:\n{text[-3000:]}"
            )


def _wait_for(launcher: subprocess.Popen, is_there: Callable[[], bool], what: str) -> None:
    """Returns too when the launcher has ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while launcher.poll() is None and not is_there():
        if time.monotonic() > end:
            raise KillTestError(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(_POLL_SECONDS)


def table(test: WorkerKills) -> str:
    """The results in Markdown."""
    lines = ["| killed | number | run ended bitwise equal |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {count} | {test.equal[name]} |" for name, count in sorted(test.kills.items())]
    lines += [f"| **all** | {test.kills.total()} | {test.equal.total()} |"]
    return "\n".join(
        lines + [""] * bool(test.faults) + [f"- fault: {' '.join(fault.split())}" for fault in test.faults]
    )


def main() -> int:
    """Measures, prints and appends to the results; 1 when anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder, tqdm(total=arguments.kills, unit="kill", disable=None) as bar:
        test = WorkerKills(Path(folder), arguments.workers, rng)
        # A run may end before its kills have come.
        for _ in range(MAX_RUNS + arguments.kills):
            if test.kills.total() < arguments.kills:
                bar.update(test.disturb(min(arguments.kills - test.kills.total(), KILLS_PER_RUN)))
    append_result("workers", table(test), package="robustness")
    return 1 if test.faults else 0


if __name__ == "__main__":
    sys.exit(main())
