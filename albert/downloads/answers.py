"""The answer to one HTTP request, given up when it comes too slowly, whichever part of it does.

Owns the sessions of `requests`. An answer is read in a thread of its own: a server that sends a byte now and then keeps
a reader in a library's loop (in the head, in a redirection's page, in the length of a chunk), where no timeout of a
socket ends it. Whoever writes the answer down waits for pieces only, and goes on without that thread.
"""

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Iterator, Mapping

import requests

# As much as is read at once.
_PIECE_BYTES = 1 << 14
# Pieces that may wait for the disk.
_MAX_WAITING = 64
_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for what, in seconds, and how often.

    A try that brings nothing new, or less than `least_rate` bytes a second, is fruitless; a file is given up after
    `fruitless_tries` of them in a row. The wait before the next try doubles with each, from `first_wait` to
    `longest_wait`. A try that brings less than `least_rate` for `rate_window` ends.
    """

    connect: float = 15.0
    silence: float = 30.0
    fruitless_tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    least_rate: float = 1024.0
    rate_window: float = 60.0


class Stopped(Exception):
    """The user wants no more."""


class TooSlowError(Exception):
    """The server sends, but so little that it would never end."""


class Answer:
    """What a server answers; `head` once it is there, then its body in pieces. `opened` makes it."""

    def __init__(self, policy: RetryPolicy, stopped: threading.Event):
        self._stopped = stopped
        self._window = max(policy.rate_window, policy.silence)
        self._least_bytes = policy.least_rate * self._window
        self._items: queue.Queue[requests.Response | bytes | Exception] = queue.Queue(_MAX_WAITING)
        self._abandoned = threading.Event()
        self._window_began, self._window_bytes = time.monotonic(), 0

    def head(self) -> requests.Response:
        """Status and headers; not to be read from. Raises what `requests` raises, TooSlowError or Stopped."""
        response = self._next()
        assert isinstance(response, requests.Response), "an answer begins with its head"
        return response

    def pieces(self) -> Iterator[bytes]:
        """The body, as it was sent. Raises what urllib3 raises, TooSlowError or Stopped."""
        while True:
            piece = self._next()
            assert isinstance(piece, bytes), "behind the head comes the body"
            if not piece:
                return
            self._window_bytes += len(piece)
            yield piece

    def abandon(self) -> None:
        """Makes the reading thread end when something arrives, or nothing does for too long."""
        self._abandoned.set()

    def read(self, url: str, headers: Mapping[str, str], timeout: tuple[float, float]) -> None:
        """In the reading thread."""
        try:
            with requests.Session() as session:  # takes proxies, and passwords of .netrc, from the environment
                session.max_redirects = 10
                with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
                    self._put(response)
                    # What has arrived, where urllib3 can do that; or else a whole piece.
                    read = getattr(response.raw, "read1", response.raw.read)
                    while piece := read(_PIECE_BYTES, decode_content=False):
                        self._put(piece)
            self._put(b"")
        except _AbandonedError:
            pass
        except Exception as error:  # raised again by `_next`
            with contextlib.suppress(_AbandonedError):
                self._put(error)

    def _put(self, item: requests.Response | bytes | Exception) -> None:
        while not self._abandoned.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=_POLL_SECONDS)
                return
        raise _AbandonedError

    def _next(self) -> requests.Response | bytes:
        while True:
            if self._stopped.is_set():
                raise Stopped
            try:
                item = self._items.get_nowait()
            except queue.Empty:  # only now is it the server that is waited for
                self._check_rate()
                try:
                    item = self._items.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
            if isinstance(item, Exception):
                raise item
            return item

    def _check_rate(self) -> None:
        if time.monotonic() - self._window_began < self._window:
            return
        if self._window_bytes < self._least_bytes:
            raise TooSlowError(f"only {self._window_bytes:,} bytes arrived in {self._window:g} s")
        self._window_began, self._window_bytes = time.monotonic(), 0


class _AbandonedError(Exception):
    """Nobody wants the answer any more."""


@contextlib.contextmanager
def opened(url: str, headers: Mapping[str, str], policy: RetryPolicy, stopped: threading.Event) -> Iterator[Answer]:
    """Asks for `url`; the answer is given up when the block ends."""
    answer = Answer(policy, stopped)
    timeout = (policy.connect, policy.silence)
    # A daemon: one that a server holds must not keep the program from ending.
    threading.Thread(target=answer.read, args=(url, headers, timeout), name="answer", daemon=True).start()
    try:
        yield answer
    finally:
        answer.abandon()
