"""How many rows batches have and how long these are: few shapes, since a step is compiled for each, and little padding.

Owns the choice of shapes, from lengths of sequences alone, and its versions. No TensorFlow.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from albert.data import packing

MAX_SHAPES = 6
# Rows of a multiple of this many positions suit the vector units of every processor and accelerator.
_ALIGNMENT = 8

# Where each sequence starts, and how many rows it takes, for rows of a length: `packing.pack` or `one_per_row`.
Arrange = Callable[[np.ndarray, int], tuple[np.ndarray, int]]


@dataclasses.dataclass(frozen=True)
class RowShapes:
    """The shapes that batches come in, each a number of rows and their length, the cheapest first."""

    shapes: tuple[tuple[int, int], ...]

    @property
    def row_length(self) -> int | None:
        """The length that all rows have; None where there are several."""
        lengths = {length for _, length in self.shapes}
        return lengths.pop() if len(lengths) == 1 else None

    @property
    def num_rows(self) -> int | None:
        """The number of rows of every batch; None where there are several."""
        counts = {rows for rows, _ in self.shapes}
        return counts.pop() if len(counts) == 1 else None

    def fit(self, parts: np.ndarray, arrange: Arrange = packing.pack) -> tuple[int, int, np.ndarray]:
        """Rows and row length of the first shape that holds each of `parts`, and where their sequences start in it.

        `parts` has the lengths [M, n] of the sequences of M micro-batches, and so has what is returned, int32. Raises
        ValueError where no shape is large enough.
        """
        tokens, longest = int(parts.sum(axis=1).max()), int(parts.max())
        arranged: dict[int, list[tuple[np.ndarray, int]]] = {}
        for rows, length in self.shapes:
            if longest > length or tokens > rows * length:
                continue
            if length not in arranged:
                arranged[length] = [arrange(part, length) for part in parts]
            if max(needed for _, needed in arranged[length]) <= rows:
                return rows, length, np.stack([starts for starts, _ in arranged[length]])
        raise ValueError(f"{tokens} tokens in sequences of up to {longest} fit into none of {self}")

    def __str__(self) -> str:
        return ", ".join(f"{rows} x {length}" for rows, length in self.shapes)


# (shards, longest, max_seq_length, shape_cost), as `Packing.choose`
Choose = Callable[[Sequence[np.ndarray], int, int, float], RowShapes]


@dataclasses.dataclass(frozen=True)
class Packing:
    """One version of how the batches of a run become rows: sums depend on it bit by bit, so a run keeps its own.

    Attributes:
      deal: (costs, number of shards) -> shards, as `packing.deal`.
      choose: (shards, longest, max_seq_length, shape_cost) -> shapes for any shard of as many sequences, none above
        `longest`, that cost least for shards like these, each int [M, n], the lengths of M micro-batches. A shape has
        to save `shape_cost` positions in each micro-batch; versions before 3 do not ask.
      sampled_steps: sequences of a step -> of how many steps the shards to choose by are.
    """

    deal: Callable[[np.ndarray, int], np.ndarray]
    choose: Choose
    sampled_steps: Callable[[int], int]


# --- Versions 2 and 3: each shape has its own row length --------------------------------------------------------------

# Positions of ALBERT-base that a replica computes while one more shape is compiled, by whether it is a GPU and whether
# the step is compiled as a whole. An H100 takes 20 s for that, and 3.4 us a position in bfloat16, which would be 6
# million; older GPUs compute less in that time. From the bundled model on a CPU: 2.9 s, or 0.7 s where no whole step is
# compiled, and 0.4 ms a position. A GPU without a whole step is a guess.
_SHAPE_COSTS = {(True, True): 2_000_000, (True, False): 200_000, (False, True): 1_000, (False, False): 200}
_THEIR_WIDTH, _LEAST_WIDTH = 768, 128


def shape_cost(hidden_size: int, is_on_gpu: bool, is_compiled_whole: bool) -> int:
    """About how many positions a replica computes in the time that it takes to compile one more shape.

    Layers count in both alike, and a position costs the square of `hidden_size`, but that of a small model is mostly
    overhead.
    """
    narrower = (_THEIR_WIDTH / max(hidden_size, _LEAST_WIDTH)) ** 2
    return round(_SHAPE_COSTS[is_on_gpu, is_compiled_whole] * narrower)


# A position costs 1 + length / this. Counted for H = 768: attention's share of a step's time, which the bytes of its
# scores decide rather than its products, is 7 % in rows of 128 tokens and 22 % in rows of 512.
_ATTENTION_SCALE = 1792
# Attention in longer rows, unless a sequence needs them, costs more time and memory than padding. Several longer than
# the second are not worth trying.
_LONGEST_SINGLE_ROW, LONGEST_ROWS = 512, 256
_MAX_LENGTHS_PACKED = 32
# So many sequences are packed in a quarter of a second; more steps only know rare batches better.
_SAMPLED_SEQUENCES, _SAMPLED_STEPS = 6_400, (25, 400)
_MAX_EXCHANGES = 20


def choose_shapes(
    shards: Sequence[np.ndarray], longest: int, max_seq_length: int, shape_cost: float = 0.0
) -> RowShapes:
    """At most MAX_SHAPES shapes of any kind, the last of them one row for each sequence.

    That one is compiled only if it is met, which costs `shape_cost` like another.
    """
    last_resort = shards[0].shape[1], min(aligned(longest), max_seq_length)
    most = cost(*last_resort)
    shapes, are_held = zip(*_candidates(shards, max_seq_length), strict=True)
    of_shapes = np.array([[cost(*shape)] for shape in shapes])
    costs = np.where(are_held, of_shapes, most)
    if not shape_cost:
        return _row_shapes((shapes[number] for number in _cheapest_set(costs, MAX_SHAPES - 1)), last_resort)
    # Fewer shapes may be better, and then also some that leave nothing to the last resort.
    never_last = np.where(are_held, of_shapes, most * len(costs.T))
    found = [set(), *(_cheapest_set(some, size) for size in range(1, MAX_SHAPES) for some in (costs, never_last))]

    def total(chosen: set[int]) -> float:
        each = costs[sorted(chosen)].min(axis=0, initial=most)
        return float(each.mean()) + shape_cost * len(np.unique(each))

    return _row_shapes((shapes[number] for number in min(found, key=total)), last_resort)


def _row_shapes(chosen: Iterable[tuple[int, int]], last_resort: tuple[int, int]) -> RowShapes:
    useful = {shape for shape in chosen if cost(*shape) < cost(*last_resort)}
    return RowShapes((*sorted(useful, key=lambda shape: cost(*shape)), last_resort))


def _candidates(shards: Sequence[np.ndarray], max_seq_length: int) -> Iterable[tuple[tuple[int, int], np.ndarray]]:
    """Shapes, and which of `shards` each holds, bool [S + 1]; the last is a shard somewhat larger than all of these.

    It counts like one of them, so that the largest sampled is not all that there is room for where the last resort
    would cost many times as much.
    """
    tokens = np.array([shard.sum(axis=1).max() for shard in shards])
    longest = np.array([shard.max() for shard in shards])
    # All in one row: no packing is needed to know which shards it holds.
    larger = _somewhat_larger(tokens)
    for length in _lengths(tokens.min(), min(larger, max(_LONGEST_SINGLE_ROW, max_seq_length))):
        yield (1, length), np.append(tokens, larger) <= length
    for length in _lengths(longest.min(), min(larger, max(LONGEST_ROWS, max_seq_length)), _MAX_LENGTHS_PACKED):
        fitting = np.flatnonzero(longest <= length)
        needed = np.full(len(shards) + 1, np.iinfo(np.int64).max)
        needed[fitting] = [max(packing.pack(part, length)[1] for part in shards[i]) for i in fitting.tolist()]
        if len(fitting) == len(shards):
            needed[-1] = _somewhat_larger(needed[:-1])
        for rows in np.unique(needed[needed <= shards[0].shape[1]]).tolist():
            yield (rows, length), needed <= rows


def _somewhat_larger(sizes: np.ndarray) -> int:
    return -(-int(sizes.max()) * 9 // 8)


def _cheapest_set(costs: np.ndarray, size: int) -> set[int]:
    """At most `size` rows of `costs` [C, S]: those whose least value in each column has a small mean.

    Chosen one after the other, then each exchanged for the best one beside the others, until none is better.
    """
    # The exact optimum is hard (k-median); of this kind of search the known bound is a constant factor (Arya et al.
    # 2004), and for a few hundred candidates it takes milliseconds.
    dearest = costs.max(axis=0)
    chosen: list[int | None] = [None] * size
    for _ in range(_MAX_EXCHANGES):
        before = list(chosen)
        for place in range(size):
            others = [number for i, number in enumerate(chosen) if i != place and number is not None]
            beside = np.minimum(dearest, costs[others].min(axis=0, initial=np.inf))
            chosen[place] = int(np.minimum(costs, beside).mean(axis=1).argmin())
        if chosen == before:
            break
    return {number for number in chosen if number is not None}


def cost(rows: int, length: int) -> float:
    """What a batch of this shape costs: in time, but for a factor."""
    return rows * length * (1 + length / _ATTENTION_SCALE)


def aligned(length: int) -> int:
    """The next length that suits vector units."""
    return -(-int(length) // _ALIGNMENT) * _ALIGNMENT


def _lengths(least: int, most: int, count: int | None = None) -> range:
    """Aligned lengths up to the first of at least `most`, about `count` of them at equal distances."""
    first, last = max(aligned(least), _ALIGNMENT), aligned(most)
    step = _ALIGNMENT if count is None else max(1, -(-(last - first) // (_ALIGNMENT * count))) * _ALIGNMENT
    return range(last, first - 1, -step)


def _sampled_steps(sequences: int) -> int:
    fewest, most = _SAMPLED_STEPS
    return min(max(_SAMPLED_SEQUENCES // sequences, fewest), most)


# --- Version 1: all rows have the same length -------------------------------------------------------------------------

_MAX_ROW_LENGTHS_TRIED = 16
# A position costs 1 + length / this: attention's share of the products (Kaplan et al. 2020, H = 768: 6 H).
_PRODUCTS_SCALE = 4608


def choose_row_counts(shards: Sequence[np.ndarray], longest: int, max_seq_length: int) -> RowShapes:
    """At most MAX_SHAPES numbers of rows of one length, the last of them one row for each sequence."""
    batches = [part for shard in shards for part in shard]
    num_sequences = len(batches[0])

    def shapes_of(row_length: int) -> tuple[float, RowShapes]:
        needed = [packing.pack(lengths, row_length)[1] for lengths in batches]
        # One more count above the largest seen, before the last resort.
        counts = {*_best_counts(needed, MAX_SHAPES - 2), -(-max(needed) * 9 // 8), num_sequences}
        allowed = sorted({min(count, num_sequences) for count in counts})
        rows = float(np.mean([next(count for count in allowed if count >= need) for need in needed]))
        return rows * _row_cost(row_length), RowShapes(tuple((count, row_length) for count in allowed))

    candidates = (shapes_of(row_length) for row_length in _row_lengths(longest, max_seq_length))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _row_cost(row_length: int) -> float:
    return row_length * (1 + row_length / _PRODUCTS_SCALE)


def _row_lengths(longest: int, max_seq_length: int) -> list[int]:
    """Lengths to choose from, `max_seq_length` among them."""
    first = min(aligned(longest), max_seq_length)
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


# --- Versions ---------------------------------------------------------------------------------------------------------


def _at_no_cost(choose: Callable[[Sequence[np.ndarray], int, int], RowShapes]) -> Choose:
    """For versions before 3, to which one shape more costs nothing."""
    return lambda shards, longest, max_seq_length, _shape_cost: choose(shards, longest, max_seq_length)


PACKINGS = {
    1: Packing(packing.deal, _at_no_cost(choose_row_counts), lambda sequences: 100),
    2: Packing(packing.deal_evenly, _at_no_cost(choose_shapes), _sampled_steps),
    3: Packing(packing.deal_evenly, choose_shapes, _sampled_steps),
}
NEWEST_PACKING = max(PACKINGS)
