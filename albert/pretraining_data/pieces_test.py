"""Where words begin."""

import json

import numpy as np
import pytest

from albert.pretraining_data.pieces import encode, is_start_piece, load_vocabulary
from albert.tokenization import load_tokenizer


@pytest.fixture
def spm_model_file(testdata):
    return testdata / "30k-clean.model"


def test_every_piece_begins_a_word_where_it_does_for_the_original(testdata, spm_model_file):
    vocabulary = load_vocabulary(load_tokenizer(spm_model_file, None, True), spm_model_file, None)
    expected = np.load(testdata / "pretraining_data" / "is_start_piece.npz")["is_start_piece"]
    assert vocabulary.size == 30000
    assert (vocabulary.starts_word[:-1] == expected).all()
    assert not vocabulary.starts_word[vocabulary.inner_unknown_id]


def test_other_strings_begin_words_where_they_do_for_the_original(testdata):
    expected = json.loads((testdata / "pretraining_data" / "is_start_piece_extra.json").read_text(encoding="utf-8"))
    assert {piece: is_start_piece(piece) for piece in expected} == expected


def test_word_pieces_go_on_with_two_hashes(testdata):
    vocab_file = testdata / "wordpiece_vocab.txt"
    tokenizer = load_tokenizer(None, vocab_file, True)
    vocabulary = load_vocabulary(tokenizer, None, vocab_file)
    pieces = vocab_file.read_text(encoding="utf-8").splitlines()
    assert vocabulary.size == len(pieces) == tokenizer.vocab_size
    assert [not piece.startswith("##") for piece in pieces] == vocabulary.starts_word[:-1].tolist()
    assert encode("a \u4f60 b", tokenizer, vocabulary) == tokenizer.encode("a \u4f60 b")


def test_unknown_pieces_are_told_apart_by_their_text(spm_model_file):
    # The vocabulary has no capitals. "W" by itself does not look like the beginning of a word, a kanji does.
    tokenizer = load_tokenizer(spm_model_file, None, do_lower_case=False)
    vocabulary = load_vocabulary(tokenizer, spm_model_file, None)
    underline, unknown, inner = 13, 1, vocabulary.inner_unknown_id
    assert encode("W", tokenizer, vocabulary) == [underline, inner]
    assert encode("\u4e00", tokenizer, vocabulary) == [underline, unknown]
    assert encode("the", tokenizer, vocabulary) == [14]
