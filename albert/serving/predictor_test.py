"""Models of every kind as Python objects; expected numbers are those that `do_predict` wrote of the same models."""

import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

import albert
from albert.errors import UserError
from albert.serving.shapes import MAX_SHAPES
from albert.serving.testing import write_random_model
from albert.tasks.race import RaceTask
from albert.tasks.squad.files import Paragraph, Question
from albert.testing import AGREEMENT, SAMPLE_DATA, SQUAD_TO_ANSWER
from albert.tokenization import load_tokenizer

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def agreement(models):
    """A model of two labels. What it has compiled is kept for all tests of the file."""
    return albert.load(models / "agreement")


def _sentences(models: Path) -> list[str]:
    lines = (models / "data/Agreement/test.tsv").read_text().splitlines()[1:]
    return [line.split("\t")[1] for line in lines]


def _probabilities(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "out/test_results.tsv", delimiter="\t", ndmin=2)


def _in_order_of_labels(results) -> np.ndarray:
    return np.array([[found["score"] for found in sorted(row, key=lambda f: f["label"])] for row in results])


# Equal to --do_predict ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_labels_equal_those_of_a_run(models, agreement):
    expected = _probabilities(models / "agreement")
    found = agreement(_sentences(models), top_k=0)
    assert agreement(_sentences(models), top_k=None) == found
    np.testing.assert_allclose(_in_order_of_labels(found), expected, rtol=0, atol=TOLERANCE)
    best = agreement(_sentences(models))
    assert [int(result["label"]) for result in best] == expected.argmax(axis=1).tolist()
    assert best == [row[0] for row in found]
    assert all(row[0]["score"] >= row[1]["score"] for row in found)


@pytest.mark.slow
def test_without_packing_and_in_other_batches_they_are_the_same(models):
    predictor = albert.load(models / "agreement", batch_size=3, pack_sequences=False)
    found = _in_order_of_labels(predictor(_sentences(models)[:7], top_k=2))
    np.testing.assert_allclose(found, _probabilities(models / "agreement")[:7], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_scores_of_pairs_equal_those_of_a_run(models):
    rows = [line.split("\t") for line in (models / "data/STS-B/test.tsv").read_text().splitlines()[1:]]
    found = albert.load(models / "sts-b")([row[7] for row in rows], [row[8] for row in rows])
    assert {result["label"] for result in found} == {"LABEL_0"}
    expected = _probabilities(models / "sts-b")[:, 0]
    np.testing.assert_allclose([result["score"] for result in found], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squad", "squad1.1"])
def test_answers_equal_those_of_a_run_and_their_offsets_are_the_context_s(models, name):
    predictor, out = albert.load(models / name, batch_size=1), models / name / "out"
    texts, nbest = (json.loads((out / file).read_text()) for file in ("predictions.json", "nbest_predictions.json"))
    odds = json.loads((out / "null_odds.json").read_text()) if name == "squad" else {}
    assert (0 < sum(text == "" for text in texts.values()) < len(texts)) == bool(odds)
    for paragraph in json.loads(SQUAD_TO_ANSWER.read_text())["data"][0]["paragraphs"]:
        context = paragraph["context"]
        for asked in paragraph["qas"]:
            found = predictor.answer(asked["question"], context, top_k=30)
            assert found[0]["answer"] == texts[asked["id"]]
            assert all(context[f["start"] : f["end"]] == f["answer"] for f in found)
            spans = found if texts[asked["id"]] else found[1:]
            assert [f["answer"] for f in spans] == [entry["text"] for entry in nbest[asked["id"]]]
            scores = [entry["probability"] for entry in nbest[asked["id"]]]
            assert [f["score"] for f in spans] == pytest.approx(scores, abs=TOLERANCE)
            if not texts[asked["id"]]:
                assert found[0]["score"] == pytest.approx(1 / (1 + np.exp(-odds[asked["id"]])), abs=TOLERANCE)
            assert predictor.answer(asked["question"], context) == found[0]
    without = {"score": 1.0 if odds else 0.0, "start": 0, "end": 0, "answer": ""}
    assert predictor.answer("", "") == without
    # A row of 40 tokens and one of 16, whose outputs are not equally wide.
    long, short = Paragraph(context, (Question("l", "who", (), False),), "", 0, False), "a cat"
    asked_short = dataclasses.replace(long, context=short, questions=(Question("s", "who", (), False),))
    together = predictor.answer_all([long, asked_short], top_k=0)
    alone = [predictor.answer("who", text, top_k=0) for text in (context, short)]
    for rows, expected in zip(together, alone, strict=True):
        assert [row["answer"] for row in rows] == [row["answer"] for row in expected]
        assert [row["score"] for row in rows] == pytest.approx([row["score"] for row in expected], abs=TOLERANCE)
    namesakes = [dataclasses.replace(each, questions=(Question("", "who", (), False),)) for each in (long, asked_short)]
    assert predictor.answer_all(namesakes, top_k=0) == together


def test_choices_equal_those_of_a_run(models):
    predictor = albert.load(models / "race")
    examples = list(RaceTask().read("test", models / "data"))
    found = predictor.choose_all(examples, top_k=0)
    np.testing.assert_allclose(_in_order_of_labels(found), _probabilities(models / "race"), rtol=0, atol=TOLERANCE)
    asked = examples[0]
    best = predictor.choose(asked.article, asked.question, asked.options)
    assert best == pytest.approx(found[0][0])
    assert best["option"] == asked.options["ABCD".index(best["label"])]
    with pytest.raises(UserError, match="chooses among 4 options, but a question has 3"):
        predictor.choose(asked.article, asked.question, asked.options[:3])


# Embeddings -----------------------------------------------------------------------------------------------------------


def test_an_embedding_is_the_text_s_own_whatever_is_beside_it(models, agreement):
    texts = [*_sentences(models)[:9], ""]
    for pooling in ("pooled", "mean"):
        together = agreement.encode(texts, pooling=pooling)
        assert (together.dtype, together.shape) == (np.float32, (10, 8))
        alone = np.concatenate([agreement.encode(text, pooling=pooling) for text in texts])
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    assert agreement.encode([]).shape == (0, 8)
    with pytest.raises(UserError, match="pooling=cls is unknown; known are pooled, mean"):
        agreement.encode(texts, pooling="cls")


@pytest.mark.slow
def test_a_pretrained_model_embeds_and_says_that_it_does_not_predict():
    predictor = albert.load(SAMPLE_DATA / "albert_tiny")
    assert predictor.encode(["a text", "another"], ["with a second", "one"], pooling="mean").shape == (2, 256)
    with pytest.raises(UserError, match=r"has no model.json: it holds a pretrained model, .* Fine-tune it first"):
        predictor("a text")


# Calls ----------------------------------------------------------------------------------------------------------------


def test_texts_of_any_length_and_number_need_few_shapes(models):
    predictor = albert.load(models / "agreement", batch_size=4)
    rng = np.random.default_rng(0)
    words = " ".join(_sentences(models)).split()
    for count in (1, 2, 3, 5, 9, 40, 300):
        texts = [" ".join(rng.choice(words, rng.integers(0, 60))) for _ in range(count)]
        assert len(predictor(texts)) == count
        assert predictor.num_compiled <= MAX_SHAPES
    assert predictor([]) == []


def test_a_warm_predictor_compiles_nothing_for_a_text_of_any_length(models):
    predictor = albert.load(models / "agreement")
    predictor.warm_up()
    compiled = predictor.num_compiled
    for length in range(0, 60, 3):
        predictor("cat " * length)
    assert predictor.num_compiled == compiled
    predictor.warm_up(is_whole=True)
    compiled = predictor.num_compiled
    for count in (2, 9, 40, 200):
        predictor(["cat " * (7 * number % 60) for number in range(count)])
    assert predictor.num_compiled == compiled


@pytest.mark.slow
def test_many_predictors_in_a_process_print_nothing():
    # From the fifth function of one place in the code, TensorFlow warns where functions are called by themselves.
    code = f"""
import albert
predictors = [albert.load({str(SAMPLE_DATA / "albert_tiny")!r}, device="cpu") for _ in range(6)]
vectors = [predictor.encode("a text") for predictor in predictors]
assert all((vector == vectors[0]).all() for vector in vectors)
assert [predictor.num_compiled for predictor in predictors] == [1] * 6
"""
    # A user's, who has none of what the tests set for TensorFlow and its compiler.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_threads_share_a_predictor_and_two_predictors_a_process(models, agreement):
    texts = _sentences(models)
    other = albert.load(models / "agreement", batch_size=2)
    expected = agreement(texts, top_k=2)
    found: dict[int, list] = {}

    def predict(number: int) -> None:
        predictor = agreement if number % 2 else other
        found[number] = [predictor(texts[number : number + 20], top_k=2) for _ in range(3)]

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(6))
    for number, calls in found.items():
        for call in calls:
            scores = _in_order_of_labels(expected[number : number + 20])
            np.testing.assert_allclose(_in_order_of_labels(call), scores, rtol=0, atol=TOLERANCE)


def test_what_is_not_the_model_s_use_is_told(models, agreement):
    for call, message in (
        (lambda: agreement(["a"], ["b"]), r"reads 1 text \(sentence\), but two are given"),
        (lambda: albert.load(models / "sts-b")("a"), r"reads 2 texts \(sentence1, sentence2\), but one text is given"),
        (lambda: albert.load(models / "sts-b")(["a", "b"], ["c"]), "2 texts, but 1 second text:"),
        (lambda: albert.load(models / "squad")("a"), "gives no labels: it answers questions"),
        (lambda: agreement.answer("a", "b"), "gives no answers: it reads texts"),
        (lambda: albert.load(models / "race").answer("a", "b"), "gives no answers: it chooses among the options"),
        (lambda: agreement(["a", "b\ud800"]), r"texts\[1\]: 'b\\ud800' has half of a surrogate pair"),
        (lambda: agreement.encode("\udfff"), r"texts: '\\udfff' has half of a surrogate pair"),
        (lambda: agreement("a", topk=2), r"^unknown keyword topk: did you mean top_k\? The keywords are texts, text_p"),
        (
            lambda: agreement.encode("a", pool="mean"),
            r"^unknown keyword pool: did you mean pooling\? The keywords of e",
        ),
        (lambda: albert.load(models / "agreement", batch=3), r"^unknown keyword batch: did you mean batch_size\? The"),
        (lambda: agreement("a", threshold=0.4), "`threshold`=0.4, but the model of .* does not give several labels"),
        (lambda: albert.load(models / "sts-b")("a", "b", top_k=2), "`top_k`=2, but the model of .* gives one score"),
        (lambda: agreement("a", top_k=-1), "`top_k`=-1 must be a whole number of at least 0, which means all"),
        (lambda: agreement("a", top_k=1.5), "`top_k`=1.5 must be a whole number"),
        (lambda: agreement("a", top_k=True), "`top_k`=True must be a whole number"),
        (lambda: agreement("a", threshold=float("nan")), "`threshold`=nan must be a number from 0 to 1"),
        (lambda: agreement("a", threshold=50), "`threshold`=50 must be a number from 0 to 1"),
        (lambda: agreement("a", threshold="0.5"), "`threshold`='0.5' must be a number from 0 to 1"),
        (lambda: albert.load(""), "`model_dir` is empty; give the folder of a model"),
        (lambda: agreement.warm_up("nonsense"), "pooling=nonsense is unknown"),
        (
            lambda: albert.load(models / "agreement", batch_size=0),
            "`batch_size`=0 must be a whole number of at least 1",
        ),
        (lambda: albert.load(models / "agreement", batch_size="3"), "`batch_size`='3' must be a whole number"),
        (lambda: albert.load(models / "agreement", device="tpu"), "`device`=tpu is unknown"),
        (lambda: albert.load(models / "agreement", dtype="int8"), "`dtype`=int8 is unknown"),
    ):
        with pytest.raises(UserError, match=message):
            call()
    for texts, said in (
        ([1], r"\[0\]: int \(1\)"),
        (["a", float("nan")], r"\[1\]: float \(nan\)"),
        (["a", None], "NoneType"),
    ):
        with pytest.raises(TypeError, match=f"^texts.*{said} is not a text$"):
            agreement(texts)
    with pytest.raises(TypeError, match=r"^text_pairs\[1\]: bytes is not a text$"):
        agreement.encode(["a", "b"], np.array(["a", b"b"], object))

    class DataFrame(list):
        ndim = 2

    class Dataset(list):
        column_names = ("column",)

    tables = np.array("a"), np.array([["a", "b"]]), DataFrame(["column"]), Dataset([{"column": "a"}])
    no_lists = ({"a": 1}, {"a", "b"}, b"a", None, 1, *tables)
    for texts in no_lists:
        kind = type(texts).__name__
        hint = (
            re.escape("; give a column of it: texts=table['text']") if any(texts is table for table in tables) else ""
        )
        with pytest.raises(TypeError, match=f"^texts: {kind} is no list of texts{hint}$"):
            agreement(texts)


class _Series:
    """A column of a table, as pandas has it: one dimension, and a length that is no truth."""

    ndim = 1

    def __init__(self, texts: list):
        self.texts = texts

    def __iter__(self):
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __bool__(self) -> bool:
        raise ValueError("the truth of a Series is ambiguous")


@pytest.mark.slow
def test_columns_of_tables_are_texts(agreement):
    texts = ["the horse laughs .", "the horses laugh ."]
    expected = agreement(texts)
    for column in (_Series(texts), np.array(texts), np.array(texts, object), iter(texts)):
        assert agreement(column) == expected
    np.testing.assert_array_equal(agreement.encode(_Series(texts)), agreement.encode(texts))


@pytest.mark.slow
def test_a_long_call_in_a_notebook_has_a_bar(agreement, monkeypatch):
    bars = []

    def progress_bar(**options):
        bars.append(tqdm(**{**options, "delay": 0, "disable": False, "file": io.StringIO()}))
        assert options["disable"] is None
        return bars[-1]

    agreement(["a"])
    monkeypatch.setattr("albert.serving.predictor.in_notebook", lambda: True)
    monkeypatch.setattr("albert.serving.predictor.progress_bar", progress_bar)
    agreement(["the horse laughs ."] * 70)
    agreement.encode(["a"] * 3)
    assert [(bar.n, bar.total) for bar in bars] == [(70, 70), (3, 3)]


def _counts(predictor, name: str) -> tuple[int, int, int]:
    cuts = predictor.cuts[name]
    return cuts.count, cuts.total, cuts.longest


@pytest.mark.slow
def test_what_is_cut_is_counted_and_a_window_is_not_a_cut(tmp_path, caplog):
    # Rows have 32 tokens, questions 8, question and option 20. Each "a" is one token, behind one "▁" for all.
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    for name in ("classification", "choice", "span_v1"):
        write_random_model(tmp_path / name, name, tokenizer)
    a = len(tokenizer.encode("the " * 10)) // 10
    assert a == 1, "a word of one piece"

    labels = albert.load(tmp_path / "classification")
    labels(["the " * 14, "the " * 14, "the"], ["the " * 15, "the " * 16, "the"])  # 32, 33 and 5 tokens
    assert list(labels.cuts) == ["max_seq_length"]
    assert _counts(labels, "max_seq_length") == (1, 3, 33)
    labels.encode(["the " * 40])
    assert _counts(labels, "max_seq_length") == (2, 4, 42)

    choice = albert.load(tmp_path / "choice")
    choice.choose("the " * 9, "the " * 10, ["the " * 10, *["the"] * 3])  # question and option fit: 9 + 20 + 3
    assert (_counts(choice, "max_qa_length"), _counts(choice, "max_seq_length")) == ((0, 1, 0), (0, 1, 0))
    choice.choose("the " * 10, "the " * 11, ["the " * 10, *["the " * 11] * 3])
    assert (_counts(choice, "max_qa_length"), _counts(choice, "max_seq_length")) == ((1, 2, 22), (1, 2, 33))

    span = albert.load(tmp_path / "span_v1")
    span.answer("the " * 8, "the " * 100)
    span.answer("the " * 9, "the")
    assert (_counts(span, "max_query_length"), _counts(span, "max_seq_length")) == ((1, 2, 9), (0, 0, 0))
    span.cuts["max_query_length"].warn("x")
    assert "x: 1 of 2 questions cut to max_query_length=8 tokens; the longest has 9." in caplog.text


@pytest.mark.slow
def test_a_model_that_computes_no_numbers_says_so(tmp_path):
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    write_random_model(tmp_path / "model", "classification", tokenizer)
    predictor = albert.load(tmp_path / "model")
    for name, weight in predictor._model.weights.items():
        if name.startswith("bert/encoder/"):
            weight.assign(weight * 1e25)  # finite, but products of it are not
    for call in (lambda: predictor(["a", "b"], ["c", "d"]), lambda: predictor.encode(["a", "b"])):
        with pytest.raises(UserError, match=r"computes no numbers \(NaN\) for 2 of 2 rows: .*smaller learning rate"):
            call()


# Folders --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(models, tmp_path) -> Path:
    return shutil.copytree(models / "agreement", tmp_path / "model", ignore=shutil.ignore_patterns("out"))


def _described(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


ONE_NUMBER = {"head": "regression", "problem_type": "regression"}
QUESTIONS = {"head": "span_v1", "problem_type": None, "text_columns": 0, "text_column_names": [], "max_query_length": 8}
THREE_LABELS = {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "spiece.model").unlink(), "has no vocabulary"),
        (lambda f: (f / "albert_config.json").unlink(), "has neither albert_config.json nor config.json"),
        (lambda f: (f / "model.ckpt-1.index").unlink(), "`model_dir`=.* is a folder without a checkpoint"),
        (lambda f: (f / "model.ckpt-1.index").write_bytes(b"x" * 60), "cannot be read, it may be damaged"),
        (lambda f: (f / "model.json").write_text("{"), "model.json is damaged"),
        (lambda f: _described(f, **ONE_NUMBER), r"output_weights of shape \[2, 8\], not \[1, 8\]: it is not"),
        (lambda f: _described(f, **THREE_LABELS), r"output_weights of shape \[2, 8\], not \[3, 8\]"),
        (
            lambda f: _described(f, **QUESTIONS),
            "has no cls/squad/output_weights: it is not the model that .*model.json describes",
        ),
        (lambda f: _described(f, label2id={"0": 1, "1": 0}), "label2id is not the inverse of id2label"),
        (
            lambda f: _described(f, keep_accents=True),
            "spiece.model, or the do_lower_case or keep_accents in .*model.json, are not those of the model's training",
        ),
        (lambda f: (f / "albert_config.json").write_text("{"), r"^[^`]*albert_config.json "),
        (
            lambda f: (f / "spiece.model").write_bytes(b"no model"),
            "^[^`]*spiece.model is not a whole SentencePiece model",
        ),
        (
            lambda f: shutil.copy(SAMPLE_DATA / "albert_tiny/7k.model", f / "spiece.model"),
            "7000 pieces, but vocab_size in .* is 124",
        ),
        (lambda f: _described(f, max_seq_length=64), "max_seq_length is 64, but the model has 48 positions"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_told_in_one_line(copied, damage, message):
    damage(copied)
    with pytest.raises(UserError, match=message):
        albert.load(copied)


def test_labels_may_be_in_any_order_in_the_file(copied, models, agreement):
    description = json.loads((copied / "model.json").read_text())
    _described(copied, id2label=dict(reversed(description["id2label"].items())))
    text = _sentences(models)[0]
    assert albert.load(copied)(text) == agreement(text)


def test_the_folder_is_all_that_is_needed(copied, models, agreement, tmp_path):
    assert not (AGREEMENT / "model.json").exists()
    moved = copied.rename(tmp_path / "moved")
    text = _sentences(models)[0]
    assert albert.load(str(moved))(text) == agreement(text)
