"""The cross-entropy with class weights and label smoothing, and heads that train with it in place of their own."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from albert.heads.base import Features, Head
from albert.heads.pooled import ClassificationHead
from albert.heads.tags import TagHead


@dataclasses.dataclass(frozen=True)
class WeightedCrossEntropy:
    """w_y times the cross-entropy of the label y, smoothed: (1 - s) on y and s / C on each of the C classes.

    `class_weights` are w of every class, None for 1. The engine divides by the number of examples, not by the sum of
    their weights, so weights whose mean over the training data is 1 leave the size of the loss as it is.
    """

    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __call__(self, label_ids: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """[b] float32, of `label_ids` [b] int32 and `logits` [b, C]."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(label_ids, logits)
        if self.label_smoothing:
            of_all_classes = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses = (1 - self.label_smoothing) * losses + self.label_smoothing * of_all_classes
        if self.class_weights is None:
            return losses
        return tf.gather(tf.constant(self.class_weights, tf.float32), label_ids) * losses


@dataclasses.dataclass(frozen=True)
class WeightedClassificationHead(ClassificationHead):
    """The head with `loss` for each example."""

    loss: WeightedCrossEntropy = WeightedCrossEntropy()

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """[b] float32, of `label_ids` [b] int32."""
        return self.loss(features["label_ids"], predictions["logits"])


@dataclasses.dataclass(frozen=True)
class WeightedTagHead(TagHead):
    """The head with `loss` for each word. A sequence's loss remains a sum over its words divided by their number."""

    loss: WeightedCrossEntropy = WeightedCrossEntropy()

    def word_losses(self, tags: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """[T] float32, of `tags` [T] int32 and `logits` [T, C]."""
        return self.loss(tags, logits)


def with_loss(head: Head, loss: WeightedCrossEntropy) -> Head:
    """The head with another loss, and the same variables and predictions."""
    if isinstance(head, TagHead):
        return WeightedTagHead(head.config, head.num_tags, head.dropout_rate, loss)
    assert isinstance(head, ClassificationHead), f"{type(head).__name__} has no classes"
    return WeightedClassificationHead(head.config, head.dropout_rate, loss=loss, num_labels=head.num_labels)
