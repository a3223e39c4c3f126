"""Requests that wait become one batch: while one is computed, what arrives is collected for the next. No TensorFlow.

Nothing waits for company: where nothing is being computed, a request is computed at once, alone. Requests are served in
their order; one with more rows than a batch holds takes turns with those behind it, so that they need not wait for all
of it. All state belongs to one event loop, and the computing thread touches none of it.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar


class Request(Protocol):
    """Rows to be computed. Those of requests with the same key may be computed together."""

    @property
    def key(self) -> Hashable: ...

    @property
    def rows(self) -> Sequence[Any]: ...


R = TypeVar("R", bound=Request)


@dataclasses.dataclass(frozen=True)
class Part(Generic[R]):
    """Some rows of a request, in their order."""

    request: R
    rows: Sequence[Any]


# The results of each part, one for each of its rows.
Compute = Callable[[Sequence[Part[R]]], list[list[Any]]]


class QueueFull(Exception):
    """So many rows wait that a request's would be too many."""


class Stopped(Exception):
    """The batcher was stopped before a request was computed."""


class _Job(Generic[R]):
    """A request on its way: how many of its rows were taken, and the results so far."""

    def __init__(self, request: R):
        self.request = request
        self.finished: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.results: list[Any] = []
        self._num_taken = 0

    @property
    def num_left(self) -> int:
        return len(self.request.rows) - self._num_taken

    def take(self, count: int) -> Part[R]:
        rows = self.request.rows[self._num_taken : self._num_taken + count]
        self._num_taken += len(rows)
        return Part(self.request, rows)

    def add(self, results: list[Any]) -> None:
        self.results += results
        if len(self.results) == len(self.request.rows) and not self.finished.done():
            self.finished.set_result(self.results)

    def fail(self, error: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)


class Batcher(Generic[R]):
    """Computes requests in batches of at most `batch_size` rows, one batch at a time; an asynchronous context manager.

    Args:
      compute: called in a thread. Where it raises, each request of the batch is computed alone, so that only those
        fail that cannot be computed.
      batch_size: rows of a batch.
      max_waiting: rows that may wait. A request that finds nobody waiting may have more.
      on_batch: called with the rows of a batch and the seconds that it took; what it raises is logged.
    """

    def __init__(
        self,
        compute: Compute[R],
        batch_size: int,
        max_waiting: int,
        on_batch: Callable[[int, float], None] = lambda num_rows, seconds: None,
    ):
        self._compute = compute
        self._batch_size = batch_size
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._waiting: collections.deque[_Job[R]] = collections.deque()
        self._num_waiting = 0
        self._unfinished: set[_Job[R]] = set()
        self._arrived = asyncio.Event()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "compute")
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Batcher[R]":
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.stop()
        assert self._worker, "entered before"
        self._worker.cancel()
        self._thread.shutdown(wait=False)

    @property
    def num_waiting(self) -> int:
        """Rows that are not being computed yet."""
        return self._num_waiting

    async def results(self, request: R) -> list[Any]:
        """The result of each row, in their order. A caller that is cancelled takes the rows with it that still wait.

        Raises QueueFull at once, Stopped, or what `compute` raises for this request alone.
        """
        if not request.rows:
            return []
        if self._num_waiting and self._num_waiting + len(request.rows) > self._max_waiting:
            raise QueueFull
        job = _Job(request)
        self._waiting.append(job)
        self._num_waiting += job.num_left
        self._unfinished.add(job)
        self._arrived.set()
        try:
            return await job.finished
        finally:
            self._unfinished.discard(job)
            self._drop(job)

    def stop(self) -> int:
        """Lets every request that is not computed raise Stopped; returns how many there were."""
        stopped = list(self._unfinished)
        for job in stopped:
            self._drop(job)
            job.fail(Stopped())
        return len(stopped)

    def _drop(self, job: _Job[R]) -> None:
        """Takes a job out of the queue, if it is there."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._num_waiting -= job.num_left

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            if not self._waiting:
                self._arrived.clear()
                continue
            batch = self._next_batch()
            begin = time.perf_counter()
            await self._compute_batch(batch)
            num_rows, seconds = sum(len(part.rows) for _, part in batch), time.perf_counter() - begin
            try:
                self._on_batch(num_rows, seconds)
            except Exception:  # which would end the worker, and every later request would wait without end
                logging.exception("A batch of %d rows was computed, but could not be counted:", num_rows)

    def _next_batch(self) -> list[tuple[_Job[R], Part[R]]]:
        """Rows of the jobs with the first one's key, in their order. A job that has more goes behind the others."""
        key = self._waiting[0].request.key
        batch: list[tuple[_Job[R], Part[R]]] = []
        passed: list[_Job[R]] = []
        begun: list[_Job[R]] = []
        space = self._batch_size
        while self._waiting:
            job = self._waiting.popleft()
            if not space or job.request.key != key:
                passed.append(job)
                continue
            part = job.take(space)
            space -= len(part.rows)
            batch.append((job, part))
            if job.num_left:
                begun.append(job)
        self._waiting.extend((*passed, *begun))
        self._num_waiting -= self._batch_size - space
        return batch

    async def _compute_batch(self, batch: list[tuple[_Job[R], Part[R]]]) -> None:
        try:
            found = await self._in_thread([part for _, part in batch])
        except Exception as error:
            if len(batch) > 1:
                for pair in batch:
                    await self._compute_batch([pair])
                return
            ((job, _),) = batch
            self._drop(job)
            job.fail(error)
        else:
            for (job, _), results in zip(batch, found, strict=True):
                job.add(results)

    async def _in_thread(self, parts: list[Part[R]]) -> list[list[Any]]:
        found = await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, parts)
        counts = [len(results) for results in found]
        assert counts == [len(part.rows) for part in parts], f"results {counts} are not one for each row"
        return found
