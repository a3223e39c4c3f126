#!/usr/bin/env python3
"""Generates the bundled GLUE-layout task: does the main verb of a sentence agree in number with its subject?

Every sentence skeleton (everything but two number marks) is written four times: subject singular or plural times verb
singular or plural. The label is the exclusive or of the two, so each group of four holds every word equally often under
both labels. Something always is between subject and verb, so the same is true of every pair of neighbouring words:
no weighting of word or word-pair counts does better than chance. Nouns of random number in between (attractors), and
sometimes in front of the subject, make sure that looking at the word before the verb or at the first noun fails too.

Owns `sample_data/glue_data/Agreement/{train,dev,test}.tsv`. Knows nothing of the package `albert` and needs no
TensorFlow. Run it again to get the same files:

    python sample_data/make_agreement_data.py
"""

import argparse
import dataclasses
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SEED = 20261

# Groups of four rows each; no group is shared by two splits.
GROUPS_PER_SPLIT = {"train": 1500, "dev": 150, "test": 75}

# (singular, plural); all regular, so that the number mark is one suffix.
NOUNS = tuple(
    (noun, noun + "s")
    for noun in (
        *("cat", "dog", "horse", "bird", "teacher", "farmer", "doctor", "singer"),
        *("pilot", "guest", "neighbor", "lawyer", "baker", "driver", "painter", "student"),
    )
)
PLACES = tuple((noun, noun + "s") for noun in ("garden", "house", "river", "table", "car", "tree", "bridge", "tower"))
# (agreeing with a singular subject, agreeing with a plural subject)
TRANSITIVE = tuple((verb + "s", verb) for verb in ("like", "see", "help", "visit", "follow", "admire", "know", "call"))
INTRANSITIVE = tuple(
    (verb + "s", verb) for verb in ("sleep", "sing", "laugh", "wait", "work", "swim", "dance", "smile")
)
# None of these shows a number, so that only noun and verb do.
DETERMINERS = ("the", "my", "your", "our", "their")
ADJECTIVES = ("old", "young", "tall", "quiet", "happy", "famous", "clever", "small", "tired", "lucky")
PREPOSITIONS = ("near", "behind", "beside", "under", "above", "with")
ADVERBS = ("often", "always", "never", "rarely", "really", "usually")
TIMES = ("today", "again", "alone", "together", "outside", "here")
PHRASES = (
    *(("of", "course"), ("in", "my", "opinion"), ("as", "a", "rule"), ("once", "in", "a", "while")),
    *(("now", "and", "then"), ("without", "a", "doubt"), ("more", "or", "less"), ("for", "the", "most", "part")),
)

MIN_WORDS, MAX_WORDS = 8, 16


@dataclasses.dataclass(frozen=True)
class Row:
    """One sentence; `label` is 1 where subject and verb agree."""

    sentence: str
    label: int


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """A sentence without the number of its subject and its main verb; all other words are decided.

    `between` depends on the subject's number because the verb of a subject relative clause ("that likes the dogs")
    always agrees: only the main verb is in question.
    """

    front: tuple[str, ...]
    subject: tuple[str, str]
    between: tuple[tuple[str, ...], tuple[str, ...]]
    verb: tuple[str, str]
    tail: tuple[str, ...]

    def rows(self) -> list[Row]:
        """The four rows: singular and plural subject, each with singular and plural verb."""
        return [self._row(subject_number, verb_number) for subject_number in (0, 1) for verb_number in (0, 1)]

    def num_words(self) -> int:
        return len(self.front) + len(self.between[0]) + len(self.tail) + 2

    def _row(self, subject_number: int, verb_number: int) -> Row:
        words = (
            *self.front,
            self.subject[subject_number],
            *self.between[subject_number],
            self.verb[verb_number],
            *self.tail,
        )
        return Row(" ".join(words) + ".", int(subject_number == verb_number))


class Grammar:
    """Draws skeletons. Uses `random.Random.random` alone: the one method whose sequence Python promises to keep."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)

    def skeleton(self) -> Skeleton:
        """A skeleton of MIN_WORDS to MAX_WORDS words."""
        while True:
            skeleton = self._any_skeleton()
            if MIN_WORDS <= skeleton.num_words() <= MAX_WORDS:
                return skeleton

    def shuffled(self, rows: Sequence[Row]) -> list[Row]:
        keyed = [(self._random.random(), index) for index in range(len(rows))]
        return [rows[index] for _, index in sorted(keyed)]

    def _any_skeleton(self) -> Skeleton:
        front = self._prepositional_phrase() if self._chance(0.15) else ()
        subject_start = (self._pick(DETERMINERS), *((self._pick(ADJECTIVES),) if self._chance(0.4) else ()))
        verb, tail = self._predicate()
        adverb = (self._pick(ADVERBS),) if self._chance(0.3) else ()
        singular, plural = self._modifier()
        return Skeleton(
            front=front + subject_start,
            subject=self._pick(NOUNS),
            between=(singular + adverb, plural + adverb),
            verb=verb,
            tail=tail,
        )

    def _modifier(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is between subject and verb, for a singular and for a plural subject; never empty."""
        kind = self._random.random()
        if kind < 0.25:
            phrase = self._pick(PHRASES)
            return phrase, phrase
        if kind < 0.6:
            phrase = self._prepositional_phrase()
            return phrase, phrase
        number = self._number()
        verb = self._pick(TRANSITIVE)
        if kind < 0.8:
            clause = ("that", *self._noun_phrase(NOUNS, number), verb[number])
            return clause, clause
        other = self._noun_phrase(NOUNS, number)
        return ("that", verb[0], *other), ("that", verb[1], *other)

    def _predicate(self) -> tuple[tuple[str, str], tuple[str, ...]]:
        """The main verb in both numbers and what follows it."""
        kind = self._random.random()
        if kind < 0.4:
            return self._pick(TRANSITIVE), self._noun_phrase(NOUNS, self._number())
        verb = self._pick(INTRANSITIVE)
        if kind < 0.65:
            return verb, self._prepositional_phrase()
        return verb, (self._pick(TIMES), *self._pick(PHRASES))

    def _prepositional_phrase(self) -> tuple[str, ...]:
        nouns = PLACES if self._chance(0.5) else NOUNS
        return (self._pick(PREPOSITIONS), *self._noun_phrase(nouns, self._number()))

    def _noun_phrase(self, nouns: Sequence[tuple[str, str]], number: int) -> tuple[str, ...]:
        adjective = (self._pick(ADJECTIVES),) if self._chance(0.2) else ()
        return (self._pick(DETERMINERS), *adjective, self._pick(nouns)[number])

    def _number(self) -> int:
        return int(self._chance(0.5))

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _pick(self, options: Sequence[T]) -> T:
        return options[int(self._random.random() * len(options))]


def make_splits(seed: int = SEED) -> dict[str, list[Row]]:
    """All rows of all splits, shuffled within each split. No sentence occurs twice anywhere."""
    grammar = Grammar(seed)
    seen: set[str] = set()
    splits = {}
    for split, num_groups in GROUPS_PER_SPLIT.items():
        rows: list[Row] = []
        while len(rows) < 4 * num_groups:
            group = grammar.skeleton().rows()
            sentences = {row.sentence for row in group}
            if seen.isdisjoint(sentences):
                seen |= sentences
                rows += group
        splits[split] = grammar.shuffled(rows)
    return splits


def tsv_text(split: str, rows: Sequence[Row]) -> str:
    """The file's text: "sentence, label" for train and dev, "index, sentence" (labels left out) for test."""
    if split == "test":
        lines = ["index\tsentence", *(f"{index}\t{row.sentence}" for index, row in enumerate(rows))]
    else:
        lines = ["sentence\tlabel", *(f"{row.sentence}\t{row.label}" for row in rows)]
    return "\n".join(lines) + "\n"


def write_all(directory: Path, splits: Mapping[str, Sequence[Row]]) -> None:
    """Writes the three files below `directory`, replacing what is there."""
    task_dir = directory / "glue_data" / "Agreement"
    task_dir.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        (task_dir / f"{split}.tsv").write_bytes(tsv_text(split, rows).encode())


def main() -> None:
    """Parses the command line and writes the files."""
    parser = argparse.ArgumentParser(description="Writes the bundled agreement task.")
    parser.add_argument("--directory", type=Path, default=Path(__file__).parent, help="where to write (default: here)")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another seed gives other sentences (default: %(default)s)"
    )
    arguments = parser.parse_args()
    write_all(arguments.directory, make_splits(arguments.seed))


if __name__ == "__main__":
    main()
