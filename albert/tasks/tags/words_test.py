"""Which piece stands for a word, and how texts are cut into words. No TensorFlow."""

import numpy as np
import pytest

from albert.data.schema import take_cuts
from albert.tasks.tags.words import NO_PIECE, pieces_of, split_at_words, windows_of, words_of
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


def test_a_word_is_read_in_the_window_with_the_most_context():
    # Windows of 8 tokens begin 4 apart. Word 5 has 5 tokens before and 2 behind it in the first, 1 and 6 in the second;
    # word 6 has 6 and 1 in the first, 2 and 5 in the second.
    assert split_at_words([1] * 12, 8) == [(0, 8, 0, 6), (4, 12, 6, 12)]
    # Words of 3 tokens, of which 8 tokens hold two; the next window begins with the first word behind its half.
    assert split_at_words([3] * 5, 8) == [(0, 2, 0, 2), (2, 4, 2, 4), (4, 5, 4, 5)]
    # A word that is longer than a window is in one alone; a word without tokens is in any.
    assert split_at_words([2, 9, 2, 0], 4) == [(0, 1, 0, 1), (1, 2, 1, 2), (2, 4, 2, 4)]
    assert split_at_words([2, 2], 4) == [(0, 2, 0, 2)]


def test_windows_read_every_word_once_with_the_most_context_that_any_has():
    rng = np.random.default_rng(1)
    for _ in range(300):
        lengths = rng.choice([0, 1, 1, 1, 2, 3, 7], rng.integers(1, 40)).tolist()
        room = int(rng.integers(1, 12))
        windows = split_at_words(lengths, room)
        assert [w.first for w in windows] == [0, *(w.end for w in windows[:-1])]
        assert windows[-1].end == len(lengths)
        for window in windows:
            assert window.start <= window.first < window.end <= window.stop
            held = [length for length in lengths[window.start : window.stop] if length]
            assert sum(held) <= room or len(held) == 1
            for word in range(window.first, window.end):
                contexts = {
                    other: min(sum(lengths[other.start : word]), sum(lengths[word + 1 : other.stop]))
                    for other in windows
                    if other.start <= word < other.stop
                }
                assert contexts[window] == max(contexts.values())


def test_long_texts_are_windows_of_whole_words_and_short_ones_what_they_are_without(tokenizer):
    words = ["the", "lawyers", "\u200b", "laugh"] * 9
    firsts = [(tokenizer.encode(word) or [None])[0] for word in words]
    for length in (8, 12, 20):
        rows = windows_of(words, tokenizer, length)
        assert len(rows) > 2
        assert all(len(row.record["input_ids"]) <= length and not take_cuts([row.record]) for row in rows)
        read = [None if p == NO_PIECE else row.record["input_ids"][p] for row in rows for p in row.first_pieces]
        assert read == firsts
        assert all(row.record["input_ids"][-1] == tokenizer.sep_id for row in rows)
    assert windows_of(words, tokenizer, 128) == [pieces_of(words, tokenizer, 128)]
    assert windows_of([], tokenizer, 8) == [pieces_of([], tokenizer, 8)]


def test_only_a_word_that_is_longer_than_a_row_is_cut(tokenizer):
    long = "lawyers" * 9
    count = len(tokenizer.encode(long))
    assert count > 6
    rows = windows_of(["the", long, "laugh"], tokenizer, 8)
    assert [row.first_pieces for row in rows] == [[1], [1], [1]]
    assert rows[1].record["input_ids"][1:-1] == tokenizer.encode(long)[:6]
    assert [take_cuts([row.record]) for row in rows] == [{}, {"max_seq_length": count + 2}, {}]


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
