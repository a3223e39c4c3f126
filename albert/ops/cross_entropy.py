"""Cross-entropy over a vocabulary in one pass over the logits, forward and backward.

As in `albert.ops.fused`: TensorFlow's own operations pass five times over these logits, which are by far the largest
tensor of a pretraining step, and keep two more of their size.
"""

import tensorflow as tf

from albert.ops.compiled import CompiledOnce


def cross_entropy(products: tf.Tensor, bias: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """-log softmax(`products` + `bias`) at `ids`: [N] float32 from [N, V] in any precision, [V] float32, [N] int32.

    Computed in float32.
    """
    return _cross_entropy(products, bias, ids)


@tf.custom_gradient
def _cross_entropy(products, bias, ids):
    losses, normalisers = _cross_entropy_forward(products, bias, ids)
    return losses, lambda dy: (*_cross_entropy_backward(dy, products, bias, ids, normalisers), None)


@CompiledOnce
def _cross_entropy_forward(products, bias, ids):
    logits = tf.cast(products, tf.float32) + bias
    normalisers = tf.reduce_logsumexp(logits, axis=-1)
    return normalisers - tf.gather(logits, ids, batch_dims=1), normalisers


@CompiledOnce
def _cross_entropy_backward(dy, products, bias, ids, normalisers):
    probabilities = tf.exp(tf.cast(products, tf.float32) + bias - normalisers[:, None])
    is_label = tf.range(products.shape[1])[None, :] == ids[:, None]
    gradient = (probabilities - tf.cast(is_label, tf.float32)) * dy[:, None]
    return tf.cast(gradient, products.dtype), tf.reduce_sum(gradient, axis=0)
