"""Gives every test process four logical CPU devices, the stand-ins for GPUs, and frees what a test leaves behind."""

import ctypes
import gc
from collections.abc import Iterator

import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from albert.engine.distribution import create_replicas
from albert.engine.estimator import Estimator

# Before TensorFlow computes anything.
create_replicas("mirror", 4, "cpu")
# Without this, tests that compare bitwise would depend on the machine's number of threads.
tf.config.experimental.enable_op_determinism()
tf.random.set_seed(0)
# What the imports made stays; without it every collection below would search it.
gc.freeze()


@pytest.fixture(autouse=True)
def _free_graphs() -> Iterator[None]:
    """Frees the graphs that a test built: 50 MB for each training of a tiny model on two replicas.

    Each call of a `tf.custom_gradient` function in a graph registers a gradient under a new name. TensorFlow looks the
    name up while it builds the graph's gradient, never after that, but keeps it for the life of the process, and with
    it the graph and all that the graph refers to.
    """
    yield
    gradients = ops.gradient_registry._registry
    unused = [name for name in gradients if name.startswith("CustomGradient-")]
    for name in unused:
        del gradients[name]
    if unused:
        gc.collect()
        # The engine makes glibc keep freed memory, which helps one run, not many different ones after each other.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)


_train = Estimator.train
_current_test: pytest.Item | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Notes whose fixtures are made next."""
    global _current_test
    _current_test = item


def _train_if_marked(*arguments: object, **names: object) -> None:
    """`Estimator.train` for the tests that `--quick` leaves out; fails the others, so that quick stays quick."""
    if _current_test is not None and _current_test.get_closest_marker("training") is None:
        pytest.fail(
            f"{_current_test.nodeid} trains a model: mark it with @pytest.mark.training, which --quick leaves out"
        )
    _train(*arguments, **names)


Estimator.train = _train_if_marked
