"""Starts the workers of one training on this machine, and all of them again when one was lost. No TensorFlow.

For trials, and for one machine with several GPUs; on a cluster its own launcher does the same. A run of several workers
cannot continue without one of them: when one ends, all have to, and all start again from the last checkpoint.
"""

import contextlib
import dataclasses
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping

from albert.engine.cluster import Cluster
from albert.errors import UserError
from albert.settings.fields import DEVICES, LIMITS, at_least, problems_of, setting
from albert.system.endings import NATIVE_LOSS, likely_reason
from albert.system.gpus import check_parts, named_gpus, visible_gpus
from albert.system.ports import free_ports
from albert.system.prefixed_output import Screen
from albert.system.printing import counted
from albert.system.process_group import End, ProcessGroup
from albert.system.signals import leave_closed_terminal, signal_name, terminations

_STOPPED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})
# Another start would end the same way: all is done, the user has to fix something, somebody asked to stop.
FINAL_CODES = frozenset({0, 2}) | _STOPPED
# After a worker that is done: for the others to be done too; the first one still writes results.
_DONE_SECONDS = 600.0
_A_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class LaunchSettings:
    """Which program is started, how often, and what happens when a worker ends.

    `is_restartable`: a second start continues what the first one began.
    """

    module: str
    arguments: tuple[str, ...]
    num_workers: int = setting("Workers that train together, each a process.", DEVICES, bounds=at_least(1, 64))
    gpus_per_worker: int = setting(
        "GPUs of each worker, in the order of CUDA_VISIBLE_DEVICES; 0 leaves that variable as it is.",
        DEVICES,
        default=0,
        bounds=at_least(0, 256),
    )
    max_restarts: int = setting(
        "How often all workers are started again when one was lost.", LIMITS, default=3, bounds=at_least(0, 1000)
    )
    grace_seconds: int = setting(
        "After one worker failed the others have so many seconds to end by themselves, and as many after SIGTERM.",
        LIMITS,
        default=30,
        bounds=at_least(0, _A_DAY),
    )
    is_restartable: bool = True

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        return problems_of(self)


def run(settings: LaunchSettings) -> None:
    """Exits with the code of the worker that ended first with another one than 0; with 0 if all did with that.

    128 + the signal's number stands for a worker that was ended by a signal.
    """
    gpus = _gpus_of_workers(settings, os.environ)
    num_restarts = settings.max_restarts
    if num_restarts and not settings.is_restartable:
        logging.warning("With overwrite_output_dir the workers are not restarted: that would discard what they did.")
        num_restarts = 0
    with _received_signals() as received:
        for attempt in range(num_restarts + 1):
            end = _Launch(settings, gpus, received).run()
            if end.code in FINAL_CODES or received:
                num_restarts = attempt
                break
            if attempt < num_restarts:
                logging.warning("%s; restart %d of %d of all workers", _described(end), attempt + 1, num_restarts)
    if end.code:
        kind = "stopped" if received or end.code in _STOPPED else "error"
        times = f", after {counted(num_restarts, 'restart')}" if num_restarts else ""
        print(f"{kind}: {_described(end)}{times}", file=sys.stderr)
        sys.exit(end.code if end.code > 0 else 128 - end.code)


def _as_by_shell(end: End) -> End:
    """With 130 and 143 for a worker that SIGINT or SIGTERM ended before it could handle them: it was stopped, too."""
    return End(end.index, 128 - end.code) if 128 - end.code in _STOPPED else end


def _described(end: End) -> str:
    how = f"ended with code {end.code}" if end.code >= 0 else f"was ended by {signal_name(-end.code)}"
    return f"worker {end.index} {how}{likely_reason(end.code)}"


@contextlib.contextmanager
def _received_signals() -> Iterator[list[int]]:
    """While active, the signals that would end this process are noted, to be passed on."""
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        leave_closed_terminal()
        received.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, *terminations())}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Launch:
    """One start of all workers, up to the end of the last."""

    def __init__(self, settings: LaunchSettings, gpus: list[str], received: list[int]):
        self._settings = settings
        self._received = received
        self._num_passed_on = 0
        self._decisive: End | None = None
        # When the workers that still run are ended, and by which signal.
        self._due: float | None = None
        self._signal = signal.SIGTERM
        command = [sys.executable, "-m", settings.module, *settings.arguments]
        screens = Screen(sys.stdout.buffer), Screen(sys.stderr.buffer)
        self._group = ProcessGroup(
            command, environments_of(settings.num_workers, gpus, os.environ), *screens, NATIVE_LOSS
        )

    def run(self) -> End:
        """The end of the worker that decides about all."""
        with self._group:
            while self._group.is_running:
                self._note(self._group.serve())
                self._pass_signals_on()
                if self._due is not None and time.monotonic() > self._due:
                    self._end_others()
        return self._decisive or End(0, 0)

    def _note(self, ends: list[End]) -> None:
        # What was killed is seen by the others at once: of those that end in the same moment it was the first.
        if self._signal == signal.SIGTERM:  # none of these ends is due to this process
            ends = [_as_by_shell(end) for end in ends]
        for end in sorted(ends, key=lambda end: end.code in FINAL_CODES):
            is_done = end.code == 0 or end.code in _STOPPED
            self._end_within(_DONE_SECONDS if is_done else self._settings.grace_seconds)
            if end.code and not self._decisive:
                self._decisive = end

    def _pass_signals_on(self) -> None:
        for number in self._received[self._num_passed_on :]:
            self._num_passed_on += 1
            self._group.send(number)
            if self._num_passed_on > 1:  # somebody insists
                self._end_within(self._settings.grace_seconds)

    def _end_within(self, seconds: float) -> None:
        due = time.monotonic() + seconds
        self._due = due if self._due is None else min(self._due, due)

    def _end_others(self) -> None:
        self._group.send(self._signal)
        self._signal = signal.SIGKILL
        self._due = time.monotonic() + self._settings.grace_seconds


def environments_of(num_workers: int, gpus: list[str], environment: Mapping[str, str]) -> list[dict[str, str]]:
    """The variables of each worker: its place in a cluster of this machine, and its GPUs if `gpus` has them."""
    # New ports: a process of an earlier start that still ends can disturb nothing.
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(num_workers))
    launch = secrets.token_hex(8)
    return [
        {
            **environment,
            "TF_CONFIG": Cluster(addresses, index).tf_config(),
            "ALBERT_LAUNCH": launch,
            "PYTHONUNBUFFERED": "1",
            **({"CUDA_VISIBLE_DEVICES": gpus[index]} if gpus else {}),
        }
        for index in range(num_workers)
    ]


# GPUs -----------------------------------------------------------------------------------------------------------------


def _gpus_of_workers(settings: LaunchSettings, environment: Mapping[str, str]) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each worker; nothing where it stays as it is. Raises UserError if there are too few."""
    per_worker = settings.gpus_per_worker
    if not per_worker:
        return []
    named = named_gpus(environment)
    names = visible_gpus(environment) if named is None else named
    source = "nvidia-smi" if named is None else f"CUDA_VISIBLE_DEVICES={environment['CUDA_VISIBLE_DEVICES']}"
    check_parts(names, "gpus_per_worker", per_worker)
    wanted = settings.num_workers * per_worker
    if len(names) < wanted:
        raise UserError(
            f"`num_workers`={settings.num_workers} with `gpus_per_worker`={per_worker} needs "
            f"{counted(wanted, 'GPU')}, and {source} names {len(names)}"
        )
    return [",".join(names[start : start + per_worker]) for start in range(0, wanted, per_worker)]
