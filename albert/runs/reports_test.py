"""The files a run leaves for people, compared with contents written by hand."""

import collections
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray

from albert.engine.evaluations import Evaluation
from albert.engine.throughput import WARM_UP_CALLS, Speed, StepRecord, Throughput
from albert.errors import UserError
from albert.runs import reports
from albert.system.files import write_texts
from albert.tasks.base import Example
from albert.tasks.registry import get_task
from albert.testing import GOOD_SETTINGS, full_disk, tiny_disk, unwritable


def _records(first: int, last: int, loss: float = 0.5) -> list[StepRecord]:
    speed = Speed(0.02, 200.0, 2000.0, 0.125)
    return [
        StepRecord(step, loss, 1.5, 1e-5, 35.0, 40.0, Speed() if step == 1 else speed)
        for step in range(first, last + 1)
    ]


def _evaluation(step: int, f1: float, is_best: bool) -> Evaluation:
    return Evaluation(step, {"f1": f1, "eval_loss": 0.25, "global_step": step}, "f1", is_best)


# The training log -----------------------------------------------------------------------------------------------------


def test_the_training_log_has_one_json_object_a_step(tmp_path):
    log = reports.TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(_records(1, 2))
    first, second = (tmp_path / "training_log.jsonl").read_text().splitlines()
    assert first == (
        '{"step": 1, "loss": 0.5, "gradient_norm": 1.5, "learning_rate": 1e-05, "real_tokens": 35.0, '
        '"computed_tokens": 40.0, "seconds_per_step": null, "examples_per_second": null, "tokens_per_second": null, '
        '"padding_share": null, "training_steps": 10}'
    )
    expected = dataclasses.asdict(_records(2, 2)[0])
    assert json.loads(second) == expected | expected.pop("speed") | {"training_steps": 10}


def test_going_on_drops_the_steps_that_are_made_again_and_a_cut_line(tmp_path):
    path = tmp_path / "training_log.jsonl"
    log = reports.TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(_records(1, 7))
    path.write_bytes(path.read_bytes() + b'{"step": 8, "lo\xff')  # killed while writing
    assert [row["step"] for row in reports.read_training_log(path)] == [1, 2, 3, 4, 5, 6, 7]
    log = reports.TrainingLog(tmp_path, 10)
    log.on_start(4)  # the newest checkpoint
    log.on_steps(_records(5, 6, loss=0.25))
    rows = reports.read_training_log(path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in rows] == [0.5] * 4 + [0.25] * 2
    log.on_start(6)
    assert len(path.read_text().splitlines()) == 6


def test_a_run_without_checkpoint_starts_a_new_log(tmp_path):
    log = reports.TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(_records(1, 3))
    log.on_start(0)
    assert reports.read_training_log(tmp_path / "training_log.jsonl") == []
    assert reports.read_training_log(tmp_path / "none") == []


def test_lines_that_are_not_rows_are_left_out_and_counted(tmp_path, caplog):
    path = tmp_path / "training_log.jsonl"
    rows = [b'{"step": 1, "loss": 0.5}', b'{"step": 2, "loss": null}', b'{"step": 4, "loss": 0.25}']
    bad = [b"[" * 100_000, b'{"step": "3", "loss": 1}', b'{"step": 3}', b'{"step": 3, "loss": {}}', b"\xff", b"3"]
    path.write_bytes(b"\n".join([rows[0], *bad, rows[1], b"", rows[2]]) + b"\n")
    assert [row["step"] for row in reports.read_training_log(path)] == [1, 2, 4]
    assert f"{path}: left out, not rows of a training log: {len(bad)} lines" in caplog.text
    reports.TrainingLog(tmp_path, 10).on_start(2)
    assert [row["step"] for row in reports.read_training_log(path)] == [1, 2]


def test_a_training_log_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "training_log.jsonl").mkdir()
    with pytest.raises(UserError, match=r"training_log\.jsonl cannot be read"):
        reports.read_training_log(tmp_path / "training_log.jsonl")


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"hyperparameters": {"a": [1]}}', '{"hyperparameters": {"a": "\\ud800"}}', "[]", "{}"]
)
def test_results_that_are_not_ours_say_nothing_of_training(tmp_path, content):
    (tmp_path / "eval_results.json").write_text(content)
    assert reports._hyperparameters_on_disk(tmp_path) == {}


# TensorBoard ----------------------------------------------------------------------------------------------------------


def test_tensorboard_reads_back_every_scalar(tmp_path):
    board = reports.TensorBoard(tmp_path, {})
    board.on_start(0)
    board.on_steps(_records(1, 1))
    board.on_steps(_records(2, 5))
    board.on_evaluation(Evaluation(5, {"f1": 0.75, "eval_loss": math.nan, "global_step": 5}, "f1", True))
    events = EventAccumulator(str(tmp_path)).Reload()
    found = {
        tag: [(event.step, round(float(make_ndarray(event.tensor_proto)), 6)) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if tag != SESSION_START_INFO_TAG
    }
    assert found == {
        # One point a call of the loop, at its last step; what is not a number is left out.
        "train/loss": [(1, 0.5), (5, 0.5)],
        "train/gradient_norm": [(1, 1.5), (5, 1.5)],
        "train/learning_rate": [(1, 1e-5), (5, 1e-5)],
        "train/real_tokens": [(1, 35.0), (5, 35.0)],
        "train/computed_tokens": [(1, 40.0), (5, 40.0)],
        "train/seconds_per_step": [(5, 0.02)],
        "train/examples_per_second": [(5, 200.0)],
        "train/tokens_per_second": [(5, 2000.0)],
        "train/padding_share": [(5, 0.125)],
        "dev/f1": [(5, 0.75)],
    }


def test_tensorboard_compares_runs_by_their_settings(tmp_path):
    settings = dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path)
    board = reports.TensorBoard(tmp_path, reports.hyperparameters(settings, num_replicas=2))
    board.on_start(0)
    board.on_steps(_records(1, 1))
    content = EventAccumulator(str(tmp_path)).Reload().summary_metadata[SESSION_START_INFO_TAG].plugin_data.content
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    assert {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()} == {
        "task_name": "mrpc",
        "max_seq_length": 128,
        "dtype": "float32",
        "global_batch_size": 8,
        "num_replicas": 2,
        "learning_rate": 1e-5,
        "optimizer": "adamw",
        "lr_scheduler_type": "linear",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-6,
        "train_steps": 10,
        "warmup_steps": 2,
        "seed": 42,
    }


def test_a_full_disk_is_an_error_that_the_user_can_fix(tmp_path):
    board = reports.TensorBoard(tmp_path, {})
    message = r"cannot write TensorBoard's events in .*: {}\. {} or choose another `output_dir`"
    with full_disk(max_file_bytes=200), pytest.raises(UserError, match=message.format("File too large", "Free space")):
        board.on_steps(_records(1, 2))
    with (
        unwritable(tmp_path),
        pytest.raises(UserError, match=message.format("Operation not permitted", "Give .*")),
    ):
        reports.TensorBoard(tmp_path, {})
    with tiny_disk(tmp_path / "disk", "8k") as disk:
        board = reports.TensorBoard(disk, {})
        with pytest.raises(UserError, match=message.format("No space left on device", "Free space")):
            collections.deque(board.on_steps(_records(step, step)) for step in range(100))


# Evaluation results ---------------------------------------------------------------------------------------------------


def test_the_best_metric_follows_the_comparison(tmp_path):
    # The predecessor printed the best of before; here step 20's block already names step 20's value.
    results = reports.Results(dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path), "f1", num_replicas=2)
    throughput = Throughput(global_batch_size=8)
    for seconds in (30.0, 20.0, 2.0, 2.0):  # the first two calls trace and compile
        throughput.add(seconds, [70.0] * 10, [80.0] * 10)
    results.trained(throughput)
    evaluations = [_evaluation(10, 0.5, True), _evaluation(20, 0.75, True), _evaluation(30, 0.625, False)]
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
    results = reports.Results(dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path, train=train), "f1", 2)
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
        results = reports.Results(settings, "f1", num_replicas=2)
        results.trained(throughput, is_resumed=is_resumed)
        results.evaluated([_evaluation(10, 0.5, True)], {"f1": 0.5, "global_step": 10})
        return json.loads((tmp_path / "eval_results.json").read_text())["hyperparameters"]

    assert write(False)["Total time"] == 4
    written = write(True)
    assert written["Time since the last start"] == 4
    assert "Total time" not in written
    # A start that makes no step says what was there.
    results = reports.Results(settings, "f1", num_replicas=2)
    results.trained(Throughput(8), is_resumed=True)
    results.evaluated([_evaluation(10, 0.5, True)], {"f1": 0.5, "global_step": 10})
    assert "Time since the last start = 4.0\n" in (tmp_path / "eval_results.txt").read_text()


def test_results_without_training_have_no_speed_and_no_evaluations(tmp_path):
    results = reports.Results(dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path), "f1", num_replicas=1)
    results.trained(Throughput(8))
    results.evaluated([], {"f1": 0.5, "eval_loss": math.inf, "global_step": 0})
    text = (tmp_path / "eval_results.txt").read_text()
    assert text.endswith("Warmup steps = 2\nbest f1 = 0.5 at step 0\n")
    # JSON has no infinity.
    assert json.loads((tmp_path / "eval_results.json").read_text())["best"]["eval_loss"] is None


def test_the_number_of_examples_is_kept_for_a_run_that_only_evaluates(tmp_path):
    def examples_after(**splits):
        settings = dataclasses.replace(GOOD_SETTINGS, output_dir=tmp_path)
        reports.Results(settings, "f1", 1, splits).evaluated([], {"f1": 0.5, "global_step": 0})
        return json.loads((tmp_path / "eval_results.json").read_text())["examples"]

    assert examples_after(train=3668, dev=408) == {"train": 3668, "dev": 408}
    assert examples_after(dev=100) == {"train": 3668, "dev": 100}
    for damaged in ('{"examples": [1]}', '{"examples": {"train": "x"}}', '{"examples": {"other": 1}}', "{"):
        (tmp_path / "eval_results.json").write_text(damaged)
        assert examples_after(dev=100) == {"dev": 100}


# The curve ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_steps", [1, 120])
def test_the_curve_is_a_picture_that_shows_something(tmp_path, num_steps):
    folder = tmp_path / "run_$x_{"  # must not be taken for a formula
    folder.mkdir()
    log = reports.TrainingLog(folder, 10)
    log.on_start(0)
    log.on_steps(_records(1, num_steps))
    evaluations = [_evaluation(1, 0.5, True), _evaluation(num_steps, math.nan, False)]
    assert reports.draw_curve(folder, evaluations, "f1") == folder / "training_curve.png"
    with PIL.Image.open(folder / "training_curve.png") as picture:
        assert picture.format == "PNG"
        # Blue of the loss and orange of the metric, as matplotlib's tab: colours are defined.
        colours = {colour[:3] for _, colour in picture.convert("RGBA").getcolors(1 << 20)}
    assert {(31, 119, 180), (255, 127, 14)} <= colours
    assert {file.name for file in folder.iterdir()} == {"training_curve.png", "training_log.jsonl"}


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """Every figure that is saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def noted(figure: Figure, *arguments: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", noted)
    return figures


@pytest.mark.parametrize(
    ("num_steps", "label"),
    [
        (1, "training loss"),
        (3, "training loss"),
        (99, "training loss"),
        (100, "training loss (mean of 2 steps)"),
        (600, "training loss (mean of 12 steps)"),
    ],
)
def test_the_curve_has_whole_steps_and_says_what_its_lines_are(tmp_path, drawn, num_steps, label):
    log = reports.TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(_records(1, num_steps))
    reports.draw_curve(tmp_path, [_evaluation(num_steps, 0.5, True)], "f1")
    (figure,) = drawn
    axes, metric_axes = figure.axes
    ticks = axes.get_xticks()
    assert list(ticks) == [round(tick) for tick in ticks]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [label, "dev loss", "dev f1"]
    dev_loss = next(line for line in axes.lines if line.get_label() == "dev loss")
    assert dev_loss.get_xydata().tolist() == [[num_steps, 0.25]]
    assert metric_axes.lines[0].get_xydata().tolist() == [[num_steps, 0.5]]


def test_the_curve_follows_the_steps_where_older_checkpoints_were_evaluated_later(tmp_path, drawn):
    log = reports.TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(_records(1, 9))
    evaluations = [_evaluation(9, 0.5, True), _evaluation(3, 0.25, False), _evaluation(6, 0.75, True)]
    reports.draw_curve(tmp_path, evaluations, "f1")
    metrics, best = drawn[0].axes[1].lines
    assert metrics.get_xydata().tolist() == [[3, 0.25], [6, 0.75], [9, 0.5]]
    assert best.get_xydata().tolist() == [[6, 0.75]]
    dev_loss = next(line for line in drawn[0].axes[0].lines if line.get_label() == "dev loss")
    assert dev_loss.get_xdata().tolist() == [3, 6, 9]


def test_the_curve_draws_a_dev_loss_only_where_there_is_one(tmp_path, drawn):
    log = reports.TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(_records(1, 3))
    for losses in ({}, {"eval_loss": math.nan}):
        reports.draw_curve(tmp_path, [Evaluation(3, {"f1": 0.5, **losses}, "f1", True)], "f1")
        labels = [text.get_text() for text in drawn.pop().legends[0].get_texts()]
        assert labels == ["training loss", "dev f1"]


@pytest.mark.parametrize("num_steps", [2, 120])
def test_a_loss_that_is_not_a_number_is_null_in_the_log_and_a_gap_elsewhere(tmp_path, num_steps):
    log, board = reports.TrainingLog(tmp_path, 10), reports.TensorBoard(tmp_path, {})
    for observer in (log, board):
        observer.on_start(0)
        observer.on_steps(_records(1, 1, math.nan))
        observer.on_steps(_records(2, num_steps))
        observer.on_steps(_records(num_steps + 1, num_steps + 1, math.inf))
    losses = [row["loss"] for row in reports.read_training_log(tmp_path / "training_log.jsonl")]
    assert losses == [None, *[0.5] * (num_steps - 1), None]
    assert reports.draw_curve(tmp_path, [], "f1")
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Tensors("train/loss")] == [num_steps]
    assert [event.step for event in events.Tensors("train/gradient_norm")] == [1, num_steps, num_steps + 1]


def test_a_run_without_a_finite_loss_has_a_curve_too(tmp_path):
    log = reports.TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(_records(1, 3, math.nan))
    assert reports.draw_curve(tmp_path, [], "f1")


def test_without_training_there_is_no_curve(tmp_path):
    assert reports.draw_curve(tmp_path, [], "f1") is None
    assert list(tmp_path.iterdir()) == []


# Predictions ----------------------------------------------------------------------------------------------------------


def _examples(*guids: str) -> list[Example]:
    return [Example(guid, "a", "b", None) for guid in guids]


def _read(folder: Path, *names: str) -> list[str]:
    assert {file.name for file in folder.iterdir()} == set(names)
    return [(folder / name).read_text() for name in names]


def test_classes_are_predicted_by_label_under_the_leaderboards_file_name(tmp_path):
    probabilities = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    predictions = {"probabilities": probabilities, "predictions": np.array([1, 0], np.int32)}
    write_texts(tmp_path, get_task("rte").result_files(_examples("7", "3"), predictions))
    results, submit, leaderboard = _read(tmp_path, "test_results.tsv", "submit_results.tsv", "RTE.tsv")
    assert results == "0.25\t0.75\n1.0\t0.0\n"
    assert submit == leaderboard == "index\tprediction\n7\tnot_entailment\n3\tentailment\n"


def test_scores_are_clipped_for_the_leaderboard_only(tmp_path):
    scores = np.array([5.25, -0.5, 2.5], np.float32)
    predictions = {"probabilities": scores[:, None], "predictions": scores}
    write_texts(tmp_path, get_task("sts-b").result_files(_examples("0", "1", "2"), predictions))
    results, submit, leaderboard = _read(tmp_path, "test_results.tsv", "submit_results.tsv", "STS-B.tsv")
    assert results == "5.25\n-0.5\n2.5\n"
    assert submit == leaderboard == "index\tprediction\n0\t5.000\n1\t0.000\n2\t2.500\n"
