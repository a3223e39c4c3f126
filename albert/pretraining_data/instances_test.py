"""Which text makes up a pair. That the same draws give the original's pairs is in golden_instances_test.py."""

import numpy as np

from albert.data.counter_hash import Stream, key_of
from albert.pretraining_data.documents import CorpusArrays
from albert.pretraining_data.instances import Pair, PairSettings, pairs_of_document, sequences
from albert.pretraining_data.pieces import Vocabulary

# Three documents; the ids number the tokens in order, so that an id shows where it comes from.
DOCUMENTS = [[5, 4, 3, 6, 2, 4], [30], [1, 2, 3]]
LENGTHS = [length for document in DOCUMENTS for length in document]
CORPUS = CorpusArrays(
    ids=np.arange(sum(LENGTHS)),
    sentence_starts=np.cumsum([0, *LENGTHS]),
    document_starts=np.cumsum([0, *map(len, DOCUMENTS)]),
)
VOCABULARY = Vocabulary(2, 3, 4, 0, 1, np.ones(100, bool))


def settings(max_seq_length: int = 15, short_seq_prob: float = 0.0, **kind: bool) -> PairSettings:
    return PairSettings(max_seq_length, short_seq_prob, **{"random_next_sentence": False, **kind})


def many_passes(document: int, of: PairSettings, passes: int = 400, corpus: CorpusArrays = CORPUS) -> list[list[Pair]]:
    return [list(pairs_of_document(corpus, document, of, Stream(key_of(number, document)))) for number in range(passes)]


def document_of(token: int) -> int:
    return int(np.searchsorted(CORPUS.sentence_starts[CORPUS.document_starts], token, side="right")) - 1


def test_every_pair_fits_and_has_text_in_both_segments():
    for document in range(3):
        for of in (
            *(settings(), settings(5, 0.5), settings(15, 0.5, random_next_sentence=True)),
            settings(15, 0.5, noisy_copies=True),
        ):
            for pairs in many_passes(document, of):
                for pair in pairs:
                    assert min(pair.a_length, pair.b_length) >= 1
                    assert pair.a_length + pair.b_length <= of.max_tokens


def test_halves_of_a_chunk_follow_each_other_or_are_swapped_half_of_the_time():
    # Chunks of document 0 for a target of 12 tokens: 5 + 4 + 3 tokens, then 6 + 2 + 4.
    labels = []
    for pairs in many_passes(0, settings()):
        assert len(pairs) == 2
        for pair, first in zip(pairs, (0, 12), strict=True):
            labels.append(pair.label)
            starts = (pair.a_start, pair.b_start)
            assert min(starts) == first
            assert (pair.a_start > pair.b_start) == (pair.label == 1)
            assert max(starts) == min(starts) + (pair.b_length if pair.label else pair.a_length)
    # 800 of them, with a standard error of sqrt(0.25 / 800) = 0.018.
    assert abs(np.mean(labels) - 0.5) < 5 * 0.018


def test_a_chunk_of_one_sentence_gets_its_second_half_from_another_document():
    seen = set()
    for pairs in many_passes(1, settings()):
        [pair] = pairs
        assert pair.label == 1
        assert document_of(pair.a_start) == 1
        seen.add(document_of(pair.b_start))
    assert seen == {0, 2}


def test_with_one_document_only_the_second_half_is_from_the_same():
    corpus = CorpusArrays(np.arange(30), np.array([0, 30]), np.array([0, 1]))
    [[pair]] = many_passes(0, settings(), passes=1, corpus=corpus)
    assert pair.label == 1
    assert pair.a_length + pair.b_length == 12


def test_text_that_random_next_sentences_replace_is_used_for_the_next_pair():
    labels = []
    for pairs in many_passes(0, settings(500, random_next_sentence=True)):
        # Without truncation, the segments that are of this document are all of it, in order.
        own = [(pair.a_start, pair.a_length) for pair in pairs]
        if pairs[-1].label == 0:
            own.append((pairs[-1].b_start, pairs[-1].b_length))
        assert [start for start, _ in own] == np.cumsum([0, *(length for _, length in own[:-1])]).tolist()
        assert sum(length for _, length in own) == 24
        assert all(pair.label == (document_of(pair.b_start) != 0) for pair in pairs)
        labels.append(pairs[0].label)
    assert abs(np.mean(labels) - 0.5) < 5 * 0.025  # of 400


def test_for_noisy_copies_text_is_in_order_under_either_label_and_leaves_room_for_the_copy():
    labels = []
    for pairs in many_passes(0, settings(21, noisy_copies=True)):
        # 18 tokens fit; two thirds of them make the chunks of 12, as above.
        assert len(pairs) == 2
        for pair, first in zip(pairs, (0, 12), strict=True):
            assert pair.a_start == first
            assert pair.b_start == first + pair.a_length
            assert pair.a_length + pair.b_length == 12
            labels.append(pair.label)
    assert abs(np.mean(labels) - 0.5) < 5 * 0.018  # of 800


def test_short_sequences_are_as_frequent_as_asked_for():
    lengths = [pairs[0].a_length + pairs[0].b_length for pairs in many_passes(0, settings(23, 0.25), passes=2000)]
    # 20 tokens at most, and 5 + 4 + 3 + 6 + 2 are exactly 20. A short target is uniform in 2 to 20; one of 19 or 20
    # also takes these five sentences, and those from 2 to 18 less: 0.25 x 17 / 19 = 0.224, standard error 0.0093.
    assert abs(np.mean(np.array(lengths) < 20) - 0.224) < 5 * 0.0093


def test_long_text_is_cut_at_both_ends():
    starts = {pair.a_start - 24 for [pair] in many_passes(1, settings())}
    assert min(starts) < 10 < max(starts)


def test_sequences_have_special_tokens_segments_and_padding():
    pairs = [Pair(10, 2, 50, 3, 1), Pair(60, 1, 70, 1, 0)]
    batch = sequences(np.arange(100, dtype=np.uint16), pairs, 8, VOCABULARY)
    assert batch.ids.tolist() == [[2, 10, 11, 3, 50, 51, 52, 3], [2, 60, 3, 70, 3, 0, 0, 0]]
    assert batch.segment_ids.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]]
    assert batch.lengths.tolist() == [8, 5]
    assert batch.labels.tolist() == [1, 0]
