"""What --recipe sets, and that a flag which is given wins. No TensorFlow."""

import dataclasses
import json
import logging
import re

import pytest

from albert.cli.fine_tuning import parse_classifier_flags, parse_race_flags, parse_squad_flags
from albert.errors import UserError
from albert.serving.description import DESCRIPTION, ModelDescription
from albert.settings import Settings
from albert.tasks.recipes import recipe_for
from albert.tasks.squad.task import SquadTask
from albert.testing import SAMPLE_DATA, TESTDATA

# Warm-up, steps and batch of the recipe of "agreement".
NEW = (200, 350, 64)
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


def test_without_training_the_recipe_is_told_as_far_as_it_matters(caplog):
    caplog.set_level(logging.INFO)
    settings = _classifier("--recipe", "--nodo_train", "--do_eval")
    assert settings.train.learning_rate == recipe_for("mrpc", "tiny").learning_rate  # as of the run that trained
    _classifier("--recipe", "--nodo_train", "--do_eval", "--max_seq_length=64")
    assert caplog.messages == ["From the recipe of mrpc for a model of tiny size: --max_seq_length=128"]


def test_a_default_that_is_given_wins_too():
    assert _classifier("--recipe", "--train_step=1000").train.train_steps == 1000


def test_fewer_steps_than_a_recipes_warm_up_keep_its_share():
    # MRPC of the tiny model: 344 steps, 34 of them warm-up.
    assert [
        _classifier("--recipe", f"--train_step={steps}").train.warmup_steps for steps in (1000, 34, 33, 1)
    ] == [34, 34, 3, 0]  # fmt: skip
    with pytest.raises(UserError, match="--warmup_step=9 is more than --train_step=8"):
        _classifier("--recipe", "--train_step=8", "--warmup_step=9")
    train = _classifier("--recipe", "--train_step=8", "--warmup_proportion=0.5").train
    assert (train.warmup_steps, train.warmup_proportion) == (0, 0.5)


@pytest.mark.parametrize(
    ("flags", "recorded", "expected"),
    [
        ((), (50, 32), (50, 600, 32)),
        ((), None, NEW),  # until there is a checkpoint, nothing of a run is kept
        (("--overwrite_output_dir",), (50, 32), NEW),
        (("--train_batch_size=8",), (50, 8), (50, 600, 8)),
        (("--train_step=88",), (50, 64), (50, 88, 64)),  # fewer steps than the warm-up of today's recipe
        (("--task_name=MRPC",), (50, 32), (34, 344, 32)),
        ((), (60, 32), NEW),  # a difference, which is named
        ((), ([], "32"), NEW),
        ((), "unreadable", NEW),
        ((), "directory", NEW),
    ],
)
def test_a_run_keeps_the_recipe_that_it_began_with(tmp_path, flags, recorded, expected):
    record = tmp_path / "run_settings.json"
    if recorded == "directory":
        record.mkdir()
    else:
        training = dict(zip(("warmup_steps", "global_batch_size"), recorded or (50, 32), strict=False))
        record.write_text(json.dumps({"training": training} if recorded != "unreadable" else []))
    if recorded is not None:
        (tmp_path / "model.ckpt-100.index").touch()
    train = _classifier("--recipe", "--task_name=agreement", f"--output_dir={tmp_path}", *flags).train
    assert (train.warmup_steps, train.train_steps, train.global_batch_size(1)) == expected


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


def test_training_lasts_steps_or_epochs():
    train = _classifier("--num_train_epochs=1.5", "--warmup_proportion=0.1").train
    assert (train.train_steps, train.num_train_epochs, train.warmup_proportion) == (None, 1.5, 0.1)
    # 100 examples x 1.5 epochs in steps of 32: 4.7.
    in_steps = train.in_steps(100, 1)
    assert (in_steps.train_steps, in_steps.warmup_steps) == (5, 0)
    train = _classifier("--train_step=50", "--warmup_proportion=0.1").train.in_steps(100, 1)
    assert (train.train_steps, train.warmup_steps) == (50, 5)
    train = _classifier("--num_train_epochs=10", "--warmup_step=7").train.in_steps(100, 1)
    assert (train.train_steps, train.warmup_steps) == (32, 7)
    with pytest.raises(UserError, match=r"^`warmup_steps`=7 is more than the 4 steps of `num_train_epochs`=1"):
        _classifier("--num_train_epochs=1", "--warmup_step=7").train.in_steps(100, 1)


def test_steps_and_epochs_exclude_each_other():
    with pytest.raises(UserError) as raised:
        _classifier("--train_step=5", "--num_train_epochs=3", "--warmup_step=1", "--warmup_proportion=0.1")
    assert str(raised.value) == (
        "--train_step and --num_train_epochs exclude each other: give one; "
        "--warmup_step and --warmup_proportion exclude each other: give one"
    )


def test_a_recipe_of_steps_keeps_its_share_of_warm_up_where_epochs_are_given(caplog):
    caplog.set_level(logging.INFO)
    recipe = recipe_for("mrpc", "tiny")
    train = _classifier("--recipe", "--num_train_epochs=2").train
    assert (train.train_steps, train.num_train_epochs, train.warmup_steps) == (None, 2, 0)
    assert train.warmup_proportion == pytest.approx(recipe.warmup_steps / recipe.train_steps, abs=1e-4)
    assert train.learning_rate == recipe.learning_rate
    assert "--train_step" not in caplog.text
    train = _classifier("--recipe", "--num_train_epochs=2", "--warmup_step=3").train
    assert (train.warmup_steps, train.warmup_proportion) == (3, 0)
    train = _classifier("--recipe", "--warmup_proportion=0.5").train
    assert (train.train_steps, train.warmup_steps, train.warmup_proportion) == (recipe.train_steps, 0, 0.5)


def test_what_does_not_fit_the_task_is_reported_with_the_rest():
    with pytest.raises(UserError) as raised:
        _classifier("--seed=x", "--metric_for_best_model=rmse", "--class_weights=none.json")
    assert re.fullmatch(
        "--seed=x is not a whole number; --class_weights=none.json cannot be read .*; give none, balanced, or .*; "
        "--metric_for_best_model=rmse does not fit task mrpc: use one of accuracy, .*",
        str(raised.value),
    )


def test_early_stopping_needs_evaluations():
    with pytest.raises(UserError, match=r"^--early_stopping_patience=2 needs --do_eval$"):
        _classifier("--early_stopping_patience=2")
    with pytest.raises(UserError, match=r"^--early_stopping_threshold=0.1 needs --early_stopping_patience above 0$"):
        _classifier("--early_stopping_threshold=0.1", "--do_eval")
    train = _classifier("--early_stopping_patience=2", "--early_stopping_threshold=0.1", "--do_eval").train
    assert (train.early_stopping_patience, train.early_stopping_threshold) == (2, 0.1)


def test_squad_and_race_have_recipes_too():
    squad, race = recipe_for("squad2.0", None), recipe_for("race", None)
    argv = ["program", *GIVEN, OWN_SIZE, "--recipe"]
    task, settings = parse_squad_flags([*argv, "--train_file=t"], "2.0")
    assert (settings.train.num_train_epochs, settings.train.train_steps) == (squad.num_train_epochs, None)
    assert (settings.train.global_batch_size(1), task.dropout_prob) == (squad.global_batch_size, squad.dropout_prob)
    task, settings = parse_race_flags(argv)
    assert (settings.train.train_steps, settings.train.learning_rate) == (race.train_steps, race.learning_rate)
    assert settings.model.albert_dropout_prob == race.albert_dropout_prob


def test_the_threshold_of_a_model_that_only_answers_is_the_one_that_was_tuned_for_it(tmp_path):
    task = SquadTask(version="2.0")
    description = ModelDescription("squad2.0", task.output, (), 384, True, False, "0" * 64, "float32", {})
    for name, threshold in (("model", -1.5), ("out", 2.0)):
        (tmp_path / name).mkdir()
        said = dataclasses.replace(description, options=task.options({"null_score_diff_threshold": threshold}))
        (tmp_path / name / DESCRIPTION).write_text(said.to_json())
    shared = ["program", "--data_dir=d", "--spm_model_file=s", OWN_SIZE, "--predict_file=p", "--train_file=t"]
    shared += [f"--init_checkpoint={tmp_path}/model", "--max_seq_length=384"]

    def known(*flags: str) -> float | None:
        return parse_squad_flags([*shared, *flags], "2.0")[0].known_threshold

    assert known("--do_predict", f"--output_dir={tmp_path}/new") == -1.5
    assert known("--do_predict", f"--output_dir={tmp_path}/out") == -1.5
    assert known("--do_train", f"--output_dir={tmp_path}/new") is None
    (tmp_path / "out/model.ckpt-best.index").touch()  # which is used then
    assert known("--do_predict", f"--output_dir={tmp_path}/out") == 2.0
    (tmp_path / "model" / DESCRIPTION).write_text("damaged")
    assert known("--do_predict", f"--output_dir={tmp_path}/new") is None


def test_what_prevents_a_recipe_is_reported_with_the_rest():
    argv = ["program", *GIVEN, "--recipe", "--seed=x"]
    with pytest.raises(UserError, match=r"--seed=x .*--albert_config_file=nowhere cannot be read"):
        parse_classifier_flags([*argv, "--task_name=mrpc", "--albert_config_file=nowhere"])
    with pytest.raises(UserError, match=r"--seed=x .*there is no recipe for task ax"):
        parse_classifier_flags([*argv, "--task_name=ax", TINY])
    with pytest.raises(UserError, match=r"--albert_config_file must be given"):
        parse_classifier_flags([*argv, "--task_name=mrpc"])
