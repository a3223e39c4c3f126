"""What a record consists of."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

# One training record without padding: {"input_ids": [...], "segment_ids": [...], "label_ids": [label]}.
Record = dict[str, list[int] | list[float]]


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
