"""The command line of sweeps: what is understood, and what is refused in one line before anything begins."""

import re
import shutil

import pytest

from albert.cli.flags import HelpRequested
from albert.cli.own_data import sharing_tasks
from albert.cli.sweep import SWEEP, command_of, of_sweep_and_runs, parse_sweep_flags, parsed_run, sweep
from albert.errors import UserError
from albert.runs.sweep.conduct import Sweep
from albert.runs.sweep.plan import find_tasks, seeds_of, task_names
from albert.runs.sweep.testing import conduct, sweep_command, write_toy_glue
from albert.tasks.own import build
from albert.tasks.own.survey import survey
from albert.testing import SAMPLE_DATA


def request(*flags: str):
    return parse_sweep_flags(["sweep", "--output_dir=sweep", *flags])


def test_the_issues_command_is_understood():
    found = request(
        *("--task_name=MRPC,RTE", "--seeds=1,2,3", "--set", "learning_rate=1e-5,2e-5", "--gpus=8", "--gpus_per_run=1"),
        *("--", "--model_dir=m", "--train_step=5", "--nopack_sequences", "--use_xla"),
    )
    assert found.run_flags == {"model_dir": "m", "train_step": "5", "pack_sequences": "false", "use_xla": "true"}
    assert found.grid == ("learning_rate=1e-05,2e-05",)
    assert (seeds_of(found.seeds), task_names(found.task_name)) == ((1, 2, 3), ("MRPC", "RTE"))


def test_a_sweep_varies_weight_decay_and_schedule():
    grid = ("--set", "weight_decay=0,1e-2", "--set", "lr_scheduler_type=linear,cosine")
    found = request("--task_name=MRPC", *grid, "--", "--max_grad_norm=0")
    assert found.grid == ("weight_decay=0.0,0.01", "lr_scheduler_type=linear,cosine")
    flags = {"weight_decay": "0.0", "lr_scheduler_type": "cosine", "max_grad_norm": "0"}
    needed = {
        "task_name": "MRPC",
        "data_dir": "d",
        "output_dir": "o",
        "model_dir": str(SAMPLE_DATA / "albert_tiny"),
        "do_train": "true",
    }
    parsed = parsed_run("run_multigpus_classifier", needed | flags)
    assert (parsed.settings.train.weight_decay, parsed.settings.train.max_grad_norm) == (0.0, 0.0)
    assert {name: parsed.deciding[name] for name in flags} == flags | {"max_grad_norm": "0.0"}


@pytest.mark.parametrize("flag", [flag for flag in SWEEP.flags if flag.kind is bool], ids=lambda flag: flag.name)
@pytest.mark.parametrize("form", ["--{}", "--no{}", "-{}", "--{}=true"])
def test_a_flag_that_the_sweep_has_is_its_own_where_nothing_parts_them(flag, form):
    argument = form.format(flag.name)
    assert of_sweep_and_runs(["--log_steps", "2", argument, "--use_xla"]) == (
        [argument],
        ["--log_steps", "2", "--use_xla"],
    )


def test_values_stay_behind_their_flags():
    of_sweep, of_runs = of_sweep_and_runs(["--set", "a=1", "--nopack_sequences", "-h", "--seed", "-1", "--gpus", "2"])
    assert (of_sweep, of_runs) == (["--set", "a=1", "-h", "--gpus", "2"], ["--nopack_sequences", "--seed", "-1"])


def test_all_tasks_are_those_that_train_on_rows_of_their_own():
    assert task_names("all") == ("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI")


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("MRPC",), "unexpected argument 'MRPC'"),
        (("--", "MRPC"), "'MRPC' behind --"),
        (("--", "--learning_rat=1"), "no flag --learning_rat"),
        (("--", "--learning_rate"), "--learning_rate behind -- has no value"),
        (("--", "--dry_run"), "--dry_run is a flag of the sweep: give it in front of --"),
        (("--learning_rate=1",), "--learning_rate is a flag of the runs: give it behind --"),
        (("--nopack_sequences",), "--pack_sequences is a flag of the runs: give it behind --"),
        (("--seed=1",), "--seed is set by the sweep: use --seeds"),
        (("--set", "data_dir=a,b"), "--data_dir names data: runs on other data are another sweep"),
        (("--trials=5",), "--trials is for --search=random or --search=tpe"),
        (("--gpus=1", "--gpus_per_run=2"), "--gpus_per_run=2 is more than --gpus=1"),
        (("--", "--seed=1"), "--seed is set by the sweep: use --seeds"),
        (("--", "--output_dir=x"), "--output_dir is set by the sweep: use --output_dir of the sweep"),
        (("--", "--overwrite_output_dir"), "--overwrite_output_dir is set by the sweep"),
        (("--", "--nodo_train"), "--do_train is set by the sweep"),
        (("--", "--strategy_type=multi_worker"), "whose runs are one process each"),
        (("--set", "seed=1,2"), "--seed is set by the sweep"),
        (("--set", "learning_rat=1,2"), "the runs have no flag --learning_rat"),
        (("--set", "learning_rate"), "give values, as learning_rate=VALUE,VALUE"),
        (("--set", ""), "--set= is empty; give a value, or leave the flag out"),
        (("--set", "", "--set", "learning_rate"), "leave the flag out; --set learning_rate: give values"),
        (("--search=random", "--space="), "--space= is empty; give a value"),
        (("--set", "learning_rate=1e-5,x"), "--set learning_rate=1e-5,x: x is not a number"),
        (("--set", "learning_rate=1e-5,,2e-5"), "--set learning_rate=1e-5,,2e-5: a value is empty"),
        (("--set", "strategy_type=mirror,multi_worker"), "whose runs are one process each"),
        (("--set", "learning_rate=1e-5,0.00001"), "has a value twice"),
        (("--space", "learning_rate=log:1e-5:1e-4"), "--space is for --search=random"),
        (("--search=random",), "--search=random needs --space"),
        (("--search=tpe", "--space=learning_rate=log:1e-5:1e-4", "--from_mnli"), "--from_mnli is not for --search=tpe"),
        (("--search=tpe", "--space=learning_rate=log:1e-5:1e-4", "--launcher=slurm"), "--launcher=slurm does not wait"),
        (("--search=tpe", "--space=learning_rate=log:1e-5:1e-4", "--dry_run"), "--dry_run"),
        (("--max_runs=0",), "--max_runs=0 must be at least 1"),
        (("--report=best",), "--report=best is unknown; known are mean, median"),
    ],
)
def test_what_is_wrong_is_said_before_anything_begins(flags, problem):
    with pytest.raises(UserError, match=re.escape(problem)):
        request(*flags)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (
            ("--task_name=MRPC", "--seeds=1,x"),
            "--seeds=1,x are not whole numbers with commas between them, as 1,2,3: 'x' is none",
        ),
        (("--task_name=MRPC", "--seeds=1,9223372036854775808"), "9223372036854775808 must be"),
        (("--task_name=MRPC,",), "--task_name=MRPC, has a comma without a task beside it"),
        (("--task_name=MRPC", "--seeds=1,1"), "--seeds=1,1 names a seed twice"),
        (("--task_name=MRPC,mrpc",), "--task_name=MRPC,mrpc names MRPC twice"),
        (("--task_name=misMNLI",), "--task_name=misMNLI is not trained: name MNLI"),
        (("--task_name=nonsense",), "nonsense is not a task"),
        (("--task_name=MRPC", "--from_mnli"), "--from_mnli needs MNLI"),
        ((), "--task_name must be given, or own data"),
        (("--task_name=MRPC", "--set=learning_rate=1", "--set=learning_rate=2"), "learning_rate is given twice"),
        (("--task_name=MRPC", "--set=warmup_step=1,900"), "--warmup_step=900 is more than --train_step=800"),
        (("--task_name=MRPC", "--gpus_per_run=2"), "--gpus_per_run=2, but no GPU is used"),
        (("--task_name=MRPC", "--cpus_per_run=4000"), "--cpus_per_run=4000, but this process may use"),
        (("--task_name=MRPC", "--gpus=4000"), "--gpus=4000, but 0 are visible"),
    ],
)
def test_what_is_wrong_with_tasks_and_machines_is_said_before_the_first_run(tmp_path, monkeypatch, flags, problem):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_toy_glue(tmp_path / "data")
    with pytest.raises(UserError) as raised:
        conduct(tmp_path, sweep_command(tmp_path, *flags))
    assert problem in SWEEP.in_flags(str(raised.value))
    assert not (tmp_path / "sweep").exists()
    assert not list((tmp_path / "sweep").rglob("starts"))


def test_a_message_names_flags_of_the_run_that_has_them(tmp_path):
    write_toy_glue(tmp_path / "data")
    argv = sweep_command(tmp_path, "--task_name=MRPC", "--seeds=1", runs=["--train_batch_size=0"])
    with pytest.raises(UserError, match="--train_batch_size=0 must be at least 1"):
        conduct(tmp_path, argv)


def test_help_is_printed_without_anything_else():
    with pytest.raises(HelpRequested, match="-- FLAGS OF EVERY RUN"):
        parse_sweep_flags(["sweep", "--help"])


def commands(tmp_path, capsys, *flags: str, runs: tuple[str, ...]) -> list[str]:
    argv = ["sweep", f"--output_dir={tmp_path / 'sweep'}", "--gpus=0", "--seeds=1", "--dry_run", *flags, "--", *runs]
    from albert.cli.sweep import parsed_run

    Sweep(parse_sweep_flags(argv), parsed_run, command_of).run()
    return capsys.readouterr().out.splitlines()


def test_own_data_squad_and_race_are_swept_by_their_programs(tmp_path, capsys, testdata):
    model = f"--model_dir={SAMPLE_DATA / 'albert_tiny'}"
    table = tmp_path / "my tickets.csv"
    table.write_text("text,label\n" + "".join(f"row {number},{'ab'[number % 2]}\n" for number in range(40)))
    (line,) = commands(tmp_path, capsys, runs=(model, f"--train_file={table}"))
    assert "albert.run_multigpus_classifier " in line
    assert "sweep/own_my_tickets/recipe/seed1" in line
    assert "--do_predict=false" in line  # there is no test file
    assert "--task_name" not in line
    inputs = testdata / "earlier_runs/inputs"
    own = (f"--data_dir={inputs}", "--train_file=dev.json", "--predict_file=dev.json", "--max_seq_length=128")
    (line,) = commands(tmp_path, capsys, "--task_name=squadv2.0", runs=(model, *own))
    assert "albert.run_multigpus_squad_v2 " in line
    assert "--do_predict" not in line
    for split in ("train", "dev"):
        shutil.copytree(testdata / "race/RACE/dev", tmp_path / "RACE" / split)
    (line,) = commands(tmp_path, capsys, "--task_name=race", runs=(model, f"--data_dir={tmp_path}"))
    assert "albert.run_multigpus_race " in line


def test_the_model_may_be_the_folder_that_the_sweep_is_called_in(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(SAMPLE_DATA / "albert_tiny")
    table = tmp_path / "rows.csv"
    table.write_text("text,label\n" + "".join(f"row {number},{'ab'[number % 2]}\n" for number in range(40)))
    (line,) = commands(tmp_path, capsys, runs=("--model_dir=.", f"--train_file={table}"))
    assert "--model_dir=. " in line


def test_flags_of_runs_may_have_their_value_behind_them():
    found = request("--task_name=MRPC", "--", "--learning_rate", "1e-5", "--pack_sequences", "--train_step", "5")
    assert found.run_flags == {"learning_rate": "1e-5", "pack_sequences": "true", "train_step": "5"}
    with pytest.raises(UserError) as raised:
        request("--task_name=MRPC", "--", "--learning_rat", "1e-5")
    assert str(raised.value) == "the runs have no flag --learning_rat: did you mean --learning_rate?"


def test_a_wrong_space_is_one_problem():
    with pytest.raises(UserError) as raised:
        request("--search=random", "--space", "learning_rate=log:0:1")
    assert str(raised.value) == "--space=learning_rate=log:0:1 needs LOW below HIGH, both above 0"


def test_a_value_behind_that_a_setting_replaces_is_named(caplog):
    caplog.set_level("INFO")
    request("--set=learning_rate=1e-5,2e-5", "--", "--learning_rate=3e-5")
    assert "--set learning_rate takes the place of --learning_rate=3e-5." in caplog.text


def test_runs_on_own_data_predict_a_test_file_whose_contents_count(tmp_path):
    for name in ("rows.csv", "test.csv"):
        (tmp_path / name).write_text("text,label\n" + "".join(f"{name} {n},{'ab'[n % 2]}\n" for n in range(40)))
    runs = [f"--model_dir={SAMPLE_DATA / 'albert_tiny'}", f"--train_file={tmp_path / 'rows.csv'}"]
    test_file = f"--test_file={tmp_path / 'test.csv'}"
    flags = ((), runs), ((), [*runs, test_file]), (("--nodo_predict",), [*runs, test_file])
    found = [find_tasks(request(*own, "--", *of_runs), parsed_run)[0] for own, of_runs in flags]
    assert [(task.predicts, task.flags["do_predict"]) for task in found] == [
        (False, "false"), (True, "true"), (False, "false"),
    ]  # fmt: skip
    assert found[0].data_digest == found[2].data_digest != found[1].data_digest
    (tmp_path / "test.csv").write_text("text,label\nother,a\n")
    assert find_tasks(request("--", *runs, test_file), parsed_run)[0].data_digest != found[1].data_digest


@pytest.mark.parametrize(
    ("flags", "metric", "lower"),
    [([], "pearson", False), (["--metric_for_best_model=rmse"], "rmse", True)],
)
def test_runs_on_own_data_are_compared_by_the_metric_that_chooses_their_checkpoints(tmp_path, flags, metric, lower):
    rows = "".join(f"text {number} of them,{number % 7}.5\n" for number in range(60))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    model = [f"--model_dir={SAMPLE_DATA / 'albert_tiny'}", f"--train_file={tmp_path / 'rows.csv'}"]
    [task] = find_tasks(request("--", *model, *flags), parsed_run)
    assert (task.score_metrics, task.lower_is_better) == ((metric,), lower)


def test_scores_of_glue_are_glues_whatever_chooses_checkpoints(tmp_path):
    write_toy_glue(tmp_path / "data")
    flags = sweep_command(tmp_path, "--task_name=STS-B", runs=["--metric_for_best_model=MSE"])
    [task] = find_tasks(parse_sweep_flags(flags), parsed_run)
    assert task.task.lower_is_better  # for the live line, and the best checkpoint
    assert (task.score_metrics, task.lower_is_better) == (("pearson", "spearman"), False)


def test_what_programs_of_runs_say_names_their_flags(tmp_path):
    with pytest.raises(UserError, match=r"own data as --train_file among the flags of the runs"):
        sweep(request())


def test_a_flag_that_one_of_the_programs_lacks_names_the_program(tmp_path):
    argv = ["--task_name=SQuAD1.1", "--", "--train_step=5", f"--model_dir={SAMPLE_DATA / 'albert_tiny'}"]
    words = (
        r"^albert\.run_multigpus_squad_v1: unknown flag --train_step: did you mean --num_train_epochs \(in epochs\)\?"
    )
    with pytest.raises(UserError, match=words):
        find_tasks(request(*argv), parsed_run)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--train-file=x", "--output_dir=a", "--", "--train_file=b"],
            "--train-file: did you mean --train_file, which",
        ),
        (["--learning-rate=1", "--output_dir=a"], "--learning-rate: did you mean --learning_rate, which comes behind"),
        (["--no_cuda", "--output_dir=a"], "--no_cuda: did you mean --device=cpu"),
        (["--task_name=MRPC", "--output_dir=a", "--", "--no_cuda"], "no flag --no_cuda: did you mean --device=cpu"),
    ],
)
def test_a_name_of_others_is_looked_up_whole(argv, words):
    with pytest.raises(UserError, match=words):
        parse_sweep_flags(["sweep", *argv])


def test_own_data_are_looked_at_once_for_all_settings_unless_they_change(tmp_path, monkeypatch):
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(40)))
    looks = []
    monkeypatch.setattr(build, "survey", lambda *arguments: looks.append(1) or survey(*arguments))
    flags = {"model_dir": str(SAMPLE_DATA / "albert_tiny"), "train_file": str(rows), "do_train": "true"}

    def parse(rate: str, **others: str):
        own = {"learning_rate": rate, "output_dir": str(tmp_path / rate)}
        return parsed_run("run_multigpus_classifier", flags | own | others)

    with sharing_tasks():
        first, second = parse("1e-5").task, parse("2e-5").task
        assert (len(looks), first) == (1, second)
        parse("1e-5", max_train_samples="8")
        assert len(looks) == 2
        rows.write_text(rows.read_text() + "another,c\n")
        assert (parse("1e-5").task.output.names, len(looks)) == (("a", "b", "c"), 3)
    parse("1e-5")
    assert len(looks) == 4
