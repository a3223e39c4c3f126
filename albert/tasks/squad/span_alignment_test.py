import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert.tasks.squad.span_alignment import UNALIGNED, _longest_common_subsequence, align, span_ends, span_starts

UP, LEFT, DIAGONAL = range(3)


def _table_cell_by_cell(text, pieces, band):
    """f and the directions of the walk back, by the recurrence in the module's docstring."""
    values, directions = {}, {}
    for i in range(len(text)):
        for j in range(max(0, i - band), min(len(pieces), i + band)):
            best, direction = values.get((i - 1, j), 0), UP
            if values.get((i, j - 1), 0) > best:
                best, direction = values[i, j - 1], LEFT
            if text[i] == pieces[j] and values.get((i - 1, j - 1), 0) + 1 > best:
                best, direction = values.get((i - 1, j - 1), 0) + 1, DIAGONAL
            values[i, j], directions[i, j] = best, direction
    return values, directions


def _pairs_cell_by_cell(text, pieces, band):
    values, directions = _table_cell_by_cell(text, pieces, band)
    i, j = len(text) - 1, len(pieces) - 1
    pairs = []
    while (i, j) in directions:
        direction = directions[i, j]
        if direction == DIAGONAL:
            pairs.append((i, j))
        i, j = i - (direction != LEFT), j - (direction != UP)
    return values.get((len(text) - 1, len(pieces) - 1), 0), pairs


def _align_cell_by_cell(text, pieces):
    """The original's two attempts; pairs, or None."""
    band = abs(len(text) - len(pieces)) + 5
    for _ in range(2):
        length, pairs = _pairs_cell_by_cell(text, pieces, band)
        if length > 0.8 * len(text):
            break
        band *= 2
    return pairs if pairs and length >= 0.8 * len(text) else None


def _aligned_pairs(alignment):
    return [(i, j) for i, j in enumerate(alignment.pieces_of_text.tolist()) if j != UNALIGNED][::-1]


def test_walk_equals_the_table_filled_cell_by_cell():
    # Few letters give many equally long subsequences, of which one must be chosen; narrow bands cut into them.
    rng = random.Random(12345)
    for _ in range(3000):
        alphabet = ["a", "b", " ", ""][: rng.randint(1, 4)]
        text = rng.choices(alphabet, k=rng.randint(1, 25))
        pieces = "".join(rng.choices("ab c"[: rng.randint(1, 4)], k=rng.randint(1, 25)))
        band = abs(len(text) - len(pieces)) + rng.randint(1, 5)
        expected = _pairs_cell_by_cell(text, pieces, band)
        found = _longest_common_subsequence(text, pieces, band)
        assert (len(found), found) == expected, (text, pieces, band)


@given(
    st.lists(st.sampled_from(["a", "b", "c", " ", "", "ab"]), max_size=40),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["", "a", " ", "xyz"])), max_size=12),
)
def test_alignment_equals_the_table_after_edits(text, edits):
    # The pieces are the text with some characters replaced, around the four fifths that decide.
    changed = list(text)
    for position, replacement in edits:
        changed[position : position + 1] = [replacement]
    pieces = "".join(changed)
    expected = _align_cell_by_cell(text, pieces)
    alignment = align(text, pieces)
    assert (alignment is None) == (expected is None)
    if alignment:
        assert _aligned_pairs(alignment) == expected
        assert [(i, j) for j, i in enumerate(alignment.text_of_pieces.tolist()) if i != UNALIGNED][::-1] == expected
        assert len(alignment.pieces_of_text) == len(text)
        assert len(alignment.text_of_pieces) == len(pieces)


def test_second_attempt_finds_what_lies_outside_the_first_band():
    # "b" x 6 moves from one end to the other: 24 pairs only where j may differ from i by 6 and more.
    text, pieces = "b" * 6 + "a" * 24, "a" * 24 + "b" * 6
    assert len(_longest_common_subsequence(text, pieces, 5)) < 24
    alignment = align(text, pieces)
    assert _aligned_pairs(alignment) == _align_cell_by_cell(text, pieces)
    assert alignment.pieces_of_text.tolist() == [UNALIGNED] * 6 + list(range(24))


@pytest.mark.parametrize(
    ("text", "pieces"), [("", ""), ("", "a"), ("a", ""), ("abcde", "vwxyz"), ("abcde", "abcxy"), ("abcde", "edcba")]
)
def test_too_little_in_common_is_no_alignment(text, pieces):
    assert align(text, pieces) is None


def test_four_fifths_are_enough():
    assert align("abcde", "abcdx").pieces_of_text.tolist() == [0, 1, 2, 3, UNALIGNED]


def test_four_fifths_are_not_enough_for_the_first_attempt():
    # 28 of 35 pairs in the first band, where j must be i - 5 or more, and 29 in the second.
    text, pieces = "b" * 6 + "a" * 29, "a" * 29 + "b" * 6
    assert len(_longest_common_subsequence(text, pieces, 5)) == 28 == 0.8 * 35
    assert align(text, pieces).pieces_of_text.tolist() == [UNALIGNED] * 6 + list(range(29))


def test_one_character_that_becomes_several_matches_none():
    alignment = align(["a", "fi", "b", "", "c", "d", "e", "f", "g", "h"], " afibcdefgh")
    assert alignment.pieces_of_text.tolist() == [1, UNALIGNED, 4, UNALIGNED, *range(5, 11)]


def test_long_text_of_characters_that_match_nothing_ends_at_once():
    # A table of 30,000 x 90,000 cells would take minutes, and gigabytes.
    assert align(["xyz"] * 30_000, "xyz" * 30_000) is None


def test_missing_partners_are_replaced_as_in_the_original(testdata):
    # squad/scores.json: what the original's _convert_index returns for every position.
    cases = json.loads((testdata / "squad" / "scores.json").read_text())["convert_index"]
    assert len(cases) == 8
    for case in cases:
        partners = np.array([UNALIGNED if partner is None else partner for partner in case["index"]])
        assert span_starts(partners, case["m"]).tolist() == case["start"], case
        assert span_ends(partners, case["m"]).tolist() == case["end"], case
