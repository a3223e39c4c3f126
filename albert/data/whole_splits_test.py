"""A whole split in batches of one shape with little padding, chosen by lengths alone."""

import numpy as np
import pytest

from albert.data import packing
from albert.data.whole_splits import cheapest_length, packed_cost, plan_shards


def _plan(lengths, longest_row, max_positions, num_replicas=1):
    costs = lengths.sum(axis=1)
    return plan_shards(costs, lambda examples: lengths[examples].ravel(), longest_row, max_positions, num_replicas)


def _check(plan, lengths, max_positions):
    """Every example is in one shard, into whose rows its sequences go; returns the share of tokens."""
    assert sorted(plan.examples[plan.examples >= 0]) == list(range(len(lengths)))
    ((rows, row_length),) = plan.shapes.shapes
    assert rows * row_length <= max_positions
    for shard in plan.examples:
        real = shard[shard >= 0]
        assert real.tolist() == sorted(real)
        assert packing.pack(lengths[real].ravel(), row_length)[1] <= rows
    return lengths.sum() / (len(plan.examples) * rows * row_length)


@pytest.mark.parametrize("num_replicas", [1, 3])
@pytest.mark.parametrize("per_example", [1, 4])
def test_plans_hold_every_example_once_within_the_room_given(per_example, num_replicas):
    lengths = np.random.default_rng(2).integers(5, 100, (301, per_example))
    plan = _plan(lengths, 128, 16 * 128, num_replicas)
    assert len(plan.examples) % num_replicas == 0
    assert _check(plan, lengths, 16 * 128) > (0.95 if per_example == 1 else 0.8)


def test_sequences_of_more_than_half_a_row_share_longer_ones():
    # As MRPC's with the bundled vocabulary: one each in rows of 128, these would be a fifth padding.
    lengths = np.clip(np.random.default_rng(3).normal(79, 20, (408, 1)).astype(int), 28, 128)
    plan = _plan(lengths, 256, 8 * 128)
    assert _check(plan, lengths, 8 * 128) > 0.94
    assert 128 < plan.shapes.row_length < 256
    # A model without positions for them is given none.
    assert _plan(lengths, 128, 8 * 128).shapes.row_length == 128


def test_rows_are_no_longer_than_they_need_be():
    assert cheapest_length(np.full(500, 30), 512) == 32
    assert cheapest_length(np.full(500, 13), 13) == 13
    assert cheapest_length(np.full(500, 30), 512, step=16) == 32
    lengths = np.random.default_rng(4).integers(40, 100, 700)
    costs = {length: packed_cost(lengths, length) for length in range(104, 257, 8)}
    assert cheapest_length(lengths, 256, step=8) == min(costs, key=costs.get)


def test_an_outlier_among_many_has_room():
    lengths = np.full((5000, 1), 10)
    lengths[4321] = 101
    _check(_plan(lengths, 128, 1024), lengths, 1024)


def test_few_examples_on_many_replicas_have_a_shard_each():
    assert _plan(np.full((3, 1), 100), 128, 1024, 8).examples.tolist() == [[0], [1], [2]]


def test_an_example_larger_than_the_room_has_a_shard_of_its_own():
    plan = _plan(np.full((3, 4), 100), 128, 128)
    assert plan.examples.shape == (3, 1)
    assert plan.shapes.shapes == ((4, 104),)
