"""Sequences into rows: several short ones after another in one row, so that little is computed on padding.

Owns the arithmetic of where each goes: which shard an example, which row a sequence. Works on lengths alone, and knows
neither tokens nor TensorFlow. Nothing here decides what is trained on when: whole examples are dealt to the shards of a
batch that was drawn before, and the order of a batch does not matter to its gradient.
"""

import heapq

import numpy as np


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


def deal_evenly(costs: np.ndarray, num_shards: int) -> np.ndarray:
    """The same with smaller differences: the costliest first, each to the shard with the least so far that has room."""
    # Longest processing time first (Graham 1969), with equal numbers. Of SST-2's batches in eight shards of four the
    # costliest is 9 % above the mean; dealt in turns it is 22 % above.
    size = -(-len(costs) // num_shards)
    shards: list[list[int]] = [[] for _ in range(num_shards)]
    with_room = [(0, number) for number in range(num_shards)]  # a heap
    of_example = costs.tolist()
    for example in np.argsort(-costs, kind="stable").tolist():
        cost, number = heapq.heappop(with_room)
        shards[number].append(example)
        if len(shards[number]) < size:
            heapq.heappush(with_room, (cost + of_example[example], number))
    return np.array([sorted(shard) + [-1] * (size - len(shard)) for shard in shards], np.int64)


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
