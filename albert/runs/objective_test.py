"""Runs that stop early, with class weights, label smoothing and another metric; runs on several labels an example."""

import csv
import dataclasses
import json
import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.engine.evaluations import EvaluationLog
from albert.errors import UserError
from albert.runs import fine_tuning, training_log
from albert.system.signals import Interrupted
from albert.tasks.base import Example, MultiLabels, Split
from albert.tasks.metrics import Metric, accuracy, f1_micro
from albert.tasks.text import TextTask
from albert.testing import sample_command, send_signals, write_sample_data

# With this rate weights stay as they are, so that every evaluation after the first at step 2 is no better.
STOPS_AT_6 = {
    "learning_rate": 1e-12,
    "num_gpu_cores": 1,
    "train_batch_size": 8,
    "save_checkpoints_steps": 2,
    "early_stopping_patience": 2,
    "class_weights": "balanced",
    "label_smoothing_factor": 0.1,
    "metric_for_best_model": "f1_macro",
}


def _run(folder: Path, *actions: str, **flags: object) -> dict[str, float]:
    task, settings = parse_classifier_flags(sample_command(folder, *actions, **{**STOPS_AT_6, **flags}))
    return fine_tuning.run(task, settings)


def _steps(out: Path) -> list[int]:
    return [row["step"] for row in training_log.read_training_log(out / "training_log.jsonl")]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A folder whose run was killed after step 3, resumed, and stopped early. Read it, or copy it first."""
    folder = tmp_path_factory.mktemp("stopped")
    write_sample_data(folder / "data", num_rows=24)
    with pytest.MonkeyPatch.context() as monkeypatch:
        send_signals(monkeypatch, {3: signal.SIGTERM})
        with pytest.raises(Interrupted):
            _run(folder, "train", "eval", "predict")
    assert not (folder / "out/test_results.tsv").exists()
    _run(folder, "train", "eval", "predict")
    return folder


@pytest.fixture
def copied(stopped, tmp_path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(stopped, tmp_path / "copy")


@pytest.mark.training
def test_a_run_that_was_killed_and_resumed_stops_where_its_evaluations_say_and_is_finished(stopped):
    out = stopped / "out"
    assert _steps(out) == [1, 2, 3, 4, 5, 6]
    log = EvaluationLog(out)
    assert [entry.step for entry in log] == [2, 4, 6]
    assert [entry.is_best for entry in log] == [True, False, False]
    assert {entry.best_metric for entry in log} == {"f1_macro"}
    results = json.loads((out / "eval_results.json").read_text())
    assert results["hyperparameters"]["Stopped early at step"] == 6
    assert results["hyperparameters"]["Training steps"] == 12
    assert (out / "test_results.tsv").exists()
    assert (out / "training_curve.png").exists()


@pytest.mark.training
def test_another_objective_is_another_run(stopped):
    settings = json.loads((stopped / "out/run_settings.json").read_text())
    assert settings["training"]["head"]["class_weights"] == "balanced"
    assert settings["training"]["head"]["label_smoothing"] == 0.1
    assert settings["evaluation"]["metric_for_best_model"] == "f1_macro"
    assert not any("early_stopping" in name for name in settings["training"])
    with pytest.raises(UserError, match=r"`class_weights` is 'balanced' there and not set here"):
        _run(stopped, "train", "eval", class_weights="none")
    with pytest.raises(UserError, match=r"run: `metric_for_best_model` is 'f1_macro' there and not set here"):
        _run(stopped, "eval", metric_for_best_model="eval_accuracy")


@pytest.mark.training
def test_started_again_a_stopped_run_trains_nothing_until_it_has_more_patience(copied, caplog):
    caplog.set_level(logging.INFO)
    out = copied / "out"
    before = (out / "evaluations.json").read_bytes()
    _run(copied, "train", "eval", output_dir=out)
    assert _steps(out) == [1, 2, 3, 4, 5, 6]
    assert (out / "evaluations.json").read_bytes() == before
    assert "Early stopping after step 6 of 12: 2 evaluations up to step 6 did not improve f1_macro" in caplog.text
    _run(copied, "train", "eval", output_dir=out, early_stopping_patience=0)
    assert _steps(out) == list(range(1, 13))
    assert "Stopped early at step" not in (out / "eval_results.json").read_text()


# Several labels -------------------------------------------------------------------------------------------------------


ANIMALS = MultiLabels(("dog", "cat", "bird"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnimalTask(TextTask):
    """Rows made up here: a text has a label exactly if it has the word."""

    name: str = "animals"
    output: MultiLabels = ANIMALS
    metrics: tuple[tuple[str, Metric], ...] = (("f1_micro", f1_micro), ("accuracy", accuracy))
    best_metric: str = "f1_micro"
    submission_file: str = "predictions.tsv"
    text_columns: tuple[str, ...] = ("text",)
    splits: tuple[Split, ...] = ("train", "dev", "test")

    def source_files(self, split: Split, data_dir: Path) -> tuple[Path, ...]:
        return (data_dir / f"{split}.txt",)

    def read(self, split: Split, data_dir: Path) -> Iterator[Example]:
        for number, line in enumerate((data_dir / f"{split}.txt").read_text().splitlines()):
            label = self.output.parse([name for name in self.output.names if name in line.split()])
            yield Example(str(number), line, None, None if split == "test" else label)

    def identity(self) -> dict[str, object]:
        return {"labels": self.output.names}


@pytest.fixture(scope="module")
def animals(tmp_path_factory) -> Path:
    """A folder with a finished run on several labels an example, on two replicas with packed rows."""
    folder = tmp_path_factory.mktemp("animals")
    (folder / "data").mkdir()
    random = np.random.default_rng(0)
    for split, count in (("train", 64), ("dev", 20), ("test", 21)):
        rows = random.random((count, 3)) < 0.5
        lines = [" ".join(["the", *np.array(ANIMALS.names)[row], "now"]) for row in rows]
        (folder / f"data/{split}.txt").write_text("\n".join(lines) + "\n")
    flags = {"learning_rate": 5e-4, "train_step": 32, "train_batch_size": 16, "save_checkpoints_steps": 16}
    settings = parse_classifier_flags(sample_command(folder, "train", "eval", "predict", **flags))[1]
    fine_tuning.run(AnimalTask(), settings)
    return folder


@pytest.mark.training
def test_several_labels_an_example_are_learnt_on_two_replicas(animals):
    out = animals / "out"
    results = json.loads((out / "eval_results.json").read_text())
    assert results["labels"] == ["dog", "cat", "bird"]
    report = json.loads((out / "classification_report.json").read_text())
    assert report["micro"]["f1"] == pytest.approx(results["best"]["f1_micro"])
    assert results["best"]["f1_micro"] > 0.9
    assert not (out / "confusion_matrix.csv").exists()
    rows = list(csv.DictReader((out / "dev_predictions.csv").open(newline="")))
    names = [[name for name in ANIMALS.names if name in row["text"].split()] for row in rows]
    assert [row["label"] for row in rows] == ["|".join(row) for row in names]
    probabilities = np.loadtxt(out / "test_results.tsv", delimiter="\t")
    assert probabilities.shape == (21, 3)
    written = (out / "predictions.tsv").read_text().splitlines()[1:]
    assert written == [f"{n}\t{text}" for n, text in enumerate(ANIMALS.format(probabilities > 0.5))]
