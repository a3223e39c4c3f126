"""A vocabulary that does not fit the text causes a warning, or the text is refused."""

import dataclasses
import logging

import pytest
import sentencepiece

from albert.errors import UserError
from albert.pretraining_data.vocabulary_training import VocabularySettings, train_vocabulary
from albert.tokenization import WordPieceTokenizer, load_tokenizer
from albert.vocabulary_fit import UnknownPieces, check_unknown, first_unknown_word, texts_of, warn_of_vocabulary

SPECIAL = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"


@pytest.fixture
def released(testdata):
    return load_tokenizer(testdata / "30k-clean.model", None, do_lower_case=True)


def word_pieces(pieces, lower):
    return WordPieceTokenizer((SPECIAL + "\n".join(pieces.split())).encode(), lower)


def test_the_released_vocabulary_fits_lower_cased_text_alone(released, testdata, caplog):
    warn_of_vocabulary(released)
    assert not caplog.records
    warn_of_vocabulary(load_tokenizer(testdata / "30k-clean.model", None, do_lower_case=False))
    assert "no pieces with capitals, but the text is not lower-cased" in caplog.text


@pytest.mark.parametrize(
    ("pieces", "lower", "message"),
    [
        ("The the ##ing", True, "1 piece with capitals, as 'The', but the text is lower-cased"),
        ("The the ##ing", False, ""),
        ("the cat", False, "no pieces with capitals"),
        ("the cat", True, ""),
        ("мост Мост", True, "1 piece with capitals, as 'Мост'"),
        ("мост сад", False, "no pieces with capitals"),
        ("ΑΒ αβ", True, "1 piece with capitals"),
        ("中 国", False, ""),  # no case
        ("中 国", True, ""),
        ("ก ข ไม่", False, ""),
        ("über für", True, "2 pieces with accents or marks, as 'über', but the text loses them"),
        ("über Für", False, ""),
        ("1 2 ,", False, ""),
    ],
)
def test_case_and_accents_of_a_vocabulary(pieces, lower, message, caplog):
    warn_of_vocabulary(word_pieces(pieces, lower))
    assert message in caplog.text
    assert bool(caplog.records) == bool(message)


def test_a_cased_sentence_piece_model_is_reported(tmp_path, caplog):
    (tmp_path / "text").write_text("\n".join(f"The Cat No. {n} sat on Mats" for n in range(50)))
    settings = VocabularySettings(str(tmp_path / "text"), tmp_path / "cased", vocab_size=40, do_lower_case=False)
    train_vocabulary(settings)
    caplog.clear()
    warn_of_vocabulary(load_tokenizer(settings.outputs[0], None, do_lower_case=True))
    assert "pieces with capitals" in caplog.text
    warn_of_vocabulary(load_tokenizer(settings.outputs[0], None, do_lower_case=False))
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("unknown", "max_share", "what"),
    [
        *((0, 0.3, ""), (10, 0.3, ""), (11, 0.3, "warned"), (300, 0.3, "warned"), (301, 0.3, "refused")),
        *((999, 1, "warned"), (1, 0, "refused"), (0, 0, "")),
    ],
)
def test_a_share_is_warned_of_or_refused(released, caplog, unknown, max_share, what):
    options = {"max_share": max_share, "where": "`data_dir`=x", "example": "'y' (row 3)", "tokenizer": released}
    if what == "refused":
        with pytest.raises(UserError, match=r"x: the vocabulary does not know .* first in 'y' \(row 3\)"):
            check_unknown(unknown, 1000, **options)
    else:
        check_unknown(unknown, 1000, **options)
        assert bool(caplog.records) == (what == "warned")
    check_unknown(0, 0, **options)


def test_the_first_unknown_word_is_found_in_any_row(released, testdata):
    @dataclasses.dataclass
    class Row:
        guid: str
        text: str
        options: list[str]

    row = Row("dev-\u6211", "The cat", ["sat on", "\u6211\u7231 mats"])
    assert list(texts_of(row)) == ["The cat", "sat on", "\u6211\u7231 mats"]
    assert first_unknown_word(texts_of(row), released) == "'\u6211\u7231'"
    assert first_unknown_word(texts_of({"a": ("The cat",)}), released) == ""


def test_ids_of_unknown_pieces_and_the_list_of_pieces(released, testdata):
    model = sentencepiece.SentencePieceProcessor(model_file=str(testdata / "30k-clean.model"))
    assert released.pieces() == [model.id_to_piece(i) for i in range(30000)]
    assert released.pieces()[released.unk_id] == "<unk>"
    tokenizer = word_pieces("the cat", True)
    assert tokenizer.encode("the dog") == [5, tokenizer.unk_id]
    assert tokenizer.pieces()[tokenizer.unk_id] == "[UNK]"


def test_logging_is_of_this_module(released, caplog):
    with caplog.at_level(logging.WARNING, logger="albert.vocabulary_fit"):
        check_unknown(20, 1000, max_share=0.3, where="x", example="'y'", tokenizer=released)
    assert "2 % of the pieces (20 of 1,000)" in caplog.text


def test_unknown_pieces_are_counted_over_all_texts(caplog):
    unknown = UnknownPieces(word_pieces("the cat", True))
    unknown.warn("nothing")
    for text in ("the cat " * 100, "the cat \u732b", ("the", ["\u72ac"])):
        unknown.add([unknown._tokenizer.encode(part) for part in texts_of(text)], text)
    unknown.warn("the file")
    assert not caplog.records  # 2 of 205
    unknown.add([unknown._tokenizer.encode("\u9ce5")], "\u9ce5")
    unknown.warn("the file")
    assert "the file: the vocabulary does not know 1.5 % of the pieces (3 of 206), the first in '\u732b'" in caplog.text
