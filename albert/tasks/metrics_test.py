import math
import warnings

import numpy as np
import pytest

from albert.tasks import metrics

# By hand: tp=2 (rows 0, 1), fp=1 (row 2), fn=1 (row 3), tn=1 (row 4).
LABELS = np.array([1, 1, 0, 1, 0])
PREDICTIONS = np.array([1, 1, 1, 0, 0])


def test_accuracy_is_the_share_of_equal_classes():
    assert metrics.accuracy(LABELS, PREDICTIONS) == pytest.approx(3 / 5)


def test_f1_is_that_of_class_1():
    assert metrics.f1(LABELS, PREDICTIONS) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    # Exchanging the classes exchanges tp with tn: 2*1 / (2*1 + 1 + 1).
    assert metrics.f1(1 - LABELS, 1 - PREDICTIONS) == pytest.approx(1 / 2)


def test_matthews_correlation_follows_its_definition():
    # (tp*tn - fp*fn) / sqrt((tp+fp)(tp+fn)(tn+fp)(tn+fn)) = (2 - 1) / sqrt(3*3*2*2)
    assert metrics.matthews_correlation(LABELS, PREDICTIONS) == pytest.approx(1 / 6)


def test_correlations_follow_their_definitions():
    labels, predictions = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 5.0])
    # Deviations (-1, 0, 1) and (-2, -1, 3): 5 / sqrt(2 * 14). The ranks are equal.
    assert metrics.pearson(labels, predictions) == pytest.approx(5 / math.sqrt(28))
    assert metrics.spearman(labels, predictions) == pytest.approx(1.0)


def test_spearman_gives_ties_their_mean_rank():
    # Ranks (1, 2, 3) and (1.5, 1.5, 3): deviations (-1, 0, 1), (-.5, -.5, 1): 1.5 / sqrt(2 * 1.5).
    assert metrics.spearman(np.array([0.0, 1.0, 2.0]), np.array([4.0, 4.0, 5.0])) == pytest.approx(math.sqrt(3) / 2)


def test_mean_squared_error_by_hand():
    assert metrics.mean_squared_error(np.array([1.0, 2.0]), np.array([2.0, 4.0])) == pytest.approx((1 + 4) / 2)


def test_averages_of_f1_by_hand():
    # Class 0 has tp=2 fp=1 fn=1, F1 4/6; class 1 tp=1 fp=1 fn=1, 2/4; class 2 tp=1 fp=0 fn=0, 1. Supports 3, 2, 1.
    labels, predictions = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 0, 1, 2])
    assert metrics.f1_macro(labels, predictions) == pytest.approx((4 / 6 + 1 / 2 + 1) / 3)
    assert metrics.f1_weighted(labels, predictions) == pytest.approx((3 * 4 / 6 + 2 * 1 / 2 + 1) / 6)
    assert metrics.f1_micro(labels, predictions) == metrics.accuracy(labels, predictions) == pytest.approx(4 / 6)


def test_several_labels_an_example_by_hand():
    # Label 0: tp=1 fp=1 fn=0, F1 2/3; label 1: tp=1 fp=0 fn=1, 2/3; label 2 is nowhere, 0. Supports 1, 2, 0.
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    predictions = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert metrics.f1_micro(labels, predictions) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert metrics.f1_macro(labels, predictions) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert metrics.f1_weighted(labels, predictions) == pytest.approx(2 / 3)
    assert metrics.accuracy(labels, predictions) == pytest.approx(2 / 3)  # rows 0 and 2


def test_auroc_counts_pairs_in_the_right_order():
    # Of the 2 x 3 pairs (class 0, class 1): 0.2 is below all, 0.6 above one, below one, equal to one.
    labels, scores = np.array([0, 1, 0, 1, 1]), np.array([0.2, 0.3, 0.6, 0.6, 0.9], np.float32)
    assert metrics.auroc(labels, scores) == pytest.approx((3 + 1 + 0.5) / 6)
    assert math.isnan(metrics.auroc(np.ones(3, int), scores[:3]))


def test_rmse_by_hand():
    assert metrics.rmse(np.array([1.0, 2.0]), np.array([2.0, 4.0])) == pytest.approx(math.sqrt(2.5))


def test_undefined_scores_are_quiet():
    ones, constant = np.ones(4, np.int32), np.full(4, 2.5, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.matthews_correlation(np.array([0, 1, 0, 1]), ones) == 0
        assert metrics.matthews_correlation(ones, ones) == 0
        assert metrics.f1(1 - ones, 1 - ones) == 0
        for average in (metrics.f1_macro, metrics.f1_micro, metrics.f1_weighted):
            assert average(ones, 1 - ones) == 0
        assert math.isnan(metrics.pearson(np.arange(4.0), constant))
        assert math.isnan(metrics.spearman(np.arange(4.0), constant))
        assert math.isnan(metrics.pearson(np.zeros(1), np.zeros(1)))


def _real_rows(golden, task):
    """Labels and logits of all five batches, without the padding rows at the end of the last."""
    real = np.concatenate([golden[f"{task}/batch_{i}/is_real_example"] for i in range(5)]) > 0
    assert real.sum() == 37
    return [
        np.concatenate([golden[f"{task}/batch_{i}/{key}"] for i in range(5)])[real] for key in ("label_ids", "logits")
    ]


@pytest.mark.parametrize("task", ["mrpc", "mnli", "cola"])
def test_classification_scores_equal_the_original(testdata, task):
    # metrics.npz: the original's streaming metrics after the last batch, in float32.
    golden = np.load(testdata / "metrics.npz")
    labels, logits = _real_rows(golden, task)
    predictions = logits.argmax(-1)
    assert metrics.accuracy(labels, predictions) == pytest.approx(
        golden[f"{task}/after_batch_4/eval_accuracy"], abs=1e-6
    )
    if task == "cola":
        expected = golden["cola/after_batch_4/matthew_corr"]
        assert metrics.matthews_correlation(labels, predictions) == pytest.approx(expected, abs=1e-6)


def test_regression_scores_equal_the_original(testdata):
    golden = np.load(testdata / "metrics.npz")
    labels, logits = _real_rows(golden, "sts-b")
    assert metrics.pearson(labels, logits) == pytest.approx(golden["sts-b/after_batch_4/pearson"], abs=1e-6)
    assert metrics.mean_squared_error(labels, logits) == pytest.approx(golden["sts-b/after_batch_4/MSE"], abs=1e-6)
