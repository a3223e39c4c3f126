"""Noisy copies: pairs of texts with more or fewer words in common, by which a model learns to compare. No TensorFlow.

The noise is that of Lample, Conneau, Denoyer and Ranzato (2018, "Unsupervised machine translation using monolingual
corpora only", section 2.3): a word is dropped with some probability, and the others come in the order of their places
plus a uniform number, so that none moves further than a few places. Here it is put on two texts at once, and the
probability differs from pair to pair: what is likely for the words of one text is unlikely for those of the other.

Where one text is much longer than the other, the length of what comes out tells, too, which of them it is made of.

Axes: N sequences, S positions.
"""

import numpy as np

from albert.data.counter_hash import draw, uniform
from albert.pretraining_data.instances import Sequences
from albert.pretraining_data.pieces import Vocabulary

# A word is passed by others of its text that stood at most so many places from it.
MAX_MOVE = 3


def with_noise(text: Sequences, vocabulary: Vocabulary, keys: np.ndarray) -> Sequences:
    """`text` with other words in segment B: some of A's, some of B's own; A and the labels stay.

    A word of A is there with probability q, a word of B with 1 - q, and one at least. q = (1 + cos(pi u)) / 2, mostly
    near 0 or 1, where u is uniform in [0, 1/2) for label 0, so that q is above 1/2, and in [1/2, 1) for label 1. What
    is too long is cut at the end. What is random depends on `keys` (uint64 [N]) alone. Both segments must have a token.
    """
    length = text.ids.shape[1]
    position = np.arange(length)
    in_b = text.is_token & (text.segment_ids == 1)
    start = in_b.argmax(1)[:, None]  # [N, 1], where B begins
    assert in_b.any(1).all(), "a pair without a second text"
    begins = text.is_token & (vocabulary.starts_word[text.ids] | (position == 1) | (position == start))
    word = (np.cumsum(begins, 1) - 1).clip(0)  # [N, S], the words of both texts counted through
    share, fates, moves = np.split(uniform(draw(keys[:, None], np.arange(1 + 2 * length))), [1, 1 + length], axis=1)

    of_a = (1 + np.cos(np.pi * (text.labels[:, None] + share) / 2)) / 2
    kept = text.is_token & (np.take_along_axis(fates, word, 1) < np.where(in_b, 1 - of_a, of_a))
    kept |= text.is_token & (word == 0) & ~kept.any(1, keepdims=True)

    # In the new B, the tokens that are kept come in the order of their words' places, which count from 0 in both texts.
    place = word - in_b * np.take_along_axis(word, start, 1) + (MAX_MOVE + 1) * np.take_along_axis(moves, word, 1)
    order = np.argsort(np.where(kept, place, np.inf), axis=1, kind="stable")
    new_b = np.take_along_axis(text.ids, np.take_along_axis(order, (position - start).clip(0), 1), 1)
    end = np.minimum(start + kept.sum(1, keepdims=True), length - 1)  # [N, 1], where the last [SEP] stands

    ids = np.where(position < start, text.ids, new_b)
    ids[position > end] = vocabulary.pad_id
    np.put_along_axis(ids, end, vocabulary.sep_id, 1)
    return text._replace(
        ids=ids,
        is_token=np.where(position < start, text.is_token, position < end),
        lengths=end[:, 0] + 1,
        segment_ids=((position >= start) & (position <= end)).astype(text.segment_ids.dtype),
    )
