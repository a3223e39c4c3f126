import logging
import os

import pytest

from albert.errors import UserError
from albert.serving.inputs import lines_as_they_come, read_texts


def _read(tmp_path, name, content, num_texts=1, named=None, known=()):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.first, row.second) for row in read_texts(path, num_texts, named, known)]


@pytest.mark.parametrize(
    ("name", "content", "num_texts", "expected"),
    [
        ("a.txt", "one\n\n two \r\nthree", 1, [("one", None), ("", None), (" two ", None), ("three", None)]),
        ("a.txt", "\ufeffone\ta\n\ntwo\tb\n", 2, [("one", "a"), ("", ""), ("two", "b")]),
        ("a.txt", "", 1, []),
        ("a.csv", 'id,text\n1,"a ""quoted""\nline"\n2,\n', 1, [('a "quoted"\nline', None), ("", None)]),
        ("a.csv", "sentence2,x,sentence1\nb,0,a\n", 2, [("a", "b")]),
        ("a.tsv", "text\nä\n", 1, [("ä", None)]),
        ("a.csv", "text\n", 1, []),
        ("a.csv", "", 1, []),
        ("a.jsonl", '{"text": "a", "label": 3}\n\n{"label": 4, "text": ""}\n', 1, [("a", None), ("", None)]),
        ("a.jsonl", "", 1, []),
        ("a.csv", 'ID;Text\r\n1;"a; b"\r\n2;c, d\r\n', 1, [("a; b", None), ("c, d", None)]),
        ("a.csv", "Sentence1\tSENTENCE2\na\tb\n", 2, [("a", "b")]),
        ("a.jsonl", '{"TEXT": "a"}\n{"Text": "b"}\n', 1, [("a", None), ("b", None)]),
    ],
)
def test_rows_come_in_their_order(tmp_path, name, content, num_texts, expected):
    assert _read(tmp_path, name, content, num_texts) == expected
    assert _read(tmp_path, name, content, num_texts=None) == [(a, None if b == "" and a else b) for a, b in expected]


def test_columns_are_those_named_then_those_trained_on_then_usual_ones(tmp_path):
    content = "a,text,b\n1,2,3\n"
    assert _read(tmp_path, "a.csv", content, 2, known=("b", "a")) == [("3", "1")]
    assert _read(tmp_path, "a.csv", content, 1, known=("c",)) == [("2", None)]
    assert _read(tmp_path, "a.csv", content, 1, named="b", known=("a",)) == [("3", None)]


@pytest.mark.parametrize(
    ("name", "content", "num_texts", "named", "message"),
    [
        ("a.txt", "one\ntwo\tb\n", 1, None, "line 2: 1 tabs, but one text a line are read"),
        ("a.txt", "one\n", 2, None, "line 1: 0 tabs, but two texts with a tab between them a line are read"),
        ("a.txt", "one\ntwo\tb\n", None, None, "line 2: 1 tabs"),
        ("a.txt", "a\tb\tc\n", None, None, "line 1: 2 tabs"),
        ("a.txt", b"fine\ncaf\xe9\n", 1, None, "line 2 is not UTF-8"),
        ("a.txt", "one\n", 1, "text", "`text_column_names`=text: .* has no columns"),
        ("a.xlsx", "one\n", 1, None, r"use .txt, .csv, .tsv, .json, .jsonl"),
        ("a.csv", "a,b\n1,2\n", 1, None, "no column for the text"),
        ("a.csv", "a;b\n1;2\n", 1, None, "no column for the text.*its columns are 'a', 'b'"),
        (
            "a.csv",
            "sentence1,sentence2\n1,2\n",
            1,
            None,
            "reads one text a row, but sentence1, sentence2 are two texts",
        ),
        ("a.csv", "text\n1\n", 2, None, "reads two texts a row, but text is one text"),
        ("a.csv", "text,x\n1\n", 1, None, "line 2: 1 column, but"),
        ("a.jsonl", '{"text": 3}\n', 1, None, "line 1: column 'text' holds a number"),
        ("a.jsonl", '{"text": "a"}\n{"label": "b"}\n', 1, None, "line 2: no 'text'"),
    ],
)
def test_what_is_no_text_is_told_with_its_line(tmp_path, name, content, num_texts, named, message):
    with pytest.raises(UserError, match=message):
        _read(tmp_path, name, content, num_texts, named)


def test_the_separator_and_the_spelling_of_a_table_are_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert _read(tmp_path, "a.csv", "Body;id\na;1\n", known=("body",)) == [("a", None)]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'a.csv'}: column 'Body' is read for 'body'.",
        f"{tmp_path / 'a.csv'}: a semicolon separates the columns.",
    ]


def test_what_cannot_be_read_is_told_before_the_first_row(tmp_path):
    with pytest.raises(UserError, match=r"`input_file`=.*missing.txt cannot be read: No such file"):
        read_texts(tmp_path / "missing.txt", 1, None)
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UserError, match="it is not a regular file but a pipe"):
        read_texts(tmp_path / "pipe.txt", 1, None)


def test_empty_texts_are_counted_in_one_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        _read(tmp_path, "a.txt", "a\n\nb\n \n")
    (record,) = caplog.records
    assert "2 rows with an empty text, used all the same, the first on line 2" in record.getMessage()


def test_a_pair_of_empty_texts_is_one_row(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        _read(tmp_path, "a.txt", "a\tb\n\t\n", num_texts=2)
    (record,) = caplog.records
    assert "1 row with an empty text, used all the same, the first on line 2" in record.getMessage()


# Standard input -------------------------------------------------------------------------------------------------------


def test_lines_are_given_as_soon_as_they_are_there(caplog):
    read_end, write_end = os.pipe()
    pieces = lines_as_they_come(1, read_end)
    os.write(write_end, "\ufeffone\n".encode())
    assert [row.first for row in next(pieces)] == ["one"]
    os.write(write_end, b"two\r\n\nhalf")
    assert [row.first for row in next(pieces)] == ["two", ""]
    os.write(write_end, b" a line\nlast")
    assert [row.first for row in next(pieces)] == ["half a line"]
    os.close(write_end)
    assert [row.first for row in next(pieces)] == ["last"]
    assert list(pieces) == []
    assert "1 row with an empty text, used all the same, the first on line 3" in caplog.text
    os.close(read_end)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\nb\xff\n", "standard input, line 2 is not UTF-8"),
        (b"a\tb\n", "line 1: 1 tabs"),
        (b"a\0\n", "line 1 is not text"),
        (b"caf\xe9\n", "line 1 is not UTF-8 .* read as windows-1252.*café"),
        (b"caf\xc3", "line 1 is not UTF-8 .* it ends within a character"),
        ("a b\n".encode("utf-16"), "standard input is UTF-16 text; convert it with: iconv"),
        (b"\x1f\x8b\x08\n", "standard input is compressed with gzip; unpack it"),
    ],
)
def test_a_line_that_is_no_text_is_told_with_its_number(data, message):
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    with pytest.raises(UserError, match=message):
        list(lines_as_they_come(1, read_end))
    os.close(read_end)


def test_carriage_returns_in_lines_are_counted(caplog):
    read_end, write_end = os.pipe()
    os.write(write_end, b"one\rtwo\rthree\r")
    os.close(write_end)
    assert [row.first for rows in lines_as_they_come(1, read_end) for row in rows] == ["one\rtwo\rthree"]
    assert "standard input: 1 row with a carriage return inside" in caplog.text
    os.close(read_end)


def test_a_standard_input_that_cannot_be_read_is_told(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(UserError, match="standard input cannot be read: Is a directory"):
        next(lines_as_they_come(1, folder))
    os.close(folder)
    with pytest.raises(UserError, match="standard input cannot be read: Bad file descriptor"):
        next(lines_as_they_come(1, folder))
