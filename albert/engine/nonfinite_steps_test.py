"""Which steps are tolerated, and what is said of them."""

import logging
import math

import pytest
import tensorflow as tf

from albert.engine.nonfinite_steps import NonfiniteSteps
from albert.engine.throughput import Speed, StepRecord
from albert.errors import UserError


def _records(*losses: float, norm: float = 1.0) -> list[StepRecord]:
    """Steps 1, 2, ..."""
    return [StepRecord(i + 1, loss, norm, 0.5, 10.0, 10.0, Speed()) for i, loss in enumerate(losses)]


def _guard(tmp_path, limit: int) -> NonfiniteSteps:
    """Over two replicas; step t, counted from 0, has the examples 10 t + 3 and 10 t + 1, and one row of padding."""

    def input_fn(first, last):
        assert last == first + 1
        shards = [{"example_ids": tf.constant([10 * first + 3])}, {"example_ids": tf.constant([10 * first + 1, -1])}]
        return iter(shards)

    return NonfiniteSteps(limit, input_fn, tmp_path)


def test_finite_steps_pass(tmp_path):
    guard = _guard(tmp_path, 0)
    records = _records(1.0, 2.0)
    assert guard.tolerated(records) == records
    guard.raise_if_too_many()


@pytest.mark.parametrize("losses", [[1.0, math.nan, 3.0], [1.0, math.inf], [1.0, -math.inf]])
def test_the_step_that_stops_is_named_with_its_loss_examples_and_rate(tmp_path, losses):
    guard = _guard(tmp_path, 0)
    assert [record.step for record in guard.tolerated(_records(*losses))] == [1]
    message = rf"step 2: loss {losses[1]}, gradient norm 1\.0 .* 11, 13 at learning rate 0\.5\. Training stopped"
    with pytest.raises(UserError, match=message) as raised:
        guard.raise_if_too_many()
    assert "`skip_nonfinite_steps`=1 or more" in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_gradient_that_is_not_finite_counts_like_a_loss(tmp_path):
    guard = _guard(tmp_path, 0)
    guard.tolerated(_records(1.0, norm=math.inf))
    with pytest.raises(UserError, match=r"step 1: loss 1\.0, gradient norm inf"):
        guard.raise_if_too_many()


@pytest.mark.parametrize("calls", [[5], [1, 1, 1, 1, 1], [2, 3]])
def test_some_are_left_out_and_the_next_stops_however_steps_are_called(tmp_path, caplog, calls):
    caplog.set_level(logging.WARNING)
    guard = _guard(tmp_path, 2)
    waiting = _records(math.nan, 1.0, math.nan, 1.0, math.nan)
    passed = []
    for count in calls:
        passed += guard.tolerated(waiting[:count])
        waiting = waiting[count:]
        if waiting:
            guard.raise_if_too_many()
    assert [record.step for record in passed] == [1, 2, 3, 4]
    with pytest.raises(UserError, match=r"step 5: .* 41, 43 at"):
        guard.raise_if_too_many()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("step 1: loss nan, gradient norm 1.0 ")
    assert " 1, 3 at learning rate 0.5. Left out, 1 of at most 2." in first
    assert " 21, 23 at learning rate 0.5. Left out, 2 of at most 2." in second


def test_a_large_batch_is_named_in_part(tmp_path):
    guard = NonfiniteSteps(0, lambda first, last: [{"example_ids": tf.range(1000)}], tmp_path)
    guard.tolerated(_records(math.nan))
    with pytest.raises(UserError, match=r"0, 1, .* 255 and 744 more at"):
        guard.raise_if_too_many()
