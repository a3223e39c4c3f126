"""The HTTP interface as an ASGI application: `POST /predict`, `GET /`, `GET /health`, `GET /metrics`. No TensorFlow.

Every answer but that of `/metrics` is one line of JSON; an error is {"error": "..."} without a traceback.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from albert.errors import UserError
from albert.serving.batching import Batcher, QueueFull, Stopped
from albert.serving.http.body import THRESHOLD, TOP_K, BodyReader, Refused, Request, check_number, in_fields
from albert.serving.http.metrics import Metrics
from albert.serving.http.settings import Limits
from albert.system.printing import counted

# Bodies of so many requests of the largest size may be in memory at a time.
_LARGEST_BODIES = 32
# What servers log where the client left before it was answered.
_CLIENT_GONE = 499


class Service:
    """Answers requests about one model.

    Args:
      reader: of the bodies.
      batcher: computes what they ask for.
      metrics: what is counted.
      limits: on bodies and the time in which they must arrive.
      about: what `GET /` answers.

    Attributes:
      app: the ASGI application.
      is_stopping: whether the server stops; every answer then closes its connection.
      num_requests, num_answered: for predictions.
    """

    def __init__(
        self,
        reader: BodyReader,
        batcher: Batcher[Request],
        metrics: Metrics,
        limits: Limits,
        about: Mapping[str, Any],
    ):
        self._reader = reader
        self._batcher = batcher
        self._metrics = metrics
        self._limits = limits
        self._about = about
        self._held_bytes = 0
        self.is_stopping = False
        self.num_requests = self.num_answered = 0
        routes = [
            Route("/", self._describe, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._report, methods=["GET"]),
            Route("/predict", self._predict, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes, exception_handlers={HTTPException: self._no_route})
        self.app.router.redirect_slashes = False

    def give_up(self) -> int:
        """Answers that there will be no answer, where none is computed yet; returns to how many requests."""
        return self._batcher.stop()

    async def _describe(self, _request: HttpRequest) -> Response:
        return self._response(200, self._about)

    async def _health(self, _request: HttpRequest) -> Response:
        if self.is_stopping:
            return self._response(503, {"status": "stopping"})
        return self._response(200, {"status": "ready"})

    async def _report(self, _request: HttpRequest) -> Response:
        return Response(self._metrics.text(), media_type=self._metrics.content_type, headers=self._headers())

    async def _no_route(self, request: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "what it handles"
        known = "POST /predict, GET /, GET /health, GET /metrics"
        problem = f"{request.method[:20]} {request.url.path[:80]} is not here; there are {known}."
        return self._response(error.status_code, {"error": problem}, error.headers)

    async def _predict(self, request: HttpRequest) -> Response:
        begin = time.perf_counter()
        self.num_requests += 1
        try:
            response = await self._results(request)
        except Exception as error:
            response = self._error(error)
        self._metrics.count_request(response.status_code, time.perf_counter() - begin)
        self.num_answered += 1
        return response

    async def _results(self, request: HttpRequest) -> Response:
        asked = self._reader.read(await self._body(request))
        for name in (TOP_K, THRESHOLD):
            if name in request.query_params:
                raise Refused(400, f'"{name}" stands behind the address; put it into the body.')
        results = await _unless_client_leaves(request, self._batcher, asked)
        if asked.is_open_ended:
            check_number(sum(map(len, results)), asked.threshold)
        return self._response(200, {"results": [row[0] for row in results] if asked.has_one else results})

    def _error(self, error: Exception) -> Response:
        if isinstance(error, Refused):
            return self._response(error.status, {"error": str(error)})
        if isinstance(error, UserError):
            return self._response(422, {"error": in_fields(str(error))})
        if isinstance(error, QueueFull):
            busy = {"error": "too many texts wait to be computed; try again later."}
            return self._response(503, busy, {"Retry-After": "1"})
        if isinstance(error, Stopped):
            return self._response(503, {"error": "the server stops and does not compute this any more."})
        if isinstance(error, ClientDisconnect):
            return self._response(_CLIENT_GONE, {"error": "the client left."})
        logging.error("A request could not be answered:", exc_info=error)
        return self._response(500, {"error": "the model could not compute this; the server's log says why."})

    async def _body(self, request: HttpRequest) -> bytes:
        """Raises Refused for one that is too large or too slow, or where too many are being read."""
        limit = self._limits.max_body_bytes
        too_large = Refused(413, f"the body is larger than {limit:,} bytes.")
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                async for chunk in request.stream():
                    body += chunk
                    self._held_bytes += len(chunk)
                    if len(body) > limit:
                        raise too_large
                    if self._held_bytes > _LARGEST_BODIES * limit:
                        raise QueueFull
        except TimeoutError:
            raise Refused(
                408, f"the body did not arrive within {counted(self._limits.read_seconds, 'second')}."
            ) from None
        finally:
            self._held_bytes -= len(body)
        return bytes(body)

    def _response(self, status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        # Errors quote what was sent, which UTF-8 may be unable to write.
        line = json.dumps(content, ensure_ascii=status != 200, allow_nan=False) + "\n"
        return Response(line, status, {**(headers or {}), **self._headers()}, "application/json")

    def _headers(self) -> dict[str, str]:
        return {"Connection": "close"} if self.is_stopping else {}


async def _unless_client_leaves(request: HttpRequest, batcher: Batcher[Request], asked: Request) -> list[Any]:
    """The results. Raises ClientDisconnect where nobody waits for them any more; rows in the queue are dropped."""

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    computing = asyncio.ensure_future(batcher.results(asked))
    leaving = asyncio.ensure_future(leave())
    try:
        await asyncio.wait((computing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not computing.done():
            raise ClientDisconnect
        return computing.result()
    finally:
        leaving.cancel()
        computing.cancel()
