import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from albert.engine.estimator import Estimator


def test_a_test_that_trains_and_is_not_marked_fails():
    with pytest.raises(pytest.fail.Exception, match=r"conftest_test\.py.* trains a model: mark it"):
        Estimator.train(None)


def _registered() -> int:
    return sum(name.startswith("CustomGradient-") for name in ops.gradient_registry._registry)


@pytest.mark.parametrize("_time", ["first", "second"])
def test_gradients_of_graphs_that_an_earlier_test_built_are_gone(_time):
    assert _registered() == 0

    @tf.custom_gradient
    def double(x):
        return 2 * x, lambda dy: 2 * dy

    with tf.Graph().as_default():
        double(tf.constant(1.0))
    assert _registered() == 1, "TensorFlow no longer keeps them: the fixture _free_graphs has nothing to do"
