"""Which programs the demo runs, with which flags; sample_data/demo_test.py runs it in earnest."""

from pathlib import Path

import pytest

from albert import demo
from albert.cli.fine_tuning import parse_classifier_flags
from albert.demo import Devices
from albert.errors import UserError


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
                (Path(given["output_dir"]) / "eval_results.txt").write_text("eval_accuracy = 0.95\n")
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
    assert (given["task_name"], given["num_gpu_cores"], given["train_batch_size"]) == ("agreement", "2", "16")
    assert "eval_accuracy = 0.95" in capsys.readouterr().out
    _, settings = parse_classifier_flags(["demo", *(f"--{name}={value}" for name, value in given.items())])
    assert settings.data.spm_model_file.is_file()
    assert settings.train.global_batch_size(settings.num_replicas) == 32


def test_options_become_flags_and_further_flags_are_handed_on(calls, tmp_path):
    run("finetuning", "-d", "bf16", "-b", "8", "-s", "24", "-c", "5", "-o", str(tmp_path), "--seed=3")
    ((_, given),) = calls
    expected = {"dtype": "bfloat16", "train_batch_size": "4", "max_seq_length": "24", "save_checkpoints_steps": "5"}
    assert expected.items() <= given.items()
    assert given["seed"] == "3"


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
    assert [program for program, _ in calls] == ["run_pretraining"], "what is there is not made again"


def test_pretraining_on_a_folder_of_books_splits_them_first(calls, tmp_path):
    (tmp_path / "books").mkdir()
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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-t", "MRPC", "-m", "tiny", "-b", "8"), {"TASK": "MRPC", "BS": "4", "NUM_GPUS": "2", "DEVICE": "cpu"}),
        (("-t", "squad", "-s", "384", "-e", "2"), {"MSL": "384", "EPOCH": "2.0"}),
    ],
)
def test_other_tasks_go_through_the_scripts_that_know_their_recipes(calls, monkeypatch, words, expected):
    ran = []

    def fake_run(command, env, check):
        ran.append((Path(command[0]).name, env))
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(demo.subprocess, "run", fake_run)
    monkeypatch.delenv("LR", raising=False)
    run("finetuning", *words)
    ((script, environment),) = ran
    assert script == ("multi_run_albert_squad.sh" if "squad" in words else "multi_run_albert_glue.sh")
    assert expected.items() <= environment.items()
    assert environment["LR"] == "0.0001", "the recipes' rates are for Google's models"
    assert Path(environment["SPM_MODEL"]).is_file()
    assert (Path(environment["MODEL_DIR"]) / "model.ckpt-best.index").is_file()
    assert calls == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("finetuning", "-d", "fp64"), "fp64"),
        (("finetuning", "-m", "huge"), "huge"),
        (("finetuning", "-b", "0"), "0"),
        (("finetuning", "-b", "3"), "-b 3"),
        (("finetuning", "-t", "MRPC", "-m", "xxlarge"), "download_pretrained_models.sh xxlarge"),
        (("pretraining", "-t", "bookswiki"), "bookswiki"),
        (("pretraining", "-t", "overfit", "-i", "x"), "not allowed with"),
        (("tuning",), "tuning"),
        (("finetuning", "x"), "x"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(calls, words, named):
    with pytest.raises(UserError, match=named.replace(".", r"\.")) as caught:
        run(*words)
    assert "\n" not in str(caught.value)
    assert calls == []


def test_help_lists_both_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        demo.parse(["demo_albert", "help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "finetuning" in text
    assert "pretraining" in text
