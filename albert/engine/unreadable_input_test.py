"""Training, evaluation and prediction whose input fails while it is read ahead. The model is one number."""

import errno
import os
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from albert.engine.distribution import create_replicas
from albert.engine.estimator import Estimator, EstimatorSpec, EvalSpec, RunConfig
from albert.errors import UserError
from albert.system.callback_errors import record_user_errors
from albert.system.signals import Interrupted

pytestmark = pytest.mark.training

READ_AHEAD = 4


class _Descent:
    slot_names = ()

    def clip(self, norm):
        return tf.ones([])

    def update(self, variables, slots, gradients, learning_rate, gradient_scale=1.0, is_applied=True):
        variables["w"].assign_sub(gradients["w"] * learning_rate * gradient_scale)


def _model_fn(features, mode, weights, step):
    ids = features["example_ids"]
    values = weights["w"] * tf.cast(ids, tf.float32)
    return EstimatorSpec(mode, ids, tf.ones_like(values), values, {"value": values})


def _estimator(folder, replicas=1, **config):
    estimator = Estimator(
        model_fn=_model_fn,
        create_weights=lambda: {"w": tf.Variable(1.0)},
        optimizer=_Descent(),
        learning_rate=lambda step: tf.constant(0.1),
        replicas=create_replicas("mirror", replicas, "cpu"),
        config=RunConfig(folder, replicas, **{"save_checkpoints_steps": 2, **config}),
    )
    estimator.throughput.steps_for = lambda seconds: 2
    return estimator


def _input(fails_at, error=None, replicas=1, seen=None):
    """`input_fn(first, last)`: an example for each replica and step; those from number `fails_at` on cannot be read."""
    error = error or UserError("this line")

    @record_user_errors
    def read(number):
        if seen is not None:
            seen.append(int(number))
        if number >= fails_at:
            raise error
        return number

    def input_fn(first, last):
        numbers = tf.data.Dataset.range(first * replicas, last * replicas)

        # Not stateful, as those of the product: of others, a process that repeats its bits reads nothing ahead.
        def read_number(number):
            return tf.ensure_shape(tf.numpy_function(read, [number], tf.int64, stateful=False), [])

        read_numbers = numbers.map(read_number, READ_AHEAD)
        return read_numbers.map(lambda number: {"example_ids": number[None]}).prefetch(READ_AHEAD)

    return input_fn


def _dev(fails_at=99):
    return EvalSpec(lambda: _input(fails_at)(0, 4), lambda outputs: {"sum": float(outputs["value"].sum())}, "sum")


class _Waits:
    """An observer that gives the pipeline time to read ahead, and to fail, after each call of the training loop."""

    def __init__(self, then=lambda step: None):
        self._then = then

    def on_start(self, first_step):
        pass

    def on_steps(self, records):
        time.sleep(0.1)
        self._then(records[-1].step)

    def on_evaluation(self, evaluation):
        pass


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(
    "error",
    [
        UserError("this line"),
        OSError(errno.EIO, "this line", "file"),
        # What a file's name may hold, and what TensorFlow cannot put into a message.
        UserError("this line \udcff"),
        UserError("this line " + "and more " * 10_000),
    ],
    ids=["mistake", "disk", "no Unicode", "long"],
)
def test_training_until_the_batch_that_cannot_be_read_and_then_its_error(tmp_path, replicas, error):
    estimator = _estimator(tmp_path, replicas)
    with pytest.raises(type(error), match="this line") as raised:
        estimator.train(_input(4 * replicas, error, replicas), 8, _dev(), [_Waits()])
    assert raised.value is error
    assert (estimator.global_step, estimator.checkpoint_steps, estimator.evaluations.steps) == (4, [2, 4], {2, 4})


def test_a_batch_that_no_step_needs_does_not_matter(tmp_path):
    # Beyond the last step; and beyond the step at which a signal ends training.
    seen = []
    _estimator(tmp_path / "whole").train(_input(4), 4)
    estimator = _estimator(tmp_path / "stopped")
    stop = _Waits(lambda step: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        estimator.train(_input(2, seen=seen), 8, observers=[stop])
    assert max(seen) >= 2  # it was read
    assert estimator.checkpoint_steps == [2]
    with pytest.raises(UserError, match="this line"):
        _estimator(tmp_path / "stopped").train(_input(2), 8)


@pytest.mark.parametrize("fails_at", [0, 2, 3])
def test_an_evaluation_and_a_prediction_whose_input_fails(tmp_path, fails_at):
    estimator = _estimator(tmp_path)
    with pytest.raises(UserError, match=r"^this line$"):
        estimator.train(_input(99), 4, _dev(fails_at))
    assert estimator.checkpoint_steps == [2]
    for act in (
        lambda: estimator.evaluate_checkpoints(_dev(fails_at)),
        lambda: estimator.predict(_dev(fails_at).input_fn),
    ):
        with pytest.raises(UserError, match=r"^this line$"):
            act()
    # None of these is left over for what can be read.
    assert estimator.predict(_dev().input_fn)["value"].shape == (4,)


def test_a_batch_that_cannot_be_read_again_to_name_its_examples(tmp_path):
    # After a loss that is not finite its step's batch is read once more, and may have been damaged in between.
    numbers = []

    @record_user_errors
    def read(number):
        numbers.append(number)
        if numbers.count(number) > 1:
            raise UserError("this line")
        return np.int64(number)

    def input_fn(first, last):
        dataset = tf.data.Dataset.range(first, last)
        dataset = dataset.map(lambda number: tf.ensure_shape(tf.numpy_function(read, [number], tf.int64), []))
        return dataset.map(lambda number: {"example_ids": number[None]})

    estimator = _estimator(tmp_path)
    estimator.weights["w"].assign(np.inf)
    with pytest.raises(UserError, match=r"^this line$"):
        estimator.train(input_fn, 4)
