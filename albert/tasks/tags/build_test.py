"""The task that is made of files with tags: tags, splits, scores, files, warnings. No TensorFlow."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from albert.errors import UserError
from albert.settings import DataSettings
from albert.tasks.base import Labels, Tags
from albert.tasks.own.build import Known, own_data_task
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.tags.build import is_of_tags, tags_task
from albert.tasks.tags.words import NO_PIECE
from albert.testing import AGREEMENT
from albert.tokenization import load_tokenizer

MODEL = Path("out/model.json")


def _conll(path, *texts):
    """Texts as "word/TAG word/TAG"."""
    rows = ["".join(f"{w.replace('/', ' ')}\n" for w in text.split()) for text in texts]
    path.write_text("\n".join(rows))
    return path


def _texts(count, first=0):
    return [f"word{n}/B-X it/O ./O" for n in range(first, first + count)]


def _task(wanted=("train",), known=None, order=(), seed=42, **settings):
    return tags_task(OwnDataSettings(**settings), seed, wanted, known, order)


def _words(task, split):
    return [item.words[0] for item in task.read(split, Path())]


def test_tags_come_from_the_training_file(tmp_path, caplog):
    path = _conll(tmp_path / "a.conll", "Anna/B-PER Hill/I-PER sings/O ./O", "Paris/B-LOC")
    task = _task(train_file=path)
    assert (task.output, task.best_metric) == (Tags(("B-LOC", "B-PER", "I-PER", "O"), True), "f1")
    assert [item.tags for item in task.read("train", Path())] == [(1, 2, 3, 3), (0,)]
    assert _task(train_file=path, order=("O", "I-PER", "B-PER", "B-LOC")).output.names[0] == "O"
    assert not caplog.records
    other = _conll(tmp_path / "b.conll", "Anna/NN sings/VB,", "Paris,/NN")
    assert _task(train_file=other).output == Tags(("NN", "VB,"), sets_punctuation_apart=False)
    assert _task(train_file=other).best_metric == "accuracy"


def test_a_share_of_the_texts_is_held_out_wherever_they_are(tmp_path):
    texts = _texts(40)
    path = _conll(tmp_path / "a.conll", *texts)
    task = _task(("train", "dev"), train_file=path)
    train, dev = (_words(task, split) for split in ("train", "dev"))
    assert (len(train), len(dev)) == (36, 4)
    assert sorted(train + dev) == sorted(f"word{n}" for n in range(40))
    shuffled = _conll(tmp_path / "b.conll", *texts[::-1])
    assert set(_words(_task(("train", "dev"), train_file=shuffled), "dev")) == set(dev)
    assert set(_words(_task(("train", "dev"), train_file=path, seed=7), "dev")) != set(dev)
    few = _task(("train", "dev"), train_file=path, max_train_samples=5, max_eval_samples=2)
    assert [len(_words(few, split)) for split in ("train", "dev")] == [5, 2]
    assert few.identity_of_rows() != task.identity_of_rows()
    assert pickle.loads(pickle.dumps(task)) == task  # to processes that tokenise
    assert json.loads(json.dumps(task.identity()))["labels"] == ["B-X", "O"]


def test_a_file_that_changed_since_is_not_read(tmp_path):
    path = _conll(tmp_path / "a.conll", *_texts(3))
    task = _task(train_file=path)
    _conll(path, *_texts(4))
    with pytest.raises(UserError, match="was changed since"):
        _words(task, "train")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"validation_file": "b/O I/B-X me/B-Y"}, r"b.conll, line 3: tag 'B-Y' does not occur in .*a.conll;"),
        ({"validation_file": "word/Tag a/O"}, r"line 1: tag 'Tag' does not .* If this line is a header, delete it:"),
        ({"validation_split": 0.5, "train_file": "a/O b/B-X"}, "a single text of 2 words, .*: put one behind each;"),
        ({"validation_split": 0.5, "train_file": ("a/O b/B-X",) * 2}, "no two of them differ"),
        ({"label_delimiter": "|"}, "`label_delimiter` has no effect"),
        ({"problem_type": "token_classification", "train_file": "a/O b/O"}, "the only tag is 'O'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, files, message):
    train = _conll(tmp_path / "a.conll", *_texts(3))
    given = {
        name: _conll(tmp_path / "b.conll", *([text] if isinstance(text, str) else text))
        if name.endswith("file")
        else text
        for name, text in files.items()
    }
    wanted = ("train", "dev") if any(name.startswith("validation") for name in files) else ("train",)
    with pytest.raises(UserError, match=message) as refused:
        _task(wanted, **{"train_file": train, **given})
    assert "\n" not in str(refused.value)


def test_a_model_that_is_there_decides_the_tags(tmp_path):
    test = _conll(tmp_path / "test.conll", "a b")
    test.write_text("a\nb\n")
    known = Known(Tags(("O", "X")), ("text",), MODEL)
    task = _task(("test",), known, test_file=test)
    assert [item.tags for item in task.read("test", Path())] == [None]
    assert not task.can_score(list(task.read("test", Path())))
    with pytest.raises(UserError, match=r"the model of out/model\.json is one of single_label_classification"):
        _task(
            ("test",),
            Known(Labels(("a", "b")), ("text",), MODEL),
            test_file=test,
            problem_type="token_classification",
        )


def test_what_is_odd_is_in_one_warning_each(tmp_path, caplog):
    texts = [*_texts(40), "a/I-X b/O", "c/O d/B-Z"]
    train = _conll(tmp_path / "a.conll", *texts)
    _task(("train", "dev"), train_file=train, validation_file=_conll(tmp_path / "b.conll", texts[0], "new/O"))
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "2 tags occur only once each and may be spelling mistakes: 'B-Z' (line 165), 'I-X' (line 161)",
        "1 of 42 entities begin with I- and the others with B-, the first on line 161; all are entities",
        f"1 of 2 texts that are also trained on ({train}), the first on line 1: their scores say nothing of other "
        "texts",
    ]


def test_what_follows_from_an_unknown_tag_is_not_told_before_it(tmp_path, caplog):
    files = (_conll(tmp_path / name, text) for name, text in (("a.conll", "a/B-X b/I-X"), ("b.conll", "a/B-X b/I-Y")))
    with pytest.raises(UserError, match="line 2: tag 'I-Y' does not occur"):
        _task(("train", "dev"), **dict(zip(("train_file", "validation_file"), files, strict=True)))
    assert not caplog.records


def test_a_first_line_that_looks_like_a_header_is_told(tmp_path, caplog):
    _task(train_file=_conll(tmp_path / "a.conll", "word/NER", *_texts(3)))
    assert "a.conll, line 1: the tag 'NER' occurs only here, as in a header" in caplog.messages[0]
    caplog.clear()
    _task(train_file=_conll(tmp_path / "a.conll", *_texts(3), "the/POS"))  # a part of speech, too
    assert "header" not in caplog.text


def test_tags_that_mark_no_entities_among_others_that_do_are_told(tmp_path, caplog):
    task = _task(train_file=_conll(tmp_path / "a.conll", *_texts(3), "a/b-x"))
    assert task.best_metric == "accuracy"
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "tags that differ in capitals or blanks alone are kept apart; words: 'B-X' 3, 'b-x' 1",
        "most tags mark entities, as 'B-X' does, but others do not, so that words are scored and no entities: 'b-x' "
        "(line 13)",
    ]
    caplog.clear()
    _task(train_file=_conll(tmp_path / "a.conll", "a/1 b/0"))
    assert "the tags are numbers, in which no entities can be counted" in caplog.text
    _task(train_file=_conll(tmp_path / "a.conll", *(f"w{n}/lemma{n} and/and" for n in range(60))))
    assert "61 different tags in 120 words, the first 'lemma0': is it the right column?" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "settings", "is_tags"),
    [
        ("a.conll", "a O\n", {}, True),
        ("a.txt", "a O\n", {}, False),
        ("a.txt", "a O\n", {"problem_type": "token_classification"}, True),
        ("a.conll", "a O\n", {"problem_type": "regression"}, False),
        ("a.jsonl", '{"tokens": ["a"], "ner_tags": ["O"]}', {}, True),
        ("a.jsonl", '{"tokens": ["a"], "ner_tags": ["O"]}', {"text_column_names": "tokens"}, False),
        ("a.jsonl", '{"text": "a", "labels": ["O"]}', {}, False),
        ("a.csv", "text,label\na,b\n", {}, False),
    ],
)
def test_files_say_whether_they_hold_tags(tmp_path, name, content, settings, is_tags):
    (tmp_path / name).write_text(content)
    assert is_of_tags(OwnDataSettings(train_file=tmp_path / name, **settings), None) is is_tags


@pytest.mark.parametrize("name", ["a.txt", "a.tsv"])
def test_a_file_that_may_be_conll_is_answered_with_the_problem_type(tmp_path, name):
    (tmp_path / name).write_text("a\tO\nb\tB-X\n")
    with pytest.raises(UserError, match="`problem_type`=token_classification"):
        own_data_task(OwnDataSettings(train_file=tmp_path / name), 42, ("train",))


def test_every_word_is_scored_once_whatever_is_cut(tmp_path, caplog):
    path = _conll(tmp_path / "a.conll", "the/O the/O the/B-X the/I-X", "the/B-X \u200b/O", "the/O")
    task = _task(("train", "dev"), train_file=path, validation_file=path)
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    settings = DataSettings("own", Path(), max_seq_length=5)
    items = list(task.read("dev", Path()))
    records = [task.featurize(item, tokenizer, settings)[0] for item in items]
    assert [record["first_pieces"] for record in records] == [[1, 2, 3, NO_PIECE], [1, NO_PIECE], [1]]
    assert [record["tag_ids"] for record in records] == [[0, 3, 3, 1, 0], [0, 1, 0], [0, 3, 0]]  # B-X, I-X, O
    host = [{"first_pieces": np.array(record["first_pieces"])} for record in records]
    caplog.clear()
    task.check_records(path, items, host)
    assert "2 of 7 words without a piece in their row: they are not trained on, and predicted as O" in caplog.text
    tags = np.array([[9, 2, 2, 0, 9], [9, 0, 9, 9, 9], [9, 0, 9, 9, 9]])  # 9 where nobody looks
    scores = task.score(items, {"tags": tags}, host)
    # Predicted: X (2, 3) of the first text, whose last word is cut; X of the second, right; X of the third. There: two.
    assert scores == {"f1": pytest.approx(2 / 5), "precision": pytest.approx(1 / 3), "recall": 0.5, "accuracy": 5 / 7}
    assert task.score_without_reading(items) == 0.0
    assert task.with_best_metric("accuracy").score_without_reading(items) == 4 / 7
    assert task.with_best_metric("eval_loss").score_without_reading(items) is None
    with pytest.raises(UserError, match="use one of f1, precision, recall, accuracy, eval_loss"):
        task.with_best_metric("f1_macro")
    files = task.report_files(items, {"tags": tags}, host)
    assert files["dev_predictions.conll"] == (
        "the O O\nthe O O\nthe B-X B-X\nthe I-X O\n\nthe B-X B-X\n\u200b O O\n\nthe O B-X\n\n"
    )
    assert json.loads(files["classification_report.json"])["classes"]["X"]["support"] == 2


def test_every_word_of_a_text_in_windows_is_read_in_one(tmp_path):
    path = _conll(tmp_path / "a.conll", "the/O " * 7 + "the/B-X", "the/B-X \u200b/O")
    cut = _task(("train", "dev"), train_file=path, validation_file=path)
    task = cut.with_long_texts_split()
    assert task.identity() == {**cut.identity(), "windows": 1}
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    settings = DataSettings("own", Path(), max_seq_length=6)
    items = list(task.read("dev", Path()))
    made = [task.featurize(item, tokenizer, settings) for item in items]
    assert made[1] == cut.featurize(items[1], tokenizer, settings)
    # Of windows of 4 words that begin 2 apart.
    assert [record["first_pieces"] for record in made[0]] == [[1, 2, 3], [2, 3], [2, 3, 4]]
    # Each word has its tag once: B-X is 1, O is 2, what is read in another window has none.
    assert [record["tag_ids"] for record in made[0]] == [[0, 2, 2, 2, 0, 0], [0, 0, 2, 2, 0, 0], [0, 0, 2, 2, 1, 0]]
    host = [{"first_pieces": np.array(record["first_pieces"])} for records in made for record in records]
    tags = np.array([[9, 1, 1, 1, 9, 9], [9, 9, 0, 1, 9, 9], [9, 9, 1, 1, 0, 9], [9, 0, 9, 9, 9, 9]])
    assert [found.tolist() for found in task.predicted(items, {"tags": tags}, host)] == [
        [1, 1, 1, 0, 1, 1, 1, 0],
        [0, 1],
    ]
    assert task.score(items, {"tags": tags}, host)["accuracy"] == 9 / 10


def test_texts_without_tags_are_predicted_and_not_scored(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": ["O", "X"]}, {"tokens": ["c\td"]}]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = _task(("test",), Known(Tags(("O", "X")), ("text",), MODEL), test_file=path)
    items = list(task.read("test", Path()))
    host = [{"first_pieces": np.array([1, 2])}, {"first_pieces": np.array([1])}]
    files = task.result_files(items, {"tags": np.array([[0, 0, 0], [0, 1, 0]])}, host)
    assert [json.loads(line) for line in files["test_predictions.jsonl"].splitlines()] == [
        {"tokens": ["a", "b"], "tags": ["O", "X"], "predictions": ["O", "O"]},
        {"tokens": ["c\td"], "predictions": ["X"]},
    ]
    scores = json.loads(files["test_scores.json"])
    assert (scores["rows"], scores["metrics"]["accuracy"]) == (1, 0.5)


def test_labelled_texts_of_a_test_set_are_scored_by_all_their_windows(tmp_path):
    rows = [
        {"tokens": ["the"] * 8},
        {"tokens": ["the"] * 8, "tags": ["O"] * 7 + ["X"]},
        {"tokens": ["the"], "tags": ["X"]},
    ]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = _task(("test",), Known(Tags(("O", "X")), ("text",), MODEL), test_file=path).with_long_texts_split()
    items = list(task.read("test", Path()))
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    records = [
        r for item in items for r in task.featurize(item, tokenizer, DataSettings("own", Path(), max_seq_length=6))
    ]
    host = [{"first_pieces": np.array(record["first_pieces"])} for record in records]
    assert len(host) == 7
    tags = np.zeros((7, 6), int)
    tags[5] = tags[6] = 1  # the last window of the second text, in which three words are read, and the third text
    scores = json.loads(task.result_files(items, {"tags": tags}, host)["test_scores.json"])
    assert (scores["rows"], scores["metrics"]["accuracy"]) == (2, 7 / 9)
