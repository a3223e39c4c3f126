"""Scores of whole arrays: the metrics of the GLUE benchmark and others, by scikit-learn and SciPy.

Every function takes the labels and the predictions of all examples, [N] each in the same order, and returns a float.
Those for classes also take several labels an example, as 0 and 1 in [N, C], but for `f1` and `matthews_correlation`.
Knows no task and no TensorFlow. The libraries are imported where they are used: they take a second to load, which
`--help` and the processes that only tokenize need not pay.
"""

import warnings
from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]


# Of these the smaller value is the better one. `eval_loss` is the engine's name for the mean loss on the dev split.
EVAL_LOSS = "eval_loss"
LOWER_IS_BETTER = frozenset({"rmse", "MSE", EVAL_LOSS})


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of class ids that are equal; of several labels an example all must be."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predictions))


def f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """F1 of class 1 against class 0; 0 when class 1 is neither there nor predicted."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, pos_label=1, average="binary", zero_division=0))


def f1_micro(labels: np.ndarray, predictions: np.ndarray) -> float:
    """F1 of all decisions together; for one class an example that is accuracy."""
    return _averaged_f1("micro", labels, predictions)


def f1_macro(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean of the F1 of the classes that are there or predicted, each counting the same."""
    return _averaged_f1("macro", labels, predictions)


def f1_weighted(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean of the F1 of the classes, each counting as often as it is there."""
    return _averaged_f1("weighted", labels, predictions)


def _averaged_f1(average: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average=average, zero_division=0))


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: how often class 1 has a higher score than class 0; NaN where only one class is there.

    The one function here that does not take class ids as predictions, but the probability of class 1; see
    `READS_PROBABILITIES`.
    """
    from sklearn.metrics import roc_auc_score

    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(roc_auc_score(labels, np.asarray(scores, np.float64)))


def matthews_correlation(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Matthews' correlation of class ids; 0 where it is undefined (only one class present or predicted)."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a single class is normal early in training, not news for the terminal
        return float(matthews_corrcoef(labels, predictions))


def pearson(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Pearson's correlation; NaN where it is undefined (constant labels or predictions, fewer than two examples)."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, labels, predictions)


def spearman(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Spearman's rank correlation, ties by their mean rank; NaN where it is undefined, as for `pearson`."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, labels, predictions)


def mean_squared_error(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean of the squared differences."""
    return float(np.mean(np.square(np.asarray(labels, np.float64) - np.asarray(predictions, np.float64))))


def rmse(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Square root of the mean of the squared differences."""
    return mean_squared_error(labels, predictions) ** 0.5


# Given [N] probabilities of class 1 in place of predictions.
READS_PROBABILITIES = frozenset({auroc})


def _correlation(statistic: Callable, labels: np.ndarray, predictions: np.ndarray) -> float:
    if len(labels) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant predictions are normal early in training
        # In float64: sums over thousands of float32 scores would lose the last digits that reports show.
        return float(statistic(np.asarray(labels, np.float64), np.asarray(predictions, np.float64)).statistic)
