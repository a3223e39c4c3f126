"""What the tests of downloads share: an HTTP server on this machine that misbehaves on demand, and archives."""

import contextlib
import hashlib
import http.server
import io
import re
import socket
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping

from albert.downloads.answers import RetryPolicy
from albert.downloads.dataset import RemoteFile

# Long enough that a busy machine answers in time.
IMPATIENT = RetryPolicy(connect=5, silence=0.4, fruitless_tries=3, first_wait=0.01, longest_wait=0.05, rate_window=0.5)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request: with the next fault of the path, or as it should."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self):
        files: FileServer = self.server.files
        path = re.sub(r"^http://[^/]+", "", self.path)  # a proxy is asked for the whole address
        files.requests.append((self.path, dict(self.headers)))
        faults = files.faults.get(path, [])
        fault = faults.pop(0) if faults else answer()
        with contextlib.suppress(ConnectionError):
            fault(self, files.contents.get(path))
        self.close_connection = True

    def log_message(self, *arguments):
        pass

    def end_headers(self):
        self.send_header("Connection", "close")
        super().end_headers()

    def range_start(self, content: bytes) -> int:
        """The byte from which the client wants to resume; 0 for everything, also if it asks for another version."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        current = self.headers.get("If-Range", etag(content)) == etag(content)
        return int(found[1]) if found and current else 0

    def reset(self):
        """Ends the connection as a crashing machine does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


Fault = Callable[[_Handler, bytes | None], None]


class FileServer:
    """Serves `contents` by path. The next request for a path gets the first of its `faults`, if there is any left."""

    def __init__(self):
        self.contents: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *arguments: None
        self._server.files = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["FileServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def add(self, name: str, content: bytes, *faults: Fault, known: bool = True) -> RemoteFile:
        """Serves `content` as /`name`; returns its description, with size and checksum if they are `known`."""
        self.contents[f"/{name}"] = content
        self.faults[f"/{name}"] = list(faults)
        facts = (len(content), hashlib.sha256(content).hexdigest()) if known else (None, None)
        return RemoteFile(name, f"{self.url}/{name}", *facts)

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [headers.get("Range") for _, headers in self.requests]


def etag(content: bytes) -> str:
    """The version of a file that the server announces."""
    return f'"{hashlib.md5(content).hexdigest()}"'


def answer(
    status: int | None = None,
    *,
    headers: Mapping[str, str | None] = {},
    change: Callable[[bytes], bytes] = lambda body: body,
    stop_after: int | None = None,
    end: Callable[[_Handler], None] = lambda handler: None,
    resume: bool = True,
) -> Fault:
    """A good answer, but for what is given: other headers (None removes one), another body, an end in the middle."""

    def give(handler: _Handler, content: bytes | None) -> None:
        if content is None:
            handler.send_error(404)
            return
        start = handler.range_start(content) if resume else 0
        code = status or (206 if start else 200)
        if start >= len(content) > 0 and status is None:
            code, body, given = 416, b"", {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}
        else:
            body = content[start:]
            given = {"Content-Length": str(len(body)), "ETag": etag(content)}
            if start:
                given["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.send_response(code)
        for name, value in {**given, **headers}.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(change(body)[:stop_after])
        handler.wfile.flush()
        end(handler)

    return give


def cut(after: int, **others: object) -> Fault:
    """Sends so many bytes and closes the connection."""
    return answer(stop_after=after, **others)


def reset(after: int) -> Fault:
    """Sends so many bytes and resets the connection, a moment later: bytes on their way would be lost with it."""
    return answer(stop_after=after, end=lambda handler: (time.sleep(0.05), handler.reset()))


def stall(after: int, seconds: float = 1.5) -> Fault:
    """Sends so many bytes and then nothing for longer than the client waits."""
    return answer(stop_after=after, end=lambda handler: time.sleep(seconds))


def drip(after: int, head: bytes | None = None) -> Fault:
    """Sends so many bytes, or `head`, and then a byte in 0.1 s, for ever."""

    def give(handler: _Handler, content: bytes | None) -> None:
        if head is None:
            answer(stop_after=after)(handler, content)
        else:
            handler.wfile.write(head)
        # Longer than any client here waits.
        for letter in (content or b"")[after : after + 100] if head is None else b"x" * 100:
            handler.wfile.write(bytes([letter]))
            handler.wfile.flush()
            time.sleep(0.1)

    return give


def refuse(status: int, **headers: str) -> Fault:
    """An error page."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}

    def give(handler: _Handler, content: bytes | None) -> None:
        handler.send_response(status)
        for name, value in {**given, "Content-Length": "5"}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"sorry")

    return give


def raw(data: bytes) -> Fault:
    """These bytes, whatever they are."""
    return lambda handler, content: handler.wfile.write(data)


def damaged(body: bytes) -> bytes:
    """The same length, one bit another."""
    return body[:-1] + bytes([body[-1] ^ 1])


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """A zip file of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def tar_bytes(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A .tar.gz file of these members: contents, or a TarInfo for what is not a file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                file.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
