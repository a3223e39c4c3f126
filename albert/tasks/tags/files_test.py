"""What is read of CoNLL files and of lists in JSON, and what is refused with file and line. No TensorFlow."""

import json

import pytest

from albert.errors import UserError
from albert.tasks.rows import RowTally
from albert.tasks.tags.files import TagFile, choose_tag_columns, holds_lists_of_words, holds_words


def _file(path, content, needs_tags=True, words=None, tags=None):
    text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(text)
    return TagFile(path, choose_tag_columns(path, words, tags, needs_tags), needs_tags)


def _read(*arguments, **options):
    file = _file(*arguments, **options)
    return [(row.line, " ".join(row.words), row.tags and " ".join(row.tags)) for row in file.rows(RowTally(file.path))]


CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- -X- O
# CD B-NP O
"""


def test_a_text_ends_at_an_empty_line_and_the_tag_is_in_the_last_column(tmp_path):
    expected = [(3, "EU rejects", "B-ORG O"), (6, "Peter Blackburn", "B-PER I-PER"), (10, "#", "O")]
    assert _read(tmp_path / "a.conll", CONLL_2003) == expected
    assert _read(tmp_path / "a.txt", CONLL_2003.replace("\n", "\r\n")) == expected
    assert _read(tmp_path / "a.conll", CONLL_2003, tags="2")[0] == (3, "EU rejects", "NNP VBZ")


def test_columns_are_parted_by_blanks_or_tabs(tmp_path):
    assert _read(tmp_path / "a.iob", "a  B-X\nb   O\n") == [(1, "a b", "B-X O")]
    # A word of a file with tabs may have a blank in it, and U+00A0 is no blank.
    assert _read(tmp_path / "a.tsv", "New York\tB-X\n \n\u00a0\tO\n") == [(1, "New York", "B-X"), (3, "\u00a0", "O")]


def test_conllu_has_comments_and_words_that_are_written_as_one(tmp_path):
    rows = ["# text = vámonos", "1-2 vámonos", "1 vamos VERB", "2 nos PRON", "2.1 x X", "", "1 Sí INTJ"]
    lines = []
    for row in rows:
        cells = row.split()
        is_row = row and row[0] != "#"
        tag = cells[2] if is_row and len(cells) > 2 else "_"
        lines.append("\t".join([*cells[:2], "_", tag, *["_"] * 6]) if is_row else row)
    found = _read(tmp_path / "a.conllu", "\n".join(lines))
    assert found == [(3, "vamos nos", "VERB PRON"), (7, "Sí", "INTJ")]


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u3000"])
def test_white_space_around_a_tag_is_no_part_of_it(tmp_path, blank):
    assert _read(tmp_path / "a.conll", f"a B-X{blank}\nb {blank}O\n") == [(1, "a b", "B-X O")]
    assert _read(tmp_path / "a.tsv", f"a{blank}c\tB-X{blank}\nb\tO\n") == [(1, f"a{blank}c b", "B-X O")]


def test_words_to_predict_need_no_tags(tmp_path):
    assert _read(tmp_path / "a.conll", "a\nb\n\nc\n", needs_tags=False) == [(1, "a b", None), (4, "c", None)]
    rows = [{"tokens": ["a"]}, {"tokens": ["b"], "tags": None}, {"tokens": ["c"], "tags": ["O"]}]
    assert _read(tmp_path / "a.jsonl", rows, needs_tags=False) == [(1, "a", None), (2, "b", None), (3, "c", "O")]


def test_lists_in_json_have_usual_names_or_those_given(tmp_path):
    row = {"id": "7", "tokens": ["a", "b"], "ner_tags": ["B-X", "O"], "pos_tags": [1, 2]}
    assert _read(tmp_path / "a.json", [row]) == [(1, "a b", "B-X O")]
    assert _read(tmp_path / "a.json", [row], tags="pos_tags") == [(1, "a b", "1 2")]
    other = [{"w": ["a"], "labels": ["O"]}]
    assert _read(tmp_path / "a.json", other, words="w") == [(1, "a", "O")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.conll", "a O\nb\n", r"line 2: the word 'b' has no tag, but line 1 has 2 columns"),
        ("a.conll", "a\nb\n", r"line 1: the word 'a' has no tag; write it behind the word"),
        ("a.conll", "a O\n\nb X O\n", r"line 3: 3 columns, but line 1 has 2 columns"),
        ("a.conll", "a B-X\rb O\r\rc O\r", r"line 1: a carriage return within the line; save the file with line feeds"),
        ("a.tsv", "a\tB-X\rb\tO\n", r"line 1: a carriage return within the line"),
        ("a.tsv", "a\t\n", r"line 1 has an empty column"),
        ("a.tsv", "\tO\n", r"line 1 has an empty column"),
        ("a.conll", "a \x01O\n", r"line 1 holds a label with a control character"),
        ("a.conll", "aaaaaa O\n" * 40 + "a\x00 O\n", r"line 41 is not text: byte 2 is 0"),
        ("a.conll", "\n\n-DOCSTART- O\n", r"a.conll has no words"),
        ("a.conll", "", r"a.conll has no words"),
        ("a.conll", "a O\n" * 20_001, r"line 1: a text of more than 20,000 words begins here"),
        ("a.conllu", "1\ta\n", r"line 1: 2 columns; CoNLL-U has 10"),
        ("a.conllu", "\u00b2\ta" + "\t_" * 8, r"line 1: the id '\u00b2'; the first column of CoNLL-U is 1, 2, ..."),
        ("a.conllu", "x1\ta" + "\t_" * 8, r"line 1: the id 'x1'; the first column"),
        ("a.tsv", "a\t\u00a0\n", r"line 1 has an empty column"),
        ("a.json", [{"tokens": ["a"], "tags": ["O"]}, {"tokens": ["a", "b"], "tags": ["O"]}],
         r"line 2: 'tags' has 1 tag for 2 words"),
        ("a.json", [{"tokens": ["a", " "], "tags": ["O", "O"]}], r"line 1: 'tokens' \[1\] is empty"),
        ("a.json", [{"tokens": ["a"], "tags": [""]}], r"line 1: 'tags' \[0\] is empty"),
        ("a.json", [{"tokens": [], "tags": []}], r"line 1: 'tokens' is an empty list"),
        ("a.json", [{"tokens": ["a", 1], "tags": ["O", "O"]}], r"line 1: 'tokens' \[1\] holds a number"),
        ("a.json", [{"tokens": "a b", "tags": ["O", "O"]}], r"line 1: 'tokens' holds a text, not a list of words"),
        ("a.json", [{"tokens": ["a"], "tags": "O"}], r"line 1: 'tags' holds a text, not a list of tags"),
        ("a.json", [{"tokens": ["a"], "tags": [["O"]]}], r"line 1: 'tags' \[0\] holds a list, not a tag"),
        ("a.json", [{"tokens": ["a"], "tags": ["O"]}, {"tokens": ["a"]}], r"line 2: no 'tags'; its keys are"),
        ("a.json", [{"tokens": ["a"], "x": ["O"]}], r"no list of tags \(ner_tags, .*its keys are 'tokens', 'x'. Name"),
        ("a.json", [{"x": ["a"], "tags": ["O"]}], r"no list of words \(tokens, words\); its keys are 'x', 'tags'"),
        ("a.csv", "a,O\n", r"a table, but words with tags are in .conll.*: write a word and its tag a line, an empty"),
        ("a.dat", "a,O\n", r"unknown file type; words with tags are in .conll"),
    ],
)  # fmt: skip
def test_what_is_no_text_with_tags_is_refused(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message) as refused:
        _read(tmp_path / name, content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [("ner", "=ner: the columns of .* have no names; give a number"), ("0", "=0: the columns"), ("3", "no column 3;")],
)
def test_columns_of_conll_are_numbers(tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        _read(tmp_path / "a.conll", "a O\n", tags=given)


def test_a_table_to_predict_is_answered_with_the_program_that_predicts_it(tmp_path):
    with pytest.raises(UserError, match=r"a\.csv is a table, .* the texts of a table are predicted by albert\.predict"):
        choose_tag_columns(tmp_path / "a.csv", None, None, needs_tags=False)


def test_lists_of_words_are_told_from_texts(tmp_path):
    path = tmp_path / "a.jsonl"
    for row, with_tags, without in (
        ({"tokens": ["a"], "tags": ["O"]}, True, True),
        ({"tokens": ["a"]}, False, True),
        ({"text": "a", "tokens": ["a"], "tags": ["x"]}, False, False),
        ({"text": "a", "labels": ["x"]}, False, False),
        ({"sentence": "a", "tokens": ["a"], "labels": ["x"]}, False, False),
        ({"tokens": "a", "tags": "O"}, False, False),
    ):
        path.write_text(json.dumps(row))
        assert (holds_lists_of_words(path), holds_words(path)) == (with_tags, without), row
    assert not holds_words(tmp_path / "a.txt")
    assert holds_words(tmp_path / "a.conll")
    assert not holds_lists_of_words(tmp_path / "missing.json")
