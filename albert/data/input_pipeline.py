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
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from albert.data import packing, row_shapes, whole_splits
from albert.data.columns import Columns, columns_of
from albert.data.order import train_indices
from albert.data.row_shapes import RowShapes
from albert.data.schema import Column
from albert.data.tfrecord_cache import RecordCache
from albert.errors import UserError
from albert.system.callback_errors import record_user_errors

# Shards that may wait for a replica to take them. TensorFlow's own choice doubles whenever they run out after there
# were so many, as they do after every evaluation of a run that its input slows down, until the memory is full.
SHARDS_AHEAD = 64


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
      max_positions: the longest row that the model computes, which packed rows may be in evaluation as well; by default
        they are no longer than a sequence.
    """

    cache: RecordCache
    feature_spec: Mapping[str, Column]
    max_seq_length: int
    sequences_per_example: int = 1
    is_packed: bool = True
    packing_version: int = row_shapes.NEWEST_PACKING
    shape_cost: float = 0.0
    max_positions: int = 0

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
    shapes: RowShapes | None = None,
) -> tf.data.Dataset:
    """The shards of the global batches of steps first_step, ..., last_step - 1, in (step, replica) order.

    `first_step` is the number of steps already made. `replica_ids` are the replicas whose shards are wanted, by default
    all: a worker of several asks for its own. Every example of every shard is a real one; which replica computes it
    depends on lengths, so that all have as much to do. `shapes` are those of `train_shapes`, for a caller that wants
    several datasets.

    Raises UserError where one global batch is more than all examples.
    """
    check_batch(shape, source.num_examples)
    assert 0 <= first_step <= last_step, f"steps must be 0 <= first <= last, got {first_step} and {last_step}"

    shapes = shapes or train_shapes(source, shape, seed)
    steps = range(first_step, last_step)
    return _dataset(source, shape, shapes, steps, replica_ids, lambda step: _train_shards(source, step, shape, seed))


def _train_shards(source: Source, step: int, shape: BatchShape, seed: int) -> list[_Shard]:
    """One shard for each replica. Examples are dealt by length where they are packed, in order where they are not."""
    examples = train_indices(step, shape.global_batch_size, source.num_examples, seed)
    num_parts = shape.num_replicas * shape.micro_batches
    rows = np.arange(shape.global_batch_size)
    parts = source.packing.deal(source.costs[examples], num_parts) if source.is_packed else rows.reshape(num_parts, -1)
    parts = parts.reshape(shape.num_replicas, shape.micro_batches, shape.per_replica_batch_size)
    return [_Shard(examples[part], part) for part in parts]


def train_shapes(source: Source, shape: BatchShape, seed: int) -> RowShapes:
    """Chosen by the first steps of the run, wherever it continues from: a function of data, batch and seed. Logs them.

    Raises UserError where one global batch is more than all examples.
    """
    check_batch(shape, source.num_examples)
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
        "Packing: short texts share a row, so that %.1f %% of a batch is padding instead of %.1f %%. "
        "Rows x tokens: %s.",
        100 * (1 - sum(int(parts.sum()) for parts in lengths) / computed),
        100 * (1 - source.cache.token_counts.mean() / source.max_seq_length),
        shapes,
    )  # fmt: skip
    return shapes


def eval_dataset(source: Source, shape: BatchShape, replica_ids: range | None = None) -> tf.data.Dataset:
    """Shards that hold every example once, in (step, replica) order.

    All shards have the same shape, of about per_replica_batch_size x sequences_per_example x max_seq_length positions;
    packed, they hold as many examples as go in there. Where examples run out, shards are filled with padding.
    """
    if source.is_packed:
        max_positions = shape.per_replica_batch_size * source.sequences_per_example * source.max_seq_length
        longest_row = max(source.max_seq_length, min(row_shapes.LONGEST_ROWS, source.max_positions, max_positions))
        plan = whole_splits.plan_shards(source.costs, source.lengths_of, longest_row, max_positions, shape.num_replicas)
    else:
        size = shape.per_replica_batch_size
        examples = np.full(-(-source.num_examples // size) * size, -1, np.int64)
        examples[: source.num_examples] = np.arange(source.num_examples)
        one_shape = RowShapes(((size * source.sequences_per_example, source.max_seq_length),))
        plan = whole_splits.Shards(examples.reshape(-1, size), one_shape)
    num_shards, size = plan.examples.shape
    num_steps = -(-num_shards // shape.num_replicas)
    examples = np.full((num_steps * shape.num_replicas, 1, size), -1, np.int64)
    examples[:num_shards, 0] = plan.examples
    of_steps = examples.reshape(num_steps, shape.num_replicas, 1, size)

    def shards_of(step: int) -> list[_Shard]:
        return [_Shard(examples, np.arange(size)[None]) for examples in of_steps[step]]

    one_batch = BatchShape(size, shape.num_replicas)
    # A forward pass is written for a known number of rows.
    return _dataset(source, one_batch, plan.shapes, range(num_steps), replica_ids, shards_of, plan.shapes.num_rows)


def _dataset(
    source: Source,
    shape: BatchShape,
    shapes: RowShapes,
    steps: range,
    replica_ids: range | None,
    shards_of: Callable[[int], Sequence[_Shard]],
    num_rows: int | None = None,
) -> tf.data.Dataset:
    """Of `shards_of(step)` of each of `steps`, one a replica, those of the replicas `replica_ids`, by default all.

    `num_rows` are those of every shard, if its tensors are to say so.
    """
    replicas = range(shape.num_replicas) if replica_ids is None else replica_ids
    columns = columns_of(source.cache, source.feature_spec)
    token_specs, other_specs = _element_specs(source, shape, num_rows, shapes.row_length)
    lock = threading.Lock()

    @functools.lru_cache(maxsize=16)  # the replicas of a few steps ask at the same time
    def laid_out(step: int) -> _LaidOut:
        shards = shards_of(step)
        return _lay_out(source, columns, [shards[replica] for replica in replicas], shapes)

    # Each array that Python hands to TensorFlow costs 10 microseconds, in which no other thread can run Python. So
    # there are two: what has a number a token, stacked, and all else, joined; both as the bits of int32.
    def shard_of(element: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        step, number = divmod(int(element), len(replicas))
        with lock:  # or else each of the threads that ask for a step would lay it out
            of_step = laid_out(steps[step])
        tokens, others = of_step.shard(number)
        return tokens if shape.micro_batches > 1 else tokens[:, 0], others

    def make_batch(element: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens, others = tf.numpy_function(
            record_user_errors(shard_of), [element], (tf.int32, tf.int32), stateful=False
        )
        tokens.set_shape([len(token_specs), *next(iter(token_specs.values())).shape])
        sizes = [spec.shape.num_elements() * spec.dtype.size // tf.int32.size for spec in other_specs.values()]
        parts = zip(token_specs | other_specs, [*tf.unstack(tokens), *tf.split(others, sizes)], strict=True)
        return {name: _from_bits(bits, (token_specs | other_specs)[name]) for name, bits in parts}

    elements = tf.data.Dataset.range(len(steps) * len(replicas))
    make_batch = tf.autograph.experimental.do_not_convert(make_batch)
    batches = elements.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(SHARDS_AHEAD)


def _element_specs(
    source: Source, shape: BatchShape, num_rows: int | None, row_length: int | None
) -> tuple[dict[str, tf.TensorSpec], dict[str, tf.TensorSpec]]:
    """Types and shapes of a shard, as the module promises them: of what has a number a token, and of all else."""
    outer = [shape.micro_batches] if shape.micro_batches > 1 else []
    b = shape.per_replica_batch_size
    rows, sequences = [*outer, num_rows, row_length], [*outer, b * source.sequences_per_example]
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


@dataclasses.dataclass(frozen=True)
class _LaidOut:
    """The shards of a step, their numbers as the bits of int32, in the order of `_element_specs`.

    Attributes:
      rows: (R, L) of each shard, in which each of its M micro-batches lies.
      tokens: int32 [columns, positions], of all shards one after the other: what has a number a token.
      others: int32 [shards, numbers]: all else.
    """

    rows: Sequence[tuple[int, int]]
    micro_batches: int
    tokens: np.ndarray
    others: np.ndarray

    def shard(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a shard, int32 [columns, M, R, L] and [numbers], in memory of their own: TensorFlow may write to it."""
        first = self.micro_batches * sum(map(math.prod, self.rows[:number]))
        shape = (len(self.tokens), self.micro_batches, *self.rows[number])
        tokens = self.tokens[:, first : first + math.prod(shape[1:])]
        return tokens.copy().reshape(shape), self.others[number].copy()


_TOKEN_LAYOUT = ("position_ids", "sequence_ids")


def _lay_out(source: Source, columns: Columns, shards: Sequence[_Shard], shapes: RowShapes) -> _LaidOut:
    """S shards of M micro-batches of b examples of k sequences, n = b * k."""
    # At once: of short sequences, most of what an array costs is the call.
    examples = np.stack([shard.examples for shard in shards])  # [S, M, b]
    lengths = source.lengths_of(examples)  # [S, M, n]
    num_shards, micro_batches, n = lengths.shape
    arrange = packing.pack if source.is_packed else packing.one_per_row
    fitted = [shapes.fit(parts, arrange) for parts in lengths]  # the micro-batches of a shard have one shape
    rows, starts = [(count, length) for count, length, _ in fitted], np.stack([starts for *_, starts in fitted])
    sizes = np.repeat([math.prod(shape) for shape in rows], micro_batches)
    firsts = (np.cumsum(sizes) - sizes).reshape(num_shards, micro_batches, 1)
    where, positions, sequences = packing.token_positions(lengths.ravel(), (starts + firsts).ravel())

    of_tokens = {"position_ids": positions, "sequence_ids": sequences % n + 1}
    of_shards = {
        "sequence_starts": starts,
        "sequence_lengths": lengths.astype(np.int32),
        "sequence_rows": _sequence_rows(shards, source.sequences_per_example),
        "example_ids": examples,
        "example_weights": (examples >= 0).astype(np.float32),
    }
    from_cache = columns.tokens_of(source.records_of(examples).ravel(), lengths.ravel())
    first_records = examples * source.sequences_per_example  # those that have an example's scalars and vectors
    for name, column in source.batch_spec.items():
        if column.kind == "tokens":
            of_tokens[name] = columns.values[name][from_cache].astype(column.dtype)
        else:
            of_shards[name] = columns.values[name][first_records].astype(column.dtype)  # [S, M, b, length]
            of_shards[name][examples < 0] = 0
    tokens = np.zeros((len(of_tokens), sizes.sum()), np.int32)
    for row, numbers in zip(tokens, of_tokens.values(), strict=True):
        row[where] = numbers.view(np.int32)
    others = [numbers.reshape(num_shards, -1).view(np.int32) for numbers in of_shards.values()]
    return _LaidOut(rows, micro_batches, tokens, np.concatenate(others, axis=1))


def _sequence_rows(shards: Sequence[_Shard], k: int) -> np.ndarray:
    """int32 [S, M, b * k]: the numbers of their sequences in the global batch."""
    rows = np.stack([shard.batch_rows for shard in shards])
    return (rows[..., None] * k + np.arange(k)).reshape(*rows.shape[:2], -1).astype(np.int32)
