"""A user's mistake that comes to light in a function which TensorFlow calls. No TensorFlow.

TensorFlow turns what such a function raises into an error of its own, whose message is a traceback. So the function
keeps its UserError aside, and whoever asked TensorFlow for the result raises that instead.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TypeVar

from albert.errors import UserError

T = TypeVar("T")

# Functions run in TensorFlow's threads, so what they keep aside belongs to the process. Only the first tells the cause.
_kept: list[UserError] = []


def record_user_errors(function: Callable[..., T]) -> Callable[..., T]:
    """`function`, whose UserErrors `reraise_user_errors` will raise again."""

    @functools.wraps(function)
    def wrapped(*arguments: object) -> T:
        try:
            return function(*arguments)
        except UserError as error:
            _kept.append(error)
            raise

    return wrapped


@contextlib.contextmanager
def reraise_user_errors() -> Iterator[None]:
    """Raises the UserError of a function inside, in place of what TensorFlow made of it."""
    _kept.clear()
    try:
        yield
    except Exception as error:
        if _kept and not isinstance(error, UserError):
            raise _kept[0] from error
        raise
    finally:
        _kept.clear()
