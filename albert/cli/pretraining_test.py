"""What the flags of run_pretraining mean, and what is said of those that cannot work. No TensorFlow."""

from pathlib import Path

import pytest

from albert.cli.pretraining import RUN_PRETRAINING, parse_pretraining_flags
from albert.errors import UserError
from albert.settings import PretrainingSettings


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two files of records to train on, and one to evaluate on; nothing is in them."""
    for name in ("train-0", "train-1", "dev"):
        (tmp_path / name).touch()
    return tmp_path


def _parse(folder: Path, *arguments: str) -> PretrainingSettings:
    given = {
        "--input_file": folder / "train-*",
        "--albert_config_file": folder / "albert_config.json",
        "--output_dir": folder / "out",
    }
    return parse_pretraining_flags(["program", *(f"{name}={value}" for name, value in given.items()), *arguments])


def test_defaults_are_upstreams(folder):
    settings = _parse(folder)
    train = settings.train
    assert settings.do_train
    assert not settings.do_eval
    assert settings.data.input_files == (folder / "train-0", folder / "train-1")
    assert (settings.data.max_seq_length, settings.data.max_predictions_per_seq) == (512, 20)
    assert (train.train_steps, train.warmup_steps, train.start_warmup_step) == (125000, 3125, 0)
    assert (train.optimizer, train.learning_rate, train.poly_power) == ("lamb", 0.00176, 1.0)
    assert train.global_batch_size(1) == 4096
    assert train.save_checkpoints_steps == 5000


def test_the_same_bits_in_every_run_are_asked_for_as_in_fine_tuning(folder):
    assert not _parse(folder).speed.deterministic
    assert _parse(folder, "--deterministic").speed.deterministic


@pytest.mark.parametrize(
    ("flags", "replicas", "per_replica"),
    [
        (["--num_gpu_cores=2", "--gradient_accumulation_steps=4"], 2, 16),
        (["--num_gpu_cores=8"], 8, 16),
        # One device, however many are named.
        (["--num_gpu_cores=8", "--strategy_type=one"], 1, 128),
    ],
)
def test_the_batch_is_that_of_a_step_and_divided(folder, flags, replicas, per_replica):
    train = _parse(folder, "--train_batch_size=128", *flags).train
    assert train.per_replica_batch_size == per_replica
    assert train.global_batch_size(replicas) == 128


def test_a_batch_that_cannot_be_divided_is_refused_with_what_can(folder):
    with pytest.raises(UserError, match=r"--train_batch_size=100 .* over 8 replicas x 4 .*: give a multiple of 32"):
        _parse(folder, "--train_batch_size=100", "--num_gpu_cores=8", "--gradient_accumulation_steps=4")


def test_the_number_of_sequences_evaluated_does_not_depend_on_replicas(folder):
    flags = ["--do_eval", f"--eval_input_file={folder / 'dev'}", "--eval_batch_size=10", "--max_eval_steps=7"]
    settings = _parse(folder, *flags, "--num_gpu_cores=4", "--train_batch_size=64")
    assert settings.data.max_eval_records == 70
    assert settings.per_replica_eval_batch_size == 3


def test_what_is_wrong_is_reported_once_and_as_it_was_given(folder):
    flags = ["--train_batch_size=4", "--gradient_accumulation_steps=8", "--eval_batch_size=-5", "--num_gpu_cores=2"]
    flags += ["--do_eval", f"--eval_input_file={folder / 'gone'}"]
    with pytest.raises(UserError) as caught:
        _parse(folder, *flags)
    text = str(caught.value)
    assert "--train_batch_size=4 sequences cannot be divided over 2 replicas x 8 micro-batches a step" in text
    assert "--eval_batch_size=-5 must be at least 1" in text
    assert "--do_eval needs" not in text
    assert text.count("train_batch_size") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--do_eval"], "--do_eval needs --eval_input_file: records that are not trained on"),
        (["--nodo_train"], "nothing to do: add --do_train or --do_eval$"),
        (
            ["--masked_lm_budget=0.1"],
            "--masked_lm_budget=0.1 is not supported: pieces are masked when records are made",
        ),
        (["--init_from_group0"], "--init_from_group0 needs --init_checkpoint"),
        (["--num_train_steps=10"], "--num_warmup_steps=3125 is more than --num_train_steps=10"),
        (["--poly_power=0"], "--poly_power=0.0 must be above 0"),
        (
            ["--poly_power=2", "--lr_scheduler_type=cosine"],
            "--poly_power=2 is for --lr_scheduler_type=linear, not cosine",
        ),
        (["--weight_decay=-1"], "--weight_decay=-1.0 must be in [0, 1e+30]"),
        (["--start_warmup_step=-1"], "--start_warmup_step=-1 must be at least 0"),
        (["--max_eval_steps=0"], "--max_eval_steps=0 must be at least 1"),
        (["--train_batch_size=0"], "--train_batch_size=0 must be at least 1"),
        (["--gradient_accumulation_steps=0"], "--gradient_accumulation_steps=0 must be at least 1"),
        (["--num_gpu_cores=0"], "--num_gpu_cores=0 must be at least 1"),
        (["--eval_input_file=gone-*"], "--eval_input_file: no file matches 'gone-*'"),
    ],
)
def test_what_cannot_work_is_said(folder, flags, message):
    with pytest.raises(UserError) as raised:
        _parse(folder, *flags)
    text = str(raised.value)
    assert text.endswith(message[:-1]) if message.endswith("$") else message in text


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(UserError) as raised:
        parse_pretraining_flags(["program", "--input_file=gone", "--poly_power=-1", "--do_eval"])
    for part in ("--albert_config_file, --output_dir must be given", "'gone'", "--poly_power", "--eval_input_file"):
        assert part in str(raised.value)


def test_the_original_flags_are_all_there():
    # Upstream's run_pretraining, without its flags for TPUs.
    upstreams = (
        *("albert_config_file", "input_file", "output_dir", "init_checkpoint", "max_seq_length", "do_train", "do_eval"),
        *("max_predictions_per_seq", "train_batch_size", "eval_batch_size", "optimizer", "learning_rate", "poly_power"),
        *("num_train_steps", "num_warmup_steps", "start_warmup_step", "save_checkpoints_steps", "max_eval_steps"),
        *("keep_checkpoint_max", "init_from_group0", "masked_lm_budget"),
    )
    names = {flag.name for flag in RUN_PRETRAINING.flags}
    assert set(upstreams) <= names
    assert {"eval_input_file", "strategy_type", "num_gpu_cores", "gradient_accumulation_steps"} <= names
