"""The code in docs/python.md, and of a task in docs/extending.md, runs as it is written; only the sizes are smaller."""

import csv
import json
import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import albert
from albert.errors import UserError
from albert.testing import SAMPLE_DATA, TESTDATA

ROOT = Path(__file__).parents[2]
INPUTS = TESTDATA / "earlier_runs/inputs"
LABELS = ("billing", "delivery", "login", "praise", "returns")
LIMIT = pytest.mark.timeout(500)


class _Trial:
    """As Optuna's: this one is not worth its time."""

    number = 0

    def __init__(self) -> None:
        self.reported: list[tuple[float, int]] = []

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        assert (name, log) == ("learning_rate", True)
        return low

    def report(self, value: float, step: int) -> None:
        self.reported.append((value, step))

    def should_prune(self) -> bool:
        return True


class _Study:
    """As Optuna's, with one trial; `pruned` when that was ended."""

    def __init__(self) -> None:
        self.trial, self.is_pruned = _Trial(), False

    def optimize(self, objective: Callable[[_Trial], float], n_trials: int) -> None:
        try:
            objective(self.trial)
        except _TrialPruned:
            self.is_pruned = True


class _TrialPruned(Exception):
    """As Optuna's."""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, with everything that the pages name, and with small runs."""
    (tmp_path / "sample_data").symlink_to(SAMPLE_DATA)
    for name, number in (("tickets", 60), ("more", 9), ("new", 6)):
        with (tmp_path / f"{name}.csv").open("w") as file:
            rows = csv.writer(file)
            rows.writerows(
                [("text", "label"), *((f"a message about {i}", LABELS[i % len(LABELS)]) for i in range(number))]
            )
    for split in ("train", "dev", "test"):
        target = tmp_path / f"glue_data/MRPC/{split}.tsv"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TESTDATA / f"glue_data/MRPC/{'test' if split == 'test' else 'dev'}.tsv", target)
    (tmp_path / "SQuAD").mkdir()
    for split in ("train", "dev"):
        shutil.copy(INPUTS / f"{split}.json", tmp_path / f"SQuAD/{split}-v2.0.json")
        (tmp_path / "reviews").mkdir(exist_ok=True)
        (tmp_path / f"reviews/{split}.txt").write_text("good|I liked it\nbad|I did not\n" * 8)
    monkeypatch.chdir(tmp_path)
    optuna = types.SimpleNamespace(create_study=lambda direction: _Study(), TrialPruned=_TrialPruned)
    monkeypatch.setitem(sys.modules, "optuna", optuna)
    # Pictures have tests of their own, and take a third of the time of runs as small as these.
    monkeypatch.setattr("albert.runs.assembly.draw_curve", lambda *_: None)
    monkeypatch.setattr("albert.runs.dev_reports.draw_confusion", lambda *_: b"")
    whole = albert.fine_tune

    def fine_tune(**settings: Any) -> object:
        small = {"device": "cpu", "max_seq_length": 32, "train_batch_size": 8, "gradient_accumulation_steps": 1}
        small |= {"max_query_length": 8, "num_train_epochs": 0.2} if settings.get("task_name") == "squad2.0" else {}
        trained = settings.get("task_name", "own" if "train_file" in settings else None)
        small |= {"train_step": 2} if trained in ("own", "MRPC") else {}
        return whole(**(small | settings))

    monkeypatch.setattr(albert, "fine_tune", fine_tune, raising=False)
    return tmp_path


def _code(page: str, heading: str = "") -> str:
    """The Python blocks of the page, or of the part below a heading, one after the other."""
    text = (ROOT / "docs" / page).read_text()
    if heading:
        text = text.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks
    return "\n".join(blocks)


@LIMIT
@pytest.mark.training
def test_the_code_of_the_page_runs(folder, capsys, caplog):
    names: dict[str, Any] = {"__name__": "page"}
    exec(_code("python.md"), names)
    assert not [record for record in caplog.records if "retracing" in record.getMessage()]
    code = _code("python.md")
    promised = re.search(r"print\(error\)  # (.*)", code)
    assert promised
    assert capsys.readouterr().out == f"{promised[1]}\n"
    assert names["run"].model_dir == Path("out/tickets")
    assert "label" in names["predictor"](["a message"])[0]
    assert 0 <= names["mrpc"].metrics["f1"] <= 1
    assert (folder / "out/mrpc/MRPC.tsv").is_file()
    assert 0 <= names["squad"].metrics["f1"] <= 100
    assert 0 <= names["checked"].metrics["accuracy"] <= 1
    tables = [path for path in names["predicted"].files if path.suffix == ".csv"]
    assert f"# {tables}" in code
    assert names["best_rate"] in (5e-5, 1e-4)
    assert names["study"].is_pruned
    assert [step for _, step in names["study"].trial.reported] == [2]
    _check_tables(names)


def _check_tables(names: dict[str, Any]) -> None:
    """The run on rows in memory has the weights, files with the same find it finished, and other rows are refused."""
    settings = {"model_dir": "sample_data/albert_tiny", "output_dir": "out/weighted"}
    weights = {"billing": 2.0, **dict.fromkeys(LABELS[1:], 1.0)}
    identity = json.loads(Path("out/weighted/run_settings.json").read_text())
    assert "[2.0, 1.0, 1.0, 1.0, 1.0]" in json.dumps(identity)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in names["rows"]))
    Path("weights.json").write_text(json.dumps(weights, indent=2))
    as_files = albert.fine_tune(train_file="rows.jsonl", class_weights="weights.json", **settings)
    assert as_files.metrics == names["weighted"].metrics
    with pytest.raises(UserError, match=r"^output_dir='out/weighted' holds another run: the data differ"):
        albert.fine_tune(train_file=names["rows"][:-1], class_weights=weights, **settings)


@LIMIT
@pytest.mark.training
def test_a_task_of_ones_own_is_trained_and_predicts(folder):
    names: dict[str, Any] = {"__name__": "page"}
    exec(_code("extending.md", "### From Python"), names)
    run = names["run"]
    assert 0 <= run.metrics["accuracy"] <= 1
    assert run.load()(["I liked it"])[0]["label"] in ("bad", "good")
    with pytest.raises(UserError, match=r"^num_train_epochs=-1 must be above 0$"):
        albert.fine_tune(task_name=names["Reviews"](), data_dir="reviews", output_dir="o", num_train_epochs=-1,
                         model_dir="sample_data/albert_tiny")  # fmt: skip
