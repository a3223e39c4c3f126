import logging

import pytest

from albert.errors import UserError
from albert.pretraining_data import corpus, paragraphs
from albert.pretraining_data.corpus import CorpusSettings, write_corpus

WRAPPED = "It was late. Mr.\nSmith came\nhome.\n\n* * *\n\n\x01\n\nHe slept.\n"


def settings(tmp_path, pattern="*.txt", **changed):
    values = {"output": tmp_path / "out" / "corpus", "language": "en", "num_workers": 1} | changed
    return CorpusSettings(input=f"{tmp_path}/{pattern}", **values)


def made(tmp_path, **changed):
    wanted = settings(tmp_path, **changed)
    write_corpus(wanted)
    return wanted.output.read_text(encoding="utf-8")


def test_a_file_becomes_a_document_and_a_sentence_a_line(tmp_path, caplog):
    (tmp_path / "a.txt").write_text(WRAPPED)
    (tmp_path / "b.txt").write_text("\n\n")
    (tmp_path / "c.txt").write_text("\ufeffNo end\r\n\r\n\r\nTwo. Three.", encoding="utf-8")
    with caplog.at_level(logging.INFO):
        assert made(tmp_path) == "It was late.\nMr. Smith came home.\nHe slept.\n\nNo end\nTwo.\nThree.\n"
    assert f"1 file holds no text. The first is {tmp_path}/b.txt." in caplog.text
    assert "documents: 2; sentences: 6; words: 13; files without a sentence: 1" in caplog.text
    assert "lines of invisible characters: 1; left out, without a letter or digit: 1" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["corpus"]


def test_the_number_of_processes_does_not_show(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_MIN_BYTES_FOR_WORKERS", 0)
    monkeypatch.setattr(corpus, "_BATCH_CHARACTERS", 50)
    for number in range(5):
        text = "".join(f"Sentence {number}, {line} is here. And\nmore!\n\n" for line in range(40))
        (tmp_path / f"{number}.txt").write_text(text)
    alone = made(tmp_path)
    assert alone.count("\n\n") == 4
    assert alone.count("\n") == 5 * 40 * 2 + 4
    assert made(tmp_path, num_workers=3, output=tmp_path / "other") == alone


@pytest.mark.parametrize("end", ["\n", " "], ids=["lines", "one line"])
def test_a_paragraph_without_end_is_cut_between_sentences(end, tmp_path, monkeypatch):
    monkeypatch.setattr(paragraphs, "_MAX_PARAGRAPH_CHARACTERS", 100)
    (tmp_path / "a.txt").write_text(f"One is here, and it{end}goes on. Then comes two.{end}" * 50)
    assert made(tmp_path) == "One is here, and it goes on.\nThen comes two.\n" * 50


def test_a_line_without_any_space_is_cut_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(paragraphs, "_MAX_PARAGRAPH_CHARACTERS", 100)
    (tmp_path / "a.txt").write_text("x" * 1050)
    assert made(tmp_path).split() == ["x" * 100] * 10 + ["x" * 50]
    (tmp_path / "a.txt").write_text(" " * 1050 + "End.")
    assert made(tmp_path, output=tmp_path / "other") == "End.\n"


def test_nothing_is_left_where_a_later_file_is_wrong(tmp_path):
    (tmp_path / "a.txt").write_text("Fine.\n")
    (tmp_path / "b.txt").write_bytes(b"Fine.\n\nNot f\xefne.\n")
    with pytest.raises(UserError, match=r"b\.txt, line 3: the byte 0xef"):
        made(tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("Fine.\n")
    with pytest.raises(UserError, match=r"cannot write .*a\.txt/corpus: "):
        made(tmp_path, output=tmp_path / "a.txt" / "corpus")


def test_the_output_is_neither_read_nor_replaced(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("Fine.\n")
    (tmp_path / "link").symlink_to(text)
    with pytest.raises(UserError, match=r"link is one of the files of `input`"):
        made(tmp_path, output=tmp_path / "link")
    (tmp_path / "there").write_text("precious")
    with pytest.raises(UserError, match=r"there exists already"):
        made(tmp_path, output=tmp_path / "there")
    assert (text.read_text(), (tmp_path / "there").read_text()) == ("Fine.\n", "precious")
