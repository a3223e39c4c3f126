"""Sequences into rows: several short ones after another in one row, so that little is computed on padding.

Owns the arithmetic: which sequence goes where, how long rows are, how many there may be. Works on lengths alone, and
knows neither tokens nor TensorFlow. Nothing here decides what is trained on when: whole examples are dealt to the
shares of a batch that was drawn before, and the order of a batch does not matter to its gradient.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

# Every number of rows is a shape that a compiled step is made for.
MAX_SHAPES = 6
# Rows of a multiple of this many positions suit the vector units of every processor and accelerator.
_ALIGNMENT = 8
_MAX_ROW_LENGTHS_TRIED = 16
# A position costs 1 + length / this: attention's share grows with the row (Kaplan et al. 2020, H = 768: 6 H).
_ATTENTION_SCALE = 4608


@dataclasses.dataclass(frozen=True)
class RowShapes:
    """The shapes that batches come in: one of `row_counts`, ascending, times `row_length` positions."""

    row_length: int
    row_counts: tuple[int, ...]

    def rows_for(self, needed: int) -> int:
        """The smallest count that holds `needed` rows. Raises ValueError when none does."""
        for count in self.row_counts:
            if count >= needed:
                return count
        raise ValueError(f"{needed} rows needed, but at most {self.row_counts[-1]} are allowed")


def deal(costs: np.ndarray, num_shares: int) -> np.ndarray:
    """Deals len(costs) examples to shares of equal size and nearly equal cost; int64 [num_shares, examples a share].

    In turns from the costliest on, back and forth. Each share lists its examples in ascending order, -1 where there are
    none left.
    """
    size = -(-len(costs) // num_shares)
    by_cost = np.full(size * num_shares, -1, np.int64)
    by_cost[: len(costs)] = np.argsort(-costs, kind="stable")
    rounds = by_cost.reshape(size, num_shares)
    rounds[1::2] = rounds[1::2, ::-1].copy()
    shares = np.sort(np.where(rounds < 0, np.iinfo(np.int64).max, rounds), axis=0).T
    return np.where(shares == np.iinfo(np.int64).max, -1, shares)


def pack(lengths: np.ndarray, row_length: int) -> tuple[np.ndarray, int]:
    """Where each sequence starts when all rows are joined, int32 [n], and how many rows there are.

    The longest first, each into the row it fills best; a new row where none has room. A sequence without tokens starts
    at 0 and takes no room. No length may exceed `row_length`.
    """
    starts = np.zeros(len(lengths), np.int32)
    open_rows: list[list[int]] = [[] for _ in range(row_length + 1)]  # by the room they have left
    has_open = 0  # bit r: some row has room r left
    num_rows = 0
    sizes = lengths.tolist()
    for i in np.argsort(-lengths, kind="stable").tolist():
        length = sizes[i]
        if length == 0:
            break
        fitting = has_open >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = open_rows[room].pop()
            if not open_rows[room]:
                has_open &= ~(1 << room)
        else:
            room, row = row_length, num_rows
            num_rows += 1
        starts[i] = row * row_length + row_length - room
        if room > length:
            open_rows[room - length].append(row)
            has_open |= 1 << (room - length)
    return starts, num_rows


def one_per_row(lengths: np.ndarray, row_length: int) -> tuple[np.ndarray, int]:
    """The same for a row for each sequence: no packing."""
    return np.arange(len(lengths), dtype=np.int32) * row_length, len(lengths)


def token_positions(lengths: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64, int32, int32 [T], for all tokens in order: where in the joined rows, where in which sequence."""
    numbers = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    before = np.cumsum(lengths) - lengths
    places = np.arange(len(numbers), dtype=np.int32) - np.repeat(before, lengths).astype(np.int32)
    return starts[numbers].astype(np.int64) + places, places, numbers


def choose_shapes(batches: Sequence[np.ndarray], longest: int, max_seq_length: int) -> RowShapes:
    """The shapes that cost least for batches like `batches`, each the lengths of one share's sequences.

    Rows are at least `longest` and at most `max_seq_length` long. Any batch of as many sequences, none above `longest`,
    fits: the last count is one row each.
    """
    num_sequences = max(len(lengths) for lengths in batches)

    def shapes_of(row_length: int) -> tuple[float, RowShapes]:
        needed = [pack(lengths, row_length)[1] for lengths in batches]
        # One more count above the largest seen, before the last resort.
        counts = {*_best_counts(needed, MAX_SHAPES - 2), -(-max(needed) * 9 // 8), num_sequences}
        shapes = RowShapes(row_length, tuple(sorted({min(count, num_sequences) for count in counts})))
        rows = np.mean([shapes.rows_for(count) for count in needed])
        return rows * _row_cost(row_length), shapes

    candidates = (shapes_of(row_length) for row_length in _row_lengths(longest, max_seq_length))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _row_cost(row_length: int) -> float:
    return row_length * (1 + row_length / _ATTENTION_SCALE)


def _row_lengths(longest: int, max_seq_length: int) -> list[int]:
    """Lengths to choose from, `max_seq_length` among them."""
    first = min(-(-longest // _ALIGNMENT) * _ALIGNMENT, max_seq_length)
    step = max(1, -(-(max_seq_length - first) // (_ALIGNMENT * _MAX_ROW_LENGTHS_TRIED))) * _ALIGNMENT
    return [*range(first, max_seq_length, step), max_seq_length]


def _best_counts(needed: Iterable[int], max_counts: int) -> list[int]:
    """At most `max_counts` row counts, the largest needed among them, that round `needed` up as little as possible."""
    values, weights = np.unique(np.fromiter(needed, np.int64), return_counts=True)
    # best[e]: the least rows that serve the first e values, and the counts that do.
    best: list[tuple[float, list[int]]] = [(0.0, [])] + [(np.inf, [])] * len(values)
    for _ in range(min(max_counts, len(values))):
        best = [(0.0, [])] + [
            min(
                (best[s][0] + int(weights[s:e].sum() * values[e - 1]), [*best[s][1], int(values[e - 1])])
                for s in range(e)
            )
            for e in range(1, len(values) + 1)
        ]
    return best[-1][1]


@dataclasses.dataclass(frozen=True)
class Shares:
    """All examples of a split, dealt into shares of the same shape.

    examples: int64 [num_shares, examples a share], -1 where a share has fewer.
    """

    examples: np.ndarray
    shapes: RowShapes


def plan_shares(
    costs: np.ndarray, lengths_of: Callable[[np.ndarray], np.ndarray], max_seq_length: int, max_positions: int
) -> Shares:
    """Deals all examples into as few shares as hold them in about `max_positions` positions each.

    `costs` int64 [N] are the tokens of each example, `lengths_of(examples)` the lengths of their sequences. A share has
    at least one example, however long.
    """
    longest = int(lengths_of(np.arange(len(costs))).max(initial=1))

    def plan_of(row_length: int) -> tuple[float, Shares]:
        max_rows = max(1, max_positions // row_length)
        num_shares = min(len(costs), max(1, -(-int(costs.sum()) // (max_rows * row_length))))
        while True:
            examples = deal(costs, num_shares)
            rows = max(pack(lengths_of(share[share >= 0]), row_length)[1] for share in examples)
            if rows <= max_rows or examples.shape[1] == 1:
                return num_shares * rows * _row_cost(row_length), Shares(examples, RowShapes(row_length, (rows,)))
            num_shares = min(len(costs), num_shares + max(1, num_shares // 32))

    plans = (plan_of(row_length) for row_length in _row_lengths(longest, max_seq_length))
    return min(plans, key=lambda plan: plan[0])[1]
