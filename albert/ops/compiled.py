"""Functions that are traced, or compiled, once for a shape, whatever the number of replicas."""

import contextlib
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from albert.system.compiler_options import compiling_reductions

_FIRST_CPU = "/cpu:0"
_reading_options = threading.Lock()


class TracedOnce:
    """A `tf.function` of tensors that is traced once for a shape, whichever replica calls it.

    Keyword arguments are constants of the trace. TensorFlow traces a function for every device on which it is called,
    and for a model that takes Python seconds on each of eight GPUs. Here the operations of a trace name no device: they
    run where they are called.
    """

    def __init__(self, python_function: Callable, jit_compile: bool | None = None):
        self.python_function = python_function
        self._function = tf.function(python_function, jit_compile=jit_compile, autograph=False)
        self._traces: dict[tuple, Callable] = {}
        functools.update_wrapper(self, python_function)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, *values: object, **constants: object):
        """What `python_function` returns of `values`, which may be nested."""
        tensors = tf.nest.map_structure(tf.convert_to_tensor, values)
        if len(tf.config.list_logical_devices()) == 1:
            return self._function(*tensors, **constants)
        specs = tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), tensors)
        key = (*tf.nest.flatten(specs), *constants.items())
        if key not in self._traces:
            # A trace belongs to the replica that is current. In another thread none is, and no tape records.
            with ThreadPoolExecutor(1) as thread:
                trace = thread.submit(self._function.get_concrete_function, *specs, **constants)
            self._traces[key] = trace.result()
        return self._traces[key](*tensors, **constants)


class CompiledOnce(TracedOnce):
    """The same compiled by XLA, once for all logical devices of a processor.

    TensorFlow compiles once for each device. The logical devices of a CPU are one processor, so that all of them call
    what the first one compiled (benchmarks/results/starting.md); every GPU compiles for itself.
    """

    def __init__(self, python_function: Callable):
        super().__init__(python_function, jit_compile=True)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, *values: object, **constants: object):
        """What `python_function` returns of `values`, which may be nested."""
        read_compiler_options()
        with tf.device(_FIRST_CPU) if replicas_share_code() else contextlib.nullcontext():
            return super().__call__(*values, **constants)


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
