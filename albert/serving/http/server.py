"""Runs an application on a socket until a signal stops it, and bounds what connections may take. No TensorFlow.

uvicorn reads and writes HTTP. What it leaves open is decided here: how many connections there may be, how long the head
of a request may take, and that a stop loses nothing that was accepted.
"""

import asyncio
import contextlib
import ctypes
import errno
import functools
import http
import json
import logging
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from albert.errors import UserError
from albert.serving.http.app import Service
from albert.serving.http.settings import Limits
from albert.system.printing import counted
from albert.system.signals import leave_closed_terminal, terminations

_BACKLOG = 2048
_MAX_HEAD_BYTES = 16_384
# How long a stop waits for a request on a connection that has none: of a client that was just about to send one.
_LAST_REQUEST_SECONDS = 0.5
# And for answers that are written to be read.
_LAST_BYTES_SECONDS = 5
_POLL_SECONDS = 0.02


def bind(host: str, port: int) -> socket.socket:
    """A socket that has the address and does not listen yet. Raises UserError where it cannot be had.

    Another socket that does not listen yet, of a server that loads its model, has the address for itself, unless the
    kernel still remembers connections of an earlier server there: then whoever listens first has it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"`host`={host} is not an address: {error}; 127.0.0.1 is this machine's own.") from None
    try:
        listener = socket.socket(family, kind, protocol)
    except OSError as error:  # a kernel without IPv6
        raise _cannot_listen(host, port, error) from None
    try:
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _share_with_earlier(listener)
            listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from None
    return listener


def _share_with_earlier(listener: socket.socket) -> None:
    """Lets the socket have an address of which the kernel remembers connections; and the next one after it."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def url_of(listener: socket.socket) -> str:
    """Where clients find it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cannot_listen(host: str, port: int, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(f"`port`={port} is in use on {host}: choose another one, or 0 for any that is free.")
    return UserError(f"`host`={host} with `port`={port} cannot be listened on: {error.strerror}.")


class _Connection(H11Protocol):
    """One connection, with bounds on its time and on how many there are."""

    def __init__(self, limits: Limits, **names: Any):
        super().__init__(**names)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request has begun to arrive, or its answer is not sent yet."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        has_begun, _ = self.conn.trailing_data
        return is_answering or bool(has_begun) or self.transport.get_write_buffer_size() > 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuses one connection too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            self._refuse(503, "too many connections are open; try again later.")
            return
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        """Watches over the time that a request takes to arrive."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._set_deadline()
        else:
            self._unset_deadline()

    def handle_events(self) -> None:
        """Closes a connection behind a request that gives its length in two ways, as RFC 9112 (6.1) demands.

        A proxy in front may have taken the other one, and then what follows for a part of that request.
        """
        super().handle_events()
        names = {name for name, _ in self.headers or ()}
        if {b"content-length", b"transfer-encoding"} <= names and self.cycle:
            self.cycle.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the watch."""
        self._unset_deadline()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self._refuse(400, "this is not HTTP, or its head is too long.")

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection, at once where its client does not even read."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.read_seconds, self._on_deadline)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        """Refuses a head that is late; a late body is the application's to refuse until it has answered."""
        self._deadline = None
        if self.cycle is None or (self.cycle.response_complete and self.conn.their_state is h11.IDLE):
            self._refuse(408, f"the request did not arrive within {counted(self._limits.read_seconds, 'second')}.")
        elif self.cycle.response_complete:
            self.transport.abort()

    def _refuse(self, status: int, problem: str) -> None:
        """Answers in place of the application, and closes."""
        # One answer to a request, and whole. Behind an earlier request and its answer, both complete, comes another.
        cycle = self.cycle
        is_answered = cycle is not None and cycle.response_started and (cycle.more_body or not cycle.response_complete)
        if not self.transport.is_closing() and not is_answered:
            self.transport.write(_raw_response(status, problem))
        self.transport.close()


def _raw_response(status: int, problem: str) -> bytes:
    body = json.dumps({"error": problem}).encode() + b"\n"
    retry = "Retry-After: 1\r\n" if status == 503 else ""
    head = (
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
    )
    return head.encode() + body


class _Server(uvicorn.Server):
    """uvicorn's, which says when it listens, and leaves signals to `serve`."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]):
        super().__init__(config)
        self._on_listening = on_listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises UserError where somebody else listens by now."""
        assert sockets, "made by bind"
        _share_with_earlier(sockets[0])  # its connections have it from the one that listens
        try:
            await super().startup(sockets=sockets)
        except OSError as error:
            host, port, *_ = sockets[0].getsockname()
            raise _cannot_listen(host, port, error) from None
        self._on_listening()

    @property
    def busy(self) -> list[_Connection]:
        """The connections with a request."""
        return [connection for connection in self.server_state.connections if connection.is_busy]  # type: ignore


async def serve(service: Service, listener: socket.socket, limits: Limits, on_listening: Callable[[], None]) -> int:
    """Answers requests until SIGINT, SIGTERM or SIGHUP comes, then what was accepted until then.

    Returns 0, or the signal's number where some of it could not be answered in time. A second signal ends the process
    at once.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of what any client may send
    config = uvicorn.Config(
        service.app,
        http=functools.partial(_Connection, limits),  # type: ignore[arg-type]
        **_CONFIGURATION,
        timeout_keep_alive=limits.idle_seconds,
    )
    server = _Server(config, on_listening)
    stop = _stop_on_signals()
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        service.is_stopping = True
        await _stop_listening(server, listener)
        await _let_finish(server, limits.stop_seconds)
    unanswered = service.give_up()
    server.should_exit = True
    await running
    if not unanswered:
        return 0
    were, within = counted(unanswered, "request", "s were", " was"), counted(limits.stop_seconds, "second")
    logging.warning("%s not answered within %s.", were, within)
    return stop.result()


_CONFIGURATION: dict[str, Any] = {
    "loop": "asyncio",
    "ws": "none",
    "lifespan": "off",
    "interface": "asgi3",
    "log_config": None,
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    "backlog": _BACKLOG,
    "h11_max_incomplete_event_size": _MAX_HEAD_BYTES,
    "timeout_graceful_shutdown": _LAST_BYTES_SECONDS,
}


def _stop_on_signals() -> "asyncio.Future[int]":
    """Becomes the number of the first signal."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def handle(number: int) -> None:
        leave_closed_terminal()
        if not stop.done():
            logging.info("%s: answering what was accepted; once more to stop at once.", signal.Signals(number).name)
            stop.set_result(number)
        elif number != signal.SIGHUP:  # which a closed terminal sends more than once
            # The thread that computes would be waited for otherwise.
            os._exit(128 + number)

    for each in (signal.SIGINT, *terminations()):
        loop.add_signal_handler(each, handle, each)
    return stop


async def _stop_listening(server: _Server, listener: socket.socket) -> None:
    """Refuses further connections, and takes those first that the system has accepted already.

    Closing a socket resets the connections that wait to be accepted, whose clients may have sent requests. So no new
    ones may come between the last look and the closing.
    """
    _ignore_new_clients(listener)
    await asyncio.sleep(_POLL_SECONDS)  # for connections that are half made
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while poll.poll(0):
        await asyncio.sleep(0)  # the loop accepts all that wait
    for each in server.servers:
        each.close()


# A filter of the kernel (man 7 socket), as (code, jump if true, jump if false, value): of the packets for a listening
# socket, drop what begins a connection, by the SYN flag in byte 13 of the TCP header. The client repeats it after a
# second, and is refused then.
_NO_NEW_CLIENTS = ((0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF_FFFF))
_SO_ATTACH_FILTER = 26


def _ignore_new_clients(listener: socket.socket) -> None:
    instructions = b"".join(struct.pack("HBBI", *each) for each in _NO_NEW_CLIENTS)
    buffer = ctypes.create_string_buffer(instructions)
    filter_program = struct.pack("HP", len(_NO_NEW_CLIENTS), ctypes.addressof(buffer))
    with contextlib.suppress(OSError):  # a system without filters may reset a client in the last microseconds
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_program)


async def _let_finish(server: _Server, seconds: float) -> None:
    """Until every request is answered, also one that is just about to come on an open connection."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while server.server_state.connections and loop.time() < begin + seconds:
        if not server.busy and loop.time() > begin + _LAST_REQUEST_SECONDS:
            return
        await asyncio.sleep(_POLL_SECONDS)
