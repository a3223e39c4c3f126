"""What a server says of texts that its model does not read as they are: pieces unknown, ends cut. No TensorFlow."""

import logging
from typing import TYPE_CHECKING

from albert.serving.http.metrics import Metrics

if TYPE_CHECKING:
    from albert.serving.predictor import Predictor


class Notices:
    """Watches the counts of a predictor: every one is in the metrics, the first and each tenfold one in the log."""

    def __init__(self, predictor: "Predictor", metrics: Metrics):
        self._predictor = predictor
        self._metrics = metrics
        self._counted: dict[str, int] = {}
        self._told: dict[str, int] = {}

    def look(self) -> None:
        """Counts and tells what came since the last look; called after every batch."""
        unknown = self._predictor.unknown
        self._metrics.count_pieces(self._new("pieces", unknown.total), self._new("unknown", unknown.count))
        if self._is_tenfold("unknown", unknown.count):
            logging.warning(
                "Of %s pieces of the requests so far, the vocabulary does not know %s (%.2g %%), the first in %s.",
                *(f"{unknown.total:,}", f"{unknown.count:,}", 100 * unknown.count / unknown.total, unknown.example),
            )
        for name, cuts in self._predictor.cuts.items():
            self._metrics.count_cuts(name, self._new(name, cuts.count))
            if self._is_tenfold(name, cuts.count):
                cuts.warn("The requests so far")

    def _new(self, name: str, count: int) -> int:
        """How many were added since the last time."""
        before = self._counted.get(name, 0)
        self._counted[name] = count
        return count - before

    def _is_tenfold(self, name: str, count: int) -> bool:
        """Whether there are ten times as many as when this was true last, or any at all."""
        if count < 10 * self._told.get(name, 0) or not count:
            return False
        self._told[name] = 10 ** (len(str(count)) - 1)
        return True
