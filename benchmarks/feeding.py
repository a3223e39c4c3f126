"""Measures the input pipeline alone against one that parses the records of every batch, on the same batches.

    python3 -m benchmarks.feeding --data_dir=<glue_data> --spm_model_file=<30k-clean.model> --squad_file=<SQuAD 1.1>

Eight replicas of 32 examples: SST-2 at 128 tokens, SQuAD 1.1 at 384, and as many rows as MNLI has, which are the rows
of its dev split again and again. Both pipelines are read in turns, in blocks of steps, by the same compiled loop, so
that what else the machine does hits both alike. Prints examples/s of the best and of the median block, processor time
a step, and what decoding the cache takes in a new process: seconds of the processor, bytes, and peak memory. Appends
this, with the date and the command, to benchmarks/results/feeding.md.
"""

import argparse
import dataclasses
import functools
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert.data import input_pipeline, packing
from albert.data.columns import columns_of
from albert.data.input_pipeline import BatchShape, Source
from albert.data.row_shapes import RowShapes
from albert.data.tfrecord_cache import open_or_build
from albert.settings import DataSettings
from albert.tasks.base import Task
from albert.tasks.registry import get_task
from albert.tasks.squad.task import SquadTask
from albert.tokenization import load_tokenizer
from benchmarks.cache import peak_mib
from benchmarks.results_file import append_result

SHAPE = BatchShape(32, 8)
SEED = 0
MNLI_ROWS = 392_702
LAYOUT = (
    *("places", "position_ids", "sequence_ids"),
    *("sequence_starts", "sequence_lengths", "sequence_rows", "example_ids"),
)
# After a block, a pipeline reads ahead until its buffer is full. That is counted, and does not disturb the other.
REST_SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class Case:
    """Rows of a task to feed."""

    name: str
    task: Task
    max_seq_length: int
    items: Callable[[], Iterable[Any]]

    def source(self, folder: Path, spm_model_file: Path) -> Source:
        """The cache of the rows, in `folder`, built if it is not there."""
        tokenizer = load_tokenizer(spm_model_file, None, do_lower_case=True)
        settings = DataSettings(self.task.name, Path(), folder, self.max_seq_length, spm_model_file)
        cache = open_or_build(
            directory=folder,
            stem="rows",
            identity={"case": self.name},
            items=self.items,
            featurize=functools.partial(self.task.featurize, tokenizer=tokenizer, settings=settings),
            feature_spec=self.task.feature_spec,
        )
        return Source(cache, self.task.feature_spec, self.max_seq_length, self.task.sequences_per_example)


def cases(data_dir: Path, squad_file: Path | None) -> Iterator[Case]:
    """What is measured."""
    for name, split, count in (("sst-2", "train", None), ("mnli", "dev", MNLI_ROWS)):
        task = get_task(name)
        rows = functools.partial(task.read, split, data_dir)
        items = functools.partial(_repeated, rows, count) if count else rows
        yield Case(f"{name} {split}", task, 128, items)
    if squad_file:
        squad = SquadTask(version="1.1", train_file=squad_file)
        yield Case("squad1.1 train", squad, 384, functools.partial(squad.read, "train", data_dir))


def _repeated(rows: Callable[[], Iterable[Any]], count: int) -> Iterator[Any]:
    return itertools.islice(itertools.cycle(list(rows())), count)


def parsing_dataset(source: Source, last_step: int) -> tf.data.Dataset:
    """The batches of `input_pipeline.train_dataset`, as they were made before there were columns."""
    shapes = input_pipeline.train_shapes(source, SHAPE, SEED)
    names, k = LAYOUT, source.sequences_per_example
    dtypes = [tf.int64 if name in ("places", "example_ids") else tf.int32 for name in names]
    on_disk = {"int32": tf.int64, "float32": tf.float32}
    spec = {name: tf.io.RaggedFeature(on_disk[column.dtype]) for name, column in source.batch_spec.items()}

    @functools.lru_cache(maxsize=16)
    def shards_of(step: int) -> list[Any]:
        return input_pipeline._train_shards(source, step, SHAPE, SEED)

    def read(element: np.ndarray) -> tuple[np.ndarray, ...]:
        step, replica = divmod(int(element), SHAPE.num_replicas)
        shard = shards_of(step)[replica]
        records = source.cache.read(source.records_of(shard.examples).ravel())
        return np.array(records, object), *lay_out(source, shard, shapes)

    def make_batch(element: tf.Tensor) -> dict[str, tf.Tensor]:
        serialized, *layout = tf.numpy_function(read, [element], (tf.string, *dtypes), stateful=False)
        serialized.set_shape([SHAPE.per_replica_batch_size * k])
        batch = dict(zip(names, layout, strict=True))
        places, rows = batch.pop("places"), tf.shape(batch["position_ids"])
        for name, parsed in tf.io.parse_example(serialized, spec).items():
            column = source.batch_spec[name]
            if column.kind == "tokens":
                flat = tf.scatter_nd(places[:, None], tf.cast(parsed.values, column.dtype), [tf.reduce_prod(rows)])
                batch[name] = tf.reshape(flat, rows)
            else:
                values = tf.cast(parsed.to_tensor(shape=[serialized.shape[0], column.length]), column.dtype)[None, ::k]
                batch[name] = values[..., 0] if column.kind == "scalar" else values
        batch["example_weights"] = tf.cast(batch["example_ids"] >= 0, tf.float32)
        return {name: tensor[0] for name, tensor in batch.items()}

    elements = tf.data.Dataset.range(last_step * SHAPE.num_replicas)
    make_batch = tf.autograph.experimental.do_not_convert(make_batch)
    return elements.map(make_batch, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def lay_out(source: Source, shard: Any, shapes: RowShapes) -> tuple[np.ndarray, ...]:
    """The arrays called LAYOUT of a shard, with an axis of one micro-batch; "places" say where each token lies."""
    lengths = source.lengths_of(shard.examples)
    rows, row_length, starts = shapes.fit(lengths, packing.pack)
    where, positions, numbers = packing.token_positions(lengths[0], starts[0])
    position_ids = np.zeros((1, rows * row_length), np.int32)
    sequence_ids = np.zeros_like(position_ids)
    position_ids[0, where] = positions
    sequence_ids[0, where] = numbers + 1
    k, in_rows = source.sequences_per_example, (1, rows, row_length)
    sequence_rows = (shard.batch_rows[..., None] * k + np.arange(k)).reshape(1, -1).astype(np.int32)
    return (
        *(where, position_ids.reshape(in_rows), sequence_ids.reshape(in_rows)),
        *(starts, lengths.astype(np.int32), sequence_rows, shard.examples),
    )


@tf.function(reduce_retracing=True)
def consume(batches: Iterator[Any], count: tf.Tensor) -> tf.Tensor:
    """Reads `count` batches as a training loop does."""
    rows = tf.constant(0)
    for _ in tf.range(count):
        rows += tf.shape(next(batches)["input_ids"])[0]
    return rows


def measure_pipelines(source: Source, blocks: int, steps: int) -> dict[str, list[tuple[float, float]]]:
    """Examples/s and processor milliseconds a step of each block, by pipeline."""
    last_step = (blocks + 2) * steps  # one block before the clock, and one that is only read ahead
    datasets = {
        "parsing": parsing_dataset(source, last_step),
        "columns": input_pipeline.train_dataset(source, SHAPE, SEED, 0, last_step),
    }
    for batch, other in zip(*(dataset.take(2 * SHAPE.num_replicas) for dataset in datasets.values()), strict=True):
        assert batch.keys() == other.keys()
        assert all(bool(tf.reduce_all(batch[name] == other[name])) for name in batch), "the batches differ"
    elements = tf.constant(steps * SHAPE.num_replicas)
    iterators = {name: iter(dataset) for name, dataset in datasets.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in datasets}
    for iterator in iterators.values():
        consume(iterator, elements)
        time.sleep(REST_SECONDS)
    for block in range(blocks):
        for name in sorted(iterators, reverse=bool(block % 2)):
            begin, processor = time.perf_counter(), time.process_time()
            consume(iterators[name], elements)
            seconds = time.perf_counter() - begin
            time.sleep(REST_SECONDS)
            used = time.process_time() - processor
            found[name].append((steps * SHAPE.global_batch_size / seconds, 1e3 * used / steps))
    return found


def measure_decoding(case: Case, folder: Path, spm_model_file: Path) -> tuple[float, float, float]:
    """Processor seconds, MB of columns, and MiB by which the peak memory grew, in this process, which should be new."""
    source = case.source(folder, spm_model_file)
    tf.io.parse_example(tf.constant(source.cache.read([0])), {"input_ids": tf.io.RaggedFeature(tf.int64)})
    before, processor = peak_mib("self"), time.process_time()
    columns = columns_of(source.cache, source.feature_spec)
    used = time.process_time() - processor
    return used, sum(array.nbytes for array in columns.values.values()) / 1e6, peak_mib("self") - before


def measure(case: Case, spm_model_file: Path, blocks: int, steps: int) -> str:
    """The case's rows of the table."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = case.source(folder, spm_model_file)
        with ProcessPoolExecutor(1, context) as new_process:
            used, megabytes, grown = new_process.submit(measure_decoding, case, folder, spm_model_file).result()
        found = measure_pipelines(source, blocks, steps)
    lines = []
    for pipeline, values in found.items():
        rates, milliseconds = ([value[i] for value in values] for i in range(2))
        step = statistics.median(milliseconds)
        epoch = step / 1e3 * source.num_examples / SHAPE.global_batch_size
        decoding = f"{used:.2f} | {megabytes:.1f} | {grown:.0f}" if pipeline == "columns" else "- | - | -"
        lines.append(
            f"| {case.name}, {source.num_examples:,} examples | {pipeline} | {max(rates):,.0f} "
            f"| {statistics.median(rates):,.0f} | {step:.2f} | {epoch:.2f} | {decoding} |"
        )
    rates, milliseconds = (
        [before[i] / after[i] for before, after in zip(found["parsing"], found["columns"], strict=True)] for i in (0, 1)
    )
    faster = 1 / statistics.median(rates)
    lines.append(f"| | columns, times | | {faster:.2f} | {statistics.median(milliseconds):.2f} | | | | |")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="the GLUE folder, with SST-2 and MNLI in it")
    parser.add_argument("--spm_model_file", type=Path, required=True)
    parser.add_argument("--squad_file", type=Path, help="questions to train on, in SQuAD's JSON format, 1.1")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--steps", type=int, default=40, help="steps of a block")
    arguments = parser.parse_args()
    lines = [
        "| rows | pipeline | examples/s, best | median | processor ms a step | s an epoch | decoding, processor s "
        "| columns, MB | peak memory, + MiB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in cases(arguments.data_dir, arguments.squad_file):
        lines.append(measure(case, arguments.spm_model_file, arguments.blocks, arguments.steps))
    append_result("feeding", "\n".join(lines))


if __name__ == "__main__":
    main()
