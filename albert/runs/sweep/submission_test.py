"""The archive for the leaderboard, by a checker that knows GLUE's files and none of this project's code."""

import csv
import io
import zipfile
from pathlib import Path

import pytest

from albert.errors import UserError
from albert.runs.sweep.testing import TEST_ROWS, conduct, sweep_command, write_toy_glue

# What gluebenchmark.com asks for: https://gluebenchmark.com/faq. The labels, and the names of the files.
BINARY, ENTAILMENT = {"0", "1"}, {"entailment", "not_entailment"}
NLI = {"entailment", "neutral", "contradiction"}
EXPECTED = {
    "CoLA.tsv": ("CoLA/test.tsv", BINARY),
    "SST-2.tsv": ("SST-2/test.tsv", BINARY),
    "MRPC.tsv": ("MRPC/test.tsv", BINARY),
    "STS-B.tsv": ("STS-B/test.tsv", None),
    "QQP.tsv": ("QQP/test.tsv", BINARY),
    "MNLI-m.tsv": ("MNLI/test_matched.tsv", NLI),
    "MNLI-mm.tsv": ("MNLI/test_mismatched.tsv", NLI),
    "QNLI.tsv": ("QNLI/test.tsv", ENTAILMENT),
    "RTE.tsv": ("RTE/test.tsv", ENTAILMENT),
    "WNLI.tsv": ("WNLI/test.tsv", BINARY),
    "AX.tsv": ("diagnostic/diagnostic.tsv", NLI),
}


def problems_of(archive: Path, data_dir: Path, expected: dict) -> list[str]:
    """What the leaderboard would refuse."""
    found = []
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        if set(file.namelist()) != set(expected) or len(file.namelist()) != len(expected):
            found.append(f"names: {file.namelist()}")
        for name in set(file.namelist()) & set(expected):
            test_file, labels = expected[name]
            rows = list(csv.reader(io.StringIO(file.read(name).decode()), delimiter="\t"))
            count = len((data_dir / test_file).read_text().splitlines()) - 1
            if rows[0] != ["index", "prediction"]:
                found.append(f"{name}: header {rows[0]}")
            if [row[0] for row in rows[1:]] != [str(number) for number in range(count)]:
                found.append(f"{name}: indices")
            for row in rows[1:]:
                is_label = 0 <= float(row[1]) <= 5 if labels is None else row[1] in labels
                found += [] if is_label and len(row) == 2 else [f"{name}: {row}"]
    return found


@pytest.fixture
def folder(tmp_path) -> Path:
    write_toy_glue(tmp_path / "data")
    return tmp_path


@pytest.mark.slow
def test_a_full_sweep_has_an_archive_that_the_leaderboard_takes(folder):
    argv = sweep_command(folder, "--task_name=all", "--seeds=1")
    assert conduct(folder, argv) == []
    archive = folder / "sweep/submission.zip"
    assert problems_of(archive, folder / "data", EXPECTED) == []
    before = archive.read_bytes()
    conduct(folder, argv)
    assert archive.read_bytes() == before
    # The checker itself finds what is wrong.
    assert problems_of(archive, folder / "data", {**EXPECTED, "RTE.tsv": ("RTE/test.tsv", BINARY)}) != []


def test_an_archive_that_lacks_files_is_written_on_demand_only(folder, caplog):
    argv = sweep_command(folder, "--task_name=MRPC,RTE", "--seeds=1")
    conduct(folder, argv)
    archive = folder / "sweep/submission.zip"
    assert not archive.exists()
    assert "these files are missing: CoLA.tsv, SST-2.tsv," in caplog.text
    conduct(folder, sweep_command(folder, "--task_name=MRPC,RTE", "--seeds=1", "--partial_submission"))
    partial = {name: EXPECTED[name] for name in ("MRPC.tsv", "RTE.tsv")}
    assert problems_of(archive, folder / "data", partial) == []
    # One of runs before is not left for an older one to be sent in.
    conduct(folder, argv)
    assert not archive.exists()


def test_the_file_is_that_of_the_best_seed_of_the_chosen_setting(folder):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=2,1", "--set", "learning_rate=1e-5,2e-5")
    argv.insert(1, "--partial_submission")
    conduct(folder, argv)
    best = folder / "sweep/MRPC/learning_rate=2e-05/seed1/MRPC.tsv"
    best.write_text(best.read_text().replace("\t1", "\t0"))
    conduct(folder, argv)
    with zipfile.ZipFile(folder / "sweep/submission.zip") as file:
        assert file.read("MRPC.tsv").decode() == best.read_text()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("index\t", "id\t", "line 1: 'id\\\\tprediction' is not the leaderboard's header"),
        ("4\tentailment\n", "", f"has 4 rows, but the test set of rte has {TEST_ROWS}"),
        ("4\tentailment", "5\tentailment", "line 6: index '5' is not '4'"),
        ("4\tentailment", "4\t1", "line 6: '1' is not a label of rte"),
    ],
)
def test_a_file_that_does_not_fit_its_test_set_is_named(folder, old, new, problem):
    argv = sweep_command(folder, "--task_name=RTE", "--seeds=1", "--partial_submission")
    conduct(folder, argv)
    file = folder / "sweep/RTE/recipe/seed1/RTE.tsv"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UserError, match=problem):
        conduct(folder, argv)
