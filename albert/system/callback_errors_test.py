"""What reaches the caller when a function that TensorFlow calls finds the user's mistake."""

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
    return numbers.map(lambda n: tf.numpy_function(value, [n], tf.int64), num_parallel_calls=2)


def test_a_users_mistake_comes_as_it_was_raised():
    with pytest.raises(UserError, match=r"^one line$"), reraise_user_errors():
        list(_dataset(UserError("one line")))


def test_a_bug_and_an_error_of_before_are_not_mistaken_for_it():
    with pytest.raises(tf.errors.OpError):
        list(_dataset(UserError("of before")))
    with pytest.raises(tf.errors.OpError, match="a bug"), reraise_user_errors():
        list(_dataset(ValueError("a bug")))
    with pytest.raises(UserError, match="another"), reraise_user_errors():
        raise UserError("another")


def test_without_errors_nothing_happens():
    with reraise_user_errors():
        assert len(list(_dataset(UserError("never"), fails_at=9))) == 3
