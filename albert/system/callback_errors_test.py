"""What reaches the caller when a function that TensorFlow calls finds a user's mistake, now or reading ahead."""

import errno
import time

import pytest
import tensorflow as tf

from albert.errors import UserError
from albert.system.callback_errors import record_user_errors, reraise_user_errors


def _dataset(error: Exception, fails_at: int = 1) -> tf.data.Dataset:
    @record_user_errors
    def value(number):
        if number >= fails_at:
            raise error
        return number

    numbers = tf.data.Dataset.range(3)
    mapped = numbers.map(lambda n: tf.numpy_function(value, [n], tf.int64), num_parallel_calls=2, deterministic=True)
    return mapped.prefetch(3)


@pytest.mark.parametrize(
    "error", [UserError("one line"), UserError("name \udcff"), OSError(errno.ESTALE, "Stale file handle", "file")]
)
def test_an_error_comes_as_it_was_raised_however_long_before(error):
    elements = iter(_dataset(error))
    with reraise_user_errors():
        assert int(next(elements)) == 0
    time.sleep(0.1)  # what follows has failed by now, outside of any block
    with reraise_user_errors():
        assert int(next(iter(_dataset(UserError("never"), fails_at=9)))) == 0
    with pytest.raises(type(error)) as raised, reraise_user_errors():
        next(elements)
    assert raised.value is error


def test_each_of_two_pipelines_has_its_own_error():
    first, second = iter(_dataset(UserError("first"), 0)), iter(_dataset(UserError("second"), 0))
    time.sleep(0.1)
    for elements, message in ((second, "second"), (first, "first")):
        with pytest.raises(UserError, match=message), reraise_user_errors():
            next(elements)


def test_a_bug_and_an_error_of_before_are_not_mistaken_for_it():
    with pytest.raises(tf.errors.OpError):
        list(_dataset(UserError("of before")))
    with pytest.raises(tf.errors.OpError, match="a bug"), reraise_user_errors():
        list(_dataset(ValueError("a bug")))
    with pytest.raises(UserError, match="another"), reraise_user_errors():
        raise UserError("another")


def test_an_element_that_is_never_requested_does_no_harm():
    with reraise_user_errors():
        assert len(list(_dataset(UserError("never"), fails_at=9))) == 3
        assert int(next(iter(_dataset(UserError("in the second"))))) == 0
