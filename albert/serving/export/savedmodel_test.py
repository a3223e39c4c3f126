import dataclasses
import importlib.util
import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from albert.runs.export import run
from albert.serving.export import savedmodel
from albert.serving.export.reference import TEXTS, reference, rows_of, sample_rows
from albert.serving.export.request import ExportRequest
from albert.serving.loading import load_model
from albert.serving.predictor import Predictor
from albert.serving.testing import write_random_model
from albert.testing import TESTDATA
from albert.tokenization import load_tokenizer

needs_tensorflow_text = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_text") is None,
    reason="tensorflow-text (60 MB) is not installed: scripts/setup.sh --serving",
)
# Nothing of this project, and no tensorflow-text: what any program has that loads a SavedModel.
LOAD = """
import json, sys
import numpy as np
import tensorflow as tf
folder, rows = sys.argv[1:]
loaded = tf.saved_model.load(folder)
with np.load(rows) as arrays:
    outputs = loaded.signatures["ids"](**{name: tf.constant(array) for name, array in arrays.items()})
foreign = [name for name in sys.modules if name.split(".")[0] in ("albert", "tensorflow_text")]
lists = {name: tensor.numpy().tolist() for name, tensor in outputs.items()}
print(json.dumps({"foreign": foreign, "signatures": sorted(loaded.signatures), "outputs": lists}))
"""


def write_googles(folder, name):
    """The folder of a random model with Google's vocabulary."""
    tokenizer = load_tokenizer(TESTDATA / "30k-clean.model", None, do_lower_case=True)
    write_random_model(folder / name, name, tokenizer, vocab_size=30000)
    return folder / name


@pytest.mark.slow
def test_ids_are_computed_by_a_process_that_knows_nothing_of_this_project(exportable, tmp_path, caplog, capsys):
    caplog.set_level(logging.INFO)
    model_dir = exportable / "classification"
    model = load_model(model_dir, "/cpu:0")
    run(ExportRequest(model_dir, tmp_path / "out", "savedmodel", version=3, string_input=False))
    assert "3 in it is a model folder, too" in capsys.readouterr().out
    assert "Signature ids(input_ids: int32 [?, ?], " in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["3"]
    back = load_model(tmp_path / "out/3", "/cpu:0")
    assert (back.description, back.config) == (model.description, model.config)
    for name, value in model.weights.items():
        np.testing.assert_array_equal(back.weights[name], value, err_msg=name)
    rows = sample_rows(model)
    np.savez(tmp_path / "rows.npz", **rows)
    command = [sys.executable, "-c", LOAD, str(tmp_path / "out/3"), str(tmp_path / "rows.npz")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["foreign"] == []
    assert found["signatures"] == ["ids"]
    logits = reference(model)(rows)["logits"]
    np.testing.assert_allclose(found["outputs"]["logits"], logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["outputs"]["probabilities"], tf.nn.softmax(logits), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_pretrained_model_comes_in_again_with_its_heads(exportable, tmp_path):
    model = load_model(exportable / "pretrained", "/cpu:0", with_pretraining_heads=True)  # of groups
    savedmodel.write(model, tmp_path, ExportRequest(tmp_path, tmp_path, "savedmodel"))
    back = load_model(tmp_path / "1", "/cpu:0", with_pretraining_heads=True)
    assert back.weights.keys() == model.weights.keys()
    for name, value in model.weights.items():
        np.testing.assert_array_equal(back.weights[name], value, err_msg=name)


@needs_tensorflow_text
def test_texts_become_what_predict_says(tmp_path):
    model_dir = write_googles(tmp_path, "classification")
    run(ExportRequest(model_dir, tmp_path / "out", "savedmodel"))
    serve = tf.saved_model.load(str(tmp_path / "out/1")).signatures["serving_default"]
    texts, pairs = (tf.constant([text or "" for text in column]) for column in zip(*TEXTS, strict=True))
    found = {name: tensor.numpy() for name, tensor in serve(text=texts, text_pair=pairs).items()}
    expected = Predictor(model_dir, device="cpu")(
        *([text or "" for text in column] for column in zip(*TEXTS, strict=True))
    )
    assert [label.decode() for label in found["label"]] == [result["label"] for result in expected]
    np.testing.assert_allclose(found["score"], [result["score"] for result in expected], rtol=0, atol=1e-5)
    assert found["probabilities"].shape == (len(TEXTS), 3)


@needs_tensorflow_text
def test_several_labels_and_a_score(tmp_path):
    texts = [first for first, _ in TEXTS[:3]]
    several = savedmodel.TextModelGraph(load_model(write_googles(tmp_path, "multi_label"), "/cpu:0"))
    found = several.texts(tf.constant(texts), tf.constant([""] * 3))
    assert found["labels"].numpy().tolist() == [[b"a", b"b", b"c", b"d"]] * 3
    assert found["probabilities"].shape == (3, 4)
    model = load_model(write_googles(tmp_path, "regression"), "/cpu:0")
    model = dataclasses.replace(model, description=dataclasses.replace(model.description, text_columns=("text",)))
    found = savedmodel.TextModelGraph(model).texts(tf.constant(texts))
    logits = reference(model)(rows_of(model, tuple((text, None) for text in texts)))["logits"]
    np.testing.assert_allclose(found["score"], logits[:, 0], rtol=0, atol=1e-5)
    assert found["label"].numpy().tolist() == [b"LABEL_0"] * 3


def test_what_takes_no_texts_is_said(exportable, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    model = load_model(exportable / "choice", "/cpu:0")
    savedmodel.write(model, tmp_path, ExportRequest(tmp_path, tmp_path, "savedmodel"))
    assert "no texts, because only models that give labels or a score read texts as they are" in caplog.text
    assert savedmodel.reopen(tmp_path, model)(sample_rows(model))["logits"].shape == (2, 4)
