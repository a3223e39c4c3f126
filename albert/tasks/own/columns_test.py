"""Which columns of a table are read. No TensorFlow."""

import json

import pytest

from albert.errors import UserError
from albert.tasks.own.columns import choose_label, choose_texts
from albert.tasks.own.files import column_names, read_columns
from albert.tasks.rows import RowTally


def _jsonl(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _label(path, named=None, is_needed=True):
    return choose_label(path, column_names(path), ("text",), named, is_needed)


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
    texts = choose_texts(path, column_names(path), None)
    assert texts == ("text",)
    with pytest.raises(UserError, match=r"rows.jsonl, line 1: no 'text'; its keys are 'label'\. Write it, or remove"):
        list(read_columns(path, texts, RowTally(path)))
    with pytest.raises(UserError, match=r"no column 'a' for `text_column_names`; its columns are 'label', 'text'"):
        choose_texts(path, column_names(path), "a")


def test_a_model_reads_the_columns_that_it_was_trained_on(tmp_path):
    path = _jsonl(tmp_path, {"text": "a", "body": "b", "a,b": "c"})
    header = column_names(path)
    assert choose_texts(path, header, None, ("body",)) == ("body",)
    assert choose_texts(path, header, None, ("a,b",)) == ("a,b",)
    assert choose_texts(path, header, "a,b", ("body",)) == ("a,b",)
    assert choose_texts(path, header, None, ("elsewhere",)) == ("text",)
