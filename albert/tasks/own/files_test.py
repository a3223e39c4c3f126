"""Tables are read right or refused in one line with file and line. No TensorFlow."""

import csv
import io
import tracemalloc

import pytest

from albert.errors import UserError
from albert.tasks.own import lines
from albert.tasks.own.cells import MAX_FIELD, label_of, text_of
from albert.tasks.own.files import choose_from_header, log_reading, read_columns, read_lines
from albert.tasks.rows import RowTally


def _write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _names(path):
    return choose_from_header(path, lambda header: header.names)[0]


def _rows(path, names=("text", "label"), optional=()):
    return [(row.line, *row.cells) for row in read_columns(path, names, RowTally(path), optional)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text,label\na,1\nb,2\n", [(2, "a", "1"), (3, "b", "2")]),
        ("a.csv", "label,x,text\r\n1,,a\r\n2,,b", [(2, "a", "1"), (3, "b", "2")]),
        ("a.csv", '\ufefftext,label\n"say ""so"", twice",1\nb,2\n', [(2, 'say "so", twice', "1"), (3, "b", "2")]),
        ("a.csv", 'text,label\n"one\n\ntwo",1\nb,2\n', [(2, "one\n\ntwo", "1"), (5, "b", "2")]),
        ("a.csv", 'text,label\n"one\r\ntwo\rthree",1\n', [(2, "one\r\ntwo\rthree", "1")]),
        ("a.csv", ' text , label \n a ,1\n"",2\n', [(2, " a ", "1"), (3, "", "2")]),
        ("a.csv", 'text,label\nit is 5" long,1\n', [(2, 'it is 5" long', "1")]),
        ("a.CSV", "text,label\n\u2028\u0085,=1+1\n", [(2, "\u2028\u0085", "=1+1")]),
        ("a.tsv", 'text\tlabel\na, b\t1\n"tab\there"\t2\n', [(2, "a, b", "1"), (3, "tab\there", "2")]),
        ("a.csv", '\ufefftext;label\r\n"a; b";1\r\nc, d;2\r\n', [(2, "a; b", "1"), (3, "c, d", "2")]),
        ("a.csv", '"text";"label"\n"a ""b""\n";"1"\n', [(2, 'a "b"\n', "1")]),
        ("a.csv", "\n\ntext\tlabel\na, b\t1\n", [(4, "a, b", "1")]),
        ("a.csv", '"text"|label\n"a|"|1,5\n', [(2, "a|", "1,5")]),
        ("a.csv", "id;x,y;text;label\n1;2;a;3\n", [(2, "a", "3")]),
        ("a.csv", "Text, LABEL \na,1\n", [(2, "a", "1")]),
        ("a.csv", "TEXT;Label\na;1\n", [(2, "a", "1")]),
        ("a.csv", "Text,text,label\na,b,1\n", [(2, "b", "1")]),
        ("a.jsonl", '{"Text": "a", "label": 1}\n{" text ": "b", "LABEL": 2}\n', [(1, "a", 1), (2, "b", 2)]),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"label": [2, "x"], "text": "b", "z": {}}', None),
        ("a.json", '\ufeff{"text": "a\\nb", "label": "1"}\r\n', [(1, "a\nb", "1")]),
    ],
)
def test_what_is_a_table_is_read(tmp_path, name, content, expected):
    expected = expected or [(1, "a", 1), (2, "b", [2, "x"])]
    assert _rows(_write(tmp_path, name, content)) == expected


LONG = "x" * (MAX_FIELD + 1)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.txt",
            "a\n",
            [".csv, .tsv, .json, .jsonl, or `problem_type`=token_classification for a word and its tag a li"],
        ),
        (
            "a.dat",
            "a\n",
            ["unknown file type; use .csv, .tsv, .json, .jsonl, or .conll for a word and its tag a line."],
        ),
        ("a.ndjson", "{}\n", ["or .conll for a word and its tag a line. JSON files have one object a line."]),
        ("a.iob2", "a O\n", ["is for words with tags; use .csv"]),
        ("a.csv", "", ["is empty"]),
        ("a.csv", "\n\n", ["is empty"]),
        ("a.csv", "text,label\n", ["has no rows"]),
        ("a.csv", "text,label\n\n", ["has no rows"]),
        ("a.csv", "words,label\na,1\n", ["line 1", "no column 'text'", "'words', 'label'"]),
        ("a.csv", "text,label,text\na,1,b\n", ["line 1", "two columns are called 'text'"]),
        ("a.csv", ",text,label\n0,a,1\n", ["line 1: column 1 has no name", "index=False"]),
        ("a.csv", "words;label\na;1\n", ["line 1: no column 'text'; its columns are 'words', 'label'"]),
        ("a.csv", '"words"\t"label"\n"a"\t"1"\n', ["line 1: no column 'text'; its columns are 'words', 'label'"]),
        ("a.csv", "words;more|label\na;1\n", ["line 1: the only column", "a semicolon seems", "write commas"]),
        ("a.csv", '"words";"more"|"label"\n"a";1\n', ["line 1: a semicolon seems", "write commas"]),
        ("a.csv", "id,text;label\n1,a;1\n", ["line 1: no column 'text'; its columns are 'id', 'text;label'"]),
        ("a.csv", "text;label\na;b;1\n", ["line 2: 3 columns, but the header has 2"]),
        ("a.csv", "TEXT,Text,label\na,b,1\n", ["line 1: no column 'text'; its columns are 'TEXT', 'Text', 'label'"]),
        ("a.tsv", "text;label\na;1\n", ["line 1: no column 'text'", "'text;label'"]),
        ("a.csv", "sep=,\ntext,label\na,1\n", ["line 1: sep= is a line for Excel", "remove it"]),
        ("a.csv", "sep=;\ntext;label\na;1\n", ["line 1: sep=; is a line for Excel", "remove it"]),
        ("a.json", '\n[\n{"text": "a"}]\n', ["line 2: a list", "jq -c"]),
        ("a.csv", ",".join(f"c{i}" for i in range(65)) + "\n", ["65 columns; 64 are allowed"]),
        ("a.csv", "text,label\na,1\nb,2,3\n", ["line 3: 3 columns, but the header has 2"]),
        ("a.csv", 'text,label\n"x\ny",1\nb\n', ["line 4: 1 column,"]),
        ("a.csv", "text,label\na,1\ntext,label\n", ["line 3: the header again"]),
        ("a.csv", 'text,label\n"a"b,1\n', ["line 2: a letter follows a closing quote"]),
        ("a.csv", 'text,label\n"a\nb"c,1\n', ["line 2", "(on line 3)"]),
        ("a.csv", 'text,label\na,1\n"b,2\nc,3\n', ["line 3: a quote opens here that is never closed"]),
        ("a.csv", "text,label\ra,1\rb,2\r", ["line 1: a carriage return outside quotes"]),
        ("a.csv", "text,label\n" + LONG + ",1\n", ["line 2: column 1 holds 1,048,577 characters", "quote"]),
        (
            "a.csv",
            'text,label\n"' + ("x" * 999 + "\n") * (lines.MAX_RECORD // 1000 + 9),
            ["line 2: a row longer than 16 MiB begins"],
        ),
        ("a.csv", "text,label\n" + "x" * (lines.MAX_RECORD + 1), ["line 2: longer than 16 MiB"]),
        ("a.csv", b"text,label\na\0,1\n", ["line 2 is not text: byte 2 is 0"]),
        ("a.csv", b"text,label\n\xe9t\xe9,1\n", ["line 2 is not UTF-8", "iconv"]),
        ("a.csv", "text,label\na,1\n".encode("utf-16"), ["is UTF-16 text"]),
        ("a.csv", b"PK\x03\x04", ["zip archive"]),
        ("a.xlsx", b"PK\x03\x04", ["a.xlsx is a zip archive (as .xlsx", "save its table as text; use .csv, .tsv"]),
        ("a.parquet", b"PAR1\x15", ["a.parquet is a Parquet table; write it as text; use .csv, .tsv"]),
        ("a.csv.gz", b"\x1f\x8b\x08", ["a.csv.gz is compressed with gzip; unpack it with: gunzip; use .csv, .tsv"]),
        ("a.tsv", "text,label\na,1\n", ["no column 'text'", "'text,label'"]),
        ("a.jsonl", "", ["has no rows"]),
        ("a.json", '[{"text": "a", "label": 1}]', ["line 1: a list", "jq -c"]),
        ("a.json", '{\n"text": "a", "label": 1}', ["line 1 is not JSON", "one whole object a line"]),
        ("a.jsonl", '{"text": "a", "label": 1}\n"b"\n', ["line 2 is a text"]),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', ["line 2: no 'label'", "'text'"]),
        ("a.jsonl", '{"Text": "a", "TEXT": "b", "label": 1}\n', ["line 1: no 'text'; its keys are 'Text', 'TEXT'"]),
        ("a.jsonl", '{"text": "a", "text": "b", "label": 1}\n', ["line 1 is not clear", "twice"]),
        ("a.jsonl", "[" * 100_000, ["line 1: a list"]),
        ("a.jsonl", '{"text": ' + "[" * 100_000, ["line 1 is not JSON"]),
        ("a.jsonl", "{" + ", ".join(f'"{i}": 1' for i in range(65)) + "}", ["65 keys; 64 are allowed"]),
    ],
)
def test_what_is_none_is_refused_in_one_line(tmp_path, name, content, words):
    path = _write(tmp_path, name, content)
    with pytest.raises(UserError) as refused:
        _rows(path)
    message = str(refused.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 1000
    assert all(word in message for word in words), message


def test_a_missing_file_a_folder_and_a_pipe_are_named(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "folder.csv", "none.jsonl"):
        with pytest.raises(UserError, match=f"{name} cannot be read"):
            _names(tmp_path / name)


def test_the_names_are_those_of_the_header_or_of_the_first_object(tmp_path):
    assert _names(_write(tmp_path, "a.csv", "\n b ,a\n")) == ("b", "a")
    assert _names(_write(tmp_path, "a.jsonl", '\n{"b": 1, "a": 2}\n')) == ("b", "a")


def test_optional_columns_are_none_where_they_are_not(tmp_path):
    path = _write(tmp_path, "a.csv", "text,x\na,1\n")
    assert _rows(path, ("text",), ("label", "x")) == [(2, "a", None, "1")]
    path = _write(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": "b", "label": "c"}\n')
    assert _rows(path, ("text",), ("label",)) == [(1, "a", None), (2, "b", "c")]


def test_an_optional_column_is_spelled_as_before_in_files_that_were_read_before(tmp_path):
    # The same rows as ever: a label that was not seen could be one that training does not know.
    for name, content, label in (
        ("a.csv", "text,Label\na,1\n", None),
        ("b.csv", "Text,Label\na,1\n", "1"),
        ("c.csv", "text;Label\na;1\n", "1"),
        ("d.csv", "Text,Label,LABEL\na,1,2\n", None),
        ("a.jsonl", '{"text": "a", "Label": "1"}\n', None),
        ("b.jsonl", '{"Text": "a", "Label": "1"}\n', "1"),
    ):
        (row,) = _rows(_write(tmp_path, name, content), ("text",), ("label",))
        assert row[1:] == ("a", label), name


def test_one_column_is_not_read_for_two(tmp_path):
    for name, content in (("a.csv", "Text,label\na,1\n"), ("a.jsonl", '{"Text": "a", "label": 1}\n')):
        with pytest.raises(UserError, match=r"line 1: no .*'Text'"):
            _rows(_write(tmp_path, name, content), ("text", "TEXT"))


def test_what_is_not_usual_about_a_table_is_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    log_reading(_write(tmp_path, "a.csv", "text,label\na,1\n"), ("text", "label"))
    assert not caplog.records
    path = _write(tmp_path, "b.csv", "Text;label\na;1\n")
    log_reading(path, ("text", "label"))
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: a semicolon separates the columns.",
        f"{path}: column 'Text' is read for 'text'.",
    ]
    path, tally = _write(tmp_path, "a.jsonl", '{"text": "a"}\n{"Text": "b"}\n'), RowTally(tmp_path / "a.jsonl")
    assert [row.cells for row in read_columns(path, ("text",), tally)] == [("a",), ("b",)]
    tally.log()
    assert f"{path}: 1 row whose 'Text' is read for 'text', the first on line 2" in caplog.text


def test_a_row_has_the_whole_record_it_is_of(tmp_path):
    (row,) = read_columns(_write(tmp_path, "a.csv", "id; Text\n1;a\n"), ("text",), RowTally(tmp_path))
    assert row == (2, ("a",), ("id", "Text"), ("1", "a"))
    (row,) = read_columns(_write(tmp_path, "a.jsonl", ' {"text": "a",  "x": 1.0} \n'), ("text",), RowTally(tmp_path))
    assert row == (1, ("a",), ("text", "x"), '{"text": "a",  "x": 1.0}')


def test_blank_lines_are_skipped_and_counted_and_so_are_quotes_after_a_blank(tmp_path, caplog):
    path = _write(tmp_path, "a.csv", 'text,label\n\na, "1"\n\r\n')
    tally = RowTally(path)
    assert [row.cells for row in read_columns(path, ("text", "label"), tally)] == [("a", ' "1"')]
    tally.log()
    assert "skipped 2 rows on blank lines, the first on line 2" in caplog.text
    assert "1 row with a blank before a quote" in caplog.text


def test_rows_that_quotes_join_are_counted(tmp_path, caplog):
    # Data whose quotes are letters, as GLUE's files: two rows would be one without a word.
    path = _write(tmp_path, "a.tsv", 'text\tlabel\n" a good film\t1\na bad film "\t0\n"a\nb"\t1\n')
    tally = RowTally(path)
    assert len(list(read_columns(path, ("text", "label"), tally))) == 2
    tally.log()
    (record,) = caplog.records
    assert "1 row in which quotes hold tabs and line ends" in record.getMessage()
    assert "the first on line 2" in record.getMessage()


@pytest.mark.parametrize("again", ["text,label", "\ufefftext,label", "text, label", '\ufeff"text","label"'])
def test_the_header_of_a_joined_file_is_no_row(tmp_path, again):
    path = _write(tmp_path, "a.csv", f"\ufefftext,label\na,1\n{again}\nb,2\n")
    with pytest.raises(UserError, match="line 3: the header again"):
        _rows(path)


def test_plain_lines_are_texts_or_pairs(tmp_path):
    path = _write(tmp_path, "a.txt", 'one "x"\n\ntwo\tthree\r\n')
    assert [(row.line, row.cells) for row in read_lines(path, RowTally(path))] == [
        (1, ('one "x"',)),
        (2, ("",)),
        (3, ("two", "three")),
    ]
    path = _write(tmp_path, "b.txt", "a\tb\tc\n")
    with pytest.raises(UserError, match="line 1: 2 tabs"):
        list(read_lines(path, RowTally(path)))


def test_a_carriage_return_in_a_line_is_counted(tmp_path, caplog):
    path = _write(tmp_path, "a.txt", "one\r\ntwo\rthree\r\n")
    tally = RowTally(path)
    assert [row.cells for row in read_lines(path, tally)] == [("one",), ("two\rthree",)]
    tally.log()
    assert "1 row with a carriage return inside, read as white space, the first on line 2" in caplog.text


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (5, r"a number \(5\)"),
        (None, r"null \(null\)"),
        (True, "true or false"),
        (["a"], "a list"),
        ({}, "an object"),
        ("a\0", "NUL"),
        ("\ud800", "half of a surrogate pair"),
        (LONG, "1,048,577 characters"),
    ],
)
def test_a_cell_without_a_text_is_refused(cell, words):
    with pytest.raises(ValueError, match=words):
        text_of(cell)


def test_labels_are_words_numbers_as_json_spells_them_or_lists():
    cells = [" a ", 5, -1.5, True, ["b", " a", 2], []]
    assert [label_of(cell) for cell in cells] == ["a", "5", "-1.5", "true", ("2", "a", "b"), ()]
    for cell in (["a", "a"], [["a"]], [""], float("nan"), None, {}):
        with pytest.raises(ValueError, match=r"twice|holds|empty"):
            label_of(cell)


def test_what_python_writes_is_read_back(tmp_path):
    texts = ['"', "a\n,b", ",", "\r\n", " ", "", "'", '""""', "\u2028", "x\ty", "\\n"]
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=delimiter).writerows([("text", "label"), *((text, text) for text in texts)])
        rows = _rows(_write(tmp_path, name, buffer.getvalue()))
        assert [row[1:] for row in rows] == [(text, text) for text in texts]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_memory_does_not_grow_with_rows(tmp_path, name):
    row = '"text with ""quotes""\nin it",label\n' if name == "a.csv" else '{"text": "some text", "label": "x"}\n'
    peaks = []
    for count in (1_000, 20_000):
        path = _write(tmp_path, name, ("text,label\n" if name == "a.csv" else "") + row * count)
        tracemalloc.start()
        assert sum(1 for _ in read_columns(path, ("text", "label"), RowTally(path))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 20_000, peaks


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", '\n"text","label"\n"a\nb",1\n\nc,2\n"d\r\n\ne",3\n\n\nf,4\n"g ""\n",5\n'),
        ("a.tsv", 'text\tlabel\na\t1\n\n"b\n\nc"\t2\nd\t3\ne\t4\nf\t5'),
        ("a.jsonl", "".join(f'{{"text": "a{number}", "label": {number}}}\n\n' for number in range(5))),
    ],
)
@pytest.mark.parametrize("chosen", [b"\1\1\1\1\1", b"\0\1\0\0\1", b"\1\0\1", b"\0\0\0\0\0", b"\1\1\1\1\1\1\1"])
def test_chosen_rows_are_those_of_all_rows(tmp_path, monkeypatch, name, content, chosen):
    monkeypatch.setattr(lines, "_BYTES_AT_ONCE", 7)
    path = _write(tmp_path, name, content)
    every = list(read_columns(path, ("text", "label"), RowTally(path)))
    assert len(every) == 5
    found = list(read_columns(path, ("text", "label"), RowTally(path), chosen=chosen))
    assert found == [row for row, is_chosen in zip(every, chosen, strict=False) if is_chosen]
