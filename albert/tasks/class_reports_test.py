"""Expected figures by hand."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from albert.system.files import Pieces
from albert.tasks import class_reports
from albert.tasks import text as tasks_text
from albert.tasks.base import Example, Labels, MultiLabels, Score
from albert.tasks.class_reports import (
    classification_report,
    confusion_csv,
    confusion_matrix,
    predictions_csv,
    score_without_reading,
)
from albert.tasks.examples import Examples
from albert.tasks.metrics import f1_macro, f1_micro, f1_weighted
from albert.tasks.registry import get_task
from albert.tasks.text import probabilities_table

NAMES = ("a", "b", "c", "nowhere")
LABELS, PREDICTIONS = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 0, 1, 2])


def test_the_report_has_every_class_and_means_over_those_that_are_there():
    report = classification_report(Labels(NAMES), LABELS, PREDICTIONS)
    assert list(report["classes"]) == list(NAMES)
    assert report["classes"]["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3})
    assert report["classes"]["b"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2})
    assert report["classes"]["nowhere"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert report["accuracy"] == pytest.approx(4 / 6)
    assert report["macro"]["recall"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert report["weighted"]["precision"] == pytest.approx((3 * 2 / 3 + 2 * 1 / 2 + 1) / 6)
    assert report["macro"]["support"] == 6
    assert report["macro"]["f1"] == pytest.approx(f1_macro(LABELS, PREDICTIONS))
    assert report["weighted"]["f1"] == pytest.approx(f1_weighted(LABELS, PREDICTIONS))
    assert "micro" not in report  # that is accuracy


def test_the_report_of_several_labels():
    # Label a: tp=1 fp=1 fn=0; b: tp=1 fp=0 fn=1; c: nowhere.
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    predictions = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    report = classification_report(MultiLabels(("a", "b", "c")), labels, predictions)
    assert report["classes"]["a"] == pytest.approx({"precision": 1 / 2, "recall": 1, "f1": 2 / 3, "support": 1})
    assert report["classes"]["b"] == pytest.approx({"precision": 1, "recall": 1 / 2, "f1": 2 / 3, "support": 2})
    assert report["accuracy"] == pytest.approx(2 / 3)
    for average, metric in (("micro", f1_micro), ("macro", f1_macro), ("weighted", f1_weighted)):
        assert report[average]["f1"] == pytest.approx(metric(labels, predictions))


def test_the_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    matrix = confusion_matrix(4, LABELS, PREDICTIONS)
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    text = confusion_csv(("a", 'b "x", y', "c", "d"), matrix)
    rows = list(csv.reader(io.StringIO(text), strict=True))
    assert rows[0] == ["label \\ prediction", "a", 'b "x", y', "c", "d"]
    assert rows[2] == ['b "x", y', "1", "1", "0", "0"]
    assert len(text.splitlines()) == 5


def _rows(text: Pieces) -> list[list[str]]:
    return list(csv.reader(io.StringIO(str(text), newline=""), strict=True))


def test_predictions_stand_beside_their_texts_which_may_hold_anything():
    items = [Example("7", 'a "quoted", line\nand\ranother', "second", 0), Example("x", "", "", 1)]
    predictions = {"predictions": np.array([1, 1]), "probabilities": np.array([[0.25, 0.75], [0.125, 0.875]])}
    rows = _rows(predictions_csv(items, ("title", "body"), Labels(("no", "yes")), predictions))
    assert rows == [
        ["index", "title", "body", "label", "prediction", "score"],
        ["7", 'a "quoted", line\nand\ranother', "second", "no", "yes", "0.75"],
        ["x", "", "", "yes", "yes", "0.875"],
    ]


def test_predictions_are_the_same_whatever_is_made_of_them_at_once(monkeypatch):
    items = Examples([Example(str(number), f"text {number}", None, number % 2) for number in range(7)])
    probabilities = np.linspace(0, 1, 14).reshape(7, 2)
    predictions = {"predictions": probabilities.argmax(axis=1), "probabilities": probabilities}
    text = predictions_csv(items, ("text",), Labels(("no", "yes")), predictions)
    whole, table = str(text), str(probabilities_table(predictions))
    for module in (class_reports, tasks_text):
        monkeypatch.setattr(module, "ROWS_OF_A_PIECE", 3)
    assert len(list(text)) == 4  # the header's, and those of 3, 3 and 1 rows
    assert (str(text), str(probabilities_table(predictions))) == (whole, table)
    assert len(_rows(text)) == 8


def test_several_labels_have_a_score_each_and_rows_without_label_none():
    items = [Example("0", "x", None, (1, 0, 1)), Example("1", "y", None, None), Example("2", "z", None, (0, 0, 0))]
    probabilities = np.array([[0.75, 0.5, 0.625], [0, 0.875, 0], [0, 0, 0.25]])
    predictions = {"predictions": (probabilities > 0.5).astype(int), "probabilities": probabilities}
    rows = _rows(predictions_csv(items, ("text",), MultiLabels(("a", "b", "c")), predictions))
    assert rows == [
        ["index", "text", "label", "prediction", "score"],
        ["0", "x", "a|c", "a|c", "0.75|0.625"],
        ["1", "y", "", "b", "0.875"],
        ["2", "z", "", "", ""],
    ]


def test_scores_have_no_probability():
    items = [Example("0", "x", None, 3.8), Example("1", "y", None, None)]
    predictions = {"predictions": np.array([4.0, 5.5], np.float32), "probabilities": np.zeros((2, 1))}
    rows = _rows(predictions_csv(items, ("text",), Score(0, 5), predictions))
    assert rows == [["index", "text", "label", "prediction"], ["0", "x", "3.8", "4.000"], ["1", "y", "", "5.000"]]


def _items(labels):
    return [Example(str(number), "x", None, label) for number, label in enumerate(labels)]


# F1 of class 1 for always answering 1: precision 3/4 or 1/4, recall 1.
@pytest.mark.parametrize(
    ("task", "metric", "labels", "score"),
    [
        ("mrpc", "eval_accuracy", [1, 1, 1, 0], 3 / 4),
        ("mrpc", "f1", [1, 1, 1, 0], 6 / 7),
        ("mrpc", "f1", [0, 0, 0, 1], 2 / 5),
        ("mrpc", "f1", [0, 0], 0),
        ("mrpc", "eval_accuracy", [0, 0, 0, 1], 3 / 4),
        ("mrpc", "auroc", [0, 0, 0, 1], 1 / 2),
        ("mrpc", "matthews_correlation", [0, 0, 0, 1], 0),
        ("mnli", "f1_macro", [0, 0, 1, 2], (2 / 3 + 0 + 0) / 3),
        ("sts-b", "pearson", [0.0, 1.0, 5.0], 0),
        ("sts-b", "rmse", [1.0, 3.0], 1),
        ("mrpc", "eval_loss", [0, 1], None),
    ],
)
def test_what_a_constant_answer_scores(task, metric, labels, score):
    task = get_task(task).with_best_metric(metric)
    assert score_without_reading(task, _items(labels)) == (score if score is None else pytest.approx(score))


def test_the_constant_answer_to_several_labels_is_the_majority_of_each():
    task = dataclasses.replace(get_task("mrpc"), output=MultiLabels(("a", "b"))).with_best_metric("f1_micro")
    # Always (1, 0): tp=2 fp=1 fn=1.
    items = _items([(1, 0), (1, 1), (0, 0)])
    assert score_without_reading(dataclasses.replace(task, metrics=task.metrics[2:]), items) == pytest.approx(4 / 6)
