"""Ends a process that makes no progress, and shows where it is stuck. No TensorFlow.

A worker that hangs looks alive to whatever supervises processes, and the others would wait for it without end.
"""

import faulthandler
import sys
import threading
import time

from albert.system.endings import LOST_WORKER, end_process

# A first call compiles, which may take long and must never be mistaken for being stuck.
_FIRST_CALL_SECONDS = 1800.0
# Where no Python thread runs any more, not even the watchdog, faulthandler's own thread ends the process so much later.
_LAST_RESORT_SECONDS = 60.0
# All workers' watchdogs end at about the same moment; the first to end the process would cut off the others' stacks.
_TOGETHER_SECONDS = 3.0


class Watchdog:
    """Ends the process with `LOST_WORKER` where `begin` was not called again within `seconds`; 0: never.

    It watches from `start` on: what comes before, such as the making of a cache, may take as long as it likes.
    """

    def __init__(self, seconds: float, name: str):
        self._seconds = seconds
        self._name = name
        self._lock = threading.Lock()
        self._phase, self._limit, self._since = "", 0.0, 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to watch; may be called again."""
        if self._seconds and self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
            self.begin("the beginning", is_first=True)
            self._thread.start()

    def begin(self, phase: str, is_first: bool = False) -> None:
        """Restarts the limit for what begins now, `phase`; `is_first`: something is compiled in it."""
        if self._thread is None:
            return
        limit = max(self._seconds, _FIRST_CALL_SECONDS) if is_first else self._seconds
        with self._lock:
            self._phase, self._limit, self._since = phase, limit, time.monotonic()
        faulthandler.dump_traceback_later(limit + _LAST_RESORT_SECONDS, exit=True)

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self._seconds / 10))
            with self._lock:
                phase, limit, waited = self._phase, self._limit, time.monotonic() - self._since
            if limit and waited > limit:
                print(
                    f"error: {self._name}: no progress for {limit:g} s in {phase}: a worker is stuck. The stacks of "
                    "all workers follow; that of the stuck one shows where. Start all workers again: the same command "
                    "continues from the newest checkpoint.",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
                faulthandler.dump_traceback(all_threads=True)
                time.sleep(_TOGETHER_SECONDS)
                end_process(LOST_WORKER)
