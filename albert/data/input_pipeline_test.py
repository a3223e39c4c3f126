import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from albert.data import row_shapes
from albert.data.input_pipeline import BatchShape, Source, check_batch, eval_dataset, train_dataset
from albert.data.schema import Column
from albert.data.tfrecord_cache import open_or_build
from albert.errors import UserError

COUNT = 26
MAX_SEQ_LENGTH = 8
SPEC = {
    "input_ids": Column("tokens", "int32"),
    "segment_ids": Column("tokens", "int32"),
    "label_ids": Column("scalar", "int32"),
    "score": Column("scalar", "float32"),
    "several": Column("vector", "int32", 3),
    "weights": Column("vector", "float32", 2),
}


def record(number):
    """2 to 8 tokens, so that some rows fill all 8 positions; the last one is in segment 1."""
    ids = [100 + number] * (2 + number % 7)
    return {
        "input_ids": ids,
        "segment_ids": [0] * (len(ids) - 1) + [1],
        "label_ids": [number % 3],
        "score": [number / 4],
        "several": [number % 2, 1, number // 13],
        "weights": [number / 8, -number],
    }


def cache_in(folder, featurize, feature_spec):
    return open_or_build(
        directory=folder,
        stem="test",
        identity={},
        items=lambda: range(COUNT),
        featurize=lambda number: [featurize(number)],
        feature_spec=feature_spec,
        num_workers=1,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return cache_in(tmp_path_factory.mktemp("cache"), record, SPEC)


@pytest.fixture(scope="module")
def source(cache):
    return Source(cache, SPEC, MAX_SEQ_LENGTH)


def padded(source):
    return dataclasses.replace(source, is_packed=False)


def elements_of(dataset):
    return list(dataset.as_numpy_iterator())


def global_batches(elements, num_replicas):
    """The examples of each step, put together from the replicas' shards, in the order of their rows in the batch."""
    assert len(elements) % num_replicas == 0
    steps = [elements[first : first + num_replicas] for first in range(0, len(elements), num_replicas)]
    return [sorted((e for shard in step for e in examples_of(shard)), key=lambda e: e["row"]) for step in steps]


def examples_of(shard):
    """The real examples of a shard, each with what the batch says of it, its tokens gathered from where they lie."""
    found = []
    for i in np.flatnonzero(shard["example_weights"]):
        start, length = shard["sequence_starts"][i], shard["sequence_lengths"][i]
        where = slice(start, start + length)
        assert shard["sequence_ids"].ravel()[where].tolist() == [i + 1] * length
        assert shard["position_ids"].ravel()[where].tolist() == list(range(length))
        assert (shard["sequence_ids"] == i + 1).sum() == length
        names = ("input_ids", "segment_ids")
        example = {name: shard[name].ravel()[where].tolist() for name in names}
        example |= {name: [shard[name][i].item()] for name in ("label_ids", "score")}
        example |= {name: shard[name][i].tolist() for name in ("several", "weights")}
        found.append(example | {"id": shard["example_ids"][i].item(), "row": shard["sequence_rows"][i].item()})
    return found


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


# --- Training batches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize(
    "shape", [BatchShape(6, 2), BatchShape(4, 3), BatchShape(3, 4), BatchShape(3, 1, 4), BatchShape(2, 3, 2)]
)
def test_the_global_batches_are_the_same_however_they_are_shared_and_packed(source, shape, is_packed):
    alone = elements_of(train_dataset(padded(source), BatchShape(12, 1), 7, 0, 6))
    shared = elements_of(train_dataset(dataclasses.replace(source, is_packed=is_packed), shape, 7, 0, 6))
    assert len(shared) == 6 * shape.num_replicas
    parts = [part for shard in shared for part in micro_batches_of(shard, shape.micro_batches)]
    assert {len(part["example_ids"]) for part in parts} == {shape.per_replica_batch_size}
    assert global_batches(parts, shape.num_replicas * shape.micro_batches) == global_batches(alone, 1)


def micro_batches_of(shard, count):
    return [shard] if count == 1 else [{name: value[i] for name, value in shard.items()} for i in range(count)]


def test_without_packing_rows_are_dealt_in_order_and_padded(source):
    shards = elements_of(train_dataset(padded(source), BatchShape(2, 3), 7, 0, 2))
    assert [shard["sequence_rows"].tolist() for shard in shards] == [[0, 1], [2, 3], [4, 5]] * 2
    assert {shard["input_ids"].shape for shard in shards} == {(2, MAX_SEQ_LENGTH)}


def test_a_run_continues_in_mid_stream_with_the_same_batches_on_another_number_of_replicas(source):
    whole = elements_of(train_dataset(source, BatchShape(12, 1), 7, 0, 9))
    rest = elements_of(train_dataset(source, BatchShape(3, 4), 7, 5, 9))
    assert global_batches(rest, 4) == global_batches(whole, 1)[5:]


@pytest.mark.parametrize("version", row_shapes.PACKINGS)
def test_a_run_that_continues_has_the_very_same_elements(source, version):
    source, shape = dataclasses.replace(source, packing_version=version), BatchShape(4, 2)
    assert_same(
        elements_of(train_dataset(source, shape, 7, 5, 9)), elements_of(train_dataset(source, shape, 7, 0, 9))[10:]
    )


def test_a_worker_gets_the_shards_of_its_own_replicas(source):
    def shards(replica_ids):
        return elements_of(train_dataset(source, BatchShape(3, 4), 7, 2, 5, replica_ids=replica_ids))

    everyone, first_worker, second_worker = shards(None), shards(range(2)), shards(range(2, 4))
    assert len(first_worker) == len(second_worker) == 6
    assert_same(first_worker, [shard for number, shard in enumerate(everyone) if number % 4 < 2])
    assert_same(second_worker, [shard for number, shard in enumerate(everyone) if number % 4 >= 2])


@pytest.mark.parametrize("is_packed", [True, False])
def test_batches_hold_what_the_records_hold(source, is_packed):
    source = dataclasses.replace(source, is_packed=is_packed)
    for dataset in (train_dataset(source, BatchShape(5, 2), 7, 0, 6), eval_dataset(source, BatchShape(4, 2))):
        for shard in elements_of(dataset):
            for example in examples_of(shard):
                assert {name: example[name] for name in SPEC} == record(example["id"])
            # What is not a token is zero.
            for name in ("input_ids", "segment_ids", "position_ids"):
                assert not shard[name][shard["sequence_ids"] == 0].any()


def test_packed_batches_come_in_few_shapes_with_little_padding(source, caplog):
    caplog.set_level("INFO")
    shards = elements_of(train_dataset(source, BatchShape(8, 2), 7, 0, 300))
    assert len({shard["input_ids"].shape for shard in shards}) <= row_shapes.MAX_SHAPES
    tokens, positions = (
        sum(shard["sequence_ids"].astype(bool).sum() for shard in shards),
        sum(s["input_ids"].size for s in shards),
    )
    assert tokens / positions > 0.85 > source.cache.token_counts.mean() / MAX_SEQ_LENGTH
    (line,) = [record.getMessage() for record in caplog.records if "Packing" in record.getMessage()]
    assert " % of a batch is padding instead of 39.9 %. Rows x tokens: " in line
    assert " 8 x 8" in line


def test_a_batch_larger_than_the_split_is_one_clear_error(source):
    with pytest.raises(UserError) as raised:
        train_dataset(source, BatchShape(9, 3), 7, 0, 1)
    assert str(raised.value) == (
        "`per_replica_batch_size`=9 on 3 replicas needs 27 examples a step, but the training split has 26. "
        "Set `per_replica_batch_size` to 8 or less."
    )
    with pytest.raises(UserError, match="`=9 with `gradient_accumulation_steps`=3 needs 27 examples"):
        train_dataset(source, BatchShape(9, 1, 3), 7, 0, 1)
    assert len(elements_of(train_dataset(source, BatchShape(13, 2), 7, 0, 1))) == 2


@pytest.mark.parametrize(
    ("shape", "num_examples", "advice"),
    [
        (BatchShape(32, 1), 10, "`per_replica_batch_size` to 10 or less"),
        (BatchShape(4, 2, 8), 40, "`per_replica_batch_size` to 2 or less"),
        (BatchShape(4, 8), 7, "Lower `num_replicas`."),
        (BatchShape(4, 2, 8), 15, "Lower `num_replicas` and `gradient_accumulation_steps`."),
    ],
)
def test_what_is_advised_for_a_batch_that_is_too_large_works(shape, num_examples, advice):
    with pytest.raises(UserError) as raised:
        check_batch(shape, num_examples)
    assert advice in str(raised.value)
    assert ("replicas" in str(raised.value)) == (shape.num_replicas > 1)
    most = num_examples // (shape.num_replicas * shape.micro_batches)
    if most:
        check_batch(dataclasses.replace(shape, per_replica_batch_size=most), num_examples)


def test_records_longer_than_the_batch_are_refused_not_cut(source):
    with pytest.raises(AssertionError, match="8 tokens, more than 7"):
        dataclasses.replace(source, max_seq_length=7)


# --- Evaluation batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("num_replicas", [1, 2, 3, 4])
def test_evaluation_has_every_example_once_on_any_number_of_replicas(source, num_replicas, is_packed):
    source = dataclasses.replace(source, is_packed=is_packed)
    elements = elements_of(eval_dataset(source, BatchShape(4, num_replicas)))
    assert len(elements) % num_replicas == 0
    ids = np.concatenate([element["example_ids"] for element in elements])
    weights = np.concatenate([element["example_weights"] for element in elements])
    assert sorted(ids[weights == 1].tolist()) == list(range(COUNT))
    assert set(ids[weights == 0]) <= {-1}
    (shape,) = {element["input_ids"].shape for element in elements}
    assert shape[0] * shape[1] <= 4 * MAX_SEQ_LENGTH


def test_packed_evaluation_has_fewer_elements(source):
    numbers = [len(elements_of(eval_dataset(s, BatchShape(4, 1)))) for s in (source, padded(source))]
    # 128 tokens in elements of 32 positions, instead of 26 examples in elements of 4.
    assert numbers == [4, 7]


def test_filling_is_all_zeros_but_for_its_id_and_row_number(source):
    last = elements_of(eval_dataset(padded(source), BatchShape(4, 2)))[-1]
    # 26 = 3 x 8 + 2: the last step's second replica has nothing to do.
    for name in (
        "input_ids",
        "sequence_ids",
        "segment_ids",
        "label_ids",
        "score",
        "several",
        "weights",
        "example_weights",
        "sequence_lengths",
    ):
        assert not last[name].any(), name
    assert last["example_ids"].tolist() == [-1] * 4


def test_an_evaluation_worker_gets_the_shards_of_its_own_replicas(source):
    everyone = elements_of(eval_dataset(source, BatchShape(4, 2)))
    second = elements_of(eval_dataset(source, BatchShape(4, 2), replica_ids=range(1, 2)))
    assert_same(second, everyone[1::2])


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_shapes_and_types_are_as_promised(source, micro_batches):
    # Training rows of several lengths have none that is known; those of a run begun before have one.
    assert train_dataset(source, BatchShape(4, 2, micro_batches), 7, 0, 2).element_spec == promised(micro_batches, None)
    source = dataclasses.replace(source, packing_version=1)
    expected = promised(micro_batches, MAX_SEQ_LENGTH)
    assert train_dataset(source, BatchShape(4, 2, micro_batches), 7, 0, 2).element_spec == expected


def promised(micro_batches, row_length):
    outer = [] if micro_batches == 1 else [3]
    tokens, number = tf.TensorSpec([*outer, None, row_length], tf.int32), tf.TensorSpec([*outer, 4], tf.int32)
    return {
        **dict.fromkeys(("input_ids", "segment_ids", "position_ids", "sequence_ids"), tokens),
        **dict.fromkeys(("sequence_starts", "sequence_lengths", "sequence_rows", "label_ids"), number),
        "score": tf.TensorSpec([*outer, 4], tf.float32),
        "several": tf.TensorSpec([*outer, 4, 3], tf.int32),
        "weights": tf.TensorSpec([*outer, 4, 2], tf.float32),
        "example_ids": tf.TensorSpec([*outer, 4], tf.int64),
        "example_weights": tf.TensorSpec([*outer, 4], tf.float32),
    }


def test_a_dataset_can_be_read_twice(source):
    dataset = train_dataset(source, BatchShape(4, 2), 7, 0, 3)
    assert_same(elements_of(dataset), elements_of(dataset))


# --- Examples of several sequences ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_packed", [True, False])
def test_the_sequences_of_an_example_stay_together(source, is_packed):
    source = dataclasses.replace(source, sequences_per_example=2, is_packed=is_packed)
    for dataset in (train_dataset(source, BatchShape(3, 2), 7, 0, 8), eval_dataset(source, BatchShape(2, 2))):
        seen = []
        for shard in elements_of(dataset):
            assert len(shard["sequence_starts"]) == 2 * len(shard["example_ids"])
            for i in np.flatnonzero(shard["example_weights"]):
                number = shard["example_ids"][i]
                seen.append(number)
                assert shard["label_ids"][i] == record(2 * number)["label_ids"][0]
                assert shard["several"][i].tolist() == record(2 * number)["several"]
                for j in range(2):
                    start, length = (shard[f"sequence_{name}"][2 * i + j] for name in ("starts", "lengths"))
                    ids = shard["input_ids"].ravel()[start : start + length].tolist()
                    assert ids == record(2 * number + j)["input_ids"]
        assert set(seen) == set(range(COUNT // 2))


# --- The batches are those that parsing gives -------------------------------------------------------------------------


def parsed_batch(source, shard):
    """The columns of `shard` from its records by TensorFlow, as every batch was made before there were columns.

    Tokens are scattered to where the shard says that their sequences are.
    """
    k, examples = source.sequences_per_example, np.atleast_2d(shard["example_ids"])
    records = [e * k + i if e >= 0 else -1 for e in examples.ravel().tolist() for i in range(k)]
    serialized = tf.constant([source.cache.read([number])[0] if number >= 0 else b"" for number in records])
    rows = shard["position_ids"].shape
    starts = np.atleast_2d(shard["sequence_starts"])
    starts = (starts + np.arange(len(starts))[:, None] * np.prod(rows[-2:])).ravel()
    places = [start + i for start, n in zip(starts, shard["sequence_lengths"].ravel(), strict=True) for i in range(n)]
    on_disk = {"int32": tf.int64, "float32": tf.float32}
    spec = {name: tf.io.RaggedFeature(on_disk[column.dtype]) for name, column in source.feature_spec.items()}
    batch = {}
    for name, parsed in tf.io.parse_example(serialized, spec).items():
        column = source.feature_spec[name]
        if column.kind == "tokens":
            values = tf.cast(parsed.values, column.dtype)
            flat = tf.scatter_nd(np.array(places, np.int64)[:, None], values, [np.prod(rows)])
            batch[name] = tf.reshape(flat, rows)
        elif column.kind != "host":
            values = tf.cast(parsed.to_tensor(shape=[len(records), column.length]), column.dtype)[::k]
            width = [] if column.kind == "scalar" else [column.length]
            batch[name] = tf.reshape(values, [*shard["example_ids"].shape, *width])
    return {name: tensor.numpy() for name, tensor in batch.items()}


SPEC_OF_ALL_KINDS = SPEC | {
    "p_mask": Column("tokens", "float32"),
    "start_positions": Column("scalar", "int32"),
    "notes": Column("host", "int32"),
}


def record_of_all_kinds(number):
    tokens = 2 + number % 7
    # A negative label, and ids at the limits of the types that columns may be held in.
    special = {"start_positions": [-number], "p_mask": [i / 3 for i in range(tokens)], "notes": [1] * number}
    ids = [(255, 256, 65535, 65536)[number % 4]] * tokens
    return record(number) | special | {"input_ids": ids}


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize(
    ("choices", "shape"),
    [(1, BatchShape(5, 2)), (1, BatchShape(3, 2, 2)), (2, BatchShape(3, 1)), (2, BatchShape(2, 2, 2))],
)
def test_batches_are_bit_for_bit_those_that_parsing_their_records_gives(tmp_path, choices, shape, is_packed):
    cache = cache_in(tmp_path, record_of_all_kinds, SPEC_OF_ALL_KINDS)
    source = Source(cache, SPEC_OF_ALL_KINDS, MAX_SEQ_LENGTH, choices, is_packed)
    evaluated = eval_dataset(source, BatchShape(shape.per_replica_batch_size, shape.num_replicas))
    assert any((shard["example_ids"] < 0).any() for shard in elements_of(evaluated)), "none has filling"
    for dataset in (train_dataset(source, shape, 7, 0, 3), evaluated):
        for shard in elements_of(dataset):
            for name, expected in parsed_batch(source, shard).items():
                assert (shard[name].dtype, shard[name].shape) == (expected.dtype, expected.shape), name
                assert shard[name].tobytes() == expected.tobytes(), name
