"""Settings by TPE: what is tried, what is known again after a kill, what is ended early."""

import json
import math
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from albert.cli.sweep import parse_sweep_flags, parsed_run
from albert.errors import UserError
from albert.runs.sweep.conduct import Sweep
from albert.runs.sweep.optuna_search import _Open, _report
from albert.runs.sweep.testing import (
    AGREEMENT,
    conduct,
    pretending_command,
    starts_of,
    sweep_command,
    write_toy_glue,
)

optuna = pytest.importorskip("optuna")

SEARCH = ("--search=tpe", "--trials=4", "--space", "learning_rate=log:1e-6:1e-3")


@pytest.fixture
def folder(tmp_path) -> Path:
    write_toy_glue(tmp_path / "data")
    return tmp_path


def study(folder: Path, task: str = "MRPC"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backend = optuna.storages.journal.JournalFileBackend(str(folder / "sweep/optuna.journal"))
        return optuna.load_study(study_name=task, storage=optuna.storages.JournalStorage(backend))


def all_starts(folder: Path) -> list[int]:
    return [len(starts_of(path.parent)) for path in sorted((folder / "sweep").rglob("starts"))]


def test_each_task_has_trials_of_its_own_whose_value_is_the_mean_over_the_seeds(folder):
    argv = sweep_command(folder, "--task_name=MRPC,CoLA", "--seeds=1,2", *SEARCH)
    assert conduct(folder, argv) == []
    assert len(all_starts(folder)) == 2 * 4 * 2
    table = json.loads((folder / "sweep/table.json").read_text())
    for task in table["tasks"]:
        trials = study(folder, task["task"]).get_trials()
        assert {trial.state.name for trial in trials} == {"COMPLETE"}
        means = sorted(cell["mean"] for cell in task["settings"])
        assert sorted(trial.value for trial in trials) == pytest.approx(means)
        assert float(task["chosen"]["learning_rate"]) == pytest.approx(
            study(folder, task["task"]).best_params["learning_rate"], rel=0.01
        )
    assert "best of 4 by its dev scores" in (folder / "sweep/table.md").read_text()


def test_the_same_command_tries_nothing_again_and_more_trials_continue(folder):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1", *SEARCH)
    conduct(folder, argv)
    conduct(folder, argv)
    assert all_starts(folder) == [1, 1, 1, 1]
    conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1", *SEARCH, "--trials=6"))
    assert all_starts(folder) == 6 * [1]
    assert len(study(folder).trials) == 6


def test_a_trial_whose_run_failed_is_tried_again_with_the_same_setting(folder):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2", *SEARCH)
    assert len(conduct(folder, argv, {"seed2": "fail"})) == 4
    assert {trial.state.name for trial in study(folder).trials} == {"RUNNING"}
    assert conduct(folder, argv) == []
    assert {trial.state.name for trial in study(folder).trials} == {"COMPLETE"}
    assert sorted(all_starts(folder)) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_a_run_that_nothing_is_expected_of_is_ended_early_and_not_run_again(folder, caplog):
    caplog.set_level("INFO")
    first = ("--search=tpe", "--space", "learning_rate=log:1e-6:1e-3", "--trials=6")
    command = pretending_command(folder)
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2", *first)
    assert Sweep(parse_sweep_flags(argv), parsed_run, command).run() == []
    done = len(all_starts(folder))
    assert done == 12
    # The next one scores a tenth of what the others did, and then waits for what is to come.
    command.behaviour["MRPC"] = "bad"
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2", *first, "--trials=7", "--max_parallel=1")
    assert Sweep(parse_sweep_flags(argv), parsed_run, command).run() == []
    assert study(folder).trials[-1].state.name == "PRUNED"
    assert "was ended early" in caplog.text
    assert len(all_starts(folder)) == done + 1  # its second seed never began
    assert Sweep(parse_sweep_flags(argv), parsed_run, command).run() == []
    assert all_starts(folder) == (done + 1) * [1]
    assert "ended early" in (folder / "sweep/results.csv").read_text()


def test_a_score_that_is_no_number_yet_ends_no_run(tmp_path):
    known = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    for _ in range(6):
        trial = known.ask()
        trial.report(0.5, 1)
        known.tell(trial, 0.5)
    run = SimpleNamespace(job=SimpleNamespace(folder=tmp_path), task=SimpleNamespace(score_metrics=("pearson",)))
    each = _Open(known.ask(), known, [run], [], set())
    found: list[dict] = []
    for step, score in ((1, math.nan), (2, 0.9), (3, math.nan)):
        found.append({"step": step, "metrics": {"pearson": score}, "best_metric": "pearson"})
        (tmp_path / "evaluations.json").write_text(json.dumps(found))
        assert not _report(each)
    assert known.trials[-1].intermediate_values == {2: 0.9}
    worse = _Open(known.ask(), known, [run], [], set())
    (tmp_path / "evaluations.json").write_text(json.dumps([{**found[0], "metrics": {"pearson": 0.1}}]))
    assert _report(worse)


def test_mnlis_other_rows_are_evaluated_by_the_best_models_only(folder):
    argv = sweep_command(folder, "--task_name=MNLI", "--seeds=1,2", *SEARCH)
    assert conduct(folder, argv) == []
    assert len(list((folder / "sweep/MNLI").rglob("starts"))) == 8
    assert len(list((folder / "sweep/misMNLI").rglob("starts"))) == 2
    assert len(list((folder / "sweep/AX").rglob("starts"))) == 2


def test_trials_that_have_the_same_setting_share_their_runs(folder):
    """Of a small space a setting is drawn again, also while its runs are on their way."""
    argv = sweep_command(
        folder, *("--task_name=MRPC", "--seeds=1,2", "--search=tpe", "--trials=8", "--space", "optimizer=adamw,lamb")
    )
    assert conduct(folder, argv, {"": "slow"}) == []
    assert all_starts(folder) == 4 * [1]
    assert {trial.state.name for trial in study(folder).trials} == {"COMPLETE"}
    assert len(study(folder).trials) == 8


@pytest.mark.parametrize(
    ("flags", "runs", "different"),
    [
        (("--space=train_batch_size=4,8",), (), "space"),
        (("--seeds=1,2",), (), "seeds"),
        (("--set=optimizer=lamb",), (), "set"),
        ((), ("--train_step=900",), "flags of the runs"),
        ((), ("--albert_config_file={folder}/config.json",), "model"),
        ((), ("--class_weights={folder}/weights.json",), "class weights"),
    ],
)
def test_a_study_of_another_search_is_refused(folder, flags, runs, different):
    config, weights = folder / "config.json", folder / "weights.json"
    config.write_bytes((AGREEMENT / "albert_config.json").read_bytes())
    weights.write_text('{"0": 1, "1": 2}')
    runs = [flag.format(folder=folder) for flag in runs]
    kept = [flag for flag in runs if "json" in flag]  # what changes is in the file
    conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1", *SEARCH, "--trials=1", runs=kept))
    config.write_text(config.read_text() + "\n")
    weights.write_text('{"0": 1, "1": 3}')
    with pytest.raises(UserError, match=f"is of a search for MRPC with another {different}, whose scores"):
        conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1", *SEARCH, *flags, runs=runs))
    wider = ("--search=tpe", "--trials=1", "--space", "learning_rate=log:1e-6:1e-2")
    if not kept:
        assert conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1", *wider)) == []


def test_a_damaged_journal_is_named(folder):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1", *SEARCH, "--trials=1")
    conduct(folder, argv)
    journal = folder / "sweep/optuna.journal"
    journal.write_text("{damage\n" + journal.read_text())
    with pytest.raises(UserError, match=r"optuna\.journal is damaged"):
        conduct(folder, argv)
