import io
import itertools
import json
import pickle
import subprocess
import sys
import unicodedata

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from albert.errors import UserError
from albert.tokenization import SentencePieceTokenizer, WordPieceTokenizer, load_tokenizer, preprocess_text, split_words

CASINGS = [("lower", True), ("cased", False)]


@pytest.fixture(scope="module", params=CASINGS, ids=["lower", "cased"])
def released(request, testdata):
    """(key of the golden values, the tokenizer of the released models)."""
    key, lower = request.param
    return key, load_tokenizer(testdata / "30k-clean.model", None, lower)


def _trained_model(sentences, vocab_size, symbols=("[CLS]", "[SEP]", "[MASK]"), pieces=()):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=vocab_size,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=list(symbols),
        user_defined_symbols=list(pieces),
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


def test_sentence_pieces_equal_the_original(released, testdata):
    # tokenization.json: preprocess_text, FullTokenizer.tokenize and convert_tokens_to_ids of the original.
    key, tokenizer = released
    cases = json.loads((testdata / "tokenization.json").read_text(encoding="utf-8"))["cases"]
    assert len(cases) == 363
    for case in cases:
        expected = case[key]
        assert tokenizer.preprocess(case["text"]) == expected["preprocessed"]
        assert tokenizer.tokenize(expected["preprocessed"]) == expected["pieces"]
        assert tokenizer.encode(case["text"]) == expected["ids"]
        assert tokenizer.tokenize(case["text"]) == case["unpreprocessed"]["pieces"]
        kept_spaces = preprocess_text(case["text"], remove_space=False, lower=True)
        assert kept_spaces == case["preprocessed_keep_space_lower"]


def test_special_tokens_of_the_released_vocabulary(released):
    _, tokenizer = released
    special = (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert special == (0, 2, 3, 4)
    assert tokenizer.vocab_size == 30000


def test_special_tokens_written_in_a_text_stay_text(released):
    _, tokenizer = released
    assert not {tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id} & set(tokenizer.encode("[CLS] a [MASK] [SEP]"))


def test_preprocessing_follows_its_order():
    # NFKD makes one space of U+00A8 plus a mark, after white space was collapsed: a second space remains.
    assert preprocess_text(" É\u00a0 \u00a8x ") == "E  x"
    assert preprocess_text("  ﬁ  É ", remove_space=False, lower=True) == "  fi  e "


# Words that differ by a mark.
ACCENTS = [
    *(("かき", "かぎ"), ("ハンダ", "パンダ"), ("sa", "så"), ("schon", "schön"), ("ma", "mạ"), ("कम", "क़म")),
    *(("ไม", "ไม่"), ("ano", "año"), ("мои", "мой"), ("كتب", "كَتب"), ("של", "שֶל"), ("sare", "șare"), ("ou", "où")),
]


@pytest.mark.parametrize(("bare", "accented"), ACCENTS)
@pytest.mark.parametrize("lower", [True, False])
def test_accents_are_kept_where_asked_for(bare, accented, lower):
    assert preprocess_text(bare, lower=lower) == preprocess_text(accented, lower=lower)
    kept = preprocess_text(accented, lower=lower, keep_accents=True)
    assert kept != preprocess_text(bare, lower=lower, keep_accents=True)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        other = unicodedata.normalize(form, accented)
        assert preprocess_text(other, lower=lower, keep_accents=True) == kept
    vocabulary = ("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" + unicodedata.normalize("NFC", accented)).encode()
    tokenizer = WordPieceTokenizer(vocabulary, lower, keep_accents=True)
    assert tokenizer.encode(accented) == tokenizer.encode(unicodedata.normalize("NFD", accented)) == [5]
    assert tokenizer.encode(bare) == [1]


def test_text_with_accents_is_composed_and_lower_cased():
    assert preprocess_text(" \u2103  SCHO\u0308N \uff21 ", lower=True, keep_accents=True) == "\u00b0c sch\u00f6n a"
    assert preprocess_text("\u0130", lower=True, keep_accents=True) == "i\u0307"


def test_comma_is_split_off_a_piece_without_word_boundary():
    # All such pieces of the released vocabulary begin words. Encoding "7" alone brings a word boundary along, which
    # must go, whether it is part of the piece or, as here, one of its own.
    model = _trained_model(["ab cd 7 , ef"] * 20, 20, pieces=["7,"])
    tokenizer = SentencePieceTokenizer(model, do_lower_case=True)
    assert tokenizer._model.encode("ab7,", out_type=str)[-1] == "7,"
    pieces = tokenizer.tokenize("ab7, cd")
    assert "7," not in pieces
    assert "".join(pieces) == "▁ab7,▁cd"
    assert tokenizer.encode("ab7, cd") == tokenizer._model.piece_to_id(pieces)


def test_comma_is_split_off_text_the_vocabulary_does_not_know():
    # Neither 7 nor the comma is in this vocabulary, so that "7," is one unknown piece: the rule still applies.
    tokenizer = SentencePieceTokenizer(_trained_model(["ab cd ef gh"] * 20, 20), do_lower_case=True)
    assert tokenizer.tokenize("ab 7,") == [*tokenizer._model.encode("ab", out_type=str), "▁", "7", ","]
    assert tokenizer.encode("ab 7,")[-2:] == [1, 1]


@pytest.mark.parametrize(("key", "lower"), CASINGS)
def test_word_pieces_equal_the_original(testdata, key, lower):
    tokenizer = load_tokenizer(None, testdata / "wordpiece_vocab.txt", lower)
    golden = json.loads((testdata / "tokenization_wordpiece.json").read_text(encoding="utf-8"))
    assert tokenizer.vocab_size == len(golden["vocab"])
    assert len(golden["cases"]) == 23
    for case in golden["cases"]:
        expected = case[key]
        assert split_words(case["text"], lower) == expected["basic"]
        assert tokenizer.tokenize(case["text"]) == expected["pieces"]
        assert tokenizer.encode(case["text"]) == expected["ids"]


def test_special_tokens_of_a_word_piece_vocabulary(testdata):
    tokenizer = load_tokenizer(None, testdata / "wordpiece_vocab.txt", True)
    assert (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (0, 2, 3, 4)


def test_blank_vocabulary_line_keeps_the_ids_after_it():
    tokenizer = WordPieceTokenizer(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\nword\r\n", do_lower_case=True)
    assert tokenizer.encode("word") == [6]
    assert tokenizer.vocab_size == 7


def test_sentence_piece_model_is_preferred(testdata):
    tokenizer = load_tokenizer(testdata / "30k-clean.model", testdata / "wordpiece_vocab.txt", True)
    assert isinstance(tokenizer, SentencePieceTokenizer)


@pytest.mark.parametrize("file", ["30k-clean.model", "wordpiece_vocab.txt"])
def test_pickled_tokenizer_is_the_same(testdata, file):
    is_model = file.endswith(".model")
    path = testdata / file
    tokenizer = load_tokenizer(path if is_model else None, None if is_model else path, True)
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.digest == tokenizer.digest
    assert copy.encode("Hello, World 99!") == tokenizer.encode("Hello, World 99!")


def test_digest_changes_with_casing_kind_and_bytes(testdata):
    model = (testdata / "30k-clean.model").read_bytes()
    vocab = (testdata / "wordpiece_vocab.txt").read_bytes()
    digests = {SentencePieceTokenizer(model, lower).digest for lower in (True, False)}
    digests |= {WordPieceTokenizer(vocab, lower).digest for lower in (True, False)}
    digests |= {WordPieceTokenizer(vocab, lower, keep_accents=True).digest for lower in (True, False)}
    digests.add(WordPieceTokenizer(vocab + b"more\n", True).digest)
    assert len(digests) == 7
    assert SentencePieceTokenizer(model, True).digest in digests


def test_naming_no_vocabulary_is_refused():
    with pytest.raises(UserError, match=r"`spm_model_file`.*`vocab_file`"):
        load_tokenizer(None, None, True)


@pytest.mark.parametrize("flag", ["spm_model_file", "vocab_file"])
def test_unreadable_file_is_refused(tmp_path, flag):
    files = {"spm_model_file": None, "vocab_file": None}
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "not a regular file but a folder")):
        with pytest.raises(UserError, match=f"`{flag}`=.*{reason}"):
            load_tokenizer(**(files | {flag: path}), do_lower_case=True)


@pytest.mark.parametrize("content", [b"", b"not a model", b"[CLS]\n[SEP]\n"])
def test_file_that_is_not_a_sentence_piece_model_is_refused(tmp_path, content):
    path = tmp_path / "broken.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.model is not a whole SentencePiece model"):
        load_tokenizer(path, None, True)


def test_a_sentence_piece_model_with_a_piece_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "damaged.model"
    path.write_bytes(_trained_model(["one two three"] * 9, 24).replace(b"three", b"th\xc3(e", 1))
    with pytest.raises(UserError, match=r"damaged\.model is not a whole SentencePiece model"):
        load_tokenizer(path, None, do_lower_case=True)


# Bytes 49,977 and 522,444 are where pieces 3,001 and 30,000 end: SentencePiece itself accepts both.
@pytest.mark.parametrize("size", [49_977, 380_000, 522_444, 760_288])
def test_truncated_sentence_piece_model_is_refused(tmp_path, testdata, size):
    path = tmp_path / "cut.model"
    path.write_bytes((testdata / "30k-clean.model").read_bytes()[:size])
    with pytest.raises(UserError, match=r"cut\.model is not a whole"):
        load_tokenizer(path, None, True)


def test_sentence_piece_model_without_special_tokens_is_refused():
    model = _trained_model(["ab cd ef gh"] * 20, 20, symbols=("[CLS]", "[SEP]"))
    with pytest.raises(UserError, match=r"lacks \[MASK\]; an ALBERT vocabulary has"):
        SentencePieceTokenizer(model, True)


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        (b"", r"lacks \[CLS\], \[SEP\], \[MASK\], \[PAD\], \[UNK\]"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n", r"lacks \[MASK\]"),
        (b"[PAD]\n[UNK]\nword\nword\n", "line 4: 'word' stands on line 3 already"),
        (b"[PAD]\n\xe9t\xe9\n", "line 2: not UTF-8"),
        (b"[PAD]\ncaf\xe9\n", "line 2: not UTF-8 .* read as windows-1252"),
        # What lies beside the released models: pieces with their scores.
        (b"<pad>\t0\n<unk>\t0\n[CLS]\t0\n[SEP]\t0\n[MASK]\t0\n", "`spm_model_file`"),
    ],
)
def test_unusable_vocabulary_is_refused(vocab, message):
    with pytest.raises(UserError, match=message):
        WordPieceTokenizer(vocab, True)


def test_tokenizing_needs_no_tensorflow(testdata):
    # In a process of its own: other tests may have imported TensorFlow into this one.
    code = "import sys, albert.tokenization; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=testdata.parent.parent)


def test_a_comma_within_unknown_text_is_split_off_by_both_ways():
    # A model whose "," is marked as unused, so that "2010," is one unknown token.
    model = sentencepiece_model_pb2.ModelProto.FromString(
        _trained_model(["he won a game in the end"] * 9, 30, pieces=(",",))
    )
    for entry in model.pieces:
        if entry.piece == ",":
            entry.type = entry.UNUSED
    tokenizer = SentencePieceTokenizer(model.SerializeToString(), True)
    assert "".join(tokenizer.tokenize("he won 2010, a game")).count("2010,") == 1
    assert len(tokenizer.encode("he won 2010, a game")) == len(tokenizer.tokenize("he won 2010, a game"))


def test_texts_with_unknown_pieces_are_encoded_once_unless_a_digit_may_be_before_a_comma(testdata):
    tokenizer = load_tokenizer(testdata / "30k-clean.model", None, do_lower_case=True)
    texts = (
        "a \u9f98, b, 10 \u9f98",
        "\u9f98",
        "10,",
        "\u9f980, b",
        "\u00b2\u9f98,",
        "x\u00b2,\u9f98",
        "\uff11\uff0c \u9f98",
        ",",
    )
    calls = []

    class Counted:
        def __init__(self, model):
            self._model = model

        def __getattr__(self, name):
            calls.append(name)
            return getattr(self._model, name)

    for text in texts:
        prepared = tokenizer.preprocess(text)
        by_pieces = tokenizer._model.piece_to_id(tokenizer.tokenize(prepared))
        model, tokenizer._model = tokenizer._model, Counted(tokenizer._model)
        calls.clear()
        assert tokenizer.encode(text) == by_pieces
        if not any(
            first.isalnum() and not "a" <= first <= "z" and second == ","
            for first, second in itertools.pairwise(prepared)
        ):
            assert calls.count("encode") == 1, text
        tokenizer._model = model
