"""An ONNX file, made of the SavedModel of plain operations, with what this project reads beside the weights.

tf2onnx says "successfully converted" and exits with 0 whatever it could not convert: what counts is that onnxruntime
opens the file and computes the same.
"""

import importlib
import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from albert.errors import UserError
from albert.serving.export.checkpoint import write_all_but_weights
from albert.serving.export.graph import IDS, INPUTS, ROWS, ModelGraph, save
from albert.serving.export.reference import Outputs, Rows, compared, num_options
from albert.serving.export.request import ExportRequest
from albert.serving.loading import LoadedModel

FILE = "model.onnx"
OPSET = 17
_SAVED_MODEL = "saved-model"
_WEIGHT = "weight_"
# Of a protocol buffer, less what is not weights.
_LARGEST_BYTES = 2_000_000_000
_SHOWN_CHARACTERS = 300


def write(model: LoadedModel, folder: Path, request: ExportRequest) -> None:
    """Writes FILE with the inputs of `graph.INPUTS`, of any number of rows and any length."""
    for module in ("tf2onnx", "onnx", "onnxruntime"):  # before anything takes time
        _imported(module)
    graph = ModelGraph(model)
    if sum(4 * math.prod(value.shape) for value in graph.weights.values()) > _LARGEST_BYTES:
        raise UserError("an ONNX file holds up to 2 GB, and the model is larger: choose another `format`.")
    try:
        _save_without_weights(graph, folder / _SAVED_MODEL)
        _convert(folder)
    finally:
        shutil.rmtree(folder / _SAVED_MODEL, ignore_errors=True)
    _insert_weights(folder / FILE, graph)
    _name_axes(folder / FILE, "questions" if num_options(model) > 1 else "rows")
    write_all_but_weights(model, folder)


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f'ONNX needs {module}, which cannot be imported ({error}); .venv/bin/pip install -e ".[onnx]" installs it.'
        ) from error


def _save_without_weights(graph: ModelGraph, folder: Path) -> None:
    """With the weights as further inputs: tf2onnx's memory would be twenty times that of what it converts."""
    specs = [tf.TensorSpec(value.shape, value.dtype, name) for name, value in _inputs_for_weights(graph).items()]

    def ids(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        rows, weights = tensors[: len(INPUTS)], tensors[len(INPUTS) :]
        return graph.computed(dict(zip(graph.weights, weights, strict=True)), *rows)

    module = tf.Module()
    module.ids = tf.function(ids, input_signature=[*ROWS, *specs], autograph=False)
    save(module, folder, {IDS: module.ids})


def _inputs_for_weights(graph: ModelGraph) -> dict[str, tf.Variable]:
    return {f"{_WEIGHT}{number}": value for number, value in enumerate(graph.weights.values())}


def _insert_weights(path: Path, graph: ModelGraph) -> None:
    """Makes constants of the inputs that stand for weights, and drops those of heads that nothing reads."""
    onnx = _imported("onnx")
    proto = onnx.load(path)
    used = {name for node in proto.graph.node for name in node.input}
    for value in [value for value in proto.graph.input if value.name.startswith(_WEIGHT)]:
        proto.graph.input.remove(value)
    for name, variable in _inputs_for_weights(graph).items():
        if name in used:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(variable.numpy(), name))
    onnx.save(proto, path)


def _convert(folder: Path) -> None:
    """By the program, because no function of tf2onnx reads SavedModels."""
    command = f"tf2onnx.convert --saved-model {_SAVED_MODEL} --signature_def {IDS} --opset {OPSET} --output {FILE}"
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        # No GPU; and TensorFlow's own Keras, which this project's programs leave out.
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_USE_LEGACY_KERAS": "0"},
    )
    if done.returncode or not (folder / FILE).exists():
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise UserError(f"tf2onnx could not convert the model: {lines[-1][:_SHOWN_CHARACTERS]}")


def _name_axes(path: Path, first_output_axis: str) -> None:
    """In place of the converter's numbers, which tell nobody which of them are the same."""
    onnx = _imported("onnx")
    proto = onnx.load(path)
    for values, first in ((proto.graph.input, "rows"), (proto.graph.output, first_output_axis)):
        for value in values:
            for name, dimension in zip((first, "length"), value.type.tensor_type.shape.dim, strict=False):
                if not dimension.dim_value:
                    dimension.dim_param = name
    onnx.save(proto, path)


def reopen(folder: Path, model: LoadedModel) -> Callable[[Rows], Outputs]:
    """onnxruntime's outputs. Raises UserError where it refuses the file."""
    runtime = _imported("onnxruntime")
    try:
        session = runtime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception for each kind of error, none of them public
        raise UserError(f"onnxruntime does not open the export: {str(error)[:_SHOWN_CHARACTERS]}") from error
    for kind, values in (("takes", session.get_inputs()), ("gives", session.get_outputs())):
        logging.info("%s %s %s", FILE, kind, ", ".join(f"{value.name} {value.type} {value.shape}" for value in values))
    names = [value.name for value in session.get_outputs()]

    def outputs(rows: Rows) -> Outputs:
        return compared(dict(zip(names, session.run(names, {name: rows[name] for name in INPUTS}), strict=True)))

    return outputs
