"""Sweeps from end to end, of programs that pretend to train: what runs, what never runs again, what is refused."""

import csv
import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from albert.cli.sweep import parse_sweep_flags, parsed_run
from albert.data.source_files import SourceFiles
from albert.errors import UserError
from albert.runs.preflight import known_of
from albert.runs.sweep.conduct import Sweep
from albert.runs.sweep.plan import CLASSIFIER
from albert.runs.sweep.testing import (
    conduct,
    driving_command,
    pretending_command,
    starts_of,
    sweep_command,
    write_toy_glue,
)
from albert.system.locks import OutputLock

RATES = ("--set", "learning_rate=1e-5,2e-5")
LIMIT_SECONDS = 60


@pytest.fixture
def folder(tmp_path) -> Path:
    write_toy_glue(tmp_path / "data")
    return tmp_path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep/results.csv").open() as file:
        return list(csv.DictReader(file))


def all_starts(folder: Path) -> dict[str, int]:
    found = sorted((folder / "sweep").rglob("starts"))
    return {str(path.parent.relative_to(folder / "sweep")): len(starts_of(path.parent)) for path in found}


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in a minute"
        time.sleep(0.02)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a sweep as a process of its own; none is left behind."""
    processes = []

    def start(command: list[str]) -> subprocess.Popen:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_every_task_runs_with_every_setting_and_seed_and_the_table_says_what_is_best(folder, capsys, caplog):
    caplog.set_level("INFO")
    argv = sweep_command(folder, "--task_name=MRPC,CoLA", "--seeds=1,2", *RATES)
    assert conduct(folder, argv) == []
    expected = {
        f"{task}/learning_rate={rate}/seed{seed}"
        for task in ("MRPC", "CoLA")
        for rate in ("1e-05", "2e-05")
        for seed in (1, 2)
    }
    assert all_starts(folder) == dict.fromkeys(expected, 1)
    found = rows(folder)
    assert [(row["task"], row["learning_rate"], row["seed"], row["state"]) for row in found[:3]] == [
        ("MRPC", "1e-05", "1", "finished"),
        ("MRPC", "1e-05", "2", "finished"),
        ("MRPC", "2e-05", "1", "finished"),
    ]
    assert [float(row["score"]) for row in found[:4]] == pytest.approx([0.79, 0.78, 0.89, 0.88])
    table = json.loads((folder / "sweep/table.json").read_text())
    assert [task["chosen"] for task in table["tasks"]] == 2 * [{"learning_rate": "2e-05"}]
    assert (folder / "sweep/sweep.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert said == (folder / "sweep/table.md").read_text() + "\n"
    assert "| MRPC | 0.7850 ± 0.0071 (2) | **0.8850 ± 0.0071 (2)** |" in said
    assert "best of 2 by its dev scores" in said
    assert [line for line in caplog.messages if line.startswith("Use ")] == [
        f"Use the best model of {task}: use {task.lower()} in {folder}/sweep/{task}/learning_rate=2e-05/seed1"
        for task in ("MRPC", "CoLA")
    ]


@pytest.mark.slow
def test_a_finished_run_is_never_run_again(folder, caplog):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2", *RATES)
    conduct(folder, argv)
    files = ("results.csv", "table.md", "table.json")
    before = [(folder / "sweep" / name).read_bytes() for name in files]
    caplog.clear()
    # Other spellings of the same numbers, other devices, another way to compute.
    again = sweep_command(
        folder, "--task_name=mrpc", "--seeds=1,2", "--set", "learning_rate=0.00001,2e-05", "--cpus_per_run=1"
    )
    assert conduct(folder, [*again, "--log_steps=7", "--pack_sequences=false"]) == []
    assert set(all_starts(folder).values()) == {1}
    assert [(folder / "sweep" / name).read_bytes() for name in files] == before
    # More seeds and rates run alone.
    more = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2,3", "--set=learning_rate=1e-5,2e-5,3e-5")
    conduct(folder, more)
    assert set(all_starts(folder).values()) == {1}
    assert len(all_starts(folder)) == 9


@pytest.mark.parametrize("change", ["flag", "data", "test data", "weights", "model", "module"])
def test_a_run_of_other_flags_data_or_models_is_not_taken_for_this_one(folder, change):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1")
    weights = folder / "weights.json"
    weights.write_text('{"0": 1, "1": 2}')
    module = folder / "module/variables/variables.index"  # as TensorFlow's hub has a model
    module.parent.mkdir(parents=True)
    module.write_text("checksums")
    argv += [f"--class_weights={weights}", f"--init_checkpoint={folder / 'module'}"]
    config = folder / "config.json"
    config.write_text((Path(__file__).parents[2] / "testdata/agreement/albert_config.json").read_text())
    argv.append(f"--albert_config_file={config}")
    conduct(folder, argv)
    if change == "data":
        write_toy_glue(folder / "data", {"train": 13})
    elif change == "test data":
        write_toy_glue(folder / "data", {"test": 6})
    elif change == "weights":
        weights.write_text('{"0": 1, "1": 3}')
    elif change == "module":
        module.write_text("others")
    elif change == "model":
        config.write_text(config.read_text() + "\n")
    conduct(folder, [*argv, "--train_step=900"] if change == "flag" else argv)
    assert all_starts(folder) == {"MRPC/recipe/seed1": 2}
    record = folder / "sweep/MRPC/recipe/seed1/sweep_run.json"
    known = json.loads(record.read_text())
    for name in ("data of prediction", "class weights"):  # which earlier versions did not write
        del known[name]
    record.write_text(json.dumps(known))
    conduct(folder, [*argv, "--train_step=900"] if change == "flag" else argv)
    assert all_starts(folder) == {"MRPC/recipe/seed1": 2}


@pytest.mark.slow
def test_a_run_without_its_last_file_is_not_finished(folder):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1")
    conduct(folder, argv)
    run = folder / "sweep/MRPC/recipe/seed1"
    for number, break_it in enumerate(
        [
            (run / "test_results.tsv").unlink,
            (run / "MRPC.tsv").unlink,
            (run / "eval_results.json").unlink,
            lambda: (run / "eval_results.json").write_text("{"),
            lambda: (run / "eval_results.json").write_text(
                (run / "eval_results.json").read_text().replace('"Training steps": 4', '"Training steps": 8')
            ),
        ]
    ):
        break_it()
        conduct(folder, argv)
        assert len(starts_of(run)) == number + 2


def test_a_failed_run_is_named_with_its_last_line_and_the_others_run(folder, caplog):
    argv = sweep_command(folder, "--task_name=MRPC,CoLA", "--seeds=1,2", "--max_parallel=1")
    behaviour = {"CoLA/recipe/seed1": "fail", "CoLA/recipe/seed2": "killed 40", "MRPC/recipe/seed2": "killed"}
    failures = conduct(folder, argv, behaviour)
    reasons = {failure.job.name: failure.reason for failure in failures}
    assert reasons == {
        "CoLA recipe seed 1": "exit code 1: ValueError: a bug",
        "CoLA recipe seed 2": "stopped by signal 40: pretending",  # real-time signals have no names
        "MRPC recipe seed 2": "stopped by SIGKILL (mostly because memory ran out: use a smaller train_batch_size, "
        "more gradient_accumulation_steps, or recompute_activations): pretending",
    }
    assert [record.message for record in caplog.records if record.message.startswith("FAILED")] == [
        f"FAILED {name}: {reason}" for name, reason in reasons.items()
    ]
    assert {row["task"] + row["seed"]: row["state"] for row in rows(folder)} == {
        "MRPC1": "finished", "MRPC2": "failed", "CoLA1": "failed", "CoLA2": "failed",
    }  # fmt: skip
    assert conduct(folder, argv) == []
    assert {row["state"] for row in rows(folder)} == {"finished"}
    assert sorted(all_starts(folder).values()) == [1, 2, 2, 2]
    # The log of a run that began twice: a line in front of each part has its time and its command.
    lines = (folder / "sweep/CoLA/recipe/seed1.log").read_text().splitlines()
    begins = [line for line in lines if re.match(r"=== \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} .*--seed=1", line)]
    assert (lines[0], len(begins)) == (begins[0], 2)


def test_runs_of_which_none_is_finished_do_not_replace_the_results_of_others(folder, capsys, caplog):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1", "--do_predict")
    conduct(folder, argv)
    before = {path.name: path.read_bytes() for path in (folder / "sweep").iterdir() if path.is_file()}
    assert {"results.csv", "table.md", "table.json", "sweep.png"} <= before.keys()
    capsys.readouterr()
    other = sweep_command(folder, "--task_name=MRPC", "--seeds=1", "--set=learning_rate=5e-5", "--do_predict")
    assert len(conduct(folder, other, {"seed1": "fail"})) == 1
    assert {path.name: path.read_bytes() for path in (folder / "sweep").iterdir() if path.is_file()} == before
    assert "| none is finished |" in capsys.readouterr().out
    assert f"the results in {folder / 'sweep'} stay those of an earlier sweep" in caplog.text


def test_results_that_have_scores_which_the_new_ones_lack_are_moved_aside(folder, caplog):
    sweep = folder / "sweep"
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1", "--do_predict", "--partial_submission")
    other = sweep_command(folder, "--task_name=MRPC", "--seeds=1", "--set=learning_rate=5e-5")
    for command, moved in ((argv, []), (other, ["tables.old-1"]), (argv, ["tables.old-1", "tables.old-2"])):
        before = {path.name: path.read_bytes() for path in sweep.iterdir() if path.is_file()} if moved else {}
        conduct(folder, command)
        assert sorted(path.name for path in sweep.glob("tables.old-*")) == moved
        if moved:
            assert {path.name: path.read_bytes() for path in (sweep / moved[-1]).iterdir()} == before
            assert f"lacks: it was moved to {sweep / moved[-1]}" in caplog.text
    assert (sweep / "tables.old-1/submission.zip").exists()
    conduct(folder, other)  # those of `argv` are in tables.old-1
    conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1,2", "--set=learning_rate=5e-5"))
    assert len(list(sweep.glob("tables.old-*"))) == 2


def test_a_table_without_scores_is_replaced(folder):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1")
    conduct(folder, argv, {"seed1": "fail"})
    conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1", "--launcher=none"))
    assert [row["state"] for row in rows(folder)] == ["not finished"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("eval_results.json", ""), ("eval_results.json", "{"), ("eval_results.json", "[]"), ("sweep_run.json", "{")],
)
def test_a_finished_run_whose_results_were_damaged_is_named_and_runs_again(folder, caplog, name, content):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1")
    conduct(folder, argv)
    run = folder / "sweep/MRPC/recipe/seed1"
    (run / name).write_text(content)
    caplog.clear()
    assert conduct(folder, argv) == []
    assert f"{run / name} is damaged: MRPC recipe seed 1 runs again" in caplog.text
    assert [row["state"] for row in rows(folder)] == ["finished"]

    (run / name).write_text(content)
    caplog.clear()
    conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1", "--launcher=none"))
    assert f"{run / name} is damaged: MRPC recipe seed 1 counts as not finished" in caplog.text


def test_test_scores_that_were_damaged_are_named(folder, caplog):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1")
    conduct(folder, argv)
    path = folder / "sweep/MRPC/recipe/seed1/test_scores.json"
    path.write_text("{")
    conduct(folder, argv)
    assert f"{path} is damaged: the table lacks the test score of MRPC recipe seed 1" in caplog.text


def test_a_kernel_that_does_not_tell_of_the_end_of_processes_is_asked_often(folder, monkeypatch):
    def refuse(process: int) -> int:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1,2")) == []


def test_with_fail_fast_nothing_more_begins(folder):
    argv = sweep_command(folder, "--task_name=MRPC,CoLA", "--seeds=1,2", "--max_parallel=1", "--fail_fast")
    assert len(conduct(folder, argv, {"": "fail"})) == 1
    assert len(all_starts(folder)) == 1


def test_each_run_has_cores_of_its_own(folder):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores")
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2,3,4", "--cpus_per_run=1", "--max_parallel=2")
    conduct(folder, argv, {"": "slow"})
    starts = [starts_of(folder / f"sweep/MRPC/recipe/seed{seed}")[0] for seed in (1, 2, 3, 4)]
    assert sorted(start["cpus"] for start in starts) == sorted(2 * [[cores[0]], [cores[1]]])
    assert {(start["CUDA_VISIBLE_DEVICES"], start["OMP_NUM_THREADS"]) for start in starts} == {("-1", "1")}


def test_everything_missing_is_named_before_the_first_run_starts(folder):
    (folder / "data/RTE/train.tsv").unlink()
    (folder / "data/STS-B/dev.tsv").unlink()
    argv = sweep_command(folder, "--task_name=all", "--seeds=1")
    with pytest.raises(UserError) as raised:
        conduct(folder, argv)
    assert all(name in str(raised.value) for name in ("RTE/train.tsv", "STS-B/dev.tsv"))
    assert not (folder / "sweep").exists()


def test_a_folder_of_data_that_is_not_there_is_one_problem(folder):
    argv = [*sweep_command(folder, "--task_name=all", "--seeds=1"), f"--data_dir={folder / 'my data'}"]
    with pytest.raises(UserError, match=r"^`data_dir`=.*my data is not there: name the folder of the data") as raised:
        conduct(folder, argv)
    assert str(raised.value).count("is not there") == 1
    assert f"; python3 download_glue_data.py --data_dir='{folder / 'my data'}' fetches tasks" in str(raised.value)


def test_a_space_of_fewer_settings_than_trials_is_named(folder, caplog):
    caplog.set_level("INFO")
    space = ("--search=random", "--space=optimizer=adamw,lamb", "--trials=5", "--dry_run")
    conduct(folder, sweep_command(folder, "--task_name=MRPC", *space))
    assert "The space has 2 settings, fewer than `trials`=5." in caplog.text
    assert "1 task x 2 settings x 1 seed = 2 runs." in caplog.text


def test_whoever_stops_reading_gets_all_files_all_the_same(folder, started):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1", "--partial_submission")
    process = started(driving_command(folder, argv))
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(timeout=LIMIT_SECONDS) == 0, said
    assert (folder / "sweep/submission.zip").exists()
    assert "Traceback" not in said


def test_a_finished_run_without_a_score_is_named(folder, caplog):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2")
    conduct(folder, argv)
    results = folder / "sweep/MRPC/recipe/seed2/eval_results.json"
    found = json.loads(results.read_text())
    results.write_text(json.dumps(found | {"best": found["best"] | {"f1": None}}))
    assert conduct(folder, argv) == []
    assert "MRPC recipe seed 2 scores no number: it is in no mean." in caplog.text
    assert all_starts(folder) == {"MRPC/recipe/seed1": 1, "MRPC/recipe/seed2": 1}
    assert [row["score"] for row in rows(folder)][1] == ""


def test_what_is_missing_for_a_submission_names_the_flag_that_writes_it_all_the_same(folder, started):
    process = started(driving_command(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1")))
    _, said = process.communicate(timeout=LIMIT_SECONDS)
    assert ". --partial_submission writes it without them." in said


def test_fewer_seeds_than_before_say_that_the_table_is_of_fewer_runs(folder, caplog):
    caplog.set_level("INFO")
    conduct(folder, sweep_command(folder, "--task_name=MNLI", "--seeds=1,2"))
    assert "beside them" not in caplog.text
    conduct(folder, sweep_command(folder, "--task_name=MNLI", "--seeds=1"))
    assert "The table has the runs of this command; 3 other runs beside them in" in caplog.text


def test_models_can_be_compared(folder, capsys):
    names = ("albert_config_file", "spm_model_file")
    argv = sweep_command(folder, "--task_name=MNLI", "--dry_run")
    models = [argument for argument in argv if argument.lstrip("-").startswith(names)]
    rest = [argument for argument in argv if argument not in models]
    conduct(folder, [*rest[:1], *(f"--set={model.lstrip('-')}" for model in models), *rest[1:]])
    assert capsys.readouterr().out.count(models[0]) == 3


def test_runs_that_want_a_gpu_are_refused_where_there_is_none(folder):
    argv = sweep_command(folder, "--task_name=MRPC", runs=["--device=gpu"])
    with pytest.raises(UserError, match="`device`=gpu, but no GPU is visible here"):
        conduct(folder, argv)
    assert not (folder / "sweep").exists()


def test_a_second_sweep_on_the_folder_is_refused(folder):
    with OutputLock(folder / "sweep"), pytest.raises(UserError, match="is in use by"):
        conduct(folder, sweep_command(folder, "--task_name=MRPC"))
    assert all_starts(folder) == {}


def test_a_search_that_needs_optuna_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    argv = sweep_command(folder, "--task_name=MRPC", "--search=tpe", "--space=learning_rate=log:1e-5:1e-4")
    with pytest.raises(UserError, match=r"needs Optuna: .*\[hpo\]"):
        conduct(folder, argv)
    assert not (folder / "sweep").exists()


def test_too_many_runs_are_refused(folder):
    argv = sweep_command(folder, "--task_name=all", "--seeds=1,2", *RATES, "--max_runs=35")
    with pytest.raises(UserError, match="9 tasks x 2 settings x 2 seeds = 36 runs, more than `max_runs`=35"):
        conduct(folder, argv)


def test_dry_run_prints_the_commands_and_makes_nothing(folder, capsys):
    conduct(folder, sweep_command(folder, "--task_name=MNLI,MRPC", "--seeds=1", "--dry_run"))
    lines = capsys.readouterr().out.splitlines()
    names = [re.search(r"--task_name=(\S+)", line)[1] for line in lines]
    assert names == ["MNLI", "misMNLI", "AX", "MRPC"]
    assert "finished" not in "".join(lines)
    assert not (folder / "sweep").exists()


def test_dry_run_says_which_runs_are_finished_behind_a_command_that_stays_one(folder, capsys):
    conduct(folder, sweep_command(folder, "--task_name=RTE", "--seeds=1"))
    capsys.readouterr()
    conduct(folder, sweep_command(folder, "--task_name=RTE", "--seeds=1,2", "--dry_run"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("  # is finished") for line in lines] == [True, False]
    last_words = [shlex.split(line, comments=True)[-1] for line in lines]
    assert last_words == [f"--output_dir={folder}/sweep/RTE/recipe/seed{seed}" for seed in (1, 2)]


def test_mnli_is_evaluated_on_mismatched_rows_and_predicts_the_diagnostic_ones(folder):
    argv = sweep_command(folder, "--task_name=MNLI,RTE,CoLA", "--from_mnli", "--seeds=1")
    assert conduct(folder, argv) == []
    runs = {
        name: starts_of(folder / f"sweep/{name}/recipe/seed1")[0] for name in ("MNLI", "misMNLI", "AX", "RTE", "CoLA")
    }
    best = str(folder / "sweep/MNLI/recipe/seed1/model.ckpt-best")
    does = {name: (run["do_train"], run["do_eval"], run["do_predict"]) for name, run in runs.items()}
    assert does["misMNLI"] == ("false", "true", "true")
    assert does["AX"] == ("false", "false", "true")
    assert does["RTE"] == ("true", "true", "true")
    assert {name: run.get("init_checkpoint") for name, run in runs.items()} == {
        "MNLI": None, "misMNLI": best, "AX": best, "RTE": best, "CoLA": None,
    }  # fmt: skip
    assert runs["RTE"]["discard_classifier_weights"] == "true"
    assert runs["misMNLI"]["max_seq_length"] == "128"
    assert rows(folder)[0]["metric"] == "eval_accuracy, matched and mismatched"


@pytest.mark.slow
def test_a_run_that_starts_from_another_is_finished_whatever_seeds_a_command_names(folder):
    argv = sweep_command(folder, "--task_name=MNLI,RTE", "--from_mnli", "--nodo_predict")
    conduct(folder, [*argv[:1], "--seeds=1,2", *argv[1:]])
    record = folder / "sweep/RTE/recipe/seed2/sweep_run.json"
    earlier = json.loads(record.read_text())
    assert earlier["init_checkpoint"] == str(folder / "sweep/MNLI/recipe/seed2/model.ckpt-best")
    conduct(folder, [*argv[:1], "--seeds=2", *argv[1:]])
    # As this version's predecessors wrote it.
    record.write_text(json.dumps({**earlier, "init_checkpoint": earlier["init_checkpoint"].replace("seed2", "seed1")}))
    conduct(folder, [*argv[:1], "--seeds=2,1", *argv[1:]])
    assert set(all_starts(folder).values()) == {1}
    record.write_text(json.dumps({**earlier, "init_checkpoint": "elsewhere/MNLI/recipe/seed2/model.ckpt-best"}))
    conduct(folder, [*argv[:1], "--seeds=1,2", *argv[1:]])
    assert all_starts(folder)["RTE/recipe/seed2"] == 2


@pytest.mark.slow
def test_what_depends_on_the_data_of_another_task_runs_again_when_these_change(folder):
    weights = folder / "weights.safetensors"
    weights.write_text("first")
    start = (f"--init_checkpoint={weights}",)
    argv = sweep_command(folder, "--task_name=MNLI,RTE", "--from_mnli", "--seeds=1", runs=start)
    conduct(folder, argv)

    def change(name):
        path = folder / name
        path.write_text(path.read_text().replace(" cat ", " horse ") + "others" * (path == weights))
        conduct(folder, argv)
        return {name.partition("/")[0]: count for name, count in all_starts(folder).items()}

    assert change("data/MNLI/dev_mismatched.tsv") == {"MNLI": 1, "RTE": 1, "misMNLI": 2, "AX": 1}
    assert change("data/MNLI/test_mismatched.tsv") == {"MNLI": 1, "RTE": 1, "misMNLI": 3, "AX": 1}
    assert change("data/MNLI/train.tsv") == {"MNLI": 2, "RTE": 2, "misMNLI": 4, "AX": 2}
    assert change(weights.name) == {"MNLI": 3, "RTE": 3, "misMNLI": 5, "AX": 3}
    for path in folder.glob("sweep/*/recipe/seed1/sweep_run.json"):  # as earlier versions wrote it
        record = json.loads(path.read_text())
        path.write_text(json.dumps({name: text for name, text in record.items() if " of " not in name}))
    conduct(folder, argv)
    assert set(all_starts(folder).values()) == {3, 5}


def test_a_run_on_data_that_changed_after_the_sweep_began_is_not_compared_with_the_others(folder):
    argv = sweep_command(folder, "--task_name=MRPC,CoLA", "--seeds=1,2,3", "--max_parallel=1", "--nodo_predict")
    train, pretending = folder / "data/MRPC/train.tsv", pretending_command(folder)
    before = train.read_text()

    def command(module, flags):
        run = Path(flags["output_dir"])
        if "MRPC/recipe/seed2" in str(run):
            train.write_text(before + before.splitlines()[-1] + "\n")
        if "MRPC" in str(run):
            digest = SourceFiles.read([train]).digest
            (run / "run_settings.json").write_text(json.dumps({"training": {"data_sha256": digest}}))
        return pretending(module, flags)

    failures = {
        failure.job.name: failure.reason for failure in Sweep(parse_sweep_flags(argv), parsed_run, command).run()
    }
    assert failures.keys() == {"MRPC recipe seed 2", "MRPC recipe seed 3"}
    assert "it read other data than there were when the sweep began; put back" in failures["MRPC recipe seed 2"]
    assert f"{train} is not what it was when the sweep began; put back" in failures["MRPC recipe seed 3"]
    assert all_starts(folder).keys() == {f"{task}/recipe/seed{n}" for task in ("MRPC", "CoLA") for n in (1, 2, 3)} - {
        "MRPC/recipe/seed3"
    }
    assert [row["state"] for row in rows(folder)] == ["finished", "failed", "failed", *["finished"] * 3]
    train.write_text(before)
    assert [failure.job.name for failure in conduct(folder, argv)] == ["MRPC recipe seed 2"]
    shutil.rmtree(folder / "sweep/MRPC/recipe/seed2")
    assert conduct(folder, argv) == []
    assert set(all_starts(folder).values()) == {1}


def test_what_starts_from_a_failed_run_is_left_out_and_named(folder):
    argv = sweep_command(folder, "--task_name=MNLI,RTE", "--from_mnli", "--seeds=1")
    failures = {failure.job.name: failure.reason for failure in conduct(folder, argv, {"/MNLI/": "fail"})}
    assert failures["RTE recipe seed 1"] == "left out, because it starts from MNLI recipe seed 1"
    assert len(failures) == 4
    assert list(all_starts(folder)) == ["MNLI/recipe/seed1"]


@pytest.mark.slow
def test_a_signal_is_passed_on_all_save_and_the_exit_code_says_so(folder, started):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2")
    for number in (signal.SIGINT, signal.SIGTERM):
        process = started(driving_command(folder, argv, {"": "wait"}))
        runs = [path.parent for path in (folder / "sweep").rglob("sweep_run.json")]
        wait_for(lambda: len(list((folder / "sweep").rglob("waits"))) == min(2, len(os.sched_getaffinity(0))))
        process.send_signal(number)
        _, said = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 128 + number, said
        runs = [path.parent for path in (folder / "sweep").rglob("waits")]
        assert all((run / "saved").exists() for run in runs)
        for run in runs:
            (run / "waits").unlink()
            (run / "saved").unlink()
    assert conduct(folder, argv) == []


def test_a_run_that_a_signal_simply_ends_has_not_failed(folder, started):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1")
    process = started(driving_command(folder, argv, {"": "predicting"}))
    wait_for(lambda: list((folder / "sweep").rglob("waits")))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "MRPC recipe seed 1 is stopped after" in said
    assert "failed" not in said


def test_a_sweep_killed_resumes_when_its_runs_have_saved(folder, started):
    """`kill -9` of the sweep: its runs are asked to stop, and the next sweep waits for them."""
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2,3", "--max_parallel=1")
    process = started(driving_command(folder, argv, {"seed2": "wait"}))
    wait_for(lambda: list((folder / "sweep").rglob("waits")))
    process.kill()
    process.communicate(timeout=LIMIT_SECONDS)
    wait_for(lambda: (folder / "sweep/MRPC/recipe/seed2/saved").exists())
    assert conduct(folder, argv) == []
    assert all_starts(folder) == {"MRPC/recipe/seed1": 1, "MRPC/recipe/seed2": 2, "MRPC/recipe/seed3": 1}


def test_a_run_whose_folder_is_still_in_use_waits(folder, started, caplog):
    run = folder / "sweep/MRPC/recipe/seed1"
    lock = OutputLock(run)
    process = started(driving_command(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1,2")))
    wait_for(lambda: starts_of(folder / "sweep/MRPC/recipe/seed2"))
    assert starts_of(run) == []
    lock.release()
    _, said = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, said
    assert "MRPC recipe seed 1 waits" in said
    assert len(starts_of(run)) == 1


def test_launcher_none_only_compares(folder):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2")
    conduct(folder, argv, {"seed2": "fail"})
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2,3", "--launcher=none")
    assert conduct(folder, argv) == []
    assert [row["state"] for row in rows(folder)] == ["finished", "not finished", "not finished"]
    assert json.loads((folder / "sweep/table.json").read_text())["tasks"][0]["settings"][0]["runs"] == 1


def leave_settings(folder: Path, run: str) -> None:
    """What a run that began has in its folder besides: what it is of, as far as that is known before it begins."""
    run_folder = folder / "sweep" / run
    flags = {name: value for name, value in starts_of(run_folder)[0].items() if name.islower() and name != "cpus"}
    parsed = parsed_run(CLASSIFIER, flags)
    (run_folder / "run_settings.json").write_text(json.dumps(known_of(parsed.task, parsed.settings)))
    (run_folder / "eval_results.txt").touch()


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_a_sweep_of_other_settings_in_the_folder_is_refused_once_before_anything_runs(folder, launcher):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2", runs=("--max_seq_length=64",))
    assert conduct(folder, argv) == []
    for seed in (1, 2):
        leave_settings(folder, f"MRPC/recipe/seed{seed}")
    before = all_starts(folder)
    assert conduct(folder, argv) == []  # finished
    asked = ("--task_name=MRPC", "--seeds=1,2,3", f"--launcher={launcher}")
    others = sweep_command(folder, *asked, runs=("--max_seq_length=64", "--warmup_step=7"))
    with pytest.raises(UserError) as refused:
        conduct(folder, others)
    assert re.fullmatch(
        rf"`output_dir`={re.escape(str(folder))}/sweep holds a sweep with other settings, in 2 of 3 runs: "
        r"`warmup_steps` is \d+ there and 7 here\. Choose another `output_dir`, or repeat those settings\.",
        str(refused.value),
    )
    assert all_starts(folder) == before


def test_a_run_that_ends_with_a_mistake_of_the_user_is_to_be_corrected_first(folder, caplog):
    argv = sweep_command(folder, "--task_name=MRPC", "--seeds=1,2")
    conduct(folder, argv, {"seed1": "mistaken"})
    again = "the same command runs what failed again, and no finished run."
    assert caplog.messages[-1] == f"1 run failed; correct what is said above; then {again}"
    caplog.clear()
    conduct(folder, argv, {"seed1": "fail"})
    assert caplog.messages[-1] == f"1 run failed; {again}"
