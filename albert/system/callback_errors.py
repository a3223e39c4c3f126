"""Carries a UserError out of a TensorFlow callback, which would turn it into a traceback. No TensorFlow.

TensorFlow turns what a callback raises into an error of its own, whose message is a traceback, and raises that when the
element is requested: much later, or never, because pipelines read ahead. So the callback keeps its error aside under a
mark and raises the mark alone; the caller that gets an error of TensorFlow with a mark in it raises the error that the
mark stands for. Errors are never mistaken for one another, however many are kept, and one in an element that is never
requested does no harm.
"""

import contextlib
import functools
import re
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

from albert.errors import UserError

T = TypeVar("T")

# Functions run in TensorFlow's threads, so what they keep aside belongs to the process.
_kept: dict[str, UserError | OSError] = {}
_MARK = re.compile(r"kept aside as ([0-9a-f]{32})")


class _KeptAside(Exception):
    """What TensorFlow gets. Its text is plain, whatever the error's is: a file name may be no valid Unicode."""


def record_user_errors(function: Callable[..., T]) -> Callable[..., T]:
    """`function`, whose UserErrors and OSErrors `reraise_user_errors` will raise again."""

    @functools.wraps(function)
    def wrapped(*arguments: object) -> T:
        try:
            return function(*arguments)
        except (UserError, OSError) as error:
            mark = uuid.uuid4().hex
            _kept[mark] = error
            raise _KeptAside(f"kept aside as {mark}") from None

    return wrapped


@contextlib.contextmanager
def reraise_user_errors() -> Iterator[None]:
    """Raises the error of a function of `record_user_errors`, in place of what TensorFlow made of it.

    The function may have been called long before the block began.
    """
    try:
        yield
    except Exception as error:
        mark = _MARK.search(str(error))
        if mark and mark[1] in _kept:
            raise _kept.pop(mark[1]) from error
        raise
