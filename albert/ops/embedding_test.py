"""Expected numbers: sums in float64 by NumPy, and TensorFlow's own gradient of `tf.gather`."""

import numpy as np
import pytest
import tensorflow as tf

from albert.modeling import Computation, TokenLayout, encode
from albert.ops.embedding import gather_repeatably, sums_by_number
from albert.testing import below, golden, tiny_config, tiny_weights

COUNT, WIDTH = 50, 3
RANDOM = np.random.default_rng(0)
NUMBERS = {
    "many of each": RANDOM.integers(0, COUNT, 2000),
    "each once": RANDOM.permutation(COUNT),
    "one alone": np.array([COUNT - 1]),
    "all the same": np.zeros(37, int),
    # As padding does.
    "mostly 0": np.where(RANDOM.random(300) < 0.9, 0, RANDOM.integers(0, COUNT, 300)),
}


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("name", NUMBERS)
def test_rows_of_a_number_are_added(name, is_compiled):
    numbers = tf.constant(NUMBERS[name], tf.int32)
    rows = RANDOM.normal(size=(len(NUMBERS[name]), WIDTH)).astype(np.float32)
    expected = np.zeros((COUNT, WIDTH))
    np.add.at(expected, NUMBERS[name], rows.astype(np.float64))
    add = tf.function(sums_by_number, jit_compile=is_compiled or None)
    found = add(tf.constant(rows), numbers, COUNT)
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max(), rtol=0)
    np.testing.assert_array_equal(add(tf.constant(rows), numbers, COUNT), found)


def test_nothing_is_written_to_a_place_that_rows_share():
    # A scatter is what a GPU adds up in any order, and what the compiler takes apart where that is forbidden.
    def gradient(table, numbers):
        with tf.GradientTape() as tape:
            tape.watch(table)
            gathered = gather(table, numbers)
        return tf.convert_to_tensor(tape.gradient(gathered, table, gathered))

    arguments = tf.ones([COUNT, WIDTH]), tf.constant([[1, 2], [1, 1]])
    has_scatter = {}
    for gather in (tf.gather, gather_repeatably):
        function = tf.function(gradient, jit_compile=True)
        has_scatter[gather] = "scatter" in function.experimental_get_compiler_ir(*arguments)(stage="hlo")
    assert list(has_scatter.values()) == [True, False]


@pytest.mark.slow
def test_the_model_has_the_same_gradient():
    inputs = {name: tf.constant(value) for name, value in below(golden("forward"), "inputs/pad32").items()}
    weights, found = tiny_weights(), {}
    for gather in (tf.gather, gather_repeatably):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            layout = TokenLayout.one_per_row(**inputs)
            encoded = encode(tiny_config(), weights, layout, computation=Computation(gather=gather))
            loss = tf.reduce_sum(encoded.pooled_output)
        gradients = tape.gradient(loss, weights)
        found[gather] = {name: tf.convert_to_tensor(g).numpy() for name, g in gradients.items() if g is not None}
    expected = found[tf.gather]
    assert set(found[gather_repeatably]) == set(expected)
    for name, value in expected.items():
        difference = np.abs(found[gather_repeatably][name] - value).max()
        assert difference <= 1e-6 * np.abs(value).max() or "self/key/bias" in name, name
