import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from albert.errors import UserError
from albert.serving.export import model_garden
from albert.serving.export.reference import reference, sample_rows
from albert.serving.export.request import ExportRequest
from albert.serving.loading import load_model
from albert.serving.testing import write_random_model
from albert.testing import AGREEMENT, TESTDATA
from albert.tokenization import load_tokenizer

# The sizes of the model in the golden file.
TINY = {"vocab_size": 300, "embedding_size": 16, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
TINY |= {"max_position_embeddings": 64, "num_hidden_groups": 1, "inner_group_num": 1}


def write(model, folder):
    model_garden.write(model, folder, ExportRequest(folder, folder, "model_garden"))
    return tf.train.load_checkpoint(str(folder / "bert_model.ckpt-1"))


def written_names(reader):
    """By key: Keras's name, and the shape."""
    graph = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    names = {entry.checkpoint_key: entry.full_name for node in graph.nodes for entry in node.attributes}
    shapes = reader.get_variable_to_shape_map()
    return {key: [name, shapes[key]] for key, name in names.items()}


def tiny(folder, name="pretrained", **changes):
    """The random model `name` in the sizes of TINY."""
    tokenizer = load_tokenizer(AGREEMENT / "agreement.model", None, do_lower_case=True)
    write_random_model(folder / name, name, tokenizer, **{**TINY, **changes})
    return load_model(folder / name, "/cpu:0", with_pretraining_heads=True)


def test_names_and_shapes_are_model_gardens(tmp_path):
    golden = json.loads((TESTDATA / "interchange/model_garden_names.json").read_text())
    written = {name: write(tiny(tmp_path, name), tmp_path / f"{name}.out") for name in ("pretrained", "encoder")}
    assert written_names(written["pretrained"]) == golden["checkpoint_pretrainer"]
    assert written_names(written["encoder"]) == golden["checkpoint_encoder"]
    assert tf.train.latest_checkpoint(tmp_path / "encoder.out") == str(tmp_path / "encoder.out/bert_model.ckpt-1")


@pytest.mark.parametrize("config", [{}, {"embedding_size": 32}])
def test_values_come_back(tmp_path, config, caplog):
    model = tiny(tmp_path, **config)
    write(model, tmp_path / "out")
    assert "no such head: cls/seq_relationship/output_bias, cls/seq_relationship/output_weights" in caplog.text
    rows = sample_rows(model)
    found, expected = model_garden.reopen(tmp_path / "out", model)(rows), reference(model)(rows)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"checkpoint", "albert_config.json", "spiece.model", "tokenizer_config.json"}


def test_what_its_encoder_has_no_place_for_is_refused(exportable, tmp_path):
    encoder = load_model(exportable / "encoder", "/cpu:0")
    with pytest.raises(UserError, match="has one group with one layer, but the model has 2 with 2"):
        write(load_model(exportable / "pretrained", "/cpu:0"), tmp_path)
    with pytest.raises(UserError, match="leave the model's out with `encoder_only`"):
        write(load_model(exportable / "classification", "/cpu:0"), tmp_path)
    with pytest.raises(UserError, match="has a pooler, but the model has none"):
        write(dataclasses.replace(encoder, has_pooler=False), tmp_path)
    assert list(tmp_path.iterdir()) == []
