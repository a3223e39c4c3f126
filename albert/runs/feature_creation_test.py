"""Features ahead of training, on the bundled task."""

import json

import numpy as np
import PIL.Image
import pytest

from albert.create_finetuning_data import cli
from albert.run_multigpus_classifier import cli as train
from albert.runs import feature_creation
from albert.runs.feature_creation import draw_lengths
from albert.testing import AGREEMENT, sample_command, write_sample_data


def flags(folder, **others):
    chosen = {
        "task_name": "agreement",
        "data_dir": folder / "data",
        "cached_dir": folder / "cache",
        "spm_model_file": AGREEMENT / "agreement.model",
        "max_seq_length": 32,
        **others,
    }
    return ["program", *(f"--{name}={value}" for name, value in chosen.items())]


def test_the_report_counts_rows_lengths_labels_and_unknown_pieces(tmp_path, capsys):
    write_sample_data(tmp_path / "data", 40)
    assert cli(flags(tmp_path)) == 0
    said = capsys.readouterr().out
    caches = {path.name.split("_")[1]: path for path in (tmp_path / "cache").glob("*.tf_record")}
    assert caches.keys() == {"train", "dev", "test"}
    for split, path in caches.items():
        assert f"agreement {split}: 40 records in {path}" in said
        counts = np.array(json.loads(path.with_name(f"{path.name}.json").read_text())["token_counts"])
        assert f"tokens: {counts.min()} to {counts.max()}, median {np.median(counts):.0f}" in said
    labels = [line.rsplit("\t", 1)[1] for line in (tmp_path / "data/Agreement/train.tsv").read_text().splitlines()[1:]]
    assert f"'1' {labels.count('1')} ({100 * labels.count('1') / 40:.3g} %)" in said
    assert "unknown pieces: 0 of " in said
    assert PIL.Image.open(tmp_path / "cache/agreement_32_lengths.png").size == (960, 540)


@pytest.mark.training
def test_training_then_builds_no_cache(tmp_path, caplog):
    write_sample_data(tmp_path / "data", 40)
    assert cli(flags(tmp_path)) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    one = {"num_gpu_cores": 1, "train_step": 1, "save_checkpoints_steps": 1}
    assert train(sample_command(tmp_path, "train", "eval", "predict", **one)) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == before


def test_a_test_split_that_is_not_there_is_left_out_and_said(tmp_path, capsys):
    write_sample_data(tmp_path / "data", 40)
    (tmp_path / "data/Agreement/test.tsv").unlink()
    assert cli(flags(tmp_path)) == 0
    assert "agreement test: left out. " in capsys.readouterr().out


def test_a_train_split_that_is_not_there_is_one_line(tmp_path, capsys):
    write_sample_data(tmp_path / "data", 40)
    (tmp_path / "data/Agreement/train.tsv").unlink()
    assert cli(flags(tmp_path)) == 2
    error = capsys.readouterr().err.splitlines()
    assert [line for line in error if line.startswith("error: ")] == error[-1:]
    assert not list((tmp_path / "cache").glob("*"))


def test_lengths_of_nothing_are_drawn(tmp_path):
    draw_lengths(tmp_path / "x.png", "$empty$", {"train": np.array([], np.int32), "dev": np.array([3, 3, 9])})
    assert PIL.Image.open(tmp_path / "x.png").size == (960, 540)


@pytest.mark.parametrize(
    ("counts", "lengths", "at_limit"),
    [
        ([5], "tokens: 5", "none has all 8 that `max_seq_length` allows"),
        ([5, 5], "tokens: 5 in each", "none has all 8"),
        ([3, 8, 5], "tokens: 3 to 8, median 5, 95 % have at most 8", "1 of 3 records (33.3 %) have the 8 that"),
        ([8], "tokens: 8", "1 of 1 record (100 %)"),
    ],
)
def test_lengths_of_few_records_are_plain(counts, lengths, at_limit):
    found = np.array(counts)
    assert feature_creation._lengths(found) == lengths
    assert feature_creation._at_limit(found, 8, "record").startswith(at_limit)


def test_rows_without_any_label_have_no_share_of_nothing():
    assert feature_creation._label_lines(("a", "b"), np.array([], int)) == ["  labels: none"]
