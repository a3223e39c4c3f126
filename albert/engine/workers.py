"""The workers, processes that train together, as the code of a run sees them: who decides, and what all must share.

A run asks the same of `Workers` whether it is one process or several. One process decides everything itself, and none
of these methods does anything more than call what it is given. No TensorFlow.
"""

import contextlib
import json
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np

from albert.engine.cluster import Cluster
from albert.errors import UserError
from albert.system.endings import LostWorker

T = TypeVar("T")
_LEAVES_LATER = 0.3
Arrays = dict[str, np.ndarray]


class Workers:
    """A single process, which is worker 0 of one."""

    count = 1
    index = 0
    is_chief = True
    # What tqdm takes as `disable`: None shows a bar where there is a terminal.
    hides_bars: bool | None = None

    def on_chief(self, work: Callable[[], T]) -> T | None:
        """What `work` returns, on worker 0, which alone does it; None on the others.

        What it raises as UserError or as OSError of a file is raised on all.
        """
        return work()

    def agree(self, decide: Callable[[], T]) -> T:
        """What `decide` returns on worker 0, which alone calls it: numbers, texts, lists of them, or what JSON has."""
        return decide()

    def together(self, work: Callable[[], T]) -> T:
        """What `work` returns on each; the first worker's UserError, or OSError of a file, is raised on all."""
        return work()

    def highest(self, number: Callable[[], int]) -> int:
        """The largest of all workers' numbers; what `number` raises is raised as by `together`."""
        return number()

    def gather(self, arrays: Arrays) -> list[Arrays]:
        """The arrays of every worker, in their order."""
        return [arrays]

    def compare(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """Raises UserError on all, naming a worker and a fact, where `facts()` differ; not called for one worker."""

    def part(self) -> None:
        """Before all end: returns when all are here, and none still waits for what another has said."""

    def waiting(self, phase: str, is_first: bool = False) -> contextlib.AbstractContextManager[None]:
        """Around what waits for other workers; raises LostWorker where one is gone.

        `phase` says what is waited for. `is_first`: it may take long, because something is compiled.
        """
        return contextlib.nullcontext()

    def start_watching(self) -> None:
        """From now on every process ends that makes no progress for too long."""

    def describe(self) -> str:
        """A phrase for logs, "" for one process."""
        return ""


ALONE = Workers()


class SeveralWorkers(Workers):
    """This process among the others of `cluster`.

    `exchange(message)` returns the messages of all workers, in their order, and must be called by all of them.
    `waiting` is around every exchange, and around other work that waits for all; see `Workers.waiting`.
    """

    def __init__(
        self,
        cluster: Cluster,
        exchange: Callable[[bytes], Sequence[bytes]],
        waiting: Callable[[str, bool], contextlib.AbstractContextManager[None]],
        start_watching: Callable[[], None] = lambda: None,
    ):
        self.count, self.index = cluster.count, cluster.index
        self.is_chief = cluster.is_chief
        self.hides_bars = None if cluster.is_chief else True
        self._cluster = cluster
        self._exchange = exchange
        self._waiting = waiting
        self._start_watching = start_watching
        self._has_exchanged = False

    def on_chief(self, work: Callable[[], T]) -> T | None:
        result, problem = _attempt(work) if self.is_chief else (None, {})
        self._raise_first(self._messages("what worker 0 does alone", problem))
        return result

    def agree(self, decide: Callable[[], T]) -> T:
        result, problem = _attempt(decide) if self.is_chief else (None, {})
        messages = self._messages("a decision of worker 0", problem or {"value": result})
        self._raise_first(messages)
        # Worker 0 takes what the others get: a tuple has become a list everywhere.
        return messages[0]["value"]

    def together(self, work: Callable[[], T]) -> T:
        result, problem = _attempt(work)
        self._raise_first(self._messages("the preparations of all workers", problem))
        assert result is not None or not problem, "a problem of this worker is one of all"
        return result  # type: ignore[return-value]  # what `work` returned, if that is None too

    def highest(self, number: Callable[[], int]) -> int:
        result, problem = _attempt(number)
        messages = self._messages("the next step", problem or {"value": result})
        self._raise_first(messages)
        return max(message["value"] for message in messages)

    def gather(self, arrays: Arrays) -> list[Arrays]:
        return [_arrays_of(message) for message in self._exchanged("the outputs of all workers", _bytes_of(arrays))]

    def compare(self, facts: Callable[[], Mapping[str, str]]) -> None:
        found = self._messages("a comparison of all workers", {"value": dict(facts())})
        ours = found[0]["value"]
        for index, message in enumerate(found):
            theirs = message["value"]
            for name in sorted({*ours, *theirs}):
                if ours.get(name) != theirs.get(name):
                    raise UserError(
                        f"{name}: {ours.get(name)} on {self._cluster.name(0)} and {theirs.get(name)} on "
                        f"{self._cluster.name(index)}. All workers need the same."
                    )

    def part(self) -> None:
        self._messages("the end of all workers", {})
        # Who has got here has all that the first round brought; who is first to get here may be gone in the second.
        with contextlib.suppress(LostWorker):
            self._messages("the end of all workers", {})
        if self.is_chief:
            time.sleep(_LEAVES_LATER)  # it holds what the others report to, and they would complain

    def waiting(self, phase: str, is_first: bool = False) -> contextlib.AbstractContextManager[None]:
        return self._waiting(phase, is_first)

    def start_watching(self) -> None:
        self._start_watching()

    def describe(self) -> str:
        return f" of each of {self.count} workers"

    def _messages(self, phase: str, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        text = json.dumps(message, default=lambda number: number.item())
        return [json.loads(each) for each in self._exchanged(phase, text.encode())]

    def _exchanged(self, phase: str, message: bytes) -> Sequence[bytes]:
        with self.waiting(phase, not self._has_exchanged):
            received = self._exchange(message)
        self._has_exchanged = True
        return received

    def _raise_first(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Raises the first problem. Those who do not have it too name the worker: its paths are not theirs."""
        for index, message in enumerate(messages):
            if "problem" in message:
                self.part()
                is_ours = index == 0 and messages[self.index].get("problem") == message["problem"]
                _raise(message["problem"], "" if is_ours else f"{self._cluster.name(index)}: ")


def _attempt(work: Callable[[], T]) -> tuple[T | None, dict[str, Any]]:
    """What `work` returns, or the problem that it raises."""
    try:
        return work(), {}
    except UserError as error:
        return None, {"problem": str(error)}
    except OSError as error:
        if error.filename is None:
            raise
        return None, {"problem": [error.errno, error.strerror, str(error.filename)]}


def _raise(problem: str | list[Any], prefix: str) -> NoReturn:
    if isinstance(problem, str):
        raise UserError(f"{prefix}{problem}")
    number, reason, name = problem
    raise UserError(f"{prefix}{name}: {reason}") if prefix else OSError(number, reason, name)


# --- Arrays as bytes --------------------------------------------------------------------------------------------------


def _bytes_of(arrays: Arrays) -> bytes:
    described = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    header = json.dumps(described).encode()
    return b"".join([struct.pack("<q", len(header)), header, *(array.tobytes() for array in arrays.values())])


def _arrays_of(message: bytes) -> Arrays:
    (length,) = struct.unpack_from("<q", message)
    place, arrays = 8 + length, {}
    for name, dtype, shape in json.loads(message[8:place]):
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(message, dtype, count, place).reshape(shape)
        place += arrays[name].nbytes
    return arrays


def words_of(message: bytes) -> np.ndarray:
    """int64 [n]: the message as collectives take it, with its length in front."""
    padded = message + bytes(-len(message) % 8)
    return np.concatenate([[len(message)], np.frombuffer(padded, "<i8")]).astype(np.int64)


def messages_of(words: np.ndarray) -> list[bytes]:
    """The messages whose `words_of` were joined."""
    messages, place = [], 0
    while place < len(words):
        length = int(words[place])
        end = place + 1 + -(-length // 8)
        messages.append(words[place + 1 : end].astype("<i8").tobytes()[:length])
        place = end
    return messages
