"""Folders of Hugging Face's are loaded as ours are."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import albert
from albert.errors import UserError
from albert.testing import AGREEMENT, TESTDATA


def folder_of(model, folder):
    shutil.copytree(TESTDATA / "interchange" / model, folder, dirs_exist_ok=True)
    shutil.copy(AGREEMENT / "agreement.model", folder / "spiece.model")
    return folder


@pytest.mark.slow
def test_a_classifier_reads_texts_and_pairs(tmp_path, caplog):
    predictor = albert.load(folder_of("for_sequence_classification", tmp_path))
    found = [predictor("A bird sings", top_k=0)[0], predictor("A bird sings", "It is silent", top_k=0)[0]]
    for labels in found:
        assert {label["label"] for label in labels} == {"contradiction", "entailment", "neutral"}
        assert sum(label["score"] for label in labels) == pytest.approx(1)
    assert found[0] != found[1]
    assert caplog.text.count("texts are cut as Google's ALBERT") == 1


@pytest.mark.slow
def test_questions_are_answered_from_the_context(tmp_path):
    answer = albert.load(folder_of("for_question_answering", tmp_path)).answer("Who sings?", "A bird sings.")
    assert answer["answer"] in "A bird sings."


@pytest.mark.slow
def test_one_of_four_options_is_chosen(tmp_path):
    weights = folder_of("for_sequence_classification", tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    head = {name: tensors[name][:1] for name in ("classifier.weight", "classifier.bias")}
    save_file(tensors | head, weights)
    shutil.copy(TESTDATA / "interchange/for_multiple_choice/config.json", tmp_path)
    options = ["A bird", "A dog", "A cat", "A tree"]
    assert albert.load(tmp_path).choose("A bird sings.", "Who sings?", options)["option"] in options


def test_a_pretrained_model_embeds(tmp_path):
    vectors = albert.load(folder_of("for_pretraining", tmp_path)).encode(["A bird sings"])
    assert vectors.shape == (1, 32)
    assert np.isfinite(vectors).all()


def test_a_classifier_of_texts_without_a_pooler_is_refused_by_what_it_lacks(tmp_path):
    file = folder_of("for_sequence_classification", tmp_path) / "model.safetensors"
    tensors = {name: value for name, value in load_file(file).items() if "pooler" not in name}
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"model\.safetensors has no pooler: it is not the model that .*config\.json"):
        albert.load(tmp_path)


def test_a_head_of_other_labels_is_refused(tmp_path):
    config = folder_of("for_sequence_classification", tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"id2label": {"0": "no", "1": "yes"}}))
    with pytest.raises(UserError, match=r"output_weights of shape \[3, 32\], not \[2, 32\]: .*config.json describes"):
        albert.load(tmp_path)
