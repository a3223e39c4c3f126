"""From documents to pairs of text segments: how long a sequence gets, which text it has, and what its label is.

Pairs are places in the corpus's ids; `sequences` makes token sequences of them. Draws are given from outside, so that
the original's can be replayed. No TensorFlow.
"""

import bisect
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from albert.pretraining_data.documents import CorpusArrays
from albert.pretraining_data.pieces import Vocabulary
from albert.settings.fields import DATA, SHARE, at_least, setting

SPECIAL_TOKENS = 3  # [CLS] A [SEP] B [SEP]
# The original gives up after so many draws of a document that should be another one.
_TRIES_FOR_ANOTHER_DOCUMENT = 10
_SENTENCES_AT_A_TIME = 1 << 16


class Draws(Protocol):
    """A stream of random numbers."""

    def uniform(self) -> float:
        """In [0, 1)."""

    def between(self, low: int, high: int) -> int:
        """In [low, high], both included."""


@dataclasses.dataclass(frozen=True)
class PairSettings:
    """How pairs are made; the fields are the flags of the same names."""

    max_seq_length: int = setting(
        "Length of the records in tokens.", DATA, default=512, bounds=at_least(SPECIAL_TOKENS + 2, 65536)
    )
    short_seq_prob: float = setting(
        "How often a pass through a document makes shorter sequences than `max_seq_length`.",
        DATA,
        default=0.1,
        bounds=SHARE,
    )
    random_next_sentence: bool = setting(
        "Negative pairs get text of another document, not swapped halves.", DATA, default=False
    )
    noisy_copies: bool = setting(
        "The second text of a pair is a copy of the first, with words left out and moved (label 0), or as noisy a "
        "copy of what follows it (label 1), or anything between: for a last phase, which teaches to compare.",
        DATA,
        default=False,
        kw_only=True,
    )

    @property
    def max_tokens(self) -> int:
        """Most tokens of both segments together."""
        return self.max_seq_length - SPECIAL_TOKENS

    @property
    def max_text_tokens(self) -> int:
        """Most tokens of the text that a pair is made of; of noisy copies, about half of it comes twice."""
        return self.max_tokens * 2 // 3 if self.noisy_copies else self.max_tokens


class Pair(NamedTuple):
    """Segment A is ids[a_start:a_start + a_length] of the corpus, B likewise; label 1 if B does not follow A.

    Of noisy copies the label is what B is to become; see `albert.pretraining_data.noise`.
    """

    a_start: int
    a_length: int
    b_start: int
    b_length: int
    label: int


def pairs_of_document(corpus: CorpusArrays, document: int, settings: PairSettings, draws: Draws) -> Iterator[Pair]:
    """The pairs of one pass through `document`.

    Sentences are taken until they have the target length: the longest possible or, with probability `short_seq_prob`, a
    shorter one, drawn once for the pass. A border between two sentences is drawn. What is before is A, what is behind
    B; half of the time they are swapped. A chunk of one sentence gets its B from another document, and so does, with
    `random_next_sentence`, half of the others; what of a chunk is not used then is used for the next.

    With `noisy_copies` nothing is swapped, and a label is drawn, for which
    `albert.pretraining_data.noise` makes another B.
    """
    target = settings.max_text_tokens
    if draws.uniform() < settings.short_seq_prob:
        target = draws.between(2, target)
    starts = corpus.sentence_starts
    sentence, end = (int(number) for number in corpus.document_starts[document : document + 2])
    while sentence < end:
        chunk_end = _end_of_tokens(starts, sentence, end, target)
        a_end = sentence + 1
        if chunk_end - sentence >= 2:
            a_end = sentence + draws.between(1, chunk_end - sentence - 1)
        a = (int(starts[sentence]), int(starts[a_end]))
        if chunk_end - sentence == 1 or (settings.random_next_sentence and draws.uniform() < 0.5):
            segments, label = (a, _random_segment(corpus, document, target - (a[1] - a[0]), draws)), 1
            chunk_end = a_end
        else:
            b = (a[1], int(starts[chunk_end]))
            in_order = settings.random_next_sentence or settings.noisy_copies
            swapped = not in_order and draws.uniform() < 0.5
            segments, label = ((b, a), 1) if swapped else ((a, b), 0)
        if settings.noisy_copies:
            label = int(draws.uniform() < 0.5)
        (a_start, a_length), (b_start, b_length) = _truncated(*segments, settings.max_text_tokens, draws)
        yield Pair(a_start, a_length, b_start, b_length, label)
        sentence = chunk_end


def has_neighbours(corpus: CorpusArrays, max_text_tokens: int) -> bool:
    """Whether any text can be paired with what follows it: a sentence, room behind it, and another one there."""
    starts = corpus.sentence_starts
    for first in range(0, len(starts) - 1, _SENTENCES_AT_A_TIME):
        lengths = np.diff(starts[first : first + _SENTENCES_AT_A_TIME + 1])
        numbers = first + np.arange(len(lengths))
        document_ends = corpus.document_starts[np.searchsorted(corpus.document_starts, numbers, side="right")]
        if ((lengths < max_text_tokens) & (numbers + 1 < document_ends)).any():
            return True
    return False


def _end_of_tokens(starts: np.ndarray, first: int, end: int, tokens: int) -> int:
    """The sentence before which, counted from the sentence `first`, there are at least `tokens`; at most `end`."""
    # Every sentence has a token, so that the search need not go further than that many sentences.
    furthest = min(end, first + max(tokens, 1))
    return bisect.bisect_left(starts, starts[first] + tokens, first + 1, furthest)


def _random_segment(corpus: CorpusArrays, document: int, tokens: int, draws: Draws) -> tuple[int, int]:
    """[start, end) of at least `tokens` tokens, if it has as many, of a document other than `document`."""
    for _ in range(_TRIES_FOR_ANOTHER_DOCUMENT):
        other = draws.between(0, corpus.num_documents - 1)
        if other != document:
            break
    first, end = (int(number) for number in corpus.document_starts[other : other + 2])
    sentence = first + draws.between(0, end - first - 1)
    last = _end_of_tokens(corpus.sentence_starts, sentence, end, tokens)
    return int(corpus.sentence_starts[sentence]), int(corpus.sentence_starts[last])


def _truncated(
    a: tuple[int, int], b: tuple[int, int], max_tokens: int, draws: Draws
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(start, length) of both [start, end), cut to `max_tokens`: always the longer, at front or back by chance."""
    (a_start, a_end), (b_start, b_end) = a, b
    while (a_end - a_start) + (b_end - b_start) > max_tokens:
        at_front = draws.uniform() < 0.5
        if a_end - a_start > b_end - b_start:
            a_start, a_end = (a_start + 1, a_end) if at_front else (a_start, a_end - 1)
        else:
            b_start, b_end = (b_start + 1, b_end) if at_front else (b_start, b_end - 1)
    return (a_start, a_end - a_start), (b_start, b_end - b_start)


class Sequences(NamedTuple):
    """N sequences [CLS] A [SEP] B [SEP], padded to S tokens."""

    ids: np.ndarray  # int32 [N, S]
    is_token: np.ndarray  # bool [N, S]: neither special nor padding
    lengths: np.ndarray  # int64 [N], without padding
    segment_ids: np.ndarray  # int32 [N, S], 1 for B and the [SEP] behind it
    labels: np.ndarray  # int64 [N]


def sequences(corpus_ids: np.ndarray, pairs: list[Pair], max_seq_length: int, vocabulary: Vocabulary) -> Sequences:
    """The token sequences of `pairs`."""
    a_start, a_length, b_start, b_length, labels = np.array(pairs, np.int64).reshape(-1, len(Pair._fields)).T[..., None]
    position = np.arange(max_seq_length)
    middle_sep = a_length + 1
    last_sep = middle_sep + b_length + 1
    is_b = position > middle_sep
    is_token = (position >= 1) & (position < last_sep) & (position != middle_sep)
    places = np.where(is_b, b_start - middle_sep - 1, a_start - 1) + position
    ids = np.where(is_token, corpus_ids.take(places * is_token), vocabulary.pad_id).astype(np.int32)
    ids[:, 0] = vocabulary.cls_id
    np.put_along_axis(ids, np.concatenate([middle_sep, last_sep], 1), vocabulary.sep_id, 1)
    segment_ids = is_b & (position <= last_sep)
    return Sequences(ids, is_token, last_sep[:, 0] + 1, segment_ids.astype(np.int32), labels[:, 0])
