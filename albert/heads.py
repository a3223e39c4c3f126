"""What sits on top of the encoder: from its output to predictions, and from predictions to one loss per example.

Owns the heads' variables (upstream's names), logits and losses. Knows neither checkpoints, flags nor training.
A head is a frozen description with three members, so SQuAD, RACE and pretraining add classes and change nothing here:

* `variable_specs`: its variables;
* `predict(weights, encoded, dropout_key)`: a dictionary of tensors, first axis B;
* `per_example_loss(predictions, features)`: [B] float32. The engine averages it over the examples of a global batch.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from albert.modeling import AlbertConfig, DropoutKey, EncoderOutput, VariableSpec, Weights, dropout

# Upstream drops a tenth of the pooled output when it trains a classifier, whatever the configuration says.
POOLED_DROPOUT = 0.1
# Upstream initialises classifier weights with this deviation, not with `initializer_range`.
OUTPUT_STDDEV = 0.02
# Sites of the encoder are 0 .. 3 * layers * inner groups; heads count from here.
FIRST_HEAD_SITE = 1 << 16


class Head(Protocol):
    """What a task puts on the encoder."""

    @property
    def variable_specs(self) -> Sequence[VariableSpec]: ...

    def predict(
        self, weights: Weights, encoded: EncoderOutput, dropout_key: DropoutKey | None = None
    ) -> dict[str, tf.Tensor]: ...

    def per_example_loss(
        self, predictions: Mapping[str, tf.Tensor], features: Mapping[str, tf.Tensor]
    ) -> tf.Tensor: ...


@dataclasses.dataclass(frozen=True)
class _PooledLinearHead:
    """`output_weights` [N, H] and `output_bias` [N] on the pooled output, as upstream names and lays them out."""

    config: AlbertConfig
    num_labels: int = 1

    @property
    def variable_specs(self) -> tuple[VariableSpec, ...]:
        return (
            VariableSpec("output_weights", (self.num_labels, self.config.hidden_size), stddev=OUTPUT_STDDEV),
            VariableSpec("output_bias", (self.num_labels,), "zeros"),
        )

    def _logits(self, weights: Weights, encoded: EncoderOutput, dropout_key: DropoutKey | None) -> tf.Tensor:
        """[B, N] float32."""
        pooled = dropout(encoded.pooled_output, POOLED_DROPOUT, dropout_key, FIRST_HEAD_SITE)
        logits = tf.matmul(pooled, weights["output_weights"], transpose_b=True)
        return tf.cast(tf.nn.bias_add(logits, weights["output_bias"]), tf.float32)


@dataclasses.dataclass(frozen=True)
class ClassificationHead(_PooledLinearHead):
    """Softmax over `num_labels` classes with cross-entropy loss."""

    def predict(
        self, weights: Weights, encoded: EncoderOutput, dropout_key: DropoutKey | None = None
    ) -> dict[str, tf.Tensor]:
        """`logits` and `probabilities` [B, N] float32, `predictions` [B] int32, the most probable class."""
        logits = self._logits(weights, encoded, dropout_key)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "predictions": tf.argmax(logits, axis=-1, output_type=tf.int32),
        }

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Cross-entropy of `label_ids` [B] int32; [B] float32."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(features["label_ids"], predictions["logits"])


@dataclasses.dataclass(frozen=True)
class RegressionHead(_PooledLinearHead):
    """One raw score with squared error: upstream neither scales nor clips STS-B's 0 to 5."""

    def predict(
        self, weights: Weights, encoded: EncoderOutput, dropout_key: DropoutKey | None = None
    ) -> dict[str, tf.Tensor]:
        """`logits` and `predictions`, both the score [B] float32; `probabilities` the same as [B, 1]."""
        scores = self._logits(weights, encoded, dropout_key)
        return {"logits": scores[:, 0], "probabilities": scores, "predictions": scores[:, 0]}

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """(score - label)^2 of `label_ids` [B] float32; [B] float32."""
        return tf.square(predictions["logits"] - tf.cast(features["label_ids"], tf.float32))
