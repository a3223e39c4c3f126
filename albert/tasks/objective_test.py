"""Metrics, class weights and label smoothing that a user chooses: what fits which task, and what is refused how."""

import dataclasses
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from albert.errors import UserError
from albert.settings import ObjectiveSettings
from albert.tasks.base import Labels, MultiLabels, Tags
from albert.tasks.objective import (
    LossChoice,
    balanced_weights,
    objective_problems,
    read_class_weights,
    with_metric,
)
from albert.tasks.race import RaceTask
from albert.tasks.registry import get_task
from albert.tasks.squad.task import SquadTask

OUTPUTS = Path(__file__).parents[2] / "docs/outputs.md"
SEVERAL = dataclasses.replace(get_task("sst-2"), output=MultiLabels(("a", "b", "c")))
OF_CLASSES = "accuracy, f1_macro, f1_weighted, f1_micro, matthews_correlation"


def _with_metric(task, name):
    return with_metric(task, ObjectiveSettings(metric_for_best_model=name))


@pytest.mark.parametrize(
    ("task", "fitting"),
    [
        (get_task("mrpc"), f"{OF_CLASSES}, f1, auroc, eval_accuracy, eval_loss"),
        (get_task("mnli"), f"{OF_CLASSES}, eval_accuracy, eval_loss"),
        (get_task("sts-b"), "pearson, spearman, rmse, MSE, eval_loss"),
        (SEVERAL, "accuracy, f1_macro, f1_weighted, f1_micro, eval_accuracy, eval_loss"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_with_those_that_do(task, fitting):
    with pytest.raises(UserError) as raised:
        _with_metric(task, "bleu")
    assert str(raised.value) == f"`metric_for_best_model`=bleu does not fit task {task.name}: use one of {fitting}."
    for name in fitting.split(", "):
        chosen = _with_metric(task, name)
        assert chosen.lower_is_better == (name in ("rmse", "MSE", "eval_loss"))
        assert chosen.best_metric == "eval_loss" or chosen.best_metric in dict(chosen.metrics)
        if isinstance(task.output, Labels):
            assert chosen.identity() == task.identity()


def test_a_metric_that_the_task_has_keeps_its_name_and_another_is_added():
    mrpc = get_task("mrpc")
    assert _with_metric(mrpc, None) is mrpc
    assert _with_metric(mrpc, "f1") == mrpc
    assert _with_metric(mrpc, "accuracy") == dataclasses.replace(mrpc, best_metric="eval_accuracy")
    assert [name for name, _ in _with_metric(mrpc, "f1_macro").metrics] == ["eval_accuracy", "f1", "f1_macro"]
    with pytest.raises(UserError, match=r"=f1 does not fit task race: use accuracy\.$"):
        _with_metric(RaceTask(), "f1")


def test_auroc_is_of_the_probabilities():
    task = _with_metric(get_task("mrpc"), "auroc")
    items = [_example()._replace(label=label) for label in (0, 1, 0, 1)]
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    scores = task.score(items, {"predictions": np.zeros(4, int), "probabilities": probabilities})
    assert scores == {"eval_accuracy": 0.5, "f1": 0.0, "auroc": pytest.approx(3 / 4)}


def _example():
    from albert.tasks.base import Example

    return Example("0", "x", None, 0)


# Class weights --------------------------------------------------------------------------------------------------------


def test_balanced_weights_have_mean_one_over_the_examples(caplog):
    label_ids = np.repeat([0, 1, 2], [50, 10, 1])
    weights = balanced_weights("abc", label_ids)
    assert weights == pytest.approx((61 / 150, 61 / 30, 61 / 3))
    assert np.mean(np.array(weights)[label_ids]) == pytest.approx(1)
    assert not caplog.records


def test_a_class_without_examples_is_named(caplog):
    assert balanced_weights("abc", np.array([0, 0, 2])) == (0.75, 0.0, 1.5)
    balanced_weights("abc", np.array([0]))
    assert [message.partition(", ")[0].partition("No training example has ")[2] for message in caplog.messages] == [
        "label 'b': nothing is learnt of it",
        "one of the labels 'b'",
    ]


def test_weights_come_from_a_file_in_the_order_of_the_labels(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"1": 3, "0": 0.5}))
    choice = LossChoice.of(get_task("mrpc"), ObjectiveSettings(class_weights=str(path), label_smoothing_factor=0.1))
    assert choice == LossChoice((0.5, 3.0), 0.1)
    assert choice.identity() == {"class_weights": (0.5, 3.0), "label_smoothing": 0.1}
    assert choice.weights_for(("0", "1"), np.array([0])) == (0.5, 3.0)
    assert "Class weights in the training loss: 0 0.5, 1 3." in caplog.text


def test_without_a_choice_the_identity_of_a_run_is_what_it_was():
    assert LossChoice.of(get_task("sts-b"), ObjectiveSettings()).identity() == {}
    assert LossChoice("balanced").identity() == {"class_weights": "balanced"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}', "label 'b' is missing"),
        ("{}", "labels 'a', 'b' are missing"),
        ('{"a": 1, "b": 1, "c": 2, "d": 2}', "labels 'c', 'd' are unknown"),
        ('{"a": 1, "b": 0}', "the weight of 'b' is 0, not a number above 0"),
        ('{"a": 1, "b": -1.5}', "the weight of 'b' is -1.5, not a number above 0"),
        ('{"a": 1, "b": true}', "the weight of 'b' is True, not a number above 0"),
        ('{"a": 1, "b": "2"}', "the weight of 'b' is '2', not a number above 0"),
        ('{"a": 1, "b": NaN}', "the weight of 'b' is nan, not a number above 0"),
        ('{"a": 1, "b": 1e400}', "the weight of 'b' is inf, not a number above 0"),
        ('{"a": 1, "a": 1, "b": 2}', "'a' appears twice"),
        ("[1, 2]", "not a JSON object"),
        ("", "empty"),
        (b"\xff", "UTF-8"),
        (b" " * ((1 << 20) + 1), "longer than 1048576 bytes"),
    ],
)
def test_what_is_not_a_file_of_weights_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "w.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as raised:
        read_class_weights(path, ("a", "b"))
    assert str(raised.value).startswith(f"`class_weights`={path}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("""a JSON file {"label": weight, ...} with the labels 'a', 'b'.""")


def test_a_missing_file_says_what_else_is_possible(tmp_path):
    with pytest.raises(UserError, match=r"No such file or directory\); give none, balanced, or a JSON file"):
        read_class_weights(tmp_path / "blanced", ("a", "b"))


def test_everything_that_does_not_fit_is_reported_together():
    settings = ObjectiveSettings("f1", "balanced", 0.1)
    assert objective_problems(get_task("sts-b"), settings) == [
        "`class_weights`=balanced and `label_smoothing_factor`=0.1 work with one label per text or word, not with "
        "scores: leave them out",
        "`metric_for_best_model`=f1 does not fit task sts-b: use one of pearson, spearman, rmse, MSE, eval_loss",
    ]
    for task, kind in ((SEVERAL, "several labels"), (RaceTask(), "options to choose from")):
        (problem,) = objective_problems(task, ObjectiveSettings(class_weights="balanced"))
        assert problem == (
            f"`class_weights`=balanced works with one label per text or word, not with {kind}: leave it out"
        )
    assert objective_problems(dataclasses.replace(SEVERAL, output=Labels(("a", "b"))), settings) == []
    of_tags = dataclasses.replace(SEVERAL, output=Tags(("O", "X")))
    assert objective_problems(of_tags, ObjectiveSettings(None, "balanced", 0.1)) == []


@pytest.mark.parametrize(
    ("row", "task"),
    [
        *(("SST-2, MNLI, QNLI, RTE, WNLI", get_task(name)) for name in ("sst-2", "mnli", "qnli", "rte", "wnli")),
        *(("MRPC, QQP", get_task(name)) for name in ("mrpc", "qqp")),
        ("CoLA", get_task("cola")),
        ("STS-B", get_task("sts-b")),
        ("RACE", RaceTask()),
        ("SQuAD 1.1", SquadTask(version="1.1")),
        ("SQuAD 2.0", SquadTask(version="2.0")),
    ],
)
def test_the_documentation_has_the_names_that_a_task_gives_its_metrics(row, task):
    (cell,) = re.findall(rf"^\| {re.escape(row)} \| (.*?) \|", OUTPUTS.read_text(), re.MULTILINE)
    names = re.findall(r"`(\w+)`", cell)
    assert names[0] == task.best_metric
    assert {name for name, _ in getattr(task, "metrics", ())} <= set(names)
