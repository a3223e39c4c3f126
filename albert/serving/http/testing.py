"""What the tests of the server share: descriptions of models, a service that computes without one, calls of its app."""

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from albert.serving.batching import Batcher
from albert.serving.description import ModelDescription
from albert.serving.http.app import Service
from albert.serving.http.body import BodyReader
from albert.serving.http.metrics import Metrics
from albert.serving.http.settings import Limits
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span


def description(output: Output, *columns: str) -> ModelDescription:
    """Of a model that predicts `output` from texts of these names."""
    return ModelDescription("own", output, columns, 128, True, False, "", "float32", {})


LABELS = description(Labels(("a", "b")), "text")
PAIRS = description(Labels(("a", "b")), "first", "second")
EITHER = description(Labels(("a", "b")))
MANY = description(MultiLabels(("a", "b")), "text")
NUMBER = description(Score(), "text")
ANSWERS = description(Span("2.0", 5, 5))
CHOICES = description(Choice(2))


def reader(model: ModelDescription | None, embeddings: str | None = None, **limits: int) -> BodyReader:
    """Of bodies for `model`."""
    return BodyReader(Path("model"), model, embeddings, dataclasses.replace(Limits(), **limits))


class Lengths:
    """In place of a model: each text has its length as its score. "!" cannot be computed. Notes its batches."""

    def __init__(self, seconds: float = 0):
        self.batches: list[list[str]] = []
        self._seconds = seconds

    def __call__(self, parts: Sequence[Any]) -> list[list[Any]]:
        time.sleep(self._seconds)
        texts = [row.first for part in parts for row in part.rows]
        self.batches.append(texts)
        if "!" in texts:
            raise RuntimeError("as a model fails")
        return [[[{"label": "a", "score": len(row.first)}] for row in part.rows] for part in parts]


class Serving:
    """A service as an asynchronous context manager, with `ask` to call its app without a socket."""

    def __init__(
        self, compute: Any, model: ModelDescription | None = LABELS, embeddings: str | None = None, **limits: int
    ):
        self.limits = dataclasses.replace(Limits(), **limits)
        self.metrics = Metrics()
        self.batcher = Batcher(compute, 4, self.limits.max_waiting_texts, self.metrics.count_batch)
        self.metrics.watch_waiting(lambda: self.batcher.num_waiting)
        read = BodyReader(Path("model"), model, embeddings, self.limits)
        self.service = Service(read, self.batcher, self.metrics, self.limits, {"gives": read.use})

    async def __aenter__(self) -> "Serving":
        await self.batcher.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.batcher.__aexit__(*exception)

    async def predict(self, body: object, **names: Any) -> "Answer":
        """Of `POST /predict`; `body` is JSON unless it is bytes, or chunks of bytes."""
        return await self.ask("POST", "/predict", body, **names)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        leaves_after: float | None = None,
        query: bytes = b"",
    ) -> "Answer":
        """The answer; the client disconnects `leaves_after` seconds."""
        chunks = _chunks(body)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            async for chunk in chunks:
                return {"type": "http.request", "body": chunk, "more_body": True}
            if not ended.done():
                ended.set_result(None)
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.sleep(1000 if leaves_after is None else leaves_after)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        ended = asyncio.get_running_loop().create_future()
        scope = {"type": "http", "method": method, "path": path, "headers": list(headers), "query_string": query}
        await self.service.app(scope | {"root_path": "", "server": ("test", 80), "scheme": "http"}, receive, send)
        given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], given, b"".join(message.get("body", b"") for message in sent[1:]))


class Answer(NamedTuple):
    """What a client gets."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        """The body's JSON, which is one line."""
        assert self.body.endswith(b"\n")
        assert self.body.count(b"\n") == 1
        return json.loads(self.body)


async def _chunks(body: Any) -> AsyncIterator[bytes]:
    """Bytes as one chunk, asynchronous iterators as they are, anything else as JSON."""
    if isinstance(body, AsyncIterator):
        async for chunk in body:
            yield chunk
    else:
        yield body if isinstance(body, bytes) else json.dumps(body).encode()
