"""What a task of own data makes of its files: columns, labels, splits, and what it says of them. No TensorFlow."""

import csv
import dataclasses
import json
import logging
import os
import pickle
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.tasks.base import Labels, MultiLabels, Score
from albert.tasks.own.build import Known, own_data_task
from albert.tasks.own.parts import state_of
from albert.tasks.own.settings import OwnDataSettings

ALL = ("train", "dev", "test")


def _csv(path, rows, header=("text", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
    return path


def _jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _task(folder, rows=(), header=("text", "label"), wanted=("train",), known=None, seed=42, order=(), **settings):
    if rows:
        settings["train_file"] = _csv(folder / "train.csv", rows, header)
    return own_data_task(OwnDataSettings(**settings), seed, wanted, known, order)


def _read(task, split="train"):
    return list(task.read(split, Path()))


TWO = [("a", "x"), ("b", "y")]

# --- Columns and labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "settings", "texts", "label"),
    [
        ("text label", {}, ["text"], "label"),
        ("category sentence id", {}, ["sentence"], "category"),
        ("premise hypothesis label", {}, ["premise", "hypothesis"], "label"),
        ("question sentence label", {}, ["question", "sentence"], "label"),
        ("sentence1 sentence2 target", {}, ["sentence1", "sentence2"], "target"),
        ("text sentence1 sentence2 class labels", {}, ["text"], "labels"),
        ("a b c", {"text_column_names": "b", "label_column_name": "a"}, ["b"], "a"),
        ("a b c", {"text_column_names": "c, b", "label_column_name": "a"}, ["c", "b"], "a"),
    ],
)
def test_columns_are_those_named_or_those_with_a_usual_name(tmp_path, caplog, header, settings, texts, label):
    caplog.set_level(logging.INFO)
    header = header.split()
    rows = [[f"{name} {i}" if name in texts else str(i) for name in header] for i in range(2)]
    task = _task(tmp_path, rows, header, **settings)
    assert (list(task.columns.texts), task.columns.label) == (texts, label)
    example = _read(task)[1]
    assert (example.guid, example.text_a, example.label) == ("1", f"{texts[0]} 1", 1)
    assert example.text_b == (f"{texts[1]} 1" if len(texts) > 1 else None)
    assert f"text in column {' and '.join(map(repr, texts))}, label in '{label}'" in caplog.text


@pytest.mark.parametrize(
    ("header", "settings", "words"),
    [
        ("words label", {}, ["no column for the text", "'words', 'label'", "`text_column_names`"]),
        ("text kind", {}, ["no column for the label", "'text', 'kind'", "`label_column_name`"]),
        ("text label", {"text_column_names": "x"}, ["no column 'x'", "'text', 'label'"]),
        ("text label", {"label_column_name": "x"}, ["no column 'x'", "'text', 'label'"]),
        ("text label", {"text_column_names": "text,text"}, ["two different ones"]),
        ("text a label", {"text_column_names": "text,a,label"}, ["two different ones"]),
        ("text label", {"text_column_names": "label", "label_column_name": "label"}, ["both the text and the label"]),
    ],
)
def test_columns_that_are_not_there_are_refused_with_the_header(tmp_path, header, settings, words):
    header = header.split()
    _assert_refused(words, lambda: _task(tmp_path, [header[::-1]], header, **settings))


def test_files_may_have_other_separators_and_capitals(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rows = [("a; b", "x"), ("c, d", "y")]
    usual = _task(tmp_path, rows, wanted=("train", "dev"), validation_file=_csv(tmp_path / "dev.csv", rows))
    files = {}
    spelled = {"train": (";", "text label"), "dev": ("\t", "Text LABEL"), "test": ("|", "TEXT Label")}
    for name, (separator, header) in spelled.items():
        files[name] = tmp_path / f"{name}_of_excel.csv"
        with files[name].open("w", newline="") as file:
            csv.writer(file, delimiter=separator).writerows([header.split(), *rows])
    caplog.clear()
    task = _task(tmp_path, wanted=ALL, train_file=files["train"], validation_file=files["dev"], test_file=files["test"])
    for split in ALL:
        assert _read(task, split) == _read(usual, "train")
    assert task.identity() == usual.identity()
    about_columns = re.compile("(separates the columns|is read for '[a-z]+')[.]$")
    logged = list(filter(about_columns.search, caplog.messages))
    assert logged == [
        f"{files['train']}: a semicolon separates the columns.",
        f"{files['dev']}: a tab separates the columns.",
        f"{files['dev']}: column 'Text' is read for 'text'.",
        f"{files['dev']}: column 'LABEL' is read for 'label'.",
        f"{files['test']}: a vertical bar separates the columns.",
        f"{files['test']}: column 'TEXT' is read for 'text'.",
        f"{files['test']}: column 'Label' is read for 'label'.",
    ]


def test_columns_under_other_capitals_are_as_if_they_were_named(tmp_path):
    found = _task(tmp_path, TWO, header=("Text", "LABEL"))
    settings = {"text_column_names": "Text", "label_column_name": "LABEL", "train_file": tmp_path / "train.csv"}
    named = _task(tmp_path, **settings)
    assert _read(found) == _read(named)
    assert found.identity() == named.identity()
    assert found.identity()["columns"] == ("Text", "LABEL")


def test_the_log_names_the_file_of_each_split(tmp_path, caplog):
    # multi_run_albert_own.sh reads it there.
    caplog.set_level(logging.INFO)
    test = _csv(tmp_path / "test.csv", TWO * 600)
    _task(tmp_path, TWO, wanted=("train", "test"), test_file=test)
    assert f"train: 2 of 2 rows of {tmp_path / 'train.csv'}: x 1, y 1" in caplog.messages
    assert f"test: 1,200 of 1,200 rows of {test}: x 600, y 600" in caplog.messages


def test_counts_of_labels_that_are_numbers_are_told_apart_from_them(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    _task(tmp_path, [("a", "1"), ("b", "5"), ("c", "5")])
    assert f"train: 3 of 3 rows of {tmp_path / 'train.csv'}: label 1: 1 row, label 5: 2 rows" in caplog.messages


def _assert_refused(words, make):
    with pytest.raises(UserError) as refused:
        make()
    message = str(refused.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "B", "\u00e4"], ("B", "a", "b", "\u00e4")),
        (["10", "9", "-2"], ("-2", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        ([" a", "a ", "b"], ("a", "b")),
        (["1", "01", "2"], ("01", "1", "2")),
        (["true", "1"], ("1", "true")),
    ],
)
def test_labels_are_in_the_order_of_numbers_or_of_code_points(tmp_path, labels, expected):
    task = _task(tmp_path, [(f"t{i}", label) for i, label in enumerate(labels)])
    assert task.output == Labels(expected)
    assert [example.label for example in _read(task)] == [expected.index(label.strip()) for label in labels]


def test_scores_are_recognised_by_a_number_that_is_not_whole(tmp_path):
    task = _task(tmp_path, [("a", "1"), ("b", "2.5"), ("c", "-1e-1")])
    assert task.output == Score()
    assert [example.label for example in _read(task)] == [1.0, 2.5, -0.1]
    whole = [("a", "1"), ("b", "2")]
    assert _task(tmp_path, whole).output == Labels(("1", "2"))
    assert _task(tmp_path, whole, problem_type="regression").output == Score()
    mixed = [("a", "1"), ("b", "2.5"), ("c", "x")]
    assert _task(tmp_path, mixed).output == Labels(("1", "2.5", "x"))


def test_several_labels_are_lists_or_between_delimiters(tmp_path):
    rows = [("a", ["x", "z"]), ("b", []), ("c", ["y"])]
    path = _jsonl(tmp_path / "a.jsonl", [{"text": text, "label": label} for text, label in rows])
    task = _task(tmp_path, train_file=path)
    assert task.output == MultiLabels(("x", "y", "z"))
    assert [example.label for example in _read(task)] == [(1, 0, 1), (0, 0, 0), (0, 1, 0)]
    task = _task(tmp_path, [("a", "x; z"), ("b", ""), ("c", "y")], label_delimiter=";")
    assert task.output == MultiLabels(("x", "y", "z"), ";")
    assert [example.label for example in _read(task)] == [(1, 0, 1), (0, 0, 0), (0, 1, 0)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "settings", "words"),
    [
        ([("a", "x"), ("b", "")], {}, ["line 3: column 'label' is empty"]),
        ([("a", "x"), ("b", " ")], {}, ["line 3: column 'label' is empty"]),
        ([("a", "x"), ("b", "x")], {}, ["the only label is 'x'", "at least two"]),
        ([("a", "x"), ("b", "y" * 300)], {}, ["line 3", "300 characters", "256 are allowed"]),
        ([("a", "x"), ("b", "y\ny")], {}, ["line 3", "control character"]),
        ([("a", ""), (" ", "y")], {"label_column_name": "text"}, ["cannot be both"]),
        ([(" ", "x"), ("\u200b", "y")], {}, ["an empty text in all of its 2 rows"]),
        ([("a", "1"), ("b", "x")], {"problem_type": "regression"}, ["line 3", "'x', not a number"]),
        ([("a", "1"), ("b", "1e99")], {"problem_type": "regression"}, ["line 3", "between -1e15 and 1e15"]),
        ([("a", "1"), ("b", "nan")], {"problem_type": "regression"}, ["line 3", "not a number"]),
        (TWO, {"problem_type": "multi_label_classification"}, ["line 2", "`label_delimiter`"]),
        ([("a", "x|x"), ("b", "y")], {"label_delimiter": "|"}, ["line 2", "names a label twice"]),
        ([("a", "x||z"), ("b", "y")], {"label_delimiter": "|"}, ["line 2", "nothing before or after"]),
        ([("a", ""), ("b", "")], {"label_delimiter": "|"}, ["no row has a label", "at least two"]),
        ([("a", ""), ("b", "x")], {"label_delimiter": "|"}, ["the only label is 'x'"]),
        ([(str(i), f"{i:0200}x") for i in range(2000)], {}, ["406,000 bytes together", "320,000"]),
        ([("a", "|".join(f"l{i}" for i in range(10_001)))], {"label_delimiter": "|"}, ["10,001 different labels"]),
        (
            [("a", "x|z")],
            {"label_delimiter": "|", "problem_type": "single_label_classification"},
            ["line 2", "multi_label_classification", "`problem_type`"],
        ),
        ([(str(i), f"l{i}") for i in range(10_001)], {}, ["line 10002: more than 10,000 different labels"]),
        ([(str(i), str(i)) for i in range(10_001)], {}, ["line 10002: more than 10,000 different labels"]),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path, rows, settings, words):
    _assert_refused(words, lambda: _task(tmp_path, rows, **settings))


def test_lists_and_words_are_not_mixed(tmp_path):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": ["x"]}]
    for first, second in (rows, rows[::-1]):
        path = _jsonl(tmp_path / "a.jsonl", [first, second])
        _assert_refused(["line 2", "a list", "a word"], lambda path=path: _task(tmp_path, train_file=path))


def test_more_scores_than_labels_are_allowed(tmp_path):
    rows = [(str(i), str(i)) for i in range(10_010)]
    assert _task(tmp_path, [*rows, ("x", "0.5")]).output == Score()
    assert _task(tmp_path, rows, problem_type="regression").output == Score()


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_label_that_training_does_not_know_is_refused_where_it_is(tmp_path):
    rows = [(f"t{i}", f"l{i:02}") for i in range(12)]
    for split, name in (("dev", "validation_file"), ("test", "test_file")):
        other = _csv(tmp_path / "other.tsv", [("a", "l00"), ("b", "L00"), ("c", "m")])
        words = [
            f"{other}, line 3: label 'L00' in column 'label' does not occur in {tmp_path / 'train.csv'}",
            "known are l00, ",
            "l09 and",
            "or choose another column with `label_column_name`",
        ]
        _assert_refused(words, lambda s=split, n=name, o=other: _task(tmp_path, rows, wanted=("train", s), **{n: o}))


def test_test_rows_need_no_labels_and_dev_rows_do(tmp_path):
    bare = _csv(tmp_path / "bare.csv", [("a",), ("",)], ["text"])
    task = _task(tmp_path, TWO, wanted=("train", "test"), test_file=bare)
    assert [(example.guid, example.label) for example in _read(task, "test")] == [("0", None), ("1", None)]
    some = _jsonl(tmp_path / "some.jsonl", [{"text": "a", "label": "y"}, {"text": "b"}, {"text": "c", "label": None}])
    task = _task(tmp_path, TWO, wanted=("test",), test_file=some)
    assert [example.label for example in _read(task, "test")] == [1, None, None]
    _assert_refused(
        [f"{bare}, line 1: no column 'label'"],
        lambda: _task(tmp_path, TWO, wanted=("train", "dev"), validation_file=bare),
    )


@pytest.mark.parametrize(
    ("wanted", "settings", "words"),
    [
        (["train"], {"validation_file": "v.csv"}, ["`train_file`"]),
        (["dev"], {"test_file": "t.csv"}, ["`validation_file`", "`train_file`"]),
        (["test"], {"train_file": "t.csv"}, ["`test_file`"]),
        (["dev"], {"validation_file": "v.csv"}, ["labels are not known", "`train_file`"]),
    ],
)
def test_a_file_that_is_needed_and_not_given_is_named(tmp_path, wanted, settings, words):
    settings = {name: Path(path) for name, path in settings.items()}
    _assert_refused(words, lambda: _task(tmp_path, wanted=wanted, **settings))


def test_what_a_model_was_trained_on_decides_the_labels(tmp_path):
    known = Known(Labels(("y", "x", "z")), ("text",), Path("out/model.json"))
    task = _task(tmp_path, TWO, wanted=("train",), known=known)
    assert [example.label for example in _read(task)] == [1, 0]
    task = _task(tmp_path, wanted=("test",), known=known, test_file=_csv(tmp_path / "t.csv", [("a", "z")]))
    assert [example.label for example in _read(task, "test")] == [2]
    _assert_refused(
        ["line 3: label 'w' in column 'label' does not occur in out/model.json", "An earlier run", "`output_dir`"],
        lambda: _task(tmp_path, [("a", "x"), ("b", "w")], known=known),
    )
    rows = [("a", "b", "x")]
    _assert_refused(
        ["model.json: the model reads one text a row", "two texts (sentence1, sentence2)"],
        lambda: _task(tmp_path, rows, ["sentence1", "sentence2", "label"], known=known),
    )
    _assert_refused(
        ["`problem_type`=regression", "single_label"],
        lambda: _task(tmp_path, TWO, known=known, problem_type="regression"),
    )


@pytest.mark.parametrize(
    ("order", "expected"),
    [((), ["x", "y"]), (("y", "x"), ["y", "x"]), (("y", "x", "z"), ["x", "y"]), (("Y", "x"), ["x", "y"])],
)
def test_labels_are_in_the_order_of_a_heads_classes_where_they_are_the_same(tmp_path, caplog, order, expected):
    caplog.set_level("INFO")
    assert list(_task(tmp_path, TWO, order=order).output.names) == expected
    assert ("in the order of the checkpoint's classes: y, x" in caplog.text) is (expected == ["y", "x"])


def test_what_is_only_predicted_says_nothing_of_training(tmp_path):
    rows = [(f"t{i}", "xy"[i % 2]) for i in range(40)]
    test_file = _csv(tmp_path / "test.csv", rows)
    trained = _task(tmp_path, rows, wanted=("train", "dev")).identity_of_rows()
    assert _task(tmp_path, rows, wanted=("dev",)).identity_of_rows() == trained
    assert _task(tmp_path, rows, wanted=("train",)).identity_of_rows() != trained
    assert _task(tmp_path, rows, wanted=("test",), test_file=test_file).identity_of_rows() == {}


def test_a_file_that_changes_after_it_was_counted_is_refused(tmp_path):
    task = _task(tmp_path, TWO)
    path = _csv(tmp_path / "train.csv", [*TWO, ("c", "x")])
    os.utime(path, (1, 1))
    _assert_refused(["train.csv was changed"], lambda: _read(task))


def test_a_file_that_grows_while_it_is_read_gives_no_other_rows(tmp_path):
    # Whoever reads them then finds that the file was changed, and refuses it.
    task = _task(tmp_path, [(f"text {number}", "xy"[number % 2]) for number in range(20)], wanted=("train", "dev"))
    rows = task.read("dev", Path())
    first = next(rows)
    with (tmp_path / "train.csv").open("a") as file:
        file.write("another,x\n" * 10)
    assert [first, *rows] == _read_again(task)


def _read_again(task):
    """The rows of dev, whatever became of the file."""
    part = task.parts["dev"]
    parts = {**task.parts, "dev": dataclasses.replace(part, state=state_of(part.file.path))}
    return _read(dataclasses.replace(task, parts=parts), "dev")


def test_numbers_and_words_of_json_are_labels_of_their_own(tmp_path):
    values = ["1", 1.0, True, 1, "true", "1.0"]
    path = _jsonl(tmp_path / "train.jsonl", [{"text": str(n), "label": v} for n, v in enumerate(values * 2)])
    task = _task(tmp_path, train_file=path, problem_type="single_label_classification")
    names = task.output.names
    assert [names[example.label] for example in _read(task)] == ["1", "1.0", "true", "1", "true", "1.0"] * 2


def test_the_first_line_of_each_label_is_known_alone_and_in_lists(tmp_path, caplog):
    labels = [["Late"], ["late", "x"], ["x", "late"], ["LATE", "x"], ["x"]]
    path = _jsonl(tmp_path / "train.jsonl", [{"text": str(n), "labels": v} for n, v in enumerate(labels)])
    _task(tmp_path, train_file=path)
    assert "the first of 'Late' on line 1" in caplog.text
    caplog.clear()
    _task(tmp_path, [("a", "x"), ("b", "late"), ("c", "late"), ("d", "x"), ("e", "Late")])
    assert "rows: 'late' 2, 'Late' 1, the first of 'Late' on line 6" in caplog.text


def test_it_goes_to_other_processes_and_its_identity_into_files(tmp_path):
    rows = [(f"t{i}", "xy"[i % 2]) for i in range(40)]
    task = _task(tmp_path, rows, wanted=("train", "dev"))
    assert _read(pickle.loads(pickle.dumps(task)), "dev") == _read(task, "dev")
    json.dumps(task.identity())
    others = [
        _task(tmp_path, rows, wanted=("train", "dev"), **change)
        for change in ({"seed": 1}, {"validation_split": 0.2}, {"max_train_samples": 5}, {"problem_type": "regression"})
        if "problem_type" not in change
    ]
    others.append(_task(tmp_path, rows))
    identities = [json.dumps(t.identity(), sort_keys=True) for t in (task, *others)]
    assert len(set(identities)) == len(identities)


# --- Hold-out and samples ---------------------------------------------------------------------------------------------


def _five_labels(count=2000):
    """Quotes and line ends in every tenth; 2,000 rows on 2,201 lines with the header."""
    return [(f'row "{i}"' + (",\nsecond line" if i % 10 == 0 else ""), f"label {i % 5}") for i in range(count)]


def _split(task):
    return [{(e.text_a, e.label) for e in _read(task, split)} for split in ("train", "dev")]


def test_the_hold_out_is_the_same_rows_in_any_order_and_the_same_share_of_each_label(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rows = _five_labels()
    train, dev = _split(_task(tmp_path, rows, wanted=("train", "dev")))
    assert sum(1 for _ in (tmp_path / "train.csv").open()) == 2201
    assert len(train) == 1800
    assert Counter(label for _, label in dev) == dict.fromkeys(range(5), 40)
    assert train | dev == {(text, int(label[-1])) for text, label in rows}
    assert "train: 1,800 of 2,000 rows" in caplog.text
    assert "dev: 200 of 2,000 rows" in caplog.text
    assert "label 0: 40 rows, label 1: 40 rows" in caplog.text
    random.Random(0).shuffle(rows)
    assert _split(_task(tmp_path, rows, wanted=("train", "dev"))) == [train, dev]
    # With another seed, others; without evaluation none.
    assert _split(_task(tmp_path, rows, wanted=("train", "dev"), seed=1))[1] != dev
    assert len(_read(_task(tmp_path, rows))) == 2000
    # One row more changes no more than a row.
    changed = _split(_task(tmp_path, [*rows, ("new", "label 3")], wanted=("train", "dev")))[1]
    assert len(changed ^ dev) <= 2


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ({"a": 100, "b": 2, "c": 1}, 0.1, {"a": 10, "b": 1}),
        ({"a": 3, "b": 3}, 0.5, {"a": 2, "b": 2}),
        ({"a": 25, "b": 5}, 0.5, {"a": 13, "b": 3}),
        ({"a": 14, "b": 16}, 0.1, {"a": 1, "b": 2}),
    ],
)
def test_every_label_with_two_rows_has_one_in_dev_and_one_in_train(tmp_path, counts, share, expected):
    rows = [(f"{label} {i}", label) for label, count in counts.items() for i in range(count)]
    task = _task(tmp_path, rows, wanted=("train", "dev"), validation_split=share)
    names = sorted(counts)
    assert Counter(names[e.label] for e in _read(task, "dev")) == expected
    assert Counter(names[e.label] for e in _read(task)) == Counter(counts) - Counter(expected)


def test_rows_that_are_the_same_stay_on_one_side(tmp_path):
    rows = [(f"t{i % 30}", "xy"[i % 2]) for i in range(300)]
    train, dev = _split(_task(tmp_path, rows, wanted=("train", "dev")))
    assert not train & dev
    assert {label for _, label in dev} == {0, 1}
    _assert_refused(
        ["no rows are left for dev", "`validation_file`"],
        lambda: _task(tmp_path, [("a", "x"), ("a", "x"), ("b", "y")], wanted=("train", "dev")),
    )


def test_rows_of_some_labels_that_are_all_the_same_stay_in_training_whatever_is_drawn_from_the_rest(tmp_path):
    # Of the 20 rows of x|y, all the same, none can be held out without the others; in one seed of ten all of them were.
    rows = [*(("same", "x|y") for _ in range(20)), *((f"t{i}", f"z|l{i}") for i in range(40))]
    identities = []
    for seed in range(30):
        task = _task(tmp_path, rows, wanted=("train", "dev"), label_delimiter="|", seed=seed)
        assert [e.text_a for e in _read(task)].count("same") == 20
        assert len(_read(task, "dev")) == 4
        identities.append(task.identity()["hold_out"])
    # Caches and runs of before are those of another choice where it is another, and only there.
    assert {tuple(identity) for identity in identities} == {("share", "seed"), ("share", "seed", "num_kept")}
    assert [identity for identity in identities if identity.get("num_kept", 1) != 1] == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [(f"{label} {i}", label) for label in "xyz" for i in range(2)],
            ["3 of 6 rows, 50 %, though `validation_split`=0.1: at least one row of each of the 3 labels is."],
        ),
        (
            [(f"{i % 4}", "xy"[i % 2]) for i in range(100)],
            ["50 of 100 rows, 50 %, though `validation_split`=0.1: rows that are the same stay together."],
        ),
        (
            [*(("same", "x") for _ in range(40)), ("a", "y"), ("b", "y")],
            [
                "1 of 42 rows, 2 %, though `validation_split`=0.1: of rows that are all the same, as those of one "
                "label may be, none can be held out."
            ],
        ),
        ([(f"{i}", "xyz"[i % 3]) for i in range(200)], []),
    ],
)
def test_a_hold_out_far_from_what_was_asked_for_is_explained(tmp_path, caplog, rows, said):
    caplog.set_level(logging.INFO)
    _task(tmp_path, rows, wanted=("train", "dev"))
    lines = [line for line in caplog.messages if line.startswith("Held out")]
    assert lines == [f"Held out for evaluation: {line}" for line in said]


def test_scores_and_lists_are_held_out_too(tmp_path):
    task = _task(tmp_path, [(f"t{i}", f"{i}.5") for i in range(50)], wanted=("train", "dev"), validation_split=0.2)
    assert (len(_read(task)), len(_read(task, "dev"))) == (40, 10)
    # x|y ten times, y|z and others once each: the rare ones are drawn from together.
    rows = [(f"t{i}", "x|y" if i < 20 else f"z|l{i}") for i in range(40)]
    task = _task(tmp_path, rows, wanted=("train", "dev"), label_delimiter="|")
    both = Counter(sum(e.label) == 2 and e.label[task.output.names.index("x")] for e in _read(task, "dev"))
    assert both == {True: 2, False: 2}


def test_samples_are_the_first_of_an_order_that_the_seed_gives(tmp_path):
    rows = _five_labels(500)
    test_file = _csv(tmp_path / "test.csv", rows)
    counts = {"max_train_samples": 50, "max_eval_samples": 7, "max_predict_samples": 20}
    task = _task(tmp_path, rows, wanted=ALL, test_file=test_file, **counts)
    train, dev, test = (_read(task, split) for split in ALL)
    assert (len(train), len(dev), len(test)) == (50, 7, 20)
    assert [int(e.guid) for e in test] == sorted(int(e.guid) for e in test)
    whole = _task(tmp_path, rows, wanted=("train", "dev"))
    assert set(train) < set(_read(whole))
    assert set(dev) < set(_read(whole, "dev"))
    # A larger sample has the smaller one in it, and the order of the rows does not matter.
    larger = _task(tmp_path, rows[::-1], wanted=("train", "dev"), max_train_samples=60)
    assert {(e.text_a, e.label) for e in train} < {(e.text_a, e.label) for e in _read(larger)}
    # No label is preferred.
    assert max(Counter(e.label for e in train).values()) < 25
    same = _task(tmp_path, [*TWO, *[("c", "x")] * 5], max_train_samples=4)
    assert len(_read(same)) == 4
    assert len(_read(_task(tmp_path, TWO, max_train_samples=9))) == 2


# --- Warnings ---------------------------------------------------------------------------------------------------------


def test_what_is_odd_is_counted_with_its_first_place(tmp_path, caplog):
    rows = [("a", "Spam"), ("b", "spam"), ("c", "ham"), ("c", "Spam"), ("d", " ham"), ("", "ham"), ("d", "ham")]
    dev = [("c", "ham"), ("e", "ham"), ("b", "spam")]
    task = _task(tmp_path, rows, wanted=("train", "dev"), validation_file=_csv(tmp_path / "dev.csv", dev))
    lines = [record.getMessage() for record in caplog.records]
    train_csv, dev_csv = tmp_path / "train.csv", tmp_path / "dev.csv"
    assert lines == [
        f"{train_csv}: 1 row with an empty text, used all the same, the first on line 7: ''",
        f"{train_csv}: labels that differ in capitals, blanks or zeros alone are kept apart; rows: 'Spam' 2, 'spam' 1, "
        "the first of 'spam' on line 3",
        f"{train_csv}: texts that are there with different labels: 1, the first on line 4",
        f"{dev_csv}: 2 of 3 rows with a text that is also trained on ({train_csv}), the first on line 2: their scores "
        "say nothing of other texts",
    ]
    assert len(_read(task)) == 7


def test_a_label_of_a_single_row_among_many_may_be_a_spelling_mistake(tmp_path, caplog):
    rows = [(f"text {i}", "spam" if i % 2 else "ham") for i in range(58)]
    _task(tmp_path, [*rows, ("a", "spma"), ("b", "hma")], wanted=("train",))
    said = f"{tmp_path / 'train.csv'}: 2 labels with a single row, which may be a spelling mistake: "
    assert not any(line.startswith(said) for line in caplog.messages)  # 15 rows a label
    _task(tmp_path, [*rows, ("a", "spma"), ("b", "hma"), *((f"more {i}", "ham") for i in range(20))], wanted=("train",))
    assert said + "'spma' (line 60), 'hma' (line 61)" in caplog.messages


def test_a_column_of_labels_that_is_not_read_is_named(tmp_path, caplog):
    test_file = tmp_path / "test.csv"
    test_file.write_text("text,Label\na,ham\n")
    _task(tmp_path, _five_labels(100), wanted=("train", "test"), test_file=test_file)
    assert f"{test_file}: column 'Label' is not read for 'label': rename it if it is the same." in caplog.messages


def test_good_files_are_read_without_a_warning(tmp_path, caplog):
    _task(tmp_path, _five_labels(100), wanted=("train", "dev"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        (
            ["0.0", "1.0", "2"],
            Score,
            "whole numbers, but written with a decimal point (line 2: 0.0), and so are scores",
        ),
        (
            ["0.5", "nan", "1", "-"],
            Labels,
            "not numbers: 2, the first on line 3: 'nan'. So numbers with a decimal point",
        ),
        (["0", "1", "1", "NaN"], Labels, "1 of 3 different labels are not numbers, as the others are, the first on"),
        ([f"{number},5" for number in range(15)], Labels, "look like numbers with a decimal comma (line 2: '0,5')"),
        ([f"2020-01-{day}" for day in range(10, 25)], Labels, "is 'label' the right column?"),
        (["spam", "sp\u200bam", "\uff33pam", "ham"], Labels, "rows: 'spam' 1, 'sp\\u200bam' 1, '\uff33pam' 1"),
    ],
)
def test_labels_that_may_be_something_else_are_reported_in_one_warning(tmp_path, caplog, labels, kind, words):
    task = _task(tmp_path, [(f"text {number}", label) for number, label in enumerate(labels)])
    assert isinstance(task.output, kind)
    (record,) = caplog.records
    assert words in record.getMessage()
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize(
    ("labels", "delimiter", "words"),
    [
        (["['x', 'y']", "['y']"], None, "labels look like parts of lists, as \"['x', 'y']\""),  # as pandas writes them
        (["['x', 'y']", "['y']"], ",", "labels look like parts of lists, as \"['x'\""),
        (["x;y", "y"], "|", "no row has several labels with `label_delimiter`='|' between them; the first is 'x;y'"),
        (["x|y", "y"], "|", None),
        (["[x] y", "y"], None, None),
        (["x|y", "x", "y"], None, "labels look like several labels with '|' between them, as 'x|y'"),
        (["x; y", "x", "y"], None, "with ';' between them, as 'x; y'"),
        (["x|y", "z"], None, None),
        (["York, UK", "York, US"], None, None),
        (["0,5", "1,5", "5,0", "1,0"], None, "labels look like numbers with a decimal comma (line 2: '0,5')"),
        (["0,5", "x"], None, None),
    ],
)
def test_lists_that_are_not_taken_apart_are_reported(tmp_path, caplog, labels, delimiter, words):
    rows = [(f"text {number}", label) for number, label in enumerate(labels)]
    _task(tmp_path, rows, label_delimiter=delimiter)
    assert [words in record.getMessage() for record in caplog.records] == [True] * bool(words)


def test_labels_that_are_classes_by_problem_type_are_reported_where_only_zeros_differ(tmp_path, caplog):
    rows = [("a", "1"), ("b", "1.0"), ("c", "0"), ("d", "01")]
    _task(tmp_path, rows, problem_type="single_label_classification")
    (record,) = caplog.records
    assert "rows: '1' 1, '1.0' 1, '01' 1" in record.getMessage()


def test_a_score_that_is_too_large_is_reported_before_anything_is_trained(tmp_path):
    rows = [("a", "0.5"), ("b", "1e400"), ("c", "1")]
    with pytest.raises(UserError, match=r"train.csv, line 3: column 'label' holds '1e400', which is not between"):
        _task(tmp_path, rows)
    # Numbers that name classes may be of any size.
    assert _task(tmp_path, [("a", "9" * 20), ("b", "1"), ("c", "1")]).output == Labels(("1", "9" * 20))


def test_a_label_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"line 2: column 'label' holds a label with a control character"):
        _task(tmp_path, [("a", "b\u2028c"), ("b", "d")])


@pytest.mark.parametrize("problem_type", [None, "regression"])
def test_a_regression_needs_two_scores(tmp_path, problem_type):
    with pytest.raises(UserError, match=r"train.csv: the only score is 1.5; at least two are needed"):
        _task(tmp_path, [("a", "1.5"), ("b", "1.50")], problem_type=problem_type)
    assert _task(tmp_path, [("a", "1.5"), ("b", "1.5"), ("c", "2")], problem_type=problem_type).output == Score()
