"""Where words begin."""

import json

import numpy as np
import pytest

from albert.pretraining_data.pieces import encode, is_start_piece, vocabulary_of
from albert.serving.export.tokenizer_json import tokenizer_json
from albert.tokenization import load_tokenizer


@pytest.fixture
def spm_model_file(testdata):
    return testdata / "30k-clean.model"


def test_every_piece_begins_a_word_where_it_does_for_the_original(testdata, spm_model_file):
    vocabulary = vocabulary_of(load_tokenizer(spm_model_file, None, True))
    expected = np.load(testdata / "pretraining_data" / "is_start_piece.npz")["is_start_piece"]
    assert vocabulary.size == 30000
    assert (vocabulary.starts_word[:-1] == expected).all()
    assert not vocabulary.starts_word[vocabulary.inner_unknown_id]


def test_other_strings_begin_words_where_they_do_for_the_original(testdata):
    expected = json.loads((testdata / "pretraining_data" / "is_start_piece_extra.json").read_text(encoding="utf-8"))
    # The original's letters are a to z. English text has no others: accents go before it is split.
    ours = expected | {"\u00e9": False}
    assert {piece: is_start_piece(piece) for piece in expected} == ours


@pytest.mark.parametrize(
    "piece",
    [
        *("\u0438", "\u043e\u0441\u0442\u044c", "\u0441\u0442\u0432\u043e.", "\u041c", "\u045709"),  # Cyrillic
        *("\u03c9\u03bd", "\u00df", "\u00e5t", "\u1ea1", "\u0131m", "\u0142"),  # Greek, Latin beyond ASCII
        *("\u0644\u0647", "\u200c\u0647\u0627", "\u05d9\u05dd", "\u0430\u0301"),  # Arabic, Persian, Hebrew, a stress
        *("\u0915\u093e", "\u093e", "\u0bb3\u0bcd", "\u09cd\u09af"),  # Devanagari, Tamil, Bengali
        *(
            "\ud55c",
            "\u1161\u11ab",
            "\u10d4\u10d1\u10d8",
            "\u0561",
            "\u1208\u121d",
        ),  # Hangul, Georgian, Armenian, Ethiopic
        *("\u0e48", "\u3099"),  # a Thai tone, a voicing mark: of the character before
    ],
)
def test_a_piece_continues_the_word_in_scripts_written_with_spaces(piece):
    assert not is_start_piece(piece)
    assert is_start_piece(f"\u2581{piece}")


@pytest.mark.parametrize(
    "piece",
    [
        *("\u4f60", "\u4e2d\u56fd", "T\u6064", "\u304b", "\u30d1\u30f3", "\u3105", "\U00020000"),  # Chinese, Japanese
        *(
            "\u0e44\u0e21",
            "\u0ea5\u0eb2\u0ea7",
            "\u1781",
            "\u1019\u103c",
            "\u0f56\u0f7c",
        ),  # Thai, Lao, Khmer, Burmese, Tibetan
        *("\u0663", "\u060c", "\u0964", "\u20bd", "\u2014", "\u3002", "9", "\U0001f600"),  # digits, marks, signs
    ],
)
def test_a_piece_begins_a_word_in_scripts_written_without_spaces_and_where_there_is_no_letter(piece):
    assert is_start_piece(piece)


def test_word_pieces_go_on_with_two_hashes(testdata):
    vocab_file = testdata / "wordpiece_vocab.txt"
    tokenizer = load_tokenizer(None, vocab_file, True)
    vocabulary = vocabulary_of(tokenizer)
    pieces = vocab_file.read_text(encoding="utf-8").splitlines()
    assert vocabulary.size == len(pieces) == tokenizer.vocab_size
    assert [not piece.startswith("##") for piece in pieces] == vocabulary.starts_word[:-1].tolist()
    assert encode("a \u4f60 b", tokenizer, vocabulary) == tokenizer.encode("a \u4f60 b")


def test_lines_of_a_word_piece_vocabulary_are_counted_as_the_tokenizer_counts_them(tmp_path):
    # A blank line has a number. A carriage return inside of a line ends none.
    vocab_file = tmp_path / "vocab.txt"
    vocab_file.write_bytes(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\r\n\nhappy\rsad\n##happy\nwalk\n##ed\n")
    tokenizer = load_tokenizer(None, vocab_file, True)
    assert tokenizer.encode("unhappy walked") == [5, 8, 9, 10]
    assert vocabulary_of(tokenizer).starts_word.tolist() == [*[True] * 8, False, True, False, False]


def test_a_tokenizer_json_has_the_same_vocabulary(spm_model_file, tmp_path):
    tokenizer = load_tokenizer(spm_model_file, None, True)
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer_json(tokenizer), encoding="utf-8")
    found, expected = vocabulary_of(load_tokenizer(path, None, True)), vocabulary_of(tokenizer)
    assert found[:-1] == expected[:-1]
    assert (found.starts_word == expected.starts_word).all()


def test_unknown_pieces_are_told_apart_by_their_text(spm_model_file):
    # The vocabulary has no capitals. "W" by itself does not look like the beginning of a word, a kanji does.
    tokenizer = load_tokenizer(spm_model_file, None, do_lower_case=False)
    vocabulary = vocabulary_of(tokenizer)
    underline, unknown, inner = 13, 1, vocabulary.inner_unknown_id
    assert encode("W", tokenizer, vocabulary) == [underline, inner]
    assert encode("\u4e00", tokenizer, vocabulary) == [underline, unknown]
    assert encode("the", tokenizer, vocabulary) == [14]
