"""The recipe table: the values of its sources, and the same global batch on any number of replicas."""

import dataclasses
import subprocess
import sys

import pytest

from albert.errors import UserError
from albert.tasks.recipes import MODEL_SIZES, Recipe, model_size_of, recipe_for
from albert.tasks.registry import get_task


@pytest.mark.parametrize(
    # The ALBERT authors' run_glue.sh.
    ("task", "rate", "steps", "warmup", "batch", "dropout"),
    [
        ("CoLA", 1e-5, 5336, 320, 16, 0.0),
        ("SST-2", 1e-5, 20935, 1256, 32, 0.0),
        ("MRPC", 2e-5, 800, 200, 32, 0.0),
        ("STS-B", 2e-5, 3598, 214, 16, 0.0),
        ("QQP", 5e-5, 14000, 1000, 128, 0.1),
        ("MNLI", 3e-5, 10000, 1000, 128, 0.0),
        ("misMNLI", 3e-5, 10000, 1000, 128, 0.0),
        ("QNLI", 1e-5, 33112, 1986, 32, 0.0),
        ("RTE", 3e-5, 800, 200, 32, 0.1),
        ("WNLI", 2e-5, 2000, 250, 16, 0.1),
    ],
)
def test_the_published_sizes_have_the_authors_recipes(task, rate, steps, warmup, batch, dropout):
    expected = Recipe(
        learning_rate=rate,
        train_steps=steps,
        warmup_steps=warmup,
        global_batch_size=batch,
        albert_dropout_prob=dropout,
        max_seq_length=128,
        save_checkpoints_steps=200 if task == "QNLI" else 100,
    )
    assert {recipe_for(task, size) for size in (None, "base", "large", "xlarge", "xxlarge")} == {expected}
    assert recipe_for(get_task(task).name, None) == expected


def test_the_bundled_model_has_rows_of_its_own():
    mrpc = recipe_for("MRPC", "tiny")
    assert (mrpc.learning_rate, mrpc.train_steps, mrpc.warmup_steps, mrpc.global_batch_size) == (1e-4, 344, 34, 32)
    # Where no row was measured, only the rate differs.
    assert recipe_for("squad2.0", "tiny") == dataclasses.replace(recipe_for("squad2.0", "base"), learning_rate=1e-4)
    assert recipe_for("agreement", "tiny").max_seq_length == 32


@pytest.mark.parametrize("size", [None, *MODEL_SIZES])
def test_every_recipe_can_be_used(size):
    for task in ("CoLA", "stsb", "squad1.1", "SQuAD2.0", "RACE", "agreement"):
        recipe = recipe_for(task, size)
        assert (recipe.train_steps is None) != (recipe.num_train_epochs is None), task
        assert (recipe.warmup_steps is None) != (recipe.warmup_proportion is None), task
        assert recipe.save_checkpoints_steps <= (recipe.train_steps or 1000), task


@pytest.mark.parametrize(
    ("task", "num_replicas", "given", "expected"),
    [
        ("CoLA", 1, None, (16, 1)),
        ("CoLA", 8, None, (2, 1)),
        ("CoLA", 3, None, (6, 1)),  # 16 is not a multiple of 3: the next one, 18
        ("CoLA", 32, None, (1, 1)),
        ("MRPC", 2, 2, (8, 2)),
        ("QQP", 1, None, (128, 1)),
        # What a replica holds at once is never more than on the eight GPUs the recipe comes from.
        ("squad2.0", 8, None, (16, 1)),
        ("squad2.0", 1, None, (16, 8)),
        ("squad2.0", 1, 1, (128, 1)),
        ("race", 8, None, (4, 1)),
        ("race", 2, None, (4, 4)),
    ],
)
def test_the_batch_is_global(task, num_replicas, given, expected):
    assert recipe_for(task, "base").batch_on(num_replicas, given) == expected


def test_a_size_is_known_by_its_hidden_size():
    assert [model_size_of(hidden) for hidden in (256, 768, 1024, 2048, 4096, 312)] == [*MODEL_SIZES, None]


@pytest.mark.parametrize(
    ("task", "size", "message"),
    [("SNLI", None, "SNLI.*mrpc.*race"), ("ax", "base", "ax"), ("MRPC", "huge", "huge.*tiny, base")],
)
def test_what_is_unknown_is_named(task, size, message):
    with pytest.raises(UserError, match=message):
        recipe_for(task, size)


def test_a_script_looks_up_a_recipe_without_numpy_and_tensorflow():
    # It does so at each start: half of its time would be importing them.
    code = (
        "import sys, albert.tasks.recipes, albert.serving.model_files; print({'numpy', 'tensorflow'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n"
