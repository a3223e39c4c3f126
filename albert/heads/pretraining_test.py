"""Expected numbers: heads.npz, gradients.npz and metrics.npz in testdata, recorded from google-research/albert."""

import json

import numpy as np
import pytest
import tensorflow as tf

from albert import modeling
from albert.data.pretraining_batches import MASKED_LM_EPSILON
from albert.heads.pretraining import PretrainingHead, metrics_of
from albert.testing import TESTDATA, TINY_CONFIGS, below, golden, tiny_config, tiny_weights

RECORDED, GRADIENTS = golden("heads"), golden("gradients")
TOLERANCE = 1e-5


def _features():
    """The recorded batch of 6 sequences, with the scale of its loss."""
    features = {key: tf.constant(value) for key, value in below(RECORDED, "pretraining/inputs").items()}
    features["next_sentence_labels"] = features["next_sentence_labels"][:, 0]
    scale = 6 / (tf.reduce_sum(features["masked_lm_weights"]) + MASKED_LM_EPSILON)
    return features | {"masked_lm_scale": tf.fill([6], scale)}


def _encode(name, weights, features, dtype=tf.float32):
    layout = modeling.TokenLayout.one_per_row(*(features[k] for k in ("input_ids", "input_mask", "segment_ids")))
    return modeling.encode(tiny_config(name), weights, layout, computation=modeling.Computation(dtype))


def _weights(name):
    return tiny_weights(name) | {k: tf.constant(v) for k, v in below(RECORDED, "pretraining/weights").items()}


@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_log_probabilities_and_losses_equal_the_original(name):
    features, weights, head = _features(), _weights(name), PretrainingHead(tiny_config(name))
    encoded = _encode(name, weights, features)
    expected = below(RECORDED, f"pretraining/{name}")
    products = head.masked_lm_products(weights, encoded, features["masked_lm_positions"])
    logits = products + weights["cls/predictions/output_bias"]
    order = head.sentence_order_logits(weights, encoded)
    found = head.predict(weights, encoded, features=features)
    masks = features["masked_lm_weights"].numpy()
    for values, wanted in [
        (tf.nn.log_softmax(logits), expected["masked_lm_log_probs"]),
        (tf.nn.log_softmax(order), expected["sentence_order_log_probs"]),
        (found["masked_lm_loss"], (expected["masked_lm_example_loss"].reshape(masks.shape) * masks).sum(axis=1)),
        (found["sentence_order_loss"], expected["sentence_order_example_loss"]),
    ]:
        np.testing.assert_allclose(values, wanted, atol=TOLERANCE, rtol=1e-6)
    np.testing.assert_array_equal(found["masked_lm_weight"], masks.sum(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_the_loss_of_a_batch_and_its_gradients_equal_the_original(name):
    features, weights, head = _features(), _weights(name), PretrainingHead(tiny_config(name))
    with tf.GradientTape() as tape:
        tape.watch(weights)
        predictions = head.predict(weights, _encode(name, weights, features), features=features)
        loss = tf.reduce_mean(head.per_example_loss(predictions, features))
    np.testing.assert_allclose(loss, RECORDED[f"pretraining/{name}/model_fn_train_loss"], atol=TOLERANCE, rtol=0)
    gradients = {k: tf.convert_to_tensor(g) for k, g in tape.gradient(loss, weights).items() if g is not None}
    expected = below(GRADIENTS, f"pretraining/{name}")
    norms = {key: expected.pop(key) for key in list(expected) if key.startswith("_norms")}
    assert set(gradients) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(gradients[key], value, atol=TOLERANCE, rtol=0, err_msg=key)
    norm = tf.linalg.global_norm(list(gradients.values()))
    np.testing.assert_allclose(norm, norms["_norms/global_norm_dense"], rtol=1e-5)


def test_metrics_equal_the_original():
    features, weights = _features(), _weights("tiny")
    predictions = PretrainingHead(tiny_config()).predict(weights, _encode("tiny", weights, features), features=features)
    found = metrics_of({name: value.numpy() for name, value in predictions.items()})
    expected = {name: float(value) for name, value in below(golden("metrics"), "pretraining").items()}
    assert found.pop("eval_loss") == pytest.approx(expected["masked_lm_loss"] + expected["sentence_order_loss"])
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_metrics_weigh_every_masked_token_the_same():
    # By hand: 1 of 4 tokens is right, with losses of 12 in all; 1 of 2 orders is right.
    predictions = {
        "masked_lm_loss": [3.0, 9.0],
        "masked_lm_correct": [1.0, 0.0],
        "masked_lm_weight": [1.0, 3.0],
        "sentence_order_loss": [0.5, 1.5],
        "sentence_order_correct": [0.0, 1.0],
    }
    assert metrics_of({name: np.array(values, np.float32) for name, values in predictions.items()}) == {
        "masked_lm_accuracy": 0.25,
        "masked_lm_loss": 3.0,
        "sentence_order_accuracy": 0.5,
        "sentence_order_loss": 1.0,
        "eval_loss": 4.0,
    }


def test_metrics_without_any_masked_piece_are_numbers():
    names = "masked_lm_loss", "masked_lm_correct", "masked_lm_weight", "sentence_order_loss", "sentence_order_correct"
    found = metrics_of({name: np.zeros(2, np.float32) for name in names})
    assert found["masked_lm_accuracy"] == found["masked_lm_loss"] == 0


@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_variables_have_the_originals_names_shapes_and_order(name):
    recorded = json.loads((TESTDATA / name / "variables.json").read_text())
    shapes = {entry["name"]: tuple(entry["shape"]) for entry in recorded["variables"]}
    config = tiny_config(name)
    specs = [*modeling.encoder_specs(config), *PretrainingHead(config).variable_specs]
    assert [spec.name for spec in specs] == recorded["trainable_in_creation_order"]
    assert {spec.name: spec.shape for spec in specs} == {spec.name: shapes[spec.name] for spec in specs}


def test_bfloat16_stays_near_and_sums_in_float32():
    features, weights, head = _features(), _weights("tiny"), PretrainingHead(tiny_config())
    encoded = _encode("tiny", weights, features, tf.bfloat16)
    assert encoded.sequence_output.dtype == tf.bfloat16
    found = head.predict(weights, encoded, features=features)
    assert all(value.dtype == tf.float32 for value in found.values())
    loss = tf.reduce_mean(head.per_example_loss(found, features))
    # A bfloat16 has 8 bits: logits of about 10 are off by about 0.04 each.
    np.testing.assert_allclose(loss, RECORDED["pretraining/tiny/model_fn_train_loss"], atol=0.1)


@pytest.mark.slow
def test_masked_positions_count_in_their_own_sequence_when_rows_are_packed():
    # Two sequences in one row of 20 positions; the same ones in rows of their own.
    rng = np.random.default_rng(0)
    weights, head = _weights("tiny"), PretrainingHead(tiny_config())
    ids = rng.integers(5, 1000, 20).astype(np.int32)
    positions = tf.constant([[0, 6], [3, 11]])
    packed = modeling.TokenLayout(
        input_ids=tf.constant(ids[None]),
        segment_ids=tf.zeros([1, 20], tf.int32),
        position_ids=tf.constant([[*range(8), *range(12)]]),
        sequence_ids=tf.constant([[1] * 8 + [2] * 12]),
        sequence_starts=tf.constant([0, 8]),
        sequence_lengths=tf.constant([8, 12]),
    )
    rows = np.zeros((2, 12), np.int32)
    rows[0, :8], rows[1] = ids[:8], ids[8:]
    alone = modeling.TokenLayout.one_per_row(tf.constant(rows), tf.constant(rows > 0))
    found, expected = (
        head.masked_lm_products(weights, modeling.encode(tiny_config(), weights, layout), positions)
        for layout in (packed, alone)
    )
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
