"""The element-wise parts of a transformer block, each as one compiled pass forward and one backward.

Owns a bias, GELU with its bias, layer normalisation with its residual, and masked softmax, together with their
gradients. Knows neither variables nor the architecture.

Why by hand: TensorFlow runs `tf.nn.gelu` on a CPU as eight operations forward and as many backward, each a pass over
memory, and in bfloat16 rounds after each of them. Here each direction is one loop that computes in float32, and only
what the backward pass cannot recompute cheaply is kept. Matrix products stay outside, where a CPU's library for them
is faster than the compiler's. Where the whole step is compiled, `albert.ops.fenced` takes this module's place.

`PLAIN` has the same formulas as single operations, for graphs that other programs read.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from albert.ops.compiled import CompiledOnce

# tf.contrib.layers.layer_norm, which upstream calls, adds this to the variance.
LAYER_NORM_EPSILON = 1e-12

GELU_SLOPE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


def bias_add(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`x` [..., H] + `bias` [H] float32, rounded to the precision of `x`; shaped like `x`."""
    return tf.nn.bias_add(x, tf.cast(bias, x.dtype))


def bias_gelu(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """GELU of `x` [..., I] + `bias` [I] float32, in the tanh approximation that upstream uses; shaped like `x`."""
    return tf.reshape(_bias_gelu(as_matrix(x), bias), tf.shape(x))


def add_layer_norm(x: tf.Tensor, bias: tf.Tensor, residual: tf.Tensor, beta: tf.Tensor, gamma: tf.Tensor) -> tf.Tensor:
    """Layer normalisation of `x` + `bias` + `residual` over the last axis; shaped like `x`.

    x and residual are [..., H] in any one precision; bias, beta and gamma [H] float32. Statistics are float32.
    """
    return tf.reshape(_add_layer_norm(as_matrix(x), bias, as_matrix(residual), beta, gamma), tf.shape(x))


def masked_softmax(scores: tf.Tensor, score_bias: tf.Tensor, scale: float) -> tf.Tensor:
    """softmax(`scores` * `scale` + `score_bias`) over the last axis; [R, A, L, L] like `scores`, computed in float32.

    score_bias is float32 [R, 1, L, L] and gets no gradient.
    """
    return _masked_softmax(scores, score_bias, tf.constant(scale, tf.float32))


def as_matrix(x: tf.Tensor) -> tf.Tensor:
    """[..., H] -> [T, H]. On a CPU the compiler adds up the rows of a matrix ten times faster than of anything else."""
    return tf.reshape(x, [-1, x.shape[-1]])


@tf.custom_gradient
def _masked_softmax(scores, score_bias, scale):
    probabilities = _masked_softmax_forward(scores, score_bias, scale)
    return probabilities, lambda dy: (_softmax_backward(dy, probabilities, scale), None, None)


@tf.custom_gradient
def _bias_gelu(x, bias):
    return bias_gelu_forward(x, bias), lambda dy: _bias_gelu_backward(x, bias, dy)


@CompiledOnce
def bias_gelu_forward(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """GELU of `x` [T, I] + `bias` [I]."""
    u = tf.cast(x, tf.float32) + bias
    return tf.cast(0.5 * u * (1.0 + tf.tanh(GELU_SLOPE * (u + GELU_CUBIC * u * u * u))), x.dtype)


@CompiledOnce
def _bias_gelu_backward(x, bias, dy):
    u = tf.cast(x, tf.float32) + bias
    t = tf.tanh(GELU_SLOPE * (u + GELU_CUBIC * u * u * u))
    slope = 0.5 * (1.0 + t) + 0.5 * u * (1.0 - t * t) * GELU_SLOPE * (1.0 + 3.0 * GELU_CUBIC * u * u)
    du = tf.cast(dy, tf.float32) * slope
    return tf.cast(du, x.dtype), tf.reduce_sum(du, axis=0)


def differentiable_layer_norm(
    forward: Callable[..., tuple[tf.Tensor, ...]], backward: Callable[..., tuple[tf.Tensor, ...]]
) -> Callable[..., tf.Tensor]:
    """`add_layer_norm` over matrices, made of its two passes."""

    @tf.custom_gradient
    def layer_norm(x, bias, residual, beta, gamma):
        y, normalised, reciprocal = forward(x, bias, residual, beta, gamma)

        def gradient(dy):
            dh, dbias, dbeta, dgamma = backward(dy, normalised, reciprocal, gamma)
            return dh, dbias, dh, dbeta, dgamma

        return y, gradient

    return layer_norm


@CompiledOnce
def layer_norm_forward(
    x: tf.Tensor, bias: tf.Tensor, residual: tf.Tensor, beta: tf.Tensor, gamma: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """[T, H], its normalised value before scale and shift [T, H], and the reciprocal deviation [T, 1] float32."""
    h = tf.cast(x, tf.float32) + bias + tf.cast(residual, tf.float32)
    mean = tf.reduce_mean(h, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(h, mean), axis=-1, keepdims=True)
    reciprocal = tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
    normalised = (h - mean) * reciprocal
    return tf.cast(normalised * gamma + beta, x.dtype), tf.cast(normalised, x.dtype), reciprocal


@CompiledOnce
def _layer_norm_alone(x, bias, residual, beta, gamma):
    """What training needs besides is not written."""
    return layer_norm_forward.python_function(x, bias, residual, beta, gamma)[0]


def _add_layer_norm_alone(x, bias, residual, beta, gamma):
    return tf.reshape(_layer_norm_alone(as_matrix(x), bias, as_matrix(residual), beta, gamma), tf.shape(x))


@CompiledOnce
def _layer_norm_backward(dy, normalised, reciprocal, gamma):
    dy32, normalised = tf.cast(dy, tf.float32), tf.cast(normalised, tf.float32)
    dh = layer_norm_gradient(dy, normalised, reciprocal, gamma)
    return tf.cast(dh, dy.dtype), *(tf.reduce_sum(v, axis=0) for v in (dh, dy32, dy32 * normalised))


def layer_norm_gradient(dy: tf.Tensor, normalised: tf.Tensor, reciprocal: tf.Tensor, gamma: tf.Tensor) -> tf.Tensor:
    """The gradient of layer normalisation's input [T, H], float32; the arguments as `layer_norm_forward` has them."""
    scaled, normalised = tf.cast(dy, tf.float32) * gamma, tf.cast(normalised, tf.float32)
    mean = tf.reduce_mean(scaled, axis=-1, keepdims=True)
    projection = tf.reduce_mean(scaled * normalised, axis=-1, keepdims=True)
    return reciprocal * (scaled - mean - normalised * projection)


_add_layer_norm = differentiable_layer_norm(layer_norm_forward, _layer_norm_backward)


@CompiledOnce
def _masked_softmax_forward(scores, score_bias, scale):
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32) * scale + score_bias), scores.dtype)


@CompiledOnce
def _softmax_backward(dy, probabilities, scale):
    dy32, probabilities32 = tf.cast(dy, tf.float32), tf.cast(probabilities, tf.float32)
    inner = tf.reduce_sum(dy32 * probabilities32, axis=-1, keepdims=True)
    return tf.cast(probabilities32 * (dy32 - inner) * scale, dy.dtype)


@tf.custom_gradient
def _next_layer(x: tf.Tensor, *weights: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable]:
    """The same tensors. The backward pass of the layer before begins when the gradients of `weights` are added up.

    TensorFlow's graph optimizer would otherwise join the sums of all layers into one, before which a gradient for each
    layer is kept: for xxlarge more memory than all else together.
    """

    def backward(dx, *gradients):
        with tf.control_dependencies(gradients):
            dx = tf.identity(dx)
        return dx, *gradients

    return (tf.identity(x), *map(tf.identity, weights)), backward


@dataclasses.dataclass(frozen=True)
class ElementWise:
    """The functions of this module, in one form of several; each as the function of its name.

    next_layer: returns what it is called with, the input of a layer and the matrices that it shares with the layer
      before, so that the gradients of these are added up layer by layer.
    """

    bias_add: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    bias_gelu: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    add_layer_norm: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    masked_softmax: Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]
    next_layer: Callable[..., Sequence[tf.Tensor]]


FUSED = ElementWise(bias_add, bias_gelu, add_layer_norm, masked_softmax, _next_layer)
# The same for who trains nothing: nothing is kept for a backward pass.
FUSED_FORWARD = dataclasses.replace(FUSED, add_layer_norm=_add_layer_norm_alone)
# Neither compiled nor with a gradient of its own: what converters and servers know are TensorFlow's own operations.
PLAIN = ElementWise(
    bias_add=bias_add,
    bias_gelu=bias_gelu_forward.python_function,
    add_layer_norm=lambda *arguments: layer_norm_forward.python_function(*arguments)[0],
    masked_softmax=_masked_softmax_forward.python_function,
    next_layer=lambda *same: same,
)
