"""Configurations of other libraries as the fields of `albert_config.json`: KerasHub's, and a TF2 SavedModel's."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from albert.system.json_text import parse_json, short_repr, short_text

KERAS_METADATA = "keras_metadata.pb"
_KERAS_HUB = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_groups": "num_hidden_groups",
    "num_inner_repetitions": "inner_group_num",
    "embedding_dim": "embedding_size",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "num_segments": "type_vocab_size",
}
_MODEL_GARDEN = {
    "vocab_size": "vocab_size",
    "embedding_width": "embedding_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "max_sequence_length": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "intermediate_size": "intermediate_size",
    "dropout_rate": "hidden_dropout_prob",
    "attention_dropout_rate": "attention_probs_dropout_prob",
}
# What Model Garden registers its tanh formula as, and what its configurations call it.
_GELUS = ("Text>gelu", "gelu")


def is_keras_hub(values: object) -> bool:
    """Whether a `config.json` is KerasHub's, of whatever model."""
    return isinstance(values, Mapping) and isinstance(values.get("config"), Mapping) and "class_name" in values


def from_keras_hub(values: Mapping[str, Any]) -> dict[str, object]:
    """Our fields. Raises ValueError for what is no ALBERT, or lacks a field."""
    name = values["class_name"]
    if name != "AlbertBackbone":
        raise ValueError(f"is of {short_text(name)}, which is not an ALBERT's backbone")
    found = _renamed(values["config"], _KERAS_HUB)
    dropout = values["config"].get("dropout", 0.0)
    return found | {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "hidden_act": "gelu"}


def from_keras_metadata(data: bytes) -> dict[str, object]:
    """Our fields, of the encoder that Keras's description of a SavedModel holds.

    Raises ValueError for what is damaged, or describes no ALBERT of Model Garden's.
    """
    for text in _node_descriptions(data):
        if '"AlbertEncoder"' not in text:
            continue
        values = parse_json(text)
        fields = next(_encoders(values), None)
        if fields is not None:
            found = _renamed(fields, _MODEL_GARDEN)
            activation = fields.get("activation")
            name = activation.get("config") if isinstance(activation, Mapping) else activation
            if name not in _GELUS:
                raise ValueError(f"has the activation {short_repr(activation)}, which this model cannot compute")
            return found | {"num_hidden_groups": 1, "inner_group_num": 1, "hidden_act": "gelu"}
    raise ValueError("describes no AlbertEncoder of Model Garden's")


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, object]:
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    return {ours: values[theirs] for theirs, ours in names.items()}


def _encoders(value: Any) -> Iterator[Mapping[str, Any]]:
    """The configurations of encoders in a description, the first one first."""
    waiting = [value]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, Mapping):
            fields = value.get("config")
            if value.get("class_name") == "AlbertEncoder" and isinstance(fields, Mapping):
                yield fields
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _node_descriptions(data: bytes) -> Iterator[str]:
    """The JSON of every node: field 5 of each message that is field 1 of the whole. Only Keras 2 has their types."""
    for node in _fields(data, 1):
        for text in _fields(node, 5):
            yield text.decode(errors="replace")


def _fields(data: bytes, number: int) -> Iterator[bytes]:
    message = Empty()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise ValueError("is damaged") from None
    for field in UnknownFieldSet(message):
        if field.field_number == number and isinstance(field.data, bytes):
            yield field.data
