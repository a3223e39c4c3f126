"""Against TensorFlow's own operations."""

import numpy as np
import tensorflow as tf

from albert.ops.cross_entropy import cross_entropy


def test_cross_entropy_and_its_gradients_are_tensorflows():
    rng = np.random.default_rng(0)
    # Logits of several hundred: exponentials of them would overflow.
    products, bias = (tf.constant(200 * rng.standard_normal(shape), tf.float32) for shape in ((5, 40), (40,)))
    ids, scale = tf.constant(rng.integers(0, 40, 5), tf.int32), tf.constant(rng.standard_normal(5), tf.float32)

    def losses_and_gradients(compute):
        with tf.GradientTape() as tape:
            tape.watch([products, bias])
            losses = compute()
            total = tf.reduce_sum(losses * scale)
        return [losses, *tape.gradient(total, [products, bias])]

    found = losses_and_gradients(lambda: cross_entropy(products, bias, ids))
    expected = losses_and_gradients(
        lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(ids, tf.nn.bias_add(products, bias))
    )
    for values, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, wanted, atol=1e-5, rtol=1e-6)
