"""Result files, compared with contents written by hand."""

import dataclasses
import json
import math

import pytest

from albert.engine.throughput import WARM_UP_CALLS, Throughput
from albert.runs.result_files import Results, _hyperparameters_on_disk
from albert.testing import GOOD_SETTINGS, evaluation_of_f1


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"hyperparameters": {"a": [1]}}', '{"hyperparameters": {"a": "\\ud800"}}', "[]", "{}"]
)
def test_results_that_are_not_ours_say_nothing_of_training(tmp_path, content):
    (tmp_path / "eval_results.json").write_text(content)
    assert _hyperparameters_on_disk(tmp_path) == {}


def test_the_best_metric_follows_the_comparison(tmp_path):
    # The predecessor printed the best of before; here step 20's block already names step 20's value.
    results = Results(dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path), "f1", num_replicas=2)
    throughput = Throughput(global_batch_size=8)
    for seconds in (30.0, 20.0, 2.0, 2.0):  # the first two calls trace and compile
        throughput.add(seconds, [70.0] * 10, [80.0] * 10)
    results.trained(throughput)
    evaluations = [
        evaluation_of_f1(10, 0.5, True),
        evaluation_of_f1(20, 0.75, True),
        evaluation_of_f1(30, 0.625, False),
    ]
    results.evaluated(evaluations, {"f1": 0.75, "eval_loss": 0.25, "global_step": 20})
    # 20 steps of 8 examples in 4 s are 40 examples/s.
    assert (tmp_path / "eval_results.txt").read_text() == (
        "===== Hyperparameters =====\n"
        "Training batch size = 4\n"
        "Gradient accumulation steps = 1\n"
        "Max sequence length = 128\n"
        "Learning rate = 1e-05\n"
        "Num of GPU cores = 2\n"
        "Global batch size = 8\n"
        "Optimizer = adamw\n"
        "Seed = 42\n"
        "Training steps = 10\n"
        "Warmup steps = 2\n"
        "Total time = 4.0\n"
        "Speed = 40.0\n"
        "Seconds per step = 0.2\n"
        "Real tokens per second = 350.0\n"
        "Share of padding = 0.125\n"
        "===== Evaluations =====\n"
        "eval_loss = 0.25\nf1 = 0.5\nglobal_step = 10\n"
        "best = 0.5\nsaved model.ckpt-10 to model.ckpt-best\n"
        "==================================================\n"
        "===== Evaluations =====\n"
        "eval_loss = 0.25\nf1 = 0.75\nglobal_step = 20\n"
        "best = 0.75\nsaved model.ckpt-20 to model.ckpt-best\n"
        "==================================================\n"
        "===== Evaluations =====\n"
        "eval_loss = 0.25\nf1 = 0.625\nglobal_step = 30\n"
        "best = 0.75\n"
        "==================================================\n"
        "best f1 = 0.75 at step 20\n"
    )
    summary = json.loads((tmp_path / "eval_results.json").read_text())
    assert summary["task"] == "mrpc"
    assert summary["hyperparameters"]["Speed"] == 40
    assert summary["best"] == {"f1": 0.75, "eval_loss": 0.25, "global_step": 20}
    assert [(e["global_step"], e["is_best"]) for e in summary["evaluations"]] == [(10, True), (20, True), (30, False)]


def test_results_name_what_differs_from_the_constants_of_before(tmp_path):
    others = {"weight_decay": 0.0, "max_grad_norm": 0.5, "lr_scheduler_type": "cosine", "adam_epsilon": 1e-8}
    train = dataclasses.replace(GOOD_SETTINGS.train, **others)
    results = Results(dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path, train=train), "f1", 2)
    results.trained(Throughput(8))
    results.evaluated([], {"f1": 0.5, "global_step": 0})
    text = (tmp_path / "eval_results.txt").read_text()
    lines = "Learning rate schedule = cosine\nWeight decay = 0.0\nMax gradient norm = 0.5\nAdam epsilon = 1e-08\n"
    assert f"Warmup steps = 2\n{lines}best f1" in text


def test_a_resumed_run_does_not_call_the_time_of_its_last_part_the_total(tmp_path):
    settings = dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path)
    throughput = Throughput(8)
    for _ in range(WARM_UP_CALLS + 1):
        throughput.add(4.0, [100.0], [100.0])

    def write(is_resumed: bool) -> dict:
        results = Results(settings, "f1", num_replicas=2)
        results.trained(throughput, is_resumed=is_resumed)
        results.evaluated([evaluation_of_f1(10, 0.5, True)], {"f1": 0.5, "global_step": 10})
        return json.loads((tmp_path / "eval_results.json").read_text())["hyperparameters"]

    assert write(False)["Total time"] == 4
    written = write(True)
    assert written["Time since the last start"] == 4
    assert "Total time" not in written
    # A start that makes no step says what was there.
    results = Results(settings, "f1", num_replicas=2)
    results.trained(Throughput(8), is_resumed=True)
    results.evaluated([evaluation_of_f1(10, 0.5, True)], {"f1": 0.5, "global_step": 10})
    assert "Time since the last start = 4.0\n" in (tmp_path / "eval_results.txt").read_text()


def test_results_without_training_have_no_speed_and_no_evaluations(tmp_path):
    results = Results(dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path), "f1", num_replicas=1)
    results.trained(Throughput(8))
    results.evaluated([], {"f1": 0.5, "eval_loss": math.inf, "global_step": 0})
    text = (tmp_path / "eval_results.txt").read_text()
    assert text.endswith("Warmup steps = 2\nbest f1 = 0.5 at step 0\n")
    # JSON has no infinity.
    assert json.loads((tmp_path / "eval_results.json").read_text())["best"]["eval_loss"] is None


def test_the_number_of_examples_is_kept_for_a_run_that_only_evaluates(tmp_path):
    def examples_after(**splits):
        settings = dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path)
        Results(settings, "f1", 1, splits).evaluated([], {"f1": 0.5, "global_step": 0})
        return json.loads((tmp_path / "eval_results.json").read_text())["examples"]

    assert examples_after(train=3668, dev=408) == {"train": 3668, "dev": 408}
    assert examples_after(dev=100) == {"train": 3668, "dev": 100}
    for damaged in ('{"examples": [1]}', '{"examples": {"train": "x"}}', '{"examples": {"other": 1}}', "{"):
        (tmp_path / "eval_results.json").write_text(damaged)
        assert examples_after(dev=100) == {"dev": 100}
