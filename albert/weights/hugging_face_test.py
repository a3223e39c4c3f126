"""Files of Hugging Face's: read by our names, or refused in one line. Models: testdata/interchange. No TensorFlow."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.weights.hugging_face import open_weights

MODELS = Path(__file__).parents[1] / "testdata/interchange"
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PRETRAINING = MODELS / "for_pretraining" / WHOLE
BLOCK, OURS = "albert.encoder.albert_layer_groups.0.albert_layers.0", "bert/encoder/transformer/group_0/inner_group_0"


def read(path):
    with open_weights(path) as reader:
        shapes, values = reader.get_variable_to_shape_map(), {}
        assert set(reader.get_variable_to_dtype_map()) == set(shapes)
        for name, shape in shapes.items():
            values[name] = reader.get_tensor(name)
            assert list(values[name].shape) == shape
    return values


def write(folder, tensors, config="for_pretraining"):
    shutil.copy(MODELS / config / "config.json", folder)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / WHOLE, {"format": "pt"})
    return folder / WHOLE


@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("for_pretraining", 32),
        ("for_pretraining_groups", 80),
        ("model_square", 23),
        ("for_sequence_classification", 27),
        ("for_question_answering", 25),
    ],
)
def test_every_tensor_has_a_name_of_ours(model, number):
    names = set(read(MODELS / model / WHOLE))
    assert len(names) == number
    assert all(name.startswith(("bert/", "cls/", "output_")) for name in names)


def test_no_library_is_needed_to_read_them():
    files = [PRETRAINING, MODELS / "for_pretraining_bin/pytorch_model.bin"]
    code = """
import sys
from pathlib import Path
sys.modules |= dict.fromkeys(("safetensors", "torch", "transformers", "tensorflow"))  # to import them fails
from albert.weights.hugging_face import open_weights
for path in sys.argv[1:]:
    with open_weights(Path(path)) as reader:
        assert len([reader.get_tensor(name) for name in reader.get_variable_to_shape_map()]) == 32
"""
    subprocess.run([sys.executable, "-c", code, *map(str, files)], cwd=Path(__file__).parents[2], check=True)


def test_kernels_are_transposed_and_heads_are_not():
    theirs, ours = load_file(PRETRAINING), read(PRETRAINING)
    np.testing.assert_array_equal(
        ours[f"{OURS}/attention_1/self/query/kernel"], theirs[f"{BLOCK}.attention.query.weight"].T
    )
    np.testing.assert_array_equal(ours[f"{OURS}/LayerNorm_1/beta"], theirs[f"{BLOCK}.full_layer_layer_norm.bias"])
    sop = "cls/seq_relationship/output_weights"
    np.testing.assert_array_equal(ours[sop], theirs["sop_classifier.classifier.weight"])


def test_the_same_model_is_read_from_files_that_are_written_otherwise(tmp_path):
    tensors, expected = load_file(PRETRAINING), read(PRETRAINING)
    tensors["albert.embeddings.LayerNorm.gamma"] = tensors.pop("albert.embeddings.LayerNorm.weight")
    tensors["predictions.decoder.weight"] = tensors["albert.embeddings.word_embeddings.weight"]
    tensors["predictions.decoder.bias"] = tensors["predictions.bias"]
    tensors["albert.embeddings.position_ids"] = np.arange(64)[None]
    found = read(write(tmp_path, tensors))
    del found["bert/embeddings/position_ids"]
    assert set(found) == set(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in found)


def test_without_the_scope_of_a_model_with_a_head(tmp_path):
    tensors = load_file(PRETRAINING)
    encoder = {name.removeprefix("albert."): value for name, value in tensors.items() if name.startswith("albert.")}
    assert set(read(write(tmp_path, encoder))) == {name for name in read(PRETRAINING) if name.startswith("bert/")}


@pytest.mark.parametrize("outer", ["module.", "_orig_mod.", "model.", "base_model.model."])
def test_what_wrappers_put_in_front_of_all_names_is_left_out(tmp_path, outer):
    tensors = load_file(PRETRAINING)
    path = write(tmp_path, {f"{outer}{name}": value for name, value in tensors.items()})
    expected, found = read(PRETRAINING), read(path)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_weights_beside_an_adapter_that_is_not_merged_are_refused_by_their_names(tmp_path):
    tensors = {
        f"base_model.model.{name.replace('query.weight', 'query.base_layer.weight')}": value
        for name, value in load_file(PRETRAINING).items()
    }
    assert f"{OURS}/attention_1/self/query/kernel" not in read(write(tmp_path, tensors))


def test_a_token_classifier_is_told_from_a_classifier_of_texts(tmp_path):
    """By the pooler that it lacks; old versions wrote one, but say what they are in the configuration."""
    tensors = load_file(PRETRAINING) | {"classifier.weight": np.zeros((5, 32), np.float32)}
    without_pooler = {name: value for name, value in tensors.items() if "pooler" not in name}
    heads = ("output_weights", "cls/tags/output_weights")
    config = json.loads(PRETRAINING.with_name("config.json").read_text())
    assert [name in read(write(tmp_path, tensors)) for name in heads] == [True, False]
    assert [name in read(write(tmp_path, without_pooler)) for name in heads] == [False, True]
    path = write(tmp_path, tensors)
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["AlbertForTokenClassification"]}))
    assert [name in read(path) for name in heads] == [False, True]


def shards(folder):
    tensors = load_file(PRETRAINING)
    shutil.copy(PRETRAINING.with_name("config.json"), folder)
    where = {}
    for number, names in enumerate((sorted(tensors)[:10], sorted(tensors)[10:]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names}, folder / file)
        where |= dict.fromkeys(names, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return folder / INDEX


def test_shards_are_one_model(tmp_path):
    found, expected = read(shards(tmp_path)), read(PRETRAINING)
    assert set(found) == set(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model-00002-of-00002.safetensors").unlink(), "2 files and lacks 1 of them, as model-0"),
        (lambda f: (f / INDEX).write_text("{"), "is not JSON"),
        (lambda f: (f / INDEX).write_text("[]"), "has no weight_map"),
        (lambda f: (f / INDEX).write_text('{"weight_map": {"a": "../b.safetensors"}}'), "no name of a file beside it"),
        (lambda f: (f / "model-00001-of-00002.safetensors").write_bytes(b"x"), "cannot be read, it may be damaged"),
        (lambda f: shutil.copy(f / "model-00001-of-00002.safetensors", f / "model-00002-of-00002.safetensors"),
         "model-00002-of-00002.safetensors is not the file that"),
    ],
)  # fmt: skip
def test_shards_that_are_none_are_refused(tmp_path, change, message):
    index = shards(tmp_path)
    change(tmp_path)
    with pytest.raises(UserError, match=message):
        read(index)


def header(*offsets, shape=(1,), dtype="F32"):
    """A file of eight bytes of numbers, which tensors at these offsets describe."""
    tensors = {str(at): {"dtype": dtype, "shape": list(shape), "data_offsets": list(at)} for at in offsets}
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        PRETRAINING.read_bytes()[:5000],
        PRETRAINING.read_bytes()[:-4],
        struct.pack("<Q", 1 << 50) + b"{}",
        header((0, 1 << 42), shape=(1 << 40,)),
        header((0, 4), (0, 4)),
        header((0, 4), (2, 6), (4, 8)),
        header((0, 4)),
        header((0, 8), shape=(1,)),
        header((0, 8), shape=(1 << 62, 1 << 62)),
        header((-4, 0), (0, 4), (4, 8)),
        header((0, 8), shape=(2.0,)),
        header((4, 8), (0, 4)).replace(b"[0, 4]}", b'[0, 4], "dtype": "F32"}'),
        PRETRAINING.read_bytes().replace(b'"F32"', b'"F99"', 1),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, content):
    path = write(tmp_path, {})
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{WHOLE} cannot be read, it may be damaged: .*Download it again") as raised:
        read(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "name", "value", "message"),
    [
        ("for_pretraining", "predictions.decoder.weight", np.ones((300, 16), np.float32), "differs from albert.emb"),
        ("for_pretraining", "albert.embeddings.LayerNorm.gamma", np.ones(16, np.float32), "LayerNorm/gamma 2 times"),
        ("for_pretraining", "albert.pooler.bias", np.zeros(32, np.int8), "albert.pooler.bias has type I8"),
        ("model_square", "encoder.embedding_hidden_mapping_in.bias", np.ones(32, np.float32), "is no identity"),
        ("model_square", "encoder.embedding_hidden_mapping_in.weight", np.ones((32, 32), np.float32), "is no identity"),
    ],
)
def test_what_this_model_cannot_represent_is_refused(tmp_path, config, name, value, message):
    path = write(tmp_path, load_file(MODELS / config / WHOLE) | {name: value}, config)
    with pytest.raises(UserError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type is \"?'?bert"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is false"),
        ({"num_hidden_layers": 22, "num_hidden_groups": 22}, "22 layers in 22 groups are divided otherwise"),
    ],
)
def test_a_configuration_of_another_model_is_refused(tmp_path, changes, message):
    path = write(tmp_path, load_file(PRETRAINING))
    config = path.with_name("config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(UserError, match=message):
        read(path)


def test_another_models_file_is_refused(tmp_path):
    path = write(tmp_path, {"bert.embeddings.word_embeddings.weight": np.zeros((3, 2), np.float32)})
    with pytest.raises(UserError, match=r"holds no ALBERT: .* begins with bert\.embeddings\.word"):
        read(path)


@pytest.mark.parametrize("model", sorted(path.parent.name for path in MODELS.glob("*/config.json")))
def test_the_configurations_are_ours(model):
    assert AlbertConfig.from_json_file(MODELS / model / "config.json").hidden_act == "gelu"
