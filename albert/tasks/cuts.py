"""Texts that have more tokens than a setting allows and are therefore cut: counted, and told in a warning."""

import logging
import threading
from collections.abc import Iterable

from albert.system.printing import part_of

_LOG = logging.getLogger(__name__)


class CutTexts:
    """Counts the texts of a model that are cut to `limit` tokens. Several threads may add to it.

    Args:
      setting: the name of the limit, as "max_seq_length".
      limit: tokens that are read of a text.
      noun: what is counted: "text", where a pair is one, or "question".

    Attributes:
      total: all texts so far.
      count: those of them that were cut.
      longest: the tokens of the longest that was cut; 0 where none was.
    """

    def __init__(self, setting: str, limit: int, noun: str = "text"):
        self.setting = setting
        self.limit = limit
        self._noun = noun
        self._lock = threading.Lock()
        self.total = self.count = self.longest = 0

    def add(self, cuts: Iterable[int | None]) -> None:
        """Counts texts: for each its tokens where it was cut, else None."""
        found = list(cuts)
        lengths = [length for length in found if length]
        with self._lock:
            self.total += len(found)
            self.count += len(lengths)
            self.longest = max(self.longest, *lengths) if lengths else self.longest

    def warn(self, where: str) -> None:
        """Warns where any text was cut; `where` is the text. What was trained decides how long a text may be."""
        advice = f"Shorten or split them, or train with a larger {self.setting}"
        warn_of_cuts(where, self._noun, (self.total, self.count, self.longest), self.setting, self.limit, advice)


def warn_of_cuts(where: str, noun: str, counts: tuple[int, int, int], setting: str, limit: int, advice: str) -> None:
    """Warns where texts were cut. `counts` are all, those that were cut, and the tokens of the longest one."""
    total, cut, longest = counts
    if cut:
        _LOG.warning(
            "%s: %s cut to %s=%d tokens; the longest has %s. %s.",
            *(where, part_of(cut, total, noun), setting, limit, f"{longest:,}", advice),
        )
