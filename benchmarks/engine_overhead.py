"""What the engine costs per training step, against a bare `tf.function` step of the same model on one device.

Both train the same ALBERT on the same rows and alternate in blocks in one process, so that what else the machine does
falls on both. The bare step is what one would write by hand: forward, backward, clip, update on a batch that is already
in memory; no input pipeline, no strategy, no records.

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

from albert.custom_optimization import LearningRateSchedule, clip_by_global_norm, create_optimizer
from albert.distribution import create_strategy
from albert.estimator import Estimator, ModeKeys, RunConfig
from albert.heads import ClassificationHead
from albert.model_fn import build_model_fn
from albert.modeling import AlbertConfig, AlbertModel
from benchmarks.results_file import append_result

POSITIONS = 128
SCHEDULE = LearningRateSchedule(2e-5, num_train_steps=100_000, num_warmup_steps=100)
# name: hidden size, layers, heads, rows per step, steps per block
MODELS = {"small": (256, 6, 4, 16, 10), "base": (768, 12, 12, 8, 2)}


def make_config(hidden: int, layers: int, heads: int) -> AlbertConfig:
    """An ALBERT of the given size with Google's vocabulary."""
    return AlbertConfig(
        vocab_size=30000,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
    )


def make_features(rows: int) -> dict[str, np.ndarray]:
    """One batch of random rows without padding."""
    random = np.random.default_rng(0)
    return {
        "input_ids": random.integers(5, 30000, (rows, POSITIONS), dtype=np.int32),
        "input_mask": np.ones((rows, POSITIONS), np.int32),
        "segment_ids": np.zeros((rows, POSITIONS), np.int32),
        "label_ids": random.integers(0, 2, rows, dtype=np.int32),
        "example_ids": np.arange(rows, dtype=np.int64),
        "example_weights": np.ones(rows, np.float32),
        "batch_rows": np.arange(rows, dtype=np.int32),
    }


def bare_steps(config: AlbertConfig, features: dict[str, np.ndarray]) -> Callable[[int], None]:
    """A function that makes n updates by calling a plain compiled step n times."""
    head = ClassificationHead(config, num_labels=2)
    model_fn = build_model_fn(config, head)
    weights = AlbertModel(config, head.variable_specs).weights
    slots = {name: [tf.Variable(tf.zeros(v.shape)) for _ in range(2)] for name, v in weights.items()}
    optimizer = create_optimizer("adamw")
    batch = {name: tf.constant(array) for name, array in features.items()}

    @tf.function
    def step(number: tf.Tensor) -> tf.Tensor:
        tensors = {name: tf.convert_to_tensor(v) for name, v in weights.items()}
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_mean(model_fn(batch, ModeKeys.TRAIN, tensors, number).per_example_loss)
        gradients = tape.gradient(loss, tensors)
        clipped, _ = clip_by_global_norm([tf.convert_to_tensor(g) for g in gradients.values()])
        optimizer.update(weights, slots, dict(zip(gradients, clipped, strict=True)), SCHEDULE(number))
        return loss

    def run(count: int) -> None:
        for number in range(count):
            step(tf.constant(number, tf.int64)).numpy()

    return run


def engine_steps(config: AlbertConfig, features: dict[str, np.ndarray], model_dir: Path) -> Callable[[int], None]:
    """A function that makes n updates through the engine's own compiled loop, input pipeline and records included."""
    head = ClassificationHead(config, num_labels=2)
    rows = len(features["example_ids"])
    estimator = Estimator(
        model_fn=build_model_fn(config, head),
        create_weights=lambda: AlbertModel(config, head.variable_specs).weights,
        optimizer=create_optimizer("adamw"),
        learning_rate=SCHEDULE,
        strategy=create_strategy("one", 1, "auto"),
        config=RunConfig(model_dir, rows),
    )
    estimator._start_or_resume()
    dataset = tf.data.Dataset.from_tensors(features).repeat().prefetch(2)
    iterator = iter(estimator._distribute(lambda: dataset))
    return lambda count: estimator._run_steps(iterator, count)


def measure(name: str, blocks: int) -> tuple[float, float, float]:
    """Median seconds per step of the bare step and of the engine, and the median of the blocks' ratios."""
    hidden, layers, heads, rows, steps = MODELS[name]
    config, features = make_config(hidden, layers, heads), make_features(rows)
    with tempfile.TemporaryDirectory() as model_dir:
        contenders = (bare_steps(config, features), engine_steps(config, features, Path(model_dir)))
        seconds: tuple[list[float], list[float]] = ([], [])
        for contender in contenders:
            contender(2)  # traces
        for block in range(blocks):
            order = (0, 1) if block % 2 == 0 else (1, 0)
            for index in order:
                begin = time.perf_counter()
                contenders[index](steps)
                seconds[index].append((time.perf_counter() - begin) / steps)
    ratios = [engine / bare for bare, engine in zip(*seconds, strict=True)]
    return statistics.median(seconds[0]), statistics.median(seconds[1]), statistics.median(ratios)


def main() -> None:
    """Measures, prints and appends to benchmarks/results/engine_overhead.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--blocks", type=int, default=12)
    arguments = parser.parse_args()
    lines = [
        "| model | rows x positions | bare step, s | engine step, s | ratio |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name in arguments.models:
        bare, engine, ratio = measure(name, arguments.blocks)
        lines.append(f"| {name} | {MODELS[name][3]} x {POSITIONS} | {bare:.4f} | {engine:.4f} | {ratio:.3f} |")
    append_result("engine_overhead", "\n".join(lines))


if __name__ == "__main__":
    main()
