import numpy as np
import pytest

from albert import input_pipeline
from albert.input_pipeline import BatchShape, epoch_order, eval_dataset, train_dataset, train_indices
from albert.settings import UserError
from albert.tasks.base import Column
from albert.tfrecord_cache import open_or_build

COUNT = 26
MAX_SEQ_LENGTH = 8
SPEC = {
    "input_ids": Column("tokens", "int32"),
    "segment_ids": Column("tokens", "int32"),
    "label_ids": Column("scalar", "int32"),
    "score": Column("scalar", "float32"),
}


def record(number):
    """2 to 8 tokens, so that some rows fill all 8 positions; the last one is in segment 1."""
    ids = [100 + number] * (2 + number % 7)
    return {
        "input_ids": ids,
        "segment_ids": [0] * (len(ids) - 1) + [1],
        "label_ids": [number % 3],
        "score": [number / 4],
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return open_or_build(
        directory=tmp_path_factory.mktemp("cache"),
        stem="test",
        identity={},
        items=lambda: range(COUNT),
        featurize=lambda number: [record(number)],
        feature_spec=SPEC,
        num_workers=1,
    )


def elements_of(dataset):
    return list(dataset.as_numpy_iterator())


def global_batches(elements, num_replicas):
    """Puts the replicas' shares together again, in replica order."""
    assert len(elements) % num_replicas == 0
    groups = [elements[first : first + num_replicas] for first in range(0, len(elements), num_replicas)]
    return [{name: np.concatenate([share[name] for share in group]) for name in group[0]} for group in groups]


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


# --- The order of training --------------------------------------------------------------------------------------------


def test_the_hash_is_splitmix64():
    # The published example output of SplitMix64 for seed 1234567 (Rosetta Code, "Pseudo-random numbers/Splitmix64").
    assert input_pipeline._splitmix64(1234567, 5).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_every_epoch_is_a_permutation(count):
    for epoch in range(3):
        order = epoch_order(count, seed=5, epoch=epoch)
        assert order.dtype == np.int64
        assert sorted(order.tolist()) == list(range(count))


def test_the_order_depends_on_seed_and_epoch_and_never_changes():
    orders = {tuple(epoch_order(100, seed, epoch)) for seed in (-1, 0, 1, 2**63) for epoch in range(3)}
    assert len(orders) == 12
    # Recorded from the first version: another order would silently change the data of every run that is resumed.
    assert epoch_order(10, seed=12345, epoch=0).tolist() == [9, 7, 1, 5, 6, 8, 0, 3, 4, 2]
    assert epoch_order(10, seed=12345, epoch=1).tolist() == [1, 5, 2, 0, 6, 3, 7, 9, 8, 4]


def test_seed_and_epoch_are_not_exchangeable():
    assert epoch_order(100, 1, 2).tolist() != epoch_order(100, 2, 1).tolist()


def test_every_place_of_the_order_is_taken_by_every_record_about_equally_often():
    # 4,000 epochs of 8 records: each of the 64 (place, record) counts is binomial with mean 500 and deviation 21.
    counts = np.zeros((8, 8), int)
    for epoch in range(4000):
        counts[np.arange(8), epoch_order(8, seed=3, epoch=epoch)] += 1
    assert abs(counts - 500).max() < 5 * 21


@pytest.mark.parametrize("global_batch_size", [1, 4, 7, 26, 60])
def test_each_epoch_of_the_stream_has_each_record_once_though_batches_straddle_epochs(global_batch_size):
    num_steps = 3 * COUNT // global_batch_size + 1
    batches = [train_indices(step, global_batch_size, COUNT, seed=1) for step in range(num_steps)]
    assert {len(batch) for batch in batches} == {global_batch_size}
    stream = np.concatenate(batches)
    for epoch in range(len(stream) // COUNT):
        in_epoch = stream[epoch * COUNT : (epoch + 1) * COUNT]
        assert in_epoch.tolist() == epoch_order(COUNT, 1, epoch).tolist()


def test_the_stream_does_not_depend_on_how_it_is_cut_into_batches():
    def stream(size):
        return np.concatenate([train_indices(step, size, COUNT, seed=1) for step in range(60 // size)]).tolist()

    assert stream(1) == stream(4) == stream(12) == stream(30)


# --- Training batches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_replicas", [2, 3, 4])
def test_the_global_batches_are_the_same_on_any_number_of_replicas(cache, num_replicas):
    shapes = BatchShape(12, 1), BatchShape(12 // num_replicas, num_replicas)
    assert {shape.global_batch_size for shape in shapes} == {12}
    alone, shared = (elements_of(train_dataset(cache, SPEC, shape, MAX_SEQ_LENGTH, 7, 0, 6)) for shape in shapes)
    assert len(shared) == 6 * num_replicas
    assert_same(global_batches(shared, num_replicas), alone)


def test_rows_are_numbered_through_the_global_batch(cache):
    shares = elements_of(train_dataset(cache, SPEC, BatchShape(2, 3), MAX_SEQ_LENGTH, 7, 0, 2))
    assert [share["batch_rows"].tolist() for share in shares] == [[0, 1], [2, 3], [4, 5]] * 2


def test_a_run_continues_in_mid_stream_with_the_same_batches_on_another_number_of_replicas(cache):
    whole = elements_of(train_dataset(cache, SPEC, BatchShape(12, 1), MAX_SEQ_LENGTH, 7, 0, 9))
    rest = elements_of(train_dataset(cache, SPEC, BatchShape(3, 4), MAX_SEQ_LENGTH, 7, 5, 9))
    assert_same(global_batches(rest, 4), whole[5:])


def test_a_worker_gets_the_shares_of_its_own_replicas(cache):
    def shares(replica_ids):
        shape = BatchShape(3, 4)
        return elements_of(train_dataset(cache, SPEC, shape, MAX_SEQ_LENGTH, 7, 2, 5, replica_ids=replica_ids))

    everyone, first_worker, second_worker = shares(None), shares(range(2)), shares(range(2, 4))
    assert len(first_worker) == len(second_worker) == 6
    assert_same(first_worker, [share for number, share in enumerate(everyone) if number % 4 < 2])
    assert_same(second_worker, [share for number, share in enumerate(everyone) if number % 4 >= 2])


def test_training_batches_hold_what_the_records_hold(cache):
    for batch in elements_of(train_dataset(cache, SPEC, BatchShape(5, 2), MAX_SEQ_LENGTH, 7, 0, 6)):
        assert batch["example_weights"].tolist() == [1.0] * 5
        assert_rows_hold_their_records(batch)


def assert_rows_hold_their_records(batch):
    for row, number in enumerate(batch["example_ids"]):
        expected = record(number)
        length = len(expected["input_ids"])
        padding = [0] * (MAX_SEQ_LENGTH - length)
        assert batch["input_ids"][row].tolist() == expected["input_ids"] + padding
        assert batch["segment_ids"][row].tolist() == expected["segment_ids"] + padding
        assert batch["input_mask"][row].tolist() == [1] * length + padding
        assert [batch["label_ids"][row]] == expected["label_ids"]
        assert [batch["score"][row]] == expected["score"]


def test_a_batch_larger_than_the_split_is_one_clear_error(cache):
    with pytest.raises(UserError) as raised:
        train_dataset(cache, SPEC, BatchShape(9, 3), MAX_SEQ_LENGTH, 7, 0, 1)
    assert str(raised.value) == (
        "--train_batch_size=9 on --num_gpu_cores=3 needs 27 examples a step, but the training split has 26. "
        "Lower --train_batch_size or --num_gpu_cores."
    )
    assert len(elements_of(train_dataset(cache, SPEC, BatchShape(13, 2), MAX_SEQ_LENGTH, 7, 0, 1))) == 2


def test_records_longer_than_the_batch_are_refused_not_cut(cache):
    with pytest.raises(AssertionError, match="8 tokens in a record, more than 7"):
        eval_dataset(cache, SPEC, BatchShape(4, 1), 7)


# --- Evaluation batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_replicas", [1, 2, 3, 4])
def test_evaluation_has_every_record_once_on_any_number_of_replicas(cache, num_replicas):
    elements = elements_of(eval_dataset(cache, SPEC, BatchShape(4, num_replicas), MAX_SEQ_LENGTH))
    assert len(elements) % num_replicas == 0
    ids = np.concatenate([element["example_ids"] for element in elements])
    weights = np.concatenate([element["example_weights"] for element in elements])
    # In the order of the cache, so the padding is at the end.
    assert ids[weights == 1].tolist() == list(range(COUNT))
    assert set(ids[weights == 0]) <= {-1}
    assert len(ids) == -(-COUNT // (4 * num_replicas)) * 4 * num_replicas


def test_padding_rows_are_all_zeros_but_for_their_id_and_row_number(cache):
    last = elements_of(eval_dataset(cache, SPEC, BatchShape(4, 2), MAX_SEQ_LENGTH))[-1]
    # 26 = 3 x 8 + 2: the last step's second replica has nothing to do.
    for name in ("input_ids", "input_mask", "segment_ids", "label_ids", "score", "example_weights"):
        assert not last[name].any(), name
    assert last["example_ids"].tolist() == [-1] * 4
    assert last["batch_rows"].tolist() == [4, 5, 6, 7]


def test_evaluation_batches_hold_what_the_records_hold(cache):
    for batch in elements_of(eval_dataset(cache, SPEC, BatchShape(13, 2), MAX_SEQ_LENGTH)):
        assert_rows_hold_their_records(batch)


def test_an_evaluation_worker_gets_the_shares_of_its_own_replicas(cache):
    everyone = elements_of(eval_dataset(cache, SPEC, BatchShape(4, 2), MAX_SEQ_LENGTH))
    second = elements_of(eval_dataset(cache, SPEC, BatchShape(4, 2), MAX_SEQ_LENGTH, replica_ids=range(1, 2)))
    assert_same(second, everyone[1::2])


def test_all_shapes_are_static_and_all_types_are_as_promised(cache):
    import tensorflow as tf

    shape = BatchShape(4, 2)
    tokens, number = tf.TensorSpec([4, MAX_SEQ_LENGTH], tf.int32), tf.TensorSpec([4], tf.int32)
    expected = {
        "input_ids": tokens,
        "input_mask": tokens,
        "segment_ids": tokens,
        "label_ids": number,
        "score": tf.TensorSpec([4], tf.float32),
        "example_ids": tf.TensorSpec([4], tf.int64),
        "example_weights": tf.TensorSpec([4], tf.float32),
        "batch_rows": number,
    }
    for dataset in (
        train_dataset(cache, SPEC, shape, MAX_SEQ_LENGTH, 7, 0, 2),
        eval_dataset(cache, SPEC, shape, MAX_SEQ_LENGTH),
    ):
        assert dataset.element_spec == expected


def test_a_dataset_can_be_read_twice(cache):
    dataset = train_dataset(cache, SPEC, BatchShape(4, 2), MAX_SEQ_LENGTH, 7, 0, 3)
    assert_same(elements_of(dataset), elements_of(dataset))
