"""`--model_dir` in the programs. Needs no TensorFlow."""

import json
import shutil
from pathlib import Path

import pytest

from albert.cli.fine_tuning import parse_classifier_flags, parse_race_flags, parse_squad_flags
from albert.cli.pretraining import parse_creation_flags, parse_pretraining_flags
from albert.errors import UserError

TINY = Path(__file__).parents[2] / "sample_data/albert_tiny"
CLASSIFIER = ["program", "--do_train", "--task_name=MRPC", "--data_dir=d", "--output_dir=o"]


def classifier(*flags):
    return parse_classifier_flags([*CLASSIFIER, *flags])[1]


def test_a_folder_stands_for_config_vocabulary_and_checkpoint():
    settings = classifier(f"--model_dir={TINY}")
    assert settings.model.albert_config_file == TINY / "albert_config.json"
    assert settings.model.init_checkpoint == TINY
    assert settings.data.spm_model_file == TINY / "7k.model"


def test_every_program_has_it(tmp_path):
    folder = f"--model_dir={TINY}"
    squad = ["--train_file=t", "--predict_file=p"]
    for version in ("1.1", "2.0"):
        assert parse_squad_flags(["p", "--do_train", "--output_dir=o", *squad, folder], version)[1].data.spm_model_file
    assert parse_race_flags(["p", "--data_dir=d", "--output_dir=o", folder])[1].model.init_checkpoint == TINY
    records = tmp_path / "records"
    records.touch()
    pretraining = parse_pretraining_flags(["p", f"--input_file={records}", "--output_dir=o", folder])
    assert pretraining.model.albert_config_file == TINY / "albert_config.json"
    creation = parse_creation_flags(["p", f"--input_file={records}", "--output_file=o", folder])
    assert creation.spm_model_file == TINY / "7k.model"


def test_the_other_flags_win_over_it():
    given = classifier(f"--model_dir={TINY}", "--albert_config_file=c", "--init_checkpoint=i", "--vocab_file=v")
    assert (given.model.albert_config_file, given.model.init_checkpoint) == (Path("c"), Path("i"))
    assert (given.data.spm_model_file, given.data.vocab_file) == (None, Path("v"))


def test_an_empty_checkpoint_means_random_weights():
    assert classifier(f"--model_dir={TINY}", "--init_checkpoint=").model.init_checkpoint is None


def test_other_empty_values_are_not_given():
    settings = classifier(f"--model_dir={TINY}", "--albert_config_file=", "--spm_model_file=", "--vocab_file=")
    assert settings.model.albert_config_file == TINY / "albert_config.json"
    assert settings.data.spm_model_file == TINY / "7k.model"


def test_what_the_folder_says_of_casing_counts_unless_it_is_given(tmp_path):
    shutil.copytree(TINY, tmp_path / "model")
    values = {
        "format": 1,
        "task": "mrpc",
        "head": "regression",
        "problem_type": "regression",
        "text_columns": 1,
        "text_column_names": ["text"],
        "max_seq_length": 128,
        "do_lower_case": False,
        "keep_accents": True,
        "dtype": "float32",
        "tokenizer_digest": "",
    }
    (tmp_path / "model/model.json").write_text(json.dumps(values))
    data = classifier(f"--model_dir={tmp_path / 'model'}").data
    assert (data.do_lower_case, data.keep_accents) == (False, True)
    assert classifier(f"--model_dir={tmp_path / 'model'}", "--do_lower_case").data.do_lower_case


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model_dir=missing"], "--model_dir=missing is not there; ./download_pretrained_models.sh fetches models"),
        (
            ["--model_dir=albert-base-v2"],
            "--version=2 base fetches it into pretrained_model/albert_base_v2, and every",
        ),
        (["--model_dir=albert/albert-xlarge-v1"], "models.sh --version=1 xlarge fetches it into"),
        (["--model_dir=owner/some-albert"], "models.sh --source=huggingface owner/some-albert fetches it"),
        (["--model_dir=bert-base-uncased"], "models.sh fetches models"),
        ([], "--albert_config_file must be given"),
        ([f"--model_dir={TINY / '7k.model'}"], "7k.model is not a folder"),
    ],
)
def test_what_is_not_a_model_folder_is_reported_once(flags, message):
    with pytest.raises(UserError) as raised:
        classifier(*flags)
    assert message in str(raised.value)
    assert str(raised.value).count("model_dir=") <= 1
    assert not flags or "--spm_model_file" not in str(raised.value)
