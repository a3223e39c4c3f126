"""GLUE files as people bring them: read right, or refused in one line. Nothing is lost or shifted without a word."""

import logging
import shutil

import pytest

from albert.errors import UserError
from albert.tasks.glue import TASKS
from albert.tasks.registry import get_task
from albert.tasks.rows import OTHER_NAMES
from albert.tasks.text import is_blank

MNLI = "\t".join(get_task("mnli").header)
STS = "\t".join(get_task("sts-b").header)


def _path(folder, task, split):
    path = folder / get_task(task).folder / getattr(get_task(task), f"{split}_file")
    path.parent.mkdir(exist_ok=True)
    return path


def _read(folder, task, split, content):
    path = _path(folder, task, split)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(get_task(task).read(split, folder))


def _refusal(folder, task, split, content):
    with pytest.raises(UserError) as raised:
        _read(folder, task, split, content)
    message = str(raised.value)
    assert str(_path(folder, task, split)) in message
    assert "\n" not in message
    assert "\r" not in message
    return message


# --- The inputs of testdata/cases -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task", "split", "message"),
    [
        ("qqp_cr", "qqp", "train", "1 of 1 row without the header's 6 columns between tabs, the first on line 2;"),
        ("qqp_500_short", "qqp", "train", "500 of 501 rows without the header's 6 columns .*, the first on line 2;"),
        ("sst2_test_columns_swapped", "sst-2", "test", "line 1: expected .*, not 'sentence<TAB>index'; put the"),
        ("sst2_test_no_header_ids_q1", "sst-2", "test", "line 1: expected .*, not 'q1<TAB>good'; if that is a row"),
        ("sst2_test_no_header_quoted", "sst-2", "test", "line 1: expected .*; quotes are letters in these files"),
        ("sst2_test_no_header", "sst-2", "test", "line 1: expected .*, not 'a1<TAB>good film'; if that is a row, put"),
        ("sst2_test_like_dev", "sst-2", "test", "line 1: expected .* 'index<TAB>sentence', not 'sentence<TAB>label'"),
        ("sst2_train_no_header_first_label_bad", "sst-2", "train", "line 1: expected .* not 'good<TAB>positive'"),
        ("sst2_test_extra_tab", "sst-2", "test", "line 2: 3 columns between tabs, but the header has 2"),
        ("mrpc_train_extra_tab", "mrpc", "train", "line 3: 6 columns between tabs, but the header has 5"),
        ("mnli_dev_extra_tab", "mnli", "dev", "'sentence1' as number 9, .* 'gold_label' as the last"),
        ("sst2_cr_joined", "sst-2", "train", r"line 2: 3 columns .* \(a carriage return in it may have ended a row\)"),
        ("sst2_test_duplicate_ids", "sst-2", "test", "line 3: index '0' is also on line 2"),
        ("sst2_all_empty", "sst-2", "train", "an empty text in all of its 2 rows"),
        ("stsb_underscore", "sts-b", "train", "line 1: expected a header .* 'score' as the last"),
        ("../text_utf16/sst2_train", "sst-2", "train", "is UTF-16 text; convert it with: iconv -f utf-16 -t utf-8"),
    ],
)  # fmt: skip
def test_inputs_that_were_read_wrongly_are_refused(testdata, tmp_path, name, task, split, message):
    content = (testdata / "cases/glue_rows" / f"{name}.tsv").read_bytes()
    with pytest.raises(UserError, match=message):
        _read(tmp_path, task, split, content)
    _refusal(tmp_path, task, split, content)


# --- Headers ----------------------------------------------------------------------------------------------------------


def _row(header, **columns):
    values = {"gold_label": "neutral", "is_duplicate": "1", "Quality": "1", "score": "2.5", "label": "1"} | columns
    return [values.get(name, f"{name} 7" if "entence" in name else "7") for name in header]


def _label(task, header):
    names = getattr(task.output, "names", None)
    return names[0] if names and header[task.label] == "label" else None


def _content(task, split, header=None):
    """A file of two rows under the official header, or under another with the same columns."""
    official = task.test_header if split == "test" else task.header
    row = _row(official)
    if split != "test" and (label := _label(task, official)):
        row[task.label] = label
    rows = [[*row], [*row]]
    if split == "test":
        rows[1][0] = "8"
    lines = [header or official, *rows] if split == "test" or task.has_header else rows
    return "".join("\t".join(line) + "\n" for line in lines)


FILES = [(task.name, split) for task in TASKS for split in task.splits]
FILES_WITH_HEADER = [
    (name, split) for name, split in FILES if (name, split) not in (("cola", "train"), ("cola", "dev"))
]


@pytest.mark.parametrize(("name", "split"), FILES)
def test_the_official_header_is_read(name, split, tmp_path):
    assert len(_read(tmp_path, name, split, _content(get_task(name), split))) == 2


def _read_columns(task, split):
    return (0, *task.test_text) if split == "test" else (*task.text, task.label)


@pytest.mark.parametrize(("name", "split"), FILES_WITH_HEADER)
def test_every_column_that_is_read_needs_its_name(name, split, tmp_path):
    task = get_task(name)
    official = task.test_header if split == "test" else task.header
    expected = _read(tmp_path, name, split, _content(task, split))
    for place in _read_columns(task, split):
        for found in ("renamed", "", f"{official[place]}s", '"' + official[place] + '"'):
            header = [*official]
            header[place] = found
            assert "line 1: expected a header" in _refusal(tmp_path, name, split, _content(task, split, header))
        for found in (f" {official[place]} ", official[place].upper(), *OTHER_NAMES.get(official[place], ())):
            header = [*official]
            header[place] = found
            assert _read(tmp_path, name, split, _content(task, split, header)) == expected


@pytest.mark.parametrize(("name", "split"), FILES_WITH_HEADER)
def test_exchanged_columns_are_refused(name, split, tmp_path):
    task = get_task(name)
    official = task.test_header if split == "test" else task.header
    for place in _read_columns(task, split):
        for other in range(len(official)):
            if other != place % len(official):
                header = [*official]
                header[place], header[other] = header[other], header[place]
                assert "expected a header" in _refusal(tmp_path, name, split, _content(task, split, header))


@pytest.mark.parametrize(("name", "split"), FILES)
def test_a_file_without_its_first_line_is_refused_or_whole(name, split, tmp_path):
    content = _content(get_task(name), split).partition("\n")[2]
    if (name, split) in FILES_WITH_HEADER:
        assert "expected a header" in _refusal(tmp_path, name, split, content)
    else:
        assert len(_read(tmp_path, name, split, content)) == 1


def test_columns_that_are_not_read_may_have_any_name_and_more_may_follow(tmp_path):
    header = MNLI.replace("promptID", "prompt").replace("sentence1_parse", "s1")
    row = "\t".join(["7"] * 8 + ["one", "two", "neutral", "neutral"])
    (example,) = _read(tmp_path, "mnli", "train", f"{header}\n{row}\n")
    assert (example.text_a, example.text_b) == ("one", "two")
    (example,) = _read(tmp_path, "sst-2", "train", "sentence\tlabel\tidx\ngood\t1\t0\n")
    assert (example.text_a, example.label) == ("good", 1)


@pytest.mark.parametrize(
    ("task", "split", "header", "message"),
    [
        # The label of these is the last column, whatever it is called.
        ("rte", "train", "index\tsentence1\tsentence2\tlabel\tidx", "expected a header"),
        ("mnli", "dev", MNLI.removesuffix("\tgold_label"), "'gold_label' as the last"),
        # Test files under the names of others, and others under theirs.
        ("mrpc", "test", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "'index<TAB>#1 ID<TAB>"),
        ("qqp", "test", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "'id<TAB>question1<TAB>question2'"),
        ("qqp", "train", "id\tquestion1\tquestion2", "'id<TAB>qid1<TAB>"),
        ("qnli", "train", "index\tsentence\tquestion\tlabel", "put the columns in this order"),
        ("cola", "test", "gj04\t1\t\tThe sailors rode the breeze.", "'index<TAB>sentence'"),
        # MultiNLI's own files, SICK's, and GLUE's diagnostic file with labels.
        ("mnli", "train", "gold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
         "\tsentence1\tsentence2\tpromptID\tpairID\tgenre\tlabel1", "put the columns in this order"),
        ("rte", "train", "pair_ID\tsentence_A\tsentence_B\tentailment_label", "if that is a row"),
        ("ax", "test", "Lexical Semantics\tPredicate-Argument Structure\tLogic\tKnowledge\tDomain\tPremise\tHypothesis"
         "\tLabel", "put the columns in this order"),
        # Other separators and line ends.
        ("sst-2", "train", "sentence,label", "put tabs between the columns"),
        ("sst-2", "train", "sentence;label", "put tabs between the columns"),
        ("sst-2", "train", "sentence  label", "expected a header"),
        ("sst-2", "train", "sentence\tlabel\rgood\t1\rbad\t0\r", r"lone carriage returns, convert them with: tr"),
        ("sst-2", "train", '"sentence"\t"label"', "quotes are letters in these files"),
        ("sst-2", "train", "", "is empty or begins with a blank line; put a line with 'sentence<TAB>label' first"),
    ],
)  # fmt: skip
def test_other_first_lines_are_refused(task, split, header, message, tmp_path):
    assert message in _refusal(tmp_path, task, split, f"{header}\n1\t2\t3\n")


def test_the_header_of_a_second_file_is_not_a_row(tmp_path):
    # cat a.tsv b.tsv
    content = "index\tsentence\n0\tgood\nindex\tsentence\n1\tbad\n"
    assert "line 3: the header again, as where files are joined" in _refusal(tmp_path, "sst-2", "test", content)
    with_mark = content.replace("\nindex", "\n\ufeffindex")
    assert "line 3: index '\\ufeffindex'" in _refusal(tmp_path, "sst-2", "test", with_mark)


# --- Rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "split"), FILES)
def test_a_tab_too_many_or_too_few_is_refused_or_counted(name, split, tmp_path, caplog):
    task = get_task(name)
    lines = _content(task, split).splitlines()
    for place in range(1, lines[-1].count("\t") + 2):
        columns = lines[-1].split("\t")
        for broken in ([*columns[:place], "", *columns[place:]], [*columns[: place - 1], *columns[place:]]):
            content = "\n".join([*lines[:-1], "\t".join(broken)]) + "\n"
            if task.skips_short_rows and split != "test":
                caplog.clear()
                assert len(_read(tmp_path, name, split, content)) == 1
                many = "many" if len(broken) > len(columns) else "few"
                assert f"skipped 1 row with too {many} columns, the first on line 3: '7\\t" in caplog.text
            else:
                assert f"line {len(lines)}: " in _refusal(tmp_path, name, split, content)


def test_torn_rows_of_a_test_file_are_refused(tmp_path):
    # Each has to be predicted, so that none can be left out.
    content = "id\tquestion1\tquestion2\n0\tone?\ttwo?\n1\tone,\n"
    assert "line 3: 2 columns" in _refusal(tmp_path, "qqp", "test", content)


def test_a_carriage_return_inside_a_row_is_kept_and_counted(tmp_path, caplog):
    examples = _read(tmp_path, "sst-2", "train", "sentence\tlabel\ngood\rfilm\t1\nbad\t0\r\r\nfine\r\t1\n")
    assert [(example.text_a, example.label) for example in examples] == [("good\rfilm", 1), ("bad", 0), ("fine\r", 1)]
    assert (
        "3 rows with a carriage return inside, read as white space, the first on line 2: 'good\\rfilm\\t1'"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("\tgood\n", "line 2: index '' is none; number the row"),
        (" \tgood\n", "line 2: index ' ' is none"),
        ("\u200b\tgood\n", "line 2: index '\\u200b' is none"),
        ("0\r1\tgood\n", "line 2: column 1 (index) holds '0\\r1', which is a text"),
        ("0\tgood\n1\tbad\n0\tfine\n", "line 4: index '0' is also on line 2"),
        ("a good film\t0\n", "line 2: column 1 (index) holds 'a good film', which is a text; put"),
    ],
)  # fmt: skip
def test_test_rows_need_an_index_of_their_own(rows, message, tmp_path):
    assert message in _refusal(tmp_path, "sst-2", "test", f"index\tsentence\n{rows}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("gj04\t1\t\tGood.\textra", "5 columns between tabs"),
        ("Our friends won\t1\t*\tgj04", "column 1 (source) holds 'Our friends won', which is a text"),
        ("gj04\t1\tOur friends won\t*", "column 3 (mark) holds 'Our friends won', which is a text"),
        ("sentence_source\tlabel\tlabel_notes\tsentence", "label 'label' is not one of 0, 1 (this file has no header)"),
        ("1\tgj04\t\tGood.", "label 'gj04' is not one of 0, 1"),
    ],
)
def test_a_file_without_header_tells_its_columns_apart(row, message, tmp_path):
    assert f"line 1: {message}" in _refusal(tmp_path, "cola", "train", f"{row}\n")


def test_empty_texts_are_counted_and_all_of_them_refused(tmp_path, caplog):
    rows = ["one\ttwo", "\ttwo", "one\t \u3000", "one\t\u200b\ufeff"]
    content = "index\tsentence1\tsentence2\tlabel\n" + "".join(
        f"{i}\t{row}\tentailment\n" for i, row in enumerate(rows)
    )
    assert len(_read(tmp_path, "rte", "dev", content)) == 4
    assert "3 rows with an empty text, used all the same, the first on line 3" in caplog.text
    assert "an empty text in all of its 3 rows" in _refusal(
        tmp_path, "rte", "dev", content.replace("0\tone\ttwo\tentailment\n", "")
    )
    assert is_blank("\0\u200b \n")
    assert not is_blank("。")
    assert not is_blank("\ue000")  # a character of a font, which Python does not call printable


@pytest.mark.parametrize(
    "score", ["0_5", "\uff14", "\u0664.5", "4,5", "0x1", "nan", "inf", "-0.1", "5.0001", "4.5.", "", "1e400", "high"]
)
def test_what_is_not_a_score_is_refused(score, tmp_path):
    message = _refusal(tmp_path, "sts-b", "train", f"{STS}\n" + "7\t" * 7 + f"one\ttwo\t{score}\n")
    assert "line 2: score " in message


@pytest.mark.parametrize(
    ("score", "number"), [("4", 4.0), (" 2.50 ", 2.5), ("5.000", 5.0), ("1e-1", 0.1), ("+3.", 3.0)]
)
def test_a_score_may_be_written_as_numbers_are(score, number, tmp_path):
    (example,) = _read(tmp_path, "sts-b", "train", f"{STS}\n" + "7\t" * 7 + f"one\ttwo\t{score}\n")
    assert example.label == number


# --- The same rows twice ----------------------------------------------------------------------------------------------

TRAIN = "sentence\tlabel\n" + "".join(f"film {i}\t{i % 2}\n" for i in range(6))


@pytest.mark.parametrize(
    "dev",
    [
        TRAIN,
        "\ufeff" + TRAIN.replace("\n", "\r\n"),
        TRAIN.replace("sentence", "Sentence"),
        "".join(TRAIN.splitlines(keepends=True)[:4]),  # head train.tsv > dev.tsv
    ],
)
def test_dev_rows_that_are_trained_on_are_reported(dev, tmp_path, caplog):
    _path(tmp_path, "sst-2", "train").write_text(TRAIN)
    with caplog.at_level(logging.WARNING):
        rows = _read(tmp_path, "sst-2", "dev", dev)
    (message,) = caplog.messages
    assert f"all of it, {len(rows)} rows, is also in {tmp_path}/SST-2/train.tsv, in the same order" in message


@pytest.mark.parametrize(
    "dev", [TRAIN.replace("film 5", "film 7"), TRAIN.replace("5\t1", "5\t0"), TRAIN + "film 8\t0\n"]
)
def test_dev_rows_that_differ_are_not_a_copy(dev, tmp_path, caplog):
    _path(tmp_path, "sst-2", "train").write_text(TRAIN)
    _read(tmp_path, "sst-2", "dev", dev)
    assert not caplog.messages


def test_training_rows_that_cannot_be_read_are_not_looked_at(tmp_path, caplog):
    dev = _path(tmp_path, "sst-2", "dev")
    dev.write_text(TRAIN)
    for train in ("", "sentence\n", "sentence\tlabel\nfilm 0\tx\n"):
        dev.with_name("train.tsv").write_text(train)
        assert len(list(get_task("sst-2").read("dev", tmp_path))) == 6
    shutil.rmtree(tmp_path / "SST-2")
    assert not caplog.messages
