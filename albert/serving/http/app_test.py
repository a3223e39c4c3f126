"""The application without a socket and without a model: routes, errors, limits, clients that leave."""

import asyncio
import logging

import pytest

from albert.serving.http.testing import LABELS, MANY, Lengths, Serving


def served(run, compute=None, model=LABELS, **limits):
    """What the coroutine function `run` returns of a service."""

    async def serve():
        async with Serving(compute or Lengths(), model, **limits) as serving:
            return await run(serving)

    return asyncio.run(serve())


def test_results_are_in_the_order_of_the_texts():
    answer = served(lambda serving: serving.predict({"texts": ["abc", "", "ab"]}))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.value == {"results": [{"label": "a", "score": score} for score in (3, 0, 2)]}
    assert served(lambda serving: serving.predict({"texts": []})).value == {"results": []}
    listed = served(lambda serving: serving.predict({"texts": "abc", "top_k": 0}))
    assert listed.value == {"results": [[{"label": "a", "score": 3}]]}


def test_what_is_asked_behind_the_address_is_not_passed_over():
    answer = served(lambda serving: serving.predict({"texts": ["abc"]}, query=b"top_k=2"))
    assert (answer.status, answer.value) == (400, {"error": '"top_k" stands behind the address; put it into the body.'})
    assert served(lambda serving: serving.predict({"texts": ["abc"]}, query=b"id=7")).status == 200


def test_other_paths_tell_of_the_model_and_the_server():
    async def run(serving):
        await serving.predict({"texts": ["a", "bc"]})
        await serving.predict({})
        found = [await serving.ask("GET", path) for path in ("/", "/health", "/metrics")]
        serving.service.is_stopping = True
        return *found, await serving.ask("GET", "/health"), await serving.predict({"texts": ["a"]})

    about, ready, metrics, stopping, last = served(run)
    assert about.value == {"gives": "labels"}
    assert (ready.status, ready.value) == (200, {"status": "ready"})
    assert (stopping.status, stopping.value) == (503, {"status": "stopping"})
    assert (last.status, last.headers["connection"]) == (200, "close")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    lines = metrics.body.decode().splitlines()
    for line in (
        'albert_requests_total{status="200"} 1.0',
        'albert_requests_total{status="400"} 1.0',
        "albert_request_seconds_count 2.0",
        "albert_batch_texts_sum 2.0",
        "albert_batch_seconds_count 1.0",
        "albert_waiting_texts 0.0",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("POST", "/", 405), ("GET", "/predict/", 404), ("PUT", "/\ud800\n" * 100, 404)],
)
def test_what_is_not_there_is_told_with_what_is(method, path, status):
    answer = served(lambda serving: serving.ask(method, path))
    assert answer.status == status
    assert "POST /predict, GET /, GET /health, GET /metrics" in answer.value["error"]
    assert len(answer.body) < 1000


async def _slowly(count, seconds, chunk=b" "):
    for _ in range(count):
        await asyncio.sleep(seconds)
        yield chunk


async def _large():
    for _ in range(1000):
        yield b" " * 65_536


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        (b'"\\ud800"', 400, "the body is a text"),
        ({"texts": ["a"] * 5}, 413, "a request may have 4"),
        (b" " * 5000, 413, "larger than 4,096 bytes"),
        (_large(), 413, "larger than 4,096 bytes"),
        (_slowly(100, 0.1), 408, "did not arrive within 1 second."),
        ({"texts": ["!"]}, 500, "the server's log says why"),
    ],
)
def test_an_error_is_one_line_with_a_status(body, status, message, caplog):
    limits = {"max_texts": 4, "max_body_bytes": 4096, "read_seconds": 1}
    answer = served(lambda serving: serving.predict(body), **limits)
    assert answer.status == status
    assert message in answer.value["error"]
    assert ("as a model fails" in caplog.text) == (status == 500)


def test_a_body_that_says_it_is_too_large_is_not_read():
    async def never():
        raise AssertionError("it was read")
        yield b""

    size = (b"content-length", b"999999999999")
    answer = served(lambda serving: serving.predict(never(), headers=[size]))
    assert answer.status == 413


def test_a_number_that_is_none_is_no_json(caplog):
    compute = lambda parts: [[[{"label": "a", "score": float("nan")}]] for _ in parts]  # noqa: E731
    assert served(lambda serving: serving.predict({"texts": ["a"]}), compute).status == 500


def test_labels_above_a_threshold_are_bounded_whatever_it_is():
    """Texts with 3,000 labels each, of which 4 are computed at a time; 33 are within the bound."""

    def compute(parts):
        row = [{"label": str(number), "score": 0.5} for number in range(3000)]
        return [[row for _ in part.rows] for part in parts]

    async def run(serving):
        return [await serving.predict({"texts": ["a"] * count, "threshold": 0.001}) for count in (33, 34)]

    within, beyond = served(run, compute, MANY)
    assert (within.status, len(within.value["results"])) == (200, 33)
    assert (beyond.status, beyond.value["error"]) == (
        413,
        '"threshold"=0.001 gives 102,000 results or more; 100,000 may be. Ask for fewer texts, or a higher one.',
    )


def test_one_client_s_text_that_cannot_be_computed_fails_no_other(caplog):
    caplog.set_level(logging.CRITICAL)

    async def run(serving):
        texts = ("a", "bc", "!", "def")
        return await asyncio.gather(*(serving.predict({"texts": [text]}) for text in texts))

    compute = Lengths()
    answers = served(run, compute)
    assert [answer.status for answer in answers] == [200, 200, 500, 200]
    assert [answers[number].value["results"][0]["score"] for number in (0, 1, 3)] == [1, 2, 3]
    assert compute.batches == [["a", "bc", "!", "def"], ["a"], ["bc"], ["!"], ["def"]]


def test_a_client_that_leaves_is_not_computed_for():
    async def run(serving):
        first = asyncio.create_task(serving.predict({"texts": ["a"]}))
        await asyncio.sleep(0.02)
        gone = asyncio.create_task(serving.predict({"texts": ["gone"]}, leaves_after=0.02))
        stays = asyncio.create_task(serving.predict({"texts": ["stays"]}))
        return await asyncio.gather(first, gone, stays)

    compute = Lengths(seconds=0.2)
    assert [answer.status for answer in served(run, compute)] == [200, 499, 200]
    assert compute.batches == [["a"], ["stays"]]


def test_no_more_texts_wait_than_may():
    async def run(serving):
        texts = ["a"] * 4
        return await asyncio.gather(*(serving.predict({"texts": texts}) for _ in range(10)))

    answers = served(run, Lengths(seconds=0.01), max_waiting_texts=12, max_texts=4)
    statuses = [answer.status for answer in answers]
    assert statuses == [200] * 3 + [503] * 7
    assert answers[-1].headers["retry-after"] == "1"
    assert "too many texts wait" in answers[-1].value["error"]


def test_bodies_that_are_being_read_are_bounded_together():
    """32 of the largest size: of 40 that arrive at once, some are turned away and the others are answered."""

    async def body():
        for _ in range(63):
            yield b" " * 1024
            await asyncio.sleep(0.001)
        yield b'{"texts": ["a"]}'

    async def run(serving):
        answers = await asyncio.gather(*(serving.predict(body()) for _ in range(40)))
        return [answer.status for answer in answers], (await serving.predict({"texts": ["a"]})).status

    statuses, later = served(run, max_body_bytes=65_536)
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 30
    assert later == 200


def test_what_is_given_up_is_told():
    async def run(serving):
        tasks = [asyncio.create_task(serving.predict({"texts": [text]})) for text in ("a", "b")]
        await asyncio.sleep(0.05)
        count = serving.service.give_up()
        return count, [(await task).status for task in tasks]

    assert served(run, Lengths(seconds=0.2)) == (2, [503, 503])
