"""Sequences of any length into batches of a few shapes, since every shape is compiled once. No TensorFlow.

A batch has R rows of L positions with room for n sequences. Large shapes are for throughput: sequences are packed into
rows of a length near their own. Small ones are for what a large one would mostly fill with padding, as a single text,
and middle ones for what is in between. A call that fills several batches may get a shape that suits its lengths.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from albert.data import packing
from albert.data.row_shapes import LONGEST_ROWS, cost
from albert.data.schema import Record
from albert.data.whole_splits import cheapest_length, packed_cost

# Of a multiple of this many positions, which suits the vector units of processors and accelerators.
_ALIGNMENT = 8
# Shorter rows of a large shape save little of attention; a single text saves all that its row is shorter.
_SHORTEST_LARGE, _SHORTEST_SMALL = 64, 16
_LARGE_FACTOR, _SMALL_FACTOR = 2, 4
_LENGTHS = 3  # of each size
_MAX_SUITED = 3
MAX_SHAPES = 3 * _LENGTHS + _MAX_SUITED
# A middle shape has this part of a large one's rows, and is taken where fewer of them are filled than a large one has.
_MIDDLE_PART = 4
# Rows hold at most one sequence for so many positions: sequences without tokens cost as well, in the last layer.
_POSITIONS_PER_SEQUENCE = 8
# Where there is less to compute than this part of a large batch, small ones are faster.
_SMALL_SHARE = 0.25
# So many batches and tokens are worth a shape to be compiled for them.
_MANY_BATCHES, _MANY_TOKENS = 4, 16_384
# One that is compiled already is taken where it costs no more than this, against the best.
_AS_GOOD = 1.02
_SUITED_STEP = 16


@dataclasses.dataclass(frozen=True)
class Shape:
    """R rows of L positions that hold up to n sequences."""

    rows: int
    length: int
    sequences: int

    @property
    def positions(self) -> int:
        """R * L."""
        return self.rows * self.length


@dataclasses.dataclass(frozen=True)
class Batch:
    """The examples [b] that are computed at once, and where each of their sequences starts in the joined rows [n]."""

    shape: Shape
    examples: np.ndarray
    starts: np.ndarray


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The shapes for examples of k sequences of at most `max_seq_length` tokens, each size by ascending length.

    `middle` has a shape for each of `large`, of as long rows. `is_packed`: several sequences may share a row. `suited`
    are those that calls were given so far, of rows of at most `longest_row`.
    """

    large: tuple[Shape, ...]
    middle: tuple[Shape, ...]
    small: tuple[Shape, ...]
    is_packed: bool
    longest_row: int
    suited: list[Shape] = dataclasses.field(default_factory=list)

    @classmethod
    def choose(
        cls,
        max_seq_length: int,
        batch_size: int,
        num_sequences: int = 1,
        is_packed: bool = True,
        max_positions: int = 0,
    ) -> "Shapes":
        """At most MAX_SHAPES, the large ones with `batch_size` rows, the small ones with one for each sequence.

        Suited ones may have rows of up to `max_positions`, if these may be longer than a sequence.
        """

        def shape(rows: int, length: int) -> Shape:
            fitting = rows * length // _POSITIONS_PER_SEQUENCE if is_packed else rows
            return Shape(rows, length, max(rows, fitting) // num_sequences * num_sequences)

        lengths = _lengths(max_seq_length, _SHORTEST_LARGE, _LARGE_FACTOR)
        large, middle = (
            [shape(-(-batch_size // (part * num_sequences)) * num_sequences, length) for length in lengths]
            for part in (1, _MIDDLE_PART)
        )
        small = [shape(num_sequences, length) for length in _lengths(max_seq_length, _SHORTEST_SMALL, _SMALL_FACTOR)]
        longest_row = max(max_seq_length, min(LONGEST_ROWS, max_positions))
        return cls(tuple(large), tuple(middle), tuple(small), is_packed, longest_row)

    @property
    def widest(self) -> int:
        """The length of the longest rows."""
        return self.large[-1].length

    def plan(self, lengths: np.ndarray, may_suit: bool = True) -> list[Batch]:
        """Batches that hold every example once; `lengths` [N, k] are those of the sequences of N examples.

        `may_suit`: with a shape for these lengths, where they are many.
        """
        # Short sequences compute less attention in short rows, but packed apart from longer ones they leave these with
        # nothing to fill their rows: MRPC's, of 60 tokens on average, then are a third padding.
        plans = [list(self._plan(lengths, shortest)) for shortest in range(len(self.large))]
        plan = min(plans, key=_cost_of)
        many = max(_MANY_TOKENS, _MANY_BATCHES * self.large[-1].positions)
        if may_suit and self.is_packed and lengths.sum() >= many:
            return self._suited_plan(lengths, _cost_of(plan)) or plan
        return plan

    def _suited_plan(self, lengths: np.ndarray, limit: float) -> list[Batch] | None:
        """Batches of one shape, and of the others for what does not fill one of it; None if they cost over `limit`."""
        if lengths.shape[1] > 1:
            return None
        joined = lengths[:, 0]
        best = cheapest_length(joined, self.longest_row, _SUITED_STEP)
        least = packed_cost(joined, best)
        for shape in self.suited:
            if shape.length >= joined.max() and packed_cost(joined, shape.length) < min(limit, least * _AS_GOOD):
                return self._in_rows(lengths, shape.length)
        return self._in_rows(lengths, best) if least < limit else None

    def _in_rows(self, lengths: np.ndarray, length: int) -> list[Batch] | None:
        """Batches of a suited shape with rows of `length`; None if there is none, and there may be no more."""
        num_rows = self.large[-1].positions // length
        starts, needed = packing.pack(lengths[:, 0], length)
        row_of = starts // length
        # The last rows are those with most room.
        num_batches = needed // num_rows
        dealt = packing.deal_evenly(np.bincount(row_of)[: num_batches * num_rows], num_batches)
        batches = [np.flatnonzero(np.isin(row_of, rows)) for rows in dealt]
        shape = self._suited_shape(num_rows, length, max(map(len, batches)))
        if shape is None:
            return None
        plan = [Batch(shape, each, packing.pack(lengths[each, 0], length)[0]) for each in batches]
        rest = np.flatnonzero(row_of >= num_batches * num_rows)
        left = self.plan(lengths[rest], may_suit=False)
        return plan + [dataclasses.replace(batch, examples=rest[batch.examples]) for batch in left]

    def _suited_shape(self, rows: int, length: int, sequences: int) -> Shape | None:
        """The shape of so many rows for so many sequences: one that is there, or a new one if there may be one more."""
        for shape in sorted(self.suited, key=lambda shape: shape.sequences):
            if (shape.rows, shape.length) == (rows, length) and shape.sequences >= sequences:
                return shape
        if len(self.suited) >= _MAX_SUITED:
            return None
        # With some room for the next call, whose texts are of the same kind.
        self.suited.append(Shape(rows, length, -(-sequences * 9 // (rows * 8)) * rows))
        return self.suited[-1]

    def _plan(self, lengths: np.ndarray, shortest: int) -> Iterator[Batch]:
        """The same in rows no shorter than those of the large shape `shortest`, but where what is left is small."""
        longest = lengths.max(axis=1, initial=0)
        of_example = np.searchsorted([shape.length for shape in self.large], longest).clip(shortest)
        for number in range(len(self.large)):
            examples = np.flatnonzero(of_example == number)
            large, middle = self.large[number], self.middle[number]
            # A few texts need only what `small` has, which can be compiled before; behind many, a middle one comes.
            are_few = self._needed(large, lengths[examples]) <= large.positions * _SMALL_SHARE
            smallest = (large if are_few else middle).positions * _SMALL_SHARE
            while len(examples):
                needed = self._needed(large, lengths[examples])
                shape = large if needed > large.positions - middle.positions else middle
                if needed <= smallest:
                    shape = self._small_for(lengths[examples])
                count, starts = self._filled(shape, lengths[examples])
                yield Batch(shape, examples[:count], starts)
                examples = examples[count:]

    def _needed(self, shape: Shape, lengths: np.ndarray) -> int:
        """Positions for examples with `lengths` in rows of `shape`."""
        return int(lengths.sum()) if self.is_packed else lengths.size * shape.length

    def _small_for(self, lengths: np.ndarray) -> Shape:
        """The first small shape that holds all examples, otherwise the last."""
        fitting = [shape for shape in self.small if shape.length >= lengths.max()]
        return next((shape for shape in fitting if self._filled(shape, lengths)[0] == len(lengths)), fitting[-1])

    def _filled(self, shape: Shape, lengths: np.ndarray) -> tuple[int, np.ndarray]:
        """How many of the first examples a batch takes, at least one, and where their sequences start."""
        num_sequences = lengths.shape[1]
        if not self.is_packed:
            count = min(len(lengths), shape.sequences // num_sequences)
            return count, packing.one_per_row(lengths[:count].ravel(), shape.length)[0]
        limit = shape.sequences // num_sequences
        total = np.cumsum(lengths[:limit].sum(axis=1))
        count = max(1, int(np.searchsorted(total, shape.positions, side="right")))
        while True:
            starts, rows = packing.pack(lengths[:count].ravel(), shape.length)
            if rows <= shape.rows:
                return count, starts
            count = max(1, count - max(1, count // 32))


def _cost_of(plan: Sequence[Batch]) -> float:
    return sum(cost(batch.shape.rows, batch.shape.length) for batch in plan)


def _lengths(longest: int, shortest: int, factor: int) -> list[int]:
    """At most _LENGTHS, ascending, each `factor` times the one before it, up to `longest`."""
    found = [longest]
    while len(found) < _LENGTHS:
        length = -(-found[-1] // (factor * _ALIGNMENT)) * _ALIGNMENT
        if length < shortest or length >= found[-1]:
            break
        found.append(length)
    return found[::-1]


def lay_out(batch: Batch, records: Sequence[Record], columns: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of `modeling.TokenLayout`, and any other of the token `columns`, for the sequences of `batch`."""
    shape = batch.shape
    lengths = np.array([len(record["input_ids"]) for record in records], np.int32)
    places, positions, numbers = packing.token_positions(lengths, batch.starts)

    def in_rows(values: np.ndarray) -> np.ndarray:
        rows = np.zeros(shape.positions, np.int32)
        rows[places] = values
        return rows.reshape(shape.rows, shape.length)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values.astype(np.int32), np.zeros(shape.sequences - len(values), np.int32)])

    tokens = {name: in_rows(np.concatenate([record[name] for record in records])) for name in columns}
    return {
        **tokens,
        "position_ids": in_rows(positions),
        "sequence_ids": in_rows(numbers + 1),
        "sequence_starts": padded(batch.starts),
        "sequence_lengths": padded(lengths),
    }
