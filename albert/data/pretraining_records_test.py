"""Which files of records are taken, what they hold, and what is said of those that are not."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from albert.data.pretraining_records import EarlierCheck, RecordFormat, open_records
from albert.data.testing import LENGTH, PREDICTIONS, VOCABULARY, random_columns, write_records
from albert.errors import UserError
from albert.testing import TESTDATA

FORMAT = RecordFormat(LENGTH, PREDICTIONS, VOCABULARY)
# google-research/albert wrote it: 16 records of 64 positions with up to 10 predictions, 30,000 pieces.
UPSTREAM = TESTDATA / "pretraining_data/instances_default_first16.tf_record"


def _changed(name: str, row: int, value: float) -> dict[str, np.ndarray]:
    columns = random_columns(8)
    columns[name][row, 1 if columns[name].shape[1] > 1 else 0] = value
    return columns


def _open(path: Path, record_format: RecordFormat = FORMAT):
    return open_records([path], record_format)


def test_files_of_upstreams_tool_are_read():
    records = _open(UPSTREAM, RecordFormat(64, 10, 30000))
    expected = [record.numpy() for record in tf.data.TFRecordDataset(str(UPSTREAM))]
    assert records.count == len(expected) == 16
    assert records.read(np.arange(16)) == expected


def test_records_of_several_files_are_numbered_through_and_read_in_any_order(tmp_path):
    columns = random_columns(7)
    parts = (slice(0, 4), slice(4, 4), slice(4, 7))  # the file in the middle has none
    paths = [
        write_records(tmp_path / f"{i}", {name: values[part] for name, values in columns.items()})
        for i, part in enumerate(parts)
    ]
    records = open_records(paths, FORMAT)
    numbers = np.array([6, 0, 4, 3, 3])
    parsed = FORMAT.parse(tf.constant(records.read(numbers)))
    assert records.count == 7
    assert "token_boundary" not in parsed
    for name, values in parsed.items():
        np.testing.assert_array_equal(values, columns[name][numbers])


def test_the_digest_tells_records_and_their_order_but_not_files(tmp_path):
    columns = random_columns(6)

    def digest(*parts: slice | list[int]) -> str:
        paths = [
            write_records(tmp_path / f"{i}", {name: values[part] for name, values in columns.items()})
            for i, part in enumerate(parts)
        ]
        return open_records(paths, FORMAT).digest

    whole = digest(slice(0, 6))
    assert digest(slice(0, 2), slice(2, 6)) == whole
    assert digest([0, 1, 2, 3, 5, 4]) != whole
    columns["masked_lm_ids"][5, 0] ^= 1
    assert digest(slice(0, 6)) != whole


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("input_ids", VOCABULARY, r"record 3: input_ids holds 50, but 0 to 49 are possible; vocab_size in the model's"),
        ("masked_lm_ids", VOCABULARY + 9, r"record 3: masked_lm_ids holds 59, but 0 to 49"),
        ("segment_ids", 2, r"record 3: segment_ids holds 2, but 0 to 1 are possible; type_vocab_size in"),
        ("masked_lm_positions", LENGTH, r"record 3: masked_lm_positions holds 16, but 0 to 15 are possible"),
        ("next_sentence_labels", 2, r"record 3: next_sentence_labels holds 2"),
        ("masked_lm_weights", np.nan, r"record 3: masked_lm_weights are not all from 0 to 1"),
    ],
)
def test_a_record_that_does_not_fit_the_model_is_named(tmp_path, name, value, message):
    path = write_records(tmp_path / "file", _changed(name, 3, value))
    with pytest.raises(UserError, match=f"file, {message}"):
        _open(path)


def test_records_of_other_lengths_are_refused_with_what_they_have(tmp_path):
    path = write_records(tmp_path / "file", random_columns(3, length=24, predictions=6))
    with pytest.raises(UserError) as raised:
        _open(path)
    assert "file, record 0: `max_seq_length`=16, but it has 24 input_ids;" in str(raised.value)
    assert "`max_predictions_per_seq`=3, but it has 6 masked_lm_ids" in str(raised.value)


def test_a_later_file_of_another_length_is_named(tmp_path):
    paths = [write_records(tmp_path / "a", random_columns(3)), write_records(tmp_path / "b", random_columns(3, 24))]
    with pytest.raises(UserError, match="b, record 0: `max_seq_length`=16, but it has 24"):
        open_records(paths, FORMAT)


def test_a_later_record_of_another_length_is_named(tmp_path):
    path = write_records(tmp_path / "a", random_columns(1100))
    other = write_records(tmp_path / "b", random_columns(1, predictions=4))
    path.write_bytes(path.read_bytes() + other.read_bytes())
    with pytest.raises(UserError, match="a, record 1100: `max_predictions_per_seq`=3, but it has 4"):
        _open(path)


@pytest.mark.parametrize("cut", [1, 8, 100])
def test_a_file_that_is_cut_is_named_with_the_record(tmp_path, cut):
    path = write_records(tmp_path / "file", random_columns(4))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match="file is cut short or damaged: record 3 does not end"):
        _open(path)


def test_a_record_whose_bytes_changed_is_found(tmp_path):
    path = write_records(tmp_path / "file", random_columns(4))
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # in the data of the last record
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="file, record 3: its checksum is wrong"):
        _open(path)


def test_files_that_were_checked_and_not_written_since_are_not_checked_again(tmp_path):
    path = write_records(tmp_path / "file", random_columns(4))
    digest = _open(path).digest
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # as above: whoever looks at it finds it
    path.write_bytes(bytes(data))
    written = path.stat().st_mtime
    assert open_records([path], FORMAT, EarlierCheck(digest, written + 1)).count == 4
    for other in (EarlierCheck(digest, written), EarlierCheck("of other records", written + 1)):
        with pytest.raises(UserError, match="its checksum is wrong"):
            open_records([path], FORMAT, other)


@pytest.mark.parametrize("content", [b"Once upon a time there was no record in this file.\n", b"ab"])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"text\.txt is not a file of TFRecords, or cut short within the first"):
        _open(tmp_path / "text.txt")


def test_records_of_another_task_are_refused():
    with pytest.raises(
        UserError, match=r"mrpc_24.tf_record, record 0: no masked_lm_positions, .*: not a record of pre"
    ):
        _open(TESTDATA / "mrpc_24.tf_record")


def test_bytes_that_are_no_example_are_refused(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "file")) as writer:
        writer.write(b"\xff\xff not a protocol buffer")
    with pytest.raises(UserError, match=r"file, record 0: not a tf\.train.Example"):
        _open(tmp_path / "file")


def test_no_records_at_all_are_an_error(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(UserError, match=r"empty: no records\. Make some with"):
        _open(tmp_path / "empty")


def test_a_file_that_is_cut_while_it_is_in_use_is_named(tmp_path):
    path = write_records(tmp_path / "file", random_columns(4))
    records = _open(path)
    os.truncate(path, path.stat().st_size - 50)
    with pytest.raises(UserError, match="file was cut short while it was in use: record 3 is gone"):
        records.read(np.arange(4))
