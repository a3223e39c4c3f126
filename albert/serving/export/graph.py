"""A model as a graph of TensorFlow's plain operations, which servers and converters know, with the weights in it."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from albert.heads.span import SpanHead, SpanHeadV2
from albert.heads.tags import TagHead
from albert.modeling import Computation, EncoderOutput, TokenLayout, Weights, encode
from albert.ops.fused import PLAIN
from albert.serving.export.checkpoint import weights_of
from albert.serving.loading import LoadedModel
from albert.weights.names import POOLER

# The signature, and what it takes: int32 [n, L] each.
IDS = "ids"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

ROWS = [tf.TensorSpec([None, None], tf.int32, name) for name in INPUTS]

_PLAIN = Computation(element_wise=PLAIN)


class ModelGraph(tf.Module):
    """The model's weights, and as `ids` its outputs as a function of rows of any number and length.

    These are `reference.Outputs`, and `probabilities`, shaped like `logits`, where there are such.
    """

    def __init__(self, model: LoadedModel):
        super().__init__(name="albert")
        self.weights = weights_of(model)
        self._model = model
        self.ids = tf.function(self._outputs, input_signature=ROWS, autograph=False)

    def _outputs(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        # Each is read once, and not by every layer again.
        weights = {name: tf.convert_to_tensor(value) for name, value in self.weights.items()}
        return self.computed(weights, input_ids, attention_mask, token_type_ids)

    def computed(
        self, weights: Weights, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The outputs with other values for `weights`."""
        model, layout = self._model, TokenLayout.one_per_row(input_ids, attention_mask, token_type_ids)
        # A pooler that the model's file did not have is left out; nothing reads what zeros in its place compute.
        absent = {name: tf.zeros(model.weights[name].shape) for name in POOLER if name not in self.weights}
        weights = {**weights, **absent}
        pooled_alone = model.head is not None and not model.head.reads_tokens
        encoded = encode(model.config, weights, layout, None, _PLAIN, pooled_alone)
        if model.head is None:
            pooled = {} if absent else {"pooled_output": encoded.pooled_output}
            return {"sequence_output": encoded.sequence_output, **pooled}
        if isinstance(model.head, SpanHead):
            return _span_logits(model, weights, encoded)
        if isinstance(model.head, SpanHeadV2):
            # Whatever precedes the context, and the [SEP] behind it, is no answer; [CLS] is "no answer".
            is_context = (token_type_ids == 1) & (input_ids != model.tokenizer.sep_id)
            is_masked = ~is_context & (layout.position_ids > 0)
            features = {"p_mask": tf.cast(is_masked, tf.int32)}
            return model.head.predict(weights, encoded, features=features)
        if isinstance(model.head, TagHead):
            logits = model.head.token_logits(weights, encoded)
            logits = tf.reshape(logits, [*tf.unstack(tf.shape(input_ids)), model.head.num_tags])
            return {"logits": logits, "probabilities": tf.nn.softmax(logits)}
        found = model.head.predict(weights, encoded)
        width = 1 if found["logits"].shape.rank == 1 else found["logits"].shape[1]
        return {name: tf.reshape(found[name], [-1, width]) for name in ("logits", "probabilities")}


def _span_logits(model: LoadedModel, weights: Weights, encoded: EncoderOutput) -> dict[str, tf.Tensor]:
    """Of padding too, as other libraries give them."""
    found = SpanHead(model.config, softmax_over_padding=True).predict(weights, encoded)
    return {"start_logits": found["start_log_prob"], "end_logits": found["end_log_prob"]}


def save(graph: tf.Module, folder: Path, signatures: Mapping[str, Any]) -> None:
    """Writes the SavedModel to `folder`."""
    with _without_remarks():
        tf.saved_model.save(graph, str(folder), dict(signatures))


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """TensorFlow's, on the names of what nobody calls from outside."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("absl", "tensorflow"))}
    for logger in levels:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
