"""The command line as the predecessor had it, parsed strictly. Needs no TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from albert.flags import HelpRequested, all_flag_names, parse_classifier_flags
from albert.settings import Settings, UserError

REQUIRED = ["--data_dir=d", "--task_name=MRPC", "--output_dir=o", "--albert_config_file=c", "--spm_model_file=s"]

# Flag, a value that is not the default, where it ends up in the settings, and as what.
VALUES = (
    ("strategy_type", "one", "strategy_type", "one"),
    ("num_gpu_cores", "8", "num_replicas", 8),
    ("device", "cpu", "device", "cpu"),
    ("data_dir", "other", "data.data_dir", Path("other")),
    ("cached_dir", "other", "data.cached_dir", Path("other")),
    ("task_name", "RTE", "data.task_name", "RTE"),
    ("output_dir", "other", "output_dir", Path("other")),
    ("max_seq_length", "128", "data.max_seq_length", 128),
    ("train_step", "5336", "train.train_steps", 5336),
    ("warmup_step", "320", "train.warmup_steps", 320),
    ("train_batch_size", "2", "train.per_replica_batch_size", 2),
    ("eval_batch_size", "3", "per_replica_eval_batch_size", 3),
    ("predict_batch_size", "4", "per_replica_predict_batch_size", 4),
    ("learning_rate", "1e-5", "train.learning_rate", 1e-5),
    ("optimizer", "lamb", "train.optimizer", "lamb"),
    ("albert_dropout_prob", "0.1", "model.albert_dropout_prob", 0.1),
    ("albert_config_file", "other", "model.albert_config_file", Path("other")),
    ("init_checkpoint", "m/model.ckpt-best", "model.init_checkpoint", Path("m/model.ckpt-best")),
    ("vocab_file", "v.txt", "data.vocab_file", Path("v.txt")),
    ("spm_model_file", "other", "data.spm_model_file", Path("other")),
    ("save_checkpoints_steps", "100", "train.save_checkpoints_steps", 100),
    ("keep_checkpoint_max", "0", "train.keep_checkpoint_max", 0),
    ("log_steps", "7", "train.log_steps", 7),
    ("seed", "-1", "train.seed", -1),
    ("dtype", "bfloat16", "model.dtype", "bfloat16"),
    ("gradient_accumulation_steps", "4", "train.gradient_accumulation_steps", 4),
    ("profile_steps", "10,20", "speed.profile_steps", (10, 20)),
)
BOOLEANS = (
    ("do_train", "do_train"),
    ("do_eval", "do_eval"),
    ("do_predict", "do_predict"),
    ("do_lower_case", "data.do_lower_case"),
    ("discard_classifier_weights", "model.discard_classifier_weights"),
    ("overwrite_output_dir", "overwrite_output_dir"),
    ("pack_sequences", "speed.pack_sequences"),
    ("use_xla", "speed.use_xla"),
    ("recompute_activations", "speed.recompute_activations"),
)
ALL_FLAGS = [row[0] for row in VALUES + BOOLEANS]


def _parse(*arguments: str) -> Settings:
    return parse_classifier_flags(["program", *REQUIRED, "--do_eval", *arguments])


def _at(settings: Settings, place: str) -> object:
    for name in place.split("."):
        settings = getattr(settings, name)
    return settings


@pytest.mark.parametrize(("flag", "text", "place", "value"), VALUES)
def test_a_flag_takes_its_value_after_an_equals_sign_or_a_space(flag, text, place, value):
    assert _at(_parse(f"--{flag}={text}"), place) == value
    assert _at(_parse(f"--{flag}", text), place) == value
    assert _at(_parse(), place) != value


@pytest.mark.parametrize(("flag", "place"), BOOLEANS)
def test_a_boolean_is_set_by_its_name_and_cleared_by_no(flag, place):
    for argument, expected in (("{}", True), ("no{}", False), ("{}=true", True), ("{}=False", False), ("{}=1", True)):
        settings = parse_classifier_flags(
            ["program", *REQUIRED, "--do_train", "--do_eval", "--do_predict", f"--{argument.format(flag)}"]
        )
        assert _at(settings, place) is expected, argument


def test_the_last_of_two_values_counts():
    # The run script relies on it: flags after its own replace them.
    assert _parse("--seed=1", "--seed=2").train.seed == 2


def test_every_flag_is_tested_here():
    names = {name for name in all_flag_names() if f"no{name}" in all_flag_names() or not name.startswith("no")}
    assert names - {"help", "h", "flagfile", "undefok"} == set(ALL_FLAGS)
    assert {"nodo_train", "nohelp"} <= all_flag_names()


def test_the_home_directory_may_be_written_as_a_tilde():
    assert _parse("--data_dir=~/glue_data").data.data_dir == Path.home() / "glue_data"


def test_what_is_not_given_has_the_default_that_the_help_promises():
    settings = _parse()
    assert settings.data.cached_dir == Path("cached_albert_tfrecord")
    assert (settings.train.train_steps, settings.train.warmup_steps, settings.train.optimizer) == (1000, 0, "adamw")
    assert settings.model.albert_dropout_prob is None  # the configuration file's rates
    assert (settings.num_replicas, settings.strategy_type, settings.device) == (1, "mirror", "auto")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--trian_step=5", "trian_step"),
        ("--notrain_step", "notrain_step"),
        ("--train_ste=5", "train_ste"),
        ("--train_step=many", "train_step.*many"),
        ("--train_step=1.5", r"train_step.*1\.5"),
        ("--learning_rate=fast", "learning_rate.*fast"),
        ("--do_train=maybe", "do_train.*maybe"),
        ("--optimizer=sgd", "optimizer.*sgd.*adamw.*lamb"),
        ("--dtype=float16", "dtype.*float16.*float32.*bfloat16"),
        ("--profile_steps=10", "--profile_steps=10 must be two step numbers, as 10,20"),
        ("--profile_steps=a,b", "--profile_steps=a,b must be two step numbers"),
        ("--strategy_type=tpu", "strategy_type.*tpu.*one.*mirror"),
        ("--seed", "seed"),
        ("true", "unexpected argument 'true'"),
        ("--flagfile=/nowhere/flags", "/nowhere/flags"),
    ],
)
def test_what_cannot_be_parsed_is_named_in_one_line(argument, message):
    with pytest.raises(UserError, match=message) as raised:
        _parse(argument)
    assert "\n" not in str(raised.value)


def test_all_problems_are_told_together():
    with pytest.raises(UserError) as raised:
        parse_classifier_flags(["program", "--task_name=MRPC", "--train_step=0", "--learning_rate=nan"])
    for part in (
        "--data_dir, --output_dir, --albert_config_file must be given",
        "nothing to do: add --do_train, --do_eval or --do_predict",
        "--spm_model_file",
        "--train_step=0 must be at least 1",
        "--learning_rate=nan must be above 0",
    ):
        assert part in str(raised.value)


def test_an_empty_path_is_a_missing_one():
    # As a script passes it when a variable is empty.
    assert _parse("--init_checkpoint=").model.init_checkpoint is None
    with pytest.raises(UserError, match="--data_dir must be given"):
        _parse("--data_dir=")


@pytest.mark.parametrize("spelling", ["--help", "-h"])
def test_help_lists_every_flag_whatever_else_is_missing(spelling):
    with pytest.raises(HelpRequested) as raised:
        parse_classifier_flags(["program", spelling])
    for flag in ALL_FLAGS:
        assert f"--{flag}:" in str(raised.value) or f"--[no]{flag}:" in str(raised.value)


def test_help_neither_imports_tensorflow_nor_minds_a_reader_that_stops():
    code = (
        "import sys; from albert.run_multigpus_classifier import cli; code = cli(['program', '--help']); "
        "sys.exit(99 if 'tensorflow' in sys.modules else code)"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False, cwd=root)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (0, b"")
