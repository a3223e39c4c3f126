import csv
import io
import json
import os
import sys

import numpy as np
import pytest

from albert.errors import UserError
from albert.serving.outputs import (
    JsonLines,
    LabelsTable,
    PlainLines,
    ReaderGone,
    StandardOutput,
    Table,
    VectorFile,
    opened,
    vector_lines,
)
from albert.system.files import whole_file
from albert.tasks.base import MultiLabels
from albert.tasks.own.files import Row, read_columns
from albert.tasks.rows import RowTally

BILLING, OTHER = {"label": "billing", "score": 0.75}, {"label": 'an "other", ä\nline', "score": 0.25}


def test_lines_of_json_have_one_record_or_a_list():
    assert JsonLines(has_one=True).form([[BILLING], [OTHER]]).decode().splitlines() == [
        '{"label": "billing", "score": 0.75}',
        '{"label": "an \\"other\\", ä\\nline", "score": 0.25}',
    ]
    assert [json.loads(line) for line in JsonLines(has_one=False).form([[BILLING, OTHER], []]).splitlines()] == [
        [BILLING, OTHER],
        [],
    ]


HEADER = ("id", "text", "label")
CELLS = ["1", 'a "b",\r c\nd', " x"]


def test_predictions_stand_behind_the_cells_of_their_rows_which_are_read_back_as_they_were(tmp_path):
    table = Table(("label", "score"), has_one=True, width=1, beside=HEADER)
    rows = [Row(2, (), HEADER, tuple(CELLS)), Row(5, (), HEADER, ("", "", ""))]
    (tmp_path / "out.csv").write_bytes(table.form([]) + table.form([[BILLING], [OTHER]], rows))
    names = (*HEADER, "predicted_label", "predicted_score")
    found = [row.cells for row in read_columns(tmp_path / "out.csv", names, RowTally(tmp_path))]
    assert found == [(*CELLS, "billing", "0.75"), ("", "", "", OTHER["label"], "0.25")]
    two = Table(("label", "score"), has_one=False, width=2, beside=("text",))
    assert two.form([[BILLING]], [Row(2, (), ("text",), ("a",))]).decode() == (
        "text,predicted_label_1,predicted_score_1,predicted_label_2,predicted_score_2\na,billing,0.75,,\n"
    )
    labels = LabelsTable(MultiLabels(("billing", "b")), beside=("text",))
    assert labels.form([[BILLING]], [Row(2, (), ("text",), ("a",))]).decode() == (
        "text,predicted_labels,predicted_scores\na,billing,0.75\n"
    )


def test_predictions_are_added_to_objects_which_stay_as_they_are_written(tmp_path):
    written = '{ "text": "\\u00e4",  "n": 1.10, "big": 1e400, "label": null, "x": {"a": []} }'
    row = Row(1, (), ("text", "n", "big", "label", "x"), written)
    one = JsonLines(has_one=True, path=tmp_path / "a.jsonl").form([[BILLING]], [row]).decode()
    assert one == f'{written[:-2]}, "predicted_label": "billing", "predicted_score": 0.75}}\n'
    several = JsonLines(has_one=False, path=tmp_path / "a.jsonl").form([[BILLING], []], [row, row]).decode()
    assert [json.loads(line)["predictions"] for line in several.splitlines()] == [[BILLING], []]
    cells = JsonLines(has_one=True, path=tmp_path / "a.csv").form([[BILLING]], [Row(2, (), HEADER, tuple(CELLS))])
    assert json.loads(cells) == {
        **dict(zip(HEADER, CELLS, strict=True)),
        "predicted_label": "billing",
        "predicted_score": 0.75,
    }


def test_a_key_that_the_prediction_has_is_refused_where_it_is(tmp_path):
    row = Row(7, (), ("text", "predicted_label"), '{"text": "a", "predicted_label": 1}')
    with pytest.raises(UserError, match=r"a.jsonl, line 7: there is a column 'predicted_label' already"):
        JsonLines(has_one=True, path=tmp_path / "a.jsonl").form([[BILLING]], [row])


def test_a_closed_standard_output_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it behind >&-
    with pytest.raises(UserError, match="standard output is closed"):
        StandardOutput().write(b"x")


def test_a_table_has_a_header_once_and_empty_cells_for_what_a_row_lacks():
    one = Table(("label", "score"), has_one=True, width=1)
    data = one.form([]) + one.form([[BILLING]]) + one.form([[OTHER]])
    assert list(csv.reader(io.StringIO(data.decode()))) == [
        ["label", "score"],
        ["billing", "0.75"],
        [OTHER["label"], "0.25"],
    ]
    two = Table(("label", "score"), has_one=False, width=2).form([[BILLING, OTHER], [BILLING]])
    assert list(csv.reader(io.StringIO(two.decode()))) == [
        ["label_1", "score_1", "label_2", "score_2"],
        ["billing", "0.75", OTHER["label"], "0.25"],
        ["billing", "0.75", "", ""],
    ]


def test_several_labels_share_a_cell():
    data = LabelsTable(MultiLabels(("a", "b"))).form(
        [[{"label": "b", "score": 0.75}, {"label": "a", "score": 0.5}], []]
    )
    assert data == b"labels,scores\nb|a,0.75|0.5\n,\n"
    data = LabelsTable(MultiLabels(("a|c", "b"))).form([[{"label": "a|c", "score": 0.75}]])
    assert list(csv.reader(io.StringIO(data.decode())))[1] == ['["a|c"]', "0.75"]


def test_people_read_what_was_found_and_its_score_on_a_line():
    answer = {"score": 0.5, "start": 0, "end": 9, "answer": "two\nlines"}
    assert PlainLines(True).form([[BILLING], [answer]]) == b"billing\t0.7500\ntwo lines\t0.5000\n"


def test_vectors_come_back_as_they_were(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for parts in ((vectors[:2], vectors[2:]), ()):
        with whole_file(tmp_path / "v.npy") as file:
            array = VectorFile(file, 3)
            for part in parts:
                array.write(part)
            array.finish()
        loaded = np.load(tmp_path / "v.npy", allow_pickle=False)
        np.testing.assert_array_equal(loaded, vectors if parts else np.zeros((0, 3), np.float32))
        assert loaded.dtype == np.float32
    read = np.array([json.loads(line) for line in vector_lines(vectors).splitlines()], np.float32)
    np.testing.assert_array_equal(read, vectors)


def test_a_file_is_there_when_all_is_written_or_as_it_was(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("before")

    def write_half() -> None:
        with opened(path) as sink:
            sink.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match=r"cannot write .*out.csv/x.csv"), opened(path / "x.csv"):
        pass
    with opened(path) as sink:
        sink.write(b"whole")
    assert path.read_text() == "whole"


def test_a_closed_pipe_is_told_apart(monkeypatch):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(ReaderGone):
            StandardOutput().write(b"a line\n")
        closed.write("what Python flushes at its exit")  # goes nowhere
