"""The element-wise parts of a transformer block for a step that is compiled as a whole, as it is on a GPU.

There the functions of `albert.ops.fused` become parts of one program, for which the compiler decides what is kept and
what is recomputed. Its choices cost a sixth of the step (base model, 8 rows of 512, bfloat16, H100): it kept float32
copies where bfloat16 was to be kept, computed layer norm's statistics five times, and added up the columns of the
projection's gradient in an order for which the memory is slow. Two means prevent that:

  * a fence around what each function returns. The compiler computes a fenced value once, in the precision it has;
  * sums over rows, which biases and normalisation need, of several rows laid side by side: enough columns for all
    processors, and one pass for the sums of one gradient. (As products with ones, which the matrix units would make
    fastest, the compiler joins the sums of all layers into one product and copies their gradients for it: a seventh of
    the step.)

Sums are float32 as before, but of gradients that are rounded to the precision of the computation, as the products that
use the same gradients have always read them.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from albert.ops import fused
from albert.ops.fused import GELU_CUBIC, GELU_SLOPE, ElementWise, as_matrix

# A matrix with so many rows in one: the compiler gives 32 columns to a processor of the GPU, which has 132.
_ROWS_SIDE_BY_SIDE = 8


def bias_gelu(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """As `fused.bias_gelu`."""
    return tf.reshape(_bias_gelu(as_matrix(x), bias), tf.shape(x))


def add_layer_norm(x: tf.Tensor, bias: tf.Tensor, residual: tf.Tensor, beta: tf.Tensor, gamma: tf.Tensor) -> tf.Tensor:
    """As `fused.add_layer_norm`."""
    return tf.reshape(_add_layer_norm(as_matrix(x), bias, as_matrix(residual), beta, gamma), tf.shape(x))


def bias_add(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """As `fused.bias_add`."""
    return tf.reshape(_bias_add(as_matrix(x), bias), tf.shape(x))


@tf.custom_gradient
def _bias_gelu(x, bias):
    return fused.bias_gelu_forward(x, bias), lambda dy: _bias_gelu_backward(x, bias, dy)


@tf.function(jit_compile=True, autograph=False)
def _bias_gelu_backward(x, bias, dy):
    u = tf.cast(x, tf.float32) + bias
    # 1/2 (1 + tanh z) is the logistic function of 2 z. Written with it, the slope shares nothing with the forward pass
    # whose float32 tanh the compiler would keep from there.
    s = tf.sigmoid(2.0 * GELU_SLOPE * (u + GELU_CUBIC * u * u * u))
    slope = s + u * s * (1.0 - s) * (2.0 * GELU_SLOPE) * (1.0 + 3.0 * GELU_CUBIC * u * u)
    (du,) = _fenced([tf.cast(tf.cast(dy, tf.float32) * slope, x.dtype)])
    return du, _sum_of_rows(du)


@tf.function(jit_compile=True, autograph=False)
def _layer_norm_forward(x, bias, residual, beta, gamma):
    return _fenced(fused.layer_norm_forward(x, bias, residual, beta, gamma))


@tf.function(jit_compile=True, autograph=False)
def _layer_norm_backward(dy, normalised, reciprocal, gamma):
    (dh,) = _fenced([tf.cast(fused.layer_norm_gradient(dy, normalised, reciprocal, gamma), dy.dtype)])
    scaled = tf.cast(dy, tf.float32) * tf.cast(normalised, tf.float32)
    return dh, _sum_of_rows(dh), _sum_of_rows(dy), _sum_of_rows(scaled)


_add_layer_norm = fused.differentiable_layer_norm(_layer_norm_forward, _layer_norm_backward)


@tf.custom_gradient
def _bias_add(x, bias):
    return tf.nn.bias_add(x, tf.cast(bias, x.dtype)), _bias_add_backward


@tf.function(jit_compile=True, autograph=False)
def _bias_add_backward(dy):
    (dy,) = _fenced([dy])
    return dy, _sum_of_rows(dy)


@tf.custom_gradient
def _next_layer(x: tf.Tensor, *weights: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable]:
    """The same tensors, with a fence around the gradient of each weight.

    The compiler adds the gradients of all layers in one pass, before which it keeps them: half of the memory that a
    step of xxlarge needs when its activations are recomputed. With a fence behind each layer's it adds them one by
    one, which passes over memory more often.
    """

    def backward(dx, *gradients):
        return dx, *(_fenced([gradient])[0] for gradient in gradients)

    return (tf.identity(x), *map(tf.identity, weights)), backward


def _fenced(tensors: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
    """The same tensors, across which the compiler neither moves nor repeats a computation. In compiled code only."""
    return tuple(gen_xla_ops.xla_optimization_barrier(list(tensors)))


def _sum_of_rows(x: tf.Tensor) -> tf.Tensor:
    """[T, H] -> [H] float32. In compiled code only."""
    rows, width = tf.shape(x)[0], x.shape[-1]
    side_by_side = tf.where(rows % _ROWS_SIDE_BY_SIDE == 0, _ROWS_SIDE_BY_SIDE, 1)
    wide = tf.reshape(tf.cast(x, tf.float32), [rows // side_by_side, side_by_side * width])
    return tf.reduce_sum(tf.reshape(tf.reduce_sum(wide, axis=0), [side_by_side, width]), axis=0)


FENCED = ElementWise(bias_add, bias_gelu, add_layer_norm, fused.masked_softmax, _next_layer)
