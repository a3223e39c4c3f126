"""Entities in the tags of words, and their precision, recall and F1. No TensorFlow.

The counts are those of the script `conlleval` of CoNLL-2000 (https://www.clips.uantwerpen.be/conll2000/chunking/), with
the tags E and S, or L and U, beside B and I as seqeval reads them: an entity is right if its first word, its last word
and its type are.
"""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

OUTSIDE = "O"
# What a word is in its entity: begin, inside, end (or last), single (or unit).
_TAG = re.compile(r"([BIELSU])(?:-(.+))?")
_PLACES = {"L": "E", "U": "S"}


class Entity(NamedTuple):
    """Words `first` up to `stop` of a text, of one type: "" where tags are only B and I."""

    type: str
    first: int
    stop: int


def are_chunks(names: Iterable[str]) -> bool:
    """Whether tags mark entities, as B-PER and I-PER do: all but "O", of which there is at least one."""
    names = list(names)
    parts = [_TAG.fullmatch(name) for name in names if name != OUTSIDE]
    # Alone, B and S may be parts of speech.
    return bool(parts) and all(part and (part[2] or OUTSIDE in names) for part in parts)


def place_and_type(tag: str) -> tuple[str, str]:
    """("B", "PER") of "B-PER", ("O", "") of "O"; other tags are ("I", tag), so that a run of them is one entity."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    found = _TAG.fullmatch(tag)
    return (_PLACES.get(found[1], found[1]), found[2] or "") if found else ("I", tag)


def entities_of(tags: Iterable[str]) -> list[Entity]:
    """The entities in the tags of one text, in their order.

    One begins at B and S, at I and E behind something else than a B or I of its type, and ends before the next
    beginning, before O, and behind E and S.
    """
    found: list[Entity] = []
    before, before_type, first = OUTSIDE, "", 0
    number = -1
    for number, tag in enumerate(tags):
        place, type_ = place_and_type(tag)
        is_inside = place in "IE" and before in "BI" and type_ == before_type
        if not is_inside:
            if before != OUTSIDE:
                found.append(Entity(before_type, first, number))
            first = number
        before, before_type = place, type_
    if before != OUTSIDE:
        found.append(Entity(before_type, first, number + 1))
    return found


class Counts(NamedTuple):
    """Entities of a type, or words with a tag: how many are right, predicted, and there."""

    correct: int
    predicted: int
    gold: int

    def figures(self) -> dict[str, float]:
        """Precision, recall, F1 and how many are there; a share of nothing is 0."""
        precision, recall = self.correct / max(1, self.predicted), self.correct / max(1, self.gold)
        f1 = 2 * self.correct / max(1, self.predicted + self.gold)
        return {"precision": precision, "recall": recall, "f1": f1, "support": self.gold}


def count_entities(gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]]) -> dict[str, Counts]:
    """Counts by type, sorted, of the tags of the same texts."""
    right, given, there = (collections.Counter[str]() for _ in range(3))
    for theirs, ours in zip(gold, predicted, strict=True):
        expected, found = set(entities_of(theirs)), set(entities_of(ours))
        there.update(entity.type for entity in expected)
        given.update(entity.type for entity in found)
        right.update(entity.type for entity in expected & found)
    return {type_: Counts(right[type_], given[type_], there[type_]) for type_ in sorted({*given, *there})}


def total(counts: Mapping[str, Counts]) -> Counts:
    """The counts of all types together."""
    return Counts(*(sum(column) for column in zip(*counts.values(), strict=True))) if counts else Counts(0, 0, 0)
