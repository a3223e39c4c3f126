"""What the choice of row shapes leaves of padding and what a step gains, against the choice of runs begun before it.

Padding is counted on lengths alone, for 1,000 steps of a task's own examples behind those that the shapes were chosen
by. Steps are timed in pairs that alternate in one process: the same examples in the old and in the new shapes, in
processor seconds, which other programs on the machine disturb little. A global batch of 32 is 32 examples on one
replica, and 4 on each of 8; of these one replica makes the eight shards after one another, each as a whole step with
its update. What eight devices wait for, the slowest shard of a step, is computed from the same times.

    python3 -m benchmarks.row_shapes --glue_dir=DIR --spm_model_file=FILE [--steps=8] [--layers=12]

With `--weighed` it says instead what is chosen for ALBERT-base and the published number of steps where each shape has
to be worth its compilation: on a CPU, and on a CPU and a GPU that compile the whole step, beside shapes that cost
nothing.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.data import input_pipeline
from albert.data.input_pipeline import BatchShape, Source, train_dataset
from albert.data.row_shapes import NEWEST_PACKING, shape_cost
from albert.data.tfrecord_cache import open_or_build
from albert.engine.distribution import Replicas, create_replicas
from albert.engine.estimator import Estimator
from albert.heads import head_for
from albert.settings import DataSettings
from albert.tasks.recipes import recipe_for
from albert.tasks.registry import get_task
from albert.tokenization import load_tokenizer
from benchmarks.estimators import started_estimator
from benchmarks.results_file import append_result

TASKS = ("mrpc", "rte", "sts-b", "sst-2", "cola")
BATCHES = {"32x1": BatchShape(32, 1), "4x8": BatchShape(4, 8)}
VERSIONS = (1, NEWEST_PACKING)
DEVICES = {"CPU": (False, False), "CPU, whole step": (False, True), "GPU, whole step": (True, True)}
MAX_SEQ_LENGTH, SEED, BASE_WIDTH = 128, 42, 768
COUNTED = range(400, 1400)


def make_source(task_name: str, arguments: argparse.Namespace, folder: Path) -> Source:
    """The training records of a task."""
    task, tokenizer = get_task(task_name), load_tokenizer(arguments.spm_model_file, None, do_lower_case=True)
    settings = DataSettings(task_name, arguments.glue_dir, folder, MAX_SEQ_LENGTH)
    cache = open_or_build(
        directory=folder,
        stem=task_name,
        identity={},
        items=lambda: task.read("train", arguments.glue_dir),
        featurize=lambda example: task.featurize(example, tokenizer, settings),
        feature_spec=task.feature_spec,
        num_workers=1,
    )
    return Source(cache, task.feature_spec, MAX_SEQ_LENGTH)


def padding(source: Source, shape: BatchShape) -> tuple[float, int]:
    """The share of positions without a token over the steps COUNTED, and how many shapes they meet."""
    shapes = input_pipeline.train_shapes(source, shape, SEED)
    shards = (shard for step in COUNTED for shard in input_pipeline._train_shards(source, step, shape, SEED))
    lengths = [source.lengths_of(shard.examples) for shard in shards]
    met = [shapes.fit(parts)[:2] for parts in lengths]
    computed = sum(rows * length for rows, length in met)
    return 1 - sum(int(parts.sum()) for parts in lengths) / computed, len(set(met))


def weighed(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Shapes and padding by device, for the published number of steps."""
    yield "Padding (shapes that 1,000 steps meet) for ALBERT-base, by what compiling one more shape costs.\n"
    yield f"| task | steps | batch | no cost | {' | '.join(DEVICES)} |"
    yield f"| --- | ---: | --- | {' | '.join(['---:'] * (1 + len(DEVICES)))} |"
    for name in arguments.tasks:
        source, steps = make_source(name, arguments, folder), recipe_for(name, "base").train_steps
        for batch in arguments.batches:
            costs = [0.0, *(shape_cost(BASE_WIDTH, *kind) / steps for kind in DEVICES.values())]
            found = [padding(dataclasses.replace(source, shape_cost=cost), BATCHES[batch]) for cost in costs]
            yield f"| {name} | {steps} | {batch} | " + " | ".join(f"{left:.1%} ({met})" for left, met in found) + " |"


def make_estimator(task_name: str, layers: int, replicas: Replicas, folder: Path) -> Estimator:
    """The engine with a model of ALBERT-base's width."""
    config = AlbertConfig(
        vocab_size=30000, hidden_size=768, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=3072
    )
    return started_estimator(config, head_for(get_task(task_name).output, config), replicas, folder)


def one_of_each_shape(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The first element of each shape."""
    found: dict[tuple[int, ...], int] = {}
    for number, element in enumerate(dataset):
        found.setdefault(tuple(element["input_ids"].shape), number)
    wanted = tf.constant(list(found.values()), tf.int64)
    return dataset.enumerate().filter(lambda i, _: tf.reduce_any(i == wanted)).map(lambda _, element: element)


def step_seconds(task_name: str, source: Source, shape: BatchShape, arguments: argparse.Namespace) -> np.ndarray:
    """Processor seconds of each shard's step, [versions, steps, replicas]."""
    replicas = create_replicas("one", 1)
    seconds = np.zeros((len(VERSIONS), arguments.steps, shape.num_replicas))
    with tempfile.TemporaryDirectory() as folder:
        estimator = make_estimator(task_name, arguments.layers, replicas, Path(folder))
        shards: list[Iterator] = []
        for version in VERSIONS:
            versioned = dataclasses.replace(source, packing_version=version)
            dataset = train_dataset(versioned, shape, SEED, COUNTED[0], COUNTED[0] + arguments.steps)
            warming_up = one_of_each_shape(dataset)
            count = sum(1 for _ in warming_up)
            estimator._run_steps(replicas.iterate(warming_up), count)
            shards.append(replicas.iterate(dataset))
        for step in range(arguments.steps):
            for number in (0, 1) if step % 2 else (1, 0):
                for replica in range(shape.num_replicas):
                    begin = time.process_time()
                    estimator._run_steps(shards[number], 1)
                    seconds[number, step, replica] = time.process_time() - begin
    return seconds


def main() -> None:
    """Measures, prints and appends to benchmarks/results/row_shapes.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--glue_dir", type=Path, required=True)
    parser.add_argument("--spm_model_file", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--batches", nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--steps", type=int, default=8, help="global batches timed; 0: only count padding")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--weighed", action="store_true", help="what is chosen where a shape has its cost")
    arguments = parser.parse_args()
    if arguments.weighed:
        with tempfile.TemporaryDirectory() as folder:
            append_result("row_shapes", "\n".join(weighed(arguments, Path(folder))))
        return
    lines = [
        f"Padding before → after, and step before / after in processor seconds: of all shards' steps, and of each "
        f"step's slowest. float32, {arguments.layers} layers of ALBERT-base's width, {arguments.steps} global batches "
        "of 32.\n",
        "| task | batch | padding | step | quartiles of it | slowest shard |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.tasks:
            source = make_source(name, arguments, Path(folder))
            for batch in arguments.batches:
                shape = BATCHES[batch]
                left = [padding(dataclasses.replace(source, packing_version=v), shape)[0] for v in VERSIONS]
                line = f"| {name} | {batch} | {left[0]:.1%} → {left[1]:.1%} |"
                if arguments.steps:
                    before, after = step_seconds(name, source, shape, arguments)
                    by_step = before.sum(axis=1) / after.sum(axis=1)
                    low, high = np.quantile(by_step, [0.25, 0.75])
                    slowest = before.max(axis=1).sum() / after.max(axis=1).sum()
                    line += f" {before.sum() / after.sum():.2f} | {low:.2f}–{high:.2f} | {slowest:.2f} |"
                else:
                    line += " – | – | – |"
                lines.append(line)
                print(line, flush=True)
    append_result("row_shapes", "\n".join(lines))


if __name__ == "__main__":
    main()
