"""The bytes of records: what TensorFlow writes, byte for byte."""

import numpy as np
import pytest
import tensorflow as tf

from albert.data.record_encoding import (
    encode_records,
    example,
    float_entry,
    integer_entry,
    num_predictions,
    record_features,
)
from albert.data.record_file import masked_crc


def random_columns(count: int, features, largest: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    columns = {}
    for name, dtype, length in features:
        # All sizes of varints, as many small numbers as large ones.
        numbers = (largest ** rng.random((count, length))).astype(np.int64) - 1
        columns[name] = numbers if dtype == "int64" else rng.random((count, length)).astype(np.float32)
    return columns


def as_tensorflow_writes(path, columns: dict[str, np.ndarray]) -> bytes:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in range(len(columns["input_ids"])):
            example = tf.train.Example()
            for name, values in columns.items():
                feature = example.features.feature[name]
                numbers = feature.float_list if values.dtype == np.float32 else feature.int64_list
                numbers.value.extend(values[row].tolist())
            writer.write(example.SerializeToString(deterministic=True))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("length", "predictions", "largest"),
    [(64, 10, 30000), (512, 77, 30000), (128, 20, 2), (5, 1, 2**28 - 1), (3000, 1, 30000)],
)
def test_records_are_what_tensorflow_writes(tmp_path, length, predictions, largest):
    features = record_features(length, predictions)
    columns = random_columns(17, features, largest)
    assert b"".join(encode_records(features, columns)) == as_tensorflow_writes(tmp_path / "records", columns)


def test_zero_records_are_zero_bytes():
    features = record_features(8, 2)
    assert encode_records(features, random_columns(0, features, 9)) == []


def test_features_are_those_of_the_original(testdata):
    # Written by the original at --max_seq_length=64 --max_predictions_per_seq=10.
    path = testdata / "pretraining_data" / "instances_default_first16.tf_record"
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    example = tf.train.Example.FromString(records[0]).features.feature
    found = {
        name: ("float32", len(value.float_list.value))
        if value.HasField("float_list")
        else ("int64", len(value.int64_list.value))
        for name, value in example.items()
    }
    assert found == {name: (dtype, length) for name, dtype, length in record_features(64, 10)}
    columns = {
        name: np.array([value.int64_list.value or value.float_list.value], np.float32 if "weights" in name else int)
        for name, value in example.items()
    }
    example_bytes = encode_records(record_features(64, 10), columns)[0][12:-4]
    assert tf.train.Example.FromString(example_bytes) == tf.train.Example.FromString(records[0])


def test_a_crc_is_castagnolis():
    # The check value that catalogues of CRCs give for CRC-32C is 0xE3069283; TFRecords rotate it and add a constant.
    rotated = 0xE3069283 >> 15 | (0xE3069283 << 17) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == (rotated + 0xA282EAD8) % 2**32 == 0xC78AB0E5


def test_permuted_tokens_need_as_many_places_again():
    assert (num_predictions(20, False), num_predictions(20, True)) == (20, 40)


@pytest.mark.parametrize("integers", [[], [0], [127, 128, 16383, 16384, 2**28, 2**40, 2**63 - 1], [-1, 5, -(2**63)]])
@pytest.mark.parametrize("floats", [[], [0.1, -3, 1e15, 3]])
def test_an_example_of_any_lengths_is_what_tensorflow_writes(integers, floats):
    expected = tf.train.Example()
    expected.features.feature["b"].int64_list.value.extend(integers)
    expected.features.feature["a" * 300].float_list.value.extend(floats)
    entries = [float_entry("a" * 300, floats), integer_entry("b", integers)]
    assert example(entries) == expected.SerializeToString(deterministic=True)
