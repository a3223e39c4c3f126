"""Folders for transformers, read again by this project; transformers_test.py asks the library itself."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from albert.cli.predict import parse_predict_flags
from albert.errors import UserError
from albert.runs.export import run
from albert.serving.export.model_card import model_card
from albert.serving.export.reference import TEXTS
from albert.serving.export.request import ExportRequest
from albert.serving.export.tokenizer_json import tokenizer_json
from albert.serving.hugging_face import describe
from albert.serving.loading import load_model
from albert.serving.model_folder import find_model
from albert.serving.testing import CONFIG, MODELS
from albert.tasks.base import Choice, Labels, MultiLabels, Score
from albert.tasks.glue import TASKS
from albert.testing import AGREEMENT, TESTDATA
from albert.tokenization import load_tokenizer
from albert.weights.hugging_face_export import check_representable

ARCHITECTURES = {
    "classification": "AlbertForSequenceClassification",
    "multi_label": "AlbertForSequenceClassification",
    "regression": "AlbertForSequenceClassification",
    "choice": "AlbertForMultipleChoice",
    "span_v1": "AlbertForQuestionAnswering",
    "pretrained": "AlbertForPreTraining",
    "masked_lm": "AlbertForMaskedLM",
    "encoder": "AlbertModel",
}


@pytest.fixture(scope="module")
def exported(exportable, tmp_path_factory):
    """Exports of all models that there is a class for, by their names."""
    folder = tmp_path_factory.mktemp("exported")
    for name in ARCHITECTURES:
        run(ExportRequest(exportable / name, folder / name, "huggingface"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_goes_out_comes_in_again(exportable, exported, name):
    model = load_model(exportable / name, "/cpu:0", with_pretraining_heads=True)
    found = load_model(exported / name, "/cpu:0", with_pretraining_heads=True)
    assert found.config.to_dict() == model.config.to_dict()
    assert found.description == model.description
    assert found.tokenizer.digest == model.tokenizer.digest
    assert found.weights.keys() == model.weights.keys()
    is_without_pooler = name == "span_v1"
    assert found.has_pooler != is_without_pooler
    for variable, value in model.weights.items():
        if not (is_without_pooler and "pooler" in variable):
            np.testing.assert_array_equal(found.weights[variable], value, err_msg=variable)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_config_json_says_what_the_library_needs(exported, name):
    config = json.loads((exported / name / "config.json").read_text())
    activation = "relu" if name in ("regression", "masked_lm") else "gelu_new"
    expected = {"hidden_act": activation, "layer_norm_eps": 1e-12, "model_type": "albert", "hidden_dropout_prob": 0.1}
    expected |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "architectures": [ARCHITECTURES[name]]}
    assert {key: config[key] for key in expected} == expected
    assert config.get("gap_size") == (1 if name in ("regression", "masked_lm") else None)
    # By itself, without model.json.
    description = describe(exported / name / "config.json")
    match MODELS[name][1]:
        case Labels() | MultiLabels() as output:
            assert description.output == output
        case Score():
            assert (description.output, config["problem_type"], config["id2label"]) == (
                Score(), "regression", {"0": "LABEL_0"},
            )  # fmt: skip
        case Choice():
            assert description.output == Choice(4)  # RACE's number: the library does not say how many
        case None:
            assert description is None


@pytest.mark.parametrize(
    "changes", [{"id2label": {"0": "x", "1": "y", "2": "z"}}, {"architectures": ["AlbertForMaskedLM"]}]
)
def test_a_folder_that_the_library_has_written_over_is_told(exported, tmp_path, changes):
    shutil.copytree(exported / "classification", tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=r"model\.json describes another model than config\.json beside it\. Delete"):
        find_model(tmp_path / "model")
    (tmp_path / "model/model.json").unlink()
    find_model(tmp_path / "model")


@pytest.mark.parametrize("keep_accents", [False, True])
def test_a_folder_that_the_library_saved_again_has_the_same_ids(exported, tmp_path, keep_accents, caplog):
    """With `tokenizer.json` in place of the vocabulary, and without model.json."""
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        shutil.copy(exported / "classification" / name, tmp_path)
    tokenizer = load_tokenizer(exported / "classification/spiece.model", None, True, keep_accents)
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(tokenizer))
    casing = json.loads((tmp_path / "tokenizer_config.json").read_text()) | {"keep_accents": keep_accents}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(casing))
    model = load_model(tmp_path, "/cpu:0")
    assert "texts are cut" not in caplog.text
    assert model.tokenizer.keep_accents == keep_accents
    assert model.tokenizer.pieces() == tokenizer.pieces()
    for text in (*(text for pair in TEXTS for text in pair if text), "Cafe\u0301 \u1112\u1161\u11ab in 2010,"):
        assert model.tokenizer.encode(text) == tokenizer.encode(text)


def test_embeddings_as_wide_as_layers_get_an_identity(exported):
    tensors = load_file(exported / "regression/model.safetensors")
    np.testing.assert_array_equal(tensors["albert.encoder.embedding_hidden_mapping_in.weight"], np.eye(16))
    assert not tensors["albert.encoder.embedding_hidden_mapping_in.bias"].any()
    assert "encoder.embedding_hidden_mapping_in.weight" in load_file(exported / "encoder/model.safetensors")


@pytest.mark.parametrize(
    "name", ["for_sequence_classification", "for_question_answering", "for_pretraining", "model_square"]
)
def test_a_file_of_the_library_goes_through_bit_for_bit(tmp_path, name):
    shutil.copytree(TESTDATA / "interchange" / name, tmp_path / "theirs")
    shutil.copy(AGREEMENT / "agreement.model", tmp_path / "theirs/spiece.model")
    config = with_vocabulary(tmp_path / "theirs", 124)
    run(ExportRequest(tmp_path / "theirs", tmp_path / "ours", "huggingface"))
    theirs, ours = (load_file(tmp_path / side / "model.safetensors") for side in ("theirs", "ours"))
    assert ours.keys() == theirs.keys()
    for tensor, value in theirs.items():
        np.testing.assert_array_equal(ours[tensor], value, err_msg=tensor)
    written = json.loads((tmp_path / "ours/config.json").read_text())
    assert written == {key: config[key] for key in config if key != "transformers_version"}


def with_vocabulary(folder, size):
    """Gives the model in `folder` rows for more pieces, if it has fewer; returns its configuration."""
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    missing = max(0, size - config["vocab_size"])
    for name, value in tensors.items():
        if name.endswith(("word_embeddings.weight", "predictions.bias")):
            tensors[name] = np.pad(value, [(0, missing)] + [(0, 0)] * (value.ndim - 1))
    config["vocab_size"] += missing
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return config


def test_the_questions_of_squad_2_have_no_class_there(exportable, tmp_path):
    with pytest.raises(UserError, match=r"SQuAD 2\.0 .* no such head .*`encoder_only` leaves it out"):
        run(ExportRequest(exportable / "span_v2", tmp_path / "out", "huggingface"))
    assert list(tmp_path.iterdir()) == []
    run(ExportRequest(exportable / "span_v2", tmp_path / "out", "huggingface", encoder_only=True))
    assert json.loads((tmp_path / "out/config.json").read_text())["architectures"] == ["AlbertModel"]
    assert not (tmp_path / "out/model.json").exists()


def test_an_encoder_without_pooler_is_told(exported, tmp_path, caplog):
    run(ExportRequest(exported / "span_v1", tmp_path / "out", "huggingface", encoder_only=True))
    assert "has no pooler: give from_pretrained add_pooling_layer=False" in caplog.text
    assert not any("pooler" in name for name in load_file(tmp_path / "out/model.safetensors"))


@pytest.mark.parametrize(("layers", "groups"), [(18, 14), (22, 22), (44, 22)])
def test_layers_that_the_library_would_group_otherwise_are_refused(layers, groups):
    config = dataclasses.replace(CONFIG, num_hidden_layers=layers, num_hidden_groups=groups)
    with pytest.raises(UserError, match=f"{layers} layers in {groups} groups are divided otherwise"):
        check_representable(config)


def test_inner_layers_that_only_newer_versions_compute_are_told(caplog):
    check_representable(dataclasses.replace(CONFIG, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2))
    assert not caplog.text
    check_representable(dataclasses.replace(CONFIG, num_hidden_layers=2, num_hidden_groups=2, inner_group_num=2))
    assert "before version 5 cannot compute 2 inner layers in groups of 1 layers" in caplog.text


# The model card ------------------------------------------------------------------------------------------------------


def test_the_card_has_the_runs_scores_and_changes_nothing_around_them(exportable, tmp_path):
    shutil.copytree(exportable / "classification", tmp_path / "model")
    results = json.loads((TESTDATA / "earlier_runs/mrpc/finished/eval_results.json").read_text())
    results["hyperparameters"]["Optimizer"] = "adamw | <b>"
    (tmp_path / "model/eval_results.json").write_text(json.dumps(results))
    run(ExportRequest(tmp_path / "model", tmp_path / "out", "huggingface"))
    card = (tmp_path / "out/README.md").read_text()
    head = card.split("---")[1].strip().split("\n")
    assert head == [
        "library_name: transformers", "pipeline_tag: text-classification", "tags:", "- albert", "metrics:",
        "- accuracy", "- f1",
    ]  # fmt: skip
    for line in ("# ALBERT for pets", "| f1 | 0.814815 |", "chosen by f1", "| Optimizer | adamw \\| \\<b\\> |",
                 "a pair of texts (`first`, `second`)", "no, y e s, vielleicht – ä.\n",
                 "AutoModelForSequenceClassification", '{"text": "A first text.", "text_pair": "A second text."}',
                 "albert.predict --model_dir=path/to/this/folder TEXT SECOND_TEXT\n"):  # fmt: skip
        assert line in card, line
    assert str(tmp_path) not in card
    assert "The training data" not in card  # which a report of before does not count


@pytest.mark.parametrize(
    ("name", "examples", "said"),
    [
        ("classification", {"train": 6000, "dev": 1}, ["6,000 examples.", "On the dev set, 1 example:"]),
        ("choice", {"train": 1, "dev": 20}, ["have 1 question.", "On the dev set, 20 questions:"]),
        ("span_v1", {"train": 2000}, ["have 2,000 windows of texts with their questions.", "On the dev set:"]),
        ("pretrained", {"dev": 5000}, ["On the dev set, 5,000 sequences:"]),
        ("classification", {"train": "x", "dev": -1}, ["On the dev set:"]),
        ("classification", [1], ["On the dev set:"]),
    ],
)
def test_the_card_counts_the_examples(exportable, tmp_path, name, examples, said):
    report = {"examples": examples, "best": {"f1": 0.5}, "best_metric": "f1"}
    (tmp_path / "eval_results.json").write_text(json.dumps(report))
    model = load_model(exportable / name, "/cpu:0", with_pretraining_heads=True)
    card = model_card(dataclasses.replace(model, folder=tmp_path), ARCHITECTURES[name])
    for text in said:
        assert text in card, card


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_card_tells_the_library_the_metric_that_chose_the_checkpoint(exportable, tmp_path, task):
    best = dict.fromkeys((name for name, _ in task.metrics), 0.5)
    (tmp_path / "eval_results.json").write_text(json.dumps({"best": best, "best_metric": task.best_metric}))
    model = load_model(exportable / "classification", "/cpu:0")
    card = model_card(dataclasses.replace(model, folder=tmp_path), ARCHITECTURES["classification"])
    theirs = {"matthew_corr": "matthews_correlation", "eval_accuracy": "accuracy", "pearson": "pearsonr", "f1": "f1"}
    assert f"- {theirs[task.best_metric]}" in card.split("---")[1].split("\n")


def test_the_card_says_how_long_the_weights_were_trained(exportable, tmp_path):
    report = {
        "examples": {"train": 6000},
        "best": {"f1": 0.5, "global_step": 300},
        "hyperparameters": {"Global batch size": 64},
    }
    (tmp_path / "eval_results.json").write_text(json.dumps(report))
    model = dataclasses.replace(load_model(exportable / "classification", "/cpu:0"), folder=tmp_path)
    # 300 x 64 / 6000
    said = "The training data have 6,000 examples. The weights are those after 300 steps, which is 3.2 epochs."
    assert said in model_card(model, ARCHITECTURES["classification"])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_card_has_its_parts_and_code_that_is_python(exported, name):
    card = (exported / name / "README.md").read_text()
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == ["Use", "Limits"]  # these are no runs: no scores
    for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        compile(code, name, "exec")
    (shell,) = re.findall(r"```bash\npython -m (.*?)\n```", card, re.DOTALL)
    module, *arguments = shell.split()
    assert module == "albert.predict"
    assert parse_predict_flags([module, *arguments]).model_dir == Path("path/to/this/folder")


@pytest.mark.parametrize(
    ("output", "columns", "title"),
    [
        (Labels(("no", "y_s")), ("text",), "ALBERT text classifier: no, y\\_s"),
        (Labels(tuple("abcdef")), ("a", "b"), "ALBERT text pair classifier with 6 labels"),
        (MultiLabels(("no", "yes")), ("text",), "ALBERT multi-label text classifier: no, yes"),
        (Score(0, 5), ("a", "b"), "ALBERT that scores a text pair"),
    ],
)
def test_the_title_of_a_model_of_own_data_says_what_it_does(exportable, output, columns, title):
    model = load_model(exportable / "classification", "/cpu:0")
    description = dataclasses.replace(model.description, task_name="own", output=output, text_columns=columns)
    card = model_card(dataclasses.replace(model, description=description), ARCHITECTURES["classification"])
    assert f"\n# {title}\n" in card


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"best": 3}', b"\xff", b'{"best": {"f1": "x"}}'])
def test_a_card_of_a_damaged_report_has_no_scores(exportable, tmp_path, content, caplog):
    (tmp_path / "eval_results.json").write_bytes(content)
    model = load_model(exportable / "classification", "/cpu:0")
    card = model_card(dataclasses.replace(model, folder=tmp_path), "AlbertForSequenceClassification")
    assert "Scores" not in card
    assert ("the model card has no scores" in caplog.text) != (b'"x"' in content)


def test_a_card_names_the_bounds_of_a_score_where_there_are_some(exportable):
    model = load_model(exportable / "regression", "/cpu:0")
    for output, said in (
        (Score(0, 5), "a score. Scores in its training data were between 0 and 5."),
        (Score(), "a score."),
    ):
        description = dataclasses.replace(model.description, output=output)
        card = model_card(dataclasses.replace(model, description=description), ARCHITECTURES["regression"])
        assert f" and gives {said}\n" in card
