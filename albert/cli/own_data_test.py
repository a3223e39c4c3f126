"""The flags of own data: what they become, and what goes with what. No TensorFlow."""

import json
from pathlib import Path

import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.errors import UserError
from albert.tasks.base import Labels, MultiLabels, Score

TINY = Path(__file__).parents[2] / "sample_data/albert_tiny"
ROWS = [("a", "x", "0"), ("b", "y", "1"), ("c", "x", "1"), ("d", "y", "0")]


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text,label,number\n" + "".join(",".join(row) + "\n" for row in ROWS))
    return path


def _parse(tmp_path, *flags):
    return parse_classifier_flags(["program", f"--model_dir={TINY}", f"--output_dir={tmp_path / 'out'}", *flags])


def _assert_refused(tmp_path, flags, message):
    with pytest.raises(UserError, match=message) as refused:
        _parse(tmp_path, *flags)
    assert "\n" not in str(refused.value)


def test_files_take_the_place_of_a_task(tmp_path, table):
    flags = [f"--{name}_file={table}" for name in ("train", "validation", "test")]
    task, settings = _parse(tmp_path, *flags, "--do_train", "--do_eval", "--do_predict")
    assert (task.name, settings.data.task_name, settings.data.data_dir) == ("own", "own", Path())
    assert (task.output, task.splits, task.best_metric) == (Labels(("x", "y")), ("train", "dev", "test"), "accuracy")
    assert {split: task.source_files(split, Path()) for split in task.splits} == dict.fromkeys(task.splits, (table,))
    assert task.hold_out is None


@pytest.mark.parametrize(
    ("flags", "output", "best_metric", "columns"),
    [
        (["--label_column_name=number"], Labels(("0", "1")), "accuracy", ("text",)),
        (["--label_column_name=number", "--problem_type=regression"], Score(), "pearson", ("text",)),
        (["--label_delimiter=|"], MultiLabels(("x", "y")), "f1_micro", ("text",)),
        (["--text_column_names=text,number"], Labels(("x", "y")), "accuracy", ("text", "number")),
        (["--metric_for_best_model=f1_macro"], Labels(("x", "y")), "accuracy", ("text",)),
    ],
)
def test_columns_and_kinds_of_labels_can_be_given(tmp_path, table, flags, output, best_metric, columns):
    task, _ = _parse(tmp_path, f"--train_file={table}", "--do_train", *flags)
    assert (task.output, task.best_metric, task.text_columns) == (output, best_metric, columns)


def test_the_log_calls_own_data_so(tmp_path, table, caplog):
    caplog.set_level("INFO")
    _parse(tmp_path, f"--train_file={table}", "--do_train", "--recipe")
    assert any(line.startswith("From the recipe of own data for a model of ") for line in caplog.messages)


def test_rows_are_held_out_and_sampled(tmp_path, table):
    flags = ["--validation_split=0.5", "--max_train_samples=1", "--max_eval_samples=1", "--max_predict_samples=3"]
    files = [f"--train_file={table}", f"--test_file={table}", "--do_train", "--do_eval", "--do_predict"]
    task, _ = _parse(tmp_path, *files, *flags)
    assert [len(list(task.read(split, Path()))) for split in ("train", "dev", "test")] == [1, 1, 3]
    assert (task.hold_out.share, task.hold_out.seed) == (0.5, 42)
    assert _parse(tmp_path, *files, "--seed=7")[0].hold_out.seed == 7


def test_what_is_named_and_not_used_is_in_a_warning(tmp_path, table, caplog):
    files = [f"--{name}_file={table}" for name in ("train", "validation", "test")]
    _parse(tmp_path, *files, "--do_train", "--max_eval_samples=2", "--max_train_samples=3")
    assert [message for message in caplog.messages if message.startswith("Without")] == [
        "Without `do_eval`, no effect of `validation_file` and `max_eval_samples`.",
        "Without `do_predict`, no effect of `test_file`.",
    ]
    caplog.clear()
    _parse(tmp_path, *files, "--do_train", "--do_eval", "--do_predict", "--max_predict_samples=2")
    _parse(tmp_path, f"--train_file={table}", "--test_file=", "--do_train")
    assert not [message for message in caplog.messages if message.startswith("Without")]


@pytest.mark.parametrize(
    ("flags", "epochs", "steps"),
    [
        ([], 3.0, None),
        (["--num_train_epochs=2"], 2.0, None),
        (["--train_step=9"], None, 9),
        (["--recipe"], 3.0, None),
        (["--recipe", "--train_step=9", "--warmup_step=2"], None, 9),
    ],
)
def test_training_lasts_three_epochs_unless_something_else_is_given(tmp_path, table, flags, epochs, steps):
    train = _parse(tmp_path, f"--train_file={table}", "--do_train", *flags)[1].train
    assert (train.num_train_epochs, train.train_steps) == (epochs, steps)
    assert train.warmup_proportion == (0.1 if flags == ["--recipe"] else 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--do_train", "--task_name=MRPC"], r"--train_file takes the place of --task_name: leave these out"),
        (["--do_train", "--task_name=MRPC", "--data_dir=d"], r"the place of --task_name and --data_dir"),
        (["--do_train", "--validation_split=0.6"], r"--validation_split=0.6 must be in \(0, 0.5\]"),
        (["--do_train", "--validation_split=0"], r"--validation_split=0.0 must be in \(0, 0.5\]"),
        (
            ["--do_train", "--problem_type=other"],
            r"=other is unknown; known are regression, single_label",
        ),
        (["--do_train", "--max_train_samples=0"], r"--max_train_samples=0 must be at least 1"),
        (["--do_train", "--train_step=3", "--num_train_epochs=2"], r"exclude each other"),
        (["--do_train", "--metric_for_best_model=pearson"], r"does not fit task own"),
        (["--do_predict"], r"`do_predict` needs `test_file`"),
        (["--do_train", "--validation_file=x.csv", "--validation_split=0.2"], r"--validation_split exclude each other"),
        ([], r"nothing to do"),
    ],
)
def test_what_does_not_go_together_is_reported(tmp_path, table, flags, message):
    _assert_refused(tmp_path, [f"--train_file={table}", *flags], message)


def test_flags_of_own_data_need_own_data(tmp_path):
    _assert_refused(
        tmp_path,
        ["--do_train", "--task_name=MRPC", "--data_dir=d", "--label_delimiter=;"],
        "--label_delimiter is for own",
    )
    _assert_refused(tmp_path, ["--do_train"], "--data_dir, --task_name must be given")
    _assert_refused(tmp_path, ["--do_train", "--train_file="], "--train_file is empty: name a file")


def _describe(folder, **changes):
    """A model.json in `folder`, of a run that has a checkpoint."""
    folder.mkdir()
    by_id = {"0": "y", "1": "x", "2": "z"}
    values = {"format": 1, "task": "own", "head": "classification", "problem_type": "single_label_classification"}
    values |= {
        "id2label": by_id,
        "label2id": {name: int(number) for number, name in by_id.items()},
    }
    values |= {"text_columns": 1, "text_column_names": ["text"], "max_seq_length": 32, "do_lower_case": True}
    values |= {"keep_accents": False, "dtype": "float32", "tokenizer_digest": ""}
    (folder / "model.json").write_text(json.dumps(values | changes))
    (folder / "model.ckpt-4.index").touch()


def test_the_model_that_is_there_decides_the_labels(tmp_path, table):
    _describe(tmp_path / "out")
    files = [f"--train_file={table}", "--do_train"]
    assert _parse(tmp_path, *files)[0].output == Labels(("y", "x", "z"))
    assert _parse(tmp_path, f"--test_file={table}", "--do_predict")[0].output == Labels(("y", "x", "z"))
    # A run that starts again has the labels of its data, and so has one that had no checkpoint yet.
    assert _parse(tmp_path, *files, "--overwrite_output_dir")[0].output == Labels(("x", "y"))
    (tmp_path / "out/model.ckpt-4.index").unlink()
    assert _parse(tmp_path, *files)[0].output == Labels(("x", "y"))


def test_another_folders_model_decides_the_labels_where_nothing_is_trained(tmp_path, table):
    _describe(tmp_path / "model")
    for given in (tmp_path / "model", tmp_path / "model/model.ckpt-4"):
        flags = [f"--test_file={table}", "--do_predict", f"--init_checkpoint={given}"]
        assert _parse(tmp_path, *flags)[0].output == Labels(("y", "x", "z"))
    flags = [f"--train_file={table}", "--do_train", f"--init_checkpoint={tmp_path / 'model'}"]
    assert _parse(tmp_path, *flags)[0].output == Labels(("x", "y"))
    _assert_refused(tmp_path, [f"--test_file={table}", "--do_predict"], "the labels are not known")


def test_a_model_of_another_kind_gives_no_labels(tmp_path, table):
    span = {"head": "span_v1", "problem_type": None, "text_columns": 0, "text_column_names": [], "max_seq_length": 128}
    _describe(tmp_path / "out", **span)
    _assert_refused(tmp_path, [f"--test_file={table}", "--do_predict"], "the labels are not known")
    _describe(tmp_path / "mrpc", task="mrpc")
    flags = [f"--train_file={table}", "--do_train", f"--output_dir={tmp_path / 'mrpc'}"]
    assert _parse(tmp_path, *flags)[0].output == Labels(("x", "y"))  # refused when the folder is claimed
    (tmp_path / "out/model.json").write_text("{")
    _assert_refused(tmp_path, [f"--test_file={table}", "--do_predict"], "model.json is damaged")


def test_labels_have_the_order_of_an_imported_classifiers_classes(tmp_path, table):
    model = tmp_path / "classifier"
    model.mkdir()
    config = json.loads(
        (TINY.parents[1] / "albert/testdata/interchange/for_sequence_classification/config.json").read_text()
    )
    (model / "config.json").write_text(json.dumps(config | {"id2label": {"0": "y", "1": "x"}}))
    flags = [f"--train_file={table}", "--do_train", f"--init_checkpoint={model}"]
    assert _parse(tmp_path, *flags)[0].output == Labels(("y", "x"))
    assert _parse(tmp_path, *flags, "--discard_classifier_weights")[0].output == Labels(("x", "y"))
    assert _parse(tmp_path, *flags, "--label_column_name=number")[0].output == Labels(("0", "1"))


@pytest.mark.parametrize(
    ("flags", "batch", "micro_batches"),
    [
        (["--recipe"], 4, 1),
        ([], 4, 1),
        (["--num_gpu_cores=2", "--device=cpu"], 2, 1),
        (["--gradient_accumulation_steps=3"], 1, 3),
        (["--validation_split=0.5", "--do_eval"], 2, 1),
        (["--max_train_samples=3"], 3, 1),
        # What was asked for is as it was, and so is what no smaller batch can help: an error when training begins.
        (["--train_batch_size=8"], 8, 1),
        (["--gradient_accumulation_steps=5"], 32, 5),
    ],
)
def test_a_batch_that_nobody_asked_for_is_no_larger_than_the_data(tmp_path, table, caplog, flags, batch, micro_batches):
    caplog.set_level("INFO")
    _, settings = _parse(tmp_path, f"--train_file={table}", "--do_train", "--max_seq_length=16", *flags)
    train = settings.train
    assert (train.per_replica_batch_size, train.gradient_accumulation_steps) == (batch, micro_batches)
    assert ("to train on." in caplog.text) == (batch <= 4)


def test_so_is_it_with_tags(tmp_path):
    path = tmp_path / "rows.conll"
    path.write_text("".join(f"word{number} {'AB'[number % 2]}\n\n" for number in range(5)))
    _, settings = _parse(tmp_path, f"--train_file={path}", "--do_train", "--recipe")
    assert settings.train.per_replica_batch_size == 5
