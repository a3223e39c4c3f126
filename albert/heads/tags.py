"""The head that gives every word of a text a tag: named entities, parts of speech."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.heads.base import FIRST_HEAD_SITE, NO_FEATURES, OUTPUT_STDDEV, Features
from albert.heads.tokens import Tokens
from albert.modeling import EncoderOutput, VariableSpec, Weights
from albert.ops.dropout import DropoutKey, token_dropout

# transformers' default for AlbertForTokenClassification.
TAG_DROPOUT = 0.1


@dataclasses.dataclass(frozen=True)
class TagHead:
    """`cls/tags/output_weights` [C, H] and `cls/tags/output_bias` [C] on every token, with dropout before them.

    This is AlbertForTokenClassification of transformers. The names are not those of a classifier of whole texts, so
    that such a one with the same number of classes is not taken for it.

    The tag of a word is read at its first piece. A token of any other kind has no tag: the other pieces of words,
    [CLS], [SEP].
    """

    config: AlbertConfig
    num_tags: int
    dropout_rate: float = TAG_DROPOUT

    reads_tokens: ClassVar[bool] = True
    label_columns: ClassVar[tuple[str, ...]] = ("tag_ids",)

    @property
    def variable_specs(self) -> tuple[VariableSpec, ...]:
        return (
            VariableSpec("cls/tags/output_weights", (self.num_tags, self.config.hidden_size), stddev=OUTPUT_STDDEV),
            VariableSpec("cls/tags/output_bias", (self.num_tags,), "zeros"),
        )

    def token_logits(
        self, weights: Weights, encoded: EncoderOutput, dropout_key: DropoutKey | None = None
    ) -> tf.Tensor:
        """[T, C] float32 of the T positions of all rows, those without a token among them."""
        assert encoded.sequence_output is not None, "a head that reads tokens has them"
        vectors = tf.cast(encoded.sequence_output, tf.float32)
        vectors = token_dropout(vectors, self.dropout_rate, dropout_key, FIRST_HEAD_SITE)
        vectors = tf.reshape(vectors, [-1, self.config.hidden_size])
        logits = tf.matmul(vectors, weights["cls/tags/output_weights"], transpose_b=True)
        return tf.nn.bias_add(logits, weights["cls/tags/output_bias"])

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]:
        """`tags` [n, S] int32, the most probable of each token, and `tag_probabilities` [n, S] float32, how probable.

        Both are 0 beyond a sequence's end. With labels, `tag_ids` int32 [R, L], also `tag_loss` [n]; a label is 1 + the
        number of the tag, or 0 where a token has none.
        """
        logits, tokens = self.token_logits(weights, encoded, dropout_key), Tokens.of(encoded)
        best = tf.argmax(logits, axis=1, output_type=tf.int32)
        probabilities = tf.reduce_max(tf.nn.softmax(logits), axis=1)
        predictions = {
            "tags": tf.where(tokens.is_inside, tf.gather(best, tokens.places), 0),
            "tag_probabilities": tf.where(tokens.is_inside, tf.gather(probabilities, tokens.places), 0.0),
        }
        if "tag_ids" in features:
            labels = tf.reshape(features["tag_ids"], [-1])
            losses = self.word_losses(tf.maximum(labels - 1, 0), logits)
            is_labelled = tf.cast(labels > 0, tf.float32)
            counts = tokens.sums(is_labelled)
            predictions["tag_loss"] = tokens.sums(losses * is_labelled) / tf.maximum(counts, 1.0)
        return predictions

    def word_losses(self, tags: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The cross-entropy [T] float32 of `tags` [T] int32."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(tags, logits)

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """The mean cross-entropy over the words of each sequence that have a tag, 0 without any; [n] float32.

        So every sentence counts the same; of a text in windows every window does, which has the words that are read in
        it. transformers takes the mean over all words of a batch, where a long sentence
        counts more. Such a mean depends on which sentences share a batch, and the mean over replicas of their own means
        is not that of one device.
        """
        return predictions["tag_loss"]
