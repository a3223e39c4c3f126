"""What a caller in Python gives as texts: whether it is some, and which of them is none. No TensorFlow."""

from collections.abc import Iterable, Mapping, Set
from typing import Any, TypeGuard

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.system.text_encoding import HALF_SURROGATE, half_surrogate


def as_list(texts: str | Iterable[str], name: str) -> list[str]:
    """The texts of the argument `name`, one or several. Raises TypeError or UserError where one is none."""
    if isinstance(texts, str):
        return [as_text(texts, name)]
    return [as_text(text, f"{name}[{number}]") for number, text in enumerate(one_by_one(texts, name))]


def as_text(text: object, place: str) -> str:
    """The text. Raises TypeError or UserError, which begins with its `place`, where it is none."""
    if not isinstance(text, str):
        shown = f" ({text!r})" if isinstance(text, bool | int | float) else ""
        raise TypeError(f"{place}: {type(text).__name__}{shown} is not a text")
    if half_surrogate(text) is not None:
        raise UserError(f"{place}: {short_repr(text)} has {HALF_SURROGATE}")
    return text


def one_by_one(texts: Any, name: str) -> Iterable[Any]:
    """What is given as several texts. Raises TypeError for a table, which would give the names of its columns, and for
    what has no order.
    """
    is_table = getattr(texts, "ndim", 1) != 1 or hasattr(texts, "columns") or hasattr(texts, "column_names")
    if is_table or not is_ordered(texts):
        hint = f"; give a column of it: {name}=table['text']" if is_table else ""
        raise TypeError(f"{name}: {type(texts).__name__} is no list of texts{hint}")
    return texts


def is_ordered(values: object) -> TypeGuard[Iterable[Any]]:
    """Whether these are several in an order in which results can come, unlike those of a set."""
    return isinstance(values, Iterable) and not isinstance(values, Mapping | Set | bytes)
