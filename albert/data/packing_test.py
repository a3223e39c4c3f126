"""Packing as arithmetic: everything fits, nothing overlaps, little is wasted, whatever the lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert.data import packing

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=60).map(lambda values: np.array(values, np.int32))


@given(LENGTHS, st.integers(40, 70))
def test_sequences_lie_in_one_row_each_and_nowhere_overlap(lengths, row_length):
    starts, num_rows = packing.pack(lengths, row_length)
    taken = np.zeros(num_rows * row_length, int)
    for start, length in zip(starts, lengths, strict=True):
        assert start // row_length == (start + max(length, 1) - 1) // row_length
        taken[start : start + length] += 1
    assert taken.max(initial=0) <= 1
    assert taken.sum() == lengths.sum()
    # Two rows that are both less than half full would have been joined.
    filled = taken.reshape(num_rows, row_length).sum(axis=1)
    assert (filled * 2 <= row_length).sum() <= 1


def test_packing_is_best_fit_by_descending_length():
    starts, num_rows = packing.pack(np.array([3, 7, 2, 5, 0]), 10)
    # 7 and 5 open rows; 3 fills the first exactly; 2 goes to the second.
    assert starts.tolist() == [7, 0, 15, 10, 0]
    assert num_rows == 2


def test_one_sequence_as_long_as_a_row_and_none_at_all():
    assert packing.pack(np.array([10]), 10)[0].tolist() == [0]
    assert packing.pack(np.array([0, 0]), 10)[1] == 0


@given(LENGTHS)
def test_token_positions_say_where_every_token_lies(lengths):
    starts, _ = packing.pack(lengths, 40)
    where, places, numbers = packing.token_positions(lengths, starts)
    expected = [(starts[i] + j, j, i) for i, length in enumerate(lengths) for j in range(length)]
    assert list(zip(where, places, numbers, strict=True)) == expected


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=80).map(np.array),
    st.integers(1, 9),
    st.sampled_from([packing.deal, packing.deal_evenly]),
)
def test_examples_are_dealt_once_each_in_equal_numbers(costs, num_shards, deal):
    shards = deal(costs, num_shards)
    assert shards.shape == (num_shards, -(-len(costs) // num_shards))
    assert sorted(shards[shards >= 0]) == list(range(len(costs)))
    for shard in shards:
        real = shard[shard >= 0]
        assert real.tolist() == sorted(real)


def test_shards_cost_about_the_same():
    costs = np.random.default_rng(0).lognormal(4, 0.7, 256).astype(int)
    dealt = np.array([costs[shard].sum() for shard in packing.deal(costs, 8)])
    in_order = costs.reshape(8, -1).sum(axis=1)
    assert np.ptp(dealt) < np.ptp(in_order) / 2
    assert np.ptp(dealt) <= costs.max()


@pytest.mark.parametrize("deal", [packing.deal, packing.deal_evenly])
def test_of_too_few_examples_some_shards_have_fewer(deal):
    shards = deal(np.array([5, 9, 7, 1, 2]), 3)
    assert sorted(shards.ravel().tolist()) == [-1, 0, 1, 2, 3, 4]
    assert shards.shape == (3, 2)
    assert all(shard[0] >= 0 for shard in shards)


def test_dealt_evenly_the_costliest_goes_with_the_cheapest():
    # 9 takes the first shard, 6 the second; 2 goes beside 6, which leaves 1 for 9.
    assert packing.deal_evenly(np.array([6, 1, 9, 2]), 2).tolist() == [[1, 2], [0, 3]]


def test_dealt_evenly_shards_differ_less():
    random = np.random.default_rng(0)
    batches = [random.lognormal(2.5, 0.7, 32).astype(int) for _ in range(50)]
    slowest = [
        np.mean([max(costs[shard].sum() for shard in deal(costs, 8)) / costs.sum() * 8 for costs in batches])
        for deal in (packing.deal, packing.deal_evenly)
    ]
    assert slowest[1] - 1 < (slowest[0] - 1) / 2
