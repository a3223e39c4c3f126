"""Model Garden's checkpoints and SavedModels, TF1 hub modules and KerasHub's presets give what their libraries gave.

Small ones: testdata/interchange, with the outputs of Hugging Face's model of the same weights. The others, with their
own libraries' outputs, lie in the folder reference/interchange beside the larger evaluation data.
"""

import gzip
import json
import shutil
import tarfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.modeling import AlbertModel, TokenLayout, encode
from albert.serving.imported import describe
from albert.serving.loading import load_model
from albert.serving.model_files import find_config, find_vocabulary
from albert.tasks.base import Labels
from albert.testing import AGREEMENT, TESTDATA, below, golden
from albert.weights.loading import load_weights
from albert.weights.paths import checkpoint_prefix, format_of, open_weights

MODELS = TESTDATA / "interchange"
TOLERANCE = {"atol": 1e-5, "rtol": 0}


def tensors_of(path):
    with open_weights(checkpoint_prefix(path)) as reader:
        names = set(reader.get_variable_to_shape_map()) - {checkpoint_files.GLOBAL_STEP}
        assert names <= set(reader.get_variable_to_dtype_map())
        return {name: reader.get_tensor(name) for name in names}


def outputs_of(folder, inputs, config=None):
    config = AlbertConfig.from_json_file(config or find_config(folder))
    weights = AlbertModel(config).weights
    report = load_weights(checkpoint_prefix(folder), weights)
    assert not report.fresh
    found = encode(config, weights, TokenLayout.one_per_row(**{k: tf.constant(v) for k, v in inputs.items()}))
    return {"sequence_output": found.sequence_output, "pooled_output": found.pooled_output}


def saved_model(folder):
    """A TF2 SavedModel as far as it is read: no graph."""
    (folder / "variables").mkdir(parents=True)
    for suffix in checkpoint_files.SUFFIXES:
        source = f"{MODELS}/checkpoint_encoder/bert_model.ckpt-1{suffix}"
        shutil.copy(source, f"{folder}/variables/variables{suffix}")
    (folder / "saved_model.pb").touch()
    (folder / "keras_metadata.pb").write_bytes(gzip.decompress((MODELS / "keras_metadata.pb.gz").read_bytes()))
    return folder


def folder_of(name, tmp_path):
    if name == "saved_model":
        return saved_model(tmp_path / name)
    shutil.copytree(MODELS / name, tmp_path / name)
    if name == "checkpoint_encoder":
        shutil.copy(MODELS / "for_pretraining/config.json", tmp_path / name / "albert_config.json")
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("checkpoint_encoder", "Model Garden"),
        ("saved_model", "TF2 SavedModel"),
        ("keras_hub", "KerasHub"),
        ("for_pretraining_bin", "Hugging Face"),
    ],
)
def test_the_same_weights_in_every_format_are_the_same_bit_for_bit(tmp_path, name, whose):
    folder = folder_of(name, tmp_path)
    assert format_of(checkpoint_prefix(folder)) == whose
    found, expected = tensors_of(folder), tensors_of(MODELS / "for_pretraining")
    assert {tensor for tensor in found if tensor.startswith("bert/")} == {n for n in expected if n.startswith("bert/")}
    assert all(np.array_equal(found[tensor], expected[tensor]) for tensor in found)
    theirs = golden("interchange/outputs")
    for output, value in outputs_of(folder, below(theirs, "tiny/inputs")).items():
        np.testing.assert_allclose(value, theirs[f"tiny/{output}"], **TOLERANCE)


def test_a_folder_of_each_is_a_whole_model(tmp_path, caplog):
    for name, vocabulary in (
        ("saved_model", "assets/30k-clean.model"),
        ("keras_hub", "assets/tokenizer/vocabulary.spm"),
    ):
        folder = folder_of(name, tmp_path)
        (folder / vocabulary).parent.mkdir(parents=True)
        shutil.copy(AGREEMENT / "agreement.model", folder / vocabulary)
        model = load_model(folder, "/CPU:0")
        assert (model.description, model.has_pooler, model.tokenizer.vocab_size) == (None, True, 124)
    assert "not used" not in caplog.text


def with_classifier(folder, **config):
    """The KerasHub preset with the head of `for_sequence_classification`, as keras-hub 0.32 writes it."""
    with open_weights(MODELS / "for_sequence_classification/model.safetensors") as reader:
        weights, bias = reader.get_tensor("output_weights"), reader.get_tensor("output_bias")
    with h5py.File(folder / "task.weights.h5", "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = weights.T, bias
        file.create_dataset("optimizer/vars/0", data=np.int64(0), chunks=None)
    config = {"num_classes": 3, "activation": "linear"} | config
    (folder / "task.json").write_text(json.dumps({"class_name": "AlbertTextClassifier", "config": config}))
    return folder


def test_a_classifier_of_kerashub_predicts(tmp_path):
    folder = with_classifier(folder_of("keras_hub", tmp_path))
    (folder / "spiece.model").write_bytes((AGREEMENT / "agreement.model").read_bytes())
    model = load_model(folder, "/CPU:0")
    assert model.description.output == Labels(("LABEL_0", "LABEL_1", "LABEL_2"))
    theirs = golden("interchange/outputs")
    layout = TokenLayout.one_per_row(**{k: tf.constant(v) for k, v in below(theirs, "tiny/inputs").items()})
    found = model.head.predict(model.weights, encode(model.config, model.weights, layout))["probabilities"]
    np.testing.assert_allclose(found, tf.nn.softmax(theirs["tiny/classification/logits"]), **TOLERANCE)


@pytest.mark.parametrize(
    "config", [{"num_classes": 1}, {"activation": "sigmoid"}, {"num_classes": "3"}, {"activation": ["linear"]}]
)
def test_other_tasks_of_kerashub_give_embeddings(tmp_path, caplog, config):
    folder = with_classifier(folder_of("keras_hub", tmp_path), **config)
    assert describe(folder / "config.json") is None
    assert "task.json: what this task gives is not predicted here; the model gives embeddings" in caplog.text


def test_the_variables_of_an_optimizer_are_passed_over(tmp_path):
    table, moment = (
        tf.Variable(tf.ones([3, 2]), name=f"{scope}word_embeddings/embeddings") for scope in ("", "Adam/m/")
    )
    parts = tf.train.Checkpoint(table=table), tf.train.Checkpoint(moment=moment)
    tf.train.Checkpoint(model=parts[0], optimizer=parts[1]).save(tmp_path / "model")
    assert set(tensors_of(tmp_path)) == {"bert/embeddings/word_embeddings"}


def test_a_saved_model_of_ours_is_read_as_its_variables_are_called(tmp_path):
    config = MODELS / "for_pretraining_groups/config.json"
    model = AlbertModel(AlbertConfig.from_json_file(config), seed=1)
    module = tf.Module()
    module.weights = model.weights
    tf.saved_model.save(module, str(tmp_path))
    shutil.copy(config, tmp_path)
    assert format_of(checkpoint_prefix(tmp_path)) == "TF2 SavedModel"
    found = tensors_of(tmp_path)
    assert set(found) == set(model.weights)
    assert all(np.array_equal(value, model.weights[name]) for name, value in found.items())


def change_config(folder, old, new):
    path = find_config(folder)
    path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize("name", ["checkpoint_encoder", "saved_model", "keras_hub"])
def test_a_configuration_with_another_number_of_heads_is_refused(tmp_path, name):
    folder = folder_of(name, tmp_path)
    change_config(folder, b'attention_heads": 2', b'attention_heads": 4')
    change_config(folder, b'num_heads": 2', b'num_heads": 4')
    with pytest.raises(UserError, match=r"2 attention heads, but num_.* is 4: they are not of the same model"):
        tensors_of(folder)


@pytest.mark.parametrize("place", ["albert_config.json", "assets/albert_config.json"])
def test_a_configuration_that_was_put_into_a_saved_model_counts_and_is_compared(tmp_path, place):
    folder = saved_model(tmp_path / "model")
    (folder / place).parent.mkdir(exist_ok=True)
    config = (MODELS / "for_pretraining/config.json").read_text()
    (folder / place).write_text(config.replace('"num_attention_heads": 2', '"num_attention_heads": 4'))
    assert find_config(folder) == folder / place
    with pytest.raises(UserError, match=rf"2 attention heads, but num_attention_heads in .*{place} is 4"):
        tensors_of(folder)
    (folder / place).write_text(config)
    (folder / "keras_metadata.pb").write_bytes(b"\xff\xff")  # which nothing needs then
    assert tensors_of(folder)


def test_a_saved_model_of_something_else_is_refused(tmp_path):
    folder = saved_model(tmp_path / "model")
    change_config(folder, b"Text>gelu", b"Text>silu")
    with pytest.raises(
        UserError, match=r"keras_metadata\.pb has the activation .*Text>silu.*name an albert_config.json"
    ):
        AlbertConfig.from_json_file(find_config(folder))
    change_config(folder, b"AlbertEncoder", b"ElectraEncode")
    with pytest.raises(UserError, match=r"keras_metadata\.pb describes no AlbertEncoder of Model Garden's"):
        AlbertConfig.from_json_file(find_config(folder))
    (folder / "keras_metadata.pb").write_bytes(b"\xff\xff")
    with pytest.raises(UserError, match=r"keras_metadata\.pb is damaged"):
        AlbertConfig.from_json_file(find_config(folder))
    (folder / "keras_metadata.pb").unlink()
    with pytest.raises(UserError, match=r"SavedModel that does not say how many layers it has: .* albert_config"):
        find_config(folder)


def test_a_damaged_graph_of_objects_is_refused(tmp_path):
    checkpoint_files.save(tmp_path / "model", {"_CHECKPOINTABLE_OBJECT_GRAPH": tf.constant(b"\xff\xff")})
    with pytest.raises(UserError, match="is no graph of objects"):
        tensors_of(tmp_path / "model")
    checkpoint_files.save(tmp_path / "model", {"_CHECKPOINTABLE_OBJECT_GRAPH": tf.zeros([3])})
    with pytest.raises(UserError, match="is no graph of objects"):
        tensors_of(tmp_path / "model")


# --- All that there is ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(shared_data):
    folder = shared_data.parent / "reference/interchange"
    if not folder.is_dir():
        pytest.skip(f"needs the models of other libraries: {folder} is not there")
    return folder


@pytest.fixture(scope="module")
def unpacked(reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    for archive in (reference / "model_garden/saved_model_mlm.tar.gz", reference / "tf1_hub.tar.gz"):
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    return folder


ENCODER_ONLY = ("model_garden/checkpoint_encoder", "keras_hub", "hf/model", "hf_4/model", "hf/model_square")


@pytest.mark.parametrize(
    ("name", "whose", "model", "outputs"),
    [
        ("tf1_hub", "TF1 hub module", "tiny", "tf1_hub_tiny"),
        ("saved_model_mlm", "TF2 SavedModel", "tiny", "model_garden_tiny"),
        ("model_garden/checkpoint_encoder", "Model Garden", "tiny", "model_garden_tiny"),
        ("model_garden/checkpoint_pretrainer", "Model Garden", "tiny", "model_garden_tiny"),
        ("keras_hub", "KerasHub", "tiny", "keras_hub_tiny"),
        ("hf/model", "Hugging Face", "tiny", "hf_tiny"),
        ("hf/for_pretraining", "Hugging Face", "tiny", "hf_tiny"),
        ("hf/for_pretraining_groups", "Hugging Face", "groups", "hf_groups"),
        ("hf/model_square", "Hugging Face", "square", "hf_square"),
        ("hf_4/model", "Hugging Face", "tiny", "hf_tiny"),
        ("hf_4/for_pretraining_bin", "Hugging Face", "tiny", "hf_tiny"),
    ],
)
def test_every_model_gives_what_its_library_gave(reference, unpacked, name, whose, model, outputs):
    folder = unpacked / name if (unpacked / name).exists() else reference / name
    assert format_of(checkpoint_prefix(folder)) == whose
    found, expected = tensors_of(folder), tensors_of(reference / f"tf1/{model}/pretraining")
    assert all(np.array_equal(value, expected[tensor]) for tensor, value in found.items())
    missing = {tensor for tensor in expected if tensor not in found and not tensor.startswith("cls/seq_relationship/")}
    assert not missing or (name in ENCODER_ONLY and all(tensor.startswith("cls/") for tensor in missing)), missing
    config = reference / f"tf1/{model}/albert_config.json" if name.startswith("model_garden") else None
    theirs = np.load(reference / f"outputs_{outputs}.npz")
    for output, value in outputs_of(folder, below(theirs, "inputs"), config).items():
        np.testing.assert_allclose(value, theirs[output], **TOLERANCE)


def test_what_a_hub_module_holds_beside_its_weights_is_found(unpacked):
    for name, config in (("tf1_hub", "assets/albert_config.json"), ("saved_model_mlm", "keras_metadata.pb")):
        assert find_config(unpacked / name) == unpacked / name / config
        assert find_vocabulary(unpacked / name) == (unpacked / name / "assets/30k-clean.model", None)
