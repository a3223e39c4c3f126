"""What benchmarks divide, without a training."""

from benchmarks.sweeps import divide_qnli


def test_a_row_ends_at_a_line_feed_alone(tmp_path):
    """A sentence may have U+2028 in it, or a vertical tab, at which Python splits lines, too."""
    rows = [f"{number}\tquestion {number}?\tone\u2028two\x0bthree\tentailment" for number in range(20)]
    (tmp_path / "QNLI").mkdir()
    (tmp_path / "QNLI/dev.tsv").write_text("\n".join(["index\tquestion\tsentence\tlabel", *rows]) + "\n")
    divide_qnli(tmp_path, tmp_path / "divided")
    found = [(tmp_path / f"divided/QNLI/{split}.tsv").read_text().split("\n") for split in ("train", "dev")]
    assert [lines[0] for lines in found] == ["index\tquestion\tsentence\tlabel"] * 2
    assert sorted(line for lines in found for line in lines[1:] if line) == sorted(rows)
