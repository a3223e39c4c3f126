"""The shuffle on disk: an order by keys alone."""

import numpy as np
import pytest

from albert.pretraining_data.shuffle import add_to_buckets, in_key_order, number_of_buckets


def shuffled(folder, num_buckets: int, portions: list[list[int]], keys: np.ndarray, ties: np.ndarray) -> list[bytes]:
    for portion in portions:
        records = [b"record %d" % number for number in portion]
        add_to_buckets(folder, num_buckets, keys[portion], ties[portion], records)
    return [bytes(record) for record in in_key_order(folder, num_buckets)]


@pytest.mark.parametrize("num_buckets", [1, 2, 7, 300])
def test_order_is_by_key_whatever_the_buckets_and_portions(tmp_path, num_buckets):
    keys = np.random.default_rng(0).integers(0, 2**64, 500, np.uint64)
    keys[100:110] = keys[0]  # equal keys
    keys[110:112] = 0, 2**64 - 1
    ties = np.arange(500, dtype=np.uint64)
    expected = [b"record %d" % number for number in np.lexsort((ties, keys))]
    numbers = list(range(500))
    portions = [numbers[300:], numbers[200:300], [], numbers[:200]]
    assert shuffled(tmp_path, num_buckets, portions, keys, ties) == expected
    assert list(tmp_path.iterdir()) == []


def test_empty_records_and_no_records_are_fine(tmp_path):
    add_to_buckets(tmp_path, 3, np.array([5], np.uint64), np.array([0], np.uint64), [b""])
    assert [bytes(record) for record in in_key_order(tmp_path, 3)] == [b""]
    assert list(in_key_order(tmp_path, 3)) == []


def test_buckets_are_about_as_large_as_asked_for():
    assert number_of_buckets(0) == 1
    assert number_of_buckets(100 << 20) == 4
    assert number_of_buckets(1 << 60) == 4096
