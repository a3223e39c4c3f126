"""Reports of predictions made up by hand; no model."""

import dataclasses
import json

import numpy as np
import pytest

from albert.engine.evaluations import Evaluation
from albert.runs.dev_reports import DevReports
from albert.runs.split_data import SplitData
from albert.tasks.base import Example
from albert.tasks.race import RaceTask
from albert.tasks.registry import get_task
from albert.tasks.squad.task import SquadTask


def _data(task, labels):
    return SplitData(task, None, [Example(str(n), "x", "y", label) for n, label in enumerate(labels)])


def _predictions(classes):
    probabilities = np.eye(2)[classes]
    return {"predictions": np.array(classes), "probabilities": probabilities, "logits": probabilities}


def _must_not_be_called():
    raise AssertionError("the best checkpoint is not needed")


def _files(reports, step):
    return reports.files(reports.predictions({"global_step": step}, lambda decide: decide()))


def _accuracy(files):
    return json.loads(files["classification_report.json"])["accuracy"]


def test_the_reports_are_of_the_best_evaluation_and_not_of_the_newest():
    step = 0
    reports = DevReports(_data(get_task("mrpc"), [0, 1, 1]), lambda: step, _must_not_be_called)
    for step, classes, is_best in ((2, [0, 0, 1], True), (4, [0, 1, 1], True), (6, [1, 0, 0], False)):
        metrics = reports.score(_predictions(classes))
        reports.on_evaluation(Evaluation(step, metrics, "f1", is_best))
    files = _files(reports, 4)
    assert _accuracy(files) == 1
    assert set(files) == {
        "dev_predictions.csv",
        "classification_report.json",
        "confusion_matrix.csv",
        "confusion_matrix.png",
    }
    assert reports.labels == ("0", "1")


def test_what_an_earlier_process_scored_is_predicted_again():
    reports = DevReports(_data(get_task("mrpc"), [0, 1, 1]), lambda: 6, lambda: _predictions([0, 0, 1]))
    reports.on_evaluation(Evaluation(6, reports.score(_predictions([1, 0, 0])), "f1", False))
    assert _accuracy(_files(reports, 4)) == pytest.approx(2 / 3)
    assert _accuracy(_files(reports, 6)) == 0


def test_a_score_has_a_table_and_a_task_of_another_kind_no_reports():
    scores = {"predictions": np.array([1.0, 2.0]), "probabilities": np.ones((2, 1))}
    files = _files(DevReports(_data(get_task("sts-b"), [1.0, 2.5]), lambda: 0, lambda: scores), 0)
    assert set(files) == {"dev_predictions.csv"}
    reports = DevReports(_data(RaceTask(), []), lambda: 0, _must_not_be_called)
    assert _files(reports, 0) == {}
    assert reports.labels == ()


@pytest.mark.parametrize(
    ("task", "metric", "labels", "reached", "warning"),
    [
        ("mrpc", "eval_accuracy", [1, 1, 0], 2 / 3, "dev eval_accuracy = 0.6667 is no better than 0.6667"),
        ("mrpc", "eval_accuracy", [1, 1, 0], 0.7, None),
        ("mrpc", "eval_loss", [1, 1, 0], 9.0, None),
        ("sts-b", "rmse", [1.0, 3.0], 1.5, "dev rmse = 1.5000 is no better than 1.0000"),
        ("sts-b", "rmse", [1.0, 3.0], 0.5, None),
        ("sts-b", "pearson", [1.0, 3.0], float("nan"), "dev pearson = nan is no better than 0.0000"),
    ],
)
def test_a_model_that_learnt_nothing_is_reported(caplog, task, metric, labels, reached, warning):
    data = dataclasses.replace(_data(get_task(task), labels), task=get_task(task).with_best_metric(metric))
    DevReports(data, lambda: 0, _must_not_be_called).warn_where_nothing_is_learnt({metric: reached})
    said = [record.getMessage().partition(", the score")[0] for record in caplog.records]
    assert said == ([warning] if warning else [])


@pytest.mark.parametrize(("reached", "is_reported"), [(100 * 29 / 117, True), (24.7, True), (24.8, False)])
def test_a_model_that_answers_no_question_is_reported(caplog, reached, is_reported):
    reports = DevReports(_data(SquadTask(version="2.0"), []), lambda: 0, _must_not_be_called)
    reports.warn_where_nothing_is_learnt({"f1": reached, "total": 117, "NoAns_total": 29})
    assert ("is no better than 24.7863" in caplog.text) == is_reported
    reports.warn_where_nothing_is_learnt({"f1": 0.0, "total": 117})  # all questions have answers
    assert len(caplog.records) == is_reported
