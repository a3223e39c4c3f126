"""Which records make up step t: arithmetic on the seed and the step, so that a run resumes where it stopped.

The batch of a step is a function of the seed, the step, the global batch size and the number of records, and so the
same for any number of replicas.
"""

import functools
import threading

import numpy as np

from albert.data import counter_hash

_DRAWN_AT_ONCE = 1 << 20  # hashing needs several arrays of so many numbers besides
_ordering = threading.Lock()


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """int64 [count]: the permutation of range(count) in which epoch `epoch` visits the records.

    Sorts a counter hash of (seed, epoch, record) instead of asking NumPy for a permutation, whose algorithm may change
    with NumPy's version and with it the data of a resumed run.
    """
    epoch_key = _as_key(_hash(_hash(seed) ^ epoch))
    drawn = np.empty(count, np.uint64)
    for first in range(0, count, _DRAWN_AT_ONCE):
        part = drawn[first : first + _DRAWN_AT_ONCE]
        part[:] = counter_hash.draw(epoch_key, np.arange(first, first + len(part)))
    return np.argsort(drawn, kind="stable").astype(np.int64, copy=False)


def _hash(number: int) -> int:
    return int(counter_hash.draw(_as_key(number), 0)[0])


def _as_key(number: int) -> np.ndarray:
    """uint64 [1]: `number` modulo 2**64."""
    return np.array([number & 0xFFFFFFFFFFFFFFFF], np.uint64)


def _remembered_epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    # One at a time: the threads that read the first batches ask at once, and an order of 100 million records takes 2 GB
    # while it is made.
    with _ordering:
        return _last_epoch_orders(count, seed, epoch)


@functools.lru_cache(maxsize=2)  # a batch that straddles two epochs needs both
def _last_epoch_orders(count: int, seed: int, epoch: int) -> np.ndarray:
    order = epoch_order(count, seed, epoch)
    order.flags.writeable = False
    return order


def train_indices(step: int, global_batch_size: int, count: int, seed: int) -> np.ndarray:
    """int64 [global_batch_size]: the records of the global batch of `step`, counted from 0.

    The stream of positions 0, 1, 2, ... goes through epoch after epoch; step t takes the positions
    [t * global_batch_size, (t + 1) * global_batch_size). So every batch is full, may straddle two epochs, and every
    epoch has each record exactly once.
    """
    positions = step * global_batch_size + np.arange(global_batch_size, dtype=np.int64)
    epochs, places = np.divmod(positions, count)
    indices = np.empty(global_batch_size, np.int64)
    for epoch in np.unique(epochs):
        in_epoch = epochs == epoch
        indices[in_epoch] = _remembered_epoch_order(count, seed, int(epoch))[places[in_epoch]]
    return indices
