"""Scores of whole arrays: the metrics of the GLUE benchmark, by scikit-learn and SciPy.

Every function takes the labels and the predictions of all examples, [N] each in the same order, and returns a float.
Knows no task and no TensorFlow. The libraries are imported where they are used: they take a second to load, which
`--help` and the processes that only tokenize need not pay.
"""

import warnings
from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of class ids that are equal."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predictions))


def f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """F1 of class 1 against class 0; 0 when class 1 is neither there nor predicted."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, pos_label=1, average="binary", zero_division=0))


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


def _correlation(statistic: Callable, labels: np.ndarray, predictions: np.ndarray) -> float:
    if len(labels) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant predictions are normal early in training
        # In float64: sums over thousands of float32 scores would lose the last digits that reports show.
        return float(statistic(np.asarray(labels, np.float64), np.asarray(predictions, np.float64)).statistic)
