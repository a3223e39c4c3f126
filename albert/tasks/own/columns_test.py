"""Which columns of a table are read. No TensorFlow."""

import json

import pytest

from albert.errors import UserError
from albert.tasks.own.columns import Columns, choose_columns, choose_label, choose_texts
from albert.tasks.own.files import choose_from_header, read_columns
from albert.tasks.rows import RowTally


def _jsonl(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _names(path):
    return choose_from_header(path, lambda header: header.names)[0]


def _label(path, named=None, is_needed=True):
    return choose_label(path, _names(path), ("text",), named, is_needed)


@pytest.mark.parametrize("is_needed", [True, False])
@pytest.mark.parametrize("named", [None, "target"])
def test_a_label_that_the_first_record_lacks_is_found_in_others(tmp_path, named, is_needed):
    path = _jsonl(tmp_path, {"text": "a"}, {"text": "b"}, {"text": "c", "target": "x"})
    assert _label(path, named, is_needed) == "target"


def test_the_first_record_decides_where_it_has_a_label(tmp_path):
    path = _jsonl(tmp_path, {"text": "a", "category": "x"}, {"text": "b", "label": "y"})
    assert _label(path) == "category"


def test_rows_to_predict_need_no_label_but_one_that_is_named_must_be_there(tmp_path):
    path = _jsonl(tmp_path, {"text": "a"}, {"text": "b", "id": 1})
    assert _label(path, is_needed=False) is None
    with pytest.raises(UserError, match=r"rows.jsonl: no column for the label \(label, .*its columns are 'text', 'id'"):
        _label(path)
    with pytest.raises(UserError, match=r"no column 'foo' for `label_column_name`; its columns are 'text', 'id'\.$"):
        _label(path, "foo")
    with pytest.raises(UserError, match=r"'text', 'id'\. Leave the name out if there are no labels\.$"):
        _label(path, "foo", is_needed=False)


def test_texts_that_the_first_record_lacks_are_missed_there(tmp_path):
    path = _jsonl(tmp_path, {"label": "x"}, {"text": "b", "label": "x"})
    texts = choose_texts(path, _names(path), None)
    assert texts == ("text",)
    with pytest.raises(UserError, match=r"rows.jsonl, line 1: no 'text'; its keys are 'label'\. Write it, or remove"):
        list(read_columns(path, texts, RowTally(path)))
    with pytest.raises(UserError, match=r"no column 'a' for `text_column_names`; its columns are 'label', 'text'"):
        choose_texts(path, _names(path), "a")


def test_a_model_reads_the_columns_that_it_was_trained_on(tmp_path):
    path = _jsonl(tmp_path, {"text": "a", "body": "b", "a,b": "c"})
    header = _names(path)
    assert choose_texts(path, header, None, ("body",)) == ("body",)
    assert choose_texts(path, header, None, ("a,b",)) == ("a,b",)
    assert choose_texts(path, header, "a,b", ("body",)) == ("a,b",)
    assert choose_texts(path, header, None, ("elsewhere",)) == ("text",)


def _csv(folder, content):
    path = folder / "rows.csv"
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("content", "asked", "expected"),
    [
        ("text;label\na;1\n", {}, ("text", "label")),
        ("label\tpremise\thypothesis\n", {}, ("premise", "hypothesis", "label")),
        ("Text,LABEL\na,1\n", {}, ("Text", "LABEL")),
        ("Text,sentence,label\na,b,1\n", {}, ("sentence", "label")),  # as ever
        ("text,Label,class\na,1,2\n", {}, ("text", "class")),  # as ever
        ("Review|Stars\na|1\n", {"texts": "review", "label": "stars"}, ("Review", "Stars")),
        ("Subject;Body;Label\na;b;1\n", {"texts": "subject, body"}, ("Subject", "Body", "Label")),
        ("BODY,label\na,1\n", {"known": ("body",)}, ("BODY", "label")),
        ("BODY,text,label\na,b,1\n", {"known": ("body",)}, ("BODY", "label")),
        ("text,Label\na,1\n", {"needs_label": False}, ("text", None)),  # as ever
        ("b,c,Label\na,1,2\n", {"needs_label": False, "texts": "c, b"}, ("c", "b", None)),  # as ever
        ("text;Label\na;1\n", {"needs_label": False}, ("text", "Label")),
        ("Text,Label\na,1\n", {"needs_label": False}, ("Text", "Label")),
        ("text,Label\na,1\n", {"needs_label": False, "label": "label"}, ("text", "Label")),
        ("Text,Label\na,1\n", {"needs_label": None}, ("Text", None)),
    ],
)
def test_columns_are_found_between_other_separators_and_under_other_capitals(tmp_path, content, asked, expected):
    asked = {"texts": None, "needs_label": True, **asked}
    *texts, label = expected
    assert choose_columns(_csv(tmp_path, content), **asked) == Columns(tuple(texts), label)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("words;stars\na;1\n", "no column for the text .*; its columns are 'words', 'stars'"),
        ("text;stars\na;1\n", "no column for the label .*; its columns are 'text', 'stars'"),
        ("text|a;label\n1|2;3\n", "the only column is called 'text|a;label'"),
        ("Text,TEXT,sentence1,label\na,b,c,1\n", "no column for the text .*'Text', 'TEXT'"),
        ("text,Label,LABEL\na,1,2\n", "'Label', 'LABEL' could all be the label: say which with `label"),
    ],
)
def test_columns_that_are_not_there_or_not_clear_are_refused(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        choose_columns(_csv(tmp_path, content), None, needs_label=True)


def test_columns_that_could_all_be_the_models_do_not_give_way_to_a_usual_one(tmp_path):
    for other in ("text", "x"):
        with pytest.raises(UserError, match="'Review', 'REVIEW' could all be the model's column of texts: say which"):
            choose_columns(_csv(tmp_path, f"Review,REVIEW,{other}\na,b,c\n"), None, ("review",))
    clear = _csv(tmp_path, "Review,REVIEW,review,text\na,b,c,d\n")
    assert choose_columns(clear, None, ("review",)).texts == ("review",)
    with pytest.raises(UserError, match="could all be the label"):
        choose_columns(_csv(tmp_path, "Text,Label,LABEL\na,1,2\n"), None, needs_label=False)


def test_two_separators_that_give_the_columns_decide_nothing(tmp_path):
    path = _csv(tmp_path, "text|x;text;label|label\n")
    with pytest.raises(UserError, match="the only column is called"):
        choose_columns(path, "text", needs_label=None)


def test_a_column_under_other_capitals_is_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    path = _csv(tmp_path, "Text,LABEL\na,1\n")
    choose_columns(path, None, needs_label=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: column 'Text' is read for 'text'.",
        f"{path}: column 'LABEL' is read for 'label'.",
    ]
