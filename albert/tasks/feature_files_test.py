"""Caches under names that the user chose: never replaced by something else, and refused with what differs."""

import json

import numpy as np
import pytest

from albert.data.columns import read_columns
from albert.data.schema import Column
from albert.data.tfrecord_cache import open_or_build
from albert.errors import UserError

SPEC = {"input_ids": Column("tokens", "int32"), "notes": Column("host", "int32")}


def _open(path, length=8, count=3):
    return open_or_build(
        directory=path.parent / "unused",
        stem="unused",
        path=path,
        identity={"max_seq_length": length, "task": "test"},
        items=lambda: range(count),
        featurize=lambda i: [{"input_ids": [i] * (i + 1), "notes": list(range(i))}],
        feature_spec=SPEC,
        num_workers=1,
    )


def test_the_name_is_kept_and_the_second_opening_builds_nothing(tmp_path):
    path = tmp_path / "SQuAD2.0_train_8"
    assert _open(path).path == path
    before = path.stat().st_mtime_ns
    assert _open(path).count == 3
    assert path.stat().st_mtime_ns == before
    assert {p.name for p in tmp_path.iterdir()} >= {"SQuAD2.0_train_8", "SQuAD2.0_train_8.json"}
    assert not (tmp_path / "unused").exists()


def test_other_settings_are_refused_by_name_and_nothing_is_touched(tmp_path):
    path = tmp_path / "features"
    _open(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"features was made with other settings \(max_seq_length was 8, now 16\)"):
        _open(path, length=16)
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_cache_is_refused_and_kept(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("irreplaceable")
    with pytest.raises(UserError, match=r"has no manifest thesis\.txt\.json beside it"):
        _open(path)
    (tmp_path / "thesis.txt.json").write_text('{"mine": 1}')
    with pytest.raises(UserError, match="is not the manifest of a cache"):
        _open(path)
    assert path.read_text() == "irreplaceable"


def test_a_damaged_cache_of_these_settings_is_built_again(tmp_path):
    path = tmp_path / "features"
    _open(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert _open(path).count == 3
    assert path.read_bytes() == whole
    assert json.loads((tmp_path / "features.json").read_text())["records"] == 3


def test_host_columns_come_back_as_they_were_and_others_stay_out(tmp_path, monkeypatch):
    monkeypatch.setattr("albert.data.columns._RECORDS_AT_A_TIME", 2)
    cache = _open(tmp_path / "features", count=5)
    records = read_columns(cache, ["notes"])
    assert [record["notes"].tolist() for record in records] == [list(range(i)) for i in range(5)]
    assert {record["notes"].dtype for record in records} == {np.dtype(np.int32)}
    assert read_columns(cache, []) == []
