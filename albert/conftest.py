"""Gives every test process four logical CPU devices, the stand-ins for GPUs, before TensorFlow computes anything."""

import tensorflow as tf

from albert.engine.distribution import create_replicas

create_replicas("mirror", 4, "cpu")
# Without this, tests that compare bitwise would depend on the machine's number of threads.
tf.config.experimental.enable_op_determinism()
tf.random.set_seed(0)
