import numpy as np
import pytest

from albert.serving.shapes import MAX_SHAPES, Batch, Shape, Shapes, lay_out

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("num_sequences", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("max_seq_length", [3, 8, 40, 128, 384, 512])
def test_every_example_is_in_one_batch_of_one_of_few_shapes(max_seq_length, batch_size, num_sequences, is_packed):
    shapes = Shapes.choose(max_seq_length, batch_size, num_sequences, is_packed)
    known = {*shapes.large, *shapes.middle, *shapes.small}
    assert len(known) <= MAX_SHAPES
    for count in (0, 1, 2, 5, 100):
        lengths = RNG.integers(2, max_seq_length + 1, (count, num_sequences))
        batches = shapes.plan(lengths)
        assert sorted(np.concatenate([[], *(batch.examples for batch in batches)])) == list(range(count))
        assert len(known | set(shapes.suited)) <= MAX_SHAPES
        for batch in batches:
            assert batch.shape in known or batch.shape in shapes.suited
            _check(batch, lengths[batch.examples].ravel())


def _check(batch: Batch, lengths: np.ndarray) -> None:
    """Sequences neither overlap nor cross the end of a row."""
    shape, used = batch.shape, np.zeros(batch.shape.positions, int)
    assert len(lengths) == len(batch.starts) <= shape.sequences
    for start, length in zip(batch.starts, lengths, strict=True):
        assert start // shape.length == (start + length - 1) // shape.length < shape.rows
        used[start : start + length] += 1
    assert used.max() == 1


def test_short_texts_leave_little_padding():
    lengths = np.clip(RNG.lognormal(2.5, 0.6, 2048).astype(int) + 2, 3, 128)[:, None]
    batches = Shapes.choose(128, 32).plan(lengths)
    assert lengths.sum() > 0.9 * sum(batch.shape.positions for batch in batches)


def test_short_sequences_fill_the_rows_of_longer_ones():
    # As MRPC's, whose mean is about half of a row.
    lengths = np.clip(RNG.normal(60, 16, 2048).astype(int), 28, 98)[:, None]
    batches = Shapes.choose(128, 32).plan(lengths)
    assert lengths.sum() > 0.9 * sum(batch.shape.positions for batch in batches)


def test_rows_are_no_longer_than_short_sequences_need():
    lengths = np.full((2048, 1), 30)
    for may_suit, length in ((False, 64), (True, 32)):
        batches = Shapes.choose(128, 32).plan(lengths, may_suit)
        assert {batch.shape.length for batch in batches} == {length}


def test_what_does_not_fill_a_large_batch_is_computed_in_middle_ones():
    rows = [batch.shape.rows for batch in Shapes.choose(128, 32).plan(np.full((45, 1), 128))]
    assert rows == [32, 8, 8]
    unpacked = Shapes.choose(128, 32, is_packed=False)
    assert [batch.shape for batch in unpacked.plan(np.full((45, 1), 60))] == [
        Shape(32, 64, 32),
        *[Shape(8, 64, 8)] * 2,
    ]


@pytest.mark.parametrize(("mean", "spread"), [(79, 20), (34, 13), (59, 14), (12, 5)])
def test_what_fills_many_batches_has_next_to_no_padding(mean, spread):
    # As MRPC's and SST-2's with two vocabularies, and shorter ones.
    lengths = np.clip(RNG.normal(mean, spread, 2048).astype(int), 3, 128)[:, None]
    shapes = Shapes.choose(128, 32, max_positions=512)
    batches = shapes.plan(lengths)
    assert sorted(np.concatenate([batch.examples for batch in batches])) == list(range(2048))
    for batch in batches:
        _check(batch, lengths[batch.examples].ravel())
        assert batch.shape.positions <= 32 * 128
    assert lengths.sum() > 0.96 * sum(batch.shape.positions for batch in batches)
    # Texts of the same kind share the shape; after a warm-up of all others there is none of its own.
    suited = list(shapes.suited)
    assert len(suited) == 1
    shapes.plan(RNG.permutation(lengths)[:1500])
    assert shapes.suited == suited
    known = {*shapes.large, *shapes.middle, *shapes.small}
    assert {batch.shape for batch in shapes.plan(lengths, may_suit=False)} <= known


def test_calls_of_any_kind_need_few_shapes():
    shapes = Shapes.choose(128, 8, max_positions=512)
    for mean in (10, 20, 40, 60, 80, 100):
        for count in (1, 30, 500):
            lengths = np.clip(RNG.normal(mean, 9, count).astype(int), 3, 128)[:, None]
            batches = shapes.plan(lengths)
            assert sorted(np.concatenate([batch.examples for batch in batches])) == list(range(count))
            for batch in batches:
                _check(batch, lengths[batch.examples].ravel())
    assert len(shapes.suited) > 1
    assert len({*shapes.large, *shapes.middle, *shapes.small, *shapes.suited}) <= MAX_SHAPES


def test_rows_longer_than_a_sequence_need_a_model_that_has_the_positions():
    lengths = np.clip(RNG.normal(79, 20, 2048).astype(int), 3, 128)[:, None]
    assert max(batch.shape.length for batch in Shapes.choose(128, 32, max_positions=512).plan(lengths)) > 128
    for shapes in (Shapes.choose(128, 32), Shapes.choose(128, 32, max_positions=128)):
        assert max(batch.shape.length for batch in shapes.plan(lengths)) <= 128


def test_a_single_text_takes_the_shortest_row_that_holds_it():
    shapes = Shapes.choose(512, 32)
    for length, row in ((2, 32), (32, 32), (33, 128), (512, 512)):
        (batch,) = shapes.plan(np.array([[length]]))
        assert (batch.shape.rows, batch.shape.length) == (1, row)
    # Several short ones share it.
    (batch,) = shapes.plan(np.array([[10], [11], [9]]))
    assert (batch.shape.length, len(batch.examples)) == (32, 3)


def test_tokens_lie_where_the_layout_says():
    shape = Shape(rows=2, length=6, sequences=4)
    records = [{"input_ids": [1, 2, 3], "segment_ids": [0, 0, 1]}, {"input_ids": [4, 5], "segment_ids": [0, 1]}]
    arrays = lay_out(Batch(shape, np.array([7, 8]), np.array([6, 9])), records, ("input_ids", "segment_ids"))
    expected = {
        "input_ids": [[0] * 6, [1, 2, 3, 4, 5, 0]],
        "segment_ids": [[0] * 6, [0, 0, 1, 0, 1, 0]],
        "position_ids": [[0] * 6, [0, 1, 2, 0, 1, 0]],
        "sequence_ids": [[0] * 6, [1, 1, 1, 2, 2, 0]],
        "sequence_starts": [6, 9, 0, 0],
        "sequence_lengths": [3, 2, 0, 0],
    }
    assert {name: values.tolist() for name, values in arrays.items()} == expected
    assert {values.dtype for values in arrays.values()} == {np.dtype(np.int32)}
