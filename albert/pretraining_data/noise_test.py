"""Which words a noisy copy has, in which order, and what is left alone."""

import numpy as np

from albert.pretraining_data.instances import Pair, Sequences, sequences
from albert.pretraining_data.noise import MAX_MOVE, with_noise
from albert.pretraining_data.pieces import Vocabulary

CLS, SEP, PAD = 2, 3, 0
# Every id that is 10, 13, 16, ... begins a word of three tokens.
VOCABULARY = Vocabulary(CLS, SEP, 4, PAD, 1, np.arange(1001) % 3 == 1)
CORPUS = np.arange(1000)
WORDS = 12
A = [CLS, *range(100, 100 + 3 * WORDS), SEP]


def pairs(labels: list[int], first_key: int = 0, length: int = 120) -> Sequences:
    """For each of `labels` the same two texts of twelve words, with noise. Enough room, unless `length` is less."""
    made = [Pair(100, 3 * WORDS, 400, 3 * WORDS, label) for label in labels]
    text = sequences(CORPUS, made, length, VOCABULARY)
    return with_noise(text, VOCABULARY, np.arange(first_key, first_key + len(labels), dtype=np.uint64))


def words_of_b(noisy: Sequences, row: int) -> tuple[list[int], list[int]]:
    """Numbers of the words that come from A and of those that come from B, in their order. All must be whole."""
    ids = noisy.ids[row, len(A) : noisy.lengths[row] - 1].reshape(-1, 3)
    assert (ids == ids[:, :1] + np.arange(3)).all()
    first = ids[:, 0]
    return ((first[first < 400] - 100) // 3).tolist(), ((first[first >= 400] - 400) // 3).tolist()


def test_the_first_segment_stays_and_the_second_ends_where_its_words_do():
    labels = [0, 1] * 50
    noisy = pairs(labels)
    position = np.arange(120)
    for row in range(100):
        length = noisy.lengths[row]
        assert noisy.ids[row, : len(A)].tolist() == A
        assert noisy.ids[row, length - 1] == SEP
        assert (noisy.ids[row, length:] == PAD).all()
        in_b = (position >= len(A)) & (position < length)
        assert noisy.segment_ids[row].tolist() == in_b.astype(int).tolist()
        is_special = np.isin(position, [0, len(A) - 1, length - 1])
        assert noisy.is_token[row].tolist() == ((position < length) & ~is_special).tolist()
    assert noisy.labels.tolist() == labels


def test_the_label_says_of_which_text_more_words_are_there():
    noisy = pairs([0] * 1000 + [1] * 1000)
    counts = np.array([[len(words) for words in words_of_b(noisy, row)] for row in range(2000)])
    copied, own = counts.T / WORDS
    # E[q] = 1/2 + 1/pi for u uniform in [0, 1/2); q itself varies by 0.15, and a twelfth of words by less than that.
    expected = 0.5 + 1 / np.pi
    for share in (copied[:1000], own[1000:], 1 - own[:1000], 1 - copied[1000:]):
        assert abs(share.mean() - expected) < 5 * 0.2 / 1000**0.5
    # Everything from a copy to a text of its own.
    assert set(counts[:, 0]) == set(range(WORDS + 1))
    assert np.corrcoef(copied, own)[0, 1] < -0.8


def test_words_of_a_text_move_by_a_few_places():
    noisy = pairs([0, 1] * 500)
    moved = 0
    for row in range(1000):
        for words in words_of_b(noisy, row):
            assert len(words) == len(set(words))
            # A word comes before one that it stood behind only if they were at most MAX_MOVE places apart.
            apart = [a - b for i, a in enumerate(words) for b in words[i + 1 :] if a > b]
            assert max(apart, default=0) <= MAX_MOVE
            moved += bool(apart)
    assert moved > 1000  # of 2,000


def test_what_does_not_fit_is_cut_at_the_end():
    # Room for 80 - 38 - 1 = 41 tokens, which is less than fourteen words.
    noisy = pairs([0] * 500, length=80)
    cut = np.flatnonzero(noisy.lengths == 80)
    assert 10 < len(cut) < 250
    for row in cut:
        assert noisy.ids[row, 79] == SEP
        *whole, last = np.split(noisy.ids[row, len(A) : 79], range(3, 41, 3))
        assert all((np.diff(word) == 1).all() for word in (*whole, last))
        assert len(last) == 2


def test_a_word_is_there_at_least():
    # One word each: both are left out in q (1 - q) of all pairs.
    text = sequences(CORPUS, [Pair(100, 3, 400, 3, 1)] * 500, 20, VOCABULARY)
    noisy = with_noise(text, VOCABULARY, np.arange(500, dtype=np.uint64))
    found = {tuple(ids[5 : length - 1]) for ids, length in zip(noisy.ids.tolist(), noisy.lengths, strict=True)}
    a, b = (100, 101, 102), (400, 401, 402)
    assert found == {a, b, a + b, b + a}


def test_noise_depends_on_the_key_alone():
    many, later = pairs([0] * 50), pairs([0] * 10, first_key=40)
    np.testing.assert_array_equal(later.ids, many.ids[40:])
    assert len({tuple(ids) for ids in many.ids}) == 50
