"""Expected numbers: testdata/heads.npz and gradients.npz, recorded from google-research/albert under TF 1.15."""

import numpy as np
import pytest
import tensorflow as tf

from albert import heads, modeling
from albert.testing import TINY_CONFIGS, below, golden, tiny_config, tiny_weights

HEADS, GRADIENTS = golden("heads"), golden("gradients")
TOLERANCE = 1e-5


def _head(name, config):
    if name == "stsb":
        return heads.RegressionHead(config)
    return heads.ClassificationHead(config, num_labels=int(name[-1]))


def _run(name, config_name):
    """The loss and every prediction of head `name` on its recorded batch, and the tape that saw them."""
    config = tiny_config(config_name)
    weights = tiny_weights(config_name) | {k: tf.constant(v) for k, v in below(HEADS, f"{name}/weights").items()}
    features = {k: tf.constant(v) for k, v in below(HEADS, f"{name}/inputs").items()}
    head = _head(name, config)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        inputs = [features[key] for key in ("input_ids", "input_mask", "segment_ids")]
        predictions = head.predict(weights, modeling.encode(config, weights, *inputs))
        per_example_loss = head.per_example_loss(predictions, features)
        loss = tf.reduce_mean(per_example_loss)
    return weights, predictions | {"per_example_loss": per_example_loss, "loss": loss}, tape


@pytest.mark.parametrize("config_name", TINY_CONFIGS)
@pytest.mark.parametrize("name", ["classification3", "classification2", "stsb"])
def test_losses_and_predictions_equal_the_original(name, config_name):
    _, found, _ = _run(name, config_name)
    expected = below(HEADS, f"{name}/{config_name}")
    assert set(expected) == set(found)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=TOLERANCE, rtol=0, err_msg=key)


@pytest.mark.parametrize(
    ("name", "config_name"),
    [("classification3", "tiny"), ("classification3", "tiny_groups"), ("classification2", "tiny"), ("stsb", "tiny")],
)
def test_gradients_equal_the_original(name, config_name):
    weights, found, tape = _run(name, config_name)
    gradients = tape.gradient(found["loss"], weights)
    expected = below(GRADIENTS, f"{name}/{config_name}")
    norms = {key: expected.pop(key) for key in list(expected) if key.startswith("_norms")}
    dense = {key: tf.convert_to_tensor(g) for key, g in gradients.items() if g is not None}
    assert set(dense) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(dense[key], value, atol=TOLERANCE, rtol=0, err_msg=key)
    np.testing.assert_allclose(
        tf.linalg.global_norm(list(dense.values())), norms["_norms/global_norm_dense"], rtol=1e-5
    )


def test_training_drops_pooled_units_and_evaluation_does_not():
    config = tiny_config()
    head = heads.ClassificationHead(config, num_labels=2)
    weights = modeling.AlbertModel(config, head.variable_specs).weights
    encoded = modeling.encode(config, weights, tf.ones([3, 4], tf.int32))
    key = modeling.DropoutKey(seed=0, step=tf.constant(1), rows=tf.range(3))
    trained = head.predict(weights, encoded, key)["logits"]
    assert np.abs(trained - head.predict(weights, encoded)["logits"]).max() > 0
