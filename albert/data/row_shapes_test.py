"""Few shapes that hold every batch and waste little, chosen by lengths alone."""

import numpy as np
import pytest

from albert.data import packing, row_shapes
from albert.data.row_shapes import PACKINGS, RowShapes


def _shards(mean, count=100, size=32, longest=128, parts=1):
    random = np.random.default_rng(1)
    lengths = random.lognormal(np.log(mean), 0.4, (count, parts, size))
    return list(np.clip(lengths, 3, longest).astype(int))


def _padding(shapes, shards):
    computed = sum(len(parts) * rows * length for parts in shards for rows, length, _ in [shapes.fit(parts)])
    return 1 - sum(parts.sum() for parts in shards) / computed


@pytest.mark.parametrize("version", PACKINGS)
@pytest.mark.parametrize("size", [4, 32])
@pytest.mark.parametrize("mean", [10, 25, 60])
def test_shapes_are_few_hold_every_batch_and_waste_little(mean, size, version):
    shards, others = _shards(mean, size=size), _shards(mean, count=300, size=size)[100:]
    shapes = PACKINGS[version].choose(shards, 128, 128, 0.0)
    assert len(shapes.shapes) <= row_shapes.MAX_SHAPES
    assert shapes.shapes[-1] == (size, 128)
    if (version, size) != (1, 4):  # rows of one length waste a quarter and more of a small batch
        assert _padding(shapes, others) < 0.15
    # The worst batch there can be.
    assert shapes.fit(np.full((1, size), 128))[:2] == (size, 128)


@pytest.mark.parametrize("version", PACKINGS)
def test_the_micro_batches_of_a_shard_have_one_shape_that_holds_each(version):
    shards = _shards(20, size=8, parts=3)
    shapes = PACKINGS[version].choose(shards, 128, 128, 0.0)
    for parts in shards:
        rows, length, starts = shapes.fit(parts)
        for part, part_starts in zip(parts, starts, strict=True):
            assert packing.pack(part, length)[0].tolist() == part_starts.tolist()
            assert (part_starts + part).max() <= rows * length


def test_a_run_begun_with_version_1_keeps_its_shapes():
    # What choose_shapes returned, and rows_for, in the program that knew no other version.
    expected = {
        (10, 32, 48): (48, (7, 8, 9, 11, 32)),
        (60, 32, 128): (128, (16, 17, 19, 21, 24, 32)),
        (20, 4, 128): (128, (1, 2, 4)),
    }
    for (mean, size, longest), (length, counts) in expected.items():
        shapes = PACKINGS[1].choose(_shards(mean, size=size, longest=longest), longest, longest, 0.0)
        assert shapes.shapes == tuple((count, length) for count in counts)
        assert shapes.row_length == length


def test_short_sequences_get_short_rows():
    assert row_shapes.choose_row_counts(_shards(10, longest=40), 40, 128).row_length < 128
    assert row_shapes.choose_row_counts(_shards(10), 128, 512).row_length >= 128
    assert min(length for _, length in row_shapes.choose_shapes(_shards(10), 128, 512).shapes) < 128


def test_few_sequences_share_one_row_longer_than_each():
    shapes = row_shapes.choose_shapes(_shards(60, size=4), 128, 128)
    assert any(rows == 1 and length > 128 for rows, length in shapes.shapes)
    # Where rows have several lengths, none of them is the one of all.
    assert shapes.row_length is None


def _total(shapes, shards, shape_cost):
    """Mean cost of the shards, and that of every shape that one of them meets."""
    met = [shapes.fit(shard)[:2] for shard in shards]
    return float(np.mean([row_shapes.cost(*shape) for shape in met])) + shape_cost * len(set(met))


@pytest.mark.parametrize("mean", [10, 60])
def test_a_shape_is_worth_its_cost(mean):
    shards = _shards(mean)
    free, cheap, dear, never = (row_shapes.choose_shapes(shards, 128, 128, cost) for cost in (0.0, 1e-9, 60.0, 1e9))
    assert free == PACKINGS[2].choose(shards, 128, 128, 60.0)
    assert _total(cheap, shards, 0) <= _total(free, shards, 0)
    # One that holds all, and the last resort, which none meets.
    assert len(never.shapes) == 2
    assert len({never.fit(shard)[:2] for shard in shards}) == 1
    assert 2 <= len(dear.shapes) <= len(free.shapes)
    for cost, best in ((60.0, dear), (1e9, never)):
        assert all(_total(best, shards, cost) <= _total(other, shards, cost) for other in (free, dear, never))


def test_compiling_costs_more_where_the_device_is_fast_or_the_model_small():
    assert row_shapes.shape_cost(768, True, True) > row_shapes.shape_cost(768, False, True)
    assert row_shapes.shape_cost(768, False, True) > row_shapes.shape_cost(768, False, False)
    assert row_shapes.shape_cost(4096, True, True) < row_shapes.shape_cost(768, True, True)
    assert row_shapes.shape_cost(128, True, True) == row_shapes.shape_cost(8, True, True)


def test_the_cheapest_shape_that_holds_a_batch_is_taken():
    shapes = RowShapes(((1, 16), (2, 16), (1, 40), (4, 24)))
    assert [shapes.fit(np.array([lengths]))[:2] for lengths in ([8, 8], [9, 9], [20, 4], [20, 20, 2], [24, 24])] == [
        (1, 16),
        (2, 16),
        (1, 40),
        (4, 24),
        (4, 24),
    ]


def test_a_batch_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match="40 tokens in sequences of up to 8 fit into none of 2 x 8, 4 x 8"):
        RowShapes(((2, 8), (4, 8))).fit(np.full((1, 5), 8))


def test_lengths_that_are_not_aligned_are_no_longer_than_allowed_in_the_last_resort():
    shapes = row_shapes.choose_shapes([np.full((1, 3), 13)] * 5, 13, 13)
    assert shapes.shapes[-1] == (3, 13)
    assert shapes.fit(np.full((1, 3), 13))[:2] == (3, 13)
