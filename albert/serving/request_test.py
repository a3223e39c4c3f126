"""What is refused before anything is read. Needs no TensorFlow."""

import os

import pytest

from albert.serving.request import PredictRequest


def _problems(tmp_path, **fields):
    return PredictRequest(model_dir=tmp_path, **fields).problems()


def test_a_file_is_not_read_and_written_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows, link, hard = tmp_path / "rows.csv", tmp_path / "link.csv", tmp_path / "hard.csv"
    rows.write_text("text\n")
    link.symlink_to("rows.csv")
    os.link(rows, hard)
    relative = rows.relative_to(tmp_path)
    for output in (rows, link, hard, relative):
        assert _problems(tmp_path, input_file=relative, output_file=output) == [
            f"`output_file`={output} is also `input_file`"
        ]
        asked = {"question": "who?", "context_file": rows}
        assert _problems(tmp_path, **asked, output_file=output) == [f"`output_file`={output} is also `context_file`"]
    assert _problems(tmp_path, input_file=rows, output_file=tmp_path / "other.csv") == []


def test_a_question_without_a_word_is_told(tmp_path):
    for question in ("", " \n"):
        problems = _problems(tmp_path, question=question, context_file=tmp_path / "text.txt")
        assert problems == ["`question` is empty; give the text of one"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_no_file_can_take_the_place_of_is_told_at_once(tmp_path, make):
    make(tmp_path / "out.csv")
    (problem,) = _problems(tmp_path, texts=("a",), output_file=tmp_path / "out.csv")
    assert "out.csv is there and is no file: move it away" in problem


def test_a_file_among_the_texts_is_not_taken_for_a_text(tmp_path):
    (tmp_path / "a.csv").write_text("text\nx\n")
    file, other = str(tmp_path / "a.csv"), str(tmp_path / "b.csv")
    assert _problems(tmp_path, texts=("x", file)) == [f"{file} is a file, not a text: give it as `input_file`"]
    assert not _problems(tmp_path, texts=("x", other, "x" * 5000 + ".txt", "\0.csv"))
