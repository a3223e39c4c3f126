"""Which characters of a raw text each token stands for."""

import io
import json
import time
import tracemalloc
import unicodedata

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from albert.tokenization import SentencePieceTokenizer, WordPieceTokenizer, load_tokenizer

# (text, an answer in it): what collapses, decomposes, composes, or is dropped somewhere on the way to tokens.
TEXTS = [
    ("Item            Price\nOld bridge      1,200       1907\n\n        Total   4,600\n", "1907"),
    ("|  a  |\t\tb  |\n|------|------|\n|  1,5 |  2,5 |", "2,5"),
    ("\r\n\r\n  def f(x):\r\n        return 42\r\n", "42"),
    ("100\u00a0000\u202fkm\u2009\u00b2\u3000\u00a0\u00a0 here", "km\u2009\u00b2"),
    ("이 다리는 1907년에 두 형제가 지었다. 마을 사람들이 강가에서 다리를 건넜다.", "두 형제"),
    (unicodedata.normalize("NFD", "이 다리는 1907년에 지었다."), unicodedata.normalize("NFD", "1907년")),
    ("كَتَبَ الوَلَدُ رِسَالَةً طَوِيلَةً", "رِسَالَةً"),
    ("בְּרֵאשִׁית בָּרָא אֱלֹהִים", "בָּרָא"),
    (unicodedata.normalize("NFD", "Hà Nội là thủ đô của Việt Nam"), unicodedata.normalize("NFD", "Việt Nam")),
    ("The oﬃce of the ﬁrst ﬂeet", "ﬁrst"),
    ("add ½ cup and 1¾ spoons", "1¾"),
    ("Ⅷ ㎏ № ™ … ㍿ end", "№ ™"),
    ("die STRAẞE, straße", "straße"),
    ("ΟΔΟΣ ΟΔΥΣΣΕΥΣ. İzmir ILIK", "İzmir"),
    ("क़िताब हिन्दी में", "हिन्दी"),
    ("ภาษาไทยเป็นภาษา ที่มี", "ที่มี"),
    ("がぎぐ か\u3099 ﾊﾟﾝﾀﾞ", "ﾊﾟﾝﾀﾞ"),
    ("zero\u200bwidth joi\u200dner soft\u00adhyphen \ufeffmark \u200eleft", "soft\u00adhyphen"),
    ("bell\x07 nul\x00 unit\x1fsep next\x85line\u2028para\u2029x", "x"),
    ("family 👩\u200d👩\u200d👧 flag 🇩🇪 heart ❤\ufe0f 𝔘𝔫𝔦", "🇩🇪"),
    ("In 2010,2,500 people; 1907, 99,", "1907"),
    ("¨ ´ ¯ spacing ¸ marks", "marks"),
    ("q\u0307\u0323a \u0301alone", "q\u0307\u0323a"),
    ("▁under▁ lined ▁", "lined"),
]
MODELS = ("released", "characters", "nfkc", "identity", "bytes", "suffix", "word pieces", "cased word pieces")
MODELS += ("accents", "identity with accents", "cased with accents", "word pieces with accents")


@pytest.fixture(scope="module")
def tokenizers(testdata):
    """One of each kind, by name."""
    symbols = ["[CLS]", "[SEP]", "[MASK]"]
    released = testdata / "30k-clean.model"

    all_texts = tuple(text.replace("\x00", " ") for text, _ in TEXTS)

    def trained(texts=all_texts, lower=True, keep_accents=False, **options):
        model = io.BytesIO()
        options = {"model_type": "char", "vocab_size": 400, "character_coverage": 1.0, **options}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts * 3), model_writer=model, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
            control_symbols=symbols, hard_vocab_limit=False, minloglevel=2, **options,
        )  # fmt: skip
        return SentencePieceTokenizer(model.getvalue(), lower, keep_accents=keep_accents)

    letters = [chr(code) for code in [*range(0x21, 0x7F), *range(0x370, 0x400), *range(0x5D0, 0x5EB)]]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    words = "\n".join(vocabulary).encode()
    return {
        "released": load_tokenizer(released, None, True),
        "characters": trained(),
        "nfkc": trained(normalization_rule_name="nfkc", model_type="unigram", vocab_size=200),
        "identity": trained(normalization_rule_name="identity"),
        "bytes": trained(("only ascii letters",), model_type="unigram", vocab_size=300, byte_fallback=True),
        "suffix": trained(treat_whitespace_as_suffix=True),
        "accents": trained(keep_accents=True, model_type="unigram", vocab_size=200),
        "identity with accents": trained(keep_accents=True, normalization_rule_name="identity"),
        "cased with accents": trained(keep_accents=True, lower=False),
        "word pieces with accents": WordPieceTokenizer(words, True, keep_accents=True),
        "word pieces": WordPieceTokenizer(words, do_lower_case=True),
        "cased word pieces": WordPieceTokenizer(words, do_lower_case=False),
    }


def _check(tokenizer, text):
    """What holds of every text."""
    encoding = tokenizer.encode_with_offsets(text)
    assert encoding.ids == tokenizer.encode(text)
    assert len(encoding.ids) == len(encoding.starts) == len(encoding.stops)
    assert np.all(encoding.starts <= encoding.stops)
    assert np.all(encoding.stops[1:] > encoding.starts[1:])  # only a boundary in front of all is of nothing
    assert np.all(np.diff(encoding.starts) >= 0)
    assert np.all(np.diff(encoding.stops) >= 0)
    assert not len(encoding.ids) or (encoding.starts[0] >= 0 and encoding.stops[-1] <= len(text))
    covered = np.zeros(len(text), np.bool_)
    for start, stop in zip(encoding.starts, encoding.stops, strict=True):
        covered[start:stop] = True
    assert all(
        is_covered or unicodedata.category(c)[0] not in "LNP" for c, is_covered in zip(text, covered, strict=True)
    )
    return encoding


@pytest.mark.parametrize("name", MODELS)
def test_tokens_of_an_answer_cover_it(tokenizers, name):
    for text, answer in TEXTS:
        encoding = _check(tokenizers[name], text)
        start = text.index(answer)
        stop = start + len(answer)
        first = int(np.searchsorted(encoding.stops, start, side="right"))
        last = int(np.searchsorted(encoding.starts, stop - 1, side="right")) - 1
        shown = text[encoding.starts[first] : encoding.stops[last]]
        assert answer in shown, (text, answer, shown)
        # One token a character: nothing but white space in front is shown beside the answer.
        assert name not in ("characters", "identity") or shown.strip() == answer, (text, answer, shown)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=40, deadline=None)
@given(
    st.text(
        st.sampled_from([*"ab1,. (\t\n\x00\x07", *"éΣİßﬁ½…한ᆫ각漢ก่", *"\u0301\u0307\u00a0\u00a8\u200b\u200d\u2028▁"])
    )
)
def test_any_text_has_offsets(tokenizers, name, text):
    _check(tokenizers[name], text)


def test_offsets_of_a_piece_that_is_split_at_its_comma(tokenizers):
    text = "In  2010,a"
    encoding = tokenizers["released"].encode_with_offsets(text)
    found = [text[start:stop] for start, stop in zip(encoding.starts, encoding.stops, strict=True)]
    assert found == ["In", "  2010", ",", "a"]


def test_combining_marks_belong_to_their_letter(tokenizers):
    text = "qe\u0301q\u0301\u0302"
    for name in ("characters", "word pieces"):
        encoding = tokenizers[name].encode_with_offsets(text)
        found = [text[start:stop] for start, stop in zip(encoding.starts, encoding.stops, strict=True)]
        assert [part for part in found if part] == ["q", "e\u0301", "q\u0301\u0302"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["released", "characters", "word pieces"])
def test_time_and_memory_are_linear_in_the_length(tokenizers, name):
    # 300,000 characters may take 2 s and 150 MB; here 0.3 s and 40 MB. A quadratic table took 112 s and 6.8 GB.
    text = "the contract  shall remain  in force " * 8108 + "1234"
    assert len(text) >= 300_000
    tokenizers[name].encode_with_offsets(text[:1000])
    started = time.process_time()
    encoding = tokenizers[name].encode_with_offsets(text)
    assert time.process_time() - started < 20  # far above the one, far below the other
    assert encoding.stops[-1] == len(text)
    tracemalloc.start()
    tokenizers[name].encode_with_offsets(text[:100_000])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_word_pieces_equal_an_independent_tokenizer(testdata):
    # squad/word_pieces.json: ids and offsets of the tokenizers library.
    recorded = json.loads((testdata / "squad" / "word_pieces.json").read_text())
    vocabulary = "\n".join(recorded["vocab"]).encode()
    for case in recorded["cases"]:
        tokenizer = WordPieceTokenizer(vocabulary, case["lower"])
        encoding = tokenizer.encode_with_offsets(case["context"])
        assert encoding.ids == case["ids"]
        assert np.transpose([encoding.starts, encoding.stops]).tolist() == case["offsets"]
        assert tokenizer.encode(case["question"]) == case["question_ids"]
