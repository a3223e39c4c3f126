"""A run in a process that does other things too: what it changes of TensorFlow and of memory is put back.

A program that only trains needs none of it: its process ends.
"""

import contextlib
import ctypes
import gc
from collections.abc import Collection, Iterator

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.framework import config, ops

from albert.engine.devices import keep_order_of_sums
from albert.errors import UserError

_OF_CUSTOM_GRADIENTS = "CustomGradient-"


@contextlib.contextmanager
def leaving_as_found() -> Iterator[None]:
    """Around a run: frees its graphs and memory, and TensorFlow computes behind it as before.

    Which devices TensorFlow sees cannot be changed back once it computes. A `tf.GradientTape` outside records nothing.
    Raises UserError where TensorFlow is told to compute in a way that no run can have.
    """
    _check_way_of_computing()
    gradients, functions = frozenset(_gradients()), len(_python_functions())
    rounds_to_tf32 = config.tensor_float_32_execution_enabled()
    is_deterministic = config.is_op_determinism_enabled()
    optimizes = keep_order_of_sums()
    try:
        with record.stop_recording():
            yield
    finally:
        config.enable_tensor_float_32_execution(rounds_to_tf32)
        if not is_deterministic:
            config.disable_op_determinism()
        keep_order_of_sums(optimizes)
        del _python_functions()[functions:]
        free_graphs(gradients)
        gc.collect()
        give_memory_back()


def _check_way_of_computing() -> None:
    if not tf.executing_eagerly():
        problem = "TensorFlow builds a graph here (tf.Graph, tf.function or disable_eager_execution)"
    elif tf.config.functions_run_eagerly():
        problem = "tf.config.run_functions_eagerly(True) is in force, which computes in another order"
    elif tf.distribute.has_strategy():
        problem = "this is the scope of another tf.distribute.Strategy"
    else:
        return
    raise UserError(f"{problem}: begin the run outside of it.")


def free_graphs(kept: Collection[str] = ()) -> bool:
    """Frees the graphs that were built: 50 MB for a training of a tiny model on two replicas. Whether there were any.

    Each call of a `tf.custom_gradient` function in a graph registers a gradient under a new name. TensorFlow looks the
    name up while it builds the graph's gradient, never after that, but keeps it for the life of the process, and with
    it the graph and all that the graph refers to. Names in `kept` stay.
    """
    unused = [name for name in _gradients() if name.startswith(_OF_CUSTOM_GRADIENTS) and name not in kept]
    for name in unused:
        del _gradients()[name]
    if unused:
        gc.collect()
    return bool(unused)


def _gradients() -> dict:
    return ops.gradient_registry._registry


def _python_functions() -> list:
    """What `tf.numpy_function` called in this thread, outside of graphs, which is in data sets: they hold the data.

    TensorFlow keeps them as long as the graph of the thread, to its end.
    """
    return getattr(ops.get_default_graph(), "_py_funcs_used_in_graph", [])


def trim_memory() -> None:
    """Gives freed memory to the kernel; does nothing with another C library than glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def give_memory_back() -> None:
    """Undoes `devices.keep_freed_memory`: what a run needed, others can have.

    The thresholds are those at which glibc's own adjustment ends in a process that uses large blocks; it cannot be
    turned on again.
    """
    m_trim_threshold, m_top_pad, m_mmap_threshold, m_mmap_max = -1, -2, -3, -4
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(m_mmap_max, 65536)
        mallopt(m_mmap_threshold, 32 << 20)
        mallopt(m_trim_threshold, 64 << 20)
        mallopt(m_top_pad, 128 << 10)
    trim_memory()
