"""What was digested is what was read."""

import hashlib
import time
from pathlib import Path

import pytest

from albert.data.schema import Column
from albert.data.source_files import SourceFiles
from albert.data.tfrecord_cache import RecordCache, open_or_build
from albert.errors import UserError


def test_the_digest_of_files_depends_on_bytes_and_borders_but_not_on_names(tmp_path):
    def digest_of(*contents):
        paths = [tmp_path / f"{time.monotonic_ns()}" for _ in contents]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return SourceFiles.read(paths).digest

    # By the definition: sha256 over the files' sha256.
    assert digest_of(b"a") == hashlib.sha256(hashlib.sha256(b"a").digest()).hexdigest()
    assert digest_of(b"a", b"b") == digest_of(b"a", b"b")
    assert len({digest_of(b"ab", b""), digest_of(b"a", b"b"), digest_of(b"b", b"a"), digest_of(b"ab")}) == 4


def test_a_source_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=rf"Cannot read {tmp_path}/train.tsv: No such file or directory."):
        SourceFiles.read([tmp_path / "train.tsv"])


def test_a_file_has_changed_when_its_bytes_have(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    source = SourceFiles.read(paths)
    assert source.digest_of(paths[1:]) == SourceFiles.read(paths[1:]).digest
    assert source.changed() is None
    paths[0].touch()
    paths[1].unlink()
    paths[1].write_text("b")
    assert source.changed() is None
    paths[2].write_text("d")
    assert source.changed() == paths[2]
    paths[2].unlink()
    assert source.changed() == paths[2]


def _cache_of(path: Path, source: SourceFiles) -> RecordCache:
    def rows():
        yield from path.read_text().splitlines()
        source.check_unchanged()

    return open_or_build(
        directory=path.parent / "cache",
        stem="rows",
        identity={"data": source.digest},
        items=rows,
        featurize=lambda row: [{"input_ids": [int(row)]}],
        feature_spec={"input_ids": Column("tokens", "int32")},
        num_workers=1,
    )


def _rewritten(path: Path) -> None:
    path.write_text("3\n4\n")


def _rewritten_and_back(path: Path) -> None:
    path.write_text("1\n2\n")


def _moved_away_and_back(path: Path) -> None:
    path.rename(path.with_name("old"))
    path.with_name("old").rename(path)


@pytest.mark.parametrize("change", [_rewritten, _rewritten_and_back, _moved_away_and_back, Path.unlink])
def test_a_file_that_changes_between_digest_and_rows_gets_no_cache(tmp_path, change):
    path = tmp_path / "train.tsv"
    path.write_text("1\n2\n")
    source = SourceFiles.read([path])
    time.sleep(0.02)  # more than the clock of a file system needs to tell
    _rewritten(path) if change is _rewritten_and_back else None
    change(path)
    with pytest.raises((UserError, FileNotFoundError)) as raised:
        _cache_of(path, source)
    assert "train.tsv" in str(raised.value)
    assert change is Path.unlink or "was changed while it was being read" in str(raised.value)
    assert list((tmp_path / "cache").iterdir()) == []
    path.write_text("1\n2\n")
    assert _cache_of(path, SourceFiles.read([path])).count == 2


def test_a_cache_that_is_there_is_used_whatever_becomes_of_its_files(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("1\n2\n")
    source = SourceFiles.read([path])
    _cache_of(path, source)
    path.write_text("3\n")
    assert _cache_of(path, source).count == 2
    with pytest.raises(UserError, match=r"^.*/train\.tsv was changed while it was being read\. Nothing was kept of it"):
        source.check_unchanged()


def test_a_file_that_is_only_read_is_unchanged(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("1\n2\n")
    source = SourceFiles.read([path])
    path.read_text()
    source.check_unchanged()
