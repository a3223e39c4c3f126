"""The RACE command as a person meets it: files, scores of both levels, exit codes and one line for every mistake."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from albert.run_multigpus_race import cli
from albert.testing import SAMPLE_DATA, sample_command

ROOT = Path(__file__).parents[1]
# Articles of two questions each.
NUM_ARTICLES = {"train": 6, "dev": 3, "test": 2}


def article(number: int, level: str) -> dict[str, Any]:
    """Two questions on sentences of the bundled task."""
    rows = (SAMPLE_DATA / "glue_data/Agreement/train.tsv").read_text().splitlines()[1:]
    sentences = [row.split("\t")[0] for row in rows]
    words = [sentence.split() for sentence in sentences[4 * number : 4 * number + 4]]
    return {
        "id": f"{level}{number}.txt",
        "article": " ".join(sentences[4 * number : 4 * number + 2]),
        "questions": [" ".join(words[2][:3]), f"{words[3][0]} _ {words[3][2]}"],
        "options": [[option[1] for option in words], [option[2] for option in words]],
        "answers": ["ABCD"[number % 4], "ABCD"[(number + 1) % 4]],
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    """Has `data/RACE`; `command` puts caches and results beside it."""
    for split, count in NUM_ARTICLES.items():
        for level in ("middle", "high"):
            place = tmp_path / "data/RACE" / split / level
            place.mkdir(parents=True)
            for number in range(count):
                (place / f"{number}.txt").write_text(json.dumps(article(number, level)))
    return tmp_path


def command(folder: Path, *actions: str, **flags: object) -> list[str]:
    """The program's name and flags for 6 steps of 4 questions on two CPU replicas; only `actions` are done."""
    chosen = {
        "task_name": None,
        "do_train": "train" in actions,
        "do_eval": "eval" in actions,
        "do_predict": "predict" in actions,
        "train_feature_file": folder / "features/RACE_train.tf_record",
        "eval_feature_file": folder / "features/RACE_eval.tf_record",
        "max_seq_length": 40,
        "max_qa_length": 12,
        "train_batch_size": 2,
        "train_step": 6,
        "warmup_step": 2,
        "save_checkpoints_steps": 3,
    }
    return sample_command(folder, **{**chosen, **flags})


def load(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.training
def test_one_run_trains_scores_all_and_each_level_and_predicts(folder):
    arguments = command(folder, "train", "eval", "predict")
    ended = subprocess.run(
        [sys.executable, "-m", "albert.run_multigpus_race", *arguments[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "2 examples/replica x 2 replicas = 4 examples/step; 6 steps" in ended.stderr
    best = load(folder / "out/eval_results.json")["best"]
    # Both levels have six questions.
    assert best["accuracy"] == pytest.approx((best["middle_accuracy"] + best["high_accuracy"]) / 2)
    assert {evaluation["global_step"] for evaluation in load(folder / "out/eval_results.json")["evaluations"]} == {3, 6}
    for name in ("train", "eval"):
        manifest = load(folder / f"features/RACE_{name}.tf_record.json")
        assert len(manifest["record_lengths"]) == 4 * 2 * 2 * NUM_ARTICLES["dev" if name == "eval" else name]
    assert list((folder / "cache").glob("race_test_40_*.tf_record"))  # unnamed, so under a name of its own
    rows = [line.split("\t") for line in (folder / "out/submit_results.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["index", *(f"{level}{n}.txt-{q}" for level in ("middle", "high") for n in (0, 1)
                                                  for q in (0, 1))]  # fmt: skip
    probabilities = [
        [*map(float, line.split("\t"))] for line in (folder / "out/test_results.tsv").read_text().splitlines()
    ]
    assert [sum(row) for row in probabilities] == pytest.approx([1] * 8)
    test_scores = load(folder / "out/test_scores.json")
    assert (test_scores["rows"], test_scores["metrics"].keys()) == (8, {"accuracy", "middle_accuracy", "high_accuracy"})
    assert ["ABCD"[row.index(max(row))] for row in probabilities] == [row[1] for row in rows[1:]]


@pytest.mark.training
def test_one_level_is_scored_alone(folder):
    assert cli(command(folder, "train", "eval", middle_only=True)) == 0
    best = load(folder / "out/eval_results.json")["best"]
    assert best["accuracy"] == best["middle_accuracy"]
    assert "high_accuracy" not in best


@pytest.mark.training  # a batch that is too large is reported when training begins
def test_bad_input_is_one_line(capsys, folder):
    (folder / "data/RACE/dev/high/1.txt").write_text(json.dumps(article(1, "high") | {"answers": ["A", "E"]}))
    for flags, parts in (
        ({}, ["dev/high/1.txt", "answers[1] is 'E', which is not one of A, B, C, D"]),
        ({"data_dir": folder / "none"}, ["none/RACE", "--data_dir="]),
        (
            {"max_qa_length": 38, "train_feature_file": None},
            ["--max_qa_length=38", "--max_seq_length=40", "at most 37"],
        ),
        ({"task_name": "mrpc"}, ["--task_name=mrpc is not race"]),
        ({"middle_only": True, "high_only": True}, ["exclude each other"]),
        ({"train_batch_size": 50, "do_eval": False}, ["--train_batch_size=50", "100 examples", "24"]),
    ):
        assert cli(command(folder, "train", "eval", **flags)) == 2, flags
        output = capsys.readouterr()
        lines = [line for line in output.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, output.err
        assert all(part in lines[0] for part in parts), lines[0]
        assert "Traceback" not in output.err
    assert not list((folder / "out").glob("model.ckpt*"))


@pytest.mark.training
def test_a_named_cache_of_other_settings_is_an_error_that_names_the_setting(capsys, folder):
    assert cli(command(folder, "train")) == 0
    assert cli(command(folder, "train", max_qa_length=10, output_dir=folder / "other")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert str(folder / "features/RACE_train.tf_record") in error
    assert "'max_qa_length': 12" in error
