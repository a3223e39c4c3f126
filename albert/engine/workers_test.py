"""Workers as threads that exchange messages in memory: who decides, what all get, and whose mistake all report."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from albert.engine.cluster import Cluster
from albert.engine.workers import ALONE, SeveralWorkers, Workers, messages_of, words_of
from albert.errors import UserError

ADDRESSES = ("a:1", "b:2", "c:3")


class _Exchange:
    """What collectives do for processes."""

    def __init__(self, count: int):
        self._messages = [b""] * count
        self._barrier = threading.Barrier(count, timeout=20)

    def of(self, index: int) -> Callable[[bytes], list[bytes]]:
        def exchange(message: bytes) -> list[bytes]:
            # As numbers, which is how they travel.
            self._messages[index] = words_of(message)
            self._barrier.wait()
            received = messages_of(np.concatenate(self._messages))
            self._barrier.wait()
            return received

        return exchange


def _run(work: Callable[[Workers], Any], count: int = 3) -> list[Any]:
    """What `work` returns or raises on each of `count` workers."""
    exchange, results = _Exchange(count), [None] * count

    def run(index: int) -> None:
        workers = SeveralWorkers(Cluster(ADDRESSES[:count], index), exchange.of(index), ALONE.waiting)
        try:
            results[index] = work(workers)
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _said(results: list[Any], kind: type[Exception] = UserError) -> str:
    """The message that all have raised."""
    assert [type(result) for result in results] == [kind] * len(results), results
    assert len({str(result) for result in results}) == 1
    return str(results[0])


def test_one_process_only_calls_what_it_is_given():
    decided = (1, object())
    assert ALONE.agree(lambda: decided) is decided
    assert ALONE.on_chief(lambda: decided) is decided
    assert ALONE.together(lambda: decided) is decided
    assert ALONE.highest(lambda: 3) == 3
    arrays = {"x": np.zeros(2)}
    assert ALONE.gather(arrays)[0] is arrays
    ALONE.compare(lambda: pytest.fail("there is nobody to compare with"))
    ALONE.part()
    with ALONE.waiting("nobody"):
        pass
    assert (ALONE.count, ALONE.index, ALONE.is_chief) == (1, 0, True)


@pytest.mark.parametrize(
    "value", [None, 0, 1.5e-300, float("inf"), "é", [1, ["a"]], {"f1": 0.1 + 0.2}, np.float32(0.1)]
)
def test_all_take_what_the_chief_decides(value):
    called = []

    def work(workers: Workers) -> Any:
        def decide() -> Any:
            called.append(workers.index)
            return value

        return workers.agree(decide)

    assert _run(work) == [value] * 3
    assert called == [0]


def test_the_chief_keeps_what_it_made_alone():
    assert _run(lambda workers: workers.on_chief(object))[1:] == [None, None]
    assert isinstance(_run(lambda workers: workers.on_chief(object))[0], object)


def test_the_highest_number_counts():
    assert _run(lambda workers: workers.highest(lambda: 15 * (workers.index == 1))) == [15] * 3


@pytest.mark.parametrize("way", ["agree", "on_chief"])
def test_a_mistake_that_only_the_chief_can_make_names_it_on_the_others(way):
    def fail() -> int:
        raise UserError("the disk is full: `output_dir`")

    errors = _run(lambda workers: getattr(workers, way)(fail))
    said = "the disk is full: `output_dir`"
    assert [str(error) for error in errors] == [said, *[f"worker 0 (a:1): {said}"] * 2]


@pytest.mark.parametrize("way", ["together", "highest"])
def test_a_mistake_that_all_make_is_the_same_line_for_all(way):
    def fail() -> int:
        raise UserError("no data")

    assert _said(_run(lambda workers: getattr(workers, way)(fail))) == "no data"


@pytest.mark.parametrize("failing", [[0], [0, 1]])
def test_only_workers_that_do_not_make_the_chiefs_mistake_name_the_chief(failing):
    def work(workers: Workers) -> Any:
        def read() -> None:
            if workers.index in failing:
                raise UserError("Cannot write the cache /cache/x: No space left on device")

        return workers.together(read)

    said = "Cannot write the cache /cache/x: No space left on device"
    expected = [said if index in failing else f"worker 0 (a:1): {said}" for index in range(3)]
    assert [str(error) for error in _run(work)] == expected


def test_a_mistake_of_another_worker_names_it():
    def work(workers: Workers) -> Any:
        def read() -> int:
            if workers.index:
                raise UserError("no data")
            return 1

        return workers.together(read)

    assert _said(_run(work)) == "worker 1 (b:2): no data"


def test_an_error_of_a_file_stays_one_on_the_chief_and_is_told_by_others():
    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory", "x.tsv")

    errors = _run(lambda workers: workers.together(fail))
    assert all(isinstance(error, OSError) and error.filename == "x.tsv" for error in errors)
    own, *others = _run(lambda workers: workers.on_chief(fail))
    assert isinstance(own, OSError)
    assert _said(others) == "worker 0 (a:1): x.tsv: No such file or directory"
    errors = _run(lambda workers: workers.together(lambda: fail() if workers.index == 2 else None))
    assert _said(errors) == "worker 2 (c:3): x.tsv: No such file or directory"


def test_facts_that_differ_are_named_with_both_workers():
    def work(workers: Workers) -> None:
        workers.compare(lambda: {"the data": "abc", "the weights": "d" if workers.index == 2 else "e"})

    assert _said(_run(work)) == "the weights: e on worker 0 (a:1) and d on worker 2 (c:3). All workers need the same."
    assert _run(lambda workers: workers.compare(lambda: {"the data": "abc"})) == [None] * 3


def test_arrays_of_any_kind_reach_all_in_the_order_of_workers():
    def arrays_of(index: int) -> dict[str, np.ndarray]:
        return {
            "ids": np.arange(3 * index, dtype=np.int64),
            "scores": np.full((index, 2), index / 3, np.float32),
            "flags": np.array([True, False]),
            "number": np.float64(index),
        }

    for received in _run(lambda workers: workers.gather(arrays_of(workers.index))):
        for index, arrays in enumerate(received):
            for name, array in arrays_of(index).items():
                assert arrays[name].dtype == array.dtype
                np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("messages", [[b""], [b"", b"1234567", b"12345678", b"123456789"], [bytes(range(256))]])
def test_messages_survive_being_joined_as_numbers(messages):
    assert messages_of(np.concatenate([words_of(message) for message in messages])) == messages
