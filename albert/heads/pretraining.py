"""ALBERT's pretraining head: masked language model and sentence order.

Owns its variables (upstream's names), logits, losses and what the four metrics are added up from. Only masked positions
go through the layers here: the product with the vocabulary costs more per position than many a whole encoder.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.heads.base import NO_FEATURES, Features
from albert.modeling import (
    EncoderOutput,
    VariableSpec,
    Weights,
    dense,
    dense_specs,
    get_activation,
    layer_norm_specs,
)
from albert.ops.cross_entropy import cross_entropy
from albert.ops.dropout import DropoutKey
from albert.ops.fused import add_layer_norm

BEST_METRIC = "masked_lm_accuracy"

_TRANSFORM = "cls/predictions/transform"
_SENTENCE_ORDER = "cls/seq_relationship"


@dataclasses.dataclass(frozen=True)
class PretrainingHead:
    """Which piece stood at each of P masked positions, and whether the two halves of a sequence were swapped.

    It reads, of n sequences: `masked_lm_positions`, `masked_lm_ids` int32 [n, P], `masked_lm_weights` float32 [n, P] (0
    where a sequence has fewer), `next_sentence_labels` int32 [n] (1 for swapped), and to train `masked_lm_scale`
    float32 [n]; see `per_example_loss`.
    """

    config: AlbertConfig

    reads_tokens: ClassVar[bool] = True
    label_columns: ClassVar[tuple[str, ...]] = ()  # its predictions are sums that need the labels

    @property
    def variable_specs(self) -> tuple[VariableSpec, ...]:
        config, stddev = self.config, self.config.initializer_range
        return (
            *dense_specs(f"{_TRANSFORM}/dense", config.hidden_size, config.embedding_size, stddev),
            *layer_norm_specs(f"{_TRANSFORM}/LayerNorm", config.embedding_size),
            VariableSpec("cls/predictions/output_bias", (config.vocab_size,), "zeros"),
            VariableSpec(f"{_SENTENCE_ORDER}/output_weights", (2, config.hidden_size), stddev=stddev),
            VariableSpec(f"{_SENTENCE_ORDER}/output_bias", (2,), "zeros"),
        )

    def masked_lm_products(self, weights: Weights, encoded: EncoderOutput, positions: tf.Tensor) -> tf.Tensor:
        """[n * P, V], the logits at `positions` int32 [n, P] of each sequence without `cls/predictions/output_bias`.

        In the precision of the encoder's output. The word embeddings serve a second time, as upstream.
        """
        tokens = tf.reshape(encoded.sequence_output, [-1, self.config.hidden_size])
        places = tf.reshape(encoded.layout.sequence_starts[:, None] + positions, [-1])
        hidden = dense(tf.gather(tokens, places), weights, f"{_TRANSFORM}/dense")
        hidden = get_activation(self.config.hidden_act)(hidden)
        beta, gamma = weights[f"{_TRANSFORM}/LayerNorm/beta"], weights[f"{_TRANSFORM}/LayerNorm/gamma"]
        hidden = add_layer_norm(hidden, tf.zeros_like(beta), tf.zeros_like(hidden), beta, gamma)
        table = tf.cast(weights["bert/embeddings/word_embeddings"], hidden.dtype)
        return tf.matmul(hidden, table, transpose_b=True)

    def sentence_order_logits(self, weights: Weights, encoded: EncoderOutput) -> tf.Tensor:
        """[n, 2] float32: for halves in order, and swapped."""
        logits = tf.matmul(encoded.pooled_output, weights[f"{_SENTENCE_ORDER}/output_weights"], transpose_b=True)
        return tf.nn.bias_add(logits, weights[f"{_SENTENCE_ORDER}/output_bias"])

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]:
        """Sums over the masked positions of each sequence, by weight, and what its order costs; each [n] float32.

        `masked_lm_loss` (cross-entropy), `masked_lm_correct`, `masked_lm_weight`, `sentence_order_loss`,
        `sentence_order_correct`. Dropout is not applied.
        """
        ids, masks = features["masked_lm_ids"], features["masked_lm_weights"]
        products = self.masked_lm_products(weights, encoded, features["masked_lm_positions"])
        bias = weights["cls/predictions/output_bias"]
        losses = cross_entropy(products, bias, tf.reshape(ids, [-1]))
        guesses = tf.argmax(tf.cast(products, tf.float32) + bias, axis=-1, output_type=tf.int32)
        is_right = tf.reshape(guesses, tf.shape(ids)) == ids
        order, order_labels = self.sentence_order_logits(weights, encoded), features["next_sentence_labels"]
        order_is_right = tf.argmax(order, axis=-1, output_type=tf.int32) == order_labels
        return {
            "masked_lm_loss": tf.reduce_sum(tf.reshape(losses, tf.shape(ids)) * masks, axis=1),
            "masked_lm_correct": tf.reduce_sum(tf.cast(is_right, tf.float32) * masks, axis=1),
            "masked_lm_weight": tf.reduce_sum(masks, axis=1),
            "sentence_order_loss": tf.nn.sparse_softmax_cross_entropy_with_logits(order_labels, order),
            "sentence_order_correct": tf.cast(order_is_right, tf.float32),
        }

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """[n] float32, whose mean over the global batch is upstream's loss of that batch.

        That is sum(w CE) / (sum(w) + 1e-5) over all masked pieces of the batch, plus the mean cross-entropy of the
        order. A replica does not know the first denominator; `masked_lm_scale`, the same for the whole global batch,
        is the number of its sequences over that denominator.
        """
        return features["masked_lm_scale"] * predictions["masked_lm_loss"] + predictions["sentence_order_loss"]


def metrics_of(predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Upstream's four metrics from `PretrainingHead.predict` of all sequences, and `eval_loss`, their losses' sum."""
    sums = {name: float(np.sum(values, dtype=np.float64)) for name, values in predictions.items()}
    pieces, sequences = max(sums["masked_lm_weight"], 1.0), len(predictions["masked_lm_weight"])
    metrics = {
        "masked_lm_accuracy": sums["masked_lm_correct"] / pieces,
        "masked_lm_loss": sums["masked_lm_loss"] / pieces,
        "sentence_order_accuracy": sums["sentence_order_correct"] / sequences,
        "sentence_order_loss": sums["sentence_order_loss"] / sequences,
    }
    return {**metrics, "eval_loss": metrics["masked_lm_loss"] + metrics["sentence_order_loss"]}
