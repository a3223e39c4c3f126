"""Rows as they are read again: by Python's reader, which splits at carriage returns outside quotes, as others do."""

import csv
import io

from albert.system.csv_text import csv_line, csv_lines


def test_cells_are_read_as_they_were_written():
    rows = [("a\rb", "c\r\nd"), ("\r", "e\n"), ('"', ","), ("", " f "), ("é\u2028", "g")]
    text = csv_lines(rows)
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == list(map(list, rows))
    assert text == "".join(map(csv_line, rows))


def test_only_cells_that_need_quotes_have_them():
    assert csv_line(("a b", 1, 0.5, "")) == "a b,1,0.5,\n"
    assert csv_line(("a\rb", "c")) == '"a\rb",c\n'
