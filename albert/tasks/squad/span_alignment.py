"""Which character of a text stands behind which character of its joined sentence pieces, as the original decides it.

Owns the alignment and the repair of characters without a counterpart. Knows no tokenizer and no questions.

The original fills a table f over characters i of the text (n) and j of the pieces (m), only where i - d <= j < i + d:

    f[i, j] = max(f[i-1, j], f[i, j-1], f[i-1, j-1] + 1 if i matches j)        0 outside the table and the band

and walks back from its last cell: diagonally (a pair) where only the match reaches f[i, j], else to the left where that
is above f[i-1, j], else up. d is |n - m| + 5; with at most 0.8 n pairs it is tried once more with 2 d, and with fewer
than 0.8 n pairs even then there is no alignment.

Here a whole row of that table is three integers of 2 d bits. Neighbours in a row differ by 0 or 1, and so do
neighbours in a column, so that the differences are the table; one addition carries the differences along a row. (The
method is known as bit-parallel longest common subsequence.) The band may be treated as a band of matches in an
unbounded table, because any two matches inside it are joined by a path inside it. Only the walk has to know that what
is above the band's last column counts 0.
"""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

UNALIGNED = -1

_BAND_MARGIN = 5
_ATTEMPTS = 2
_MIN_SHARE_OF_TEXT = 0.8


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """Pairs of characters of a text (n) and of its joined pieces (m), rising in both.

    `pieces_of_text` int64 [n] and `text_of_pieces` int64 [m] hold the partner's position, UNALIGNED for none.
    """

    pieces_of_text: np.ndarray
    text_of_pieces: np.ndarray


def align(text: Sequence[str], pieces: str) -> Alignment | None:
    """Aligns `text`, given as what preprocessing makes of each single character, with the characters of `pieces`.

    An element of `text` that is empty or longer than one character matches nothing. None where fewer than four fifths
    of the text would be aligned, or nothing at all.
    """
    n, m = len(text), len(pieces)
    least = _MIN_SHARE_OF_TEXT * n
    if (collections.Counter(text) & collections.Counter(pieces)).total() < least:
        return None  # not even in any order, as in Hangul, which preprocessing takes apart; spares a large table
    band = abs(n - m) + _BAND_MARGIN
    for _ in range(_ATTEMPTS):
        pairs = _longest_common_subsequence(text, pieces, band)
        if len(pairs) > least:
            break
        band *= 2
    if not pairs or len(pairs) < least:
        return None
    in_text, in_pieces = np.array(pairs).T
    alignment = Alignment(np.full(n, UNALIGNED), np.full(m, UNALIGNED))
    alignment.pieces_of_text[in_text] = in_pieces
    alignment.text_of_pieces[in_pieces] = in_text
    return alignment


def span_starts(partners: np.ndarray, length: int | None = None) -> np.ndarray:
    """For each position the partner at which a span beginning there begins; int64, of the shape of `partners`.

    A position without partner takes the one after its last neighbour's before it, or, where that is taken, its first
    neighbour's after it. `partners` rise and hold one at least. `length` is that of the partners' text; without it
    nothing after the last partner is used.
    """
    before, after, last = _neighbours(partners)
    starts = np.where(after > before + 1, before + 1, after)
    starts = np.where(before == UNALIGNED, 0, starts)
    beyond = before + 1 if length is not None and last < length - 1 else before
    starts = np.where(after == UNALIGNED, beyond, starts)
    return np.where(partners == UNALIGNED, starts, partners)


def span_ends(partners: np.ndarray, length: int | None = None) -> np.ndarray:
    """For each position the partner at which a span ending there ends, inclusive; otherwise as `span_starts`."""
    before, after, last = _neighbours(partners)
    ends = np.where(after > before + 1, after - 1, before)
    ends = np.where(before == UNALIGNED, np.maximum(after - 1, 0), ends)
    beyond = length - 1 if length is not None and last < length - 1 else before
    ends = np.where(after == UNALIGNED, beyond, ends)
    return np.where(partners == UNALIGNED, ends, partners)


def _neighbours(partners: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Per position the nearest partner at or before it and at or after it, UNALIGNED for none; and the last of all."""
    before = np.maximum.accumulate(partners)  # they rise, and UNALIGNED is below them all
    none = np.iinfo(partners.dtype).max
    after = np.minimum.accumulate(np.where(partners == UNALIGNED, none, partners)[::-1])[::-1]
    return before, np.where(after == none, UNALIGNED, after), int(before[-1])


def _longest_common_subsequence(text: Sequence[str], pieces: str, band: int) -> list[tuple[int, int]]:
    """The pairs (i, j), last first, that the walk back through the banded table meets."""
    rows_up, rows_left = _table(text, pieces, band)
    pairs = []
    i, j = len(text) - 1, len(pieces) - 1
    while i >= 0 and j >= 0:
        bit = j - i + band
        above_is_less = rows_up[i] >> bit & 1 or bit == 2 * band - 1  # what is above the last bit is outside and 0
        left_is_less = rows_left[i] >> bit & 1  # of the first bit as well, where above is less
        if not above_is_less:
            i -= 1
        elif not left_is_less:
            j -= 1
        else:
            pairs.append((i, j))
            i -= 1
            j -= 1
    return pairs


def _table(text: Sequence[str], pieces: str, band: int) -> tuple[list[int], list[int]]:
    """Per row i two integers: bit j - i + band says whether f[i, j] is above f[i-1, j], and above f[i, j-1].

    Neighbours outside the band count here as in the unbounded table.
    """
    # Bit j + band, so that row i's band begins at bit i; bits that stand for no j match nothing.
    matches: dict[str, int] = collections.defaultdict(int)
    for j, character in enumerate(pieces):
        matches[character] |= 1 << (j + band)
    whole_band = (1 << 2 * band) - 1
    last_bit = 1 << (2 * band - 1)
    rows_up, rows_left = [], []
    level = whole_band  # a bit is set where f[i, j] equals f[i, j-1]; columns that enter the band have met no match
    for i, character in enumerate(text):
        matching = (matches.get(character, 0) >> i) & level
        total = level + matching
        # A carry out of a bit is an f[i, j] above f[i-1, j]: it begins at a match and ends where the row above rises.
        rows_up.append((total ^ level ^ matching) >> 1)
        level = (total | (level ^ matching)) & whole_band
        rows_left.append(level ^ whole_band)
        level = (level >> 1) | last_bit
    return rows_up, rows_left
