"""What a run says of the dev split beside the metrics, by its best checkpoint: files, and a warning."""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from albert.engine.evaluations import Evaluation
from albert.engine.throughput import StepRecord
from albert.runs.confusion_picture import MAX_CLASSES, draw_confusion
from albert.runs.split_data import SplitData
from albert.system.files import Text
from albert.tasks.base import Example, Labels, MultiLabels, Tags
from albert.tasks.class_reports import (
    MAX_CONFUSION_CLASSES,
    classification_report,
    confusion_csv,
    confusion_matrix,
    predictions_csv,
    score_without_reading,
)
from albert.tasks.examples import labels_of
from albert.tasks.squad.metrics import score_without_answers
from albert.tasks.tags.task import TagsTask
from albert.tasks.text import TextTask

Predictions = Mapping[str, np.ndarray]


class DevReports:
    """Scores the dev split, and keeps the predictions of the best checkpoint for the reports.

    `step` tells which checkpoint is scored; `predict_best` gives the predictions of the best one again, where this
    process did not score it: a run that continues may have found it before.
    """

    def __init__(self, data: SplitData, step: Callable[[], int], predict_best: Callable[[], Predictions]):
        self._data = data
        self._step = step
        self._predict_best = predict_best
        self._latest: tuple[int, Predictions] | None = None
        self._best: tuple[int, Predictions] | None = None

    @property
    def labels(self) -> Sequence[str]:
        """The names of the task's labels; none if it predicts other things."""
        output = self._data.task.output
        return output.names if isinstance(output, Labels | MultiLabels | Tags) else ()

    def score(self, predictions: Predictions) -> dict[str, float]:
        """The task's metrics."""
        if isinstance(self._data.task, TextTask | TagsTask):
            self._latest = self._step(), predictions
        return self._data.score(predictions)

    def on_start(self, first_step: int) -> None:
        """Nothing is scored yet."""

    def on_steps(self, records: Sequence[StepRecord]) -> None:
        """Only evaluations count."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Keeps the predictions of a new best checkpoint."""
        if evaluation.is_best:
            self._best = self._latest

    def predictions(self, metrics: Mapping[str, float], agree: Callable[[Callable[[], bool]], bool]) -> Predictions:
        """What `files` needs: the predictions of the best checkpoint, whose `metrics` these are.

        Of several workers, for whom `agree` decides, the first has followed the training, but all must predict again.
        """
        if not isinstance(self._data.task, TextTask | TagsTask):
            return {}
        kept = [found for found in (self._best, self._latest) if found and found[0] == metrics["global_step"]]
        if agree(lambda: bool(kept)):
            return kept[0][1] if kept else {}
        return self._predict_best()

    def files(self, predictions: Predictions) -> dict[str, Text]:
        """The files on the best checkpoint by name, from its `predictions`; none for tasks of other kinds."""
        task = self._data.task
        if isinstance(task, TagsTask):
            return dict(task.report_files(self._data.items, predictions, self._data.records))
        return report_files(task, self._data.items, predictions) if isinstance(task, TextTask) else {}

    def warn_where_nothing_is_learnt(self, metrics: Mapping[str, float]) -> None:
        """Logs a warning where always giving the same answer would score as well."""
        task = self._data.task
        if isinstance(task, TagsTask):
            constant = task.score_without_reading(self._data.items)
        elif isinstance(task, TextTask):
            constant = score_without_reading(task, self._data.items)
        else:
            constant = score_without_answers(metrics, task.best_metric)
        if constant is None:
            return
        reached = metrics[task.best_metric]
        is_better = reached < constant if task.lower_is_better else reached > constant
        if is_better and not math.isclose(reached, constant):  # the two are computed in different ways
            return
        logging.warning(
            "dev %s = %.4f is no better than %.4f, the score of a constant answer: the model has learnt nothing yet. "
            "Train longer, or with another `learning_rate`.", task.best_metric, reached, constant,
        )  # fmt: skip


def report_files(task: TextTask, items: Sequence[Example], predictions: Predictions) -> dict[str, Text]:
    """`dev_predictions.csv`; for labels `classification_report.json`, for one label an example `confusion_matrix.*`."""
    files: dict[str, Text] = {
        "dev_predictions.csv": predictions_csv(items, task.text_columns, task.output, predictions)
    }
    if not isinstance(task.output, Labels | MultiLabels):
        return files
    labels, predicted = labels_of(items), np.asarray(predictions["predictions"])
    report = classification_report(task.output, labels, predicted)
    files["classification_report.json"] = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    names = task.output.names
    if isinstance(task.output, Labels) and len(names) <= MAX_CONFUSION_CLASSES:
        matrix = confusion_matrix(len(names), labels, predicted)
        files["confusion_matrix.csv"] = confusion_csv(names, matrix)
        if len(names) <= MAX_CLASSES:
            files["confusion_matrix.png"] = draw_confusion(names, matrix)
    return files
