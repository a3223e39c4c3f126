"""What is told before TensorFlow is imported. Needs no TensorFlow."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from albert.albert_config import AlbertConfig
from albert.cli.fine_tuning import parse_classifier_flags
from albert.cli.pretraining import parse_pretraining_flags
from albert.errors import UserError
from albert.runs.preflight import check_fine_tuning, check_pretraining, identity_of_optimisation
from albert.settings import Settings
from albert.tasks.base import Task

ROOT = Path(__file__).parents[2]
TINY = ROOT / "sample_data/albert_tiny"


def parsed(folder: Path, *flags: str) -> tuple[Task, Settings]:
    given = [f"--output_dir={folder / 'out'}", f"--data_dir={ROOT / 'sample_data/glue_data'}", f"--model_dir={TINY}"]
    return parse_classifier_flags(["program", "--do_train", "--task_name=agreement", *given, *flags])


def check(folder: Path, *flags: str) -> None:
    check_fine_tuning(*parsed(folder, *flags))


def leave_run(folder: Path, **parts: object) -> None:
    (folder / "out").mkdir()
    (folder / "out/eval_results.txt").touch()
    (folder / "out/run_settings.json").write_text(json.dumps(parts))


def test_nothing_is_said_of_a_run_that_begins(tmp_path):
    check(tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--max_seq_length=9999"], "`max_seq_length`=9999, but the model of "),
        (
            ["--data_dir=/nowhere"],
            "/nowhere/Agreement/train.tsv cannot be read (No such file or directory): task agreement reads",
        ),
    ],
)
def test_what_does_not_fit_the_model_or_is_not_there_is_told(tmp_path, flags, said):
    with pytest.raises(UserError) as caught:
        check(tmp_path, *flags)
    assert str(caught.value).startswith(said)


def test_workers_hear_of_missing_data_from_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}')
    check(tmp_path, "--data_dir=/nowhere", "--strategy_type=multi_worker")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], ""),
        (["--learning_rate=0.5", "--seed=3"], "`learning_rate` is 5e-05 there and 0.5 here; `seed` is 42 there and 3"),
        (["--weight_decay=0.2"], "`weight_decay` is 0.01 there and 0.2 here"),
        (["--max_seq_length=64"], "`max_seq_length` is 128 there and 64 here"),
        (["--train_batch_size=2", "--log_steps=7"], ""),
        (["--learning_rate=0.5", "--overwrite_output_dir"], ""),
        (["--nodo_train", "--do_eval", "--learning_rate=0.5"], ""),
    ],
)
def test_another_run_in_the_folder_is_told_by_what_is_known(tmp_path, flags, said):
    common = ("--train_step=8", "--warmup_step=0", "--learning_rate=5e-5", "--max_seq_length=128")
    _, settings = parsed(tmp_path, *common)
    config = AlbertConfig.from_json_file(TINY / "albert_config.json").to_dict()
    model = {"task": "agreement", "albert_config": config, "max_seq_length": 128, "dtype": "float32"}
    training = identity_of_optimisation(settings.train) | {"data_sha256": "0", "global_batch_size": 4}
    leave_run(tmp_path, model=model, training=training)
    if not said:
        check(tmp_path, *common, *flags)
        return
    with pytest.raises(UserError) as caught:
        check(tmp_path, *common, *flags)
    assert str(caught.value).startswith(f"`output_dir`={tmp_path / 'out'} holds another run: {said}")


def test_a_training_under_a_constant_of_before_is_told_from_one_that_chose_another(tmp_path):
    leave_run(tmp_path, training=identity_of_optimisation(parsed(tmp_path, "--weight_decay=0.2")[1].train))
    with pytest.raises(UserError, match=r"holds another run: `weight_decay` is 0\.2 there and "):
        check(tmp_path)


def pretraining_flags(folder: Path, *flags: str) -> Sequence[str]:
    files = [f"--input_file={TINY / 'albert_config.json'}", f"--albert_config_file={TINY / 'albert_config.json'}"]
    return ["program", *files, f"--output_dir={folder / 'out'}", "--do_train", *flags]


def test_pretraining_is_checked_as_well(tmp_path):
    check_pretraining(parse_pretraining_flags(pretraining_flags(tmp_path)))
    with pytest.raises(UserError, match=r"^`max_seq_length`=9999, but the model of "):
        check_pretraining(parse_pretraining_flags(pretraining_flags(tmp_path, "--max_seq_length=9999")))


def test_a_vocabulary_that_is_larger_than_the_model_is_told(tmp_path):
    config = json.loads((TINY / "albert_config.json").read_text())
    (tmp_path / "albert_config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    said = r"^.*7k\.model has \d+ pieces, but vocab_size in .*albert_config\.json is 100\. Use two that belong together"
    with pytest.raises(UserError, match=said):
        check(tmp_path, f"--albert_config_file={tmp_path / 'albert_config.json'}")
