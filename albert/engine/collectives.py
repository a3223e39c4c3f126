"""What replicas say to each other, and which of them is speaking. Inside a replica, unless said otherwise."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from albert.engine.workers import messages_of, words_of


def local_replica_index() -> int:
    """Which of this process's replicas is being traced, from 0; a Python number."""
    context = tf.distribute.get_replica_context()
    number = tf.get_static_value(context.replica_id_in_sync_group)
    assert number is not None, "the replica's number must be known while it is traced"
    # Replicas are counted over all processes, of which each has the same number of devices.
    return int(number) % len(context.strategy.extended.worker_devices)


def all_reduce_sum(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Sums float32 tensors over all replicas; the only collective of a training step.

    They travel as one flat vector: one call for a whole gradient together with whatever rides along.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return list(tensors)
    shapes = [tensor.shape for tensor in tensors]
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(flat))
    parts = tf.split(total, [shape.num_elements() for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def exchange_over(strategy: tf.distribute.Strategy) -> Callable[[bytes], list[bytes]]:
    """The function that returns every process's message, in their order, where each calls it with its own.

    Called outside replicas. Collectives carry no bytes, so that messages travel as int64.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)
    def gathered(words: tf.Tensor) -> tf.Tensor:
        def in_replica(words: tf.Tensor) -> tf.Tensor:
            # One of a process's replicas speaks for it.
            spoken = words if local_replica_index() == 0 else words[:0]
            return tf.distribute.get_replica_context().all_gather(tf.identity(spoken), axis=0)

        return strategy.experimental_local_results(strategy.run(in_replica, args=(words,)))[0]

    return lambda message: messages_of(gathered(tf.constant(words_of(message))).numpy())
