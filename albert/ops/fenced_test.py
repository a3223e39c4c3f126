"""The functions for a step that is compiled as a whole compute what those do that are compiled alone."""

import numpy as np
import pytest
import tensorflow as tf

from albert.ops.fenced import FENCED
from albert.ops.fused import FUSED, ElementWise

ROWS, WIDTH = 24, 16


def _block(element_wise: ElementWise, x, bias, residual, beta, gamma):
    """Each function once, with what a function behind it adds to its gradient."""
    added = element_wise.bias_add(x, bias)
    normalised = element_wise.add_layer_norm(added, bias, residual, beta, gamma)
    return element_wise.bias_gelu(normalised, bias) + normalised


def _gradients(element_wise: ElementWise, arguments):
    @tf.function(jit_compile=True, autograph=False)
    def compiled(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            y = tf.cast(_block(element_wise, *arguments), tf.float32)
            loss = tf.reduce_sum(y * tf.cos(tf.range(float(ROWS))[:, None] + y))
        return loss, *tape.gradient(loss, arguments)

    return [tf.cast(value, tf.float32).numpy() for value in compiled(*arguments)]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bound"), [(tf.float32, 1e-6), (tf.bfloat16, 1e-2)])
def test_values_and_gradients_are_those_of_the_functions_that_are_compiled_alone(dtype, bound):
    random = np.random.default_rng(0)
    x, residual = (tf.cast(random.normal(size=(ROWS, WIDTH)), dtype) for _ in range(2))
    vectors = [tf.constant(random.normal(size=WIDTH), tf.float32) for _ in range(3)]
    arguments = (x, vectors[0], residual, *vectors[1:])
    for found, expected in zip(_gradients(FENCED, arguments), _gradients(FUSED, arguments), strict=True):
        assert np.linalg.norm(found - expected) <= bound * np.linalg.norm(expected)


def _bias_gradient():
    @tf.function(
        jit_compile=True, autograph=False, input_signature=[tf.TensorSpec([None, WIDTH]), tf.TensorSpec([WIDTH])]
    )
    def compiled(x, bias):
        with tf.GradientTape() as tape:
            tape.watch(bias)
            loss = tf.reduce_sum(FENCED.bias_add(x, bias) ** 2)
        return tape.gradient(loss, bias)

    return compiled


@pytest.mark.parametrize("rows", [24, 7, 1])
def test_sums_over_any_number_of_rows_that_is_unknown_while_tracing(rows):
    x, bias = np.random.default_rng(0).normal(size=(rows, WIDTH)).astype(np.float32), np.ones(WIDTH, np.float32)
    np.testing.assert_allclose(_bias_gradient()(x, bias), 2 * (x + bias).sum(axis=0), rtol=1e-5, atol=1e-5)


def test_the_compiler_is_given_fences_and_eight_rows_side_by_side():
    text = _bias_gradient().experimental_get_compiler_ir(tf.zeros([ROWS, WIDTH]), tf.zeros([WIDTH]))(stage="hlo")
    assert text.count(" opt-barrier(") == 1
    # Eight times as many columns are added up; a product with ones would be merged with those of other layers.
    assert f"f32[{ROWS // 8},{8 * WIDTH}]" in text
    assert " dot(" not in text
