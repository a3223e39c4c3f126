"""Which programs the demo runs, with which flags; sample_data/demo_test.py runs it in earnest."""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from albert import demo
from albert.albert_config import AlbertConfig
from albert.cli import demo as demo_options
from albert.cli.fine_tuning import parse_classifier_flags
from albert.cli.program import main
from albert.cli.variables import FLAG_VARIABLES
from albert.demo import Devices
from albert.errors import UserError
from albert.serving.model_files import find_vocabulary
from albert.system.signals import Interrupted
from albert.tasks.recipes import model_size_of

ROOT = Path(__file__).parent.parent


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, dict[str, str]]]:
    """Every program that was run, and its flags; the programs themselves do nothing but make their output."""
    made: list[tuple[str, dict[str, str]]] = []

    def noted(name):
        def cli(argv):
            given = dict(word.removeprefix("--").split("=", 1) for word in argv[1:])
            made.append((name, given))
            for flag in ("output", "output_file"):
                if flag in given:
                    Path(given[flag]).parent.mkdir(parents=True, exist_ok=True)
                    Path(given[flag]).touch()
            if "output_dir" in given:
                Path(given["output_dir"]).mkdir(parents=True, exist_ok=True)
                (Path(given["output_dir"]) / "eval_results.txt").write_text(
                    "Seed = 42\nbest = 0.9\nbest accuracy = 0.95 at step 3\n"
                )
            return 0

        return cli

    for name in ("run_multigpus_classifier", "prepare_corpus", "create_pretraining_data", "run_pretraining"):
        monkeypatch.setattr(getattr(demo, name), "cli", noted(name))
    monkeypatch.setattr(Devices, "found", classmethod(lambda cls: cls("cpu", 2)))
    return made


def run(*words: str) -> None:
    demo.run(demo.parse(["demo_albert", *words]))


@pytest.mark.parametrize("words", [(), ("finetuning",), ("finetuning", "-t", "sample"), ("-m", "tiny")])
def test_fine_tunes_the_bundled_task_unless_told_otherwise(calls, tmp_path, capsys, words):
    run(*words, *(("finetuning",) if not words else ()), "-o", str(tmp_path / "out"))
    ((program, given),) = calls
    assert program == "run_multigpus_classifier"
    assert (given["task_name"], given["num_gpu_cores"]) == ("agreement", "2")
    assert capsys.readouterr().out.startswith("\nbest accuracy = 0.95 at step 3\nResults:  ")
    _, settings = parse_classifier_flags(["demo", *(f"--{name}={value}" for name, value in given.items())])
    assert settings.data.spm_model_file.is_file()
    assert settings.train.global_batch_size(settings.num_replicas) == 64
    assert (settings.data.max_seq_length, settings.train.train_steps, settings.train.warmup_steps) == (32, 350, 200)


def test_further_flags_may_shorten_the_bundled_task(calls, tmp_path):
    run("-o", str(tmp_path), "--train_step=100")
    _, settings = parse_classifier_flags(["demo", *(f"--{name}={value}" for name, value in calls[0][1].items())])
    assert (settings.train.train_steps, settings.train.warmup_steps) == (100, 57)


def test_options_become_flags_and_further_flags_are_handed_on(calls, tmp_path):
    run("finetuning", "-d", "bf16", "-b", "8", "-l", "24", "-c", "5", "-o", str(tmp_path), "--seed=3")
    ((_, given),) = calls
    expected = {"dtype": "bfloat16", "train_batch_size": "4", "max_seq_length": "24", "save_checkpoints_steps": "5"}
    assert expected.items() <= given.items()
    assert given["seed"] == "3"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "3"], "--epochs 3: write --num_train_epochs=3 (./demo_albert help)"),
        (["-t", "squad", "--epochs", "3"], "--epochs 3: the option is -e 3 (./demo_albert help)"),
        (["pretraining", "--num-steps", "3"], "--num-steps 3: the option is -s 3 (./demo_albert help)"),
        (["--log_steps", "3"], "--log_steps 3: a flag has its value behind =, as --log_steps=3 (./demo_albert help)"),
        (["finetuning", "MRPC"], "MRPC is not known (./demo_albert help)"),
        (["TASK=MRPC"], "TASK=MRPC: a variable goes in front: TASK=MRPC ./demo_albert ... (./demo_albert help)"),
        (["-e", "3"], "-e 3 is for -t squad: write --num_train_epochs=3 here"),
    ],
)
def test_an_option_under_another_name_is_answered_with_its_own(words, said):
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        demo_options.parse(["demo", *words])


def test_a_run_without_a_folder_gets_one_of_its_own(calls, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    monkeypatch.delenv("OUTPUT_DIR", raising=False)
    run("finetuning")
    assert Path(calls[0][1]["output_dir"]).parent == tmp_path / "demo_output"


def test_pretraining_goes_from_text_to_records_to_a_run(calls, tmp_path):
    run("pretraining", "-s", "40", "-o", str(tmp_path))
    assert [program for program, _ in calls] == ["create_pretraining_data"] * 2 + ["run_pretraining"]
    (_, train), (_, held_out), (_, given) = calls
    assert train["random_seed"] != held_out["random_seed"]
    assert Path(train["input_file"]).name == "pretraining_text.txt"
    assert (given["input_file"], given["eval_input_file"]) == (train["output_file"], held_out["output_file"])
    assert (given["num_train_steps"], given["train_batch_size"]) == ("40", "16")
    calls.clear()
    run("pretraining", "-s", "40", "-o", str(tmp_path))
    assert [program for program, _ in calls] == ["run_pretraining"], "existing records are not made again"


def test_pretraining_on_a_folder_of_books_splits_them_first(calls, tmp_path):
    (tmp_path / "books").mkdir()
    (tmp_path / "books/one.txt").write_text("A text.\n")
    run("pretraining", "-i", str(tmp_path / "books"), "-o", str(tmp_path / "out"), "-d", "bf16")
    assert [program for program, _ in calls] == [
        "prepare_corpus",
        *["create_pretraining_data"] * 2,
        "run_pretraining",
    ]
    assert calls[0][1]["input"] == str(tmp_path / "books" / "*.txt")
    assert calls[1][1]["input_file"] == calls[0][1]["output"]
    assert calls[3][1]["dtype"] == "bfloat16"
    for _, given in calls[1:]:
        assert (given["max_seq_length"], given["max_predictions_per_seq"]) == ("32", "5")


def test_a_text_that_changed_is_not_passed_over_for_the_records_of_before(calls, tmp_path):
    text, words = tmp_path / "one.txt", ("pretraining", "-i", str(tmp_path / "one.txt"), "-o", str(tmp_path / "out"))
    text.write_text("A text.\n")
    for _ in range(2):
        run(*words)
    assert [program for program, _ in calls].count("prepare_corpus") == 1
    text.write_text("Another text.\n")
    with pytest.raises(UserError, match=r"one\.txt: the text is not the one that .*corpus\.txt was made of.* with -o"):
        run(*words)
    (note,) = tmp_path.glob("out/data/*/corpus.txt.made_of")
    note.unlink()  # as earlier versions left it
    run(*words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-t", "MRPC", "-m", "tiny", "-b", "8"), {"TASK": "MRPC", "BS": "4", "NUM_GPUS": "2", "DEVICE": "cpu"}),
        (("-t", "squad", "-l", "384", "-e", "2"), {"MSL": "384", "EPOCH": "2.0"}),
    ],
)
def test_other_tasks_go_through_the_scripts_that_know_their_recipes(calls, monkeypatch, words, expected):
    ran = []
    monkeypatch.setattr(demo.os, "execve", lambda *call: ran.append(call))
    monkeypatch.delenv("LR", raising=False)
    run("finetuning", *words)
    ((path, arguments, environment),) = ran
    script = Path(path).name
    assert arguments == [str(path)]
    assert script == ("multi_run_albert_squad.sh" if "squad" in words else "multi_run_albert_glue.sh")
    assert expected.items() <= environment.items()
    assert "LR" not in environment, "the recipe of the model's size has a rate"
    config = AlbertConfig.from_json_file(Path(environment["MODEL_DIR"]) / "albert_config.json")
    assert model_size_of(config.hidden_size) == "tiny"
    assert Path(find_vocabulary(Path(environment["MODEL_DIR"]))[0]).is_file()
    assert (Path(environment["MODEL_DIR"]) / "model.ckpt-best.index").is_file()
    assert calls == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("finetuning", "-d", "fp64"), "fp64"),
        (("finetuning", "-m", "huge"), "huge"),
        (("finetuning", "-b", "0"), "0"),
        (("finetuning", "-b", "3"), "-b 3"),
        (("pretraining", "-b", "1000000"), "-b: 1000000 is more than 999999"),
        (("finetuning", "-t", "MRPC", "-m", "xxlarge"), "download_pretrained_models.sh xxlarge"),
        (("pretraining", "-t", "bookswiki"), "bookswiki"),
        (("pretraining", "-t", "overfit", "-i", "x"), "not allowed with"),
        (("finetuning", "-s", "24"), "-s is the number of steps of pretraining; -l is"),
        (("pretraining", "-l", "24"), "-l"),
        (("tuning",), "tuning"),
        (("finetuning", "x"), "x"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(calls, words, named):
    with pytest.raises(UserError, match=named.replace(".", r"\.")) as caught:
        run(*words)
    assert "\n" not in str(caught.value)
    assert calls == []


def test_messages_of_programs_name_the_options(monkeypatch, capsys):
    monkeypatch.setattr(Devices, "found", classmethod(lambda cls: cls("cpu", 2)))
    monkeypatch.setenv(FLAG_VARIABLES, "seed=SEED")
    with pytest.raises(SystemExit) as stop:
        run("finetuning", "-l", "1", "-c", "5", "--save_checkpoints_steps=0")
    assert stop.value.code == 2
    said = capsys.readouterr().err.splitlines()[-2:]
    assert {" ".join(line.split()[:4]) for line in said} == {
        "error: -l 1 must", "error: --save_checkpoints_steps=0 must be"
    }  # fmt: skip
    assert os.environ[FLAG_VARIABLES] == "seed=SEED"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        # Each of the two replicas has half of it; the split has 6,000 rows.
        (("finetuning", "-b", "30000"), "-b 30000 on 2 replicas needs 30000 examples a step"),
        (("finetuning", "-b", "30000"), "has 6000. Set -b to 6000 or less."),
        (("finetuning", "-b", "4", "--train_batch_size=0"), "--train_batch_size=0 must be"),
        (("finetuning", "-l", "9999"), "has 512 positions. Lower -l."),
        (("pretraining", "-b", "3"), "-b 3 sequences cannot be divided"),
        (("pretraining", "-s", "10", "-w", "20"), "-w 20 is more than -s 10"),
        (("pretraining", "--optimzer=lamb"), "unknown flag --optimzer: did you mean --optimizer?"),
    ],
)
def test_messages_of_programs_have_the_numbers_of_the_options(monkeypatch, capsys, tmp_path, words, message):
    monkeypatch.setattr(Devices, "found", classmethod(lambda cls: cls("cpu", 2)))
    begun = []  # the mistake is found before data are read, which may take hours
    monkeypatch.setattr(demo.create_pretraining_data, "cli", begun.append)
    try:
        code = demo.cli(["demo_albert", *words, "-o", str(tmp_path / "out")])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not begun


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (
            (),
            {"EPOCHS": "2"},
            ["EPOCHS=2 has no effect on ./demo_albert finetuning: write --num_train_epochs=2 behind it"],
        ),
        (
            ("pretraining",),
            {"STEPS": "9"},
            ["STEPS=9 has no effect on ./demo_albert pretraining: write -s 9 behind it"],
        ),
        (
            (),
            {"BS": "8", "LR": "1"},
            [
                "BS=8 has no effect on ./demo_albert finetuning: write -b 8 behind it",
                "LR=1 has no effect on ./demo_albert finetuning: write --learning_rate=1 behind it",
            ],
        ),
        ((), {"TRAIN_FILE": "a.csv"}, ["TRAIN_FILE=a.csv has no effect on ./demo_albert finetuning"]),
    ],
)
def test_variables_that_have_no_effect_are_refused(monkeypatch, calls, words, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as refused:
        run(*words)
    assert list(refused.value.problems) == said
    assert not calls


def test_variables_that_other_programs_have_are_warned_of_and_flags_win(monkeypatch, capsys):
    monkeypatch.setenv("SEED", "3")
    monkeypatch.setenv("LR", "1")
    demo.parse(["demo_albert", "--learning_rate=2"])
    assert "SEED=3 has no effect on ./demo_albert finetuning: write --seed=3" in capsys.readouterr().err
    demo.parse(["demo_albert", "-t", "MRPC"])  # by a script, which reads them
    assert capsys.readouterr().err == ""


def test_messages_of_scripts_name_the_options_too(monkeypatch):
    ran = []
    monkeypatch.setattr(demo.os, "execve", lambda *call: ran.append(call))
    monkeypatch.setattr(Devices, "found", classmethod(lambda cls: cls("cpu", 2)))
    run("-t", "MRPC", "-l", "384", "-b", "8")
    assert ran[0][2]["ALBERT_DEMO_OPTIONS"] == "BS=-b:2 TASK=-t MSL=-l"


def options_by_letter(command: str) -> dict[str, str]:
    """Option -> what it sets, of those that the help lists."""
    (commands,) = (action for action in demo_options.demo_parser()._actions if action.dest == "command")
    actions = [action for action in commands.choices[command]._actions if action.help != argparse.SUPPRESS]
    return {name: action.dest for action in actions for name in action.option_strings}


def test_a_letter_has_one_meaning_in_both_commands():
    finetuning, pretraining = (options_by_letter(command) for command in ("finetuning", "pretraining"))
    assert {"-t", "-l", "-e"} <= finetuning.keys()
    assert {"-t", "-i", "-s", "-w"} <= pretraining.keys()
    common = finetuning.keys() & pretraining.keys()
    assert {name: finetuning[name] for name in common} == {name: pretraining[name] for name in common}


@pytest.mark.parametrize("words", [["help"], ["-help"], ["--help"], ["finetuning", "--help"], ["pretraining", "-h"]])
def test_help_needs_no_package_that_is_not_pythons_own(words):
    # -S: without site-packages; -s, -E: without the user's.
    command = [sys.executable, "-S", "-s", "-m", "albert.cli.demo", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ./demo_albert")


def test_help_lists_both_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        demo.parse(["demo_albert", "help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "finetuning" in text
    assert "pretraining" in text


# Interrupted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [130, 143, 129, 2])
@pytest.mark.parametrize("words", [(), ("pretraining", "-s", "40"), ("-d", "bf16", "--seed=3")])
def test_an_interrupted_run_names_the_command_that_continues_it(calls, monkeypatch, tmp_path, capsys, words, code):
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    monkeypatch.setattr(demo.Model, "check", lambda self: None)
    monkeypatch.delenv("OUTPUT_DIR", raising=False)
    program = "run_pretraining" if "pretraining" in words else "run_multigpus_classifier"
    monkeypatch.setattr(getattr(demo, program), "cli", lambda argv: code)
    with pytest.raises(SystemExit) as stop:
        run(*words, "--overwrite_output_dir")
    assert stop.value.code == code
    said = capsys.readouterr().err
    if code == 2:
        assert said == ""
        return
    command = shlex.split(said.removeprefix("Continue with: "))
    assert command[0] == str(tmp_path / "demo_albert")
    again = demo.parse(command)
    assert again.output.parent == tmp_path / "demo_output"
    first = demo.parse(["demo_albert", *words])
    assert {**vars(again), "output": None, "words": None} == {**vars(first), "output": None, "words": None}


@pytest.mark.parametrize("words", [(), ("-o", "out")])
def test_only_the_demo_says_how_an_interrupted_run_continues(monkeypatch, tmp_path, capsys, words):
    def stopped(_settings):
        raise Interrupted("stopped after step 3 of 350, which is saved", signal.SIGINT)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Devices, "found", classmethod(lambda cls: cls("cpu", 2)))
    monkeypatch.setattr(demo.run_multigpus_classifier, "cli", lambda argv: main(argv, lambda argv: argv, stopped))
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 130
    said, named = capsys.readouterr().err.splitlines()
    assert said == "stopped after step 3 of 350, which is saved."
    assert named.startswith("Continue with: ")
    assert " -o " in named
    assert demo.run_multigpus_classifier.cli([]) == 130  # called by anybody else
    assert "; the same command continues" in capsys.readouterr().err


def test_a_named_folder_is_named_once(calls, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(demo.ROOT)
    monkeypatch.setattr(demo.run_multigpus_classifier, "cli", lambda argv: 130)
    with pytest.raises(SystemExit):
        run("-o", str(tmp_path))
    assert capsys.readouterr().err == f"Continue with: ./demo_albert finetuning -o {tmp_path}\n"


@pytest.mark.training
def test_the_named_command_continues_an_interrupted_demo(tmp_path):
    environment = {**os.environ, "DEVICE": "cpu", "OUTPUT_DIR": str(tmp_path / "out")}
    log = tmp_path / "out" / "training_log.jsonl"
    # A stop is seen between two checkpoints, so after 4 steps at most.
    flags = ["-b", "4", "-c", "4", "--train_step=24", "--warmup_step=5", "--do_eval=false", "--do_predict=false"]
    flags += ["--strategy_type=one", "--pack_sequences=false"]  # quick to compile
    first = subprocess.Popen(
        [ROOT / "demo_albert", *flags], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while first.poll() is None and not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=120)
    finally:
        first.kill()
    assert first.returncode == 130, said
    label, _, command = said.splitlines()[-1].partition(": ")
    assert (label, command.split()[0]) == ("Continue with", "./demo_albert")
    before = log.read_text().splitlines()
    assert 0 < len(before) < 24
    del environment["OUTPUT_DIR"]
    done = subprocess.run(
        shlex.split(command), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "out") in done.stdout
    after = log.read_text().splitlines()
    assert [json.loads(line)["step"] for line in after] == list(range(1, 25))
    assert after[: len(before)] == before
