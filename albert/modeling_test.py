"""Expected numbers: testdata/forward.npz, recorded from google-research/albert under TensorFlow 1.15."""

import json

import numpy as np
import pytest
import tensorflow as tf

from albert import modeling
from albert.modeling import AlbertConfig, DropoutKey
from albert.settings import UserError
from albert.testing import TESTDATA, TINY_CONFIGS, below, golden, tiny_config, tiny_weights

FORWARD = golden("forward")
BATCHES = sorted({key.split("/")[1] for key in FORWARD if key.startswith("inputs/")})
# Absolute on layer outputs of up to 5: the bound promised in the README.
TOLERANCE = 1e-5


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_every_layer_equals_the_original(name, batch):
    inputs = below(FORWARD, f"inputs/{batch}")
    encoded = modeling.encode(tiny_config(name), tiny_weights(name), **{k: tf.constant(v) for k, v in inputs.items()})
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
    encoded = modeling.encode(tiny_config(name), tiny_weights(name), ids)
    for key, value in below(FORWARD, f"{name}/pad32_no_mask_no_segments").items():
        np.testing.assert_allclose(getattr(encoded, key), value, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["gelu", "relu", "tanh"])
def test_activations_equal_the_original(name):
    x = tf.constant(FORWARD["activation/x"])
    np.testing.assert_allclose(modeling.get_activation(name)(x), FORWARD[f"activation/{name}"], atol=1e-6)


def test_layer_norm_equals_the_original_even_on_a_constant_row():
    weights = {"n/gamma": FORWARD["layer_norm/gamma"], "n/beta": FORWARD["layer_norm/beta"]}
    y = modeling.layer_norm(tf.constant(FORWARD["layer_norm/x"]), weights, "n")
    np.testing.assert_allclose(y, FORWARD["layer_norm/y"], atol=TOLERANCE)


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
        modeling.encode(tiny_config(), tiny_weights(), tf.ones([1, 65], tf.int32))


def _dropped(rows, step=3, site=1, rate=0.25):
    key = DropoutKey(seed=5, step=tf.constant(step), rows=tf.constant(rows))
    return modeling.dropout(tf.ones([len(rows), 50, 40]), rate, key, site).numpy()


def test_dropout_depends_on_the_global_row_not_on_how_rows_are_split():
    whole = _dropped([0, 1, 2, 3])
    np.testing.assert_array_equal(whole[2:], _dropped([2, 3]))
    np.testing.assert_array_equal(whole[[3]], _dropped([3]))


def test_dropout_keeps_the_mean_and_differs_by_step_site_and_row():
    masks = [_dropped([0, 1]), _dropped([0, 1], step=4), _dropped([0, 1], site=2)]
    for mask in masks:
        # 4,000 units: three standard deviations of the kept share are 0.02.
        assert abs((mask > 0).mean() - 0.75) < 0.02
        np.testing.assert_allclose(mask[mask > 0], 1 / 0.75, rtol=1e-6)
    for a, b in [(masks[0], masks[1]), (masks[0], masks[2]), (masks[0][0], masks[0][1])]:
        # Independent masks agree on 0.75^2 + 0.25^2 = 0.625 of the units.
        assert abs(((a > 0) == (b > 0)).mean() - 0.625) < 0.03


def test_encoder_dropout_changes_the_output_only_in_training():
    config, weights = tiny_config().with_dropout(0.1), tiny_weights()
    ids = tf.constant(FORWARD["inputs/short7/input_ids"])
    key = DropoutKey(seed=1, step=tf.constant(0), rows=tf.range(1))
    plain = modeling.encode(config, weights, ids).sequence_output
    np.testing.assert_array_equal(plain, modeling.encode(tiny_config(), weights, ids).sequence_output)
    assert np.abs(plain - modeling.encode(config, weights, ids, dropout_key=key).sequence_output).max() > 0.1
