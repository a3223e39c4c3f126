"""What is said of predictions beside their metrics: a report by class, a confusion matrix, a table of all of them.

Pure functions of examples and predictions, for every task whose examples are texts. No files: `runs` writes them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from albert.system.csv_text import csv_lines
from albert.system.files import ROWS_OF_A_PIECE, Pieces
from albert.tasks.base import Example, Labels, MultiLabels, Score
from albert.tasks.examples import labels_of
from albert.tasks.metrics import EVAL_LOSS, accuracy
from albert.tasks.text import TextTask

# A table of more classes would have more than a million cells.
MAX_CONFUSION_CLASSES = 1000


def classification_report(output: Labels | MultiLabels, labels: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
    """Precision, recall, F1 and support of every class and their means, of `labels` and `predictions` [N] or [N, C].

    "macro" is the mean over the classes that are there or predicted (of several labels an example: over all),
    "weighted" over the classes as often as they are there, "micro" of all decisions on several labels together. So
    "f1" there equals the metrics f1_macro, f1_weighted and f1_micro. What has a denominator of 0 is 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    count = len(output.names)
    several = isinstance(output, MultiLabels)

    def figures(average: str | None, classes: Sequence[int]) -> tuple:
        chosen = {} if several else {"labels": list(classes)}
        return precision_recall_fscore_support(labels, predictions, average=average, zero_division=0, **chosen)

    by_class = np.array(figures(None, range(count)))
    there = np.union1d(labels, predictions).tolist()
    support = int(by_class[3].sum())
    averages = ("micro", "macro", "weighted") if several else ("macro", "weighted")
    return {
        "classes": {name: _figures(by_class[:, c]) for c, name in enumerate(output.names)},
        "accuracy": accuracy(labels, predictions),
        **{average: _figures([*figures(average, there)[:3], support]) for average in averages},
    }


def _figures(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    precision, recall, f1, support = values
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}


def confusion_matrix(num_classes: int, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """int64 [C, C]: how many examples of the class of the row were taken for that of the column."""
    cells = np.bincount(num_classes * labels.astype(np.int64) + predictions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def confusion_csv(names: Sequence[str], matrix: np.ndarray) -> str:
    """The matrix with the names: a row for each label, a column for each prediction."""
    rows = [[name, *row] for name, row in zip(names, matrix, strict=True)]
    return csv_lines([["label \\ prediction", *names], *rows])


def predictions_csv(
    items: Sequence[Example],
    text_columns: Sequence[str],
    output: Labels | MultiLabels | Score,
    predictions: Mapping[str, np.ndarray],
) -> Pieces:
    """One row an example: `index`, its texts, `label` if it has one, `prediction` and, for labels, its `score`.

    The score is the probability of what is predicted; of several labels those of each, with the delimiter between.
    """
    predicted, probabilities = (np.asarray(predictions[name]) for name in ("predictions", "probabilities"))
    assert len(predicted) == len(items), f"{len(items)} examples, {len(predicted)} predictions"
    has_scores = not isinstance(output, Score)

    def pieces() -> Iterator[str]:
        yield csv_lines([["index", *text_columns, "label", "prediction", *(["score"] if has_scores else [])]])
        for begin in range(0, len(items), ROWS_OF_A_PIECE):
            some = slice(begin, begin + ROWS_OF_A_PIECE)
            scores = _scores(output, predicted[some], probabilities[some])
            rows = []
            for number, (item, prediction) in enumerate(zip(items[some], output.format(predicted[some]), strict=True)):
                texts = [item.text_a, item.text_b or ""][: len(text_columns)]
                row = [item.guid, *texts, _label_text(output, item.label), prediction]
                rows.append([*row, scores[number]] if has_scores else row)
            yield csv_lines(rows)

    return Pieces(pieces)


def _scores(output: Labels | MultiLabels | Score, predicted: np.ndarray, probabilities: np.ndarray) -> list[str]:
    if isinstance(output, Score):
        return []
    if isinstance(output, Labels):
        return [f"{p:.6g}" for p in np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0]]
    return [
        output.join_scores([f"{p:.6g}" for p in row[there > 0]])
        for row, there in zip(probabilities, predicted, strict=True)
    ]


def _label_text(output: Labels | MultiLabels | Score, label: int | float | tuple[int, ...] | None) -> str:
    if label is None:
        return ""
    return f"{label:.7g}" if isinstance(output, Score) else output.format(np.array([label]))[0]


def score_without_reading(task: TextTask, items: Sequence[Example]) -> float | None:
    """The task's best metric of always giving the same answer: the best that needs no look at the texts.

    That is the most frequent class, or for the F1 of class 1 that one; of several labels each that more than half of
    the examples have; or the mean score. None where the metric is the loss; a correlation with a constant counts as 0.
    """
    if task.best_metric == EVAL_LOSS:
        return None
    labels = labels_of(items)
    answers: list[Any]
    if isinstance(task.output, Labels):
        count = len(task.output.names)
        answers = [np.bincount(labels).argmax(), *([1] if count == 2 else [])]
        probabilities = np.full((len(items), count), 1 / count)
    elif isinstance(task.output, MultiLabels):
        answers = [(labels.mean(axis=0) > 0.5).astype(int)]
        probabilities = np.broadcast_to(labels.mean(axis=0), labels.shape)
    else:
        answers = [labels.mean()]
        probabilities = np.full((len(items), 1), answers[0])

    def score_of(answer: Any) -> float:
        predictions = {"predictions": np.broadcast_to(answer, labels.shape), "probabilities": probabilities}
        score = task.score(items, predictions)[task.best_metric]
        return 0.0 if math.isnan(score) else score

    return max(map(score_of, answers))  # of several, only where more is better
