"""Expected numbers are computed here by other means: NumPy in float64, one word after the other."""

import numpy as np
import pytest
import tensorflow as tf

from albert import modeling
from albert.data import packing
from albert.heads import head_for
from albert.heads.tags import TagHead
from albert.heads.weighted_loss import WeightedCrossEntropy, with_loss
from albert.ops.dropout import DropoutKey
from albert.tasks.base import Tags
from albert.testing import tiny_config, tiny_weights

CONFIG = tiny_config()
HEAD = TagHead(CONFIG, num_tags=3)
# Tokens of each sentence, and for its tokens 1 + the tag, or 0 for what is no first piece of a word. The last sentence
# has no tag at all.
LENGTHS = (7, 4, 9, 3)
LABELS = ((0, 1, 0, 3, 2, 2, 0), (0, 3, 1, 0), (0, 2, 0, 0, 1, 1, 3, 0, 0), (0, 0, 0))


def _weights(rng):
    return {
        "cls/tags/output_weights": tf.constant(rng.normal(size=(3, CONFIG.hidden_size)), tf.float32),
        "cls/tags/output_bias": tf.constant([0.3, -0.2, 0.1]),
    }


def _rows(columns, row_length, arrange):
    """The layout of sentences with `columns` of numbers, one for each token, in rows; and the labels in these."""
    lengths = np.array(LENGTHS)
    starts, num_rows = arrange(lengths, row_length)
    places, positions, numbers = packing.token_positions(lengths, starts)

    def in_rows(values):
        rows = np.zeros((num_rows, row_length), np.int32)
        rows.ravel()[places] = values
        return tf.constant(rows)

    tokens = {name: in_rows(np.concatenate(values)) for name, values in columns.items()}
    labels = tokens.pop("tag_ids")
    layout = modeling.TokenLayout(
        **tokens,
        position_ids=in_rows(positions),
        sequence_ids=in_rows(numbers + 1),
        sequence_starts=tf.constant(starts, tf.int32),
        sequence_lengths=tf.constant(lengths, tf.int32),
    )
    return layout, {"tag_ids": labels}


def _columns(rng):
    ids = [rng.integers(5, 1000, length) for length in LENGTHS]
    return {"input_ids": ids, "segment_ids": [0 * row for row in ids], "tag_ids": [np.array(row) for row in LABELS]}


def _encoded(output, layout):
    return modeling.EncoderOutput(None, None, (), output, None, layout)


def test_loss_predictions_and_gradients_equal_an_independent_computation():
    rng = np.random.default_rng(5)
    weights = _weights(rng)
    layout, labels = _rows(_columns(rng), 9, packing.one_per_row)
    output = tf.constant(rng.normal(size=(4, 9, CONFIG.hidden_size)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([output, weights])
        found = HEAD.predict(weights, _encoded(output, layout), features=labels)
        losses = HEAD.per_example_loss(found, labels)
        mean = tf.reduce_mean(losses)
    of_output, of_weights = tape.gradient(mean, [output, weights])

    kernel, bias = (np.float64(weights[f"cls/tags/output_{name}"]) for name in ("weights", "bias"))
    vectors = np.float64(output)
    expected = np.zeros(4)
    expected_output, expected_kernel, expected_bias = np.zeros(vectors.shape), np.zeros(kernel.shape), np.zeros(3)
    for sentence, tags in enumerate(LABELS):
        words = [place for place, tag in enumerate(tags) if tag]
        for place in range(9):
            logits = kernel @ vectors[sentence, place] + bias
            probabilities = np.exp(logits) / np.exp(logits).sum()
            is_there = place < LENGTHS[sentence]
            assert found["tags"][sentence, place] == (probabilities.argmax() if is_there else 0)
            probability = probabilities.max() if is_there else 0
            np.testing.assert_allclose(found["tag_probabilities"][sentence, place], probability, atol=1e-5)
            if place not in words:
                continue
            right = tags[place] - 1
            expected[sentence] -= np.log(probabilities[right]) / len(words)
            of_logits = (probabilities - np.eye(3)[right]) / len(words) / len(LABELS)
            expected_output[sentence, place] = kernel.T @ of_logits
            expected_kernel += np.outer(of_logits, vectors[sentence, place])
            expected_bias += of_logits
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    assert losses[3] == 0  # a sentence without a tag
    np.testing.assert_allclose(of_output, expected_output, atol=1e-5)
    np.testing.assert_allclose(of_weights["cls/tags/output_weights"], expected_kernel, atol=1e-5)
    np.testing.assert_allclose(of_weights["cls/tags/output_bias"], expected_bias, atol=1e-5)


def _run(weights, layout, labels):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        found = HEAD.predict(weights, modeling.encode(CONFIG, weights, layout), features=labels)
        loss = tf.reduce_mean(HEAD.per_example_loss(found, labels))
    return found, tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)


@pytest.mark.slow
def test_packed_rows_give_what_padded_rows_give():
    rng = np.random.default_rng(7)
    weights, columns = tiny_weights() | _weights(rng), _columns(rng)
    expected, expected_gradients = _run(weights, *_rows(columns, 9, packing.one_per_row))
    packed, labels = _rows(columns, 16, packing.pack)
    assert packed.input_ids.shape == [2, 16]
    found, gradients = _run(weights, packed, labels)
    for name, values in expected.items():
        rows = found[name][:, :9] if values.shape.rank == 2 else found[name]
        np.testing.assert_allclose(rows, values, atol=1e-5, err_msg=name)
    for name, values in expected_gradients.items():
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradients[name]), tf.convert_to_tensor(values), atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("class_weights", [None, (0.5, 2.0, 7.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_weights_of_tags_and_smoothing_are_of_each_word(class_weights, smoothing):
    rng = np.random.default_rng(6)
    weights = _weights(rng)
    layout, labels = _rows(_columns(rng), 9, packing.one_per_row)
    output = tf.constant(rng.normal(size=(4, 9, CONFIG.hidden_size)), tf.float32)
    head = with_loss(HEAD, WeightedCrossEntropy(class_weights, smoothing))
    found = head.predict(weights, _encoded(output, layout), features=labels)
    kernel, bias = (np.float64(weights[f"cls/tags/output_{name}"]) for name in ("weights", "bias"))
    expected = np.zeros(4)
    for sentence, tags in enumerate(LABELS):
        words = [place for place, tag in enumerate(tags) if tag]
        for place in words:
            logits = kernel @ np.float64(output[sentence, place]) + bias
            logs = logits - np.log(np.exp(logits).sum())
            right = tags[place] - 1
            loss = -(1 - smoothing) * logs[right] - smoothing * logs.mean()
            expected[sentence] += (class_weights or (1, 1, 1))[right] * loss / len(words)
    np.testing.assert_allclose(head.per_example_loss(found, labels), expected, rtol=1e-4, atol=1e-5)
    plain = HEAD.predict(weights, _encoded(output, layout), features=labels)
    np.testing.assert_array_equal(found["tags"], plain["tags"])


@pytest.mark.parametrize("head", [HEAD, with_loss(HEAD, WeightedCrossEntropy((0.5, 2.0, 7.0), 0.25))])
def test_the_loss_of_a_sentence_does_not_depend_on_its_batch(head):
    """So N replicas, which share the sentences of a step, give the mean that one device gives."""
    rng = np.random.default_rng(8)
    weights = _weights(rng)
    layout, labels = _rows(_columns(rng), 9, packing.one_per_row)
    output = tf.constant(rng.normal(size=(4, 9, CONFIG.hidden_size)), tf.float32)
    together = head.predict(weights, _encoded(output, layout), features=labels)["tag_loss"]
    for first, stop in ((0, 1), (1, 4)):
        part = modeling.TokenLayout.one_per_row(
            layout.input_ids[first:stop], tf.cast(layout.sequence_ids[first:stop] > 0, tf.int32)
        )
        alone = head.predict(
            weights, _encoded(output[first:stop], part), features={"tag_ids": labels["tag_ids"][first:stop]}
        )["tag_loss"]
        np.testing.assert_allclose(alone, together[first:stop], rtol=1e-6)


def test_training_drops_units_and_labels_are_not_needed_to_predict():
    rng = np.random.default_rng(9)
    weights = _weights(rng)
    layout, labels = _rows(_columns(rng), 9, packing.one_per_row)
    encoded = _encoded(tf.constant(rng.normal(size=(4, 9, CONFIG.hidden_size)), tf.float32), layout)
    key = DropoutKey.of_layout(0, tf.constant(1), tf.range(4), layout.sequence_ids, layout.position_ids)
    trained, evaluated = (HEAD.predict(weights, encoded, k, labels)["tag_loss"] for k in (key, None))
    assert np.abs(trained - evaluated).max() > 1e-3
    assert set(HEAD.predict(weights, encoded)) == {"tags", "tag_probabilities"}


def test_tags_have_their_head():
    assert head_for(Tags(("B", "I", "O")), CONFIG) == HEAD
    assert {spec.name for spec in HEAD.variable_specs} == set(_weights(np.random.default_rng(0)))
