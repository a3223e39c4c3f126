"""From words and the tags of their tokens to what a user reads. No TensorFlow."""

import numpy as np
import pytest

from albert.errors import UserError
from albert.serving.sentences import as_sentences, tag_line, tag_results
from albert.tasks.base import Tags
from albert.tasks.tags.words import NO_PIECE

NAMES = ("B-LOC", "B-PER", "I-PER", "O")


def _results(output, text, places, tags, scores):
    (sentence,) = as_sentences([text], output.sets_punctuation_apart)
    return tag_results(output, sentence, places, np.array(tags), np.array(scores))


def test_entities_are_the_texts_between_their_words():
    # Tokens: [CLS], Ann, Hill, a second piece of it, went, to, Oslo, the full stop; the last word has none.
    found = _results(
        Tags(NAMES),
        "Ann  Hill went to Oslo. \u200b",
        [1, 2, 4, 5, 6, 7, NO_PIECE],
        [9, 1, 2, 0, 3, 3, 0, 3],
        [0, 0.75, 0.25, 0, 1, 1, 0.5, 1],
    )
    assert found["entities"] == [
        {"entity_group": "PER", "score": 0.5, "word": "Ann  Hill", "start": 0, "end": 9},
        {"entity_group": "LOC", "score": 0.5, "word": "Oslo", "start": 18, "end": 22},
    ]
    assert [word["entity"] for word in found["words"]] == ["B-PER", "I-PER", "O", "O", "B-LOC", "O", "O"]
    assert found["words"][-1] == {"entity": "O", "score": 0.0, "word": "\u200b", "start": 24, "end": 25}
    assert tag_line(found) == "Ann Hill\tPER\t0.5000\tOslo\tLOC\t0.5000"


def test_words_that_are_given_stand_in_a_text_with_blanks_between():
    found = _results(Tags(NAMES), ["New York,", "Ann"], [1, 2], [0, 0, 1], [0, 1, 1])
    assert [(e["word"], e["start"], e["end"]) for e in found["entities"]] == [("New York,", 0, 9), ("Ann", 10, 13)]


def test_parts_of_speech_are_no_entities():
    found = _results(Tags(("NN", "VB"), sets_punctuation_apart=False), "dogs bark.", [1, 2], [0, 0, 1], [1, 1, 1])
    assert found["entities"] == []
    assert tag_line(found) == "dogs/NN bark./VB"
    assert tag_line(_results(Tags(NAMES), "in it", [1, 2], [NAMES.index("O")] * 3, [1, 1, 1])) == "-"
    # A run of a tag beside "O" is one.
    found = _results(Tags(("LOC", "O")), "in New York", [1, 2, 3], [0, 1, 0, 0], [1, 1, 1, 1])
    assert [e["word"] for e in found["entities"]] == ["New York"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (5, "texts: int is no list of texts"),
        (b"a", "texts: bytes is no list of texts"),
        ({"a": 1}, "texts: dict is no list of texts"),
        (np.array([["a"]]), r"texts: ndarray is no list of texts; give a column of it: texts=table\['text'\]"),
        (["a", 5], r"texts\[1\]: int is neither a text nor a list of words"),
        ([{"a": 1}], r"texts\[0\]: dict is neither"),
        ([["a", b"b"]], r"texts\[0\]: bytes is not a word"),
    ],
)
def test_what_is_no_text_is_told(texts, message):
    with pytest.raises(TypeError, match=message):
        as_sentences(texts, True)


def test_texts_may_come_one_by_one():
    expected = as_sentences(["a b", ["c"]], True)
    assert as_sentences(iter(["a b", np.array(["c"])]), True) == expected
    with pytest.raises(UserError, match=r"texts\[1\]: .* has half of a surrogate pair"):
        as_sentences(["a", "\ud800"], True)


@pytest.mark.parametrize("word", ["", " \t"])
def test_an_empty_word_is_refused(word):
    with pytest.raises(UserError, match=r"^texts\[1\]: word 2 is empty; leave it out"):
        as_sentences(["a b", ["c", word]], True)
