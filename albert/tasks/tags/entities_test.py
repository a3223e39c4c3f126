"""Entities and their scores. The counts are worked out by hand, by the rules of the script conlleval. No TensorFlow."""

import numpy as np
import pytest

from albert.tasks.tags.entities import Entity, are_chunks, count_entities, entities_of, total
from albert.tasks.tags.reports import tag_report, tag_scores


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        # IOB2: every entity begins with B.
        ("B-PER I-PER O B-LOC B-LOC", [("PER", 0, 2), ("LOC", 3, 4), ("LOC", 4, 5)]),
        # IOB1: B only where an entity follows one of its type.
        ("I-PER I-PER B-PER O I-LOC", [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5)]),
        # Another type begins another entity, whatever it is marked with.
        ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),
        # IOBES and BILOU.
        ("B-PER I-PER E-PER S-LOC S-LOC O E-PER", [("PER", 0, 3), ("LOC", 3, 4), ("LOC", 4, 5), ("PER", 6, 7)]),
        ("B-PER L-PER L-PER U-LOC I-LOC", [("PER", 0, 2), ("PER", 2, 3), ("LOC", 3, 4), ("LOC", 4, 5)]),
        # Without types, and without marks: a run of a tag.
        ("B I O I", [("", 0, 2), ("", 3, 4)]),
        ("PER PER O LOC PER", [("PER", 0, 2), ("LOC", 3, 4), ("PER", 4, 5)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_are_those_of_conlleval(tags, entities):
    assert entities_of(tags.split()) == [Entity(*entity) for entity in entities]


@pytest.mark.parametrize(
    ("tags", "are"),
    [
        ("O B-PER I-PER", True),
        ("B-PER I-PER", True),
        ("O S-PER E-PER B-a-b", True),
        ("B I O", True),
        ("B I", False),  # parts of speech may be called so
        ("O PER", False),
        ("O", False),
        ("NN VB B-PER", False),
        ("", False),
    ],
)
def test_tags_mark_entities_if_all_do(tags, are):
    assert are_chunks(tags.split()) is are


NAMES = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


def _numbers(*texts):
    return [np.array([NAMES.index(tag) for tag in text.split()]) for text in texts]


def test_scores_of_entities():
    gold = _numbers("B-PER I-PER O B-LOC O", "B-LOC O B-PER", "O O")
    predicted = _numbers("B-PER I-PER O B-LOC I-LOC", "B-LOC O O", "B-PER O")
    # Right: PER (0, 2) and LOC of the second text. Predicted 4: these, LOC of two words, PER of the third. There are 4.
    scores = tag_scores(NAMES, gold, predicted)
    # Words: 10, of which the last of the first text, the last of the second and the first of the third are wrong.
    assert scores == {"f1": 0.5, "precision": 0.5, "recall": 0.5, "accuracy": 0.7}
    report = tag_report(NAMES, gold, predicted)
    half = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert report["classes"] == {"LOC": half, "PER": half}
    assert report["micro"] == half | {"support": 4}
    assert (report["macro"]["f1"], report["macro"]["support"], report["accuracy"]) == (0.5, 4, 0.7)


def test_counts_that_are_not_symmetric():
    counts = count_entities([["B-A", "O", "B-B"]], [["B-A", "B-A", "O"]])
    assert {name: tuple(found) for name, found in counts.items()} == {"A": (1, 2, 1), "B": (0, 0, 1)}
    # 1 of 2 predicted and 1 of 2 there.
    assert total(counts).figures() == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert counts["A"].figures() == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert counts["B"].figures() == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


def test_scores_of_other_tags():
    names = ("ADJ", "NN", "VB", "X")
    gold = [np.array([0, 1, 1]), np.array([2])]
    # The last word has no prediction, as one that was cut off.
    predicted = [np.array([0, 1, 0]), np.array([-1])]
    # F1 of ADJ 2 * 1 / (2 + 1), of NN 2 * 1 / (1 + 2), of VB 0; X is nowhere.
    assert tag_scores(names, gold, predicted) == {"accuracy": 0.5, "f1_macro": pytest.approx((2 / 3 + 2 / 3 + 0) / 3)}
    report = tag_report(names, gold, predicted)
    assert list(report["classes"]) == ["ADJ", "NN", "VB"]
    assert report["classes"]["VB"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert report["macro"]["f1"] == pytest.approx(4 / 9)


def test_nothing_to_score_is_0_and_no_error():
    assert tag_scores(NAMES, [], []) == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 0.0}
    assert tag_scores(("a", "b"), [], []) == {"accuracy": 0.0, "f1_macro": 0.0}
