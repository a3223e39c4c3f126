"""What a run changes of its process is put back."""

import contextlib
import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config, ops

from albert.engine import devices
from albert.engine.shared_process import free_graphs, leaving_as_found
from albert.errors import UserError


def _build_graph() -> weakref.ref:
    """A graph with a function whose gradient is our own, which TensorFlow keeps in a registry."""

    @tf.custom_gradient
    def doubled(x: tf.Tensor) -> tuple:
        return 2 * x, lambda upstream: 2 * upstream

    @tf.function(autograph=False)
    def total(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(doubled(x))

    return weakref.ref(total.get_concrete_function(tf.zeros([3])).graph)


def _custom_gradients() -> set[str]:
    return {name for name in ops.gradient_registry._registry if name.startswith("CustomGradient-")}


def test_graphs_are_freed_but_those_of_others():
    others = _build_graph()
    kept = _custom_gradients()
    assert len(kept) == 1
    ours = _build_graph()
    assert free_graphs(kept)
    assert _custom_gradients() == kept
    assert (ours(), others() is None) == (None, False)
    assert free_graphs()
    assert not free_graphs()
    gc.collect()
    assert others() is None


class Data:
    """Something that a data set reads."""


def _read(data: Data) -> None:
    def value(number: np.ndarray) -> np.ndarray:
        return number + (data is None)

    dataset = tf.data.Dataset.range(2).map(lambda number: tf.numpy_function(value, [number], tf.int64))
    assert [int(number) for number in dataset] == [0, 1]


def test_data_that_a_data_set_read_are_freed_but_those_of_others():
    others, ours = Data(), Data()
    _read(others)
    with leaving_as_found():
        _read(ours)
    alive = [weakref.ref(others), weakref.ref(ours)]
    del others, ours
    gc.collect()
    assert [reference() is not None for reference in alive] == [True, False]


def _choices() -> tuple:
    options = devices.context.context()._config.graph_options.rewrite_options
    return config.tensor_float_32_execution_enabled(), config.is_op_determinism_enabled(), options.memory_optimization


def _change_everything_and_fail(chosen: int) -> None:
    devices.keep_float32()
    devices.make_deterministic()
    devices.keep_order_of_sums()
    devices.keep_freed_memory()
    assert _choices() == (False, True, chosen)
    _build_graph()
    raise KeyError


def test_tensorflow_computes_as_before_also_after_an_error():
    config.disable_op_determinism()
    config.enable_tensor_float_32_execution(True)
    chosen = devices.keep_order_of_sums(0)
    before = _choices()
    try:
        with pytest.raises(KeyError), leaving_as_found():
            _change_everything_and_fail(chosen)
        assert _choices() == before
        assert not _custom_gradients()
    finally:
        config.enable_op_determinism()
        devices.keep_float32()
        devices.keep_order_of_sums(chosen)


@contextlib.contextmanager
def _functions_run_eagerly() -> Iterator[None]:
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (lambda: tf.Graph().as_default(), "TensorFlow builds a graph here"),
        (_functions_run_eagerly, "run_functions_eagerly.* is in force"),
        (lambda: tf.distribute.OneDeviceStrategy("/cpu:0").scope(), "the scope of another tf.distribute.Strategy"),
    ],
)
def test_where_no_run_can_compute_it_is_refused(way, said):
    with way(), pytest.raises(UserError, match=f"{said}.*: begin the run outside of it"), leaving_as_found():
        pytest.fail("it began")


def test_a_tape_outside_of_a_run_records_nothing_of_it():
    x = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        with leaving_as_found():
            y = x * x
    assert tape.gradient(y, x) is None
