"""Which files of records are taken, what they hold, and what is said of those that are not."""

import dataclasses
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from albert.data import checked_records, pretraining_records
from albert.data.manifest import encode, manifest_path
from albert.data.pretraining_manifest import RecordsManifest
from albert.data.pretraining_records import RecordFormat, open_records
from albert.data.record_encoding import encode_records, record_features
from albert.data.record_file import RecordWriter, framed
from albert.data.testing import LENGTH, PREDICTIONS, VOCABULARY, random_columns, write_records
from albert.errors import UserError
from albert.system.files import whole_file
from albert.testing import TESTDATA, few_open_files

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


def test_there_may_be_more_files_than_the_system_lets_a_process_open_unasked(tmp_path):
    columns = random_columns(40)
    paths = [
        write_records(tmp_path / f"{i}", {name: values[i : i + 1] for name, values in columns.items()})
        for i in range(40)
    ]
    with few_open_files():
        assert open_records(paths, FORMAT).count == 40


def test_the_digest_depends_on_records_and_their_order_but_not_on_files(tmp_path):
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


def test_a_later_record_that_is_none_is_named_whatever_its_bytes_and_those_of_the_file_s_name(tmp_path):
    # TensorFlow's message quotes the bytes, and Python cannot decode them.
    path = write_records(tmp_path / os.fsdecode(b"file\xff"), random_columns(4))
    path.write_bytes(path.read_bytes() + framed(b"\x94\xff not a message"))
    with pytest.raises(UserError, match=r"record 4: not a tf\.train\.Example"):
        _open(path)


def _as_if_checked_long_ago(monkeypatch) -> None:
    """A check of now counts as one of three seconds later, as if the files had been there for a while."""
    monkeypatch.setattr(checked_records, "now_ns", lambda: time.time_ns() + 3_000_000_000)


def _must_not_check(*_arguments):
    raise AssertionError("checked again")


def _damage(path: Path, place: int = -20) -> None:
    """Changes a byte, by default in the data of the last record, and sets the time of change of the contents back."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_files_that_were_checked_are_not_read_again_until_they_change(tmp_path, monkeypatch):
    _as_if_checked_long_ago(monkeypatch)
    paths = [write_records(tmp_path / name, random_columns(4)) for name in "ab"]
    kept = tmp_path / "out/kept"
    checked = open_records(paths, FORMAT, kept)
    checked.keep_check(kept)
    with monkeypatch.context() as patched:
        patched.setattr(pretraining_records, "_checked_numbers", _must_not_check)
        again = open_records(paths, FORMAT, kept)
    assert again.digest == checked.digest == open_records(paths, FORMAT).digest
    assert again.read(np.arange(8)) == checked.read(np.arange(8))
    again.keep_check(kept)
    time.sleep(0.02)  # more than a tick of the file system's clock
    _damage(paths[1])
    with pytest.raises(UserError, match="b, record 3: its checksum is wrong"):
        open_records(paths, FORMAT, kept)
    with pytest.raises(UserError, match=r"b is damaged, or was changed while it was in use: record 3 does not fit"):
        again.read(np.arange(8))


def test_a_check_is_trusted_for_the_same_format_and_while_it_is_whole(tmp_path, monkeypatch, caplog):
    _as_if_checked_long_ago(monkeypatch)
    path, kept = write_records(tmp_path / "file", random_columns(4)), tmp_path / "kept"
    open_records([path], FORMAT, kept).keep_check(kept)
    monkeypatch.setattr(pretraining_records, "_checked_numbers", _must_not_check)
    open_records([path], FORMAT, kept)
    with pytest.raises(AssertionError, match="checked again"):
        open_records([path], RecordFormat(LENGTH, PREDICTIONS, VOCABULARY + 1), kept)
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="checked again"):
        open_records([path], FORMAT, kept)
    assert "kept cannot be used (it is damaged): all records are checked again" in caplog.text


@pytest.mark.parametrize(
    "damaged",
    [
        ["file"],
        [5],
        {"a": 1},
        [{}],
        [{"records": "4"}],
        [{"records": 3}],
        [{"records": 5}],
        [{"records": -1}],
        [{"checked_ns": "1"}],
        [{"vocabulary": [1]}],
        [{"place": 1}],
    ],
    ids=str,
)
def test_a_check_whose_header_is_damaged_is_not_used(damaged, tmp_path, monkeypatch, caplog):
    _as_if_checked_long_ago(monkeypatch)
    path, kept = write_records(tmp_path / "file", random_columns(4)), tmp_path / "kept"
    open_records([path], FORMAT, kept).keep_check(kept)
    header, _, numbers = kept.read_bytes().partition(b"\n")
    values = json.loads(header)
    (entry,) = values["files"]
    is_changed = isinstance(damaged, list) and isinstance(damaged[0], dict) and damaged[0]
    values["files"] = [entry | damaged[0]] if is_changed else damaged
    kept.write_bytes(json.dumps(values).encode() + b"\n" + numbers)
    monkeypatch.setattr(pretraining_records, "_checked_numbers", _must_not_check)
    with pytest.raises(AssertionError, match="checked again"):
        open_records([path], FORMAT, kept)
    assert "kept cannot be used" in caplog.text


def test_a_check_right_after_the_file_was_written_is_made_again(tmp_path, monkeypatch):
    # A change within the same tick of the file system's clock would not be seen.
    path, kept = write_records(tmp_path / "file", random_columns(4)), tmp_path / "kept"
    open_records([path], FORMAT, kept).keep_check(kept)
    monkeypatch.setattr(pretraining_records, "_checked_numbers", _must_not_check)
    with pytest.raises(AssertionError, match="checked again"):
        open_records([path], FORMAT, kept)


def test_a_file_that_is_still_being_written_is_refused(tmp_path, monkeypatch):
    path = write_records(tmp_path / "file", random_columns(4))
    check = pretraining_records._check

    def check_and_write(*arguments):
        check(*arguments)
        path.write_bytes(path.read_bytes() * 2)

    monkeypatch.setattr(pretraining_records, "_check", check_and_write)
    with pytest.raises(UserError, match="file was changed while it was being checked"):
        _open(path)


# --- Manifests ----------------------------------------------------------------------------------------------------


def _with_manifest(path: Path, count: int = 4, **changes: object) -> Path:
    """Records with the manifest that create_pretraining_data writes; `changes` are of its entries."""
    manifest = RecordsManifest("abc", VOCABULARY, LENGTH, PREDICTIONS, {"noisy_copies": False})
    records = encode_records(record_features(LENGTH, PREDICTIONS), random_columns(count))
    with whole_file(path) as file:
        writer = RecordWriter(file)
        for record in records:
            writer.write(record)
    manifest_path(path).write_bytes(dataclasses.replace(manifest, **changes).text_for(writer))
    return path


def test_records_with_a_manifest_are_not_parsed(tmp_path, monkeypatch):
    _with_manifest(tmp_path / "a")
    parsed = open_records([write_records(tmp_path / "b", random_columns(4))], FORMAT)
    monkeypatch.setattr(pretraining_records, "_check", _must_not_check)
    records = open_records(sorted(tmp_path.glob("a*")), FORMAT)  # a pattern that the manifest matches too
    assert (records.digest, records.count) == (parsed.digest, 4)
    assert records.vocabularies == {("abc", VOCABULARY)}
    assert parsed.vocabularies == frozenset()


@pytest.mark.parametrize("changes", [{"vocab_size": VOCABULARY + 1}, {"max_seq_length": 24}, {"predictions": 6}])
def test_records_whose_manifest_does_not_say_that_they_fit_are_all_checked(tmp_path, monkeypatch, changes):
    path = _with_manifest(tmp_path / "a", **changes)
    _open(path)
    monkeypatch.setattr(pretraining_records, "_check", _must_not_check)
    with pytest.raises(AssertionError, match="checked again"):
        _open(path)


@pytest.mark.parametrize("text", [b"", b"{}", b"not JSON", encode({"kind": "x"})])
def test_a_manifest_that_cannot_be_used_is_reported_and_all_records_are_checked(tmp_path, caplog, text):
    path = _with_manifest(tmp_path / "a")
    manifest_path(path).write_bytes(text)
    assert _open(path).count == 4
    assert f"The manifest of {path} " in caplog.text
    assert "every record is checked" in caplog.text


def test_records_that_are_not_their_manifests_are_all_checked(tmp_path, caplog):
    path = _with_manifest(tmp_path / "a")
    _damage(path)
    with pytest.raises(UserError, match="a, record 3: its checksum is wrong"):
        _open(path)
    assert "belongs to other records" in caplog.text


# --- Files that cannot be taken -----------------------------------------------------------------------------------


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


def test_bytes_that_are_not_an_example_are_refused(tmp_path):
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


# --- What is logged about readable records ----------------------------------------------------------------------------


def test_records_without_masks_and_copies_of_files_are_reported(tmp_path, caplog):
    columns = random_columns(1100)
    columns["masked_lm_weights"][:] = 1
    columns["masked_lm_weights"][[7, 1050]] = 0
    whole = write_records(tmp_path / "a", columns)
    rest = write_records(tmp_path / "b", random_columns(3, seed=1))
    open_records([rest], FORMAT)
    assert "copies" not in caplog.text
    caplog.clear()
    (tmp_path / "copy").write_bytes(whole.read_bytes())
    (tmp_path / "link").hardlink_to(rest)
    (tmp_path / "empty").touch()
    (tmp_path / "empty too").touch()
    names = ("a", "b", "copy", "link", "empty", "empty too")
    assert open_records([tmp_path / name for name in names], FORMAT).without_masks >= 4
    assert "of 2,206 records without a masked position" in caplog.text
    assert f"The first is {whole}, record 7." in caplog.text
    assert "2 files with the records of another, which count more than once" in caplog.text
    assert f"The first is {tmp_path}/copy, which holds the same as {whole}." in caplog.text
