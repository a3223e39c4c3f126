"""Documents in all the forms in which text comes; markup is counted, and never text without a word."""

import json
import logging

import pytest

from albert.errors import UserError
from albert.pretraining_data import paragraphs
from albert.pretraining_data.corpus import CorpusSettings, write_corpus
from albert.pretraining_data.markup import has_markup, is_markup


def made(tmp_path, text, **changed):
    """The documents of the corpus that is made of a text, or of a file."""
    path = text
    if isinstance(text, str):
        path = tmp_path / "text"
        path.write_text(text, encoding="utf-8")
    output = tmp_path / f"corpus{len(list(tmp_path.iterdir()))}"
    write_corpus(CorpusSettings(input=str(path), output=output, **{"num_workers": 1, **changed}))
    return [document.splitlines() for document in output.read_text(encoding="utf-8").split("\n\n")]


@pytest.fixture
def cases(testdata):
    return testdata / "cases" / "corpus"


def test_articles_of_wikiextractor_are_documents(tmp_path, cases, caplog):
    found = made(tmp_path, cases / "wiki_00", documents="wikiextractor")
    assert [document[0] for document in found] == [f"Bridge {number}" for number in range(5)]
    assert {len(document) for document in found} == {5}
    assert not any("<" in line for document in found for line in document)
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ('<doc id="1" title="A &amp; B">\nA & B\nOne.\n</doc>\n', [["A & B", "One."]]),
        ('<doc id="1" title="The "A" Team">\nOne.\n\n</doc>\n<doc id="2">\nTwo.\n</doc>', [["One."], ["Two."]]),
        ('<doc id="1">One.</doc>\n<DOC ID="2">\nTwo.\n</DOC>', [["One."], ["Two."]]),
        ("<doc id='1'>\nOne.\n<doc id='2'>\nTwo.", [["One."], ["Two."]]),  # cut short
        ('\n\n<doc id="1">\n\nOne.\n\nTwo.\n</doc>\n\n', [["One.", "Two."]]),
        ("<doc>\nOne.\n</doc>", [["One."]]),
        ('<doc id="1">\n<br>\nIt was\n<ref name="a"/>\nlate.\n</doc>', [["It was", "late."]]),
    ],
)
def test_articles_may_look_otherwise(tmp_path, text, documents):
    assert made(tmp_path, text, documents="wikiextractor") == documents


@pytest.mark.parametrize("text", ["One.\n", '<doc id="1">\nOne.\n</doc>\nTwo.\n', '{"text": "One."}\n'])
def test_text_outside_of_articles_is_refused(tmp_path, text):
    with pytest.raises(UserError, match=r"text, line \d: '.*' stands outside of <doc"):
        made(tmp_path, text, documents="wikiextractor")


@pytest.mark.parametrize("documents", ["file", "blank_lines"])
def test_tags_are_left_out_and_reported(tmp_path, cases, caplog, documents):
    found = made(tmp_path, cases / "wiki_00", documents=documents)
    assert len(found) == {"file": 1, "blank_lines": 10}[documents]
    assert not any("<" in line for document in found for line in document)
    assert "10 lines are markup and were left out; the first is" in caplog.text
    assert "wiki_00, line 1: '<doc id=" in caplog.text
    assert "5 of them begin a document" in caplog.text
    assert "`documents`=wikiextractor" in caplog.text


def test_blank_lines_part_documents_where_asked_for(tmp_path, cases, caplog):
    assert len(made(tmp_path, cases / "cc.txt", documents="blank_lines")) == 5
    assert not caplog.records
    assert len(made(tmp_path, cases / "cc.txt")) == 1
    assert "All 5 paragraphs are one document" in caplog.text
    assert "`documents`=blank_lines" in caplog.text


def test_a_long_paragraph_stays_one_document(tmp_path, monkeypatch):
    monkeypatch.setattr(paragraphs, "_MAX_PARAGRAPH_CHARACTERS", 60)
    text = "One is here. Two is here. " * 20
    assert [len(document) for document in made(tmp_path, f"{text}\n\n{text}\n", documents="blank_lines")] == [40, 40]


def test_objects_are_documents(tmp_path, caplog):
    lines = [
        {"id": 1, "text": "One.\n\nTwo\nis wrapped.\r\n<br>\nThree."},
        {"content": "\u00fcber."},
        {"raw_content": "Vier."},
        {"text": ""},
        {"text": None},
    ]
    text = "\n\n".join(json.dumps(line) for line in lines)
    expected = [["One.", "Two is wrapped.", "Three."], ["\u00fcber."], ["Vier."]]
    with caplog.at_level(logging.WARNING):
        assert made(tmp_path, text, documents="jsonl") == expected
    assert "1 line is markup" in caplog.text
    assert "2 documents have no text; the first is" in caplog.text
    assert 'text, line 7: \'{"text": ""}\'' in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("One.", "line 1: not JSON"),
        ('{"text": "One."}\n{"text": "Tw', "line 2: not JSON"),
        ('{"text": "One."}\n["Two."]', "line 2: ['Two.'] is not an object"),
        ('{"text": "One."}\n\n"Two."', "line 3: 'Two.' is not an object"),
        ('{"body": "One.", "id": 3}', "line 1: has none of text, content, raw_content, but 'body, id'"),
        ('{"text": ["One."]}', "line 1: `text` must be a text, not ['One.']"),
        ('{"text": "One.", "text": "Two."}', "line 1: not clear: 'text' "),
        ('{"text": "\\ud800"}', "line 1: `text` has half of a surrogate pair"),
        ('[\n{"text": "One."}\n]', "line 1: not JSON"),
        ('{"text": ""}', "holds no sentence"),
    ],
)
def test_what_is_not_an_object_with_text_is_refused(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        made(tmp_path, text, documents="jsonl")
    assert message in str(error.value)


@pytest.mark.parametrize("text", ['{"text": "One."}\n', '\n[{"text": "One."},\n', "{\n", "[\n", '{ "id" : 1, "te'])
@pytest.mark.parametrize("documents", ["file", "blank_lines"])
def test_json_is_not_text(tmp_path, text, documents):
    with pytest.raises(UserError, match=r"begins JSON, not text. `documents`=jsonl"):
        made(tmp_path, text, documents=documents)


@pytest.mark.parametrize(
    "line",
    [
        *('<doc id="1" url="x" title="a > b">', "</doc>", "<p>", "</p>", "<br/>", "  <BR />  ", "<a href=x>"),
        *("<!-- said -->", "<!DOCTYPE html>", '<?xml version="1.0"?>', "<s> </s>", "<|endoftext|>", "<ns:tag>"),
        *("<page><ns>", "<text xml:space='preserve'>"),
    ],
)
def test_lines_of_tags_are_markup(line):
    assert is_markup(line)


@pytest.mark.parametrize(
    "line",
    ["a < b", "<3", "x <y> z", "<http://example.org/>", "<me@example.org>", "", "He said <i>so</i>."],
)
def test_lines_with_text_are_none(line):
    assert not is_markup(line)


@pytest.mark.parametrize(
    "line",
    [
        *(
            "<p>One.</p>",
            "He said <i>so</i>.",
            "<title>One</title>",
            " = Robert Boulter = ",
            " = = Career = = ",
            "== A ==",
        ),
        *("*** START OF THE PROJECT GUTENBERG EBOOK X ***", "WARC/1.0", "-DOCSTART- -X- O"),
    ],
)
def test_lines_with_markup_in_them_are_reported(tmp_path, caplog, line):
    assert has_markup(line)
    made(tmp_path, f"A line.\n\n{line}\n\nA line.\n")
    assert "1 line has markup in it and was kept as it is; the first is" in caplog.text
    assert "text, line 3: " in caplog.text


@pytest.mark.parametrize("line", ["a = b", "= 3", "x < y, z > y", "*** So ***", "It costs </3."])
def test_lines_of_text_have_none(line):
    assert not has_markup(line)


def test_a_line_made_to_take_long_does_not():
    for line in ("<!---->" * 30000 + "x", "<a " + "b=c " * 50000, "<a>" * 80000 + "<", "= " * 100000 + "x"):
        is_markup(line)
        has_markup(line)


@pytest.mark.parametrize(
    ("language", "text"),
    [("th", "ฉันไปตลาดทุกวันกับแม่ของฉัน " * 40), ("lo", "ຂ້ອຍໄປຕະຫຼາດທຸກມື້ " * 50), ("en", "no marks at all here " * 40)],
)
def test_text_that_was_not_really_split_is_reported(tmp_path, caplog, language, text):
    made(tmp_path, f"{text}\n" * 3, language=language)
    assert "100 % of the text is in sentences of more than 400 characters" in caplog.text
    assert f"`language`={language}" in caplog.text


def test_text_that_was_split_is_not_told(tmp_path, caplog):
    made(tmp_path, "It was late. He slept.\n" * 100 + "word " * 100)
    assert "sentences of more than" not in caplog.text
