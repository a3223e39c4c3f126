"""What the heads that read tokens see: the positions of the rows as they lie, and where those of each sequence are."""

from typing import NamedTuple

import tensorflow as tf

from albert.modeling import EncoderOutput, TokenLayout


class Tokens(NamedTuple):
    """The T positions of all rows, and where the n sequences' S positions are among them."""

    vectors: tf.Tensor  # float32 [T, H], the encoder's output
    layout: TokenLayout
    places: tf.Tensor  # int32 [n, S]
    is_inside: tf.Tensor  # bool [n, S]: whether the sequence is so long

    @classmethod
    def of(cls, encoded: EncoderOutput, least_width: int = 1) -> "Tokens":
        """With S = L, or `least_width` if that is more."""
        assert encoded.sequence_output is not None, "a head that reads tokens has them"
        layout, (_, length, hidden) = encoded.layout, encoded.sequence_output.shape
        vectors = tf.reshape(tf.cast(encoded.sequence_output, tf.float32), [-1, hidden])
        if length is None:  # an exported graph takes rows of any length
            positions = tf.range(tf.maximum(tf.shape(encoded.sequence_output)[1], least_width))
        else:
            positions = tf.range(max(length, least_width))
        places = tf.minimum(layout.sequence_starts[:, None] + positions, tf.shape(vectors)[0] - 1)
        return cls(vectors, layout, places, positions < layout.sequence_lengths[:, None])

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """[n, ...] -> [T, ...]: each token gets what its sequence has."""
        return tf.gather(values, tf.maximum(self._sequence_numbers(), 0))

    def in_rows(self, values: tf.Tensor) -> tf.Tensor:
        """[n, S] -> [T]: each token gets what its sequence has at the token's position."""
        firsts = tf.maximum(self._sequence_numbers(), 0) * tf.shape(values)[1]
        return tf.gather(tf.reshape(values, [-1]), firsts + tf.reshape(self.layout.position_ids, [-1]))

    def sums(self, values: tf.Tensor) -> tf.Tensor:
        """[T, ...] -> [n, ...]: summed over the tokens of each sequence."""
        return tf.math.unsorted_segment_sum(values, self._sequence_numbers(), tf.shape(self.places)[0])

    def at(self, positions: tf.Tensor) -> tf.Tensor:
        """[n, H]: the vectors at `positions` [n] of each sequence; of its last token where it is shorter."""
        last = tf.maximum(self.layout.sequence_lengths - 1, 0)
        return tf.gather(self.vectors, self.layout.sequence_starts + tf.minimum(positions, last))

    def _sequence_numbers(self) -> tf.Tensor:
        """int32 [T], -1 where no token is."""
        return tf.reshape(self.layout.sequence_ids, [-1]) - 1
