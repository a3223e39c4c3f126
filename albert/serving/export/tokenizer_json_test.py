"""The ids that the tokenizers library makes with the file, compared with this project's. No TensorFlow."""

import io
import itertools
import json
import re

import pytest
import sentencepiece

from albert.errors import UserError
from albert.serving.export.tokenizer_json import tokenizer_json
from albert.tokenization import SentencePieceTokenizer, load_tokenizer

tokenizers = pytest.importorskip("tokenizers", reason="needs the tokenizers library: the extra hf")

# Written out in a text these become the tokens there, and stay text here.
SPECIAL = re.compile(r"\[(CLS|SEP|MASK|PAD|UNK)\]|<pad>|<unk>", re.IGNORECASE)
# Of each, so many rows: the texts of all of glue_data are compared by testing.py.
NUM_ROWS = 400


def different(tokenizer, texts):
    """Those of `texts` that the library cuts into other ids."""
    theirs = tokenizers.Tokenizer.from_str(tokenizer_json(tokenizer))
    found = theirs.encode_batch(texts, add_special_tokens=False)
    return [text for text, encoding in zip(texts, found, strict=True) if encoding.ids != tokenizer.encode(text)]


def strings_of(value):
    if isinstance(value, dict | list):
        values = [*value, *value.values()] if isinstance(value, dict) else value
        return [text for inner in values for text in strings_of(inner)]
    return [value] if isinstance(value, str) else []


@pytest.fixture(scope="module")
def odd(testdata):
    """Texts and pieces that were recorded because they are hard to get right."""
    files = ("tokenization.json", "tokenization_wordpiece.json")
    texts = [text for name in files for text in strings_of(json.loads((testdata / name).read_text()))]
    return sorted({text for text in texts if not SPECIAL.search(text)})


@pytest.mark.parametrize("keep_accents", [False, True])
@pytest.mark.parametrize("lower", [True, False])
def test_ids_of_googles_vocabulary(testdata, odd, lower, keep_accents):
    assert len(odd) > 3000
    assert different(load_tokenizer(testdata / "30k-clean.model", None, lower, keep_accents), odd) == []


def test_older_versions_of_the_library_read_the_file(testdata):
    # Without it version 0.15.2, that of transformers 4.38, refuses the file: "data did not match any variant".
    file = json.loads(tokenizer_json(load_tokenizer(testdata / "30k-clean.model", None, do_lower_case=True)))
    assert [file[part]["add_prefix_space"] for part in ("pre_tokenizer", "decoder")] == [True, True]


@pytest.mark.parametrize(("lower", "keep_accents"), [(True, False), (False, True)])
def test_ids_of_word_pieces(testdata, odd, lower, keep_accents):
    assert different(load_tokenizer(None, testdata / "wordpiece_vocab.txt", lower, keep_accents), odd) == []


@pytest.mark.slow
def test_ids_of_real_texts(testdata, shared_data):
    files = sorted((shared_data / "glue_data").glob("*/*.t*"))
    lines = (line for file in files for line in file.read_text(encoding="utf-8-sig").split("\n")[:NUM_ROWS])
    texts = sorted({field for line in lines for field in line.split("\t")})
    assert len(texts) > 10_000
    assert different(load_tokenizer(testdata / "30k-clean.model", None, do_lower_case=True), texts) == []


def test_a_pair_has_the_rows_of_this_project(testdata):
    tokenizer = load_tokenizer(testdata / "30k-clean.model", None, do_lower_case=True)
    found = tokenizers.Tokenizer.from_str(tokenizer_json(tokenizer)).encode("A cat", "sat.")
    first, second = tokenizer.encode("A cat"), tokenizer.encode("sat.")
    assert found.ids == [2, *first, 3, *second, 3]
    assert found.type_ids == [0] * (len(first) + 2) + [1] * (len(second) + 1)


# Other vocabularies --------------------------------------------------------------------------------------------------

GREEK = ["Ο ΔΡΟΜΟΣ ΤΗΣ ΠΟΛΗΣ", "ο δρόμος της πόλης", "ΟΔΥΣΣΕΥΣ. ΣΑΣ' ΛΕΕΙ"]
SENTENCES = [
    *GREEK,
    "한국어 문장을 나눕니다",
    "নৌকা কোন কৌশল",
    "The left-hand side is 2,000 or (in 2010, 2011) a bc abc.",
]


def trained(**options):
    model = io.BytesIO()
    symbols = {"control_symbols": ["[CLS]", "[SEP]", "[MASK]"], "user_defined_symbols": ["(", ")", "-", "."]}
    sizes = {"vocab_size": 200, "hard_vocab_limit": False, "pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=model,
        minloglevel=2,
        **{**symbols, **sizes, "pad_piece": "<pad>", **options},
    )
    return SentencePieceTokenizer(model.getvalue(), do_lower_case=True)


@pytest.mark.parametrize(
    "options",
    [{}, {"byte_fallback": True, "vocab_size": 500}, {"user_defined_symbols": ["<br>", "the"]},
     {"normalization_rule_name": "identity"}, {"character_coverage": 0.98}],
)  # fmt: skip
def test_ids_of_vocabularies_of_other_languages(options):
    # Sigmas at the ends of words, with all that Python's rule looks at; Hangul, which must be composed again.
    words = ["".join(letters) for letters in itertools.product("AΣ'.ς 1", repeat=4)]
    assert different(trained(**options), SENTENCES + words) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model_type": "bpe"}, "is no unigram model"),
        ({"user_defined_symbols": ["new ▁york"]}, "the piece 'new ▁york' of several words"),
        ({"add_dummy_prefix": False}, "treats white space in a way of its own"),
        ({"treat_whitespace_as_suffix": True}, "marks the ends of words"),
        ({"user_defined_symbols": ["ab", "bc"]}, "overlap, among them 'ab'"),
    ],
)
def test_vocabularies_that_the_library_cuts_otherwise_are_refused(options, problem):
    with pytest.raises(UserError, match=f"other ids with this vocabulary, which .*{problem}.*`format`=checkpoint does"):
        tokenizer_json(trained(**options))
