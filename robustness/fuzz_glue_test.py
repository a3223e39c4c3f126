"""Whether the fuzzer finds rows that are shifted, exchanged or lost."""

import random

import pytest

from albert.tasks import rows
from albert.tasks.registry import get_task
from robustness.fuzz_cases import Case, Reader, Seed, judge
from robustness.fuzz_glue import TABLES, read_glue

HEADER = "index\tsentence1\tsentence2\tlabel\n"
ROWS = "".join(f"{i}\tone {i}\ttwo {i}\tentailment\n" for i in range(3))


def _read(folder, task, split, content):
    path = folder / task.folder / getattr(task, f"{split}_file")
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return read_glue(folder, [], task, split)[0]


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        HEADER.replace("sentence1\tsentence2", "sentence2\tsentence1") + ROWS,
        HEADER.replace("sentence1", "year") + ROWS,
        HEADER + ROWS.replace("one 1", "one\t1"),
    ],
    ids=["no header", "exchanged", "renamed", "a tab too many"],
)
def test_a_reader_that_goes_by_places_alone_is_found(content, tmp_path, monkeypatch):
    assert _read(tmp_path, get_task("rte"), "dev", HEADER + ROWS).out == 3

    def read_by_places(path, layout, tally):
        for line, text in rows._lines(path):
            if line > 1:
                yield line, text.split("\t")

    monkeypatch.setattr("albert.tasks.glue.read_rows", read_by_places)
    with pytest.raises((AssertionError, ValueError)) as raised:
        _read(tmp_path, get_task("rte"), "dev", content)
    assert raised.type is AssertionError or "label" in str(raised.value)


def test_damage_to_tables_is_varied_and_repeatable():
    data, other = (HEADER + ROWS).encode(), b"sentence\tlabel\ngood\t1\n"
    for mutator in TABLES:
        found = [mutator(random.Random(number), data, other) for number in range(200)]
        assert found == [mutator(random.Random(number), data, other) for number in range(200)]
        assert len({*found}) > 20


def test_rows_that_are_left_out_without_a_word_are_found(tmp_path):
    def read(folder, messages, task, split):
        found, _ = read_glue(folder, [], task, split)  # as if nothing had been logged
        return found

    header, short, row = b"id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n", b"1\t2\n", b"1\t2\t3\ta\tb\t1\n"
    seed = Seed({"QQP/dev.tsv": header + short + 2 * row}, (get_task("qqp"), "dev"))
    reader = Reader(name="planted", seeds=lambda: [seed], read=read, count=lambda folder, task, split: 3)
    assert judge(reader, Case(seed, seed.files), tmp_path).kind == "rows lost"
