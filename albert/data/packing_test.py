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


@given(st.lists(st.integers(0, 500), min_size=1, max_size=80).map(np.array), st.integers(1, 9))
def test_examples_are_dealt_once_each_in_equal_numbers(costs, num_shards):
    shards = packing.deal(costs, num_shards)
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


def _batches(mean, count=100, size=32, longest=128):
    random = np.random.default_rng(1)
    return [np.clip(random.lognormal(np.log(mean), 0.4, size), 3, longest).astype(int) for _ in range(count)]


@pytest.mark.parametrize("mean", [10, 25, 60])
def test_shapes_are_few_hold_every_batch_and_waste_little(mean):
    batches, others = _batches(mean), _batches(mean, count=300)[100:]
    shapes = packing.choose_shapes(batches, 128, 128)
    assert len(shapes.row_counts) <= packing.MAX_SHAPES
    assert shapes.row_counts[-1] == 32
    rows = [shapes.rows_for(packing.pack(batch, shapes.row_length)[1]) for batch in others]
    assert sum(batch.sum() for batch in others) / (sum(rows) * shapes.row_length) > 0.85
    # The worst batch there can be.
    assert shapes.rows_for(packing.pack(np.full(32, 128), shapes.row_length)[1]) == 32


def test_short_sequences_get_short_rows():
    assert packing.choose_shapes(_batches(10, longest=40), 40, 128).row_length < 128
    assert packing.choose_shapes(_batches(10), 128, 512).row_length >= 128


def test_too_many_rows_are_refused():
    with pytest.raises(ValueError, match="5 rows needed, but at most 4"):
        packing.RowShapes(8, (2, 4)).rows_for(5)


@pytest.mark.parametrize("per_example", [1, 4])
def test_plans_hold_every_example_once_within_the_room_given(per_example):
    random = np.random.default_rng(2)
    lengths = random.integers(5, 100, (301, per_example))
    plan = packing.plan_shards(lengths.sum(axis=1), lambda examples: lengths[examples].ravel(), 128, 16 * 128)
    assert sorted(plan.examples[plan.examples >= 0]) == list(range(301))
    (rows,) = plan.shapes.row_counts
    assert rows * plan.shapes.row_length <= 16 * 128
    for shard in plan.examples:
        assert packing.pack(lengths[shard[shard >= 0]].ravel(), plan.shapes.row_length)[1] <= rows
    assert lengths.sum() / (len(plan.examples) * rows * plan.shapes.row_length) > 0.85


def test_an_example_larger_than_the_room_has_a_shard_of_its_own():
    lengths = np.full((3, 4), 100)
    plan = packing.plan_shards(lengths.sum(axis=1), lambda examples: lengths[examples].ravel(), 128, 128)
    assert plan.examples.shape == (3, 1)
    assert plan.shapes.row_counts == (4,)
