"""Own data through the program: what a run leaves, replicas, interruption, and a table that a model learns."""

import csv
import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.run_multigpus_classifier import cli
from albert.runs import fine_tuning
from albert.serving.description import read_description
from albert.system.signals import Interrupted
from albert.tasks.base import Labels
from albert.testing import SAMPLE_DATA, sample_command, send_signals
from sample_data import make_tickets

LABELS = ("billing", "delivery", "login", "praise", "returns")
ROWS, STEPS = 100, 8


def _command(folder: Path, *actions: str, **flags: object) -> list[str]:
    """8 steps of 8 examples on one replica, of a model that is made in no time."""
    own = {"task_name": None, "data_dir": None, "train_file": folder / "tickets.csv"}
    own |= {"num_gpu_cores": 1, "train_batch_size": 8, "train_step": STEPS, "learning_rate": 1e-4}
    return sample_command(folder, *actions, **(own | flags))


def _run(folder: Path, *actions: str, **flags: object) -> dict[str, float]:
    return fine_tuning.run(*parse_classifier_flags(_command(folder, *actions, **flags)))


def _write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _weights(out: Path, step: int = STEPS) -> dict[str, np.ndarray]:
    return checkpoint_files.load_tensors(out / f"model.ckpt-{step}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with tables, caches and, in `out`, a finished run. Read it, or copy it first."""
    folder = tmp_path_factory.mktemp("finished")
    rows = make_tickets.rows(ROWS + 9)
    _write(folder / "tickets.csv", rows[:ROWS])
    _write(folder / "test.csv", [(text,) for text, _ in rows[ROWS:]], ["text"])
    _run(folder, "train", "eval", "predict", test_file=folder / "test.csv")
    return folder


def test_a_run_leaves_labels_and_predictions_with_their_texts(finished):
    out = finished / "out"
    description = read_description(out)
    assert (description.task_name, description.output, description.text_columns) == ("own", Labels(LABELS), ("text",))
    results = json.loads((out / "eval_results.json").read_text())
    assert (results["task"], results["labels"]) == ("own", list(LABELS))
    test = _read(out / "test_predictions.csv")
    assert [row["text"] for row in test] == [row["text"] for row in _read(finished / "test.csv")]
    assert [row["index"] for row in test] == [str(number) for number in range(9)]
    probabilities = np.loadtxt(out / "test_results.tsv", delimiter="\t")
    assert [row["prediction"] for row in test] == [LABELS[number] for number in probabilities.argmax(axis=1)]
    np.testing.assert_allclose([float(row["score"]) for row in test], probabilities.max(axis=1), rtol=1e-5)
    assert {row["label"] for row in test} == {""}


def test_held_out_rows_are_predicted_with_their_labels_and_numbers(finished):
    dev, table = _read(finished / "out/dev_predictions.csv"), _read(finished / "tickets.csv")
    assert len(dev) == ROWS // 10
    assert [{name: row[name] for name in ("text", "label")} for row in dev] == [table[int(r["index"])] for r in dev]
    accuracy = np.mean([row["label"] == row["prediction"] for row in dev])
    assert accuracy == json.loads((finished / "out/eval_results.json").read_text())["best"]["accuracy"]


def test_the_model_predicts_without_its_training_data(finished, tmp_path):
    test = _write(tmp_path / "other.csv", [(row["text"], "praise") for row in _read(finished / "test.csv")])
    flags = {"train_file": None, "albert_config_file": None, "spm_model_file": None, "model_dir": finished / "out"}
    _run(tmp_path, "predict", test_file=test, num_gpu_cores=2, **flags)
    mine, theirs = (_read(folder / "out/test_predictions.csv") for folder in (tmp_path, finished))
    assert [row["prediction"] for row in mine] == [row["prediction"] for row in theirs]
    assert {row["label"] for row in mine} == {"praise"}
    # In its own folder, the labels are those of the run, too.
    copy = shutil.copytree(finished, tmp_path / "copy")
    _write(test, [("x", "unheard of")])
    with pytest.raises(
        UserError, match=r"line 2: label 'unheard of' in column '.*' does not occur in .*model.json; known are billing"
    ):
        _run(copy, "predict", train_file=None, test_file=test)


def test_a_run_continues_only_with_its_own_rows(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    cases = [
        {"validation_split": 0.2},
        {"max_train_samples": 50},
    ]
    for flags, name in zip(cases, ("`validation_split`", "`max_train_samples`"), strict=True):
        with pytest.raises(UserError, match=f"holds another run: {name} is"):
            _run(copy, "train", "eval", **flags)
    # Another file, and the same one without the hold-out or with fewer rows, would replace the run's results.
    alone = {"train_file": None, "train_step": None, "train_batch_size": None, "learning_rate": None}
    for more, said in (
        ({}, "the hold-out is .* there and not set here"),
        ({"max_eval_samples": 5}, ".*the hold-out is"),
    ):
        with pytest.raises(UserError, match=f"holds another run: {said}"):
            _run(copy, "eval", validation_file=copy / "tickets.csv", **alone, **more)
    # All rows are trained on without evaluation, so that none of them is left to evaluate on later.
    with pytest.raises(UserError, match=r"the hold-out is .* there and not set here"):
        _run(copy, "train")


def test_any_number_of_replicas_trains_the_same_model(finished, tmp_path):
    (tmp_path / "tickets.csv").write_bytes((finished / "tickets.csv").read_bytes())
    _run(tmp_path, "train", "eval", num_gpu_cores=2, train_batch_size=4)
    expected = _weights(finished / "out")
    for name, value in _weights(tmp_path / "out").items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.training
def test_an_interrupted_run_ends_with_the_same_bytes(finished, tmp_path, monkeypatch):
    (tmp_path / "tickets.csv").write_bytes((finished / "tickets.csv").read_bytes())
    send_signals(monkeypatch, {6: signal.SIGTERM})
    with pytest.raises(Interrupted):
        _run(tmp_path, "train", "eval")
    _run(tmp_path, "train", "eval")
    expected, found = _weights(finished / "out"), _weights(tmp_path / "out")
    assert {name: value.tobytes() for name, value in found.items()} == {k: v.tobytes() for k, v in expected.items()}
    for name in ("evaluations.json", "dev_predictions.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (finished / "out" / name).read_bytes(), name


def test_what_is_wrong_with_a_table_is_reported_in_one_line(finished, tmp_path, capsys):
    table = _write(tmp_path / "tickets.csv", [("a\nb", "x"), ("c", "y"), ("d",)])
    assert cli(_command(tmp_path, "train")) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert lines == [
        f"error: {table}, line 5: 1 column, but the header has 2; put quotes around a field with a delimiter or a "
        "line end in it, and write a quote in it twice."
    ]


@pytest.mark.training
def test_the_bundled_model_learns_messages_with_quotes_and_line_ends(tmp_path):
    _write(tmp_path / "tickets.csv", make_tickets.rows())
    model = SAMPLE_DATA / "albert_tiny"
    flags = {"albert_config_file": None, "spm_model_file": None, "model_dir": model, "max_seq_length": 48}
    training = {"train_batch_size": 16, "train_step": 40, "save_checkpoints_steps": 40, "learning_rate": 2e-4}
    metrics = _run(tmp_path, "train", "eval", warmup_step=4, max_eval_samples=100, **flags, **training)
    assert metrics["accuracy"] == 1.0
