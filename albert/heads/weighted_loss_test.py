"""Against torch's formula of label smoothing, and the definition of class weights, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from albert.heads.pooled import ClassificationHead
from albert.heads.weighted_loss import WeightedCrossEntropy, with_loss
from albert.testing import tiny_config


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 7.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_loss_equals_an_independent_computation(weights, smoothing):
    rng = np.random.default_rng(1)
    logits, label_ids = rng.normal(size=(8, 3)) * 3, rng.integers(0, 3, 8)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.full((8, 3), smoothing / 3)
    targets[np.arange(8), label_ids] += 1 - smoothing
    expected = -(targets * np.log(probabilities)).sum(axis=1) * np.array(weights or (1, 1, 1))[label_ids]
    head = with_loss(ClassificationHead(tiny_config(), num_labels=3), WeightedCrossEntropy(weights, smoothing))
    loss = tf.function(head.per_example_loss, jit_compile=True)
    found = loss({"logits": tf.constant(logits, tf.float32)}, {"label_ids": tf.constant(label_ids, tf.int32)})
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
