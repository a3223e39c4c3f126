"""Work dealt to processes, its results in order. No TensorFlow."""

import collections
import functools
import logging
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.util
import os
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from albert.errors import UserError
from albert.system.signals import ignore_terminal, terminal_held_back

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_ITEMS_AHEAD_PER_WORKER = 2  # bounds what waits in memory for a worker, or for its turn


# Unless more are asked for: each takes some 90 MB, and the one process that writes keeps up with about eight.
_MAX_WORKERS = 8
MAX_WORKERS = 256  # that may be asked for
_SHORT_NAMED = ("/tmp", "/var/tmp", "/dev/shm")  # a folder with an unguessable name is made in one
_OWN_FOLDER = len("/pymp-12345678")
_LONGEST_FOLDER = 107 - _OWN_FOLDER - len("/listener-12345678")


def number_of_workers(given: int) -> int:
    """`given`, or if that is 0 the number of processors that this process may use, up to a limit."""
    return given or min(_MAX_WORKERS, len(os.sched_getaffinity(0)))


def parallel_map(work: Callable[[T], R], items: Iterable[T], num_workers: int) -> Generator[R]:
    """`work(item)` for each of `items`, in their order, computed by `num_workers` processes; by this one if that is 1.

    By this one too if `work` cannot be sent to others, which do not import the program's main module: importing a
    script that has no `if __name__ == "__main__":` is running it again, and starting processes again. And, after a
    warning, where the system lets no processes share anything.

    `items` is read only a few ahead of the results. `work` is sent to each process once. What it raises reaches the
    caller. Raises UserError if a process dies.
    """
    pool = _pool(work, num_workers) if num_workers > 1 and _can_be_sent(work) else None
    if pool is None:
        yield from map(work, items)
        return
    in_flight: collections.deque[Future] = collections.deque()
    with pool:
        try:
            for item in items:
                in_flight.append(pool.submit(_work_in_worker, item))
                if len(in_flight) >= num_workers * _ITEMS_AHEAD_PER_WORKER:
                    yield in_flight.popleft().result()
            while in_flight:
                yield in_flight.popleft().result()
        except (BrokenProcessPool, BrokenPipeError) as error:  # died later, or while being started
            raise UserError(
                "A process that was preparing the data died; the usual reason is too little memory. Close other "
                "programs, or use fewer processes or a machine with more memory, then start again."
            ) from error
        finally:
            # Not by cancelling each: where workers die meanwhile, the pool's thread would raise for those.
            pool.shutdown(cancel_futures=True)


def _can_be_sent(work: Callable) -> bool:
    try:
        return b"__main__" not in bytes(ForkingPickler.dumps(work))
    except Exception:  # of many kinds: a function without a name, an open file
        return False


def _pool(work: Callable, num_workers: int) -> ProcessPoolExecutor | None:
    """Processes that do `work`; None, after a warning, where none can be started."""
    reason: object = "no folder for temporary files has a name that is short enough for a socket"
    if _has_place_for_socket():
        try:
            with terminal_held_back():  # from the process that tracks semaphores, which this starts
                return ProcessPoolExecutor(num_workers, _ContextWithoutMain(), _start_worker, (work,))
        except (OSError, NotImplementedError, ImportError) as error:  # no semaphores, which are in /dev/shm
            reason = f"semaphores, which lie in /dev/shm: {getattr(error, 'strerror', None) or error}"
    _LOG.warning("Data are prepared by one process instead of %d: there can be no others (%s).", num_workers, reason)
    return None


def _has_place_for_socket() -> bool:
    """Whether the library that starts processes can name the socket by which it does.

    It has a folder of its own where temporary files are. The name of a socket has 107 bytes at most, and TMPDIR may
    leave too few of them, as on clusters: then that folder is made where names are short.
    """
    for folder in (None, *_SHORT_NAMED):
        before = tempfile.tempdir
        try:
            tempfile.tempdir = folder or before
            if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_FOLDER:
                return len(os.fsencode(multiprocessing.util.get_temp_dir())) <= _LONGEST_FOLDER + _OWN_FOLDER
        except OSError:
            continue  # it is not there, or not for us
        finally:
            tempfile.tempdir = before
    return False


class _ProcessWithoutMain(multiprocessing.context.ForkServerProcess):
    """A worker that does not import the program's main module."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # as the library calls it
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            with terminal_held_back():
                return multiprocessing.context.ForkServerProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class _ContextWithoutMain(multiprocessing.context.ForkServerContext):
    """How workers are started.

    Not "fork": a copy of a process in which TensorFlow runs threads may deadlock. Not "spawn": starting a worker that
    dies before it has read its arguments waits for ever: a tokenizer alone is more than a pipe holds.
    """

    Process = _ProcessWithoutMain


_worker_work: Callable  # set once in each worker, so that it is not sent with each item


def _start_worker(work: Callable) -> None:
    global _worker_work
    _worker_work = work
    ignore_terminal()
    # A killed parent cannot stop its workers, which would wait for their next item for ever.
    parent = multiprocessing.parent_process()
    assert parent, "a worker is started by another process"
    parent_ended = functools.partial(multiprocessing.connection.wait, [parent.sentinel])
    threading.Thread(target=lambda: (parent_ended(), os._exit(1)), daemon=True).start()


def _work_in_worker(item: object) -> Any:
    return _worker_work(item)
