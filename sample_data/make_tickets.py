#!/usr/bin/env python3
"""Generates a table of one's own to try: messages to a shop, each with what it is about, one of five labels.

Every tenth message has a quotation in quotes, a comma and a line end in it, as messages have; the file is CSV (RFC
4180), 2,000 rows on 2,201 lines. Every message is different. What a message is about is in its words, so that a model
can be right about all of them.

Knows nothing of the package `albert`. Run it again to get the same file:

    python3 sample_data/make_tickets.py tickets.csv
"""

import argparse
import csv
import random
from pathlib import Path

SEED = 7
NUM_ROWS = 2000

OPENINGS = ("Hello,", "Good morning,", "Dear team,", "Hi there,", "To whom it may concern,", "Good evening,")
CLOSINGS = ("Thank you.", "Please write back.", "Yours, {name}.", "I hope to hear from you.", "Best wishes, {name}.")
NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack")
THINGS = ("lamp", "chair", "coat", "kettle", "table", "clock", "mirror", "basket", "bicycle", "umbrella")
DAYS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
MONTHS = ("January", "March", "April", "May", "June", "July", "August", "October", "December")
# What messages of each label say; {thing} and {day} differ from one to the next.
SENTENCES = {
    "billing": (
        "my card was charged twice on {day}",
        "the invoice for the {thing} shows the wrong price",
        "I paid the bill, but the invoice of {day} still asks for money",
        "why is there a fee on my invoice of {day}",
    ),
    "delivery": (
        "the {thing} has not arrived, and the driver left no note",
        "the parcel of {day} is still on its way after two weeks",
        "the driver left the parcel with the {thing} at the wrong door",
        "when will the {thing} arrive at my house",
    ),
    "login": (
        "I forgot my password and cannot sign in",
        "the page says that my password is wrong since {day}",
        "my account is locked after I tried to sign in on {day}",
        "I wait since {day} for the letter to set a new password",
    ),
    "praise": (
        "I love the {thing}, it is wonderful",
        "what a beautiful {thing}, we are very happy",
        "your people were so kind, and the {thing} is lovely",
        "the {thing} is the best gift, my wife is delighted",
    ),
    "returns": (
        "the {thing} is broken and I want to send it back",
        "I would like to return the {thing} that I bought on {day}",
        "how do I send back a {thing} that is broken",
        "the {thing} is too small, I want to return it",
    ),
}


def rows(count: int = NUM_ROWS, seed: int = SEED) -> list[tuple[str, str]]:
    """(text, label), no text twice; the labels take turns."""
    source = random.Random(seed)

    # `random` is the one method whose sequence Python promises to keep.
    def pick(choices: tuple[str, ...]) -> str:
        return choices[int(source.random() * len(choices))]

    found: dict[str, str] = {}
    labels = tuple(SENTENCES)
    while len(found) < count:
        label = labels[len(found) % len(labels)]
        name, day = pick(NAMES), f"the {pick(DAYS)} of {pick(MONTHS)}"
        sentence = pick(SENTENCES[label]).format(thing=pick(THINGS), day=day)
        opening, closing = pick(OPENINGS), pick(CLOSINGS).format(name=name)
        # Not every tenth row by its number alone: that would always be of the same label.
        if len(found) % 10 == len(found) // 200 % 10:
            text = f'{opening}\nI said to {name}: "{sentence}". {closing}'
        else:
            text = f"{opening} {sentence}. {closing}"
        found.setdefault(text, label)
    return list(found.items())


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description="Writes a CSV of 2,000 messages with five labels.")
    parser.add_argument("file", type=Path, help="where it goes, for example tickets.csv")
    path = parser.parse_args().file
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("text", "label"), *rows()])
    print(f"{path}: {NUM_ROWS:,} rows, labels {', '.join(SENTENCES)}")


if __name__ == "__main__":
    main()
