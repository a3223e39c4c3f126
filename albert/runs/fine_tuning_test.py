"""Whole runs on the first rows of the bundled task, on two replicas, in this process."""

import csv
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.engine import checkpoint_files
from albert.engine.evaluations import EvaluationLog
from albert.errors import UserError
from albert.runs import fine_tuning, training_log
from albert.system.signals import Interrupted
from albert.tasks.glue import GlueTask
from albert.testing import sample_command, send_signals, write_sample_data

ROWS = 40


def _run(folder: Path, *actions: str, **flags: object) -> dict[str, float]:
    task, settings = parse_classifier_flags(sample_command(folder, *actions, **flags))
    return fine_tuning.run(task, settings)


def test_predictions_without_scores_leave_none_of_earlier_ones(tmp_path):
    for files in ({"test_scores.json": "1"}, {"test_results.tsv": "2"}):
        fine_tuning.write_results(tmp_path, files)
        assert [path.name for path in tmp_path.glob("test_scores.json")] == [name for name in files if "scores" in name]


def _steps(out: Path) -> list[int]:
    return [row["step"] for row in training_log.read_training_log(out / "training_log.jsonl")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with data, caches and, in `out`, a finished run of 12 steps. Read it, or copy it first."""
    folder = tmp_path_factory.mktemp("finished")
    write_sample_data(folder / "data", ROWS)
    metrics = _run(folder, "train", "eval", "predict", keep_checkpoint_max=2)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(finished, tmp_path / "copy")


# What a run leaves ----------------------------------------------------------------------------------------------------


def test_a_run_leaves_every_promised_file_and_no_other(finished):
    events = [path.name for path in (finished / "out").glob("events.out.tfevents.*")]
    assert len(events) == 1
    names = [f"model.ckpt-{step}{suffix}" for step in (8, 12, "best") for suffix in checkpoint_files.SUFFIXES]
    names += ["checkpoint", "evaluations.json", "run_settings.json", "training_log.jsonl", "training_curve.png"]
    names += ["eval_results.txt", "eval_results.json", "test_results.tsv", "submit_results.tsv", "Agreement.tsv"]
    names += ["model.json", "albert_config.json", "spiece.model", "classification_report.json"]
    names += ["confusion_matrix.csv", "confusion_matrix.png", "dev_predictions.csv"]
    assert {path.name for path in (finished / "out").iterdir()} == {*names, *events}
    assert not list((finished / "cache").glob("*.partial"))


def test_the_files_agree_with_each_other(finished):
    out = finished / "out"
    metrics = json.loads((finished / "metrics.json").read_text())
    evaluations = EvaluationLog(out)
    assert sorted(evaluations.steps) == [4, 8, 12]
    assert metrics == evaluations.best.metrics
    assert json.loads((out / "eval_results.json").read_text())["best"] == metrics
    assert checkpoint_files.load_tensors(out / "model.ckpt-best")["global_step"] == metrics["global_step"]
    assert _steps(out) == list(range(1, 13))
    with PIL.Image.open(out / "training_curve.png") as picture:
        picture.verify()


def test_the_reports_are_those_of_the_best_checkpoint_in_the_order_of_the_dev_file(finished):
    out = finished / "out"
    best = EvaluationLog(out).best
    report = json.loads((out / "classification_report.json").read_text())
    assert report["accuracy"] == best.metrics["eval_accuracy"]
    rows = list(csv.DictReader((out / "dev_predictions.csv").open(newline="")))
    assert list(rows[0]) == ["index", "sentence", "label", "prediction", "score"]
    lines = (finished / "data/Agreement/dev.tsv").read_text().splitlines()[1:]
    assert [f"{row['sentence']}\t{row['label']}" for row in rows] == lines
    assert np.mean([row["label"] == row["prediction"] for row in rows]) == pytest.approx(report["accuracy"])
    assert all(0.5 <= float(row["score"]) <= 1 for row in rows)
    matrix = list(csv.DictReader((out / "confusion_matrix.csv").open(newline="")))
    correct = sum(int(matrix[number][name]) for number, name in enumerate("01"))
    assert correct == pytest.approx(report["accuracy"] * ROWS)
    assert json.loads((out / "eval_results.json").read_text())["labels"] == ["0", "1"]
    with PIL.Image.open(out / "confusion_matrix.png") as picture:
        picture.verify()


def test_predictions_are_in_the_order_of_the_test_file(finished):
    probabilities = np.loadtxt(finished / "out/test_results.tsv", delimiter="\t")
    assert probabilities.shape == (ROWS, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    lines = (finished / "out/Agreement.tsv").read_text().splitlines()
    expected = [f"{index}\t{label}" for index, label in enumerate(probabilities.argmax(axis=1))]
    assert lines == ["index\tprediction", *expected]
    assert (finished / "out/submit_results.tsv").read_text().splitlines() == lines


# Starting again -------------------------------------------------------------------------------------------------------


def test_a_second_start_tokenises_nothing_trains_nothing_and_changes_no_result(copied, monkeypatch):
    def must_not_be_called(*_arguments, **_names):
        raise AssertionError("a row was featurised again")

    monkeypatch.setattr(GlueTask, "featurize", must_not_be_called)
    out = copied / "out"
    (out / "Agreement.tsv").unlink()
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    metrics = _run(copied, "train", "eval", "predict", keep_checkpoint_max=2, output_dir=out)
    assert metrics == json.loads((copied / "metrics.json").read_text())
    assert (out / "Agreement.tsv").read_bytes() == before["submit_results.tsv"]
    same = ("training_log.jsonl", "evaluations.json", "test_results.tsv", "model.ckpt-12.index", "model.json")
    for name in (*same, "dev_predictions.csv", "classification_report.json", "confusion_matrix.png"):
        assert (out / name).read_bytes() == before[name], name


def test_predicting_alone_uses_the_best_checkpoint(copied):
    expected = (copied / "out/test_results.tsv").read_text()
    for name in ("test_results.tsv", "model.ckpt-12.index", "model.ckpt-8.index"):
        (copied / "out" / name).unlink()
    # How it was trained does not matter, nor does the number of replicas.
    assert _run(copied, "predict", learning_rate=1.0, num_gpu_cores=1) == {}
    assert (copied / "out/test_results.tsv").read_text() == expected


def test_evaluating_alone_judges_what_training_left_and_names_the_best(copied, finished):
    for name in ("evaluations.json", "eval_results.txt", "model.ckpt-best.index"):
        (copied / "out" / name).unlink()
    metrics = _run(copied, "eval")
    before = {entry.step: entry.metrics for entry in EvaluationLog(finished / "out")}
    assert {entry.step: entry.metrics for entry in EvaluationLog(copied / "out")} == {8: before[8], 12: before[12]}
    assert metrics == EvaluationLog(copied / "out").best.metrics
    assert (copied / "out/eval_results.txt").exists()
    assert checkpoint_files.exists(copied / "out/model.ckpt-best")


def test_a_run_stopped_by_signals_is_resumed_and_ends_bitwise_equal(copied, monkeypatch):
    signals = {3: signal.SIGTERM, 7: signal.SIGINT}
    send_signals(monkeypatch, signals)
    out = copied / "stopped"
    for number in list(signals.values()):
        with pytest.raises(Interrupted, match="which is saved") as raised:
            _run(copied, "train", output_dir=out, save_checkpoints_steps=100)
        assert raised.value.signal_number == number
        # A run keeps the packing that it began with, also where a program weighs shapes otherwise.
        monkeypatch.setattr(fine_tuning, "shape_cost", lambda *_: 0)
    _run(copied, "train", output_dir=out, save_checkpoints_steps=100)
    assert _steps(out) == list(range(1, 13))
    expected, found = (checkpoint_files.load_tensors(copied / name / "model.ckpt-12") for name in ("out", "stopped"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# Starting from a checkpoint -------------------------------------------------------------------------------------------


def test_a_fine_tuned_model_is_evaluated_and_predicts_without_training(copied, caplog):
    caplog.set_level("INFO")
    prefix = copied / "out/model.ckpt-best"
    metrics = _run(copied, "eval", "predict", output_dir=copied / "other", init_checkpoint=prefix)
    expected = json.loads((copied / "metrics.json").read_text())
    assert metrics == {**expected, "global_step": 0}
    assert (copied / "other/test_results.tsv").read_text() == (copied / "out/test_results.tsv").read_text()
    assert not (copied / "other/training_curve.png").exists()
    said = [message for message in caplog.messages if message.startswith(("Evaluat", "Best"))]
    assert said[0].startswith("Evaluating on ")  # and not "step 0"
    assert [message.partition(", eval")[0] for message in said[1:]] == [f"Evaluated {prefix}"]


def test_a_model_of_other_classes_is_not_evaluated_as_one_of_these(copied, caplog):
    # As many classes: their weights fit, so that every "dog" would be counted as a "0".
    path = copied / "out/model.json"
    names = {"id2label": {"0": "dog", "1": "cat"}, "label2id": {"dog": 0, "cat": 1}}
    path.write_text(json.dumps(json.loads(path.read_text()) | names))
    flags = {"output_dir": copied / "other", "init_checkpoint": copied / "out/model.ckpt-best"}
    for action in ("eval", "predict"):
        with pytest.raises(UserError, match=r"model.json: the classes are 'dog', 'cat', but here they are '0', '1'"):
            _run(copied, action, **flags)
    assert not (copied / "other").exists()
    _run(copied, "train", **flags, train_step=1)
    assert "training continues with its head" in caplog.text
    caplog.clear()
    _run(copied, "eval", **flags, train_step=1)  # what was trained has these classes
    assert "dog" not in caplog.text


def test_a_model_without_classifier_cannot_be_evaluated(copied):
    tensors = checkpoint_files.load_tensors(copied / "out/model.ckpt-12")
    encoder = {name: value for name, value in tensors.items() if not name.startswith("output_")}
    checkpoint_files.save(copied / "encoder", encoder)
    with pytest.raises(UserError, match=r"lacks output_weights, output_bias: it is not a model of.*`do_train`"):
        _run(copied, "eval", output_dir=copied / "other", init_checkpoint=copied / "encoder")
    with pytest.raises(UserError, match="has no checkpoint: train first, or give `init_checkpoint`"):
        _run(copied, "eval", output_dir=copied / "other")


def test_another_tasks_classifier_is_refused_until_it_is_discarded(copied):
    tensors = checkpoint_files.load_tensors(copied / "out/model.ckpt-12")
    tensors |= {"output_weights": np.zeros((3, 64), np.float32), "output_bias": np.zeros(3, np.float32)}
    checkpoint_files.save(copied / "three_classes", tensors)
    flags = {"output_dir": copied / "other", "init_checkpoint": copied / "three_classes", "train_step": 1}
    with pytest.raises(UserError, match=r"has shape \[3, 64\].*needs \[2, 64\].*`discard_classifier_weights`"):
        _run(copied, "train", **flags)
    # In the same directory: the first attempt left nothing there that could be mixed with this one.
    _run(copied, "train", **flags, discard_classifier_weights=True, learning_rate=1e-9)
    trained = checkpoint_files.load_tensors(copied / "other/model.ckpt-1")
    name = "bert/embeddings/word_embeddings"
    np.testing.assert_allclose(trained[name], tensors[name], atol=1e-6)
    assert trained["output_weights"].shape == (2, 64)
    assert np.abs(trained["output_weights"]).max() > 0


def test_a_run_that_began_from_other_weights_is_refused_though_they_lie_in_the_same_place(copied):
    tensors = checkpoint_files.load_tensors(copied / "out/model.ckpt-12")
    checkpoint_files.save(copied / "start", tensors)
    flags = {"output_dir": copied / "other", "init_checkpoint": copied / "start", "train_step": 1}
    for _ in range(2):
        _run(copied, "train", **flags)
    checkpoint_files.save(copied / "start", tensors | {"output_bias": tensors["output_bias"] + 1})
    with pytest.raises(UserError, match="holds another run: the weights in `init_checkpoint` differ"):
        _run(copied, "train", **flags)
    path = copied / "other/run_settings.json"  # as earlier versions wrote it
    settings = json.loads(path.read_text())
    assert settings["training"].pop("init_weights")
    path.write_text(json.dumps(settings))
    _run(copied, "train", **flags)
    assert "init_weights" not in json.loads(path.read_text())["training"]


def test_a_new_head_is_a_warning_only_where_the_start_should_have_one(copied, caplog):
    def level(folder, **flags):
        caplog.clear()
        caplog.set_level("INFO")
        out = copied / f"from_{folder}_{len(flags)}"
        _run(copied, "train", output_dir=out, init_checkpoint=copied / folder / "start", train_step=1, **flags)
        (record,) = [record for record in caplog.records if "newly initialised (" in record.getMessage()]
        assert record.getMessage().endswith(": output_weights, output_bias")
        return record.levelname

    tensors = checkpoint_files.load_tensors(copied / "out/model.ckpt-12")
    encoder = {name: value for name, value in tensors.items() if not name.startswith("output_")}
    checkpoint_files.save(copied / "pretrained/start", encoder)
    assert level("pretrained") == "INFO"
    # A model of this kind of task whose checkpoint has lost its head.
    description = json.loads((copied / "out/model.json").read_text())
    checkpoint_files.save(copied / "classifier/start", encoder)
    (copied / "classifier/model.json").write_text(json.dumps(description))
    assert level("classifier") == "WARNING"
    assert level("classifier", discard_classifier_weights=True) == "INFO"


# What an output directory holds ---------------------------------------------------------------------------------------


def test_another_run_is_refused_with_what_differs_and_nothing_is_changed(copied):
    before = {path.name: path.read_bytes() for path in (copied / "out").iterdir()}
    others = {"weight_decay": 0, "max_grad_norm": 0, "lr_scheduler_type": "cosine", "adam_beta2": 0.99}
    others |= {"max_seq_length": 24, "albert_dropout_prob": 0.25, "train_batch_size": 8}
    with pytest.raises(UserError) as raised:
        _run(copied, "train", learning_rate=0.5, **others)
    for difference in (
        "`learning_rate` is 0.001 there and 0.5 here",
        "`weight_decay` is 0.01 there and 0.0 here",
        "`max_grad_norm` is 1.0 there and 0.0 here",
        "`lr_scheduler_type` is 'linear' there and 'cosine' here",
        "`adam_beta2` is 0.999 there and 0.99 here",
        "`max_seq_length` is 32 there and 24 here",
        "albert_config.hidden_dropout_prob is 0.0 there and 0.25 here",
        "the batch over all replicas is 8 there and 16 here",
        "`overwrite_output_dir`",
    ):
        assert difference in str(raised.value)
    assert {path.name: path.read_bytes() for path in (copied / "out").iterdir()} == before


def test_without_weight_decay_a_run_is_another_one_and_says_so(copied):
    out = copied / "without"
    _run(copied, "train", output_dir=out, weight_decay=0)
    tensors, usual = (checkpoint_files.load_tensors(folder / "model.ckpt-12") for folder in (out, copied / "out"))
    name = "bert/embeddings/word_embeddings"
    assert tensors.keys() == usual.keys()
    assert 1e-6 < np.abs(tensors[name] - usual[name]).max() < 1e-2
    recorded, of_usual = (json.loads((folder / "run_settings.json").read_text()) for folder in (out, copied / "out"))
    assert recorded["training"] == {**of_usual["training"], "weight_decay": 0.0}
    with pytest.raises(UserError, match=r"`weight_decay` is 0\.0 there and 0\.01 here"):
        _run(copied, "train", output_dir=out)


def test_overwriting_moves_the_old_run_aside_and_trains_again(copied):
    before = (copied / "out/training_log.jsonl").read_text()
    _run(copied, "train", train_step=2, overwrite_output_dir=True)
    assert _steps(copied / "out") == [1, 2]
    assert (copied / "out.old-1/training_log.jsonl").read_text() == before


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_state_before(copied):
    # The first update at this rate throws the weights to 1e30, whose products overflow in step 2.
    message = r"step 2: loss nan, .* at learning rate .*e\+29\. Training stopped; .* Lower `learning_rate`"
    out = copied / "wild"
    with pytest.raises(UserError, match=message):
        _run(copied, "train", output_dir=out, learning_rate=1e30, save_checkpoints_steps=1)
    kept = [path.name for path in out.glob("model.ckpt-*.index")]
    assert kept == ["model.ckpt-1.index"]
    assert all(np.isfinite(value).all() for value in checkpoint_files.load_tensors(out / "model.ckpt-1").values())
    assert _steps(out) == [1]


def test_a_run_that_failed_before_its_first_checkpoint_may_be_fixed_in_place(copied):
    out = copied / "wild"
    with pytest.raises(UserError, match="Lower `learning_rate`"):
        _run(copied, "train", output_dir=out, learning_rate=1e30, train_step=3)
    _run(copied, "train", output_dir=out, learning_rate=1e-3, train_step=3)
    assert _steps(out) == [1, 2, 3]
