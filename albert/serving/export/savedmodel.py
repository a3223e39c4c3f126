"""A SavedModel in `VERSION/`, as TensorFlow Serving takes it.

Signatures:

    ids              rows of tokens to outputs, of TensorFlow's own operations
    serving_default  texts to labels or scores, with the tokenizer in the graph: of models that say such, where
                     tensorflow-text is there

The folder also holds what this project reads beside the weights.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert.errors import UserError
from albert.serving.export.checkpoint import write_all_but_weights
from albert.serving.export.graph import IDS, INPUTS, ModelGraph, save
from albert.serving.export.reference import TEXTS, Outputs, Rows, compared, rows_of
from albert.serving.export.request import ExportRequest
from albert.serving.export.text_graph import TextGraph, why_not_in_graph
from albert.serving.loading import LoadedModel
from albert.serving.results import SCORE_LABEL
from albert.tasks.base import Labels, MultiLabels, Score
from albert.tokenization import SentencePieceTokenizer

TEXT = "serving_default"
_ORDER = {name: number - len(INPUTS) for number, name in enumerate(INPUTS)}  # others behind them
# The first texts, which are short: through the whole model once more, from the strings on.
_NUM_CHECKED = 2


class TextModelGraph(ModelGraph):
    """Also with `texts`: from strings [n] to `probabilities` [n, C], and `label` and `score` [n].

    Of a model of several labels it gives `labels` [n, C], in the order of the probabilities. Where one or two texts may
    be given, the second one is "" for none.
    """

    def __init__(self, model: LoadedModel):
        super().__init__(model)
        assert isinstance(model.tokenizer, SentencePieceTokenizer), "others are not in a graph"
        self.text_graph = TextGraph(model.tokenizer, model.max_seq_length)
        texts = [tf.TensorSpec([None], tf.string, name) for name in text_inputs(model)]
        self.texts = tf.function(self._labels, input_signature=texts, autograph=False)

    def _labels(self, text: tf.Tensor, text_pair: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        probabilities = self._outputs(*self.text_graph.rows(text, text_pair))["probabilities"]
        output = self._model.description and self._model.description.output
        if isinstance(output, MultiLabels):
            labels = tf.broadcast_to(tf.constant(output.names), tf.shape(probabilities))
            return {"probabilities": probabilities, "labels": labels}
        names = tf.constant(output.names if isinstance(output, Labels) else [SCORE_LABEL])
        label = tf.gather(names, tf.argmax(probabilities, axis=1))
        return {"probabilities": probabilities, "label": label, "score": tf.reduce_max(probabilities, axis=1)}


def text_inputs(model: LoadedModel) -> tuple[str, ...]:
    """The inputs of `serving_default`."""
    return ("text",) if model.description and model.description.num_texts == 1 else ("text", "text_pair")


def write(model: LoadedModel, folder: Path, request: ExportRequest) -> None:
    """Writes `folder`/VERSION, and logs what it takes and gives."""
    target = folder / str(request.version)
    reason = _why_without_texts(model, request)
    graph = ModelGraph(model) if reason else TextModelGraph(model)
    signatures: dict[str, Any] = {IDS: graph.ids}
    if isinstance(graph, TextModelGraph):
        _check_rows(model, graph.text_graph)
        signatures[TEXT] = graph.texts
    else:
        logging.info("Only rows of ids are taken, and no texts, because %s.", reason)
    save(graph, target, signatures)
    write_all_but_weights(model, target)  # servers pass such files over


def _why_without_texts(model: LoadedModel, request: ExportRequest) -> str | None:
    output = model.description.output if model.description else None
    if not request.string_input:
        return "`string_input` is off"
    if not isinstance(output, Labels | MultiLabels | Score):
        return "only models that give labels or a score read texts as they are"
    return why_not_in_graph(model.tokenizer)


def _sample_texts(model: LoadedModel) -> tuple[tuple[str, str | None], ...]:
    return TEXTS if len(text_inputs(model)) == 2 else tuple((first, None) for first, _ in TEXTS)


def _string_tensors(model: LoadedModel, texts: tuple[tuple[str, str | None], ...]) -> dict[str, tf.Tensor]:
    columns = [first for first, _ in texts], [second or "" for _, second in texts]
    return {name: tf.constant(column) for name, column in zip(text_inputs(model), columns, strict=False)}


def _check_rows(model: LoadedModel, graph: TextGraph) -> None:
    """Raises UserError where the graph makes other rows of the texts than the tokenizer does."""
    texts = _sample_texts(model)
    expected = rows_of(model, texts, model.max_seq_length)
    found = graph.rows(*_string_tensors(model, texts).values())
    for name, values in zip(INPUTS, found, strict=True):
        width = values.shape[1]
        if not np.array_equal(values, expected[name][:, :width]):
            raise UserError(
                f"the tokenizer in the graph gives other {name} than the model's; nothing was written. Leave texts out "
                "with `string_input` off."
            )


def reopen(folder: Path, model: LoadedModel) -> Callable[[Rows], Outputs]:
    """The signature `ids`, after texts were put through the other one."""
    (version,) = folder.iterdir()
    loaded = tf.saved_model.load(str(version))
    for name, signature in loaded.signatures.items():
        logging.info("Signature %s", _described(name, signature))
    if TEXT in loaded.signatures:
        _check_texts(model, loaded.signatures)

    def outputs(rows: Rows) -> Outputs:
        found = loaded.signatures[IDS](**{name: tf.constant(rows[name]) for name in INPUTS})
        return compared({name: tensor.numpy() for name, tensor in found.items()})

    return outputs


def _check_texts(model: LoadedModel, signatures: Any) -> None:
    texts = _sample_texts(model)[:_NUM_CHECKED]
    rows = rows_of(model, texts)
    found = signatures[TEXT](**_string_tensors(model, texts))["probabilities"]
    expected = signatures[IDS](**{name: tf.constant(rows[name]) for name in INPUTS})["probabilities"]
    difference = float(np.max(np.abs(found - expected)))
    if not difference <= 1e-5:
        raise UserError(f"from texts the export's probabilities differ by {difference:.1e}; nothing was written.")


def _described(name: str, signature: Any) -> str:
    """One line: `ids(input_ids: int32 [?, ?], ...) -> logits: float32 [?, 2]`."""
    inputs, outputs = (
        ", ".join(
            f"{key}: {specs[key].dtype.name} {_shape(specs[key])}"
            for key in sorted(specs, key=lambda key: (_ORDER.get(key, 0), key))
        )
        for specs in (signature.structured_input_signature[1], signature.structured_outputs)
    )
    return f"{name}({inputs}) -> {outputs}"


def _shape(spec: tf.TensorSpec) -> str:
    return str(["?" if size is None else size for size in spec.shape]).replace("'", "")
