"""All examples of a split into batches of one shape, for evaluation and prediction, which no order matters to.

Works on lengths alone, and knows neither tokens nor TensorFlow.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from albert.data import packing
from albert.data.row_shapes import RowShapes, aligned, cost

# Of so many examples, evenly spaced, all row lengths are tried: more would only take time.
_SAMPLED = 2048
_MAX_LENGTHS_TRIED = 32


@dataclasses.dataclass(frozen=True)
class Shards:
    """All examples of a split, dealt into shards of the same shape.

    examples: int64 [num_shards, examples a shard], -1 where a shard has fewer.
    """

    examples: np.ndarray
    shapes: RowShapes


def plan_shards(
    costs: np.ndarray,
    lengths_of: Callable[[np.ndarray], np.ndarray],
    longest_row: int,
    max_positions: int,
    num_replicas: int = 1,
) -> Shards:
    """Deals all examples into as few shards as hold them in about `max_positions` positions each.

    `costs` int64 [N] are the tokens of each example, `lengths_of(examples)` the lengths of their sequences. Rows have
    at most `longest_row` positions. A shard has at least one example, however long. The number of shards is a multiple
    of `num_replicas` where there are enough examples, or else a replica would only wait in the last step.
    """
    lengths = lengths_of(np.arange(len(costs)))
    length = cheapest_length(lengths, longest_row)
    max_rows = max(1, max_positions // length)
    if len(lengths) == len(costs):
        return _deal_rows(lengths, length, max_rows, num_replicas)
    return _deal_examples(costs, lengths_of, length, max_rows, num_replicas)


def cheapest_length(lengths: np.ndarray, longest_row: int, step: int | None = None) -> int:
    """The length of rows, at most `longest_row`, in which sequences of these `lengths` cost least.

    A multiple of `step`, or one of about 32. Rows about as long as two or three sequences are filled best; longer ones
    compute more attention.
    """
    sample = lengths[:: -(-len(lengths) // _SAMPLED)]
    step = step or max(aligned(1), aligned(-(-(longest_row - int(lengths.max())) // _MAX_LENGTHS_TRIED)))
    first = min(-(-max(1, int(lengths.max())) // step) * step, longest_row)
    tokens, best, least = int(sample.sum()), first, np.inf
    for length in (*range(first, longest_row, step), longest_row):
        if cost(1, length) * tokens / length >= least:  # even without padding, and longer ones still more
            break
        if (here := packed_cost(sample, length)) < least:
            best, least = length, here
    return best


def packed_cost(lengths: np.ndarray, length: int) -> float:
    """What sequences of these `lengths` cost in rows of `length`."""
    return cost(packing.pack(lengths, length)[1], length)


def _deal_rows(lengths: np.ndarray, length: int, max_rows: int, num_replicas: int) -> Shards:
    """Packs all sequences at once, which leaves least padding, and deals the rows."""
    # A shard is packed again when its batch is made, and becomes the same rows: a sequence goes into the row that it
    # fills best, and if some of the other rows are not there, this one is still the best.
    starts, num_rows = packing.pack(lengths, length)
    row_of, num_rows = starts // length, max(1, num_rows)
    num_shards = _shards_for(num_rows, max_rows, num_replicas)
    dealt = packing.deal_evenly(np.bincount(row_of, minlength=num_rows), num_shards)
    shard_of = np.empty(num_rows, np.int64)
    for number, rows in enumerate(dealt):
        shard_of[rows[rows >= 0]] = number
    of_examples = shard_of[row_of]
    order, counts = np.argsort(of_examples, kind="stable"), np.bincount(of_examples, minlength=num_shards)
    examples = np.full((num_shards, counts.max()), -1, np.int64)
    examples[np.arange(examples.shape[1]) < counts[:, None]] = order
    return Shards(examples, RowShapes(((dealt.shape[1], length),)))


def _deal_examples(
    costs: np.ndarray,
    lengths_of: Callable[[np.ndarray], np.ndarray],
    length: int,
    max_rows: int,
    num_replicas: int,
) -> Shards:
    """The same for examples of several sequences, which belong into one shard."""
    # The fewest shards that could hold all tokens if nothing were wasted, then more until the fullest fits: how many
    # rows a shard needs is known only when it is packed. Steps of 1/32 end soon, and overshoot by at most 3 %.
    num_shards = min(len(costs), _shards_for(-(-int(costs.sum()) // length), max_rows, num_replicas))
    while True:
        examples = packing.deal(costs, num_shards)
        rows = max(packing.pack(lengths_of(shard[shard >= 0]), length)[1] for shard in examples)
        if rows <= max_rows or examples.shape[1] == 1:
            return Shards(examples, RowShapes(((rows, length),)))
        num_shards = min(len(costs), num_shards + max(1, num_shards // (32 * num_replicas)) * num_replicas)


def _shards_for(num_rows: int, max_rows: int, num_replicas: int) -> int:
    """How many shards of at most `max_rows` rows hold so many: the fewest, or a few more that leave less empty rows."""
    fewest = -(-num_rows // (max_rows * num_replicas))
    numbers = (steps * num_replicas for steps in range(fewest, fewest + 2 + fewest // 8))
    possible = (max(1, min(num_rows, number)) for number in numbers)
    return min(possible, key=lambda number: -(-num_rows // number) * number)
