"""Batches of requests from an event loop, without a model: what is computed together, in which order, for whom."""

import asyncio
import dataclasses
import random
import threading

import pytest

from albert.serving.batching import Batcher, QueueFull, Stopped


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A request for the squares of numbers; a text among them cannot be computed."""

    rows: tuple
    key: str = ""


class Squares:
    """Computes when `gate` is open, and notes the rows of every batch."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, parts):
        self.gate.wait(10)
        self.batches.append([row for part in parts for row in part.rows])
        return [[row * row for row in part.rows] for part in parts]


@pytest.fixture
def squares():
    return Squares()


async def until_computing(batcher):
    """Until the worker has taken what waited."""
    while batcher.num_waiting:
        await asyncio.sleep(0)


def submitted(batcher, *requests):
    return [asyncio.create_task(batcher.results(request)) for request in requests]


def test_a_batch_that_cannot_be_counted_keeps_no_later_one_waiting(squares, caplog):
    def on_batch(num_rows, seconds):
        raise RuntimeError("no counter")

    async def run():
        async with Batcher(squares, 8, 100, on_batch) as batcher, asyncio.timeout(10):
            assert await batcher.results(Numbers((1,))) == [1]
            assert await batcher.results(Numbers((2,))) == [4]

    asyncio.run(run())
    assert "could not be counted" in caplog.text
    assert "no counter" in caplog.text


def test_a_request_that_finds_nothing_in_computation_does_not_wait(squares):
    async def run():
        async with Batcher(squares, 8, 100) as batcher:
            assert await batcher.results(Numbers((1, 2))) == [1, 4]
            assert await batcher.results(Numbers((3,))) == [9]
            assert await batcher.results(Numbers(())) == []

    asyncio.run(run())
    assert squares.batches == [[1, 2], [3]]


def test_what_arrives_during_a_batch_becomes_the_next_one(squares):
    async def run():
        async with Batcher(squares, 4, 100) as batcher:
            squares.gate.clear()
            first = submitted(batcher, Numbers((1,)))
            await asyncio.sleep(0)
            await until_computing(batcher)
            later = submitted(batcher, *(Numbers((number,)) for number in range(2, 8)))
            await asyncio.sleep(0)
            assert batcher.num_waiting == 6
            squares.gate.set()
            assert await asyncio.gather(*first, *later) == [[number**2] for number in range(1, 8)]
            assert batcher.num_waiting == 0

    asyncio.run(run())
    assert squares.batches == [[1], [2, 3, 4, 5], [6, 7]]


def test_a_large_request_takes_turns_with_those_behind_it(squares):
    async def run():
        async with Batcher(squares, 3, 100) as batcher:
            tasks = submitted(batcher, Numbers(tuple(range(8))), Numbers((10,)), Numbers((11, 12)))
            assert await asyncio.gather(*tasks) == [[n * n for n in range(8)], [100], [121, 144]]

    asyncio.run(run())
    assert squares.batches == [[0, 1, 2], [10, 11, 12], [3, 4, 5], [6, 7]]


def test_only_requests_with_one_key_are_computed_together(squares):
    async def run():
        async with Batcher(squares, 8, 100) as batcher:
            requests = [Numbers((number,), "odd" if number % 2 else "even") for number in range(6)]
            assert await asyncio.gather(*submitted(batcher, *requests)) == [[n * n] for n in range(6)]

    asyncio.run(run())
    assert squares.batches == [[0, 2, 4], [1, 3, 5]]


def test_a_request_that_cannot_be_computed_fails_alone(squares):
    async def run():
        async with Batcher(squares, 4, 100) as batcher:
            tasks = submitted(batcher, Numbers((1,)), Numbers((2, "x", 3, 4, 5, 6)), Numbers((7,)))
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert (found[0], found[2]) == ([1], [49])
            assert isinstance(found[1], TypeError)
            assert batcher.num_waiting == 0
            assert await batcher.results(Numbers((8,))) == [64]

    asyncio.run(run())


def test_results_that_are_not_one_for_each_row_reach_nobody():
    async def run():
        async with Batcher(lambda parts: [[0] for _ in parts], 4, 100) as batcher:
            found = await asyncio.gather(*submitted(batcher, Numbers((1, 2)), Numbers((3,))), return_exceptions=True)
            assert isinstance(found[0], AssertionError)
            assert found[1] == [0]

    asyncio.run(run())


def test_a_caller_that_leaves_takes_its_rows_along(squares):
    async def run():
        async with Batcher(squares, 2, 100) as batcher:
            squares.gate.clear()
            first, second, third = submitted(batcher, Numbers((1,)), Numbers(tuple(range(10, 20))), Numbers((3,)))
            await asyncio.sleep(0)
            while batcher.num_waiting != 10:
                await asyncio.sleep(0)
            second.cancel()
            await asyncio.sleep(0)
            assert batcher.num_waiting == 1
            squares.gate.set()
            assert await asyncio.gather(first, third) == [[1], [9]]
            with pytest.raises(asyncio.CancelledError):
                await second

    asyncio.run(run())
    assert squares.batches == [[1, 10], [3]]


def test_no_more_rows_wait_than_may_but_a_request_that_finds_none_may_have_any(squares):
    async def run():
        async with Batcher(squares, 2, 5) as batcher:
            squares.gate.clear()
            tasks = submitted(batcher, Numbers((1,)))
            await asyncio.sleep(0)
            await until_computing(batcher)
            tasks += submitted(batcher, Numbers(tuple(range(7))))
            await asyncio.sleep(0)
            with pytest.raises(QueueFull):
                await batcher.results(Numbers((2,)))
            squares.gate.set()
            assert await asyncio.gather(*tasks) == [[1], [n * n for n in range(7)]]
            assert await batcher.results(Numbers((2,))) == [4]

    asyncio.run(run())


def test_what_is_not_computed_when_the_batcher_stops_is_told(squares):
    async def run():
        async with Batcher(squares, 1, 5) as batcher:
            squares.gate.clear()
            tasks = submitted(batcher, Numbers((1,)), Numbers((2,)))
            await asyncio.sleep(0)
            while batcher.num_waiting != 1:
                await asyncio.sleep(0)
            assert batcher.stop() == 2
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(error) for error in found] == [Stopped, Stopped]
            squares.gate.set()
            assert batcher.num_waiting == 0

    asyncio.run(run())


def test_a_thousand_requests_of_any_size_get_their_own_results(squares):
    """Some callers leave, some requests fail; whoever stays gets the squares of its own numbers, in their order."""
    rng = random.Random(0)
    noted = []

    async def client(batcher, number):
        await asyncio.sleep(rng.random() / 20)
        rows = tuple(rng.randrange(10**6) for _ in range(rng.choice([1, 1, 2, 3, 40])))
        is_bad = rng.random() < 0.05
        task = asyncio.create_task(batcher.results(Numbers((*rows, "x") if is_bad else rows, f"key {number % 2}")))
        if rng.random() < 0.1:
            await asyncio.sleep(rng.random() / 100)
            if task.cancel():
                return 0
        if is_bad:
            with pytest.raises(TypeError):
                await task
            return 0
        assert await task == [row * row for row in rows]
        return 1

    async def run():
        async with Batcher(squares, 16, 10**6, lambda num_rows, seconds: noted.append(num_rows)) as batcher:
            answered = sum(await asyncio.gather(*(client(batcher, number) for number in range(1000))))
            assert (batcher.num_waiting, batcher.stop()) == (0, 0)
            return answered

    assert asyncio.run(run()) > 800
    assert 1 < max(noted) <= 16
