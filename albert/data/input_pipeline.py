"""Batches from a record cache: which replica gets which records of step t, and how they become rows of tokens.

Owns the shards and shapes of batches. Which records make up a step is arithmetic (`albert.data.order`) and not the
state of an iterator, so that a run resumes where it stopped, on any number of replicas.

Knows no tasks, models, strategies or flags. The engine gives consecutive elements to consecutive replicas
(`albert.engine.distribution.Replicas.next_elements`), so each element here is one replica's shard of a global batch.

An example consists of `sequences_per_example` token sequences, each a record (one; for multiple choice one a choice).
In the elements, b is the number of examples of a shard, n of its sequences, and R x L the rows they lie in:

    input_ids, segment_ids and any other token column [R, L]: 0 where no token is;
    position_ids [R, L]: each token's place in its sequence;
    sequence_ids [R, L]: 1 + the number of its sequence in the shard, 0 where no token is;
    sequence_starts, sequence_lengths [n]: in the rows joined into R * L positions;
    sequence_rows [n]: the sequence's number in the global batch;
    each scalar column [b], such as label_ids, and each vector column [b, its length]: those of an example's first
        sequence;
    example_ids int64 [b]: the example's number in the cache, -1 where the shard only fills a batch;
    example_weights float32 [b]: 1 for a real example, 0 for such filling.

Integers are int32 unless said otherwise. With several micro-batches everything has one more axis in front. (R, L) is
one of a few shapes; in training L may exceed the longest sequence.
"""

import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from albert.data import packing, row_shapes
from albert.data.columns import Columns, columns_of
from albert.data.order import train_indices
from albert.data.row_shapes import RowShapes
from albert.data.schema import Column
from albert.data.tfrecord_cache import RecordCache
from albert.errors import UserError
from albert.system.callback_errors import record_user_errors


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """How many examples a step has: per_replica_batch_size x micro_batches x num_replicas = global_batch_size."""

    per_replica_batch_size: int
    num_replicas: int
    micro_batches: int = 1

    @property
    def global_batch_size(self) -> int:
        """Examples of one step over all replicas."""
        return self.per_replica_batch_size * self.micro_batches * self.num_replicas


@dataclasses.dataclass(frozen=True)
class Source:
    """Where examples come from and how they are laid out.

    Attributes:
      cache: the records.
      feature_spec: their columns; "host" columns stay out of batches.
      max_seq_length: the longest a sequence may be; rows without packing are this long.
      sequences_per_example: example e is records e * this, ..., in order.
      is_packed: several sequences may share a row.
      packing_version: how training batches are packed, of `row_shapes.PACKINGS`.
      shape_cost: how many positions one more shape has to save in each micro-batch of training.
    """

    cache: RecordCache
    feature_spec: Mapping[str, Column]
    max_seq_length: int
    sequences_per_example: int = 1
    is_packed: bool = True
    packing_version: int = row_shapes.NEWEST_PACKING
    shape_cost: float = 0.0

    def __post_init__(self) -> None:
        longest = self.cache.token_counts.max(initial=0)
        assert longest <= self.max_seq_length, (
            f"{self.cache.path} has {longest} tokens, more than {self.max_seq_length}"
        )
        assert self.cache.count % self.sequences_per_example == 0, f"{self.cache.path} has part of an example"

    @property
    def packing(self) -> row_shapes.Packing:
        return row_shapes.PACKINGS[self.packing_version]

    @property
    def num_examples(self) -> int:
        return self.cache.count // self.sequences_per_example

    @functools.cached_property
    def batch_spec(self) -> dict[str, Column]:
        """The columns that batches have."""
        return {name: column for name, column in self.feature_spec.items() if column.kind != "host"}

    @functools.cached_property
    def costs(self) -> np.ndarray:
        """int64 [num_examples]: tokens of each example."""
        return self.cache.token_counts.reshape(self.num_examples, -1).sum(axis=1, dtype=np.int64)

    def records_of(self, examples: np.ndarray) -> np.ndarray:
        """int64 [..., n]: the records of `examples` [..., b]; -1 for those of example -1."""
        if self.sequences_per_example == 1:
            return examples
        first = examples[..., None] * self.sequences_per_example
        records = first + np.arange(self.sequences_per_example)
        records = np.where(examples[..., None] < 0, -1, records)
        return records.reshape(*examples.shape[:-1], -1)

    def lengths_of(self, examples: np.ndarray) -> np.ndarray:
        """int32 [..., n]: the lengths of their sequences, 0 for those of example -1."""
        records = self.records_of(examples)
        return np.where(records < 0, 0, self.cache.token_counts[records])


@dataclasses.dataclass(frozen=True)
class _Shard:
    """What one replica gets of one global batch, in M micro-batches of b examples; -1 where an example is missing."""

    examples: np.ndarray  # int64 [M, b]
    batch_rows: np.ndarray  # int64 [M, b], row in the global batch


def check_batch(shape: BatchShape, num_examples: int) -> None:
    """Raises UserError where one global batch is more than all examples of the training split."""
    if num_examples >= shape.global_batch_size:
        return
    # In words: whoever has so many GPUs need not have given a number.
    on = f" on {shape.num_replicas} replicas" if shape.num_replicas > 1 else ""
    on += f" with `gradient_accumulation_steps`={shape.micro_batches}" if shape.micro_batches > 1 else ""
    most = num_examples * shape.per_replica_batch_size // shape.global_batch_size
    others = " and ".join(
        f"`{name}`"
        for name, count in (("num_replicas", shape.num_replicas), ("gradient_accumulation_steps", shape.micro_batches))
        if count > 1
    )
    advice = f"Set `per_replica_batch_size` to {most} or less" if most else f"Lower {others}"
    raise UserError(
        f"`per_replica_batch_size`={shape.per_replica_batch_size}{on} needs {shape.global_batch_size} examples a step, "
        f"but the training split has {num_examples}. {advice}."
    )


# --- Datasets -------------------------------------------------------------------------------------


def train_dataset(
    source: Source,
    shape: BatchShape,
    seed: int,
    first_step: int,
    last_step: int,
    replica_ids: range | None = None,
) -> tf.data.Dataset:
    """The shards of the global batches of steps first_step, ..., last_step - 1, in (step, replica) order.

    `first_step` is the number of steps already made. `replica_ids` are the replicas whose shards are wanted, by default
    all: a worker of several asks for its own. Every example of every shard is a real one; which replica computes it
    depends on lengths, so that all have as much to do.

    Raises UserError where one global batch is more than all examples.
    """
    check_batch(shape, source.num_examples)
    assert 0 <= first_step <= last_step, f"steps must be 0 <= first <= last, got {first_step} and {last_step}"

    @functools.lru_cache(maxsize=16)  # the replicas of a few steps ask at the same time
    def shards_of(step: int) -> list[_Shard]:
        return _train_shards(source, step, shape, seed)

    shapes = _train_shapes(source, shape, seed)
    steps = range(first_step, last_step)
    return _dataset(source, shape, shapes, steps, replica_ids, lambda step, replica: shards_of(step)[replica])


def _train_shards(source: Source, step: int, shape: BatchShape, seed: int) -> list[_Shard]:
    """One shard for each replica. Examples are dealt by length where they are packed, in order where they are not."""
    examples = train_indices(step, shape.global_batch_size, source.num_examples, seed)
    num_parts = shape.num_replicas * shape.micro_batches
    rows = np.arange(shape.global_batch_size)
    parts = source.packing.deal(source.costs[examples], num_parts) if source.is_packed else rows.reshape(num_parts, -1)
    parts = parts.reshape(shape.num_replicas, shape.micro_batches, shape.per_replica_batch_size)
    return [_Shard(examples[part], part) for part in parts]


def _train_shapes(source: Source, shape: BatchShape, seed: int) -> RowShapes:
    """Chosen by the first steps of the run, wherever it continues from: a function of data, batch and seed."""
    num_sequences = shape.per_replica_batch_size * source.sequences_per_example
    if not source.is_packed:
        return RowShapes(((num_sequences, source.max_seq_length),))
    num_steps = source.packing.sampled_steps(shape.global_batch_size * source.sequences_per_example)
    shards = [shard for step in range(num_steps) for shard in _train_shards(source, step, shape, seed)]
    lengths = [source.lengths_of(shard.examples) for shard in shards]
    longest = int(source.cache.token_counts.max(initial=1))
    shapes = source.packing.choose(lengths, longest, source.max_seq_length, source.shape_cost)
    computed = sum(len(parts) * math.prod(shapes.fit(parts)[:2]) for parts in lengths)
    logging.info(
        "Packing: %d examples/replica in rows x tokens %s instead of %d x %d; %.1f %% padding instead of %.1f %%.",
        shape.per_replica_batch_size, shapes, num_sequences, source.max_seq_length,
        100 * (1 - sum(int(parts.sum()) for parts in lengths) / computed),
        100 * (1 - source.cache.token_counts.mean() / source.max_seq_length),
    )  # fmt: skip
    return shapes


def eval_dataset(source: Source, shape: BatchShape, replica_ids: range | None = None) -> tf.data.Dataset:
    """Shards that hold every example once, in (step, replica) order.

    All shards have the same shape, of about per_replica_batch_size x sequences_per_example x max_seq_length positions;
    packed, they hold as many examples as go in there. Where examples run out, shards are filled with padding.
    """
    if source.is_packed:
        max_positions = shape.per_replica_batch_size * source.sequences_per_example * source.max_seq_length
        plan = row_shapes.plan_shards(source.costs, source.lengths_of, source.max_seq_length, max_positions)
    else:
        size = shape.per_replica_batch_size
        examples = np.full(-(-source.num_examples // size) * size, -1, np.int64)
        examples[: source.num_examples] = np.arange(source.num_examples)
        rows = RowShapes(((size * source.sequences_per_example, source.max_seq_length),))
        plan = row_shapes.Shards(examples.reshape(-1, size), rows)
    num_shards, size = plan.examples.shape

    def shard_of(step: int, replica: int) -> _Shard:
        number = step * shape.num_replicas + replica
        examples = plan.examples[number] if number < num_shards else np.full(size, -1, np.int64)
        return _Shard(examples[None], np.arange(size)[None])

    steps = range(-(-num_shards // shape.num_replicas))
    one_batch = BatchShape(size, shape.num_replicas)
    return _dataset(source, one_batch, plan.shapes, steps, replica_ids, shard_of)


def _dataset(
    source: Source,
    shape: BatchShape,
    shapes: RowShapes,
    steps: range,
    replica_ids: range | None,
    shard_of: Callable[[int, int], _Shard],
) -> tf.data.Dataset:
    """The shards `shard_of(step, replica)` of `steps` and the replicas `replica_ids`, by default all."""
    replicas = range(shape.num_replicas) if replica_ids is None else replica_ids
    columns = columns_of(source.cache, source.feature_spec)
    token_specs, other_specs = _element_specs(source, shape, shapes)

    # Each array that Python hands to TensorFlow costs 10 microseconds, in which no other thread can run Python. So
    # there are two: what has a number a token, stacked, and all else, joined; both as the bits of int32.
    def lay_out(element: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        step, replica = divmod(int(element), len(replicas))
        batch = _batch(source, columns, shard_of(steps[step], replicas[replica]), shapes)
        tokens = np.stack([batch[name].view(np.int32) for name in token_specs])
        others = np.concatenate([batch[name].ravel().view(np.int32) for name in other_specs])
        return tokens if shape.micro_batches > 1 else tokens[:, 0], others

    def make_batch(element: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens, others = tf.numpy_function(record_user_errors(lay_out), [element], (tf.int32, tf.int32), stateful=False)
        tokens.set_shape([len(token_specs), *next(iter(token_specs.values())).shape])
        sizes = [spec.shape.num_elements() * spec.dtype.size // tf.int32.size for spec in other_specs.values()]
        parts = zip(token_specs | other_specs, [*tf.unstack(tokens), *tf.split(others, sizes)], strict=True)
        return {name: _from_bits(bits, (token_specs | other_specs)[name]) for name, bits in parts}

    elements = tf.data.Dataset.range(len(steps) * len(replicas))
    make_batch = tf.autograph.experimental.do_not_convert(make_batch)
    batches = elements.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(tf.data.AUTOTUNE)


def _element_specs(
    source: Source, shape: BatchShape, shapes: RowShapes
) -> tuple[dict[str, tf.TensorSpec], dict[str, tf.TensorSpec]]:
    """Types and shapes of a shard, as the module promises them: of what has a number a token, and of all else."""
    outer = [shape.micro_batches] if shape.micro_batches > 1 else []
    b = shape.per_replica_batch_size
    rows, sequences = [*outer, None, shapes.row_length], [*outer, b * source.sequences_per_example]
    tokens = dict.fromkeys(_TOKEN_LAYOUT, tf.TensorSpec(rows, tf.int32))
    others = {
        **dict.fromkeys(("sequence_starts", "sequence_lengths", "sequence_rows"), tf.TensorSpec(sequences, tf.int32)),
        "example_ids": tf.TensorSpec([*outer, b], tf.int64),
        "example_weights": tf.TensorSpec([*outer, b], tf.float32),
    }
    for name, column in source.batch_spec.items():
        if column.kind == "tokens":
            tokens[name] = tf.TensorSpec(rows, column.dtype)
        else:
            others[name] = tf.TensorSpec(
                [*outer, b, *([column.length] if column.kind == "vector" else [])], column.dtype
            )
    return tokens, others


def _from_bits(bits: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
    """The tensor of `spec` whose bits are the int32 numbers `bits`: in its shape already, or joined."""
    shape = [*spec.shape, *([2] if spec.dtype.size == 8 else [])]
    if bits.shape.rank != len(shape):
        bits = tf.reshape(bits, shape)
    return bits if spec.dtype == tf.int32 else tf.bitcast(bits, spec.dtype)


def _batch(source: Source, columns: Columns, shard: _Shard, shapes: RowShapes) -> dict[str, np.ndarray]:
    """What a dataset's element has, with the micro-batches as first axis; M * b examples of k sequences."""
    places, *layout = _lay_out(source, shard, shapes)
    batch = dict(zip(_LAYOUT[1:], layout, strict=True))
    batch["example_weights"] = (shard.examples >= 0).astype(np.float32)
    rows = batch["position_ids"].shape
    tokens = columns.tokens_of(source.records_of(shard.examples).ravel(), batch["sequence_lengths"].ravel())
    firsts = shard.examples * source.sequences_per_example  # the record that has an example's scalars and vectors
    for name, column in source.batch_spec.items():
        values = columns.values[name]
        if column.kind == "tokens":
            batch[name] = np.zeros(rows, column.dtype)
            batch[name].reshape(-1)[places] = values[tokens]
        else:
            batch[name] = values[firsts].astype(column.dtype)  # [M, b, length]
            batch[name][firsts < 0] = 0
    return batch


_TOKEN_LAYOUT = ("position_ids", "sequence_ids")
_LAYOUT = ("places", *_TOKEN_LAYOUT, "sequence_starts", "sequence_lengths", "sequence_rows", "example_ids")


def _lay_out(source: Source, shard: _Shard, shapes: RowShapes) -> tuple[np.ndarray, ...]:
    """The arrays called _LAYOUT, with the micro-batches as first axis.

    "places" int64 [T] says where each token of all records, in order, lies when all micro-batches' rows are joined.
    """
    lengths = source.lengths_of(shard.examples)
    # The micro-batches of a shard have one shape.
    rows, row_length, starts = shapes.fit(lengths, packing.pack if source.is_packed else packing.one_per_row)
    position_ids = np.zeros((len(lengths), rows * row_length), np.int32)
    sequence_ids = np.zeros_like(position_ids)
    places = []
    for i, (part, part_starts) in enumerate(zip(lengths, starts, strict=True)):
        where, positions, numbers = packing.token_positions(part, part_starts)
        position_ids[i, where] = positions
        sequence_ids[i, where] = numbers + 1
        places.append(where + i * rows * row_length)
    in_rows = (len(lengths), rows, row_length)
    k = source.sequences_per_example
    sequence_rows = (shard.batch_rows[..., None] * k + np.arange(k)).reshape(len(lengths), -1).astype(np.int32)
    return (
        np.concatenate(places),
        position_ids.reshape(in_rows),
        sequence_ids.reshape(in_rows),
        starts,
        lengths.astype(np.int32),
        sequence_rows,
        shard.examples,
    )
