"""Model Garden's ALBERT in TensorFlow 2's object-based checkpoints and SavedModels, by our names.

Keys follow the object that was saved, so that one variable has many; what Keras calls it, its `full_name` in the object
graph, is the same in all of them. A SavedModel's graph is neither loaded nor run.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.interchange.configurations import KERAS_METADATA
from albert.weights.named_tensors import NamedTensor, NamedTensors, Reader, named
from albert.weights.names import WORD_TABLE
from albert.weights.variables import VARIABLES

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_BLOCK = {"group": 0, "layer": 0}
_ROWS = {row.model_garden: (row.ours.format(**_BLOCK), row.heads_axis) for row in VARIABLES if row.model_garden}
_QUERY = "transformer/self_attention/query/kernel"
# What else begins so must not be passed over.
_ENCODER = (
    *("word_embeddings/", "position_embedding/", "type_embeddings/", "embeddings/", "embedding_projection/"),
    *("transformer/", "pooler_transform/"),
)
# Parts of keys: Keras's optimizers of today have no slots, but variables of their own.
_OF_OPTIMIZERS = (".OPTIMIZER_SLOT", "optimizer/")
_COUNTER = "save_counter"
_CONFIG = "albert_config.json"
_Shapes = Mapping[str, Sequence[int]]


def is_object_graph(reader: Any) -> bool:
    """Whether TensorFlow's reader has an object-based checkpoint."""
    return bool(reader.has_tensor(GRAPH))


def named_tensors(prefix: Path, reader: Reader) -> NamedTensors | None:
    """The variables by our names; None where the checkpoint holds no ALBERT, of Model Garden's or of ours.

    Raises UserError for what is damaged or cannot be represented, and where a configuration beside the checkpoint says
    another number of heads.
    """
    shapes = reader.get_variable_to_shape_map()
    try:
        graph = TrackableObjectGraph.FromString(reader.get_tensor(GRAPH))
    except (DecodeError, TypeError) as error:
        raise UserError(f"{prefix} cannot be read, it may be damaged: {GRAPH} is no graph of objects.") from error
    attributes = [attribute for node in graph.nodes for attribute in node.attributes]
    keys = {
        attribute.checkpoint_key: attribute.full_name
        for attribute in attributes
        if attribute.checkpoint_key in shapes
        and not any(part in attribute.checkpoint_key for part in _OF_OPTIMIZERS)
        and attribute.full_name != _COUNTER
    }
    types = reader.get_variable_to_dtype_map()
    if WORD_TABLE in keys.values():  # a SavedModel of this project's, whose variables have their names here
        return NamedTensors(prefix, ((name, _tensor(reader, key, name, shapes, types)) for key, name in keys.items()))
    if WORD_TABLE not in [_ROWS[name][0] for name in keys.values() if name in _ROWS]:
        return None
    tensors = NamedTensors(prefix, _named(reader, keys, shapes, types))
    for key, name in keys.items():
        if name == _QUERY and len(shapes[key]) == 3:
            _check_heads(prefix, shapes[key][1])
    return tensors


def _named(
    reader: Reader, keys: dict[str, str], shapes: _Shapes, types: Mapping[str, Any]
) -> Iterator[tuple[str, NamedTensor]]:
    for key, name in keys.items():
        tensor = _tensor(reader, key, name, shapes, types)
        if name in _ROWS:
            ours, axis = _ROWS[name]
            yield ours, tensor.with_heads_merged(axis)
        else:
            yield f"bert/{name}" if name.startswith(_ENCODER) else name, tensor


def _tensor(reader: Reader, key: str, name: str, shapes: _Shapes, types: Mapping[str, Any]) -> NamedTensor:
    kind = tf.as_dtype(types[key]).name
    return named(name, tuple(shapes[key]), kind, functools.partial(reader.get_tensor, key))


def _check_heads(prefix: Path, num_heads: int) -> None:
    """Against the configuration beside the checkpoint, or the first one in its SavedModel, which is the one read."""
    folder, names = prefix.parent, [_CONFIG]
    if folder.name == "variables":
        folder, names = folder.parent, [_CONFIG, f"assets/{_CONFIG}", KERAS_METADATA]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    said = AlbertConfig.from_json_file(path).num_attention_heads if path else num_heads
    if said != num_heads:
        raise UserError(
            f"{prefix} has {num_heads} attention heads, but num_attention_heads in {path} is {said}: "
            "they are not of the same model."
        )
