"""What --recipe sets, and that a flag which is given wins. No TensorFlow."""

import logging

import pytest

from albert.cli.fine_tuning import parse_classifier_flags, parse_race_flags, parse_squad_flags
from albert.errors import UserError
from albert.settings import Settings
from albert.tasks.recipes import recipe_for
from albert.testing import SAMPLE_DATA, TESTDATA

GIVEN = ["--output_dir=o", "--data_dir=d", "--spm_model_file=s", "--do_train"]
TINY = f"--albert_config_file={SAMPLE_DATA / 'albert_tiny/albert_config.json'}"
OWN_SIZE = f"--albert_config_file={TESTDATA / 'agreement/albert_config.json'}"


def _classifier(*flags: str) -> Settings:
    return parse_classifier_flags(["program", *GIVEN, TINY, "--task_name=MRPC", *flags])[1]


def test_without_the_flag_a_recipe_changes_nothing():
    train = _classifier().train
    assert (train.train_steps, train.learning_rate, train.per_replica_batch_size) == (1000, 5e-5, 32)


def test_the_recipe_fills_what_is_not_given(caplog):
    caplog.set_level(logging.INFO)
    recipe = recipe_for("mrpc", "tiny")
    settings = _classifier("--recipe", "--learning_rate=3e-5", "--warmup_step=1")
    train = settings.train
    assert (train.train_steps, train.save_checkpoints_steps) == (recipe.train_steps, recipe.save_checkpoints_steps)
    assert settings.data.max_seq_length == recipe.max_seq_length
    assert (train.learning_rate, train.warmup_steps) == (3e-5, 1)
    [line] = [record.getMessage() for record in caplog.records]
    assert f"--train_step={recipe.train_steps}" in line
    assert "learning_rate" not in line
    assert "warmup_step" not in line


def test_a_default_that_is_given_wins_too():
    assert _classifier("--recipe", "--train_step=1000").train.train_steps == 1000


@pytest.mark.parametrize(
    ("flags", "replicas", "batch"),
    [
        ([], 1, (32, 1)),
        (["--num_gpu_cores=4"], 4, (8, 1)),
        (["--num_gpu_cores=8", "--strategy_type=one"], 1, (32, 1)),
        (["--num_gpu_cores=2", "--gradient_accumulation_steps=4"], 2, (4, 4)),
        (["--num_gpu_cores=2", "--train_batch_size=5"], 2, (5, 1)),
    ],
)
def test_the_batch_of_the_recipe_is_that_of_all_replicas(caplog, flags, replicas, batch):
    train = _classifier("--recipe", *flags).train
    assert (train.per_replica_batch_size, train.gradient_accumulation_steps) == batch
    assert train.global_batch_size(replicas) in (32, 10)
    assert not caplog.records


def test_a_batch_that_cannot_be_divided_is_rounded_up_with_a_warning(caplog):
    assert _classifier("--recipe", "--num_gpu_cores=3").train.global_batch_size(3) == 33
    assert "33 examples a step: the recipe's 32 cannot be divided" in caplog.text


def test_squad_and_race_have_recipes_too():
    squad, race = recipe_for("squad2.0", None), recipe_for("race", None)
    argv = ["program", *GIVEN, OWN_SIZE, "--recipe"]
    task, settings = parse_squad_flags([*argv, "--train_file=t"], "2.0")
    assert (settings.train.num_train_epochs, settings.train.train_steps) == (squad.num_train_epochs, None)
    assert (settings.train.global_batch_size(1), task.dropout_prob) == (squad.global_batch_size, squad.dropout_prob)
    task, settings = parse_race_flags(argv)
    assert (settings.train.train_steps, settings.train.learning_rate) == (race.train_steps, race.learning_rate)
    assert settings.model.albert_dropout_prob == race.albert_dropout_prob


def test_what_stands_in_the_way_of_a_recipe_is_reported_with_the_rest():
    argv = ["program", *GIVEN, "--recipe", "--seed=x"]
    with pytest.raises(UserError, match=r"--seed=x .*--albert_config_file=nowhere cannot be read"):
        parse_classifier_flags([*argv, "--task_name=mrpc", "--albert_config_file=nowhere"])
    with pytest.raises(UserError, match=r"--seed=x .*there is no recipe for task ax"):
        parse_classifier_flags([*argv, "--task_name=ax", TINY])
    with pytest.raises(UserError, match=r"--albert_config_file must be given"):
        parse_classifier_flags([*argv, "--task_name=mrpc"])
