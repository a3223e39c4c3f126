"""The server on a socket, in a process of its own with no model: signals, and connections that misbehave."""

import collections
import contextlib
import errno
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.serving.http.server import bind, url_of

ROOT = Path(__file__).parents[3]

SERVER = """
import asyncio, json, logging, os, sys
from albert.serving.http.server import bind, serve, url_of
from albert.serving.http.testing import Lengths, Serving

async def run(seconds, limits):
    listener = bind("127.0.0.1", 0)
    async with Serving(Lengths(seconds), **limits) as serving:
        say = lambda: print(url_of(listener), flush=True)
        number = await serve(serving.service, listener, serving.limits, say)
    print(json.dumps([serving.service.num_requests, serving.service.num_answered]), flush=True)
    if number:
        os._exit(128 + number)

logging.basicConfig(level=logging.INFO)
asyncio.run(run(float(sys.argv[1]), json.loads(sys.argv[2])))
"""


class Process:
    """A server that takes `seconds` for a batch of up to four texts."""

    def __init__(self, seconds=0.0, **limits):
        command = [sys.executable, "-c", SERVER, str(seconds), json.dumps(limits)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline().rpartition(":")[2])
        self.pid = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._process.kill()
        self._process.communicate()

    def stop(self, number=signal.SIGTERM):
        self._process.send_signal(number)

    def end(self):
        """(exit code, [requests, answered], log)."""
        out, log = self._process.communicate(timeout=60)
        assert "Traceback" not in log, log
        return self._process.returncode, json.loads(out or "null"), log

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def request(text, *headers):
    body = json.dumps({"texts": [text]}).encode()
    lines = (b"POST /predict HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def response(connection):
    """(status, value, whether the server closes); status 0 where it closed without an answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            assert not data
            return 0, None, True
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    while len(body) < length:
        more = connection.recv(65_536)
        assert more, "half an answer"
        body += more
    assert len(body) == length
    return int(head.split()[1]), json.loads(body), b"connection: close" in head.lower()


class Clients:
    """Threads that ask one question after another, on connections of their own or each on a new one.

    Notes each outcome: "answered", "refused" as the last one of a client, "closed" without an answer, or "reset".
    """

    def __init__(self, server, count, keep_alive):
        self.outcomes = collections.Counter()
        self.wrong = []
        self._server = server
        self._lock = threading.Lock()
        arguments = [(number, keep_alive) for number in range(count)]
        self._threads = [threading.Thread(target=self._ask_until_refused, args=each) for each in arguments]
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join()

    def _ask_until_refused(self, number, keep_alive):
        turns = itertools.count()
        while True:
            try:
                with self._server.connect() as connection:
                    while self._ask(connection, number, next(turns)) and keep_alive:
                        pass
            except ConnectionRefusedError:
                return self._note("refused")
            except ConnectionError:
                self._note("reset")

    def _ask(self, connection, number, turn):
        """Whether the connection may be used again."""
        text = "x" * (1000 * number + turn % 1000)
        connection.sendall(request(text))
        status, value, closes = response(connection)
        if status == 0:
            self._note("closed")
            return False
        if (status, value) != (200, {"results": [{"label": "a", "score": len(text)}]}):
            self.wrong.append((status, value))
        self._note("answered")
        return not closes

    def _note(self, outcome):
        with self._lock:
            self.outcomes[outcome] += 1


@pytest.mark.parametrize(
    ("number", "keep_alive"), [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, False)]
)
def test_a_stop_under_load_loses_nothing_that_was_accepted(number, keep_alive):
    with Process(seconds=0.01) as server:
        clients = Clients(server, 16, keep_alive)
        time.sleep(0.5)
        server.stop(number)
        clients.join()
        code, (requests, answered), _ = server.end()
    assert code == 0
    assert clients.wrong == []
    # Every request has its own full answer; no connection was made that the server did not serve.
    assert requests == answered == clients.outcomes["answered"] > 16
    assert clients.outcomes == {"answered": answered, "refused": 16}


def test_a_stop_waits_no_longer_than_it_may():
    with Process(seconds=3, stop_seconds=1) as server:
        connections = [server.connect() for _ in range(6)]
        for connection in connections:
            connection.sendall(request("a"))
        time.sleep(0.3)
        server.stop()
        answers = [response(connection) for connection in connections]
        code, counts, log = server.end()
    assert (code, counts) == (128 + signal.SIGTERM, [6, 6])
    assert {status for status, _, _ in answers} == {503}
    assert answers[0][1] == {"error": "the server stops and does not compute this any more."}
    assert "6 requests were not answered within 1 second." in log


def test_a_second_signal_ends_it_at_once():
    with Process(seconds=30) as server, server.connect() as connection:
        connection.sendall(request("a"))
        time.sleep(0.3)
        server.stop()
        time.sleep(0.3)
        server.stop(signal.SIGINT)
        code, _, log = server.end()
    assert code == 128 + signal.SIGINT
    assert "once more to stop at once" in log


def test_an_idle_connection_does_not_hold_up_a_stop():
    with Process() as server, server.connect() as silent, server.connect() as idle, server.connect() as slow:
        idle.sendall(request("a"))
        assert response(idle)[0] == 200
        slow.sendall(b"GET / HTTP/1.1\r\n")
        begin = time.monotonic()
        server.stop()
        time.sleep(0.2)
        slow.sendall(b"Host: x\r\n\r\n")  # what has begun to arrive is accepted
        status, _, closes = response(slow)
        assert (status, closes) == (200, True)
        assert [response(silent)[0], response(idle)[0]] == [0, 0]
        assert server.end()[:2] == (0, [1, 1])
        assert time.monotonic() - begin < 10


def test_connections_that_take_their_time_are_ended():
    with Process(read_seconds=1, idle_seconds=1) as server:
        late = [server.connect() for _ in range(5)]
        late[1].sendall(b"POST /predict HTTP/1.1\r\nHo")
        late[2].sendall(request("a")[:-1])
        late[3].sendall(request("a"))
        assert response(late[3])[0] == 200
        late[4].sendall(request("a"))
        assert response(late[4])[0] == 200
        late[4].sendall(b"POST /predict HTTP/1.1\r\nHo")  # the second request on a connection
        for _ in range(8):  # a byte of a head now and then
            time.sleep(0.15)
            with contextlib.suppress(ConnectionError):
                late[1].sendall(b"o")
        assert [response(connection)[0] for connection in late] == [408, 408, 408, 0, 408]
        with server.connect() as connection:
            connection.sendall(request("a"))
            assert response(connection)[0] == 200


def test_a_large_body_is_refused_before_it_is_sent_and_one_that_never_ends_is_cut_off():
    with Process(read_seconds=1, max_body_bytes=4096) as server:
        with server.connect() as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
            assert response(connection)[0] == 413
        with server.connect() as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            connection.sendall(chunk)
            assert response(connection)[0] == 413
            # It reads on for a second, so that the answer reaches the client.
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    connection.sendall(chunk)
                    time.sleep(0.01)
                pytest.fail("it was read to its end")
        resident = int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())[1])
        assert resident < 300 << 10


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100 + b"\r\n\r\n",
        b"GET / HTTP/none\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000,
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_what_is_no_http_has_one_answer(shared_server, data, is_first):
    with shared_server.connect() as connection:
        if not is_first:
            connection.sendall(request("a"))
            assert response(connection)[::2] == (200, False)
        connection.sendall(data)
        status, value, closes = response(connection)
    assert (status, closes) == (400, True)
    assert value == {"error": "this is not HTTP, or its head is too long."}


def test_a_request_that_was_refused_while_it_arrived_has_no_second_answer(shared_server):
    with shared_server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert response(connection)[0] == 200  # nothing of its body was waited for
        connection.sendall(b"zz\r\n")
        assert connection.recv(1) == b""


def test_what_follows_a_request_with_two_lengths_is_no_request(shared_server):
    body = b'{"texts": ["a"]}'
    twice = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with shared_server.connect() as connection:
        connection.sendall(request("a"))
        assert response(connection)[::2] == (200, False)
        connection.sendall(twice + chunks + request("a"))
        assert response(connection)[::2] == (200, True)
        assert connection.recv(1) == b""


@pytest.fixture(scope="module")
def shared_server():
    with Process(max_connections=40) as server:
        yield server


def test_thousands_of_connections_are_bounded(shared_server):
    """Those beyond the limit have one answer, those within it are served, and room is free again afterwards."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(shared_server.connect()) for _ in range(40)]
        refused = 0
        for _ in range(2000):
            with shared_server.connect() as connection:
                status, value, closes = response(connection)
                refused += (status, closes) == (503, True) and "too many connections" in value["error"]
        assert refused == 2000
        assert len(list(Path(f"/proc/{shared_server.pid}/fd").iterdir())) < 60
        connections[0].sendall(request("abc"))
        assert response(connections[0])[:2] == (200, {"results": [{"label": "a", "score": 3}]})
    time.sleep(0.1)
    with shared_server.connect() as connection:
        connection.sendall(request("ab") + request("a"))  # pipelined
        assert response_pair(connection) == [2, 1]


def response_pair(connection):
    data = b""
    while data.count(b"results") < 2:
        data += connection.recv(65_536)
    return [int(score) for score in re.findall(rb'"score": (\d+)', data)]


def test_an_address_that_cannot_be_had_is_told_in_one_line():
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        # Before it listens, as while it loads its model, and then.
        for use in (lambda: None, listener.listen):
            use()
            with pytest.raises(UserError, match=f"`port`={port} is in use on 127.0.0.1: choose another one, or 0"):
                bind("127.0.0.1", port)
    with pytest.raises(UserError, match=r"`host`=no\.such\.host\.invalid is not an address"):
        bind("no.such.host.invalid", 0)
    with pytest.raises(UserError, match=r"`host`=192\.0\.2\.1 with `port`=0 cannot be listened on: Cannot assign"):
        bind("192.0.2.1", 0)
    with pytest.raises(UserError, match="is not an address"):
        bind("a" * 300, 0)


def test_an_address_of_which_the_kernel_remembers_connections_can_be_had_again():
    with Process() as server:
        with server.connect() as connection:
            connection.sendall(request("a", b"Connection: close"))
            assert response(connection)[0] == 200
            assert connection.recv(1) == b""  # the server closed first: it is its address that is remembered
        server.stop()
        assert server.end()[0] == 0
        with bind("127.0.0.1", server.port) as again:
            again.listen()


def test_an_address_of_a_family_that_the_kernel_lacks_is_refused_in_one_line(monkeypatch):
    def without_ipv6(family, *_):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(socket, "socket", without_ipv6)
    with pytest.raises(UserError, match="`host`=:: with `port`=0 cannot be listened on: Address family not supported"):
        bind("::", 0)
