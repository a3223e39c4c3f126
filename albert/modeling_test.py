"""Expected numbers: testdata/forward.npz, recorded from google-research/albert under TensorFlow 1.15."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context  # the graphs that are executed have no other way out

from albert import modeling
from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.modeling import Computation, TokenLayout
from albert.ops.dropout import DropoutKey
from albert.ops.fenced import FENCED
from albert.ops.fused import FUSED_FORWARD, add_layer_norm
from albert.testing import TESTDATA, TINY_CONFIGS, below, golden, tiny_config, tiny_weights

FORWARD = golden("forward")
BATCHES = sorted({key.split("/")[1] for key in FORWARD if key.startswith("inputs/")})
# Absolute on layer outputs of up to 5: the bound promised in the README.
TOLERANCE = 1e-5


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_every_layer_equals_the_original(name, batch):
    inputs = below(FORWARD, f"inputs/{batch}")
    layout = TokenLayout.one_per_row(**{k: tf.constant(v) for k, v in inputs.items()})
    encoded = modeling.encode(tiny_config(name), tiny_weights(name), layout)
    found = {
        "word_embedding_output": encoded.word_embedding_output,
        "embedding_output": encoded.embedding_output,
        "sequence_output": encoded.sequence_output,
        "pooled_output": encoded.pooled_output,
    } | {f"layer_{i}": output for i, output in enumerate(encoded.all_layer_outputs)}
    expected = below(FORWARD, f"{name}/{batch}")
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=TOLERANCE, rtol=0, err_msg=key)


@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_mask_defaults_to_ones_and_segments_to_zeros(name):
    ids = tf.constant(FORWARD["inputs/pad32/input_ids"])
    encoded = modeling.encode(tiny_config(name), tiny_weights(name), TokenLayout.one_per_row(ids))
    for key, value in below(FORWARD, f"{name}/pad32_no_mask_no_segments").items():
        np.testing.assert_allclose(getattr(encoded, key), value, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["gelu", "relu", "tanh"])
def test_activations_equal_the_original(name):
    x = tf.constant(FORWARD["activation/x"])
    np.testing.assert_allclose(modeling.get_activation(name)(x), FORWARD[f"activation/{name}"], atol=1e-6)


def test_layer_norm_equals_the_original():
    x, beta, gamma = (tf.constant(FORWARD[f"layer_norm/{name}"]) for name in ("x", "beta", "gamma"))
    y = add_layer_norm(x, tf.zeros_like(beta), tf.zeros_like(x), beta, gamma).numpy()
    expected = FORWARD["layer_norm/y"]
    np.testing.assert_allclose(y[:-1], expected[:-1], atol=TOLERANCE)
    # The last row is constant, so beta is exact. The original multiplies by 1e6 and subtracts, and is off by up to 0.1.
    assert np.abs(y[-1] - beta).max() <= np.abs(expected[-1] - beta).max()


@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_variables_carry_the_names_and_shapes_of_the_original(name):
    recorded = json.loads((TESTDATA / name / "variables.json").read_text())
    order = [v for v in recorded["trainable_in_creation_order"] if v.startswith("bert/")]
    model = modeling.AlbertModel(tiny_config(name))
    assert list(model.weights) == order
    for key, tensor in tiny_weights(name).items():
        if key in model.weights:
            assert model.weights[key].shape == tensor.shape, key
            assert model.weights[key].name == f"{key}:0"


def test_initial_values_depend_on_seed_and_name_alone():
    config = tiny_config()
    first, again, other = (modeling.AlbertModel(config, seed=seed).weights for seed in (1, 1, 2))
    name = "bert/embeddings/word_embeddings"
    np.testing.assert_array_equal(first[name], again[name])
    assert np.abs(first[name] - other[name]).max() > 0
    # Truncated at two deviations of 0.02.
    assert 0.015 < np.std(first[name]) < 0.02
    assert np.abs(first[name]).max() <= 0.04


def test_seeds_that_differ_only_in_their_upper_bits_start_from_other_weights():
    spec = modeling.VariableSpec("kernel", (4, 4))
    values = {seed: spec.initial_value(seed).numpy().tobytes() for seed in (5, 5 + 2**31, 5 + 2**32, 5 - 2**63)}
    assert len(set(values.values())) == len(values)


# Recorded before the upper bits of a seed counted.
@pytest.mark.parametrize(
    ("seed", "value"),
    [
        (0, -0.007127843331545591),
        (42, -0.0013423573691397905),
        (2**31 - 1, -0.009931991808116436),
        (-1, -0.009931991808116436),
    ],
)
def test_smaller_seeds_start_from_the_weights_that_they_always_did(seed, value):
    found = modeling.VariableSpec("bert/pooler/dense/kernel", (2, 2)).initial_value(seed)
    assert found.numpy()[0, 0] == np.float32(value)


def test_config_survives_json(tmp_path):
    path = tmp_path / "albert_config.json"
    path.write_text(tiny_config("tiny_groups").to_json_string())
    assert AlbertConfig.from_json_file(path) == AlbertConfig.from_dict(tiny_config("tiny_groups").to_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hiden_size": 3}, "unknown key hiden_size"),
        ({"hidden_size": "32"}, "hidden_size is '32', but must be an integer"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"hidden_size": 30}, "not a multiple of 4 heads"),
        ({"hidden_act": "swish"}, "none of gelu"),
        ({"num_hidden_layers": 0}, "above 0"),
        ({"hidden_dropout_prob": 1.5}, r"must be in \[0, 1\)"),
    ],
)
def test_a_wrong_config_is_one_clear_line(change, message):
    with pytest.raises(UserError, match=message) as error:
        AlbertConfig.from_dict(tiny_config().to_dict() | change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[1]", '{"hidden_size": 3}', "{"])
def test_a_broken_config_file_is_named(tmp_path, text):
    path = tmp_path / "albert_config.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"albert_config\.json"):
        AlbertConfig.from_json_file(path)


def test_more_positions_than_the_model_has_are_refused():
    with pytest.raises(ValueError, match="65 positions, but the model has 64"):
        modeling.encode(tiny_config(), tiny_weights(), TokenLayout.one_per_row(tf.ones([1, 65], tf.int32)))


def test_encoder_dropout_changes_the_output_only_in_training():
    config, weights = tiny_config().with_dropout(0.1), tiny_weights()
    layout = TokenLayout.one_per_row(tf.constant(FORWARD["inputs/short7/input_ids"]))
    key = DropoutKey.of_layout(1, tf.constant(0), tf.range(1), layout.sequence_ids, layout.position_ids)
    plain = modeling.encode(config, weights, layout).sequence_output
    np.testing.assert_array_equal(plain, modeling.encode(tiny_config(), weights, layout).sequence_output)
    assert np.abs(plain - modeling.encode(config, weights, layout, dropout_key=key).sequence_output).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_computing_the_last_block_for_first_tokens_alone_changes_no_number(name):
    config, weights = tiny_config(name).with_dropout(0.1), tiny_weights(name)
    inputs = below(FORWARD, "inputs/pad32")
    layout = TokenLayout.one_per_row(**{k: tf.constant(v) for k, v in inputs.items()})
    key = DropoutKey.of_layout(1, tf.constant(0), tf.range(4), layout.sequence_ids, layout.position_ids)

    def pooled_and_gradients(first_tokens_only):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            encoded = modeling.encode(config, weights, layout, key, first_tokens_only=first_tokens_only)
            loss = tf.reduce_sum(tf.sin(encoded.pooled_output))
        gradients = tape.gradient(loss, weights)
        return encoded, {k: tf.convert_to_tensor(g) for k, g in gradients.items() if g is not None}

    (few, few_gradients), (all_, all_gradients) = map(pooled_and_gradients, (True, False))
    assert few.sequence_output is None
    np.testing.assert_allclose(few.pooled_output, all_.pooled_output, atol=1e-6)
    assert few_gradients.keys() == all_gradients.keys()
    for variable, gradient in all_gradients.items():
        np.testing.assert_allclose(few_gradients[variable], gradient, atol=1e-5, err_msg=variable)


# Rows, and in each of them lengths of sequences: one row for all, few in a row, more than are worth a copy of it each.
@pytest.mark.parametrize("lengths", [[[7, 9, 3]], [[20], [4, 16], [11]], [[4] * 6, [4] * 6]])
def test_the_last_attention_of_first_tokens_alone_changes_no_number(lengths):
    of_rows = [np.repeat(1 + np.arange(len(row)), row) for row in lengths]
    numbers = np.array([np.pad(row, (0, 24 - len(row))) for row in of_rows])
    numbers += np.cumsum([0, *map(len, lengths)])[:-1, None] * (numbers > 0)
    starts = [number * 24 + sum(row[:i]) for number, row in enumerate(lengths) for i in range(len(row))]
    places = np.concatenate([np.arange(length) for row in lengths for length in row])
    positions = np.zeros_like(numbers)
    positions[numbers > 0] = places
    ids = np.random.default_rng(0).integers(1, 30, numbers.shape) * (numbers > 0)
    sizes = [length for row in lengths for length in row] + [0, 0]  # two are not there, as in batches that are not full
    layout = TokenLayout(
        *(tf.constant(v, tf.int32) for v in (ids, ids % 2, positions, numbers, [*starts, 0, 0], sizes))
    )
    pooled = [
        modeling.encode(tiny_config(), tiny_weights(), layout, None, computation, first_tokens_only).pooled_output
        for computation, first_tokens_only in (
            (Computation(), False),
            (Computation(), True),
            (Computation(element_wise=FUSED_FORWARD), True),
        )
    ]
    assert np.ptp(pooled[0], axis=0).max() > 0.1
    np.testing.assert_allclose(pooled[1], pooled[0], atol=1e-6)
    np.testing.assert_allclose(pooled[2], pooled[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_compiled_gradients_of_shared_matrices_are_added_layer_by_layer(dtype):
    values = tiny_weights().values()

    def compiled(sums_by_layer):
        computation = Computation(dtype, recompute=True, element_wise=FENCED, sums_by_layer=sums_by_layer)
        gradient = tf.function(_block_gradient(tiny_config(), computation), jit_compile=True, autograph=False)
        fences = gradient.experimental_get_compiler_ir(*values)(stage="hlo").count(" opt-barrier(")
        return fences, gradient(*values)

    fences, found = compiled(True)
    usual_fences, usual = compiled(False)
    # Those of query, key and value are one.
    assert fences - usual_fences == 4 * (tiny_config().num_hidden_layers - 1)
    _assert_same_gradients(found, usual, 1e-6 if dtype == tf.float32 else 2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_gradients_of_shared_matrices_are_added_layer_by_layer(dtype, recompute):
    layers = tiny_config().num_hidden_layers

    def plain(sums_by_layer):
        computation = Computation(dtype, recompute, sums_by_layer=sums_by_layer)
        gradient = tf.function(_block_gradient(tiny_config(), computation), autograph=False)
        values = [tf.convert_to_tensor(value) for value in tiny_weights().values()]
        with context.collect_graphs(optimized=True) as graphs:
            found = gradient(*values)
        sums = [node for graph in graphs for node in graph.node if node.op == "AddN"]
        return sum(node.attr["N"].i == layers for node in sums), found

    sums_of_all_layers, found = plain(True)
    usual_sums, usual = plain(False)
    # Those of query, key and value are one; biases and scales are added as usual.
    assert usual_sums - sums_of_all_layers == 4
    _assert_same_gradients(found, usual, 1e-6 if dtype == tf.float32 else 2e-2)


def _block_gradient(config, computation):
    """The function from all weights to the gradients of the shared ones, for one batch."""
    inputs = {name: tf.constant(value) for name, value in below(FORWARD, f"inputs/{BATCHES[0]}").items()}
    names = list(tiny_weights())

    def gradient(*values):
        weights = dict(zip(names, values, strict=True))
        with tf.GradientTape() as tape:
            tape.watch(weights)
            encoded = modeling.encode(config, weights, TokenLayout.one_per_row(**inputs), computation=computation)
            loss = tf.reduce_sum(encoded.pooled_output**2)
        found = tape.gradient(loss, weights)
        return [found[name] for name in sorted(found) if "inner_group" in name]

    return gradient


def _assert_same_gradients(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == tf.float32
        np.testing.assert_allclose(one, other, atol=float(tf.norm(other)) * tolerance)
