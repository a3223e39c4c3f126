import importlib.util

import numpy as np
import pytest

from albert.errors import UserError
from albert.serving.export import onnx
from albert.serving.export.graph import INPUTS
from albert.serving.export.reference import TEXTS, reference, rows_of, sample_rows
from albert.serving.export.request import ExportRequest
from albert.serving.loading import load_model

LIBRARIES = ("tf2onnx", "onnx", "onnxruntime")
needs_libraries = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in LIBRARIES),
    reason='tf2onnx, onnx and onnxruntime (37 MB) are not installed: pip install -e ".[onnx]"',
)


def request(folder):
    return ExportRequest(folder, folder, "onnx")


@needs_libraries
def test_onnxruntime_gives_what_the_model_gives(exportable, tmp_path):
    model = load_model(exportable / "multi_label", "/cpu:0")  # of groups
    onnx.write(model, tmp_path, request(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.onnx",
        "albert_config.json",
        "spiece.model",
        "model.json",
    }
    outputs = onnx.reopen(tmp_path, model)
    for rows in (sample_rows(model), rows_of(model, TEXTS[:3], longest=9)):  # any number, any length
        np.testing.assert_allclose(outputs(rows)["logits"], reference(model)(rows)["logits"], rtol=0, atol=1e-5)


@needs_libraries
def test_answers_and_axes(exportable, tmp_path):
    import onnxruntime

    model = load_model(exportable / "span_v1", "/cpu:0")
    onnx.write(model, tmp_path, request(tmp_path))
    session = onnxruntime.InferenceSession(tmp_path / onnx.FILE, providers=["CPUExecutionProvider"])
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes.pop("start_logits") == shapes.pop("end_logits") == ["rows", "length"]
    assert shapes == {name: ["rows", "length"] for name in INPUTS}


@needs_libraries
def test_a_file_that_was_only_said_to_be_converted_is_refused(exportable, tmp_path):
    # What tf2onnx leaves of a compiled function, with "Successfully converted" and exit code 0.
    from onnx import TensorProto, helper, save

    rows = helper.make_tensor_value_info("input_ids", TensorProto.INT32, [None, None])
    node = helper.make_node("PartitionedCall", ["input_ids"], ["logits"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([node], "graph", [rows], [logits])
    opsets = [helper.make_opsetid("", onnx.OPSET)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / onnx.FILE)
    with pytest.raises(UserError, match=r"onnxruntime does not open the export: .*PartitionedCall"):
        onnx.reopen(tmp_path, load_model(exportable / "classification", "/cpu:0"))


def test_a_library_that_is_not_there_is_named(exportable, tmp_path, monkeypatch):
    for name in LIBRARIES:
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(UserError, match=r'ONNX needs tf2onnx, .*/pip install -e "\.\[onnx\]" installs it'):
        onnx.write(load_model(exportable / "encoder", "/cpu:0"), tmp_path, request(tmp_path))
    assert list(tmp_path.iterdir()) == []
