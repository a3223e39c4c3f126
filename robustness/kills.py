"""Kills runs again and again, lets each end, and compares what it leaves with an undisturbed run, byte by byte.

    python3 -m robustness.kills [--kills 50] [--seed 0] [--replicas 1] [--jobs 1] [--forked]

Every run trains, evaluates and predicts on the bundled task with a tiny model, in processes of its own started by one
command line (with --forked, which takes half the time, forked from one that has imported TensorFlow). The kinds of
kills:

  before a change of a file   SIGKILL before an opening for writing, renaming, linking or removing, drawn from all
                              that an undisturbed run does in a phase (robustness/kill_driver.py)
  while C++ writes            SIGKILL from outside when the file of a cache, of a checkpoint or of TensorBoard appears
                              or grows
  at any moment               SIGKILL after a time drawn from the seconds of an undisturbed run
  stop                        SIGTERM or SIGINT while training; the state has to be saved
  shared cache                SIGKILL of a process that builds a cache, while another waits for the same
  moving aside                SIGKILL with --overwrite_output_dir; the old directory has to be whole

No start may fail; at its end a run has the same files as the undisturbed one, with the same bytes but for times.
Prints a table and appends it, with date and command, to benchmarks/results/kills.md.
"""

import argparse
import collections
import dataclasses
import itertools
import logging
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from benchmarks.results_file import append_result
from robustness.kill_runs import KillTestError, Run, Started, copy_of, differences, is_growing, raw_contents

# Shares of the kills, by kind; the order is the one in which they can come in one run, one after the other.
SHARES = {
    "before a change of a file: claiming the directory": 2,
    "while a cache is written": 2,
    "before a change of a file: writing caches": 4,
    "while C++ writes TensorBoard's events": 1,
    "before a change of a file: training": 2,
    "stop by SIGTERM": 3,
    "stop by SIGINT": 3,
    "while C++ writes a checkpoint": 4,
    "at any moment": 5,
    "before a change of a file: saving": 7,
    "before a change of a file: evaluating": 6,
    "before a change of a file: writing results": 5,
    "shared cache": 3,
    "moving aside": 3,
}
KILLS_PER_RUN = 5
# A kill whose moment did not come, because the kills before it had left too little to do, gets another run.
MAX_ROUNDS = 5
_GROWING = {
    "while a cache is written": ("cached_dir", ("*.tf_record.tmp-*",)),
    "while C++ writes TensorBoard's events": ("output_dir", ("events.out.tfevents.*",)),
    "while C++ writes a checkpoint": ("output_dir", ("model.ckpt-*.tmp-*",)),
}


@dataclasses.dataclass
class Tally:
    """What became of the kills of one kind."""

    kills: int = 0
    survived: int = 0
    equal: int = 0


@dataclasses.dataclass(frozen=True)
class Reference:
    """The undisturbed run, how often it changed files in each phase, and how long it took."""

    run: Run
    changes: collections.Counter[str]
    seconds: float


def share_out(kills: int) -> list[str]:
    """The kind of each of `kills` kills: as SHARES say, the largest remainders rounded up, in the order there."""
    total = sum(SHARES.values())
    exact = {kind: kills * weight / total for kind, weight in SHARES.items()}
    counts = {kind: int(value) for kind, value in exact.items()}
    for kind in sorted(exact, key=lambda kind: counts[kind] - exact[kind])[: kills - sum(counts.values())]:
        counts[kind] += 1
    return [kind for kind, count in counts.items() for _ in range(count)]


def chains(kinds: Sequence[str], rng: random.Random) -> list[list[str]]:
    """The kinds of kills of each run: those that need a run of their own, and the others mixed, in order of SHARES."""
    alone = [[kind] for kind in kinds if kind in ("shared cache", "moving aside")]
    rest = [kind for kind in kinds if [kind] not in alone]
    rng.shuffle(rest)
    order = list(SHARES)
    count = -(-len(rest) // KILLS_PER_RUN)
    return [sorted(rest[i::count], key=order.index) for i in range(count)] + alone


class KillTest:
    """Makes runs in `folder`, kills them and counts."""

    def __init__(self, folder: Path, num_replicas: int, forked: bool, rng: random.Random):
        self._folder = folder
        self._num_replicas = num_replicas
        self._forked = forked
        self._rng = rng
        self.tallies = {kind: Tally() for kind in SHARES}
        self.faults: list[str] = []
        self._numbers = itertools.count(1)
        self._counting = threading.Lock()
        self._reference = self._undisturbed()

    def _undisturbed(self) -> Reference:
        run = Run(self._folder / "reference", self._num_replicas, forked=self._forked).prepare()
        begin = time.monotonic()
        started = run.start()
        started.end(0)
        changes = collections.Counter(line.partition("\t")[0] for line in started.changes())
        return Reference(run, changes, time.monotonic() - begin)

    def _new_folder(self) -> Path:
        return self._folder / str(next(self._numbers))

    def disturb(self, kinds: Sequence[str]) -> Sequence[str]:
        """Kills one run by `kinds`, lets it end, compares it; returns the kinds for which it ended too early.

        May be called from several threads.
        """
        special = {"shared cache": self._share_cache, "moving aside": self._move_aside}
        done: list[str] = []
        try:
            if kinds[0] in special:
                run = special[kinds[0]]()
                done = list(kinds)
            else:
                run = Run(self._new_folder(), self._num_replicas, forked=self._forked).prepare()
                for kind in kinds:
                    if not self._kill(run, kind, kinds.count(kind)):
                        break
                    done.append(kind)
                run.start().end(0)
        except KillTestError as error:
            self._count(kinds[: len(done) + 1], 0, 0, f"{', '.join(kinds)} (after {len(done)}): {error}")
            return []
        wrong = differences(self._reference.run, run)
        self._count(done, 1, int(not wrong), f"{', '.join(done)}: {'; '.join(wrong)}" if wrong else None)
        return kinds[len(done) :]

    def _count(self, kinds: Sequence[str], survived: int, equal: int, fault: str | None) -> None:
        with self._counting:
            for kind in kinds:
                tally = self.tallies[kind]
                tally.kills += 1
                tally.survived += survived
                tally.equal += equal
            if fault:
                logging.error("%s", fault)
                self.faults.append(fault)

    def _kill(self, run: Run, kind: str, times: int) -> bool:
        """One start of `run` that is killed; False if it ended before. `times` such kills have to fit into the run."""
        if kind.startswith("before a change"):
            phase = kind.partition(": ")[2]
            nth = self._rng.randint(1, max(1, self._reference.changes[phase] // times))
            started = run.start(phase, nth)
            code = started.end(-signal.SIGKILL, 0)
            logging.info("%s: number %d, %s", kind, nth, started.changes()[-1].split("\t")[1:])
            return code != 0
        if kind.startswith("stop by"):
            number = signal.Signals[kind.rpartition(" ")[2]]
            # Three changes are made before training begins, and one for each file that a kill left half-written.
            half_written = len(list(run.output_dir.glob("training_log*.tmp-*")))
            started = run.start("training", half_written + self._rng.randint(4, 5), number)
            if started.end(128 + number, 0) == 0:
                return False
            started.check_saved(run.output_dir)
            return True
        if kind == "at any moment":
            due = time.monotonic() + self._rng.uniform(0, self._reference.seconds)
            return self._kill_from_outside(run.start(), lambda: time.monotonic() > due)
        place, patterns = _GROWING[kind]
        is_due = is_growing(getattr(run, place), patterns)
        return self._kill_from_outside(run.start(), is_due)

    def _kill_from_outside(self, started: Started, is_due: Callable[[], bool]) -> bool:
        return started.kill_when(is_due) and started.end(-signal.SIGKILL, 0) != 0

    def _share_cache(self) -> Run:
        """A process stops while it builds a cache, another wants the same; the first is killed, and starts again."""
        folder = self._new_folder()
        first = Run(folder, self._num_replicas, out="first/out", forked=self._forked).prepare()
        second = dataclasses.replace(first, out="second/out")
        for run in (first, second):
            run.output_dir.parent.mkdir()
        # The first two changes, making the folder and opening the lock, are made before the lock is held.
        owner = first.start("writing caches", self._rng.randint(3, 8), signal.SIGSTOP)
        if not owner.wait_until_stopped():
            raise KillTestError("the process ended without building the cache")
        other = second.start()
        try:
            if not other.wait_for_line("waiting for another process that is building"):
                raise KillTestError(f"the second process did not wait: {other.errors()}")
        finally:
            owner.process.kill()
        owner.end(-signal.SIGKILL)
        other.end(0)
        if wrong := differences(self._reference.run, second):
            raise KillTestError(f"the process that waited: {'; '.join(wrong)}")
        first.start().end(0)
        return first

    def _move_aside(self) -> Run:
        """A run over an ended one, killed around the move; then the same command again."""
        finished = copy_of(self._reference.run, self._new_folder())
        old = raw_contents(finished.output_dir)
        run = dataclasses.replace(finished, extra=("--overwrite_output_dir",))
        run.start("claiming the directory", self._rng.randint(1, 4)).end(-signal.SIGKILL)
        if old not in map(raw_contents, run.folder.glob("out*/")):
            raise KillTestError("after the kill the old directory is whole under no name")
        run.start().end(0)
        if old not in map(raw_contents, run.folder.glob("out.old-*/")):
            raise KillTestError("the old directory was not kept whole")
        return run


def table(test: KillTest) -> str:
    """The results in Markdown."""
    lines = ["| kills | number | every later start worked | ended bitwise equal |", "| --- | ---: | ---: | ---: |"]
    rows = [(kind, tally) for kind, tally in test.tallies.items() if tally.kills]
    whole = Tally(*(sum(getattr(tally, name) for _, tally in rows) for name in ("kills", "survived", "equal")))
    lines += [
        f"| {kind} | {tally.kills} | {tally.survived} | {tally.equal} |" for kind, tally in [*rows, ("**all**", whole)]
    ]
    return "\n".join(
        lines + [""] * bool(test.faults) + [f"- fault: {' '.join(fault.split())}" for fault in test.faults]
    )


def disturb_all(test: KillTest, kinds: Sequence[str], rng: random.Random, jobs: int) -> Iterator[int]:
    """Disturbs runs, `jobs` at a time, until there were kills of all `kinds`; yields how many each made."""
    with ThreadPoolExecutor(jobs) as pool:
        for _ in range(MAX_ROUNDS):
            left: list[str] = []
            made = chains(kinds, rng)
            for chain, undone in zip(made, pool.map(test.disturb, made), strict=True):
                left += undone
                yield len(chain) - len(undone)
            kinds = left


def main() -> int:
    """Measures, prints and appends to the results; 1 when anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--forked", action="store_true", help="fork runs from a process that has imported TensorFlow")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder, tqdm(total=arguments.kills, unit="kill", disable=None) as bar:
        test = KillTest(Path(folder), arguments.replicas, arguments.forked, rng)
        for count in disturb_all(test, share_out(arguments.kills), rng, arguments.jobs):
            bar.update(count)
    append_result("kills", table(test), package="robustness")
    return 1 if test.faults else 0


if __name__ == "__main__":
    sys.exit(main())
