import builtins
import csv
import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from albert.serving.export import text_graph
from albert.serving.export.reference import TEXTS, rows_of
from albert.serving.loading import load_model
from albert.serving.testing import write_random_model
from albert.tasks.text import truncated_pair_lengths
from albert.testing import AGREEMENT, TESTDATA
from albert.tokenization import load_tokenizer

needs_tensorflow_text = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_text") is None,
    reason="tensorflow-text (60 MB) is not installed: scripts/setup.sh --serving",
)

# What is easy to get wrong: the white space of Python, combining marks by their class, NUL, the comma rule, which does
# not concern unknown pieces, and characters that change with case or form.
ODD = (
    *("", " ", "a\x1cb\x85c\xa0d\u2003e\u3000f\u200bg\ufeffh", "\n trimmed\t", "a\0b", "\0", "12,\0 \0\0"),
    *("ก็ เด็ก", "కి తెలుగు", "e\u0301 x\u0323\u0307", "Ç Ø ß ﬁ ½ Ⅷ ２０１０，", "ΣΑΣ ΟΔΟΣ Σ", "İstanbul I ı"),
    *("한글 \u1112\u1161\u11ab", "in 2010, 2011, 1,000,000 and 5,", "3,,", "٣, ①, ²,", "<unk>", "<unk>, 5,"),
    *(
        "[CLS] a [SEP]",
        "▁a",
        "``quoted'' \"it\"",
        "a-b (c) – £5 €6. -",
        "東京, 5,",
        "🙂, 👩\u200d👩",
        "\ue000, \U0010fffd",
    ),
    "x" * 300,
)


def googles_tokenizer(do_lower_case=True, keep_accents=False):
    return load_tokenizer(TESTDATA / "30k-clean.model", None, do_lower_case, keep_accents)


def glue_texts():
    """Some hundred sentences of the bundled rows."""
    cells = set()
    for path in sorted((TESTDATA / "glue_data").glob("*/*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                cells.update(cell for cell in row if " " in cell)
    return sorted(cells)


@needs_tensorflow_text
@pytest.mark.parametrize("keep_accents", [False, True])
@pytest.mark.parametrize("do_lower_case", [False, True])
def test_ids_are_the_tokenizers(do_lower_case, keep_accents):
    tokenizer = googles_tokenizer(do_lower_case, keep_accents)
    graph = text_graph.TextGraph(tokenizer, 40)
    texts = [*ODD, *(text for pair in TEXTS for text in pair if text), *glue_texts()]
    prepared = [text.decode() for text in graph.preprocess(tf.constant(texts)).numpy()]
    # The operation that cuts text would end at U+0000.
    assert prepared == [tokenizer.preprocess(text).replace("\0", "\ue000") for text in texts]
    assert graph.encode(tf.constant(texts)).to_list() == [tokenizer.encode(text) for text in texts]


@needs_tensorflow_text
def test_rows_are_truncated_and_laid_out_as_in_training(tmp_path):
    write_random_model(tmp_path / "model", "classification", googles_tokenizer(), vocab_size=30000)
    model = load_model(tmp_path / "model", "/cpu:0")
    long = " ".join("word" for _ in range(60))
    texts = [*TEXTS, (long, "short"), ("short", long), (long, long), ("", "second alone"), ("", ""), ("b", "")]
    for longest in (32, 7, 4):
        graph = text_graph.TextGraph(model.tokenizer, longest)
        found = graph.rows(*(tf.constant([text or "" for text in column]) for column in zip(*texts, strict=True)))
        expected = rows_of(model, tuple(texts), longest)
        for values, name in zip(found, expected, strict=True):
            np.testing.assert_array_equal(values, expected[name][:, : values.shape[1]], err_msg=f"{name} {longest}")
        assert found.attention_mask.numpy().sum() == expected["attention_mask"].sum()
    alone = graph.rows(tf.constant(["one text"]))
    np.testing.assert_array_equal(alone.input_ids, rows_of(model, (("one text", None),), 4)["input_ids"])


def test_lengths_are_those_of_the_rule_in_words():
    pairs = [(a, b) for a in range(9) for b in range(9)]
    first, second = tf.constant(pairs, tf.int64)[:, 0], tf.constant(pairs, tf.int64)[:, 1]
    for budget in range(1, 18):
        kept = text_graph._kept(first, second, tf.constant(budget, tf.int64))
        expected = [truncated_pair_lengths(a, b, budget) for a, b in pairs]
        np.testing.assert_array_equal(np.stack(kept, axis=1), expected)


def test_the_comma_rule_is_a_row_for_every_piece():
    tokenizer = googles_tokenizer()
    table = text_graph._without_commas(tokenizer).to_list()
    assert len(table) == 30000
    assert table[tokenizer.unk_id] == [tokenizer.unk_id]  # the text of an unknown piece may be anything
    pieces = tokenizer.pieces()
    number = pieces.index("▁2010,")
    assert [pieces[part] for part in table[number]] == ["▁2010", ","]
    assert sum(row != [number] for number, row in enumerate(table)) == 141


def test_what_keeps_texts_out_is_said(monkeypatch):
    vocabulary = TESTDATA / "wordpiece_vocab.txt"
    assert "word pieces" in text_graph.why_not_in_graph(load_tokenizer(None, vocabulary, True))
    no_comma = load_tokenizer(AGREEMENT / "agreement.model", None, True)
    assert "has no comma" in text_graph.why_not_in_graph(no_comma)
    imported = builtins.__import__

    def without(name, *arguments):
        if name == "tensorflow_text":
            raise ImportError("No module named 'tensorflow_text'")
        return imported(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "setup.sh --serving installs it" in text_graph.why_not_in_graph(googles_tokenizer())
