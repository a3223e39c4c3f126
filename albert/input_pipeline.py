"""Batches from a record cache: which records make up step t, and how they become padded tensors.

Owns the order of training and the shapes of batches. The data position is arithmetic, not iterator state: the batch of
a step is a function of the seed, the step, the global batch size and the number of records, so that a run continues
where it stopped, on any number of replicas.

May not know tasks, models, strategies or flags. The engine feeds the datasets through
`strategy.distribute_datasets_from_function`, which deals consecutive elements to the replicas; hence each element here
is one replica's share of a global batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from albert.settings import UserError
from albert.tasks.base import Column
from albert.tfrecord_cache import RecordCache

_UINT64 = (1 << 64) - 1


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """How many examples a step has: per_replica_batch_size x num_replicas = global_batch_size."""

    per_replica_batch_size: int
    num_replicas: int

    @property
    def global_batch_size(self) -> int:
        """Examples of one step over all replicas."""
        return self.per_replica_batch_size * self.num_replicas


@dataclasses.dataclass(frozen=True)
class _Share:
    """What one replica gets of one global batch; b rows, those that only pad have record number -1."""

    record_numbers: np.ndarray  # int64 [b]
    batch_rows: np.ndarray  # int32 [b], row in the global batch


# --- Which records: arithmetic on the step --------------------------------------------------------


def _splitmix64(state: int, count: int) -> np.ndarray:
    """uint64 [count]: the first outputs of SplitMix64 (Steele, Lea, Flood 2014) from `state`, taken modulo 2**64."""
    # Every operation is on an array, on which NumPy wraps around silently.
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(state & _UINT64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """int64 [count]: the permutation of range(count) in which epoch `epoch` visits the records.

    Sorts a counter hash of (seed, epoch, record) instead of asking NumPy for a permutation, whose algorithm may change
    with NumPy's version and with it the data of a resumed run.
    """
    epoch_key = int(_splitmix64(int(_splitmix64(seed, 1)[0]) ^ epoch, 1)[0])
    return np.argsort(_splitmix64(epoch_key, count), kind="stable").astype(np.int64)


@functools.lru_cache(maxsize=2)  # a batch that straddles two epochs needs both
def _remembered_epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
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


def _train_share(step: int, replica: int, shape: BatchShape, count: int, seed: int) -> _Share:
    rows = _rows_of(replica, shape)
    return _Share(train_indices(step, shape.global_batch_size, count, seed)[rows], rows.astype(np.int32))


def _eval_share(step: int, replica: int, shape: BatchShape, count: int) -> _Share:
    rows = _rows_of(replica, shape)
    record_numbers = step * shape.global_batch_size + rows
    return _Share(np.where(record_numbers < count, record_numbers, -1), rows.astype(np.int32))


def _rows_of(replica: int, shape: BatchShape) -> np.ndarray:
    """int64 [b]: the rows of a global batch that fall to `replica`."""
    return replica * shape.per_replica_batch_size + np.arange(shape.per_replica_batch_size, dtype=np.int64)


# --- Datasets -------------------------------------------------------------------------------------


def train_dataset(
    cache: RecordCache,
    feature_spec: Mapping[str, Column],
    shape: BatchShape,
    max_seq_length: int,
    seed: int,
    first_step: int,
    last_step: int,
    replica_ids: range | None = None,
) -> tf.data.Dataset:
    """The shares of the global batches of steps first_step, ..., last_step - 1, in (step, replica) order.

    `first_step` is the number of steps already made. `replica_ids` are the replicas whose shares are wanted, by default
    all: a worker of several asks for its own. For the elements see `eval_dataset`; here every row is a real example.

    Raises UserError where one global batch is more than all records.
    """
    if cache.count < shape.global_batch_size:
        raise UserError(
            f"--train_batch_size={shape.per_replica_batch_size} on --num_gpu_cores={shape.num_replicas} needs "
            f"{shape.global_batch_size} examples a step, but the training split has {cache.count}. "
            "Lower --train_batch_size or --num_gpu_cores."
        )
    assert 0 <= first_step <= last_step, f"steps must be 0 <= first <= last, got {first_step} and {last_step}"
    share_of = functools.partial(_train_share, shape=shape, count=cache.count, seed=seed)
    return _dataset(cache, feature_spec, shape, max_seq_length, range(first_step, last_step), replica_ids, share_of)


def eval_dataset(
    cache: RecordCache,
    feature_spec: Mapping[str, Column],
    shape: BatchShape,
    max_seq_length: int,
    replica_ids: range | None = None,
) -> tf.data.Dataset:
    """The shares of the global batches that hold every record once in the cache's order, in (step, replica) order.

    With b = per_replica_batch_size and S = max_seq_length each element has "input_ids", "input_mask", "segment_ids" and
    any other token column [b, S] (zeros after the tokens; the mask is 1 on tokens), each scalar column [b] such as
    "label_ids", and
      example_ids int64 [b]: the record's number in the cache, -1 in rows that only fill the last batch;
      example_weights float32 [b]: 1 in real rows, 0 in those;
      batch_rows int32 [b]: the row's number in the global batch.
    Integers are int32 unless said otherwise. Shapes are static, and every step has a share for each replica.
    """
    num_steps = -(-cache.count // shape.global_batch_size)
    share_of = functools.partial(_eval_share, shape=shape, count=cache.count)
    return _dataset(cache, feature_spec, shape, max_seq_length, range(num_steps), replica_ids, share_of)


def _dataset(
    cache: RecordCache,
    feature_spec: Mapping[str, Column],
    shape: BatchShape,
    max_seq_length: int,
    steps: range,
    replica_ids: range | None,
    share_of: Callable[[int, int], _Share],
) -> tf.data.Dataset:
    longest = cache.token_counts.max(initial=0)
    assert longest <= max_seq_length, f"{cache.path} has {longest} tokens in a record, more than {max_seq_length}"
    replicas = range(shape.num_replicas) if replica_ids is None else replica_ids

    def read_share(element: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        step, replica = divmod(int(element), len(replicas))
        share = share_of(steps[step], replicas[replica])
        is_real = share.record_numbers >= 0
        # An empty string is a tf.train.Example without columns; parsing fills it with zeros.
        serialized = np.full(len(is_real), b"", object)
        serialized[is_real] = cache.read(share.record_numbers[is_real])
        return serialized, share.record_numbers, share.batch_rows

    def make_batch(element: tf.Tensor) -> dict[str, tf.Tensor]:
        serialized, example_ids, batch_rows = tf.numpy_function(
            read_share, [element], (tf.string, tf.int64, tf.int32), stateful=False
        )
        for column in (serialized, example_ids, batch_rows):
            column.set_shape([shape.per_replica_batch_size])
        return {
            # Records are parsed a batch at a time: five times faster than one by one.
            **_parse(serialized, feature_spec, shape.per_replica_batch_size, max_seq_length),
            "example_ids": example_ids,
            "example_weights": tf.cast(example_ids >= 0, tf.float32),
            "batch_rows": batch_rows,
        }

    elements = tf.data.Dataset.range(len(steps) * len(replicas))
    batches = elements.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(tf.data.AUTOTUNE)


def _parse(
    serialized: tf.Tensor, feature_spec: Mapping[str, Column], num_rows: int, max_seq_length: int
) -> dict[str, tf.Tensor]:
    """string [b] -> the columns of `feature_spec` and "input_mask", in the shapes that `eval_dataset` promises."""
    on_disk = {"int32": tf.int64, "float32": tf.float32}
    parsed = tf.io.parse_example(
        serialized, {name: tf.io.RaggedFeature(on_disk[column.dtype]) for name, column in feature_spec.items()}
    )
    batch = {}
    for name, column in feature_spec.items():
        width = max_seq_length if column.kind == "tokens" else 1
        dense = tf.cast(parsed[name].to_tensor(shape=[num_rows, width]), column.dtype)
        batch[name] = dense if column.kind == "tokens" else dense[:, 0]
    batch["input_mask"] = tf.sequence_mask(parsed["input_ids"].row_lengths(), max_seq_length, tf.int32)
    return batch
