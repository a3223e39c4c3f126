"""Which rows of a table belong to a split: those held out of the training data, and samples for trying things out.

A row is chosen by its fingerprint (`survey.Fingerprints`) alone, so that its place in the file does not matter, and
rows that are the same stay on one side.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np

from albert.tasks.own.columns import MULTI, SINGLE, ProblemType
from albert.tasks.own.survey import Label, Survey

_MIX = 0x9E3779B97F4A7C15

# What rows whose labels are too rare for a share of their own are drawn from together.
_REST = ""
Stratum = str | tuple[str, ...]
# A share is told that is off by this part of what was asked for, or by as much of one row.
_FAR = 0.5


@dataclasses.dataclass(frozen=True)
class HoldOut:
    """Rows that are evaluated on and not trained on: in each stratum those with the smallest fingerprints.

    A stratum is a class; of several labels, those that occur together often enough; of scores, everything.
    `thresholds` are the largest fingerprints that are held out. `num_kept` counts strata whose rows are all the same,
    so that none is held out, but which would be by the threshold of the rows without a stratum; see `identity`.
    """

    share: float
    seed: int
    thresholds: Mapping[Stratum, int]
    num_kept: int = 0

    def identity(self) -> dict[str, float]:
        """What decides which rows are held out, of given data. Earlier versions held out the `num_kept` strata."""
        identity = {"share": self.share, "seed": self.seed}
        return identity | {"num_kept": self.num_kept} if self.num_kept else identity

    def held_rows(self, labels: Iterable[Label], strata: np.ndarray, fingerprints: np.ndarray) -> np.ndarray:
        """Which rows are held out, bool [rows]: of each the number in `labels` and the fingerprint (uint64)."""
        thresholds = [self._threshold_of(label) for label in labels]
        some = np.array([threshold >= 0 for threshold in thresholds])
        limits = np.array([max(threshold, 0) for threshold in thresholds], np.uint64)
        return some[strata] & (fingerprints <= limits[strata])

    def _threshold_of(self, label: Label) -> int:
        """-1 where no row with the label is held out."""
        threshold = self.thresholds.get(label) if label is not None else None
        return self.thresholds.get(_REST, -1) if threshold is None else threshold


def hold_out(found: Survey, problem_type: ProblemType, share: float, seed: int) -> HoldOut:
    """Holds out `share` of each stratum, rounded, but at least one row where there are two that differ."""
    keys = [label if problem_type in (SINGLE, MULTI) and label is not None else _REST for label in found.labels]
    if problem_type == MULTI:
        rare = math.ceil(1 / share)
        keys = [key if count >= rare else _REST for key, count in zip(keys, found.labels.values(), strict=True)]
    names = list(dict.fromkeys(keys))
    number_of = {name: number for number, name in enumerate(names)}
    strata = np.array([number_of[key] for key in keys])[np.array(found.strata, np.int64)]
    rows = np.array(found.rows, np.uint64)
    order = np.lexsort((rows, strata))
    bounds = np.searchsorted(strata[order], np.arange(len(names) + 1))
    thresholds, same = {}, {}
    for name, start, stop in zip(names, bounds[:-1], bounds[1:], strict=True):
        threshold = _threshold(rows[order[start:stop]], share)
        if threshold is not None:
            thresholds[name] = threshold
        else:
            same[name] = int(rows[order[start]])
    kept = dict.fromkeys((name for name, row in same.items() if row <= thresholds.get(_REST, -1)), -1)
    return HoldOut(share, seed, thresholds | kept, len(kept))


def hold_out_of_all(fingerprints: np.ndarray, share: float, seed: int) -> HoldOut:
    """Holds out `share` of the rows with these fingerprints (uint64), whatever their labels are; rounded as above."""
    threshold = _threshold(np.sort(fingerprints), share)
    return HoldOut(share, seed, {} if threshold is None else {_REST: threshold})


def remark_on_share(held: HoldOut, num_held: int, num_rows: int, noun: str) -> str | None:
    """Why so many rows are held out, where that is far from what was asked for; None where it is near.

    `noun` is what the file calls one of them.
    """
    wanted = held.share * num_rows
    if abs(num_held - wanted) < _FAR * max(wanted, 1):
        return None
    strata = sum(threshold >= 0 for threshold in held.thresholds.values())
    if num_held <= wanted:
        why = f"of {noun}s that are all the same, as those of one label may be, none can be held out"
    elif num_held <= wanted + strata:
        what = "sets of labels" if any(isinstance(stratum, tuple) for stratum in held.thresholds) else "labels"
        of_each = "" if strata == 1 else f" of each of the {strata:,} {what}"
        why = f"at least one {noun}{of_each} is"
    else:
        why = f"{noun}s that are the same stay together"
    return (
        f"Held out for evaluation: {num_held:,} of {num_rows:,} {noun}s, {100 * num_held / num_rows:.0f} %, though "
        f"`validation_split`={held.share:g}: {why}."
    )


def _threshold(fingerprints: np.ndarray, share: float) -> int | None:
    """The largest of the sorted `fingerprints` that is held out; None if none is."""
    count = len(fingerprints)
    number = max(1, math.floor(count * share + 0.5))
    # Of rows that are all the same none can be held out without the others.
    smaller = int(np.searchsorted(fingerprints, fingerprints[-1]))
    number = min(number, smaller)
    return int(fingerprints[number - 1]) if number else None


def sampled(fingerprints: np.ndarray, members: np.ndarray, count: int | None) -> np.ndarray:
    """Those of `members` (bool [rows]) that are in a sample of `count`; all where None or no more are there.

    The sample is the first `count` in the order of a hash of the `fingerprints` (uint64 [rows]), and of rows that are
    the same the first of the file.
    """
    numbers = np.flatnonzero(members)
    if count is None or count >= len(numbers):
        return members
    chosen = np.zeros_like(members)
    chosen[numbers[np.argsort(_mixed(fingerprints[numbers]), kind="stable")[:count]]] = True
    return chosen


def _mixed(fingerprints: np.ndarray) -> np.ndarray:
    """Other numbers for the same rows: the hold-out has taken the smallest fingerprints."""
    return (fingerprints ^ fingerprints >> np.uint64(32)) * np.uint64(_MIX)
