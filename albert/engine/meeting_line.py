"""What the meeting of the workers is made of: listening, connecting, and messages of one line. No TensorFlow.

Anybody can connect to a port. What is not a message of a meeting is found by its first bytes, and none is longer than
a limit, so that a stranger costs no memory.
"""

import contextlib
import errno
import json
import os
import queue
import selectors
import socket
import threading
import time

from albert.engine.cluster import split_address
from albert.system.json_text import parse_json

_BEGINNING = b"albert meeting 1 "
_LONGEST_LINE = 1 << 20
_SEND_SECONDS = 5.0
_FAREWELL_SECONDS = 1.0


class NotAMessageError(Exception):
    """What came over a connection is no message of a meeting. Says what its other side does: "says nothing"."""

    def __init__(self, what: str = "is no worker"):
        super().__init__(what)


class Limit:
    """A time that ends `seconds` after its making."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds to the end; 0 afterwards."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the end has come."""
        return self.left == 0

    def at_most(self, seconds: float) -> "Limit":
        """The sooner of this limit and one of `seconds` from now."""
        return Limit(min(self.left, seconds))


class Line:
    """A connection that messages go over: JSON objects, one a line, each behind the same first words."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._received = b""
        # Of a connection that its other side has closed there is no name any more.
        with contextlib.suppress(OSError):
            self._peer = connection.getpeername()[:2]

    @property
    def peer(self) -> str:
        """Where the other side is: "address:port"."""
        host, port = getattr(self, "_peer", ("unknown", 0))
        return f"{host.removeprefix('::ffff:')}:{port}"

    def fileno(self) -> int:
        """For selectors."""
        return self._connection.fileno()

    def close(self) -> None:
        """May be called twice."""
        self._connection.close()

    def send(self, **message: object) -> None:
        """Raises OSError where the other side is gone or does not read."""
        self._connection.settimeout(_SEND_SECONDS)
        self._connection.sendall(_BEGINNING + json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict]:
        """What has come, once something has: none while a message is not whole.

        Raises EOFError if the other side closed the connection, and NotAMessageError.
        """
        self._connection.settimeout(_SEND_SECONDS)
        try:
            data = self._connection.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError as error:
            raise EOFError(error.strerror) from error
        if not data:
            raise EOFError("closed")
        *lines, self._received = (self._received + data).split(b"\n")
        if not _may_be_message(self._received) or len(self._received) > _LONGEST_LINE:
            raise NotAMessageError
        return [_message_of(line) for line in lines]

    def receive_within(self, seconds: float) -> list[dict]:
        """As `receive`, waiting up to `seconds` for something to come."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            return self.receive() if selector.select(seconds) else []


def _may_be_message(line: bytes) -> bool:
    return line[: len(_BEGINNING)] == _BEGINNING[: len(line)]


def _message_of(line: bytes) -> dict:
    if not line.startswith(_BEGINNING):
        raise NotAMessageError
    try:
        message = parse_json(line[len(_BEGINNING) :])
    except ValueError as error:
        raise NotAMessageError from error
    if not isinstance(message, dict):
        raise NotAMessageError
    return message


class Announcement:
    """Says to whoever connects to `listener` which worker of which launch is there: other workers look.

    By a thread: at the same time this worker may be looking itself. The thread ends when `stop` closes the listener.
    """

    def __init__(self, listener: socket.socket, **message: object):
        self._listener = listener
        self._message = message
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nothing listens afterwards. May be called twice."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with contextlib.suppress(OSError, EOFError, NotAMessageError), connection:
                    line = Line(connection)
                    line.send(**self._message)
                    # Whoever closes first keeps the port for a while, and TensorFlow wants this one.
                    line.receive_within(_FAREWELL_SECONDS)


def announced(line: Line, limit: Limit) -> dict:
    """What the worker at the other side says first. Raises NotAMessageError for anything else, and if nothing comes."""
    messages: list[dict] = []
    try:
        while not messages and not limit.is_over:
            messages = line.receive_within(limit.left)
    except EOFError as error:
        raise NotAMessageError from error
    if not messages:
        raise NotAMessageError("says nothing")
    return messages[0]


def listen(port: int, backlog: int) -> socket.socket:
    """Listens on `port` of all addresses of this machine, as TensorFlow does afterwards. Raises OSError."""
    try:
        return _listen(port, backlog, socket.has_dualstack_ipv6())
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            number = error.errno or 0
            raise OSError(number, os.strerror(number)) from error  # create_server adds the address to the text
    return _listen(port, backlog, is_dual=False)


def _listen(port: int, backlog: int, is_dual: bool) -> socket.socket:
    # SO_REUSEADDR, which create_server sets: what an earlier connection left in the kernel is no obstacle.
    family = socket.AF_INET6 if is_dual else socket.AF_INET
    return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=is_dual)


def connect(address: str, limit: Limit) -> socket.socket:
    """One attempt to connect to "host:port", at each address of the host in turn. Raises OSError, that of the last."""
    host, port = split_address(address)
    failure: OSError = TimeoutError(errno.ETIMEDOUT, "timed out")
    for family, kind, protocol, _, target in _resolve(host, port, limit):
        try:
            return _connected(socket.socket(family, kind, protocol), target, limit)
        except OSError as error:  # also where the kernel lacks IPv6, to which names may still resolve
            failure = error
    raise failure


def _connected(connection: socket.socket, target: tuple, limit: Limit) -> socket.socket:
    """`connection`, connected to `target`. Raises OSError, and closes it."""
    try:
        connection.settimeout(max(0.1, limit.left))
        connection.connect(target)
        # Where nobody listens on a port that the kernel gives to clients, a client may connect to itself.
        if connection.getsockname() == connection.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    except OSError:
        connection.close()
        raise
    return connection


def _resolve(host: str, port: int, limit: Limit) -> list:
    """`socket.getaddrinfo`, which takes no time limit and cannot be interrupted. Raises OSError."""
    answers: queue.Queue = queue.Queue()

    def resolve() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:  # the second for a name with too long a part
            answers.put(error)

    threading.Thread(target=resolve, daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.1, limit.left))
    except queue.Empty:
        raise TimeoutError(errno.ETIMEDOUT, "the name was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    if isinstance(answer, UnicodeError):
        raise OSError(errno.EINVAL, "not a name of a host") from answer
    return answer
