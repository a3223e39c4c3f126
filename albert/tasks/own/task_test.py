"""What a test file of own data is scored by. No TensorFlow."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from albert.errors import UserError
from albert.tasks.base import Example, Labels, MultiLabels
from albert.tasks.own.build import Known, own_data_task
from albert.tasks.own.settings import OwnDataSettings

TWO = [("a", "x"), ("b", "y")]
MODEL = Path("out/model.json")


def _csv(path, rows, header=("text", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def _task(folder, rows=TWO, **settings):
    """A task that is trained on `rows`."""
    train = _csv(folder / "train.csv", rows)
    return own_data_task(OwnDataSettings(train_file=train, **settings), 42, ("train",))


def _labels_read(output, path, **settings):
    """The labels of a test file that a model predicts which is there already."""
    known = Known(output, ("text",), MODEL)
    task = own_data_task(OwnDataSettings(test_file=path, **settings), 42, ("test",), known)
    return [example.label for example in task.read("test", Path())]


def _predicted(*numbers):
    return {"predictions": np.array(numbers), "probabilities": np.eye(2)[list(numbers)]}


def test_the_rows_of_a_test_file_that_have_a_label_are_scored(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    task = _task(tmp_path)
    items = [Example(str(n), "text", None, label) for n, label in enumerate((0, None, 1, 1, None))]
    scores = json.loads(task.result_files(items, _predicted(0, 0, 1, 0, 1))["test_scores.json"])
    assert scores["rows"] == 3
    assert scores["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert scores["metrics"].keys() == dict(task.metrics).keys()
    assert "test: accuracy = 0.6667" in caplog.text
    assert "over those with a label, 3 of 5 rows" in caplog.text


def test_without_labels_a_test_file_has_no_scores(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    items = [Example("0", "text", None, None)]
    files = _task(tmp_path).result_files(items, _predicted(1))
    assert sorted(files) == ["test_predictions.csv", "test_results.tsv"]
    assert "nothing is scored: no label was found" in caplog.text


def test_several_labels_and_scores_are_scored_too(tmp_path):
    several = _task(
        tmp_path, [("a", "x|y"), ("b", "y")], problem_type="multi_label_classification", label_delimiter="|"
    )
    labels = np.array([[1, 1], [0, 1]])
    items = [Example(str(n), "text", None, tuple(label)) for n, label in enumerate(labels.tolist())]
    found = json.loads(
        several.result_files(items, {"predictions": labels, "probabilities": labels})["test_scores.json"]
    )
    assert (found["rows"], found["metrics"]["f1_macro"]) == (2, 1.0)
    score = _task(tmp_path, [("a", "1.5"), ("b", "2.5")], problem_type="regression")
    items = [Example("0", "text", None, 1.5)]  # one row has no correlation, which JSON cannot say
    predictions = {"predictions": np.array([2.0]), "probabilities": np.array([[2.0]])}
    found = json.loads(score.result_files(items, predictions)["test_scores.json"])
    assert found["rows"] == 1
    assert found["metrics"].keys() == dict(score.metrics).keys()


def test_a_test_file_whose_first_record_has_no_label_is_scored(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "label": "y"}\n{"text": "c", "label": "x"}\n')
    assert _labels_read(Labels(("x", "y")), path) == [None, 1, 0]


def test_a_label_column_that_no_file_has_is_refused(tmp_path):
    path = _csv(tmp_path / "test.csv", [("a", "1")], ("text", "id"))
    assert _labels_read(Labels(("x", "y")), path) == [None]
    with pytest.raises(UserError, match=r"test.csv: no column 'foo' for `label_column_name`; its columns are 'text'"):
        _labels_read(Labels(("x", "y")), path, label_column_name="foo")
    # It is that of the training file, and one setting is for all files.
    train = _csv(tmp_path / "train.csv", TWO, ("text", "foo"))
    settings = OwnDataSettings(train_file=train, test_file=path, label_column_name="foo")
    assert [example.label for example in own_data_task(settings, 42, ("train", "test")).read("test", Path())] == [None]


def test_a_column_that_only_looks_like_labels_is_named_with_a_way_out(tmp_path):
    path = _csv(tmp_path / "test.csv", [("a", "x"), ("b", "red")], ("text", "category"))
    with pytest.raises(
        UserError,
        match=r"test.csv, line 3: label 'red' in column 'category' does not occur in out/model.json; known are x, y. "
        r"Correct the label, or choose another column with `label_column_name`, or rename this one if it holds "
        r"something else\.$",
    ):
        _labels_read(Labels(("x", "y")), path)


def test_a_model_of_several_labels_reads_its_own_delimiter(tmp_path):
    path = _csv(tmp_path / "test.csv", [("a", "x;y"), ("b", ""), ("c", "y")])
    assert _labels_read(MultiLabels(("x", "y"), ";"), path) == [(1, 1), (0, 0), (0, 1)]
    other = _csv(tmp_path / "other.csv", [("a", "x,y")])
    assert _labels_read(MultiLabels(("x", "y"), ";"), other, label_delimiter=",") == [(1, 1)]
    # Labels of lists in JSON may have the delimiter in them: then no text is split.
    with pytest.raises(UserError, match=r"line 2: column 'label' holds 'x;y', not a list of labels; `label_delimiter`"):
        _labels_read(MultiLabels(("x;y", "x", "y"), ";"), path)


def test_cells_that_are_all_empty_are_no_labels(tmp_path):
    several = _task(tmp_path, [("a", "x|y"), ("b", "y")], label_delimiter="|")
    none = np.zeros((2, 2), int)
    predictions = {"predictions": none, "probabilities": none}
    items = [Example(str(n), "text", None, label) for n, label in enumerate([(0, 0), (0, 0)])]
    assert "test_scores.json" not in several.result_files(items, predictions)
    items[1] = Example("1", "text", None, (0, 1))
    assert json.loads(several.result_files(items, predictions)["test_scores.json"])["rows"] == 2
