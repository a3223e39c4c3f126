"""What a pretraining step costs, against a fine-tuning step on as many tokens and the head's own products.

Both train the same ALBERT on rows of the same shape. The fine-tuning head is SQuAD's, which reads every token as
pretraining does. What pretraining adds is the head on P masked positions of each row: H x E and E x V multiplications
a position, three times (forward, and for either factor's gradient). Their cost is counted twice: from the number of
operations, at the rate at which the fine-tuning step makes its own; and from the bare products, timed. Pretraining,
fine-tuning and bare products alternate, so that what else the machine does falls on all of them.

    python3 -m benchmarks.pretraining_step
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.engine.devices import keep_freed_memory
from albert.engine.training_step import TrainingStep
from albert.heads.base import Head
from albert.heads.pretraining import PretrainingHead
from albert.heads.span import SpanHead
from albert.modeling import AlbertModel, TokenLayout
from albert.runs.model_fn import build_model_fn
from benchmarks.memory import make_config
from benchmarks.results_file import append_result

# name: hidden size, layers, heads, rows, positions a row, masked positions a row
MODELS = {"small": (256, 6, 4, 32, 128, 20), "base": (768, 12, 12, 8, 128, 20)}


def encoder_operations(config: AlbertConfig, rows: int, positions: int) -> float:
    """Multiplications and additions of one forward and backward pass: 6 per weight and token, and attention's."""
    hidden, layers = config.hidden_size, config.num_hidden_layers
    weights = layers * (4 * hidden**2 + 2 * hidden * config.intermediate_size) + config.embedding_size * hidden
    return 6.0 * rows * positions * (weights + layers * 2 * positions * hidden)


def head_operations(config: AlbertConfig, masked: int) -> float:
    """The same of the pretraining head on `masked` positions."""
    return 6.0 * masked * config.embedding_size * (config.hidden_size + config.vocab_size)


def batch(config: AlbertConfig, rows: int, positions: int, masked: int) -> dict[str, tf.Tensor]:
    """Rows without padding of random tokens, with the labels of both heads."""
    rng = np.random.default_rng(0)

    def integers(below: int, *shape: int) -> tf.Tensor:
        return tf.constant(rng.integers(0, below, shape), tf.int32)

    return {
        **vars(TokenLayout.one_per_row(integers(config.vocab_size, rows, positions))),
        "sequence_rows": tf.range(rows),
        "example_ids": tf.range(rows, dtype=tf.int64),
        "example_weights": tf.ones([rows]),
        "start_positions": integers(positions, rows),
        "end_positions": integers(positions, rows),
        "masked_lm_positions": integers(positions, rows, masked),
        "masked_lm_ids": integers(config.vocab_size, rows, masked),
        "masked_lm_weights": tf.ones([rows, masked]),
        "masked_lm_scale": tf.fill([rows], 1.0 / masked),
        "next_sentence_labels": integers(2, rows),
    }


def training(config: AlbertConfig, head: Head, features: dict[str, tf.Tensor]) -> Callable[[], object]:
    """One step at a call: forward, backward, clip, update."""
    variables = AlbertModel(config, head.variable_specs).weights
    slots = {name: [tf.Variable(tf.zeros(v.shape)) for _ in range(2)] for name, v in variables.items()}
    step = TrainingStep(build_model_fn(config, head), create_optimizer("lamb"), LearningRateSchedule(1e-4, 10**6))
    call = tf.function(lambda features, number: step(variables, slots, features, number))
    return lambda: call(features, tf.constant(0, tf.int64)).numpy()


def products(config: AlbertConfig, masked: int) -> Callable[[], object]:
    """The head's six products alone, on `masked` positions: two layers, each forward and for two gradients."""
    shapes = {"x": (masked, config.hidden_size), "w": (config.hidden_size, config.embedding_size)}
    shapes |= {"y": (masked, config.embedding_size), "t": (config.vocab_size, config.embedding_size)}
    shapes |= {"z": (masked, config.vocab_size)}
    values = {name: tf.random.stateless_normal(shape, [0, 1]) for name, shape in shapes.items()}

    @tf.function
    def call(x, w, y, t, z):
        results = [tf.matmul(x, w), tf.matmul(x, y, transpose_a=True), tf.matmul(y, w, transpose_b=True)]
        results += [tf.matmul(y, t, transpose_b=True), tf.matmul(z, t), tf.matmul(z, y, transpose_a=True)]
        return [result[0, 0] for result in results]

    return lambda: [result.numpy() for result in call(**values)]


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Of one call, the mean of `repeats`."""
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def measure(name: str, rounds: int, repeats: int) -> str:
    """One line of the table: medians over rounds, and the medians of the rounds' quotients."""
    hidden, layers, heads, rows, positions, masked = MODELS[name]
    config = make_config(hidden, layers, heads)
    features = batch(config, rows, positions, masked)
    calls = {
        "fine-tuning": training(config, SpanHead(config), features),
        "pretraining": training(config, PretrainingHead(config), features),
        "products": products(config, rows * masked),
    }
    for call in calls.values():
        seconds(call, 2)
    times = [{what: seconds(call, repeats) for what, call in calls.items()} for _ in range(rounds)]
    share = head_operations(config, rows * masked) / encoder_operations(config, rows, positions)

    def median(of: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(map(of, times))

    by_operations = median(lambda t: t["pretraining"] / (t["fine-tuning"] * (1 + share)))
    by_products = median(lambda t: t["pretraining"] / (t["fine-tuning"] + t["products"]))
    figures = [f"{median(lambda t, w=what: t[w]) * 1000:.0f}" for what in calls]
    shape = f"{rows} x {positions}, {masked} masked"
    return f"| {name} | {shape} | {' | '.join(figures)} | {share:.2f} | {by_operations:.3f} | {by_products:.3f} |"


def main() -> None:
    """Parses the command line, measures and appends to benchmarks/results/pretraining_step.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="small", help=f"comma-separated, of {', '.join(MODELS)}")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=2, help="steps of each kind in a round")
    arguments = parser.parse_args()
    keep_freed_memory()
    lines = [
        "| model | rows | fine-tuning ms | pretraining ms | products ms | head's share of operations "
        "| / (fine-tuning x operations) | / (fine-tuning + products) |",
        "|---|---|---|---|---|---|---|---|",
        *map(
            functools.partial(measure, rounds=arguments.rounds, repeats=arguments.repeats), arguments.models.split(",")
        ),
    ]
    append_result("pretraining_step", "\n".join(lines))


if __name__ == "__main__":
    main()
