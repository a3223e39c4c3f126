"""Sequences into rows: several short ones after another in one row, so that little is computed on padding.

Owns the arithmetic: which sequence goes where, how long rows are, how many there may be. Works on lengths alone, and
knows neither tokens nor TensorFlow. Nothing here decides what is trained on when: whole examples are dealt to the
shards of a batch that was drawn before, and the order of a batch does not matter to its gradient.
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


def deal(costs: np.ndarray, num_shards: int) -> np.ndarray:
    """Deals len(costs) examples to shards of equal size and nearly equal cost; int64 [num_shards, examples a shard].

    In turns from the costliest on, back and forth. Each shard lists its examples in ascending order, -1 where there are
    none left.
    """
    # Replicas wait for the slowest, so shards must cost about the same; and their numbers of examples must be equal,
    # because a compiled step has one shape. Dealt in order of cost and turning round at each end (1 2 3 3 2 1 1 2 ...),
    # no shard gets the costlier example of two rounds, and sums differ by at most the cost of the costliest example.
    size = -(-len(costs) // num_shards)
    by_cost = np.full(size * num_shards, -1, np.int64)
    by_cost[: len(costs)] = np.argsort(-costs, kind="stable")
    rounds = by_cost.reshape(size, num_shards)
    rounds[1::2] = rounds[1::2, ::-1].copy()
    shards = np.sort(np.where(rounds < 0, np.iinfo(np.int64).max, rounds), axis=0).T
    return np.where(shards == np.iinfo(np.int64).max, -1, shards)


def pack(lengths: np.ndarray, row_length: int) -> tuple[np.ndarray, int]:
    """Where each sequence starts when all rows are joined, int32 [n], and how many rows there are.

    The longest first, each into the row it fills best; a new row where none has room. A sequence without tokens starts
    at 0 and takes no room. No length may exceed `row_length`.
    """
    # Best-fit decreasing: bin packing is NP-hard, and this needs at most about 11/9 of the fewest rows (Johnson 1973).
    # It is computed for every step while the one before is trained, so it must be quick: instead of searching the open
    # rows for the fullest that has room, they are kept by the room that they have left, and `has_open` says in one
    # integer which of these lists are not empty. Shifted right by `length`, its lowest bit belongs to the smallest room
    # that is enough: one operation, however many rows are open.
    #
    # Which of several rows with the same room is taken does not matter to the number of rows, but it must be the same
    # in a resumed run, which is to repeat the sums bit by bit: hence stable sorting and a stack.
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
    """The shapes that cost least for batches like `batches`, each the lengths of one shard's sequences.

    Rows are at least `longest` and at most `max_seq_length` long. Any batch of as many sequences, none above `longest`,
    fits: the last count is one row each.
    """
    num_sequences = max(len(lengths) for lengths in batches)

    def shapes_of(row_length: int) -> tuple[float, RowShapes]:
        needed = [pack(lengths, row_length)[1] for lengths in batches]
        # One more count above the largest seen, before the last resort.
        counts = {*_best_counts(needed, MAX_SHAPES - 2), -(-max(needed) * 9 // 8), num_sequences}
        shapes = RowShapes(row_length, tuple(sorted({min(count, num_sequences) for count in counts})))
        rows = float(np.mean([shapes.rows_for(count) for count in needed]))
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
    # A step is compiled for each count, which takes seconds to minutes, so there may only be a few; but a batch that is
    # rounded up computes rows of padding in every step. Rounding each needed count up to a few allowed ones is one-
    # dimensional clustering, which dynamic programming solves exactly: in an optimal choice, sorted counts fall into
    # runs of neighbours, and each run is rounded up to its largest member.
    #
    # After k passes best[e] has the cheapest way to serve the e smallest distinct counts with at most k runs: the last
    # run goes from some s to e and costs (batches in it) x (its largest count), and what is before it was solved in the
    # pass before. That is max_counts x len(values)^2 additions, once a run.
    values, weights = np.unique(np.fromiter(needed, np.int64), return_counts=True)
    # best[e]: the least rows that serve the first e values, and the counts that do.
    nothing: list[int] = []
    best: list[tuple[float, list[int]]] = [(0.0, nothing)] + [(np.inf, nothing)] * len(values)
    for _ in range(min(max_counts, len(values))):
        best = [(0.0, nothing)] + [
            min(
                (best[s][0] + int(weights[s:e].sum() * values[e - 1]), [*best[s][1], int(values[e - 1])])
                for s in range(e)
            )
            for e in range(1, len(values) + 1)
        ]
    return best[-1][1]


@dataclasses.dataclass(frozen=True)
class Shards:
    """All examples of a split, dealt into shards of the same shape.

    examples: int64 [num_shards, examples a shard], -1 where a shard has fewer.
    """

    examples: np.ndarray
    shapes: RowShapes


def plan_shards(
    costs: np.ndarray, lengths_of: Callable[[np.ndarray], np.ndarray], max_seq_length: int, max_positions: int
) -> Shards:
    """Deals all examples into as few shards as hold them in about `max_positions` positions each.

    `costs` int64 [N] are the tokens of each example, `lengths_of(examples)` the lengths of their sequences. A shard has
    at least one example, however long.
    """
    longest = int(lengths_of(np.arange(len(costs))).max(initial=1))

    def plan_of(row_length: int) -> tuple[float, Shards]:
        # The fewest shards that could hold all tokens if nothing were wasted, then more until the fullest fits: how
        # many rows a shard needs is known only when it is packed. Steps of 1/32 end soon, and overshoot by at most 3 %.
        max_rows = max(1, max_positions // row_length)
        num_shards = min(len(costs), max(1, -(-int(costs.sum()) // (max_rows * row_length))))
        while True:
            examples = deal(costs, num_shards)
            rows = max(pack(lengths_of(shard[shard >= 0]), row_length)[1] for shard in examples)
            if rows <= max_rows or examples.shape[1] == 1:
                return num_shards * rows * _row_cost(row_length), Shards(examples, RowShapes(row_length, (rows,)))
            num_shards = min(len(costs), num_shards + max(1, num_shards // 32))

    plans = (plan_of(row_length) for row_length in _row_lengths(longest, max_seq_length))
    return min(plans, key=lambda plan: plan[0])[1]
