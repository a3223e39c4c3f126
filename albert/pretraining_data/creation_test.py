"""Text to files of records: the same whatever the processes, whole or absent, and one line for what is wrong."""

import contextlib
import hashlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from albert.create_pretraining_data import cli
from albert.data.pretraining_manifest import RecordsManifest
from albert.data.pretraining_records import RecordFormat, open_records
from albert.testing import few_open_files, full_disk

TESTDATA = Path(__file__).parent.parent / "testdata"
TEXT = TESTDATA / "pretraining_data" / "text.txt"
SPM_MODEL_FILE = TESTDATA / "30k-clean.model"


def arguments(folder: Path, **flags: object) -> list[str]:
    """A command line for small records of the golden text; None omits a flag."""
    chosen = {
        "input_file": TEXT,
        "output_file": folder / "records",
        "spm_model_file": SPM_MODEL_FILE,
        "max_seq_length": 64,
        "max_predictions_per_seq": 10,
        "dupe_factor": 3,
        "num_workers": 1,
        **flags,
    }
    return [f"--{name}={value}" for name, value in chosen.items() if value is not None]


def created(folder: Path, **flags: object) -> list[bytes]:
    """The records that the program makes."""
    folder.mkdir(exist_ok=True)
    assert cli(["create_pretraining_data", *arguments(folder, **flags)]) == 0
    return read(folder / "records")


def read(path: Path) -> list[bytes]:
    """TensorFlow checks the checksums."""
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


@pytest.fixture(scope="module")
def some_records(tmp_path_factory) -> list[bytes]:
    return created(tmp_path_factory.mktemp("some"))


def test_the_number_of_processes_changes_nothing(tmp_path, some_records):
    assert created(tmp_path, num_workers=2) == some_records
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "records.json"]


def test_records_are_dealt_to_files_in_turn(tmp_path, some_records):
    created(tmp_path, output_file=f"{tmp_path}/records,{tmp_path}/new/folder/b, {tmp_path}/c")
    shares = [read(tmp_path / name) for name in ("records", "new/folder/b", "c")]
    dealt = itertools.chain.from_iterable(itertools.zip_longest(*shares))
    assert [record for record in dealt if record is not None] == some_records


def test_there_may_be_more_files_than_the_system_lets_a_process_open_unasked(tmp_path, some_records):
    paths = [tmp_path / "records", *(tmp_path / f"records-{number:02}" for number in range(1, 30))]
    with few_open_files():
        created(tmp_path, output_file=",".join(map(str, paths)))
    assert sorted(itertools.chain.from_iterable(map(read, paths))) == sorted(some_records)


def test_a_seed_gives_the_same_records_and_another_seed_others(tmp_path, some_records):
    assert created(tmp_path / "same", random_seed=12345) == some_records
    assert created(tmp_path / "other", random_seed=-1) != some_records


def test_passes_go_on_where_fewer_ended(tmp_path, some_records):
    # A pass depends on its number, so that the records of fewer passes are among those of more.
    assert set(created(tmp_path, dupe_factor=2)) < set(some_records)


def test_what_was_made_is_logged_in_numbers(tmp_path, caplog):
    caplog.set_level("INFO")
    records = created(tmp_path)
    examples = [tf.train.Example.FromString(record).features.feature for record in records]
    tokens = sum(sum(example["input_mask"].int64_list.value) for example in examples)
    masked = sum(sum(example["masked_lm_weights"].float_list.value) for example in examples)
    assert all(example["input_ids"].int64_list.value[0] == 2 for example in examples)
    logged = re.search(
        r"3 documents, 61 sentences, 899 tokens -> (\d+) records .*: (\d+) tokens .* ([\d.]+) % padding", caplog.text
    )
    assert [int(logged[1]), int(logged[2])] == [len(records), masked]
    assert abs(float(logged[3]) - 100 * (1 - tokens / (64 * len(records)))) < 0.06


def test_permuted_tokens_get_places_of_their_own(tmp_path):
    record = created(tmp_path, do_permutation=True)[0]
    assert len(tf.train.Example.FromString(record).features.feature["masked_lm_ids"].int64_list.value) == 20


def test_word_piece_vocabularies_serve_as_well(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the unwanted runner\nthe unwanted\n\nrunner unwanted\nthe\n", encoding="utf-8")
    vocab_file = TESTDATA / "wordpiece_vocab.txt"
    records = created(tmp_path, input_file=text, spm_model_file=None, vocab_file=vocab_file, max_seq_length=16)
    pieces = vocab_file.read_text(encoding="utf-8").splitlines()
    for record in records:
        example = tf.train.Example.FromString(record).features.feature
        assert pieces[example["input_ids"].int64_list.value[0]] == "[CLS]"


# --- What cannot be done ----------------------------------------------------------------------------------------------


def refusal(capsys, folder: Path, **flags: object) -> str:
    """What the terminal says, a line for each problem, as one line. Nothing new may be left behind."""
    before = sorted(folder.rglob("*"))
    assert cli(["create_pretraining_data", *arguments(folder, **flags)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line.removeprefix("error: ") for line in printed.err.splitlines() if line.startswith("error: ")]
    assert sorted(folder.rglob("*")) == before
    return f"error: {'; '.join(lines)}"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"max_seq_length": 4}, "--max_seq_length=4 must be at least 5"),
        ({"max_predictions_per_seq": 0}, "--max_predictions_per_seq=0 must be at least 1"),
        ({"ngram": 0, "dupe_factor": 0}, "--ngram=0 must be at least 1; --dupe_factor=0 must be at least 1"),
        ({"num_workers": -1}, "--num_workers=-1 must be in [0, 256]"),
        ({"masked_lm_prob": 1.01}, "--masked_lm_prob=1.01 must be in (0, 1)"),
        ({"masked_lm_prob": 1}, "--masked_lm_prob=1.0 must be in (0, 1)"),
        ({"masked_lm_prob": 0}, "--masked_lm_prob=0.0 must be in (0, 1)"),
        (
            {"max_seq_length": 64, "max_predictions_per_seq": 62},
            "--max_predictions_per_seq=62 is more than the 61 tokens beside the special ones in a record of "
            "--max_seq_length=64",
        ),
        ({"ngram": "99999999999999999999"}, "--ngram=99999999999999999999 must be at most 1000"),
        ({"short_seq_prob": "nan"}, "--short_seq_prob=nan must be in [0, 1]"),
        ({"spm_model_file": None}, "--spm_model_file (or --vocab_file for a WordPiece model) is missing"),
        ({"input_file": None, "output_file": None}, "--input_file, --output_file must be given"),
        ({"output_file": ","}, "--output_file=',' names no file"),
        ({"output_file": TEXT}, f"--output_file={TEXT} is one of the files of --input_file"),
        ({"input_file": "/nowhere/*.txt"}, "--input_file: no file matches '/nowhere/*.txt'"),
        ({"input_file": "x" * 300}, "--input_file: no file matches 'xxx"),
        ({"spm_model_file": TEXT}, f"--spm_model_file={TEXT} is not a whole SentencePiece model"),
        ({"spm_model_file": None, "vocab_file": TEXT}, f"--vocab_file={TEXT}, line 10: 'The' stands on"),
    ],
)
def test_what_cannot_work_is_one_line(capsys, tmp_path, flags, line):
    assert line in refusal(capsys, tmp_path, **flags)


def test_a_vocabulary_without_special_tokens_is_refused(capsys, tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n", encoding="utf-8")
    line = refusal(capsys, tmp_path, spm_model_file=None, vocab_file=tmp_path / "vocab.txt")
    assert "lacks [MASK]" in line


def test_what_is_there_is_not_overwritten(capsys, tmp_path):
    (tmp_path / "records").write_bytes(b"precious")
    assert f"--output_file={tmp_path}/records exists already. Delete it" in refusal(capsys, tmp_path)
    assert (tmp_path / "records").read_bytes() == b"precious"


def test_a_manifest_says_what_made_the_records_and_what_they_are(tmp_path, some_records):
    created(tmp_path, output_file=f"{tmp_path}/records,{tmp_path}/b", num_workers=2)
    for name, part in (("records", some_records[::2]), ("b", some_records[1::2])):
        manifest = RecordsManifest.read_beside(tmp_path / name)
        contents = (tmp_path / name).read_bytes()
        assert (manifest.records, manifest.size) == (len(part), len(contents))
        assert manifest.sha256 == hashlib.sha256(contents).hexdigest()
        assert (manifest.vocab_size, manifest.max_seq_length, manifest.predictions) == (30000, 64, 10)
        assert manifest.settings["noisy_copies"] is False
        assert manifest.settings["dupe_factor"] == 3
        assert not any("file" in setting or "workers" in setting for setting in manifest.settings)
    records = open_records([tmp_path / "records"], RecordFormat(64, 10, 30000))
    assert records.vocabularies == {(manifest.vocabulary, 30000)}


def test_a_file_where_the_manifest_should_go_is_not_overwritten(capsys, tmp_path):
    (tmp_path / "records.json").write_text('{"precious": 1}')
    assert f"{tmp_path}/records.json, where the manifest of" in refusal(capsys, tmp_path)
    (tmp_path / "records.json").unlink()
    assert "twice" in refusal(capsys, tmp_path, output_file=f"{tmp_path}/a,{tmp_path}/a.json")


def test_a_link_in_place_of_the_folder_of_parts_is_refused(capsys, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (tmp_path / ".records.parts").symlink_to(tmp_path / "precious")
    assert ".records.parts, where parts of" in refusal(capsys, tmp_path)


def test_a_file_cannot_be_written_twice(capsys, tmp_path):
    assert "twice" in refusal(
        capsys, tmp_path, output_file=f"{tmp_path}/a,{tmp_path}/b,{tmp_path}/../{tmp_path.name}/a"
    )


def test_an_empty_corpus_is_refused(capsys, tmp_path):
    (tmp_path / "text.txt").write_text("\n \n\n", encoding="utf-8")
    assert "No text in " in refusal(capsys, tmp_path, input_file=tmp_path / "text.txt")


def test_accents_are_part_of_the_manifest_only_where_they_are_kept(tmp_path, caplog):
    created(tmp_path / "without")
    without = RecordsManifest.read_beside(tmp_path / "without" / "records")
    assert "keep_accents" not in without.settings
    created(tmp_path / "with", keep_accents=True)
    kept = RecordsManifest.read_beside(tmp_path / "with" / "records")
    assert kept.settings["keep_accents"] is True
    assert kept.vocabulary != without.vocabulary


def test_a_vocabulary_of_another_language_is_refused_unless_told_otherwise(capsys, tmp_path, caplog):
    text = tmp_path / "text.txt"
    text.write_text("\u6211\u7231\u5317\u4eac\u3002\n\u5929\u5b89\u95e8\u3002\n" * 5, encoding="utf-8")
    line = refusal(capsys, tmp_path, input_file=text)
    assert "the vocabulary does not know 67 % of the pieces" in line or "does not know 50 %" in line
    assert f"first in '\u6211\u7231\u5317\u4eac\u3002' ({text}, line 1)" in line
    assert "raise --max_unknown_share=0.3" in line
    assert created(tmp_path, input_file=text, max_unknown_share=1)
    caplog.clear()
    created(tmp_path / "cased", do_lower_case=False)
    assert "no pieces with capitals, but the text is not lower-cased" in caplog.text
    assert re.search(r"does not know [\d.]+ % of the pieces .* the first in '\w+'", caplog.text)


def test_files_without_text_and_copies_are_reported(tmp_path, caplog):
    for name, text in {"a": TEXT.read_text("utf-8"), "b": "", "c": "\n \n", "d": TEXT.read_text("utf-8")}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    created(tmp_path, input_file=f"{tmp_path}/[a-d],{tmp_path}/a")
    assert f"`input_file`: 2 files hold no text. The first is {tmp_path}/b." in caplog.text
    assert f"1 file with the text of another, which counts more than once. The first is {tmp_path}/d" in caplog.text
    assert "`input_file` names files more than once, 1 time too often" in caplog.text


def test_markup_in_a_corpus_is_reported(tmp_path, caplog):
    created(tmp_path, input_file=TESTDATA / "cases" / "corpus" / "wiki_00")
    assert "10 lines have markup in them and were kept as they are" in caplog.text
    assert "`documents`=wikiextractor" in caplog.text


def test_records_without_masks_are_reported_and_no_file_has_only_these(capsys, tmp_path, caplog):
    text = tmp_path / "text.txt"
    long_word = "pneumonoultramicroscopicsilicovolcanoconiosis"
    text.write_text(f"{long_word}\n" * 40, encoding="utf-8")
    line = refusal(capsys, tmp_path, input_file=text, masked_lm_prob=0.01)
    assert "makes only records without masks: no word in them" in line
    assert "Raise --masked_lm_prob and --max_predictions_per_seq, or give --do_whole_word_mask=false." in line
    text.write_text(f"{long_word}\n{long_word}\n\nthe cat\nthe dog\n" * 40, encoding="utf-8")
    created(tmp_path, input_file=text, masked_lm_prob=0.01, short_seq_prob=0)
    assert re.search(r"\d+ records \([\d.]+ %\) have no masks: no word", caplog.text)


def test_more_files_than_records_are_refused(capsys, tmp_path):
    names = ",".join(str(tmp_path / str(number)) for number in range(2000))
    assert "names 2,000 files, for only " in refusal(capsys, tmp_path, output_file=names)


def test_one_document_has_no_other_to_pair_with(capsys, tmp_path, caplog):
    text = tmp_path / "text.txt"
    text.write_text("One sentence.\nAnother one.\n", encoding="utf-8")
    assert "there is only one document" in refusal(capsys, tmp_path, input_file=text, random_next_sentence=True)
    assert created(tmp_path, input_file=text)
    assert "There is only one document" in caplog.text


def test_sentences_that_are_cut_are_counted_and_the_first_is_named(tmp_path, caplog):
    created(tmp_path, max_seq_length=16)
    # 13 tokens fit; the first line of the text has more.
    assert re.search(rf"\d+ sentences of more than the 13 tokens .* the first is {TEXT}:1\.", caplog.text)


@pytest.mark.parametrize("noisy_copies", [False, True])
@pytest.mark.parametrize(
    "lines",
    [
        ["word " * 100, "more " * 100],  # none fits
        ["One sentence.", "", "Another one.", "", "A third."],  # each a document
        ["word " * 100, "", "word " * 100, "This fits, but is the last of its document."],
        ["The only sentence."],
    ],
)
def test_text_in_which_nothing_is_followed_by_anything_is_refused(capsys, tmp_path, lines, noisy_copies):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    line = refusal(capsys, tmp_path, input_file=text, noisy_copies=noisy_copies)
    assert f"--input_file={text}: nowhere do two lines, one after the other, fit into the" in line
    text.write_text("\n".join([*lines, "", "This fits.", "So does this."]) + "\n", encoding="utf-8")
    assert created(tmp_path, input_file=text, noisy_copies=noisy_copies)


def test_noisy_copies_need_room_for_two_texts(capsys, tmp_path):
    line = refusal(capsys, tmp_path, max_seq_length=5, max_predictions_per_seq=2, noisy_copies=True)
    assert "--max_seq_length=5 must be at least 6" in line
    text = tmp_path / "text.txt"
    text.write_text("a\nthe\n" * 20, encoding="utf-8")
    for record in created(tmp_path, input_file=text, max_seq_length=6, max_predictions_per_seq=3, noisy_copies=True):
        ids = tf.train.Example.FromString(record).features.feature["input_ids"].int64_list.value
        assert (ids[0], ids[2]) == (2, 3), "[CLS] and [SEP] are where they belong"


def test_noisy_copies_have_their_words_from_both_texts(tmp_path):
    share = {0: [], 1: []}
    for record in created(tmp_path, noisy_copies=True, masked_lm_prob=1e-9, max_predictions_per_seq=1):
        feature = tf.train.Example.FromString(record).features.feature
        ids = np.array(feature["input_ids"].int64_list.value)
        in_b = np.array(feature["segment_ids"].int64_list.value) == 1
        [label] = feature["next_sentence_labels"].int64_list.value
        # Of B without its [SEP], what is also in A.
        share[label].append(np.isin(ids[in_b][:-1], ids[~in_b][1:]).mean())
    # 82 % and 18 % of the words, if none were left out and both texts were as long; and some are in both by chance.
    assert np.mean(share[0]) > 0.75
    assert np.mean(share[1]) < 0.45
    assert abs(len(share[0]) - len(share[1])) < 5 * len(share[0] + share[1]) ** 0.5


def test_noisy_copies_and_random_next_sentences_exclude_each_other(capsys, tmp_path):
    line = refusal(capsys, tmp_path, noisy_copies=True, random_next_sentence=True)
    assert "--noisy_copies and --random_next_sentence exclude each other" in line


def test_a_full_disk_leaves_nothing_behind(capsys, tmp_path):
    for most in (1000, 20_000):  # full while tokenising, and while making records
        with full_disk(most):
            line = refusal(capsys, tmp_path)
        assert f"cannot write {tmp_path}/records: " in line


def test_a_folder_that_cannot_be_removed_hides_no_error(capsys, tmp_path, monkeypatch, some_records):
    unlink = Path.unlink

    def unlink_on_nfs(path: Path, missing_ok: bool = False) -> None:  # where "ids" is still mapped
        path.rename(path.with_name(".nfs0001")) if path.name == "ids" else unlink(path, missing_ok)

    with monkeypatch.context() as patched, full_disk(20_000):
        patched.setattr(Path, "unlink", unlink_on_nfs)
        assert cli(["create_pretraining_data", *arguments(tmp_path)]) == 2
    assert f"error: cannot write {tmp_path}/records: File too large" in capsys.readouterr().err
    assert created(tmp_path) == some_records
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "records.json"]


@contextlib.contextmanager
def at_work(folder: Path, workers: int) -> Iterator[subprocess.Popen[str]]:
    """A process with processes of its own, which have begun to make very many records; all are killed at the end."""
    command = [sys.executable, "-m", "albert.create_pretraining_data"]
    command += arguments(folder, dupe_factor=1_000_000, num_workers=workers)
    with subprocess.Popen(
        command,
        cwd=TESTDATA.parent.parent,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # The tests may have been started by what ignores them, such as nohup.
        preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)],
    ) as process:
        try:
            while not list(folder.glob(".records.*/bucket-*")):
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 2), (signal.SIGHUP, 2), (signal.SIGINT, 1)])
def test_a_signal_ends_it_with_nothing_left_behind(tmp_path, number, workers):
    with at_work(tmp_path, workers) as process:
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_which_waits_for_none_alive(tmp_path, capsys, some_records):
    with at_work(tmp_path, workers=2) as process:
        assert cli(["create_pretraining_data", *arguments(tmp_path)]) == 2
        holder = f"create_pretraining_data (process {process.pid} on"
        assert f"error: {tmp_path}/records is in use by {holder}" in capsys.readouterr().err
    (tmp_path / "records.tmp-0123abcd").touch()  # as it had been killed while writing
    assert created(tmp_path) == some_records
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "records.json"]


def test_records_do_not_depend_on_how_work_is_cut_up(tmp_path, monkeypatch, some_records):
    # However the documents are dealt to processes, and however few sequences are masked at once.
    monkeypatch.setattr("albert.pretraining_data.creation._TOKENS_PER_BLOCK", 300)
    monkeypatch.setattr("albert.pretraining_data.creation._POSITIONS_PER_BATCH", 128)
    monkeypatch.setattr("albert.pretraining_data.creation.number_of_buckets", lambda _: 5)
    assert created(tmp_path) == some_records
