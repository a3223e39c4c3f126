"""Batches of pretraining records: the global batch of a step, and each replica's shard of it.

Owns the shapes of batches. Which records make up a step is arithmetic, as for fine-tuning
(`albert.data.order.train_indices`); a row holds one sequence, since pretraining's are about as long as rows.

In the elements, each a replica's shard, b is its number of sequences, S their length, and P the most masked positions:

    input_ids, segment_ids, position_ids, sequence_ids [b, S], sequence_starts, sequence_lengths [b]: a `TokenLayout`;
    sequence_rows [b]: the sequence's number in the global batch;
    masked_lm_positions, masked_lm_ids [b, P], masked_lm_weights float32 [b, P], next_sentence_labels [b];
    masked_lm_scale float32 [b], to train: see `albert.heads.pretraining`;
    example_ids int64 [b]: the record's number, -1 where the shard only fills a batch;
    example_weights float32 [b]: 1 for a record, 0 for such filling.

Integers are int32 unless said otherwise. To train with several micro-batches everything has one more axis in front.
"""

import numpy as np
import tensorflow as tf

from albert.data.input_pipeline import SHARDS_AHEAD, BatchShape
from albert.data.order import train_indices
from albert.data.pretraining_records import RecordFiles
from albert.system.callback_errors import record_user_errors

# Upstream adds this to the number of masked tokens that it divides the loss by.
MASKED_LM_EPSILON = 1e-5

_Columns = dict[str, tf.Tensor]


def train_dataset(
    records: RecordFiles,
    shape: BatchShape,
    seed: int,
    first_step: int,
    last_step: int,
    replica_ids: range | None = None,
) -> tf.data.Dataset:
    """The shards of the global batches of steps first_step, ..., last_step - 1, in (step, replica) order.

    `replica_ids` are the replicas whose shards are wanted, by default all: a worker of several asks for its own.
    A batch may be larger than all records together: it then has some more than once.
    """
    assert 0 <= first_step <= last_step, f"steps must be 0 <= first <= last, got {first_step} and {last_step}"
    size = shape.global_batch_size
    dimensions = [shape.num_replicas, shape.micro_batches, shape.per_replica_batch_size]

    def make_step(step: tf.Tensor) -> _Columns:
        ids, columns = _read(records, step, lambda step: train_indices(step, size, records.count, seed), size)
        # The denominator of the loss is that of the whole step, whichever replica computes a part of it.
        scale = size / (tf.reduce_sum(columns["masked_lm_weights"]) + MASKED_LM_EPSILON)
        columns |= {"masked_lm_scale": tf.fill([size], scale), "sequence_rows": tf.range(size)}
        batch = _lay_out(columns, ids, dimensions)
        if replica_ids is not None:
            batch = {name: value[replica_ids.start : replica_ids.stop] for name, value in batch.items()}
        return batch if shape.micro_batches > 1 else {name: value[:, 0] for name, value in batch.items()}

    steps = tf.data.Dataset.range(first_step, last_step)
    make_step = tf.autograph.experimental.do_not_convert(make_step)
    batches = steps.map(make_step, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.unbatch().prefetch(SHARDS_AHEAD)


def eval_dataset(
    records: RecordFiles, shape: BatchShape, max_records: int, replica_ids: range | None = None
) -> tf.data.Dataset:
    """Shards that hold each of the first `max_records` records once, in order, and filling at the end.

    They are in (step, replica) order; `replica_ids` are the replicas whose shards are wanted, by default all.
    """
    count, size = min(records.count, max_records), shape.per_replica_batch_size
    replicas = range(shape.num_replicas) if replica_ids is None else replica_ids
    num_steps = -(-count // (size * shape.num_replicas))

    def numbers_of(element: int) -> np.ndarray:
        step, number = divmod(element, len(replicas))
        numbers = (step * shape.num_replicas + replicas[number]) * size + np.arange(size)
        return np.where(numbers < count, numbers, -1)

    def make_shard(shard: tf.Tensor) -> _Columns:
        ids, columns = _read(records, shard, numbers_of, size)
        return _lay_out(columns | {"sequence_rows": tf.range(size)}, ids, [size])

    make_shard = tf.autograph.experimental.do_not_convert(make_shard)
    shards = tf.data.Dataset.range(num_steps * len(replicas))
    return shards.map(make_shard, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(SHARDS_AHEAD)


def _read(records: RecordFiles, element: tf.Tensor, numbers_of, size: int) -> tuple[tf.Tensor, _Columns]:
    """Record numbers int64 [size], and columns [size, ...] in int32 and float32.

    `numbers_of(element)` are the numbers of the records, -1 for filling, which looks like record 0.
    """

    def read(element: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = numbers_of(int(element))
        return numbers, np.array(records.read(np.maximum(numbers, 0)), object)

    ids, serialized = tf.numpy_function(record_user_errors(read), [element], (tf.int64, tf.string), stateful=False)
    parsed = records.format.parse(tf.ensure_shape(serialized, [size]))
    columns = {name: tf.cast(value, tf.int32) if value.dtype.is_integer else value for name, value in parsed.items()}
    columns["next_sentence_labels"] = columns["next_sentence_labels"][:, 0]
    return tf.ensure_shape(ids, [size]), columns


def _lay_out(columns: _Columns, ids: tf.Tensor, dimensions: list[int]) -> _Columns:
    """What the module promises, with `dimensions` in place of the first axis; the last of them is b."""
    batch = {name: tf.reshape(value, [*dimensions, *value.shape[1:]]) for name, value in columns.items()}
    mask, numbers = batch.pop("input_mask"), tf.range(dimensions[-1])
    length = mask.shape[-1]
    ids = tf.reshape(ids, dimensions)
    return batch | {
        "position_ids": tf.broadcast_to(tf.range(length), [*dimensions, length]),
        "sequence_ids": (numbers[:, None] + 1) * mask,
        "sequence_starts": tf.broadcast_to(numbers * length, dimensions),
        "sequence_lengths": tf.reduce_sum(mask, axis=-1),
        "example_ids": ids,
        "example_weights": tf.cast(ids >= 0, tf.float32),
    }
