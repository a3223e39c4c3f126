"""Variables in place of flags. Needs no TensorFlow."""

import shlex

import pytest

from albert.cli.variables import FLAG_VARIABLES, in_variables

ENVIRONMENT = {FLAG_VARIABLES: "train_batch_size=BS num_gpu_cores=NUM_GPUS data_dir=DATA_DIR model_dir=MODEL_DIR "}
ENVIRONMENT[FLAG_VARIABLES] += "max_seq_length=-l set:learning_rate=LR eval_batch_size=-b:2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--train_batch_size=9 on --num_gpu_cores=3: lower it", "BS=9 on NUM_GPUS=3: lower it"),
        ("give --train_batch_size.", "give BS."),
        ("--log_steps=0 must be at least 1", "--log_steps=0 must be at least 1"),
        ("--max_seq_length=9, but 8: lower --max_seq_length.", "-l 9, but 8: lower -l."),
        # The option's number is shared by two: 98 for 49 each.
        (
            "--eval_batch_size=49 needs 98, of 60. Set --eval_batch_size to 30 or lower --eval_batch_size.",
            "-b 98 needs 98, of 60. Set -b to 60 or lower -b.",
        ),
        ("Set --max_seq_length to 30; --max_seq_length=09", "Set -l to 30; -l 09"),
        ("--set learning_rate=1,x: a value is no number", "LR=1,x: a value is no number"),
        ("--set seed=1,x: a value is no number", "--set seed=1,x: a value is no number"),
        ("--set learning_rate takes the place", "--set learning_rate takes the place"),
        ("--data_dir=x; download_glue_data.py --data_dir=x", "DATA_DIR=x; download_glue_data.py --data_dir=x"),
        ("x.py --data_dir='x y --data_dir=z' fetches", "x.py --data_dir='x y --data_dir=z' fetches"),
    ],
)
def test_flags_that_a_script_sets_are_called_as_its_variables(text, expected):
    assert in_variables(text, ENVIRONMENT) == expected
    assert in_variables(text, {}) == text


@pytest.mark.parametrize("folder", ["/x/out", "/x/my output", "/x/it's mine", "/x/a; --data_dir=b"])
@pytest.mark.parametrize("words", [["TEXT"], ["--data_dir=q w", "--train_batch_size=3"], []])
def test_a_command_to_copy_keeps_its_flags(folder, words):
    command = shlex.join([".venv/bin/python", "-m", "albert.predict", f"--model_dir={folder}", *words])
    assert in_variables(f"Use the model: {command}", ENVIRONMENT) == f"Use the model: {command}"
    said = in_variables(f"run {command}; or lower --train_batch_size=4", ENVIRONMENT)
    assert said == f"run {command}; or lower BS=4"
