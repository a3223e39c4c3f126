"""What the engine costs per training step, against a bare `tf.function` step of the same model on one device.

All train the same ALBERT on batches of the same shape and alternate in blocks in one process, so that what else the
machine does falls on all of them. The bare step is what one would write by hand: forward, backward, clip and update on
a batch that is already in memory. The engine reads its batches from a cache through the input pipeline, and runs its
loop under the strategies `one` and `mirror` (with one replica).

    python3 -m benchmarks.engine_overhead
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.custom_optimization import create_optimizer
from albert.data.input_pipeline import BatchShape, Source, train_dataset
from albert.data.schema import Column
from albert.data.tfrecord_cache import RecordCache, open_or_build
from albert.engine.distribution import Replicas, create_replicas
from albert.engine.estimator import ModeKeys
from albert.heads.pooled import ClassificationHead
from albert.modeling import AlbertModel
from albert.runs.model_fn import build_model_fn
from benchmarks.estimators import SCHEDULE, started_estimator
from benchmarks.memory import make_config
from benchmarks.results_file import append_result

POSITIONS = 128
FEATURE_SPEC = {
    "input_ids": Column("tokens", "int32"),
    "segment_ids": Column("tokens", "int32"),
    "label_ids": Column("scalar", "int32"),
}
# name: hidden size, layers, heads, rows per step, steps per block
MODELS = {"small": (256, 6, 4, 16, 10), "base": (768, 12, 12, 8, 2)}


def build_cache(directory: Path) -> RecordCache:
    """1,000 records of 128 random tokens and a random label, so that no row has padding."""
    random = np.random.default_rng(0)
    rows = [(random.integers(5, 30000, POSITIONS).tolist(), int(random.integers(0, 2))) for _ in range(1000)]
    return open_or_build(
        directory=directory,
        stem="random",
        identity={"seed": 0},
        items=lambda: rows,
        featurize=lambda row: [{"input_ids": row[0], "segment_ids": [0] * POSITIONS, "label_ids": [row[1]]}],
        feature_spec=FEATURE_SPEC,
        num_workers=1,
    )


def bare_steps(config: AlbertConfig, dataset: tf.data.Dataset) -> Callable[[int], None]:
    """A function that makes n updates on the first batch by calling a plain compiled step n times."""
    head = ClassificationHead(config, num_labels=2)
    model_fn = build_model_fn(config, head)
    weights = AlbertModel(config, head.variable_specs).weights
    slots = {name: [tf.Variable(tf.zeros(v.shape)) for _ in range(2)] for name, v in weights.items()}
    optimizer = create_optimizer("adamw")
    batch = next(iter(dataset))

    @tf.function
    def step(number: tf.Tensor) -> tf.Tensor:
        tensors = {name: tf.convert_to_tensor(v) for name, v in weights.items()}
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_mean(model_fn(batch, ModeKeys.TRAIN, tensors, number).per_example_loss)
        gradients = {name: tf.convert_to_tensor(g) for name, g in tape.gradient(loss, tensors).items()}
        scale = optimizer.clip(tf.linalg.global_norm(list(gradients.values())))
        optimizer.update(weights, slots, gradients, SCHEDULE(number), scale)
        return loss

    def run(count: int) -> None:
        for number in range(count):
            step(tf.constant(number, tf.int64)).numpy()

    return run


def engine_steps(
    config: AlbertConfig, dataset: tf.data.Dataset, replicas: Replicas, model_dir: Path
) -> Callable[[int], object]:
    """A function that makes n updates through the engine's own compiled loop."""
    estimator = started_estimator(config, ClassificationHead(config, num_labels=2), replicas, model_dir)
    iterator = estimator.replicas.iterate(dataset)
    return lambda count: estimator._run_steps(iterator, count)


def measure(name: str, blocks: int, engines: dict[str, Replicas]) -> dict[str, list[float]]:
    """Seconds per step of every block, by contender."""
    hidden, layers, heads, rows, steps = MODELS[name]
    config = make_config(hidden, layers, heads)
    with tempfile.TemporaryDirectory() as directory:
        cache = build_cache(Path(directory))
        dataset = train_dataset(Source(cache, FEATURE_SPEC, POSITIONS), BatchShape(rows, 1), 0, 0, 100_000)
        contenders = {"bare": bare_steps(config, dataset)}
        for kind, replicas in engines.items():
            contenders[f"engine, {kind}"] = engine_steps(config, dataset, replicas, Path(directory))
        for contender in contenders.values():
            contender(2)  # traces
        seconds: dict[str, list[float]] = {kind: [] for kind in contenders}
        for block in range(blocks):
            order = list(contenders)[block % len(contenders) :] + list(contenders)[: block % len(contenders)]
            for kind in order:
                begin = time.perf_counter()
                contenders[kind](steps)
                seconds[kind].append((time.perf_counter() - begin) / steps)
    return seconds


def main() -> None:
    """Measures, prints and appends to benchmarks/results/engine_overhead.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--blocks", type=int, default=12)
    arguments = parser.parse_args()
    engines = {kind: create_replicas(kind, 1) for kind in ("one", "mirror")}
    lines = [
        "| model | rows x positions | step | median, s | quartiles, s | median / bare median |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for name in arguments.models:
        seconds = measure(name, arguments.blocks, engines)
        bare = statistics.median(seconds["bare"])
        for kind, values in seconds.items():
            low, median, high = statistics.quantiles(values, n=4)
            size = f"{MODELS[name][3]} x {POSITIONS}"
            lines.append(f"| {name} | {size} | {kind} | {median:.4f} | {low:.4f}-{high:.4f} | {median / bare:.3f} |")
    append_result("engine_overhead", "\n".join(lines))


if __name__ == "__main__":
    main()
