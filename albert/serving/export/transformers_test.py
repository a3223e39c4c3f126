"""Exported folders opened by transformers itself, in the environments that scripts/peer_environments.sh makes."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import albert
from albert.heads.pretraining import PretrainingHead
from albert.modeling import TokenLayout, encode
from albert.runs.export import run
from albert.serving.export.reference import num_options, reference, sample_rows
from albert.serving.export.request import ExportRequest
from albert.serving.loading import load_model
from albert.serving.testing import MODELS, write_random_model
from albert.testing import TESTDATA
from albert.tokenization import load_tokenizer

ROOT = Path(__file__).parents[3]
PROBE = Path(__file__).with_name("testing.py")
VERSIONS = ("4.57.6", "5.24.0")
NUM_ROWS = 1000
# Tables with texts, and their columns; every row of them, but of the long ones only so many.
TEXTS = {"MRPC/dev.tsv": (3, 4), "RTE/dev.tsv": (1, 2), "SST-2/dev.tsv": (0,), "STS-B/dev.tsv": (7, 8)}


@pytest.fixture(params=VERSIONS, scope="module")
def peer(request):
    """Calls the probe with arguments in the environment with a version of transformers; returns what it prints."""
    python = ROOT / ".peers" / f"transformers-{request.param}" / "bin/python"
    if not python.exists():
        pytest.skip(f"needs transformers {request.param}: scripts/peer_environments.sh {request.param}")

    def call(*arguments):
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [python, PROBE, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=500)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout) if done.stdout else None

    return call


@pytest.fixture(scope="module")
def exported(exportable, tmp_path_factory):
    """(folder, outputs by model): exports of all models that there is a class for, with rows for each."""
    folder, expected = tmp_path_factory.mktemp("exported"), {}
    for name in sorted(MODELS.keys() - {"span_v2"}):
        run(ExportRequest(exportable / name, folder / name, "huggingface"))
        model = load_model(exportable / name, "/cpu:0", with_pretraining_heads=True)
        rows = sample_rows(model)
        np.savez(folder / name / "rows.npz", options=num_options(model), **rows)
        expected[name] = {**reference(model)(rows), **pretraining_logits(model, rows)}
    # A class without pooler, though the file has one.
    del expected["masked_lm"]["pooled_output"]
    return folder, expected


def pretraining_logits(model, rows):
    """The logits of masked words at every position, and of the order of sentences, of the heads that the model has."""
    if "cls/predictions/output_bias" not in model.weights:
        return {}
    layout = TokenLayout.one_per_row(*(tf.constant(rows[name]) for name in ("input_ids", "attention_mask")),
                                     tf.constant(rows["token_type_ids"]))  # fmt: skip
    head, encoded = PretrainingHead(model.config), encode(model.config, model.weights, layout)
    count, length = rows["input_ids"].shape
    positions = tf.tile(tf.range(length)[None], [count, 1])
    words = head.masked_lm_products(model.weights, encoded, positions) + model.weights["cls/predictions/output_bias"]
    found = {"mlm": tf.reshape(words, [count, length, -1]).numpy()}
    if "cls/seq_relationship/output_bias" in model.weights:
        found["sop"] = head.sentence_order_logits(model.weights, encoded).numpy()
    return found


def test_the_outputs_are_the_models(peer, exported):
    folder, expected = exported
    peer("outputs", folder)
    for name, outputs in expected.items():
        found = dict(np.load(folder / name / "transformers.npz"))
        assert found.keys() == outputs.keys(), name
        for output, values in outputs.items():
            np.testing.assert_allclose(found[output], values, atol=1e-5, rtol=0, err_msg=f"{name}: {output}")


@pytest.fixture(scope="module")
def with_google_vocabulary(tmp_path_factory):
    """A model with Google's vocabulary and rows of 128 tokens, and its export."""
    folder = tmp_path_factory.mktemp("google")
    tokenizer = load_tokenizer(TESTDATA / "30k-clean.model", None, do_lower_case=True)
    write_random_model(folder / "model", "classification", tokenizer, vocab_size=30000, max_position_embeddings=128)
    run(ExportRequest(folder / "model", folder / "exported", "huggingface"))
    return folder


def test_the_pipeline_gives_what_albert_predict_gives(peer, shared_data, with_google_vocabulary, tmp_path):
    rows = [line.split("\t")[1:3] for line in lines_of(shared_data / "glue_data/QNLI/dev.tsv")[1 : NUM_ROWS + 1]]
    assert len(rows) == NUM_ROWS
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    found = peer("labels", with_google_vocabulary / "exported", tmp_path / "rows.json")
    predictor = albert.load(with_google_vocabulary / "model", device="cpu")
    expected = predictor([row[0] for row in rows], [row[1] for row in rows], top_k=0)
    scores = [[{r["label"]: r["score"] for r in results} for results in given] for given in (found, expected)]
    assert [list(row) for row in scores[0]] == [list(row) for row in scores[1]]
    names = list(scores[0][0])
    arrays = [np.array([[row[name] for name in names] for row in given]) for given in scores]
    np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-5, rtol=0)


def test_ids_of_real_texts(peer, shared_data, with_google_vocabulary, tmp_path):
    texts = [
        field for name, columns in TEXTS.items() for line in lines_of(shared_data / "glue_data" / name)[1:NUM_ROWS]
        for field in (line.split("\t")[column] for column in columns)
    ]  # fmt: skip
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    found = peer("ids", with_google_vocabulary / "exported", tmp_path / "texts.json")
    tokenizer = load_tokenizer(TESTDATA / "30k-clean.model", None, do_lower_case=True)
    different = [text for text, ids in zip(texts, found, strict=True) if ids != tokenizer.encode(text)]
    assert different == []


def lines_of(path):
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
