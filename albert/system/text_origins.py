"""Where the characters of a text come from that was made of another, through any number of changes.

Knows no tokenizer, and of the changes only white space and how Unicode composes characters.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

_WHITE_SPACE = re.compile(r"\s+")  # what str.split() splits at
# What composes with the character before it and is no combining mark: vowels and finals of Hangul, vowel signs.
_COMPOSING = re.compile(
    "[\u1161-\u1175\u11a8-\u11c2\u09be\u09d7\u0b3e\u0b56\u0b57\u0bbe\u0bd7\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dcf\u0ddf\u102e"
    "\u1b35\U00011127\U0001133e\U00011357\U000114b0\U000114ba\U000114bd\U000115af\U00011930]"
)


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


def spaced_origins(text: str, units: list[str]) -> Origins:
    """Of the characters of `units`, which became of those of `text`, when white space is collapsed besides."""
    for match in _WHITE_SPACE.finditer(text):
        # Of a run of white space one character becomes the space: the first that is one, as in "\n ", or the first.
        run = range(*match.span())
        chosen = next((position for position in run if units[position] == " "), match.start())
        for position in run:
            units[position] = ""
        if match.start() > 0 and match.end() < len(text):
            units[chosen] = " "
    # What vanishes beside white space are combining marks, and characters that are nothing else, as U+FF9F.
    return origins_of_units(units, lambda position: not text[position].isspace())


def composed_with_origins(text: str, form: Literal["NFC", "NFKC"]) -> tuple[str, Origins]:
    """`text` in a normal form, NFC or NFKC, and where its characters come from.

    A character and what composes with it, or is a mark of it, become what they do together.
    """
    starts = [position for position, character in enumerate(text) if position == 0 or not _composes(character)]
    units = [""] * len(text)
    for start, stop in itertools.pairwise([*starts, len(text)]):
        units[start] = unicodedata.normalize(form, text[start:stop])
    return "".join(units), origins_of_units(units, lambda _: True)


@functools.lru_cache(maxsize=65536)
def _composes(character: str) -> bool:
    """Whether a character may change with the one before it when a text is composed."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.combining(first) != 0 or bool(_COMPOSING.match(first))


def code_points(text: str) -> np.ndarray:
    """uint32, one a character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
