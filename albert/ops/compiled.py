"""Functions that are compiled once for a shape, whatever the number of replicas on one processor."""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from albert.system.compiler_options import compiling_reductions

_FIRST_CPU = "/cpu:0"
_reading_options = threading.Lock()


class CompiledOnce:
    """A function of tensors, compiled by XLA; keyword arguments are constants of the compiled code.

    TensorFlow compiles once for each device. The logical devices of a CPU are one processor, so that all of them call
    what was compiled for the first one (benchmarks/results/starting.md). On a single device and on GPUs it is a
    `tf.function` like any other.
    """

    def __init__(self, python_function: Callable):
        self.python_function = python_function
        self._function = tf.function(python_function, jit_compile=True, autograph=False)
        self._traces: dict[tuple, Callable] = {}
        functools.update_wrapper(self, python_function)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, *values: object, **constants: object):
        """What `python_function` returns of `values`, which may be nested."""
        read_compiler_options()
        tensors = tf.nest.map_structure(tf.convert_to_tensor, values)
        if not replicas_share_code():
            return self._function(*tensors, **constants)
        specs = tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), tensors)
        key = (*tf.nest.flatten(specs), *constants.items())
        if key not in self._traces:
            # A trace belongs to the replica that is current, and compiled code to a trace. In another thread no replica
            # is, and no tape records.
            with ThreadPoolExecutor(1) as thread:
                trace = thread.submit(self._function.get_concrete_function, *specs, **constants)
            self._traces[key] = trace.result()
        with tf.device(_FIRST_CPU):
            return self._traces[key](*tensors, **constants)


def read_compiler_options() -> None:
    """Has XLA read `system.compiler_options`, if it has not compiled in this process yet. Call it before that.

    Or threads that share compiled code, such as several replicas, may end with a segmentation fault.
    """
    with _reading_options:
        _compile_first()


@functools.cache
def _compile_first() -> None:
    def compile_anything() -> None:
        with tf.device(_FIRST_CPU):
            tf.function(tf.negative, jit_compile=True, autograph=False)(tf.zeros([]))

    # In another thread no replica is current, and no function is being traced.
    with compiling_reductions(), ThreadPoolExecutor(1) as thread:
        thread.submit(compile_anything).result()


def replicas_share_code() -> bool:
    """Whether this process computes on several logical CPUs and nothing else."""
    kinds = [device.device_type for device in tf.config.list_logical_devices()]
    return len(kinds) > 1 and set(kinds) == {"CPU"}
