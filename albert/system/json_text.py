"""JSON that others wrote: read strictly, and shown in messages without filling the screen.

Python's own reader takes the last of two members of one name, so that what the first held is lost without a word.
"""

import collections
import gc
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from albert.system.text_encoding import whole_text

_SHOWN_CHARACTERS = 80


def parse_json(data: bytes | str) -> Any:
    """The value of a JSON text in UTF-8, with or without byte order marks.

    Raises ValueError with a few words on what is wrong, among them: a name twice in one object, too deep to be read.
    """
    text = data if isinstance(data, str) else whole_text(data)
    # A finalizer that a collection calls where lists in lists have used up the stack fails, and prints that.
    collects_garbage = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        if not text.strip():
            raise ValueError("empty") from None
        raise ValueError(f"not JSON ({error.msg.removesuffix(' at')} at character {error.pos + 1})") from None
    except _TwiceError as error:
        raise ValueError(f"not clear: {short_repr(error.name)} appears twice in one object") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists in lists
        raise ValueError("not JSON that can be read (numbers too long or lists too deep)") from None
    finally:
        if collects_garbage:
            gc.enable()


def finite_or_null(values: Mapping[str, float]) -> dict[str, float | None]:
    """`values` with null for what JSON has no number for: NaN and the infinities."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def short_repr(value: object) -> str:
    """`value` as Python writes it, cut to about one line: for messages that quote files and arguments."""
    return _SHORT.repr(value)


def short_text(value: object) -> str:
    """The same without the quotation marks of a text, for names: in them it is cut and escaped like any other."""
    shown = short_repr(value)
    return shown[1:-1] if isinstance(value, str) else shown


class _TwiceError(ValueError):
    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


def _object(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        ((name, _),) = collections.Counter(name for name, _ in members).most_common(1)
        raise _TwiceError(name)
    return found


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _SHOWN_CHARACTERS
