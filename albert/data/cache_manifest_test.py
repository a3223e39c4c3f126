"""Manifests of caches whose own checksum is right, but which something else has written: the cache is built again."""

import hashlib
import json

import pytest

from albert.data.schema import Column
from albert.data.tfrecord_cache import open_or_build

SPEC = {"input_ids": Column("tokens", "int32")}


def _open(folder):
    return open_or_build(
        directory=folder,
        stem="cache",
        identity={"task": "test"},
        items=lambda: range(20),
        featurize=lambda i: [{"input_ids": [i] * 3}],
        feature_spec=SPEC,
        num_workers=1,
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"record_lengths": None}, "its manifest does not list records"),
        ({"token_counts": [{}] * 20}, "its manifest does not list records"),
        ({"token_counts": [2**40] * 20}, "its manifest does not list records"),
        ({"record_lengths": [1] * 20}, "its manifest lists other records"),
        ({"token_counts": [3] * 19}, "its manifest lists other records"),
        ({"token_counts": [-1] * 20}, "its manifest lists other records"),
        ({"size": None}, "bytes, not the None that were written"),
        ({"sha256": 0}, "its bytes are not the ones that were written"),
        ({"digest": []}, "its manifest belongs to another cache"),
        ({"format_version": "1" * 9999}, "its format is version '1"),
    ],
)
def test_a_manifest_that_cannot_be_true_is_not_used(tmp_path, caplog, changes, reason):
    cache = _open(tmp_path)
    path = cache.path.with_name(cache.path.name + ".json")
    good = path.read_text()
    manifest = json.loads(good) | changes
    del manifest["manifest_sha256"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps(manifest | {"manifest_sha256": hashlib.sha256(text.encode()).hexdigest()}))
    assert _open(tmp_path).token_counts.tolist() == [3] * 20
    assert path.read_text() == good
    assert reason in caplog.text
