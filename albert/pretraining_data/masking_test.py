"""How much is masked, and what: distributions that the original recorded, and the borders of the rules.

That the same draws give the same masks as the original's is in golden_instances_test.py.
"""

import collections
import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from albert.pretraining_data.creation import Batch, CreationSettings, RecordMaker
from albert.pretraining_data.documents import tokenize_corpus
from albert.pretraining_data.instances import Pair, sequences
from albert.pretraining_data.masking import HashedMaskDraws, Masked, MaskSettings, mask, word_units
from albert.pretraining_data.pieces import Vocabulary, vocabulary_of
from albert.tokenization import load_tokenizer

TESTDATA = Path(__file__).parent.parent / "testdata"
SPM_MODEL_FILE = TESTDATA / "30k-clean.model"
TEXT = TESTDATA / "pretraining_data" / "text.txt"
STATISTICS = json.loads((TESTDATA / "pretraining_data" / "statistics.json").read_text(encoding="utf-8"))
MASK_ID = 4

# --- Distributions ----------------------------------------------------------------------------------------------------
# Every pass through the text is an independent sample, which gives the standard error of each share: that of ours and
# of the original's are equal, so that the two may differ by 5 sqrt(2) of them before chance is ruled out. A bin that
# the original's passes hardly ever fill has no standard error to speak of.

STANDARD_ERRORS = 5 * 2**0.5
RARE = 0.005


def passes(flags: dict, folder: Path) -> list[list[Batch]]:
    settings = CreationSettings(
        **flags,
        input_file="",
        output_file="",
        spm_model_file=SPM_MODEL_FILE,
        vocab_file=None,
        num_workers=1,
    )
    tokenizer = load_tokenizer(SPM_MODEL_FILE, None, settings.do_lower_case)
    vocabulary = vocabulary_of(tokenizer)
    corpus = tokenize_corpus(
        [TEXT], tokenizer, vocabulary, folder, max_sentence_tokens=99, num_workers=1, on_bytes=lambda _: None
    )
    maker = RecordMaker(settings, corpus, vocabulary, folder, num_buckets=1)
    blocks = list(maker.blocks())
    assert [block.dupe for block in blocks] == list(range(settings.dupe_factor))
    return [list(maker.batches(block)) for block in blocks]


def runs_of_masked_words(is_masked: np.ndarray, boundary: np.ndarray, segment_length: int) -> list[tuple[int, int]]:
    """(words, pieces) of each longest run of words that are masked as a whole; [CLS] and [SEP] end a run."""
    specials = {0, segment_length - 1, len(is_masked) - 1}
    runs, words, pieces = [], 0, 0
    starts = [i for i in range(len(boundary)) if boundary[i] or i - 1 in specials] + [len(boundary)]
    for start, end in itertools.pairwise(starts):
        if start not in specials and is_masked[start:end].all():
            words, pieces = words + 1, pieces + end - start
            continue
        runs += [(words, pieces)] * (words > 0)
        words = pieces = 0
    return runs


def counts_of_pass(batches: list[Batch]) -> collections.Counter:
    counts = collections.Counter(passes=1)
    for batch in batches:
        for row, length in enumerate(batch.text.lengths):
            masked, number = batch.masked, int(batch.masked.counts[row])
            positions, labels = masked.positions[row, :number], masked.ids[row, :number]
            there = masked.input_ids[row][positions]
            counts.update(
                {"records": 1, "tokens": int(length), "predictions": number, "label": int(batch.text.labels[row])}
            )
            counts[f"predictions {number}"] += 1
            counts["mask"] += int((there == MASK_ID).sum())
            counts["same"] += int((there == labels).sum())
            is_masked = np.zeros(length, bool)
            is_masked[positions] = True
            segment_length = int(length - batch.text.segment_ids[row].sum())
            for words, pieces in runs_of_masked_words(is_masked, masked.token_boundary[row, :length], segment_length):
                counts.update({"runs": 1, f"words {words}": 1, f"pieces {pieces}": 1})
    return counts


def expected_shares(statistics: dict) -> dict[tuple[str, str], float]:
    """(what, of what) -> share, as the original recorded it."""
    dupes = statistics["flags"]["dupe_factor"]
    shares = {
        ("predictions", "tokens"): statistics["masked_fraction_of_all_tokens"],
        ("mask", "predictions"): statistics["replacement_mask_same_other"]["mask"],
        ("same", "predictions"): statistics["replacement_mask_same_other"]["same"],
        ("label", "records"): statistics["label_1_share"],
        ("tokens", "records"): statistics["mean_length"],
        ("records", "passes"): statistics["n_instances"] / dupes,
    }
    for name, histogram, total in (
        ("words", "run_length_in_words_histogram", "runs"),
        ("pieces", "run_length_in_pieces_histogram", "runs"),
        ("predictions", "predictions_per_instance_histogram", "records"),
    ):
        shares |= {(f"{name} {bin_}", total): share for bin_, share in statistics[histogram].items() if share > RARE}
    return shares


@pytest.mark.slow
@pytest.mark.parametrize("run", STATISTICS)
def test_distributions_are_the_originals(run, tmp_path):
    counts = [counts_of_pass(batches) for batches in passes(STATISTICS[run]["flags"], tmp_path)]
    assert len(counts) >= 100
    for (what, total), expected in expected_shares(STATISTICS[run]).items():
        numerators, denominators = (np.array([each[name] for each in counts], float) for name in (what, total))
        share = numerators.sum() / denominators.sum()
        # Of a ratio of sums over independent passes (Cochran, Sampling Techniques, 1977, equation 6.13).
        error = np.sqrt(((numerators - share * denominators) ** 2).sum()) / denominators.sum()
        assert abs(share - expected) <= STANDARD_ERRORS * error, (what, total, share, expected, error)


@pytest.mark.parametrize("run", STATISTICS)
def test_ngrams_are_drawn_as_the_original_draws_them(run):
    settings = mask_settings(**{name: STATISTICS[run]["flags"][name] for name in ("ngram", "favor_shorter_ngram")})
    draws = HashedMaskDraws(np.arange(20000).astype(np.uint64), np.full(20000, 5), settings, 9)
    drawn = np.bincount(draws.ngram(0, np.arange(20000), 3), minlength=settings.ngram + 1)[1:] / 20000
    total = STATISTICS[run]["ngram_draws_total"]
    recorded = STATISTICS[run]["ngram_draws_by_number_of_choices"][str(settings.ngram)]
    for length, share in recorded.items():
        error = np.sqrt(share * (1 - share) * (1 / total + 1 / 20000))
        assert abs(drawn[int(length) - 1] - share) <= 5 * error


# --- Rules ------------------------------------------------------------------------------------------------------------

# Ids 5 to 9 begin words, 10 to 14 do not.
VOCABULARY = Vocabulary(2, 3, MASK_ID, 0, 1, np.array([True] * 10 + [False] * 6))


def mask_settings(**changes) -> MaskSettings:
    usual = MaskSettings(
        max_predictions_per_seq=20,
        masked_lm_prob=0.15,
        ngram=3,
        favor_shorter_ngram=True,
        do_whole_word_mask=True,
        do_permutation=False,
    )
    return dataclasses.replace(usual, **changes)


def masked(a: list[int], b: list[int], settings: MaskSettings, copies: int = 1, length: int = 0) -> Masked:
    """The masks of `copies` sequences [CLS] a [SEP] b [SEP] under different keys."""
    length = length or len(a) + len(b) + 3
    batch = sequences(np.array(a + b), [Pair(0, len(a), len(a), len(b), 0)] * copies, length, VOCABULARY)
    units = word_units(batch, VOCABULARY, settings)
    draws = HashedMaskDraws(np.arange(copies).astype(np.uint64), units.counts, settings, VOCABULARY.size)
    return mask(batch, units, VOCABULARY, settings, draws)


def predicted(result: Masked) -> list[list[int]]:
    return [row[:count].tolist() for row, count in zip(result.positions, result.counts, strict=True)]


def test_number_of_predictions_is_rounded_to_even_and_bounded():
    # Tokens with the three special ones: 10 x 0.25 = 2.5 -> 2; 14 x 0.25 = 3.5 -> 4; 5 x 0.01 -> at least 1.
    assert masked([5] * 4, [6] * 3, mask_settings(masked_lm_prob=0.25)).counts == [2]
    assert masked([5] * 6, [6] * 5, mask_settings(masked_lm_prob=0.25)).counts == [4]
    assert masked([5], [6], mask_settings(masked_lm_prob=0.01)).counts == [1]
    assert masked([5] * 50, [6] * 47, mask_settings(masked_lm_prob=1, max_predictions_per_seq=7)).counts == [7]
    assert masked([5] * 6, [6] * 5, mask_settings(masked_lm_prob=1, ngram=1)).counts == [11]
    assert masked([5] * 6, [6] * 5, mask_settings(masked_lm_prob=0)).counts == [0]


def test_a_word_is_masked_whole_or_not_at_all_also_across_the_middle_sep():
    # Positions: CLS 0, words {1, 2} {3, 4, 6}, SEP 5, {7}: 10 and 11 begin no word, the 11 behind the [SEP] included.
    result = masked([5, 10, 6, 11], [11, 7], mask_settings(masked_lm_prob=0.4, ngram=1), copies=200)
    seen = {tuple(row) for row in predicted(result)}
    assert seen == {(1, 2, 7), (3, 4, 6, 7)}  # round(0.4 x 9) = 4 tokens; the two long words need 5
    assert result.token_boundary[0].tolist() == [1, 1, 0, 1, 0, 1, 0, 1, 1]


def test_pieces_that_do_not_begin_a_word_are_units_of_their_own_without_whole_words():
    settings = mask_settings(masked_lm_prob=0.1, ngram=1, do_whole_word_mask=False)
    assert {tuple(row) for row in predicted(masked([5, 10], [11], settings, copies=100))} == {(1,), (2,), (4,)}


def test_the_first_piece_begins_a_unit_even_where_it_does_not_begin_a_word():
    result = masked([10, 5], [6], mask_settings(masked_lm_prob=0.1, ngram=1), copies=100)
    assert {tuple(row) for row in predicted(result)} == {(1,), (2,), (4,)}
    assert result.token_boundary[0].tolist() == [1, 0, 1, 1, 1, 1]


def test_a_word_longer_than_the_budget_is_passed_over():
    assert masked([5, 10, 10], [10], mask_settings(masked_lm_prob=0.3)).counts == [0]


def test_ngrams_get_shorter_until_they_fit():
    # Always 3 words are wanted, but there is room for 2.
    settings = mask_settings(masked_lm_prob=0.2, ngram=3, favor_shorter_ngram=False)
    for positions in predicted(masked([5] * 4, [6] * 4, settings, copies=50)):
        assert len(positions) == 2


def test_what_replaces_a_token_and_what_is_to_be_predicted():
    result = masked([5, 6, 7], [8, 9], mask_settings(masked_lm_prob=0.3), copies=3000, length=12)
    tokens = np.array([2, 5, 6, 7, 3, 8, 9, 3, 0, 0, 0, 0])
    is_predicted = np.zeros(result.input_ids.shape, bool)
    for row, positions in enumerate(predicted(result)):
        is_predicted[row, positions] = True
        assert result.ids[row, : len(positions)].tolist() == tokens[positions].tolist()
    assert (result.input_ids == tokens)[~is_predicted].all()
    # Any token may replace it, special ones too, but not the ids that only masking itself uses.
    assert np.unique(result.input_ids[is_predicted]).tolist() == list(range(VOCABULARY.size))


def test_permutation_moves_other_tokens_among_themselves():
    settings = mask_settings(masked_lm_prob=0.3, ngram=1, do_permutation=True)
    result = masked([5, 6, 7, 8], [9, 5, 6, 7], settings, copies=500)
    tokens = np.array([2, 5, 6, 7, 8, 3, 9, 5, 6, 7, 3])
    assert result.counts.tolist() == [6] * 500  # round(0.3 x 11) = 3 masked and 3 permuted
    orders = collections.Counter()
    for row, positions in enumerate(predicted(result)):
        there = result.input_ids[row, positions]
        moved = sum(there != tokens[positions]) - sum(there == MASK_ID)
        orders[moved > 0] += 1
        assert result.ids[row, :6].tolist() == tokens[positions].tolist()
    assert orders[True] > 300


def test_masks_depend_on_the_key_and_not_on_what_else_is_masked():
    settings = mask_settings(do_permutation=True)
    together = masked([5, 10, 6, 7], [8, 9, 5], settings, copies=5)
    alone = masked([5, 10, 6, 7], [8, 9, 5], settings, copies=2)
    for of_five, of_two in zip(together, alone, strict=True):
        assert (of_five[:2] == of_two).all()


def test_unknown_pieces_inside_words_are_ordinary_unknown_pieces_in_records():
    result = masked([5, VOCABULARY.inner_unknown_id], [6], mask_settings(masked_lm_prob=1, ngram=1))
    assert result.ids[0, :3].tolist() == [5, VOCABULARY.unk_id, 6]
    assert result.token_boundary[0].tolist() == [1, 1, 0, 1, 1, 1]
    assert result.input_ids.max() < VOCABULARY.size
