"""Expected numbers: testdata/heads.npz and gradients.npz, recorded from google-research/albert under TF 1.15."""

import numpy as np
import pytest
import tensorflow as tf

from albert import modeling
from albert.data import packing
from albert.heads import head_for, pooled, span
from albert.ops.dropout import DropoutKey
from albert.tasks.base import MultiLabels, Score
from albert.testing import TINY_CONFIGS, below, golden, tiny_config, tiny_weights

HEADS, GRADIENTS = golden("heads"), golden("gradients")
TOLERANCE = 1e-5
CONFIG = tiny_config()
HEADS_BY_NAME = {
    "classification3": pooled.ClassificationHead(CONFIG, num_labels=3),
    "classification2": pooled.ClassificationHead(CONFIG, num_labels=2),
    "stsb": pooled.RegressionHead(CONFIG),
    "race": pooled.ChoiceHead(CONFIG),
    "squad_v1": span.SpanHead(CONFIG),
    "squad_v2": span.SpanHeadV2(CONFIG),
}
# The original has no such head; on the weights of its three classes.
MULTI_LABEL = {"multi_label": pooled.MultiLabelHead(CONFIG, num_labels=3)}
ALL_HEADS = HEADS_BY_NAME | MULTI_LABEL
# What the original computes where padding takes part in a softmax.
AS_RECORDED = HEADS_BY_NAME | {"squad_v1": span.SpanHead(CONFIG, softmax_over_padding=True)}
RECORDED_NAMES = {"start_log_prob": "start_logits", "end_log_prob": "end_logits"}


def _recorded_inputs(name):
    """The recorded batch; token columns as [n, S]."""
    inputs = {key: tf.constant(value) for key, value in below(HEADS, f"{name}/inputs").items()}
    return {key: tf.reshape(v, [-1, v.shape[-1]]) if v.shape.rank == 3 else v for key, v in inputs.items()}


def _head_weights(name):
    recorded = "classification3" if name in MULTI_LABEL else name
    return {k: tf.constant(v) for k, v in below(HEADS, f"{recorded}/weights").items()}


def _weights(name, config_name="tiny"):
    return tiny_weights(config_name) | _head_weights(name)


def _run(head, config_name, weights, layout, features):
    """Every prediction and loss, and the gradients of the mean loss by weight."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        encoded = modeling.encode(tiny_config(config_name), weights, layout)
        predictions = head.predict(weights, encoded, features=features)
        per_example_loss = head.per_example_loss(predictions, features)
        loss = tf.reduce_mean(per_example_loss)
    gradients = {k: tf.convert_to_tensor(g) for k, g in tape.gradient(loss, weights).items() if g is not None}
    return predictions | {"per_example_loss": per_example_loss, "loss": loss}, gradients


def _run_as_recorded(name, config_name="tiny", **changed_features):
    features = _recorded_inputs(name) | changed_features
    layout = modeling.TokenLayout.one_per_row(*(features[k] for k in ("input_ids", "input_mask", "segment_ids")))
    return _run(AS_RECORDED[name], config_name, _weights(name, config_name), layout, features)


# --- Equal to the original ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("config_name", TINY_CONFIGS)
@pytest.mark.parametrize("name", HEADS_BY_NAME)
def test_losses_and_predictions_equal_the_original(name, config_name):
    found, _ = _run_as_recorded(name, config_name)
    found = {RECORDED_NAMES.get(key, key): value for key, value in found.items()}
    expected = below(HEADS, f"{name}/{config_name}")
    in_training = {key: expected.pop(key) for key in list(expected) if key.startswith("train_")}
    for key in ("per_example_loss", "label_start_log_prob", "label_end_log_prob"):
        if key not in expected:
            found.pop(key, None)
    assert set(expected) == set(found)
    for key, value in expected.items():
        # The relative part is for log probabilities of impossible positions, -1e30.
        np.testing.assert_allclose(found[key], value, atol=TOLERANCE, rtol=1e-6, err_msg=key)
    if in_training:
        np.testing.assert_allclose(found["cls_logits"], in_training["train_cls_logits"], atol=TOLERANCE, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("config_name", TINY_CONFIGS)
def test_span_log_probabilities_given_the_labelled_start_equal_the_original(config_name):
    expected = below(HEADS, f"squad_v2/{config_name}")
    starts = tf.constant(HEADS["squad_v2/inputs/start_positions"])
    for position in range(0, 32, 7):
        here = tf.fill([6], position)
        ends, _ = _run_as_recorded("squad_v2", config_name, start_positions=starts, end_positions=here)
        any_start, _ = _run_as_recorded("squad_v2", config_name, start_positions=here, end_positions=here)
        for found, key in [
            (ends["label_end_log_prob"], "train_end_log_probs"),
            (any_start["label_start_log_prob"], "train_start_log_probs"),
        ]:
            np.testing.assert_allclose(found, expected[key][:, position], atol=TOLERANCE, rtol=1e-6, err_msg=key)


@pytest.mark.slow
def test_a_beam_wider_than_the_possible_starts_is_filled_with_impossible_ones():
    found, _ = _run_as_recorded("squad_v2")
    assert (HEADS["squad_v2/inputs/p_mask"][5] == 0).sum() == 3
    np.testing.assert_array_equal(found["start_top_log_probs"][5] > -1e29, [True] * 3 + [False] * 2)


@pytest.mark.parametrize(
    ("name", "config_name"),
    [("classification3", "tiny_groups"), pytest.param("race", "tiny", marks=pytest.mark.slow)]
    + [(name, "tiny") for name in ("classification3", "classification2", "stsb", "squad_v1", "squad_v2")],
)
def test_gradients_equal_the_original(name, config_name):
    _, dense = _run_as_recorded(name, config_name)
    expected = below(GRADIENTS, f"{name}/{config_name}")
    norms = {key: expected.pop(key) for key in list(expected) if key.startswith("_norms")}
    assert set(dense) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(dense[key], value, atol=TOLERANCE, rtol=0, err_msg=key)
    np.testing.assert_allclose(
        tf.linalg.global_norm(list(dense.values())), norms["_norms/global_norm_dense"], rtol=1e-5
    )


# --- Several labels -----------------------------------------------------------------------------------------------


def test_several_labels_equal_an_independent_computation():
    rng = np.random.default_rng(4)
    pooled_output, kernel = rng.normal(size=(6, CONFIG.hidden_size)), rng.normal(size=(3, CONFIG.hidden_size))
    bias, labels = np.array([0.3, -0.2, 0.0]), rng.integers(0, 2, (6, 3))
    weights = {"output_weights": tf.constant(kernel, tf.float32), "output_bias": tf.constant(bias, tf.float32)}
    encoded = modeling.EncoderOutput(None, None, (), None, tf.constant(pooled_output, tf.float32), None)
    (head,) = MULTI_LABEL.values()
    found = head.predict(weights, encoded)
    losses = head.per_example_loss(found, {"label_ids": tf.constant(labels, tf.int32)})
    logits = pooled_output @ kernel.T + bias
    probabilities = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-5)
    assert found["predictions"].dtype == tf.int32
    np.testing.assert_array_equal(found["predictions"], probabilities > 0.5)
    expected = -np.log(np.where(labels == 1, probabilities, 1 - probabilities)).mean(axis=1)
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)


def test_several_labels_have_their_head():
    assert head_for(MultiLabels(("a", "b", "c")), CONFIG) == MULTI_LABEL["multi_label"]
    assert head_for(Score(), CONFIG) == HEADS_BY_NAME["stsb"]


# --- Packed = padded ----------------------------------------------------------------------------------------------

LONGEST = 32


def _random_sequences(lengths, rng):
    """Columns [n, LONGEST] whose first tokens count, as a padded batch has them, and labels."""
    shape = (len(lengths), LONGEST)
    mask = np.arange(LONGEST) < np.array(lengths)[:, None]
    columns = {
        "input_ids": np.where(mask, rng.integers(5, 1000, shape), 0),
        "segment_ids": np.where(mask, rng.integers(0, 2, shape), 0),
        "p_mask": np.where(mask, rng.integers(0, 2, shape), 0),
    }
    columns["p_mask"][:, 0] = 0
    starts = rng.integers(0, lengths)
    columns["p_mask"][np.arange(len(lengths)), starts] = 0
    labels = {
        "start_positions": starts,
        "end_positions": rng.integers(0, lengths),
        "is_impossible": rng.integers(0, 2, len(lengths)),
    }
    return columns, {name: tf.constant(values, tf.int32) for name, values in labels.items()}


def _rows(columns, lengths, row_length, arrange, num_spare_rows=0):
    """The layout of `columns`, and those of them that are not part of it, as the input pipeline makes them."""
    lengths = np.array(lengths)
    starts, num_rows = arrange(lengths, row_length)
    shape = (num_rows + num_spare_rows, row_length)
    places, positions, numbers = packing.token_positions(lengths, starts)

    def in_rows(values):
        rows = np.zeros(shape, np.int32)
        rows.ravel()[places] = values
        return tf.constant(rows)

    tokens = {name: in_rows(values[numbers, positions]) for name, values in columns.items()}
    p_mask = tokens.pop("p_mask")
    layout = modeling.TokenLayout(
        **tokens,
        position_ids=in_rows(positions),
        sequence_ids=in_rows(numbers + 1),
        sequence_starts=tf.constant(starts, tf.int32),
        sequence_lengths=tf.constant(lengths, tf.int32),
    )
    return layout, {"p_mask": p_mask}


def _label_ids(name, num_sequences, rng):
    if name == "stsb":
        return {"label_ids": tf.constant(rng.random(num_sequences) * 5, tf.float32)}
    if name in MULTI_LABEL:
        return {"label_ids": tf.constant(rng.integers(0, 2, (num_sequences, 3)), tf.int32)}
    num_examples = num_sequences // 4 if name == "race" else num_sequences
    return {"label_ids": tf.constant(rng.integers(0, 2, num_examples), tf.int32)}


# Lengths of the sequences, and of the rows they are packed into.
PACKINGS = {
    "many a row": ([32, 1, 17, 2, 15, 9, 30, 4], LONGEST),
    "shorter rows than the padded ones": ([7, 3, 16, 9, 1, 2, 12, 4], 16),
    "one a row": ([32, 31, 32, 30], LONGEST),
    "all in one row longer than the padded ones": ([9, 32, 4, 17], 64),
}


@pytest.mark.slow
@pytest.mark.parametrize("packing_name", PACKINGS)
@pytest.mark.parametrize("name", ALL_HEADS)
def test_packed_rows_give_what_padded_rows_give(name, packing_name):
    lengths, row_length = PACKINGS[packing_name]
    rng = np.random.default_rng(17)
    columns, labels = _random_sequences(lengths, rng)
    labels |= _label_ids(name, len(lengths), rng)
    padded, padded_mask = _rows(columns, lengths, LONGEST, packing.one_per_row)
    packed, packed_mask = _rows(columns, lengths, row_length, packing.pack, num_spare_rows=1)
    assert packed.input_ids.shape != padded.input_ids.shape

    head, weights = ALL_HEADS[name], _weights(name)
    expected, expected_gradients = _run(head, "tiny", weights, padded, labels | padded_mask)
    found, gradients = _run(head, "tiny", weights, packed, labels | packed_mask)
    assert set(found) == set(expected)
    for key, values in expected.items():
        if key in RECORDED_NAMES:  # [n, S]: no sequence is longer than the shorter rows
            width = min(row_length, LONGEST)
            assert all(np.all(wider[:, width:] == span.IMPOSSIBLE) for wider in (values, found[key]))
            values, found[key] = values[:, :width], found[key][:, :width]
        np.testing.assert_allclose(found[key], values, atol=TOLERANCE, rtol=1e-6, err_msg=key)
    assert set(gradients) == set(expected_gradients)
    for key, values in expected_gradients.items():
        np.testing.assert_allclose(gradients[key], values, atol=TOLERANCE, rtol=0, err_msg=key)


@pytest.mark.slow
def test_without_padding_both_softmaxes_of_the_first_squad_are_one():
    lengths = [LONGEST] * 3
    columns, labels = _random_sequences(lengths, np.random.default_rng(5))
    layout, _ = _rows(columns, lengths, LONGEST, packing.one_per_row)
    runs = [_run(h["squad_v1"], "tiny", _weights("squad_v1"), layout, labels) for h in (HEADS_BY_NAME, AS_RECORDED)]
    for key, values in runs[0][0].items():
        np.testing.assert_array_equal(values, runs[1][0][key])


def test_padding_that_is_not_there_cannot_be_in_a_softmax():
    columns, labels = _random_sequences([4, 4], np.random.default_rng(5))
    layout, _ = _rows(columns, [4, 4], LONGEST, packing.pack)
    with pytest.raises(ValueError, match="softmax_over_padding: 2 sequences in 1 rows"):
        _run(AS_RECORDED["squad_v1"], "tiny", _weights("squad_v1"), layout, labels)


@pytest.mark.slow
def test_a_beam_may_be_wider_than_the_rows():
    head = span.SpanHeadV2(CONFIG, start_n_top=10, end_n_top=12)
    columns, labels = _random_sequences([8, 3], np.random.default_rng(5))
    layout, p_mask = _rows(columns, [8, 3], 8, packing.pack)
    found, _ = _run(head, "tiny", _weights("squad_v2"), layout, labels | p_mask)
    assert found["end_top_index"].shape == (2, 120)
    assert (found["start_top_index"].numpy()[found["start_top_log_probs"].numpy() > -1e29] < 8).all()


# --- Computation --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL_HEADS)
def test_compiled_for_any_number_of_rows_gives_the_same_from_any_precision(name):
    """The head alone, on an encoder's output in bfloat16. Sequences of length 0 fill a batch."""
    rng = np.random.default_rng(3)
    lengths = [9, 0, 4, 1]
    columns, labels = _random_sequences([max(length, 1) for length in lengths], rng)
    labels |= _label_ids(name, len(lengths), rng)
    layout, p_mask = _rows(columns, lengths, 16, packing.pack, num_spare_rows=1)
    output = tf.cast(rng.normal(size=(*layout.input_ids.shape, CONFIG.hidden_size)), tf.bfloat16)
    head = ALL_HEADS[name]
    weights = _head_weights(name)
    assert {spec.name for spec in head.variable_specs} == set(weights)
    per_sequence = {"sequence_starts", "sequence_lengths"}

    def compute(output, columns):
        layout = modeling.TokenLayout(**{k: v for k, v in columns.items() if k in modeling.TokenLayout.__annotations__})
        with tf.GradientTape() as tape:
            tape.watch([output, weights])
            first = tf.gather(tf.reshape(output, [-1, CONFIG.hidden_size]), layout.sequence_starts)
            encoded = modeling.EncoderOutput(None, None, (), output, tf.cast(first, tf.float32), layout)
            key = DropoutKey.of_layout(0, 1, tf.range(4), layout.sequence_ids, layout.position_ids)
            predictions = head.predict(weights, encoded, key, columns)
            losses = head.per_example_loss(predictions, columns)
        gradients = tape.gradient(losses, [output, weights])
        return predictions, losses, tf.nest.map_structure(tf.convert_to_tensor, gradients)

    columns = {**vars(layout), **p_mask, **labels}
    signature = {
        name: tf.TensorSpec(v.shape if name in per_sequence | set(labels) else [None, 16], v.dtype)
        for name, v in columns.items()
    }
    output_signature = tf.TensorSpec([None, 16, CONFIG.hidden_size], tf.bfloat16)
    compiled = tf.function(compute, input_signature=[output_signature, signature], jit_compile=True)
    found, expected = (tf.nest.flatten(f(output, columns)) for f in (compiled, compute))
    for a, b in zip(found, expected, strict=True):
        assert np.all(np.isfinite(tf.cast(b, tf.float32)))
        tolerance = 0.02 if b.dtype == tf.bfloat16 else TOLERANCE
        np.testing.assert_allclose(tf.cast(a, tf.float32), tf.cast(b, tf.float32), atol=tolerance, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(set(ALL_HEADS) - {"squad_v1"}))
def test_training_drops_units_and_evaluation_does_not(name):
    head = ALL_HEADS[name]
    weights = modeling.AlbertModel(CONFIG, head.variable_specs).weights
    layout = modeling.TokenLayout.one_per_row(tf.ones([4, 4], tf.int32))
    encoded = modeling.encode(CONFIG, weights, layout)
    key = DropoutKey.of_layout(0, tf.constant(1), tf.range(4), layout.sequence_ids, layout.position_ids)
    output = "cls_logits" if name == "squad_v2" else "logits"
    p_mask = {"p_mask": tf.zeros([4, 4], tf.int32)}
    trained, evaluated = (head.predict(weights, encoded, k, p_mask)[output] for k in (key, None))
    assert np.abs(trained - evaluated).max() > 0
