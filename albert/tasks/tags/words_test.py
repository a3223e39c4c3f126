"""Which piece stands for a word, and how texts are cut into words. No TensorFlow."""

import pytest

from albert.data.schema import take_cuts
from albert.tasks.tags.words import NO_PIECE, pieces_of, words_of
from albert.testing import AGREEMENT
from albert.tokenization import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)


def test_the_first_piece_of_a_word_stands_for_it(tokenizer):
    words = ("The", "\u0001\u200b", "lawyers", "laugh")
    pieces = [tokenizer.encode(word) for word in words]
    assert pieces[1] == []  # it has none, and a row has none for it
    assert len(pieces[2]) > 1 or len(pieces[3]) > 1
    record, firsts = pieces_of(words, tokenizer, 32)
    assert record["input_ids"] == [tokenizer.cls_id, *(i for ids in pieces for i in ids), tokenizer.sep_id]
    assert record["segment_ids"] == [0] * len(record["input_ids"])
    assert firsts[:3] == [1, NO_PIECE, 1 + len(pieces[0])]
    assert [record["input_ids"][firsts[number]] for number in (0, 2, 3)] == [pieces[n][0] for n in (0, 2, 3)]
    assert take_cuts([record]) == {}


def test_words_beyond_the_row_have_no_piece_in_it(tokenizer):
    words = ["the"] * 6
    assert len(tokenizer.encode("the")) == 1
    record, firsts = pieces_of(words, tokenizer, 6)
    assert firsts == [1, 2, 3, 4, NO_PIECE, NO_PIECE]
    assert len(record["input_ids"]) == 6
    assert record["input_ids"][-1] == tokenizer.sep_id
    assert take_cuts([record]) == {"max_seq_length": 8}
    assert pieces_of(words, tokenizer, 8)[1] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna went to Paris, Texas.", "Anna went to Paris , Texas ."),
        ('"So," (she) said ...', '" So , " ( she ) said . . .'),
        ("It's the U.S. again!?", "It's the U.S. again ! ?"),
        ("5.00 well-known C++ #1", "5.00 well-known C++ # 1"),
        ("¿Qué?  «Oui»", "¿ Qué ? « Oui »"),
        (" \n ", ""),
    ],
)
def test_marks_beside_words_are_words(text, words):
    found = words_of(text, sets_punctuation_apart=True)
    assert " ".join(word.text for word in found) == words
    assert all(text[word.start : word.stop] == word.text for word in found)
    assert [word.text for word in words_of(text, sets_punctuation_apart=False)] == text.split()
