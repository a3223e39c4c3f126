import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from albert.serving.export.graph import INPUTS, ModelGraph
from albert.serving.export.reference import TEXTS, compared, reference, rows_of, sample_rows
from albert.serving.loading import load_model
from albert.serving.testing import MODELS


def computed(graph, rows):
    return {name: tensor.numpy() for name, tensor in graph.ids(**{k: tf.constant(rows[k]) for k in INPUTS}).items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_the_model_by_plain_operations(exportable, name):
    model = load_model(exportable / name, "/cpu:0", with_pretraining_heads=True)
    graph = ModelGraph(model)
    found, expected = computed(graph, sample_rows(model)), reference(model)(sample_rows(model))
    assert compared(found).keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=0, atol=5e-6, err_msg=key)
    if name in ("classification", "choice"):
        np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1.0, rtol=1e-6)
    # What a compiled function leaves is a call, which converters do not follow.
    definition = graph.ids.get_concrete_function().graph.as_graph_def()
    assert not [node.name for node in definition.node if any(value.HasField("func") for value in node.attr.values())]
    # Converters keep a copy for each time that a variable is read.
    assert sum(node.op == "ReadVariableOp" for node in definition.node) == len(graph.weights)
    assert not [node.op for node in definition.node if "Call" in node.op or "Xla" in node.op or "Einsum" in node.op]


def test_rows_of_any_number_and_length_give_the_same(exportable):
    model = load_model(exportable / "classification", "/cpu:0")
    graph, all_rows = ModelGraph(model), sample_rows(model)
    together = computed(graph, all_rows)["logits"]
    first = {name: values[:1, : all_rows["attention_mask"][0].sum()] for name, values in all_rows.items()}
    np.testing.assert_allclose(computed(graph, first)["logits"], together[:1], rtol=0, atol=5e-6)
    assert computed(graph, rows_of(model, TEXTS[:3], longest=10))["logits"].shape == (3, 3)


@pytest.mark.parametrize("name", ["span_v1", "encoder"])
def test_a_pooler_that_the_file_did_not_have_is_left_out(exportable, name):
    model = dataclasses.replace(load_model(exportable / name, "/cpu:0"), has_pooler=False)
    graph = ModelGraph(model)
    assert not [name for name in graph.weights if "pooler" in name]
    outputs = {"span_v1": {"start_logits", "end_logits"}, "encoder": {"sequence_output"}}
    assert computed(graph, sample_rows(model)).keys() == outputs[name]
