"""The bounds of settings: what is allowed, and that the setting and the value are named when it is not."""

import dataclasses
from pathlib import Path

import pytest

from albert.cli.fine_tuning import CLASSIFIER
from albert.cli.pretraining import RUN_PRETRAINING
from albert.testing import GOOD_SETTINGS


def _problems(**changes: object) -> list[str]:
    """Of GOOD_SETTINGS with the given fields changed, wherever they are."""
    settings = GOOD_SETTINGS
    for name, value in changes.items():
        parts = [part for part in ("data", "model", "train") if hasattr(getattr(settings, part), name)]
        if parts:
            changed = {parts[0]: dataclasses.replace(getattr(settings, parts[0]), **{name: value})}
        else:
            changed = {name: value}
        settings = dataclasses.replace(settings, **changed)
    return settings.problems()


def test_the_global_batch_is_the_local_one_times_the_replicas():
    assert GOOD_SETTINGS.train.global_batch_size(8) == 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_seq_length", 3),
        ("albert_dropout_prob", 0.0),
        ("albert_dropout_prob", 0.999),
        ("warmup_steps", 0),
        ("warmup_steps", 10),
        ("keep_checkpoint_max", 0),
        ("learning_rate", 1e30),
        ("learning_rate", 1.2e-38),
        ("train_steps", 2**31 - 1),
        ("seed", -(2**63)),
        ("num_train_epochs", 1e6),
        ("num_replicas", 256),
        ("spm_model_file", Path("other")),
    ],
)
def test_the_edge_of_what_is_allowed_is_allowed(name, value):
    assert _problems(**{name: value}) == []


@pytest.mark.parametrize("folder", [".", "/", ".."])
def test_features_are_in_files(folder):
    problem = [f"{folder} is a folder, but features are in a file: name one"]
    assert _problems(feature_files={"train": Path(folder)}) == problem
    assert _problems(left_file=Path(folder)) == problem


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"max_seq_length": 2}, "--max_seq_length=2 must be at least 3 ([CLS], one token, [SEP])"),
        (
            {"spm_model_file": None},
            "--spm_model_file (or --vocab_file for a WordPiece model) is missing, or --model_dir, which has it",
        ),
        ({"albert_dropout_prob": 1.0}, "--albert_dropout_prob=1.0 must be in [0, 1)"),
        ({"albert_dropout_prob": float("nan")}, "--albert_dropout_prob=nan must be in [0, 1)"),
        ({"dtype": "float16"}, "--dtype=float16 is unknown; known are float32, bfloat16, auto"),
        ({"train_steps": 0, "warmup_steps": 0}, "--train_step=0 must be at least 1"),
        ({"warmup_steps": -1}, "--warmup_step=-1 must be at least 0"),
        ({"warmup_steps": 11}, "--warmup_step=11 is more than --train_step=10"),
        ({"per_replica_batch_size": 0}, "--train_batch_size=0 must be at least 1"),
        ({"save_checkpoints_steps": 0}, "--save_checkpoints_steps=0 must be at least 1"),
        ({"keep_checkpoint_max": -1}, "--keep_checkpoint_max=-1 must be at least 0"),
        ({"log_steps": 0}, "--log_steps=0 must be at least 1"),
        ({"skip_nonfinite_steps": -1}, "--skip_nonfinite_steps=-1 must be at least 0"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0 must be above 0"),
        ({"learning_rate": float("nan")}, "--learning_rate=nan must be above 0"),
        # As float32: infinite, and 0.
        ({"learning_rate": 1e39}, "--learning_rate=1e+39 must be at most 1e+30"),
        ({"learning_rate": float("inf")}, "--learning_rate=inf must be at most 1e+30"),
        ({"learning_rate": 1e-60}, "--learning_rate=1e-60 must be above 0"),
        ({"learning_rate": 1e-40}, "--learning_rate=1e-40 must be above 0"),
        ({"weight_decay": -0.01}, "--weight_decay=-0.01 must be in [0, 1e+30]"),
        ({"weight_decay": 1e-60}, "--weight_decay=1e-60 must be 0 or at least 1.17549e-38"),
        ({"max_grad_norm": -1.0}, "--max_grad_norm=-1.0 must be in [0, 1e+30]"),
        # Not 0, which is no clipping: as float32 it would be.
        ({"max_grad_norm": 1e-40}, "--max_grad_norm=1e-40 must be 0 or at least 1.17549e-38"),
        ({"adam_beta1": 1.0}, "--adam_beta1=1.0 must be in [0, 1)"),
        ({"adam_beta2": 1 - 1e-9}, "--adam_beta2=0.999999999 must be in [0, 1)"),
        ({"adam_epsilon": 0.0}, "--adam_epsilon=0.0 must be above 0"),
        (
            {"lr_scheduler_type": "polynomial"},
            "--lr_scheduler_type=polynomial is unknown; known are linear, cosine, constant",
        ),
        ({"albert_dropout_prob": 1e-60}, "--albert_dropout_prob=1e-60 must be 0 or at least 1.17549e-38"),
        ({"albert_dropout_prob": 1 - 1e-9}, "--albert_dropout_prob=0.999999999 must be in [0, 1)"),
        ({"train_steps": 2**31}, "--train_step=2147483648 must be at most 2147483647"),
        ({"seed": 2**63}, f"--seed={2**63} must be in [-{2**63}, {2**63 - 1}]"),
        ({"num_replicas": 257}, "--num_gpu_cores=257 must be at most 256"),
        ({"num_replicas": 0}, "--num_gpu_cores=0 must be at least 1"),
        ({"per_replica_eval_batch_size": 0}, "--eval_batch_size=0 must be at least 1"),
        ({"per_replica_predict_batch_size": -5}, "--predict_batch_size=-5 must be at least 1"),
        ({"do_train": False}, "nothing to do: add --do_train, --do_eval or --do_predict"),
    ],
)
def test_beyond_the_edge_the_flag_and_its_value_are_named(changes, problem):
    assert [CLASSIFIER.in_flags(found) for found in _problems(**changes)] == [problem]


def test_a_problem_names_the_field_and_each_program_its_flag():
    [problem] = _problems(warmup_steps=11)
    assert problem == "`warmup_steps`=11 is more than `train_steps`=10"
    assert CLASSIFIER.in_flags(problem) == "--warmup_step=11 is more than --train_step=10"
    assert RUN_PRETRAINING.in_flags(problem) == "--num_warmup_steps=11 is more than --num_train_steps=10"
    # Backquotes around anything else are the user's own.
    assert CLASSIFIER.in_flags("label `maybe` of `seed`") == "label `maybe` of --seed"


def test_epochs_are_rounded_up_to_steps_of_the_global_batch():
    # 100 examples x 3 epochs in steps of 4 x 2 x 2 = 16: 18.75.
    train = dataclasses.replace(
        GOOD_SETTINGS.train,
        train_steps=None,
        num_train_epochs=3.0,
        warmup_proportion=0.1,
        gradient_accumulation_steps=2,
    )
    resolved = train.in_steps(num_examples=100, num_replicas=2)
    assert (resolved.train_steps, resolved.warmup_steps) == (19, 1)
    assert GOOD_SETTINGS.train.in_steps(100, 2) is GOOD_SETTINGS.train


@pytest.mark.parametrize(
    ("examples", "epochs", "batch", "steps", "rounded"),
    [(100, 1.1, 10, 11, 12), (3668, 2.3, 4, 2110, 2110), (100, 0.07, 1, 7, 8), (3, 1e-9, 10, 1, 1), (9, 2, 3, 6, 6)],
)
def test_epochs_are_counted_without_a_rounding_error(examples, epochs, batch, steps, rounded):
    train = dataclasses.replace(
        GOOD_SETTINGS.train, train_steps=None, num_train_epochs=epochs, per_replica_batch_size=batch, warmup_steps=0
    )
    assert train.in_steps(examples, 1).train_steps == steps
    assert train.in_steps(examples, 1, lambda: False).train_steps == rounded  # as before


def test_the_field_in_the_documentation_is_one_of_the_settings():
    root = Path(__file__).parents[2]
    text = (root / "docs/extending.md").read_text(encoding="utf-8")
    example = text.partition("```python\nkeep_checkpoint_max")[2].partition("```")[0]
    assert "".join(example.split()) in "".join((root / "albert/settings/run.py").read_text(encoding="utf-8").split())
    assert example
