import json
import shutil
from pathlib import Path

import pytest

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.serving.description import ModelDescription
from albert.serving.model_folder import find_model, write_model_folder
from albert.tasks.base import Span
from albert.tokenization import load_tokenizer

TINY = Path(__file__).parents[2] / "sample_data/albert_tiny"
CONFIG = AlbertConfig.from_json_file(TINY / "albert_config.json")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(TINY / "7k.model", None, do_lower_case=True)


def description(tokenizer, threshold=None):
    return ModelDescription(
        "squad2.0", Span("2.0", 5, 5), (), 128, True, False, tokenizer.digest, "float32",
        {"null_score_diff_threshold": threshold},
    )  # fmt: skip


def test_a_folder_that_was_written_is_found_with_the_same_vocabulary_and_configuration(tmp_path, tokenizer):
    write_model_folder(tmp_path, CONFIG, tokenizer, description(tokenizer))
    found = find_model(tmp_path)
    assert found.description == description(tokenizer)
    assert AlbertConfig.from_json_file(found.config_file).to_dict() == CONFIG.to_dict()
    assert found.vocab_file is None
    assert load_tokenizer(found.spm_model_file, None, do_lower_case=True).digest == tokenizer.digest


def test_word_pieces_are_found_too(tmp_path):
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    tokenizer = load_tokenizer(None, vocab, do_lower_case=True)
    write_model_folder(tmp_path / "model", CONFIG, tokenizer, description(tokenizer))
    assert (tmp_path / "model/vocab.txt").read_bytes() == vocab.read_bytes()
    assert find_model(tmp_path / "model").spm_model_file is None


def test_a_folder_that_lost_a_file_is_completed_and_one_that_is_whole_not_touched(tmp_path, tokenizer):
    write_model_folder(tmp_path, CONFIG, tokenizer, description(tokenizer))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / "spiece.model").unlink()
    write_model_folder(tmp_path, CONFIG, tokenizer, description(tokenizer))
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"spiece.model"}


def test_what_was_tuned_later_is_written_in_its_place(tmp_path, tokenizer):
    write_model_folder(tmp_path, CONFIG, tokenizer, description(tokenizer))
    write_model_folder(tmp_path, CONFIG, tokenizer, description(tokenizer, threshold=-2.5))
    assert find_model(tmp_path).description.options == {"null_score_diff_threshold": -2.5}


def test_a_persons_own_file_of_that_name_is_not_written_over(tmp_path, tokenizer):
    (tmp_path / "albert_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"albert_config\.json is not the one of this run"):
        write_model_folder(tmp_path, CONFIG, tokenizer, description(tokenizer))
    assert [path.name for path in tmp_path.iterdir()] == ["albert_config.json"]


@pytest.mark.parametrize(
    ("missing", "added", "message"),
    [
        ("albert_config.json", None, "has neither albert_config.json nor config.json"),
        ("7k.model", None, r"has no vocabulary: it needs a "),
        (None, "other.model", "several vocabularies, 7k.model and other.model: leave the model's own there"),
    ],
)
def test_a_folder_that_does_not_hold_one_model_is_told_in_one_line(tmp_path, missing, added, message):
    shutil.copytree(TINY, tmp_path / "model")
    if missing:
        (tmp_path / "model" / missing).unlink()
    if added:
        (tmp_path / "model" / added).touch()
    with pytest.raises(UserError, match=message):
        find_model(tmp_path / "model")


def test_a_folder_of_another_tool_is_found_by_its_names(tmp_path):
    for name in ("config.json", "spiece.model"):
        (tmp_path / name).write_text("{}")
    found = find_model(tmp_path)
    assert (found.config_file.name, found.spm_model_file.name) == ("config.json", "spiece.model")
    assert found.description is None


def test_what_is_no_folder_is_told(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        find_model(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        find_model(tmp_path / "file")


def test_the_bundled_model_is_one():
    assert json.loads(find_model(TINY).config_file.read_text())["hidden_size"]
