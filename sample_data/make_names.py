#!/usr/bin/env python3
"""Generates texts with a tag for every word, to try it: people, places and firms in short news, as a CoNLL file.

Some names are those of people and of places, such as Florence: which one is meant is in the words around them. Firms
have names of several words. Every text is different; the file has 2,000 texts, an empty line between them, a word and
its tag a line (IOB2).

Knows nothing of the package `albert`. Run it again to get the same file:

    python3 sample_data/make_names.py names.conll
"""

import argparse
import random
from pathlib import Path

SEED = 7
NUM_TEXTS = 2000

EITHER = ("Florence", "Jordan", "Paris", "Victoria", "Charlotte", "Austin", "Chelsea", "Georgia")
FIRST_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack", *EITHER)
LAST_NAMES = ("Hill", "Baker", "Stone", "Brook", "Woods", "Field", "Miller", "Rivers")
PLACES = ("London", "Rome", "Madrid", "Vienna", "New York", "San Francisco", "Cape Town", "Hong Kong", *EITHER)
FIRMS = ("Green & Sons", "First National Bank", "Blue Sky", "Baker Street Books", "North Sea Oil", "London Glass")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
# A word in capitals stands for a name of its type.
TEXTS = (
    "On DAY PER met PER in LOC .",
    "PER , who was born in LOC , works for ORG .",
    "ORG opens an office in LOC , said PER .",
    "The trains from LOC to LOC stand still since DAY .",
    '" We leave LOC , " PER wrote to ORG .',
    "Nobody in LOC has heard of ORG or of PER .",
    "PER and PER want to sell ORG .",
    "Last DAY it rained in LOC .",
    "Nothing happened on DAY .",
)

Text = list[tuple[str, str]]


def rows(count: int = NUM_TEXTS, seed: int = SEED) -> list[Text]:
    """(word, tag) of every word of each text; no text twice."""
    source = random.Random(seed)

    # `random` is the one method whose sequence Python promises to keep.
    def pick(choices: tuple[str, ...]) -> str:
        return choices[int(source.random() * len(choices))]

    def words_of(part: str) -> Text:
        if part == "DAY":
            return [(pick(DAYS), "O")]
        if part not in ("PER", "LOC", "ORG"):
            return [(part, "O")]
        name = pick({"PER": FIRST_NAMES, "LOC": PLACES, "ORG": FIRMS}[part])
        if part == "PER" and source.random() < 0.5:
            name += f" {pick(LAST_NAMES)}"
        return [(word, f"{'I' if number else 'B'}-{part}") for number, word in enumerate(name.split())]

    found: dict[tuple[tuple[str, str], ...], None] = {}
    while len(found) < count:
        found.setdefault(tuple(word for part in pick(TEXTS).split() for word in words_of(part)))
    return [list(text) for text in found]


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description="Writes a CoNLL file of 2,000 texts with people, places and firms.")
    parser.add_argument("file", type=Path, help="where it goes, for example names.conll")
    path = parser.parse_args().file
    path.write_text("\n".join("".join(f"{word} {tag}\n" for word, tag in text) for text in rows()), encoding="utf-8")
    print(f"{path}: {NUM_TEXTS:,} texts, with the entities PER, LOC and ORG")


if __name__ == "__main__":
    main()
