"""Rows are read once, and a cache never holds other rows than its digest says."""

import dataclasses
import logging
import re
from collections import Counter
from pathlib import Path

import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.data.source_files import SourceFiles
from albert.errors import UserError
from albert.runs.split_data import SplitData
from albert.settings import DataSettings
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.registry import get_task
from albert.tasks.tags.build import tags_task
from albert.testing import AGREEMENT, sample_command, write_sample_data
from albert.tokenization import load_tokenizer

ROWS = 40
TASK = get_task("agreement")


@pytest.fixture
def folder(tmp_path) -> Path:
    write_sample_data(tmp_path / "data", ROWS)
    return tmp_path


@pytest.fixture
def counts(monkeypatch) -> Counter:
    """How often each row was read and featurised, by ("read" or "featurized", guid)."""
    found: Counter = Counter()
    read, featurize = type(TASK).read, type(TASK).featurize

    def counted_read(self, split, data_dir):
        for item in read(self, split, data_dir):
            found["read", item.guid] += 1
            yield item

    def counted_featurize(self, example, tokenizer, settings):
        found["featurized", example.guid] += 1
        return featurize(self, example, tokenizer, settings)

    monkeypatch.setattr(type(TASK), "read", counted_read)
    monkeypatch.setattr(type(TASK), "featurize", counted_featurize)
    return found


def _source(folder: Path, split: str) -> SourceFiles:
    return SourceFiles.read(TASK.source_files(split, folder / "data"))


def _load(folder: Path, split: str, source: SourceFiles | None = None) -> SplitData:
    data = parse_classifier_flags(sample_command(folder, "train"))[1].data
    tokenizer = load_tokenizer(data.spm_model_file, data.vocab_file, data.do_lower_case)
    return SplitData.load(TASK, split, tokenizer, data, source or _source(folder, split))


def _unfit(folder: Path, split: str, lines: int, word: str = "\u6211\u7231") -> Path:
    """The file of a split, in which the first text of so many rows is a word that no vocabulary here has."""
    [path] = _source(folder, split).paths
    rows = path.read_text(encoding="utf-8").splitlines()
    for number in range(5, 5 + lines):
        fields = rows[number].split("\t")
        longest = max(range(len(fields)), key=lambda i: len(fields[i]))
        fields[longest] = " ".join(word for _ in fields[longest].split())
        rows[number] = "\t".join(fields)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_unknown_pieces_are_reported_whenever_a_cache_is_opened(folder, caplog, counts):
    path = _unfit(folder, "dev", 2)
    for _ in ("built", "there"):
        caplog.clear()
        _load(folder, "dev")
        assert f"{path} (dev): the vocabulary does not know" in caplog.text
        assert "the first in '\u6211\u7231' (row 5)" in caplog.text
    assert set(_times(counts, "featurized")) == {1}
    caplog.clear()
    _load(folder, "train")
    assert "does not know" not in caplog.text


def test_rows_that_are_cut_are_reported_whenever_a_cache_is_opened(folder, caplog):
    [path] = _source(folder, "dev").paths
    rows = path.read_text(encoding="utf-8").splitlines()
    rows[1] = "the " * 200 + rows[1]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    for _ in ("built", "there"):
        caplog.clear()
        _load(folder, "dev")
        (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert re.search(r"\(dev\): 1 of \d+ rows? cut to max_seq_length=\d+ tokens; the longest has 2\d\d", line)
        assert "Raise `max_seq_length`" in line


@pytest.mark.parametrize("named", [False, True])
def test_only_caches_of_texts_that_are_longer_than_a_row_hold_windows(tmp_path, caplog, named):
    caplog.set_level(logging.INFO)
    path = tmp_path / "a.conll"
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    files = {"dev": tmp_path / "named.tf_record"} if named else {}

    def load(num_words, split="dev", length=8, **options):
        caplog.clear()
        path.write_text("the B-X\nhorse O\n\n" + "the O\n" * num_words)
        files_of_tags = OwnDataSettings(train_file=path, validation_file=path)
        task = tags_task(files_of_tags, 42, ("train", "dev"))
        settings = DataSettings("own", Path(), max_seq_length=length, cached_dir=tmp_path, feature_files=files)
        source = SourceFiles.read(task.source_files(split, Path()))
        return SplitData.load(task, split, tokenizer, settings, source, **options)

    short = load(6)
    assert (short.task.splits_long_texts, short.cache.count) == (False, 2)
    assert load(6, cuts_long_texts=True).cache.path == short.cache.path
    for made in (short.cache.path, short.cache.path.with_name(f"{short.cache.path.name}.json")):
        made.unlink()
    long = load(13)
    assert "(dev): 1 of 2 texts longer than `max_seq_length`=8 tokens, read in 4 windows that overlap" in caplog.text
    assert "cut to" not in caplog.text
    assert len([record for record in caplog.messages if record.startswith(("built ", "using cache "))]) == 1
    assert (long.noun, short.noun) == ("window", "example")
    assert (long.task.splits_long_texts, long.cache.count, len(long.items)) == (True, 5, 2)
    assert sum(len(record["first_pieces"]) for record in long.records) == 15
    cut = load(13, cuts_long_texts=True)
    assert "(dev): 1 of 2 rows cut to max_seq_length=8 tokens; the longest has 15" in caplog.text
    assert (cut.task.splits_long_texts, cut.cache.count) == (False, 2)
    assert cut.cache.path != long.cache.path
    assert load(13).cache.path == long.cache.path
    assert caplog.text.count("using cache") == 1
    if not named:
        load(13, "train")
        assert "(train): 1 of 2 texts longer than" in caplog.text


def test_words_to_train_on_without_a_piece_are_counted(tmp_path, caplog):
    path = tmp_path / "a.conll"
    path.write_text("the B-X\n\u200b O\n\nthe O\n")
    task = tags_task(OwnDataSettings(train_file=path), 42, ("train",))
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    settings = DataSettings("own", Path(), max_seq_length=8, cached_dir=tmp_path)
    SplitData.load(task, "train", tokenizer, settings, SourceFiles.read(task.source_files("train", Path())))
    assert "1 of 3 words without a piece in their row: they are not trained on" in caplog.text


def test_a_vocabulary_that_does_not_fit_is_refused_unless_told_otherwise(folder, caplog, monkeypatch):
    _unfit(folder, "dev", ROWS - 10)
    for _ in ("built", "there"):
        with pytest.raises(UserError, match=r"raise `max_unknown_share`=0\.3"):
            _load(folder, "dev")
    data = parse_classifier_flags([*sample_command(folder, "train"), "--max_unknown_share=1"])[1].data
    tokenizer = load_tokenizer(data.spm_model_file, data.vocab_file, data.do_lower_case)
    SplitData.load(TASK, "dev", tokenizer, data, _source(folder, "dev"))
    assert "does not know" in caplog.text


def _times(counts: Counter, what: str) -> list[int]:
    return [times for (kind, _), times in counts.items() if kind == what]


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_row_that_is_scored_is_read_and_featurised_once(folder, counts, split):
    cold = _load(folder, split)
    assert _times(counts, "read") == _times(counts, "featurized") == [1] * ROWS
    counts.clear()
    warm = _load(folder, split)
    assert _times(counts, "read") == [1] * ROWS
    assert _times(counts, "featurized") == []
    assert list(warm.items) == list(cold.items) == list(TASK.read(split, folder / "data"))
    assert cold.can_be_scored == (split == "dev")


def test_rows_to_train_on_are_read_for_the_cache_only_and_not_kept(folder, counts):
    assert _load(folder, "train").items == ()
    assert _times(counts, "read") == [1] * ROWS
    counts.clear()
    assert _load(folder, "train").cache.count == ROWS
    assert not counts


# A file that changes while a run starts ------------------------------------------------------------------------------


def _replace(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


@pytest.mark.parametrize("write", [Path.write_text, _replace], ids=["in place", "renamed"])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_file_that_changed_after_its_digest_is_refused_and_leaves_no_cache(folder, split, write):
    path = folder / f"data/Agreement/{split}.tsv"
    before = path.read_text()
    other = "".join(before.splitlines(keepends=True)[:-1])
    source = _source(folder, split)
    write(path, other)
    with pytest.raises(UserError, match=rf"^{path} was changed while it was being read\..*start again"):
        _load(folder, split, source)
    assert list((folder / "cache").glob("*.tf_record*")) == list((folder / "cache").glob("*.lock"))
    write(path, before)
    assert _load(folder, split).cache.count == ROWS


def test_a_file_that_was_put_back_after_reading_is_refused_too(folder, monkeypatch):
    # The digest is right before and after; other rows were read in between.
    path = folder / "data/Agreement/train.tsv"
    before = path.read_text()
    read = type(TASK).read

    def read_others(self, split, data_dir):
        lines = before.splitlines(keepends=True)
        _replace(path, "".join([lines[0], *reversed(lines[1:])]))
        yield from read(self, split, data_dir)
        _replace(path, before)

    source = _source(folder, "train")
    monkeypatch.setattr(type(TASK), "read", read_others)
    with pytest.raises(UserError, match="was changed while it was being read"):
        _load(folder, "train", source)
    assert not list((folder / "cache").glob("*.tf_record"))


def test_a_change_that_leaves_the_times_as_they_were_shows_in_the_digest(folder):
    path = folder / "data/Agreement/dev.tsv"
    source = _source(folder, "dev")
    path.write_text(path.read_text().replace("1", "0"))
    unseen = dataclasses.replace(source, states=_source(folder, "dev").states)
    with pytest.raises(UserError, match="was changed while it was being read"):
        _load(folder, "dev", unseen)


def test_rows_that_are_scored_come_from_the_file_that_the_cache_was_found_by(folder):
    _load(folder, "dev")
    source = _source(folder, "dev")
    path = folder / "data/Agreement/dev.tsv"
    _replace(path, path.read_text().replace("1", "0"))
    with pytest.raises(UserError, match="was changed while it was being read"):
        _load(folder, "dev", source)  # with the cache that is there
