"""The cross-entropy with class weights and label smoothing, which training may minimise in place of a head's."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from albert.heads.base import Features


@dataclasses.dataclass(frozen=True)
class WeightedCrossEntropy:
    """w_y times the cross-entropy of the label y, smoothed: (1 - s) on y and s / C on each of the C classes.

    `class_weights` are w of every class, None for 1. The engine divides by the number of examples, not by the sum of
    their weights, so weights whose mean over the training data is 1 leave the size of the loss as it is.
    """

    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __call__(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """[b] float32, of `logits` [b, C] and `label_ids` [b] int32."""
        logits, label_ids = predictions["logits"], features["label_ids"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(label_ids, logits)
        if self.label_smoothing:
            of_all_classes = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses = (1 - self.label_smoothing) * losses + self.label_smoothing * of_all_classes
        if self.class_weights is None:
            return losses
        return tf.gather(tf.constant(self.class_weights, tf.float32), label_ids) * losses
