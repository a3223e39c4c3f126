"""Lines of a file, and how much of it was read. No TensorFlow."""

import pytest

from albert.errors import UserError
from albert.tasks.own import lines
from albert.tasks.own.lines import is_chosen, numbered_lines, reading_bar
from albert.tasks.rows import RowTally


def test_all_bytes_are_reported_while_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("text\n\u00e4\n" + "b\n" * 5, encoding="utf-8")
    monkeypatch.setattr(lines, "_BYTES_AT_ONCE", 4)
    monkeypatch.setattr(lines, "_REPORTED_BYTES", 6)
    reported: list[int] = []
    assert len(list(numbered_lines(path, RowTally(path, reported.append)))) == 7
    assert reported == [8, 8]  # of 18: what is left at the end is too little


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("content", ["", "\n", "a", "a\n", "a\n\nb", "\u00e9\u2028b\r\n\x0c\nc\u20ac\n", "abcdef\ng"])
def test_lines_end_at_line_feeds_however_many_bytes_are_read_at_once(tmp_path, monkeypatch, at_once, content):
    monkeypatch.setattr(lines, "_BYTES_AT_ONCE", at_once)
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode())
    expected = [line + "\n" for line in content.split("\n")]
    expected[-1] = expected[-1][:-1]
    assert list(numbered_lines(path)) == list(enumerate(expected[:-1] if expected[-1] == "" else expected, 1))


@pytest.mark.parametrize("wrong", [b"\xff", b"\0"])
def test_the_lines_before_one_that_is_no_text_are_read(tmp_path, wrong):
    path = tmp_path / "a.csv"
    path.write_bytes(b"some words\nmore words\n" + wrong + b"\nc\n")
    with pytest.raises(UserError, match=r"a\.csv, line 3 is not "):
        list(numbered_lines(path))
    numbers = numbered_lines(path)
    assert [next(numbers), next(numbers)] == [(1, "some words\n"), (2, "more words\n")]


def test_a_line_may_have_as_many_bytes_as_are_allowed_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_RECORD", 20)
    monkeypatch.setattr(lines, "_BYTES_AT_ONCE", 8)
    path = tmp_path / "a.csv"
    for length, is_read in ((19, True), (20, False)):
        path.write_bytes(b"a\nb\n" + b"x" * length + b"\nc\n")
        if is_read:
            assert len(list(numbered_lines(path))) == 4
        else:
            with pytest.raises(UserError, match="line 3: longer than"):
                list(numbered_lines(path))


def test_a_bar_is_over_all_bytes_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("text\n")
    made: list[dict] = []

    class Bar:
        def __init__(self, **options):
            made.append(options)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            made.append({})

        def update(self, count):
            raise AssertionError(count)

    monkeypatch.setattr(lines, "progress_bar", Bar)
    with reading_bar(path) as tally:
        assert len(list(numbered_lines(path, tally))) == 1
    assert (made[0]["total"], made[0]["desc"], len(made)) == (5, "reading a.csv", 2)
    with reading_bar(tmp_path / "none.csv"):
        pass  # whoever reads says that it is not there


def test_a_row_beyond_those_that_were_counted_is_not_chosen():
    assert [is_chosen(b"\1\0\1", number) for number in range(5)] == [True, False, True, False, False]
