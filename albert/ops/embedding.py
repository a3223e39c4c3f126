"""Rows of a table by number, with a gradient that has the same bits in every run.

The gradient adds up the rows that belong to the same number, many to one. TensorFlow's operation, and the compiler's,
let a GPU's threads add in the order in which they arrive; what they offer instead for repeatable results either goes
through the rows one by one or is a sequence of general operations. Here nothing is written to a place that two rows
share: rows are sorted by number, added within each number as a tree, and each entry of the table looks up its sum.
"""

import tensorflow as tf


@tf.custom_gradient
def gather_repeatably(table: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """As `tf.gather`: `table` [V, E], `numbers` int32 of any shape -> [*numbers.shape, E]."""

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, None]:
        rows = tf.reshape(dy, [-1, table.shape[-1]])
        return sums_by_number(rows, tf.reshape(numbers, [-1]), table.shape[0]), None

    return tf.gather(table, numbers), gradient


def sums_by_number(rows: tf.Tensor, numbers: tf.Tensor, count: int) -> tf.Tensor:
    """[T, E], int32 [T] below `count` -> [count, E]: in row v the sum of the rows whose number is v."""
    total = tf.size(numbers, tf.int64)
    # With the place in the key no two are equal, so that there is one order, whatever sorts them.
    keys = tf.sort(tf.cast(numbers, tf.int64) * total + tf.range(total))
    order, numbers = keys % total, tf.cast(keys // total, tf.int32)

    def add_from(distance: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Sums of up to `distance` rows, up to and with each, become sums of twice as many of the same number."""
        before = tf.range(total) - distance
        other = tf.maximum(before, tf.constant(0, tf.int64))
        is_same = (before >= 0) & (tf.gather(numbers, other) == numbers)
        sums += tf.where(is_same[:, None], tf.gather(sums, other), 0.0)
        return 2 * distance, tf.ensure_shape(sums, rows.shape)

    start = tf.constant(1, tf.int64), tf.gather(rows, order)
    _, sums = tf.while_loop(lambda distance, _: distance < total, add_from, start)
    # The last row of each number has the sum of all of them.
    wanted = tf.range(count)
    last = tf.maximum(tf.searchsorted(numbers, wanted, side="right") - 1, 0)
    return tf.where((tf.gather(numbers, last) == wanted)[:, None], tf.gather(sums, last), 0.0)
