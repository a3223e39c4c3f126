import numpy as np
import tensorflow as tf

from albert.engine.distribution import create_replicas
from albert.ops.compiled import CompiledOnce


def test_replicas_on_one_processor_share_one_trace_and_so_its_compiled_code():
    traced = []

    @CompiledOnce
    def scaled(values, by, power: int):
        traced.append(power)
        return [value * by**power for value in values]

    def in_replica():
        x = tf.constant([1.0, 2.0])
        return scaled([x, x + 1.0], tf.constant(3.0), power=2) + scaled([x], tf.constant(2.0), power=3)

    strategy = create_replicas("mirror", 4, "cpu").strategy
    results = tf.function(lambda: strategy.run(in_replica), autograph=False)()
    assert traced == [2, 3]
    for values in zip(*map(strategy.experimental_local_results, results), strict=True):
        np.testing.assert_array_equal(values, [[9.0, 18.0], [18.0, 27.0], [8.0, 16.0]])


def test_another_shape_or_constant_is_another_trace():
    traced = []

    @CompiledOnce
    def total(x, power: int):
        traced.append((x.shape[0], power))
        return tf.reduce_sum(x**power)

    found = [float(total(np.arange(n, dtype=np.float32), power=power)) for n, power in [(3, 1), (3, 1), (3, 2), (4, 1)]]
    assert found == [3.0, 3.0, 5.0, 6.0]
    assert traced == [(3, 1), (3, 2), (4, 1)]


def test_a_function_may_differentiate_though_a_tape_outside_records_too():
    @CompiledOnce
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x**3
        return tape.gradient(y, x)

    def in_replica():
        x = tf.constant([1.0, 2.0])
        with tf.GradientTape() as outside:
            outside.watch(x)
            return slope(x)

    strategy = create_replicas("mirror", 2, "cpu").strategy
    found = strategy.experimental_local_results(tf.function(lambda: strategy.run(in_replica), autograph=False)())
    np.testing.assert_array_equal(found, [[3.0, 12.0]] * 2)
