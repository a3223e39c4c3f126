"""Which tokens are hidden, and behind what: whole words, n-grams of words, and permuted tokens.

N sequences are masked at once: the k-th candidate of all of them is one step on arrays. Draws are given from outside,
so that the original's can be replayed. No TensorFlow.

Axes: N sequences, S positions, U word units, P predictions.
"""

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np

from albert.data import counter_hash
from albert.data.record_encoding import num_predictions
from albert.pretraining_data.instances import Sequences
from albert.pretraining_data.pieces import Vocabulary
from albert.settings.fields import MASKS, SOME_SHARE, at_least, setting

# What replaces a token that is to be predicted: [MASK], otherwise the token itself, otherwise any token.
MASK_SHARE, SAME_SHARE = 0.8, 0.1


@dataclasses.dataclass(frozen=True)
class MaskSettings:
    """How much is masked; the fields are the flags of the same names."""

    max_predictions_per_seq: int = setting(
        "Most tokens of a sequence that are masked.", MASKS, default=20, bounds=at_least(1, 65536)
    )
    masked_lm_prob: float = setting("Share of the tokens that is masked.", MASKS, default=0.15, bounds=SOME_SHARE)
    ngram: int = setting("Most words that are masked in a row.", MASKS, default=3, bounds=at_least(1, 1000))
    favor_shorter_ngram: bool = setting(
        "Mask short n-grams more often than long ones; without, the reverse.", MASKS, default=True
    )
    do_whole_word_mask: bool = setting("Mask all tokens of a word together.", MASKS, default=True)
    do_permutation: bool = setting(
        "Besides masking, permute as many tokens again, to be predicted too.", MASKS, default=False
    )

    def ngram_probabilities(self) -> np.ndarray:
        """[ngram]: of n-grams of 1, 2, ... words, in proportion to 1/n, or the reverse."""
        weights = 1 / np.arange(1, self.ngram + 1)
        return (weights if self.favor_shorter_ngram else weights[::-1]) / weights.sum()


class MaskDraws(Protocol):
    """What is drawn for the masks of N sequences. `stage` 0 is of masking, 1 of permuting; `rows` are sequences."""

    def start(self, stage: int, rows: np.ndarray, step: int) -> np.ndarray:
        """The unit at which the candidate number `step` of each of `rows` begins: a random order without repeats."""

    def ngram(self, stage: int, rows: np.ndarray, step: int) -> np.ndarray:
        """How many units that candidate has."""

    def stand_in(self, rows: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each masked token what becomes of it, in [0, 1), and a token that may replace it."""

    def permutation(self, counts: np.ndarray) -> np.ndarray:
        """[N, max(counts)]: in row i a random order of range(counts[i]), then anything."""


class Masked(NamedTuple):
    """Sequences with masks, and what is to be predicted, in the order of positions, padded to P with zeros."""

    input_ids: np.ndarray  # [N, S]
    token_boundary: np.ndarray  # [N, S]
    positions: np.ndarray  # [N, P]
    ids: np.ndarray  # [N, P]
    counts: np.ndarray  # [N]


class WordUnits(NamedTuple):
    """The units of N sequences: words, or single tokens where words are not masked as a whole."""

    counts: np.ndarray  # [N]
    of_token: np.ndarray  # [N, S]: each token's unit; nothing to be relied upon where there is none
    tokens_before: np.ndarray  # [N, U + ngram]: tokens before each unit, or all tokens where there is none


def word_units(batch: Sequences, vocabulary: Vocabulary, settings: MaskSettings) -> WordUnits:
    """Groups tokens into units.

    A token that begins no word belongs to the unit before it, if there is one: also if that one is on the other side of
    the [SEP] in the middle. So does the original, and n-grams reach over that [SEP] too.
    """
    starts = batch.is_token
    if settings.do_whole_word_mask:
        starts = starts & vocabulary.starts_word[batch.ids]
        starts[:, 1] = True  # a token, which begins a unit whatever it is: there is none before
    counts = starts.sum(1)
    of_token = np.cumsum(starts, 1) - 1
    tokens = batch.is_token.sum(1)
    tokens_before = np.repeat(tokens[:, None], counts.max(initial=0) + settings.ngram + 1, axis=1)
    rows, positions = np.nonzero(starts)
    # [CLS] is not counted, nor is the [SEP] in the middle.
    tokens_before[rows, _places_in_rows(counts)] = positions - 1 - batch.segment_ids[rows, positions]
    return WordUnits(counts, of_token, tokens_before)


def _places_in_rows(counts: np.ndarray) -> np.ndarray:
    """0, 1, ..., counts[0] - 1, 0, 1, ..., counts[1] - 1, ...: the place of each thing in its row."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def select_units(
    units: WordUnits, budgets: np.ndarray, is_taken: np.ndarray, settings: MaskSettings, draws: MaskDraws, stage: int
) -> np.ndarray:
    """bool [N, U + ngram]: `is_taken` and the units selected besides, of at most budgets[i] tokens in row i.

    Candidates come in random order. One that is too long for what is left of the budget gets shorter by a unit at a
    time. It is passed over if that does not help, or if any of its units is taken.
    """
    # The original shuffles the candidates of one sequence and walks through them until the budget is spent: a loop in
    # Python over tens of candidates, for every sequence. Here every row takes its next candidate in the same step, so
    # that a step is a few operations on arrays, however many rows there are.
    #
    # `rows` are those that still look for units: with budget left, and candidates not looked at. Rows that are done
    # drop out, so that the last steps, for the few rows with many units, are cheap. tokens_before[i, u] is the number
    # of tokens before unit u, which makes the size of any n-gram a difference of two entries.
    #
    # A candidate is selected only if it fits whole and none of its units is taken, by an earlier step or an earlier
    # stage: so a masked unit keeps its mask, and no token counts twice against the budget.
    is_taken = is_taken.copy()
    left = budgets.copy()
    step = 0
    rows = np.flatnonzero((left > 0) & (units.counts > 0))
    while rows.size:
        start, n = draws.start(stage, rows, step), draws.ngram(stage, rows, step)
        before = units.tokens_before[rows, start]
        room = left[rows]
        for _ in range(settings.ngram - 1):
            n = n - ((n > 1) & (units.tokens_before[rows, start + n] - before > room))
        size = units.tokens_before[rows, start + n] - before
        is_selected = size <= room
        for offset in range(settings.ngram):
            is_selected &= (offset >= n) | ~is_taken[rows, start + offset]
        for offset in range(settings.ngram):
            # May mark a place behind the last unit, which only n-grams with that unit, taken as well, reach.
            here = is_selected & (offset < n)
            is_taken[rows[here], start[here] + offset] = True
        left[rows] -= size * is_selected
        step += 1
        rows = rows[(left[rows] > 0) & (step < units.counts[rows])]
    return is_taken


def mask(
    batch: Sequences, units: WordUnits, vocabulary: Vocabulary, settings: MaskSettings, draws: MaskDraws
) -> Masked:
    """Masks, and permutes if asked to, about `masked_lm_prob` of the tokens of each sequence.

    [CLS] and [SEP] count as tokens for how many are masked, and at least one is, unless the share is 0.
    """
    # rint rounds halves to even, as Python's round does.
    wanted = np.maximum(np.rint(batch.lengths * settings.masked_lm_prob).astype(np.int64), 1)
    budgets = np.minimum(wanted, settings.max_predictions_per_seq) * (settings.masked_lm_prob > 0)
    nothing = np.zeros(units.tokens_before.shape, bool)
    taken = select_units(units, budgets, nothing, settings, draws, stage=0)
    is_predicted = np.take_along_axis(taken, units.of_token, 1) & batch.is_token
    rows, positions = np.nonzero(is_predicted)
    labels = np.where(batch.ids == vocabulary.inner_unknown_id, vocabulary.unk_id, batch.ids)
    input_ids = labels.copy()
    fate, other = draws.stand_in(rows, positions)
    is_other = fate >= MASK_SHARE + SAME_SHARE
    input_ids[rows[is_other], positions[is_other]] = other[is_other]
    is_mask = fate < MASK_SHARE
    input_ids[rows[is_mask], positions[is_mask]] = vocabulary.mask_id
    if settings.do_permutation:
        taken_twice = select_units(units, budgets, taken, settings, draws, stage=1)
        is_permuted = np.take_along_axis(taken_twice & ~taken, units.of_token, 1) & batch.is_token
        input_ids = _permuted(input_ids, is_permuted, draws)
        is_predicted |= is_permuted
    is_padding = np.arange(batch.ids.shape[1]) >= batch.lengths[:, None]
    boundary = np.where(batch.is_token, vocabulary.starts_word[batch.ids], ~is_padding)
    places = num_predictions(settings.max_predictions_per_seq, settings.do_permutation)
    return Masked(input_ids, boundary.astype(np.int32), *_predictions(is_predicted, labels, places))


def _permuted(ids: np.ndarray, is_permuted: np.ndarray, draws: MaskDraws) -> np.ndarray:
    """`ids` [N, S], with the tokens that `is_permuted` marks in a random order among themselves."""
    rows, positions = np.nonzero(is_permuted)
    counts = is_permuted.sum(1)
    order = draws.permutation(counts)[rows, _places_in_rows(counts)]
    first = np.repeat(np.cumsum(counts) - counts, counts)
    ids = ids.copy()
    ids[rows, positions] = ids[rows, positions[first + order]]
    return ids


def _predictions(is_predicted: np.ndarray, labels: np.ndarray, places: int) -> tuple[np.ndarray, ...]:
    """Positions [N, P], the tokens there [N, P], and how many there are [N]."""
    rows, positions = np.nonzero(is_predicted)
    counts = is_predicted.sum(1)
    assert counts.max(initial=0) <= places, "more predictions than a record has room for"
    column = _places_in_rows(counts)
    all_positions, ids = (np.zeros((len(labels), places), np.int32) for _ in range(2))
    all_positions[rows, column] = positions
    ids[rows, column] = labels[rows, positions]
    return all_positions, ids, counts


class HashedMaskDraws:
    """Draws that depend on the key of each sequence alone, not on those that are masked with it."""

    # Each kind of draw counts within a range of its own.
    _START, _NGRAM, _FATE, _OTHER, _ORDER = (kind << 40 for kind in range(5))
    _STAGE = 1 << 39

    def __init__(self, keys: np.ndarray, unit_counts: np.ndarray, settings: MaskSettings, vocabulary_size: int):
        """`keys` uint64 [N], one of each sequence; `unit_counts` [N] as in `WordUnits`."""
        self._keys = keys
        self._unit_counts = unit_counts
        self._ngram_ends = np.cumsum(settings.ngram_probabilities())[:-1]
        self._vocabulary_size = vocabulary_size
        self._order = np.empty((0, 0), np.int32)

    def start(self, stage: int, rows: np.ndarray, step: int) -> np.ndarray:
        """As MaskDraws. Shuffles (Fisher and Yates) as far as candidates are asked for."""
        if step == 0:
            units = np.arange(self._unit_counts.max(initial=0), dtype=np.int32)
            self._order = np.tile(units, (len(self._keys), 1))
        raw = self._draw(rows, self._START + stage * self._STAGE + step)
        drawn = step + counter_hash.below(raw, self._unit_counts[rows] - step)
        unit = self._order[rows, drawn]
        self._order[rows, drawn] = self._order[rows, step]
        return unit

    def ngram(self, stage: int, rows: np.ndarray, step: int) -> np.ndarray:
        """As MaskDraws."""
        raw = self._draw(rows, self._NGRAM + stage * self._STAGE + step)
        return 1 + np.searchsorted(self._ngram_ends, counter_hash.uniform(raw), side="right")

    def stand_in(self, rows: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As MaskDraws."""
        fate = counter_hash.uniform(self._draw(rows, self._FATE + positions))
        return fate, counter_hash.below(self._draw(rows, self._OTHER + positions), self._vocabulary_size)

    def permutation(self, counts: np.ndarray) -> np.ndarray:
        """As MaskDraws. Sorts by draws."""
        places = np.arange(counts.max(initial=0))
        drawn = self._draw(np.arange(len(self._keys))[:, None], self._ORDER + places) >> np.uint64(1)
        drawn[places >= counts[:, None]] = np.iinfo(np.uint64).max
        return np.argsort(drawn, axis=1, kind="stable")

    def _draw(self, rows: np.ndarray, counters: np.ndarray | int) -> np.ndarray:
        return counter_hash.draw(self._keys[rows], counters)
