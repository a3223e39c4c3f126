"""Runs jobs as processes, side by side, each on devices of its own. No TensorFlow.

A run is a session of its own, so that Ctrl-C in a terminal reaches it once, through the sweep. Should the sweep be
killed, the kernel asks its runs to stop, and they save.
"""

import contextlib
import ctypes
import dataclasses
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from albert.errors import UserError
from albert.runs.sweep.jobs import Job
from albert.runs.sweep.progress import Display, Progress, duration, last_words
from albert.runs.sweep.slots import Slot
from albert.system.endings import likely_reason
from albert.system.files import cannot_write
from albert.system.locks import LOCK, FileLock
from albert.system.logged_output import part_line
from albert.system.signals import StopOnSignal, signal_name

_PACKAGE_ROOT = Path(__file__).parents[3]
# How often progress is read, and signals are answered. Processes that end are noticed at once.
_SECONDS = 1.0
_SECONDS_WITHOUT_NOTICE = 0.2
_SECONDS_TO_SAVE = 600.0
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl
_PUT_BACK = "put back what was there, or give a sweep of the new data another `output_dir`"
# Of a program that reported a mistake of the user.
_MISTAKE = 2
_STOPPED = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


# The module of a program and its flags by name -> a command line.
Command = Callable[[str, Mapping[str, str]], list[str]]


class Queue(Protocol):
    """Where jobs come from. `run_jobs` asks it for the next one, and tells it how each ended."""

    def next_job(self) -> Job | None:
        """A job that can begin now, which then is no longer waiting; None where none can at present."""

    def put_back(self, job: Job) -> None:
        """The job could not begin yet."""

    def ended(self, job: Job, is_finished: bool) -> None:
        """A job is finished, or failed, or was ended early."""

    def should_end(self, job: Job) -> bool:
        """Whether nothing is expected of a job that runs."""

    @property
    def waiting(self) -> int:
        """How many jobs are still to begin, as far as is known."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """A job that did not finish, and why: `is_mistake` where its program says so by its exit code."""

    job: Job
    reason: str
    is_mistake: bool = False


@dataclasses.dataclass
class _Running:
    job: Job
    slot: Slot
    process: subprocess.Popen
    descriptor: int | None
    log: IO[bytes]
    progress: Progress
    began: float
    is_ended_early: bool = False

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.log.close()


class LongestFirst:
    """Jobs that are all known; those that begin from another's model wait for it, and are left out where it failed."""

    def __init__(self, jobs: Sequence[Job]):
        weight = {job: job.cost for job in jobs}
        for job in sorted(jobs, key=lambda job: job.depth, reverse=True):  # what waits for a job makes it more urgent
            if job.after in weight:
                weight[job.after] = max(weight[job.after], job.after.cost + weight[job])
        self._jobs = sorted(jobs, key=lambda job: -weight[job])
        self.left_out: list[Failure] = []

    @property
    def waiting(self) -> int:
        """How many have not begun."""
        return len(self._jobs)

    def next_job(self) -> Job | None:
        """The longest that can begin."""
        for job in self._jobs:
            if job.after is None or job.after.is_finished():
                self._jobs.remove(job)
                return job
        return None

    def put_back(self, job: Job) -> None:
        """To the front, where it came from."""
        self._jobs.insert(0, job)

    def ended(self, job: Job, is_finished: bool) -> None:
        """Leaves out what needed a job that failed, directly or through another."""
        if is_finished:
            return
        for other in [other for other in self._jobs if other.after == job]:
            self._jobs.remove(other)
            self.left_out.append(Failure(other, f"left out, because it starts from {job.name}"))
            self.ended(other, False)

    def should_end(self, job: Job) -> bool:
        """Every one runs to its end."""
        return False


@dataclasses.dataclass
class Scheduler:
    """`run` starts jobs wherever a slot is free, until the queue has no more and all have ended.

    Attributes:
      slots: the devices of one run each.
      command: the command line of a program with flags.
      fail_fast: whether a failed run stops the others.
      lower_is_better: of a job, whether small scores are the good ones; for what is shown of its progress.
    """

    slots: Sequence[Slot]
    display: Display
    command: Command
    fail_fast: bool = False
    lower_is_better: Callable[[Job], bool] = lambda job: False

    def __post_init__(self) -> None:
        self._free = list(self.slots)
        self._running: list[_Running] = []
        self._said_busy: set[Path] = set()
        self._is_stopping = False

    def run(self, queue: Queue) -> list[Failure]:
        """The jobs that failed. Raises Interrupted after a signal, when all runs have saved."""
        failures: list[Failure] = []
        with StopOnSignal() as stop, self._ending_all():
            while True:
                if not self._is_stopping and (stop.requested or (self.fail_fast and failures)):
                    self._is_stopping = True
                    self._ask_to_stop()
                has_begun = not self._is_stopping and self._begin_what_fits(queue, failures)
                if not self._running and (self._is_stopping or (not queue.waiting and not has_begun)):
                    break
                self._wait()
                failures += self._reap(queue)
                self._end_early(queue)
                self.display.show([each.progress for each in self._running], queue.waiting)
            self.display.close()  # before what is said of its end
            stop.raise_if_requested("the sweep is stopped, its runs have saved")
        return failures

    def _begin_what_fits(self, queue: Queue, failures: list[Failure]) -> bool:
        """Whether a job began; adds to `failures` those whose data are others than those of the runs before."""
        has_begun, busy = False, []
        while self._free and (job := queue.next_job()):
            if changed := job.changed_file():
                reason = f"{changed} is not what it was when the sweep began; {_PUT_BACK}"
                failures.append(Failure(job, reason))
                self.display.say(f"{job.name} does not begin: {reason}")
                queue.ended(job, False)
                continue
            holder = _holder_of(job.folder)
            if holder:
                busy.append(job)
                if job.folder not in self._said_busy:
                    self._said_busy.add(job.folder)
                    self.display.say(f"{job.name} waits: {job.folder} is in use by {holder}")
                continue
            self._begin(job, self._free.pop(0))
            has_begun = True
        for job in reversed(busy):
            queue.put_back(job)
        return has_begun

    def _begin(self, job: Job, slot: Slot) -> None:
        if damaged := job.damaged_file():
            text = f"{damaged} is damaged: {job.name} runs again, from where its checkpoints are"
            self.display.say(text, logging.WARNING)
        job.begin()
        command = self.command(job.module, job.all_flags(slot.flags))
        try:
            log = job.log.open("ab")
            log.write(part_line(command, is_first=log.tell() == 0))
            log.flush()
        except OSError as error:
            raise cannot_write(job.log, error) from error
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_our_package(), **slot.environment},
            start_new_session=True,
            preexec_fn=_preparation(slot, os.getpid()),
        )
        progress = Progress(job, self.lower_is_better(job))
        self._running.append(_Running(job, slot, process, _descriptor_of(process), log, progress, time.monotonic()))
        self.display.say(f"{job.name} begins on {slot}; log in {job.log}")

    def _wait(self) -> None:
        """Until a process ends, or it is time to look at the others."""
        poll = select.poll()
        descriptors = [each.descriptor for each in self._running]
        for descriptor in descriptors:
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        poll.poll(1000 * (_SECONDS_WITHOUT_NOTICE if None in descriptors else _SECONDS))

    def _reap(self, queue: Queue) -> list[Failure]:
        failures = []
        for each in [each for each in self._running if each.process.poll() is not None]:
            self._running.remove(each)
            self._free.append(each.slot)
            each.close()
            took = duration(time.monotonic() - each.began)
            reason = self._why_failed(each)
            if self._is_stopping and each.process.returncode in _STOPPED:
                self.display.say(f"{each.job.name} has saved and stopped after {took}")
            elif self._is_stopping and each.process.returncode == -signal.SIGTERM:
                # Outside training a signal simply ends it; what it has trained it saved before.
                self.display.say(f"{each.job.name} is stopped after {took}")
            elif each.is_ended_early and not each.job.is_finished():
                self.display.say(f"{each.job.name} was ended early after {took}: nothing is expected of it")
            elif reason:
                failures.append(Failure(each.job, reason, each.process.returncode == _MISTAKE))
                self.display.say(f"{each.job.name} failed after {took}: {reason}")
            else:
                self.display.say(f"{each.job.name} is finished after {took}")
            queue.ended(each.job, each.job.is_finished())
        return failures

    def _why_failed(self, ended: _Running) -> str | None:
        code, job = ended.process.returncode, ended.job
        if code == 0:
            if job.has_read_other_data():
                return f"it read other data than there were when the sweep began; {_PUT_BACK}"
            job.confirm()
            if job.is_finished():
                return None
            return f"it ended without {', '.join(job.products)} of a finished run; see {job.log}"
        how = f"stopped by {signal_name(-code)}" if code < 0 else f"exit code {code}"
        if code in _STOPPED:
            how = f"stopped by {signal_name(code - 128)}, and saved"
        return f"{how}{likely_reason(code)}: {last_words(job.log)}"

    def _end_early(self, queue: Queue) -> None:
        for each in self._running:
            if not each.is_ended_early and queue.should_end(each.job):
                each.is_ended_early = True
                each.process.terminate()

    def _ask_to_stop(self) -> None:
        for each in self._running:
            each.process.terminate()

    @contextlib.contextmanager
    def _ending_all(self) -> Iterator[None]:
        """Leaves no process behind, whatever ends the sweep; who interrupts twice does not wait for checkpoints."""
        seconds_to_save = _SECONDS_TO_SAVE
        try:
            yield
        except KeyboardInterrupt:
            seconds_to_save = 0
            raise
        finally:
            self.display.close()
            self._ask_to_stop()
            for each in self._running:
                try:
                    each.process.wait(timeout=seconds_to_save)
                except subprocess.TimeoutExpired:
                    each.process.terminate()  # the second signal stops a run at once
                    each.process.wait()
                each.close()
            self._running.clear()


def _descriptor_of(process: subprocess.Popen) -> int | None:
    """What can be waited on until the process ends; None where the kernel is too old for that (before 5.3)."""
    try:
        return os.pidfd_open(process.pid)
    except OSError:
        return None


def _our_package() -> dict[str, str]:
    """Runs use the package that this is of, wherever the sweep was called."""
    path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def _preparation(slot: Slot, parent: int) -> Callable[[], None]:
    """What the new process does before it becomes the program: takes its cores, and ties its life to the sweep's."""
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        if slot.cores:
            os.sched_setaffinity(0, slot.cores)
        prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # it died before that was said
            os._exit(1)

    return prepare


def _holder_of(folder: Path) -> str | None:
    """Who works in the folder of a run: what is left of a sweep that was killed, until it has saved."""
    if not (folder / LOCK).exists():
        return None
    lock = FileLock(folder / LOCK)
    try:
        return lock.take()
    except UserError:
        return None  # the run itself says what is wrong there
    finally:
        lock.release()
