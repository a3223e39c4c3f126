"""Where the characters of a text come from that was made of another, through any number of changes.

Knows no tokenizer and no rule of any change.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Origins(NamedTuple):
    """Where N characters that were made of a text come from: the characters from `starts` up to `stops` of it."""

    starts: np.ndarray  # [N] int64
    stops: np.ndarray  # [N] int64

    def through(self, earlier: "Origins") -> "Origins":
        """Where they come from in the text that this text itself was made of. Nothing stays nothing."""
        if not len(earlier.starts):
            return self
        last = len(earlier.starts) - 1
        starts = earlier.starts[np.minimum(self.starts, last)]
        stops = np.where(self.stops > self.starts, earlier.stops[np.clip(self.stops - 1, 0, last)], starts)
        return Origins(starts, stops)

    def of_spans(self, first: np.ndarray, stop: np.ndarray) -> "Origins":
        """The same of spans of characters from `first` up to `stop`, none of them empty."""
        return Origins(self.starts[first], self.stops[stop - 1])


def origins_of_units(units: Sequence[str], is_mark: Callable[[int], bool]) -> Origins:
    """Of the characters in `units`, what became of each character of a text.

    Characters that became nothing and, by their position, are marks belong to the character before them.
    """
    lengths = np.fromiter(map(len, units), np.int64, len(units))
    attached = np.zeros(len(units) + 1, np.bool_)
    for position in np.flatnonzero(lengths == 0).tolist():
        attached[position] = is_mark(position)
    # The first position at or after each one that is not attached.
    positions = np.arange(len(units) + 1)
    ends = np.minimum.accumulate(np.where(attached, len(units), positions)[::-1])[::-1]
    starts = np.repeat(positions[:-1], lengths)
    return Origins(starts, ends[starts + 1])
