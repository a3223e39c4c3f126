"""What a cell of a table holds: a text, a label, or what is neither. No TensorFlow."""

import json
import math
from typing import Any

from albert.system.json_text import short_repr
from albert.system.text_encoding import HALF_SURROGATE, half_surrogate

MAX_FIELD = 1 << 20  # characters


def text_of(cell: Any) -> str:
    """The text in a cell. Raises ValueError saying what else it holds, to follow the name of the column."""
    if not isinstance(cell, str):
        raise ValueError(f"holds {kind_of(cell)} ({shown(cell)}), not a text in quotes")
    if len(cell) > MAX_FIELD:
        raise ValueError(f"holds {len(cell):,} characters; {MAX_FIELD:,} are allowed")
    if "\0" in cell:
        raise ValueError("holds the character NUL, which no text has")
    if half_surrogate(cell) is not None:
        raise ValueError(f"holds {HALF_SURROGATE}")
    return cell


def label_of(cell: Any) -> str | tuple[str, ...]:
    """The label in a cell without the white space around it, or the labels in a list of JSON.

    A number of JSON is the label that it spells. Raises ValueError as `text_of`.
    """
    if isinstance(cell, list):
        labels = [_label_word(label) for label in cell]
        if len(set(labels)) < len(labels):
            raise ValueError(f"holds {short_repr(cell)}, which names a label twice")
        if "" in labels:
            raise ValueError(f"holds {short_repr(cell)}, with an empty label")
        return tuple(sorted(labels))
    return _label_word(cell)


def shown(value: Any) -> str:
    """`value` as JSON spells it, cut to about one line."""
    return short_repr(value) if isinstance(value, str | list | dict) else json.dumps(value)


def _label_word(cell: Any) -> str:
    if isinstance(cell, bool | int) or (isinstance(cell, float) and math.isfinite(cell)):
        return json.dumps(cell)
    return text_of(cell).strip()


def kind_of(cell: Any) -> str:
    """What JSON calls `cell`, which is no text."""
    if isinstance(cell, bool):
        return "true or false"
    kinds = {dict: "an object", list: "a list", int: "a number", float: "a number", type(None): "null"}
    return kinds[type(cell)]
