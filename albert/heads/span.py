"""The heads that find an answer in a text: SQuAD 1.1's, and SQuAD 2.0's, which also says whether there is one.

What is as wide as the model is computed for the T = R * L positions of the rows as they lie, so that packing saves here
what it saves in the encoder; only logits are brought into the order [n, S], position by position of each sequence. S is
L, which no sequence exceeds, or the size of a beam that is wider. Everything is float32. A position that cannot be an
answer has the logit IMPOSSIBLE: for SQuAD 2.0 those of `p_mask`, for both those beyond a sequence's end.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.heads.base import FIRST_HEAD_SITE, NO_FEATURES, OUTPUT_STDDEV, Features
from albert.heads.tokens import Tokens
from albert.modeling import EncoderOutput, VariableSpec, Weights, dense, dense_specs, layer_norm_specs
from albert.ops.dropout import DropoutKey, sequence_dropout
from albert.ops.fused import LAYER_NORM_EPSILON

# Upstream's, and finite: of a beam wider than there are possible positions, the rest is filled with impossible ones.
IMPOSSIBLE = -1e30
# Upstream's default when it trains; evaluation has none.
ANSWER_CLASS_DROPOUT = 0.1
ANSWER_CLASS_SITE = FIRST_HEAD_SITE + 1


@dataclasses.dataclass(frozen=True)
class SpanHead:
    """SQuAD 1.1: `cls/squad/output_weights` [2, H] and `cls/squad/output_bias` [2] on every token, for start and end.

    The original takes the softmax over all S positions of an input, padding with it, which it computes as if it were
    text: each such position attends to the sequence and has a logit of its own, so the loss depends on the length that
    inputs are padded to. Rows without padding have nothing to take these logits from, short of computing the padding.
    Hence padding is left out here: the probability goes to tokens alone, and packed and padded rows give the same.

    `softmax_over_padding` gives the original's loss and logits. It needs rows of one sequence each, whose padding has
    its places as `position_ids`, as `TokenLayout.one_per_row` makes them.
    """

    config: AlbertConfig
    softmax_over_padding: bool = False

    reads_tokens: ClassVar[bool] = True
    label_columns: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions", "is_impossible")

    @property
    def variable_specs(self) -> tuple[VariableSpec, ...]:
        return (
            VariableSpec("cls/squad/output_weights", (2, self.config.hidden_size), stddev=OUTPUT_STDDEV),
            VariableSpec("cls/squad/output_bias", (2,), "zeros"),
        )

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]:
        """`start_log_prob` and `end_log_prob` [n, S] float32: logits, despite the names, which are the original's.

        Raises ValueError where `softmax_over_padding` meets packed rows, if their number is known.
        """
        tokens = Tokens.of(encoded)
        logits = tf.matmul(tokens.vectors, weights["cls/squad/output_weights"], transpose_b=True)
        logits = tf.gather(tf.nn.bias_add(logits, weights["cls/squad/output_bias"]), tokens.places)  # [n, S, 2]
        if self.softmax_over_padding:
            num_rows, num_sequences = encoded.layout.sequence_ids.shape[0], tokens.places.shape[0]
            if None not in (num_rows, num_sequences) and num_rows != num_sequences:
                raise ValueError(
                    f"softmax_over_padding: {num_sequences} sequences in {num_rows} rows; one a row needed"
                )
        else:
            logits = tf.where(tokens.is_inside[:, :, None], logits, IMPOSSIBLE)
        return {"start_log_prob": logits[:, :, 0], "end_log_prob": logits[:, :, 1]}

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """The mean cross-entropy of `start_positions` and `end_positions` [n] int32; [n] float32."""
        start = _log_prob(predictions["start_log_prob"], features["start_positions"])
        end = _log_prob(predictions["end_log_prob"], features["end_positions"])
        return -0.5 * (start + end)


@dataclasses.dataclass(frozen=True)
class SpanHeadV2:
    """SQuAD 2.0: where an answer starts, where it ends given its start, and whether there is none.

    In training the start is the labelled one. To predict, each of the `start_n_top` most probable starts gets the
    `end_n_top` most probable ends.
    """

    config: AlbertConfig
    start_n_top: int = 5
    end_n_top: int = 5
    dropout_rate: float = ANSWER_CLASS_DROPOUT

    reads_tokens: ClassVar[bool] = True
    label_columns: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions", "is_impossible")

    @property
    def variable_specs(self) -> tuple[VariableSpec, ...]:
        hidden, stddev = self.config.hidden_size, self.config.initializer_range
        return (
            *dense_specs("start_logits/dense", hidden, 1, stddev),
            *dense_specs("end_logits/dense_0", 2 * hidden, hidden, stddev),
            *layer_norm_specs("end_logits/LayerNorm", hidden),
            *dense_specs("end_logits/dense_1", hidden, 1, stddev),
            *dense_specs("answer_class/dense_0", 2 * hidden, hidden, stddev),
            VariableSpec("answer_class/dense_1/kernel", (hidden, 1), stddev=stddev),  # upstream's has no bias
        )

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]:
        """Of K starts, each with M ends: `start_top_log_probs`, `start_top_index` [n, K], the best first;
        `end_top_log_probs`, `end_top_index` [n, K * M], those of the first start first; `cls_logits` [n], larger means
        "no answer". Numbers are float32, indices int32.

        With labels, `start_positions` and `end_positions` [n] int32, also `label_start_log_prob` and
        `label_end_log_prob` [n] of the labelled start, and of the labelled end given that start.

        `features["p_mask"]` is int32 [R, L], 1 for tokens that cannot be an answer.
        """
        tokens = Tokens.of(encoded, max(self.start_n_top, self.end_n_top))
        is_masked = tf.gather(tf.reshape(features["p_mask"], [-1]), tokens.places) != 0
        is_possible = tokens.is_inside & ~is_masked  # [n, S]
        token_start_logits = dense(tokens.vectors, weights, "start_logits/dense")[:, 0]  # [T]
        start_logits = tf.where(is_possible, tf.gather(token_start_logits, tokens.places), IMPOSSIBLE)
        end_scorer = _EndScorer(tokens, is_possible, weights)

        top_starts = tf.math.top_k(tf.nn.log_softmax(start_logits), self.start_n_top)
        # One start after the other: together they would be K times as wide as the encoder's output.
        top_ends = [
            tf.math.top_k(tf.nn.log_softmax(end_scorer.logits(start)), self.end_n_top)
            for start in tf.unstack(top_starts.indices, axis=1)
        ]
        predictions = {
            "start_top_log_probs": top_starts.values,
            "start_top_index": top_starts.indices,
            "end_top_log_probs": tf.concat([ends.values for ends in top_ends], axis=1),
            "end_top_index": tf.concat([ends.indices for ends in top_ends], axis=1),
            "cls_logits": _no_answer_logits(weights, tokens, start_logits, dropout_key, self.dropout_rate),
        }
        if "start_positions" in features:
            start, end = features["start_positions"], features["end_positions"]
            predictions["label_start_log_prob"] = _log_prob(start_logits, start)
            predictions["label_end_log_prob"] = _log_prob(end_scorer.logits(start), end)
        return predictions

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """Half the mean cross-entropy of start and end, half that of `is_impossible` [n], 1 or 0; [n] float32."""
        span = predictions["label_start_log_prob"] + predictions["label_end_log_prob"]
        is_impossible = tf.cast(features["is_impossible"], tf.float32)
        no_answer = tf.nn.sigmoid_cross_entropy_with_logits(is_impossible, predictions["cls_logits"])
        return 0.5 * (no_answer - span)


class _EndScorer:
    """A token's logit for being the end of an answer that starts at a given one.

    A layer of 2 H -> H units on (token, start) with tanh, layer normalisation, one unit. The first is a sum. Its
    part from the tokens is the same for every start, its part from the start the same for every token of a sequence.
    """

    def __init__(self, tokens: Tokens, is_possible: tf.Tensor, weights: Weights):
        self._tokens, self._is_possible = tokens, is_possible
        of_token, self._of_start = tf.split(weights["end_logits/dense_0/kernel"], 2)
        self._token_part = tf.nn.bias_add(tf.matmul(tokens.vectors, of_token), weights["end_logits/dense_0/bias"])
        # Normalisation is linear in its scale and shift, so that they belong to the last unit.
        kernel = weights["end_logits/dense_1/kernel"]  # [H, 1]
        self._scaled_kernel = weights["end_logits/LayerNorm/gamma"][:, None] * kernel
        self._shift = tf.matmul(weights["end_logits/LayerNorm/beta"][None], kernel) + weights["end_logits/dense_1/bias"]

    def logits(self, starts: tf.Tensor) -> tf.Tensor:
        """[n, S], of all positions for one start in each sequence, `starts` [n] int32."""
        start_part = tf.matmul(self._tokens.at(starts), self._of_start)
        hidden = tf.tanh(self._token_part + self._tokens.spread(start_part))  # [T, H]
        centred = hidden - tf.reduce_mean(hidden, axis=1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=1, keepdims=True)
        reciprocal = tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
        logits = reciprocal * tf.matmul(centred, self._scaled_kernel) + self._shift  # [T, 1]
        return tf.where(self._is_possible, tf.gather(logits[:, 0], self._tokens.places), IMPOSSIBLE)


def _no_answer_logits(
    weights: Weights, tokens: Tokens, start_logits: tf.Tensor, dropout_key: DropoutKey | None, dropout_rate: float
) -> tf.Tensor:
    """[n], from the mean token, weighted by its probability of being the start, and the first token."""
    probabilities = tokens.in_rows(tf.nn.softmax(start_logits))  # [T]
    start = tokens.sums(probabilities[:, None] * tokens.vectors)  # [n, H]
    first = tf.gather(tokens.vectors, tokens.layout.sequence_starts)
    hidden = tf.tanh(dense(tf.concat([start, first], axis=1), weights, "answer_class/dense_0"))
    hidden = sequence_dropout(hidden, dropout_rate, dropout_key, ANSWER_CLASS_SITE)
    return tf.matmul(hidden, weights["answer_class/dense_1/kernel"])[:, 0]


def _log_prob(logits: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """[n]: the log of the softmax of `logits` [n, S] at `positions` [n]."""
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(positions, logits)
