"""Folders of transformers whose files beside the vocabulary ask for something else than is done. No TensorFlow."""

import json
import shutil

import pytest

from albert.interchange.testing import SMALL, made_of
from albert.tokenization import load_tokenizer

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "", "c")


def test_a_vocabulary_other_than_the_one_beside_it_is_warned_of(tmp_path, caplog):
    """Which transformers' fast tokenizers would read, so that its models were trained with other ids."""
    shutil.copy(SMALL, tmp_path / "spiece.model")
    path = tmp_path / "tokenizer.json"

    def warning_of(values):
        caplog.clear()
        path.write_text(values if isinstance(values, str) else json.dumps(values))
        assert load_tokenizer(tmp_path / "spiece.model", None, True).digest
        return caplog.text

    values = made_of(SMALL)
    assert not warning_of(values)
    assert not warning_of("{")
    vocabulary = values["model"]["vocab"]
    vocabulary[50], vocabulary[60] = vocabulary[60], vocabulary[50]
    assert f"{path} differs from spiece.model, whose ids count here: 2 pieces, as number 50" in warning_of(values)
    added = {"id": len(vocabulary), "content": "<new>", "special": False}
    values = made_of(SMALL)
    assert f"1 pieces, as number {len(vocabulary)}, '<new>' for None" in warning_of(
        values | {"added_tokens": [*values["added_tokens"], added, {"id": []}]}
    )
    assert "it is of another kind" in warning_of(values | {"model": {"type": "BPE"}})


@pytest.fixture
def warning_of(tmp_path, caplog):
    """What is logged of a folder with a vocabulary of `kind` and `files` beside it."""

    def logged(kind, *, cased=False, keep_accents=False, **files):
        for name, values in files.items():
            (tmp_path / f"{name}.json").write_text(values if isinstance(values, str) else json.dumps(values))
        if kind == "pieces":
            shutil.copy(SMALL, tmp_path / "spiece.model")
            load_tokenizer(tmp_path / "spiece.model", None, not cased, keep_accents)
        else:
            (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
            load_tokenizer(None, tmp_path / "vocab.txt", not cased, keep_accents)
        return "\n".join(caplog.messages)

    return logged


@pytest.mark.parametrize("kind", ["pieces", "words"])
@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens": {"[MASK]": 4, "<e1>": 200, "<e2>": 201}},
        {"tokenizer_config": {"added_tokens_decoder": {"4": {"content": "[MASK]"}, "200": {"content": "<e1>"},
                                                       "201": {"content": "<e2>"}}}},
    ],
)  # fmt: skip
def test_tokens_that_were_added_to_the_vocabulary_are_told(warning_of, kind, files):
    """By which alone the texts of relation extraction, for example, say what is asked for."""
    assert "json has 2 tokens that" in (said := warning_of(kind, **files))
    assert "as number 200, '<e1>': cut like any text here" in said


@pytest.mark.parametrize("kind", ["pieces", "words"])
@pytest.mark.parametrize(
    "files",
    [
        {},
        {"added_tokens": {"[MASK]": 4}},
        {"added_tokens": "{", "tokenizer_config": "[]", "tokenizer": "{"},
        {"added_tokens": {"x": []}, "tokenizer_config": {"added_tokens_decoder": {"x": {}, "9": None}}},
        {"tokenizer_config": {"added_tokens_decoder": [], "tokenizer_class": None, "strip_accents": None}},
        {"tokenizer_config": {"tokenizer_class": "AlbertTokenizerFast", "truncation_side": "right"}},
        {"tokenizer_config": {"tokenizer_class": "BertTokenizer", "tokenize_chinese_chars": True}},
    ],
)
def test_of_what_is_done_as_the_files_say_nothing_is_told(warning_of, kind, files):
    assert not warning_of(kind, **files)


@pytest.mark.parametrize(
    ("kind", "casing", "config", "said"),
    [
        ("pieces", {}, {"tokenizer_class": "XLNetTokenizerFast"}, "tokenizer_class XLNetTokenizerFast"),
        ("words", {}, {"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class BertJapaneseTokenizer"),
        ("pieces", {}, {"truncation_side": "left"}, "truncation_side left"),
        ("words", {}, {"tokenize_chinese_chars": False, "do_basic_tokenize": False}, "do_basic_tokenize False, token"),
        ("words", {}, {"strip_accents": False}, "strip_accents False"),
        ("words", {"keep_accents": True}, {"strip_accents": True}, "strip_accents True"),
        ("words", {"cased": True}, {"strip_accents": True}, "strip_accents True"),
        ("words", {}, {"strip_accents": True}, ""),
        ("words", {"keep_accents": True}, {"strip_accents": False}, ""),
        ("words", {"cased": True}, {"strip_accents": False}, ""),
        ("pieces", {}, {"strip_accents": False}, ""),
    ],
)
def test_settings_by_which_transformers_cuts_otherwise_are_told(warning_of, kind, casing, config, said):
    found = warning_of(kind, **casing, tokenizer_config=config)
    assert said in found
    assert found.endswith(f"{said and 'which is not done here: its model may predict worse.'}")
    assert bool(found) == bool(said)


def test_word_pieces_are_compared_with_those_of_the_fast_tokenizer(warning_of):
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    assert not warning_of("words", tokenizer={"model": {"type": "WordPiece", "vocab": vocabulary}, "added_tokens": []})
    vocabulary |= {"c": 5, "a": 8}
    said = warning_of("words", tokenizer={"model": {"type": "WordPiece", "vocab": vocabulary}, "added_tokens": []})
    assert "differs from vocab.txt, whose ids count here: 2 pieces, as number 5, 'c' for 'a'" in said
    assert said.endswith("if it trained the model, correct vocab.txt.")
