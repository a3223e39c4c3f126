"""A checkpoint of objects that Model Garden's ALBERT encoder restores, or its pretrainer with the masked words' head.

It restores by the names of attributes on the way from the root, and wants an object for each that it has, also for
layers without variables: the tree here is that of tf-models-official 2.20.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf

from albert.errors import UserError
from albert.serving.export.checkpoint import write_all_but_weights
from albert.serving.export.reference import Outputs, Rows, reopened
from albert.serving.export.request import ExportRequest
from albert.serving.loading import LoadedModel
from albert.weights.variables import VARIABLES, Variable

PREFIX = "bert_model.ckpt"  # the first checkpoint there has "-1" behind it
_HEAD = "bert/cls/predictions"


def write(model: LoadedModel, folder: Path, request: ExportRequest) -> None:
    """Writes the checkpoint, and what this project reads beside it. Raises UserError for what has no place there."""
    _check(model)
    rows = {name: row for name, row in _rows().items() if name in model.weights}
    left_out = sorted(model.weights.keys() - rows.keys())
    if left_out:
        logging.warning("Left out, since Model Garden has no such head: %s.", ", ".join(left_out))
    values = {row.model_garden: _divided(model, name, row) for name, row in rows.items()}
    variables = {name: tf.Variable(value, name=name) for name, value in values.items()}
    encoder = _encoder(variables)
    tree = {"encoder": encoder}
    if f"{_HEAD}/output_bias/bias" in variables:
        tree["masked_lm"] = head = _masked_lm(variables)
        shared = {"encoder_network": encoder}
        tree["model"] = _node(
            _config=_node(**shared), masked_lm=head, classification_heads=_node(), inputs=_node(), **shared
        )
    tf.train.Checkpoint(**tree).save(str(folder / PREFIX))
    write_all_but_weights(model, folder)


def _check(model: LoadedModel) -> None:
    config = model.config
    if (config.num_hidden_groups, config.inner_group_num) != (1, 1):
        raise UserError(
            f"Model Garden's encoder has one group with one layer, but the model has {config.num_hidden_groups} with "
            f"{config.inner_group_num}: choose another `format`."
        )
    if model.description:
        raise UserError(
            "Model Garden's checkpoints have no head for tasks: leave the model's out with `encoder_only`, or choose "
            "another `format`."
        )
    if not model.has_pooler:
        raise UserError("Model Garden's encoder has a pooler, but the model has none: choose another `format`.")


def _rows() -> dict[str, Variable]:
    """What of the name table Model Garden has, by our names, of a model with one block."""
    return {row.ours.format(group=0, layer=0): row for row in VARIABLES if row.model_garden}


def _divided(model: LoadedModel, name: str, row: Variable) -> tf.Tensor:
    """The variable `name`, with an axis for the heads."""
    shape, num_heads = list(model.weights[name].shape), model.config.num_attention_heads
    if row.heads_axis is not None:
        shape[row.heads_axis : row.heads_axis + 1] = [num_heads, shape[row.heads_axis] // num_heads]
    return tf.reshape(model.weights[name], shape)


def _node(**children: tf.Module | tf.Variable) -> tf.Module:
    node = tf.Module()
    for name, child in children.items():
        setattr(node, name, child)
    return node


def _layer(variables: Mapping[str, tf.Variable], scope: str) -> tf.Module:
    """With kernel and bias, gamma and beta, or embeddings: whatever has the scope `scope`."""
    leaves = ("kernel", "bias", "gamma", "beta", "embeddings")
    return _node(**{leaf: variables[f"{scope}/{leaf}"] for leaf in leaves if f"{scope}/{leaf}" in variables})


def _encoder(variables: Mapping[str, tf.Variable]) -> tf.Module:
    """Keras numbers all layers in the order of their computation, and those with variables once more."""
    words, positions, types, norm = (
        _layer(variables, scope)
        for scope in ("word_embeddings", "position_embedding", "type_embeddings", "embeddings/layer_norm")
    )
    positions._position_embeddings = positions.embeddings
    projection = [_layer(variables, "embedding_projection")] if "embedding_projection/kernel" in variables else []
    block, pooler = _block(variables), _layer(variables, "pooler_transform")
    weighted = [words, positions, types, norm, *projection, block, pooler]
    # Between them are inputs, the sum of the embeddings, dropout, the attention's mask and the first token.
    layers = [_node(), words, _node(), positions, types, _node(), norm, _node(), *projection]
    layers += [_node(), _node(), block, _node(), pooler]
    activation, initializer = _node(), _node(config=_node())
    config = _node(activation=activation, initializer=initializer, **{"8": activation, "11": initializer})
    return _node(
        **{f"layer_with_weights-{number}": layer for number, layer in enumerate(weighted)},
        **{f"layer-{number}": layer for number, layer in enumerate(layers)},
        _config=config,
        _embedding_layer=words,
        _position_embedding_layer=positions,
    )


def _block(variables: Mapping[str, tf.Variable]) -> tf.Module:
    attention = "transformer/self_attention"
    norm = _layer(variables, "transformer/self_attention_layer_norm")
    return _node(
        _attention_layer=_node(
            _query_dense=_layer(variables, f"{attention}/query"),
            _key_dense=_layer(variables, f"{attention}/key"),
            _value_dense=_layer(variables, f"{attention}/value"),
            _softmax=_node(),
            _dropout_layer=_node(),
            _output_dense=_layer(variables, f"{attention}/attention_output"),
        ),
        _attention_dropout=_node(),
        _attention_layer_norm=norm,
        _attention_layer_norm_kv=norm,
        _intermediate_dense=_layer(variables, "transformer/intermediate"),
        _intermediate_activation_layer=_node(),
        _inner_dropout_layer=_node(),
        _output_dense=_layer(variables, "transformer/output"),
        _output_dropout=_node(),
        _output_layer_norm=_layer(variables, "transformer/output_layer_norm"),
    )


def _masked_lm(variables: Mapping[str, tf.Variable]) -> tf.Module:
    bias = variables[f"{_HEAD}/output_bias/bias"]
    return _node(
        embedding_table=variables["word_embeddings/embeddings"],
        dense=_layer(variables, f"{_HEAD}/transform/dense"),
        layer_norm=_layer(variables, f"{_HEAD}/transform/LayerNorm"),
        **{"output_bias/bias": bias, "bias": bias},  # the first one is in the checkpoint's key
    )


def reopen(folder: Path, model: LoadedModel) -> Callable[[Rows], Outputs]:
    """The model that this project reads there, which has all that was written, bit for bit."""
    weights = {name: value for name, value in model.weights.items() if name in _rows()}
    return reopened(folder, dataclasses.replace(model, weights=weights))
