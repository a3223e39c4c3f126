"""What a record consists of."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

# One training record without padding: {"input_ids": [...], "segment_ids": [...], "label_ids": [label]}.
Record = dict[str, list[int] | list[float]]

# A key of a record that begins so is not a column. It ends with the name of the setting to which a text was cut, and
# holds how many tokens the text had.
_CUT = "cut:"


# The "host" columns of a record.
HostRecord = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a record.

    "tokens" holds one number for each of the record's tokens, "scalar" a single one, "vector" always `length` of them;
    "host" holds any number of integers that never go to the model, but come back for scoring.
    """

    kind: Literal["tokens", "scalar", "vector", "host"]
    dtype: Literal["int32", "float32"]
    length: int = 1


def cut_marks(**lengths_and_limits: tuple[int, int]) -> Record:
    """What a record says of texts that were cut: by setting, the (length, limit) of a text in tokens."""
    return {f"{_CUT}{name}": [length] for name, (length, limit) in lengths_and_limits.items() if length > limit}


def take_cuts(records: Iterable[Record]) -> dict[str, int]:
    """Takes the marks out of the records of one item; returns the longest length by setting."""
    longest: dict[str, int] = {}
    for record in records:
        for key in [key for key in record if key.startswith(_CUT)]:
            name = key.removeprefix(_CUT)
            longest[name] = max(int(record.pop(key)[0]), longest.get(name, 0))
    return longest
