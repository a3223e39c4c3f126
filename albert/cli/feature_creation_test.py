"""The command line of `create_finetuning_data`. Needs no TensorFlow."""

import shutil
from pathlib import Path

import pytest

from albert.cli.feature_creation import parse_feature_flags
from albert.cli.fine_tuning import parse_classifier_flags, parse_race_flags, parse_squad_flags
from albert.errors import UserError
from albert.serving.description import ModelDescription
from albert.tasks.base import Labels

TINY = Path(__file__).parents[2] / "sample_data/albert_tiny"
MODEL = f"--model_dir={TINY}"


def parse(*flags):
    return parse_feature_flags(["program", MODEL, *flags])


@pytest.fixture
def table(tmp_path):
    rows = "".join(f"text number {i},{'even' if i % 2 == 0 else 'odd'}\n" for i in range(40))
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label\n{rows}")
    return path


def test_every_kind_of_task_is_the_one_that_trains(table):
    """The same identity, so that the caches are found."""
    output = ["--output_dir=o", "--do_train", "--do_eval"]
    task, settings = parse("--task_name=MRPC", "--data_dir=glue_data", "--max_seq_length=128")
    trained, of_training = parse_classifier_flags(
        ["p", MODEL, *output, "--task_name=mrpc", "--data_dir=glue_data", "--max_seq_length=128"]
    )
    assert (task.identity(), settings) == (trained.identity(), of_training.data)
    task, _ = parse(f"--train_file={table}")
    trained, _ = parse_classifier_flags(["p", MODEL, *output, f"--train_file={table}"])
    assert (task.identity(), task.splits) == (trained.identity(), ("train", "dev"))
    files = ["--train_file=t.json", "--predict_file=p.json", "--doc_stride=64"]
    for version in ("1.1", "2.0"):
        task, settings = parse(f"--task_name=SQuAD{version}", *files, "--max_seq_length=384")
        trained, of_training = parse_squad_flags(["p", MODEL, *output, *files], version)
        assert (task.identity(), task.version, settings.max_seq_length) == (trained.identity(), version, 384)
        assert settings.data_dir == of_training.data.data_dir
    task, _ = parse("--task_name=RACE", "--data_dir=d", "--high_only")
    assert task.identity() == parse_race_flags(["p", MODEL, *output, "--data_dir=d", "--high_only"])[0].identity()


@pytest.mark.parametrize(
    ("name", "version"),
    [("squad", "1.1"), ("SQuAD-v1.1", "1.1"), ("squad_v2", "2.0"), ("SQuAD2", "2.0"), ("squad-2.0", "2.0")],
)
def test_squad_may_be_named_as_people_write_it(name, version):
    task, _ = parse(f"--task_name={name}", "--predict_file=p.json", "--max_seq_length=384")
    assert task.version == version


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to do: give --task_name, or own data in --train_file"),
        (["--task_name=squad"], "--task_name=squad needs --train_file or --predict_file"),
        (["--task_name=nope"], "--task_name=nope is not a task"),
        (["--task_name=squavd", "--predict_file=p"], "--task_name=squavd is not a task"),
        (["--task_name=MRPC", "--doc_stride=3"], "--doc_stride has no effect on mrpc: leave it out"),
        (["--task_name=MRPC", "--train_file=x.csv"], "--train_file has no effect on mrpc"),
        (["--task_name=race", "--doc_stride=3"], "--doc_stride has no effect on race"),
        (["--train_file=x.csv", "--high_only"], "--high_only has no effect on own data"),
        (["--task_name=squad2.0", "--train_file=t", "--max_seq_length=20"], "--max_seq_length=20 leaves no room"),
        (["--task_name=MRPC", "--max_seq_length=2"], "--max_seq_length=2 must be at least 3"),
        (
            ["--train_file=t.csv", "--validation_file=d.csv", "--validation_split=0.1"],
            "exclude each other",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(flags, message):
    with pytest.raises(UserError) as raised:
        parse(*flags)
    assert message in str(raised.value)


def test_flags_without_effect_are_not_reported_for_a_task_that_cannot_be_made():
    with pytest.raises(UserError) as raised:
        parse("--task_name=race", "--max_qa_length=0")
    assert str(raised.value) == "--max_qa_length=0 must be at least 1"


def test_the_labels_of_a_trained_model_are_those_of_its_folder(table, tmp_path):
    """Without rows to train on, as for the program that predicts."""
    shutil.copytree(TINY, tmp_path / "model")
    flags = [f"--model_dir={tmp_path / 'model'}", f"--test_file={table}"]
    with pytest.raises(UserError, match="the labels are not known"):
        parse_feature_flags(["program", *flags])
    output = Labels(("odd", "even", "other"))
    description = ModelDescription("own", output, ("text",), 64, True, False, "", "float32", {})
    (tmp_path / "model/model.json").write_text(description.to_json())
    task, _ = parse_feature_flags(["program", *flags])
    assert (task.output, task.splits) == (output, ("test",))
    trained, _ = parse_feature_flags(["program", *flags, f"--train_file={table}"])
    assert trained.output == Labels(("even", "odd"))
