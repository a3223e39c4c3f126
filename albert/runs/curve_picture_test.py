import math

import PIL.Image
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from albert.engine.evaluations import Evaluation
from albert.runs.curve_picture import draw_curve
from albert.runs.tensorboard_events import TensorBoard
from albert.runs.training_log import TrainingLog, read_training_log
from albert.testing import evaluation_of_f1, step_records


@pytest.mark.parametrize("num_steps", [1, 120])
def test_the_curve_is_a_picture_that_shows_something(tmp_path, num_steps):
    folder = tmp_path / "run_$x_{"  # must not be taken for a formula
    folder.mkdir()
    log = TrainingLog(folder, 10)
    log.on_start(0)
    log.on_steps(step_records(1, num_steps))
    evaluations = [evaluation_of_f1(1, 0.5, True), evaluation_of_f1(num_steps, math.nan, False)]
    assert draw_curve(folder, evaluations, "f1") == folder / "training_curve.png"
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
    log = TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(step_records(1, num_steps))
    draw_curve(tmp_path, [evaluation_of_f1(num_steps, 0.5, True)], "f1")
    (figure,) = drawn
    axes, metric_axes = figure.axes
    ticks = axes.get_xticks()
    assert list(ticks) == [round(tick) for tick in ticks]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [label, "dev loss", "dev f1"]
    dev_loss = next(line for line in axes.lines if line.get_label() == "dev loss")
    assert dev_loss.get_xydata().tolist() == [[num_steps, 0.25]]
    assert metric_axes.lines[0].get_xydata().tolist() == [[num_steps, 0.5]]


def test_the_curve_follows_the_steps_where_older_checkpoints_were_evaluated_later(tmp_path, drawn):
    log = TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(step_records(1, 9))
    evaluations = [evaluation_of_f1(9, 0.5, True), evaluation_of_f1(3, 0.25, False), evaluation_of_f1(6, 0.75, True)]
    draw_curve(tmp_path, evaluations, "f1")
    metrics, best = drawn[0].axes[1].lines
    assert metrics.get_xydata().tolist() == [[3, 0.25], [6, 0.75], [9, 0.5]]
    assert best.get_xydata().tolist() == [[6, 0.75]]
    dev_loss = next(line for line in drawn[0].axes[0].lines if line.get_label() == "dev loss")
    assert dev_loss.get_xdata().tolist() == [3, 6, 9]


def test_the_curve_draws_a_dev_loss_only_where_there_is_one(tmp_path, drawn):
    log = TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(step_records(1, 3))
    for losses in ({}, {"eval_loss": math.nan}):
        draw_curve(tmp_path, [Evaluation(3, {"f1": 0.5, **losses}, "f1", True)], "f1")
        labels = [text.get_text() for text in drawn.pop().legends[0].get_texts()]
        assert labels == ["training loss", "dev f1"]


@pytest.mark.parametrize("num_steps", [2, 120])
def test_a_loss_that_is_not_a_number_is_null_in_the_log_and_a_gap_elsewhere(tmp_path, num_steps):
    log, board = TrainingLog(tmp_path, 10), TensorBoard(tmp_path, {})
    for observer in (log, board):
        observer.on_start(0)
        observer.on_steps(step_records(1, 1, math.nan))
        observer.on_steps(step_records(2, num_steps))
        observer.on_steps(step_records(num_steps + 1, num_steps + 1, math.inf))
    losses = [row["loss"] for row in read_training_log(tmp_path / "training_log.jsonl")]
    assert losses == [None, *[0.5] * (num_steps - 1), None]
    assert draw_curve(tmp_path, [], "f1")
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Tensors("train/loss")] == [num_steps]
    assert [event.step for event in events.Tensors("train/gradient_norm")] == [1, num_steps, num_steps + 1]


def test_a_run_without_a_finite_loss_has_a_curve_too(tmp_path):
    log = TrainingLog(tmp_path, 10)
    log.on_start(0)
    log.on_steps(step_records(1, 3, math.nan))
    assert draw_curve(tmp_path, [], "f1")


def test_without_training_there_is_no_curve(tmp_path):
    assert draw_curve(tmp_path, [], "f1") is None
    assert list(tmp_path.iterdir()) == []
