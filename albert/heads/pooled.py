"""The heads that read the pooled output: one label or several, multiple choice, regression."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.heads.base import FIRST_HEAD_SITE, NO_FEATURES, OUTPUT_STDDEV, POOLED_DROPOUT, Features
from albert.modeling import EncoderOutput, VariableSpec, Weights
from albert.ops.dropout import DropoutKey, sequence_dropout


@dataclasses.dataclass(frozen=True)
class _PooledLinearHead:
    """`output_weights` [N, H] and `output_bias` [N] on the pooled output, as upstream names and lays them out.

    A subclass says what the N logits of a sequence are.
    """

    config: AlbertConfig
    dropout_rate: float = POOLED_DROPOUT

    reads_tokens: ClassVar[bool] = False
    label_columns: ClassVar[tuple[str, ...]] = ("label_ids",)

    @property
    def _num_logits(self) -> int:
        return 1

    @property
    def variable_specs(self) -> tuple[VariableSpec, ...]:
        return (
            VariableSpec("output_weights", (self._num_logits, self.config.hidden_size), stddev=OUTPUT_STDDEV),
            VariableSpec("output_bias", (self._num_logits,), "zeros"),
        )

    def _logits(self, weights: Weights, encoded: EncoderOutput, dropout_key: DropoutKey | None) -> tf.Tensor:
        """[n, N] float32."""
        pooled = sequence_dropout(encoded.pooled_output, self.dropout_rate, dropout_key, FIRST_HEAD_SITE)
        logits = tf.matmul(pooled, weights["output_weights"], transpose_b=True)
        return tf.nn.bias_add(logits, weights["output_bias"])


class _SoftmaxHead(_PooledLinearHead):
    """One of C classes is right."""

    def _class_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """[n, N] -> [b, C]."""
        return logits

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]:
        """`logits` and `probabilities` [b, C] float32, `predictions` [b] int32, the most probable class."""
        logits = self._class_logits(self._logits(weights, encoded, dropout_key))
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "predictions": tf.argmax(logits, axis=-1, output_type=tf.int32),
        }

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """Cross-entropy of `label_ids` [b] int32; [b] float32."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(features["label_ids"], predictions["logits"])


@dataclasses.dataclass(frozen=True)
class ClassificationHead(_SoftmaxHead):
    """Softmax over `num_labels` classes of a sequence."""

    num_labels: int = dataclasses.field(kw_only=True)

    @property
    def _num_logits(self) -> int:
        return self.num_labels


@dataclasses.dataclass(frozen=True)
class ChoiceHead(_SoftmaxHead):
    """Softmax over the `num_choices` sequences of an example, which follow each other: n = b * num_choices.

    Each sequence has one logit.
    """

    num_choices: int = 4

    def _class_logits(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.reshape(logits, [-1, self.num_choices])


@dataclasses.dataclass(frozen=True)
class MultiLabelHead(_PooledLinearHead):
    """Each of `num_labels` labels is there or not: a sigmoid for each."""

    num_labels: int = dataclasses.field(kw_only=True)

    @property
    def _num_logits(self) -> int:
        return self.num_labels

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]:
        """`logits` and `probabilities` [b, C] float32, `predictions` [b, C] int32: 1 for a probability above 0.5."""
        logits = self._logits(weights, encoded, dropout_key)
        return {
            "logits": logits,
            "probabilities": tf.sigmoid(logits),
            "predictions": tf.cast(logits > 0, tf.int32),
        }

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """The mean over labels of the binary cross-entropy of `label_ids` [b, C], 0 or 1; [b] float32."""
        label_ids = tf.cast(features["label_ids"], tf.float32)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(label_ids, predictions["logits"])
        return tf.reduce_mean(losses, axis=1)


@dataclasses.dataclass(frozen=True)
class RegressionHead(_PooledLinearHead):
    """One raw score with squared error: upstream neither scales nor clips STS-B's 0 to 5."""

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]:
        """`logits` and `predictions`, both the score [b] float32; `probabilities` the same as [b, 1]."""
        scores = self._logits(weights, encoded, dropout_key)
        return {"logits": scores[:, 0], "probabilities": scores, "predictions": scores[:, 0]}

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """(score - label)^2 of `label_ids` [b] float32; [b] float32."""
        return tf.square(predictions["logits"] - tf.cast(features["label_ids"], tf.float32))
