"""Models of Hugging Face's give what its own library gave: testdata/interchange, of transformers 5.24."""

import logging
import shutil

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.heads import pooled, span, tags
from albert.heads.pretraining import PretrainingHead
from albert.modeling import AlbertModel, TokenLayout, encode
from albert.testing import TESTDATA, below, golden
from albert.weights.loading import load_weights
from albert.weights.paths import checkpoint_prefix

MODELS = TESTDATA / "interchange"
OUTPUTS = golden("interchange/outputs")
PRETRAINING = MODELS / "for_pretraining/model.safetensors"
TOLERANCE = {"atol": 1e-5, "rtol": 0}


def config_of(model):
    return AlbertConfig.from_json_file(MODELS / model / "config.json")


def loaded(model, head=None):
    """Weights and the report, of `model` with the head that `head` makes of its configuration."""
    head = head and head(config_of(model))
    weights = AlbertModel(config_of(model), head.variable_specs if head else ()).weights
    return head, weights, load_weights(MODELS / model / "model.safetensors", weights)


def encoded(model, weights, recorded):
    layout = TokenLayout.one_per_row(**{k: tf.constant(v) for k, v in below(OUTPUTS, f"{recorded}/inputs").items()})
    return encode(config_of(model), weights, layout)


@pytest.mark.parametrize(
    ("model", "recorded"),
    [("for_pretraining", "tiny"), ("for_pretraining_groups", "groups"), ("model_square", "square")],
)
def test_the_encoder(model, recorded):
    _, weights, report = loaded(model)
    assert not report.fresh
    assert not report.remarks
    found = encoded(model, weights, recorded)
    for name in ("sequence_output", "pooled_output"):
        np.testing.assert_allclose(getattr(found, name), OUTPUTS[f"{recorded}/{name}"], **TOLERANCE)


def test_a_classifier():
    head, weights, report = loaded("for_sequence_classification", lambda c: pooled.ClassificationHead(c, num_labels=3))
    assert not report.fresh
    found = head.predict(weights, encoded("for_sequence_classification", weights, "tiny"))["probabilities"]
    np.testing.assert_allclose(found, tf.nn.softmax(OUTPUTS["tiny/classification/logits"]), **TOLERANCE)


def test_a_reader_of_questions_whose_pooler_is_fresh():
    head, weights, report = loaded("for_question_answering", lambda c: span.SpanHead(c, softmax_over_padding=True))
    assert report.fresh == ("bert/pooler/dense/kernel", "bert/pooler/dense/bias")
    assert "no pooler" in report.remarks[0]
    found = head.predict(weights, encoded("for_question_answering", weights, "tiny"))
    for name in ("start_log_prob", "end_log_prob"):
        recorded = tf.nn.log_softmax(OUTPUTS[f"tiny/squad_v1/{name}"])
        np.testing.assert_allclose(tf.nn.log_softmax(found[name]), recorded, **TOLERANCE)


def test_a_tagger_of_words(tmp_path):
    recorded = golden("interchange/for_token_classification/head_and_outputs")
    tensors = load_file(MODELS / "for_question_answering/model.safetensors")  # the encoder is the same
    encoder = {name: value for name, value in tensors.items() if not name.startswith("qa_outputs")}
    head = {name: recorded[name] for name in ("classifier.weight", "classifier.bias")}
    save_file(encoder | head, tmp_path / "model.safetensors")
    shutil.copy(MODELS / "for_token_classification/config.json", tmp_path)

    tagger = tags.TagHead(config_of("for_token_classification"), num_tags=5)
    weights = AlbertModel(tagger.config, tagger.variable_specs).weights
    report = load_weights(tmp_path / "model.safetensors", weights)
    assert report.fresh == ("bert/pooler/dense/kernel", "bert/pooler/dense/bias")
    found = encoded("for_token_classification", weights, "tiny")
    logits = tf.reshape(tagger.token_logits(weights, found), [4, 12, 5])
    np.testing.assert_allclose(logits, recorded["logits"], **TOLERANCE)
    # There -100 is no label, and the loss of a row without any is no number.
    labels = {"tag_ids": tf.constant(np.maximum(recorded["labels"] + 1, 0))}
    losses = tagger.per_example_loss(tagger.predict(weights, found, features=labels), labels)
    np.testing.assert_allclose(losses, np.nan_to_num(recorded["losses"]), rtol=1e-6, atol=1e-5)


def test_pretraining_heads(caplog):
    caplog.set_level(logging.INFO)
    _, weights, report = loaded("for_pretraining", PretrainingHead)
    assert not report.fresh
    assert not report.unused
    report.log(PRETRAINING)
    assert caplog.messages == [f"{PRETRAINING} (Hugging Face): 32 variables loaded"]
    found = encoded("for_pretraining", weights, "tiny")
    sop = tf.matmul(found.pooled_output, weights["cls/seq_relationship/output_weights"], transpose_b=True)
    sop += weights["cls/seq_relationship/output_bias"]
    np.testing.assert_allclose(sop, OUTPUTS["tiny/sop_logits"], **TOLERANCE)


@pytest.mark.parametrize(("dtype", "name"), [(np.float16, "float16"), (ml_dtypes.bfloat16, "bfloat16")])
def test_halves_are_converted_and_told(tmp_path, dtype, name):
    tensors = load_file(PRETRAINING)
    save_file({key: value.astype(dtype) for key, value in tensors.items()}, tmp_path / "model.safetensors")
    weights = AlbertModel(config_of("for_pretraining")).weights
    assert f"25 entries of type {name}" in load_weights(tmp_path / "model.safetensors", weights).remarks[0]
    table = tensors["albert.embeddings.word_embeddings.weight"].astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(weights["bert/embeddings/word_embeddings"], table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("albert.pooler.bias"), r"lacks 1 encoder variable of the model \(bert/pooler/dense\)"),
        (lambda t: t.update({"albert.encoder.adapter.weight": np.ones(3, np.float32)}), "has 1 encoder entry that"),
        (lambda t: t.update({"albert.pooler.weight": np.ones((32, 16), np.float32)}), r"has shape \[16, 32\]"),
    ],
)
def test_every_variable_of_the_encoder_comes_from_the_file(tmp_path, change, message):
    tensors = load_file(PRETRAINING)
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=message):
        load_weights(tmp_path / "model.safetensors", AlbertModel(config_of("for_pretraining")).weights)


@pytest.mark.parametrize(
    ("names", "remark"),
    [
        (["lora.A"], "1 entry is not used, as this model has no such part: lora.A"),
        (["prompt.0", "adapter.up", "prompt.1", "prompt.2", "classifier.1.weight"],
         "5 entries are not used, as this model has no such part: adapter.up, classifier.1.weight, prompt.0, and 2 mo"),
        (["albert.embeddings.position_ids", "qa_outputs.weight", "classifier.weight"], ""),
    ],
)  # fmt: skip
def test_entries_that_are_of_no_known_part_are_counted(tmp_path, names, remark):
    save_file(
        load_file(PRETRAINING) | dict.fromkeys(names, np.zeros((1, 2), np.float32)), tmp_path / "model.safetensors"
    )
    report = load_weights(tmp_path / "model.safetensors", AlbertModel(config_of("for_pretraining")).weights)
    assert "".join(report.remarks)[: len(remark)] == remark
    assert len(report.remarks) == bool(remark)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_beside_the_weights_is_said(tmp_path, name):
    shutil.copy(PRETRAINING, tmp_path)
    (tmp_path / name).touch()
    report = load_weights(checkpoint_prefix(tmp_path), AlbertModel(config_of("for_pretraining")).weights)
    assert report.remarks == (f"{name} beside it, PEFT's adapter, is not read: merge it into the model",)


@pytest.fixture
def _small_blocks(monkeypatch):
    """As tensors are read that are larger than a block: here those of more than 1000 bytes."""
    monkeypatch.setattr("albert.weights.stored_tensors._BLOCK_BYTES", 1000)
    monkeypatch.setattr("albert.weights.loading._BYTES_AT_ONCE", 1000)


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize(
    "file", ["for_pretraining/model.safetensors", "keras_hub/model.weights.h5", "checkpoint_encoder"]
)
def test_large_tensors_are_assigned_part_by_part(file, is_mirrored):
    expected = loaded("for_pretraining")[1]
    replicas = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if is_mirrored else tf.distribute.get_strategy()
    with replicas.scope():
        weights = AlbertModel(config_of("for_pretraining"), seed=None).weights
    assert not load_weights(checkpoint_prefix(MODELS / file), weights).fresh
    for name, variable in weights.items():
        values = variable.values if is_mirrored else [variable]
        assert all(np.array_equal(value, expected[name]) for value in values), name
