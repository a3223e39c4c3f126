"""Lines of a file, and how much of it was read. No TensorFlow."""

from albert.tasks.own import lines
from albert.tasks.own.lines import is_chosen, numbered_lines, reading_bar
from albert.tasks.rows import RowTally


def test_all_bytes_are_reported_while_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("text\n\u00e4\n" + "b\n" * 5, encoding="utf-8")
    monkeypatch.setattr(lines, "_REPORTED_BYTES", 6)
    reported: list[int] = []
    assert len(list(numbered_lines(path, RowTally(path, reported.append)))) == 7
    assert reported == [8, 6]  # of 18: what is left at the end is too little


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
