import errno
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from albert.data import columns
from albert.data.columns import columns_of
from albert.data.schema import Column
from albert.data.tfrecord_cache import open_or_build
from albert.errors import UserError

SPEC = {
    "input_ids": Column("tokens", "int32"),
    "segment_ids": Column("tokens", "int32"),
    "weights": Column("tokens", "float32"),
    "label_ids": Column("scalar", "int32"),
    "scores": Column("vector", "float32", 2),
    "notes": Column("host", "int32"),
}
# The first id of a record: what needs one byte, two, a sign, and four bytes.
IDS = (255, 256, -1, 65536, 2**31 - 1, -(2**31))


def record(item):
    ids = [IDS[item], *range(item)]
    return {
        "input_ids": ids,
        "segment_ids": [0] * item + [1],
        "weights": [number / 3 for number in ids],
        "label_ids": [-item],
        "scores": [item / 7, -0.0],
        "notes": list(range(item)),
    }


def open_cache(folder, count=6, featurize=record):
    return open_or_build(
        directory=folder,
        stem="test",
        identity={"count": count},
        items=lambda: range(count),
        featurize=lambda item: [featurize(item)],
        feature_spec=SPEC,
        num_workers=1,
    )


@pytest.mark.parametrize("records_at_a_time", [1, 4, 4096])
@pytest.mark.parametrize("bytes_in_memory", [0, 1 << 24])
def test_columns_hold_what_the_records_hold(tmp_path, monkeypatch, records_at_a_time, bytes_in_memory):
    monkeypatch.setattr(columns, "_RECORDS_AT_A_TIME", records_at_a_time)
    monkeypatch.setattr(columns, "_MAX_BYTES_IN_MEMORY", bytes_in_memory)
    decoded = columns_of(open_cache(tmp_path), SPEC)
    assert decoded.values.keys() == SPEC.keys() - {"notes"}
    chosen = np.array([5, 0, 2])
    tokens = decoded.tokens_of(chosen, chosen + 1)
    for name, column in SPEC.items():
        expected = [number for item in chosen.tolist() for number in record(item)[name]]
        if column.kind != "host":
            found = decoded.values[name][tokens if column.kind == "tokens" else chosen].ravel()
            assert found.astype(column.dtype).tobytes() == np.array(expected, column.dtype).tobytes()


@pytest.mark.parametrize(("count", "dtype"), [(1, np.uint8), (2, np.uint16), (3, np.int32), (6, np.int32)])
def test_integers_take_few_bytes(tmp_path, count, dtype):
    decoded = columns_of(open_cache(tmp_path, count), SPEC)
    assert decoded.values["input_ids"].dtype == dtype
    assert decoded.values["segment_ids"].dtype == np.uint8
    assert decoded.values["weights"].dtype == np.float32


def test_a_cache_is_decoded_once_and_may_change_afterwards(tmp_path):
    cache = open_cache(tmp_path)
    first = columns_of(cache, SPEC)
    os.truncate(cache.path, 0)
    assert columns_of(cache, SPEC) is first


@pytest.mark.parametrize(("long_seconds", "is_told"), [(0.0, True), (1000.0, False)])
def test_only_a_long_decoding_is_told(tmp_path, caplog, monkeypatch, long_seconds, is_told):
    monkeypatch.setattr(columns, "_LONG_SECONDS", long_seconds)
    cache = open_cache(tmp_path)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        columns_of(cache, SPEC)
    assert ("Decoded 6 records" in caplog.text) == is_told


def test_a_cache_that_changed_since_it_was_opened_is_refused(tmp_path):
    cache = open_cache(tmp_path)
    data = bytearray(cache.path.read_bytes())
    data[len(data) // 2] ^= 1
    cache.path.write_bytes(data)
    with pytest.raises(UserError, match="was changed while it was in use"):
        columns_of(cache, SPEC)


def test_a_column_without_a_number_for_each_token_is_refused(tmp_path):
    cache = open_cache(tmp_path, featurize=lambda item: {**record(item), "segment_ids": [0]})
    with pytest.raises(AssertionError, match="segment_ids has not one number a token"):
        columns_of(cache, SPEC)


def test_large_columns_lie_in_files_without_names(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "_MAX_BYTES_IN_MEMORY", 0)
    cache = open_cache(tmp_path)
    before = sorted(tmp_path.iterdir())
    decoded = columns_of(cache, SPEC)
    assert all(array.base is not None for array in decoded.values.values())
    assert sorted(tmp_path.iterdir()) == before
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    assert len(mapped) >= len(decoded.values)
    assert all("(deleted)" in line for line in mapped)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENODEV])
def test_without_room_for_files_columns_stay_in_memory_and_the_log_says_so_once(tmp_path, monkeypatch, caplog, number):
    def refuses(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(columns, "_MAX_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(*{
        errno.ENOSPC: (os, "posix_fallocate", refuses),
        errno.EROFS: (tempfile, "TemporaryFile", refuses),
        errno.ENODEV: (columns.mmap, "mmap", refuses),
    }[number])  # fmt: skip
    cache = open_cache(tmp_path)
    before = sorted(tmp_path.iterdir())
    decoded = columns_of(cache, SPEC)
    assert decoded.values["label_ids"].tolist() == [[-item] for item in range(len(IDS))]
    assert sorted(tmp_path.iterdir()) == before
    (warning,) = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert warning == f"{tmp_path} takes no temporary file ({os.strerror(number)}): columns stay in memory."


def test_a_cache_without_records_has_empty_columns(tmp_path):
    decoded = columns_of(open_cache(tmp_path, 0), SPEC)
    assert {name: array.shape for name, array in decoded.values.items()} == {
        **dict.fromkeys(("input_ids", "segment_ids", "weights"), (0,)),
        "label_ids": (0, 1),
        "scores": (0, 2),
    }
