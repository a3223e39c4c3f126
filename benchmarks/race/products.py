"""The matrix products of ALBERT-base's layers alone, by one library. Started by benchmarks.matrix_products.

    python -m benchmarks.race.products tensorflow bfloat16 388 2057

Prints one JSON line: for each number of tokens the seconds that the products of a training step take, forward and
backward, of twelve layers, medians of several. Runs in the environment of the library, of which it imports nothing
else.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

LAYERS = 12
# Query, key and value; the attention's output; both halves of the feed-forward part: (inputs, outputs) of each.
KERNELS = ((768, 2304), (768, 768), (768, 3072), (3072, 768))
SERIES = 10  # products in a row, so that starting them does not count
ROUNDS = 7

# Runs SERIES products [m, k] x [k, n], where a factor can be stored transposed: (m, k, n, a, b) -> seconds of one.
Timer = Callable[[int, int, int, bool, bool], float]


def products(tokens: int) -> list[tuple[int, int, int, bool, bool]]:
    """Those of one layer: forward, of the inputs' gradients and of the kernels'."""
    found = []
    for inputs, outputs in KERNELS:
        found += [
            (tokens, inputs, outputs, False, False),
            (tokens, outputs, inputs, False, True),
            (inputs, tokens, outputs, True, False),
        ]
    return found


def flops(tokens: int) -> int:
    """Of the products of a step: two for each multiplication and addition."""
    return LAYERS * sum(2 * m * k * n for m, k, n, _, _ in products(tokens))


def tensorflow_timer(dtype: str) -> Timer:
    """As the engine's graph runs them on a processor: outside compiled code, by oneDNN."""
    import tensorflow as tf

    def factors(rows: int, columns: int, is_transposed: bool) -> list:
        shape = (columns, rows) if is_transposed else (rows, columns)
        return [tf.Variable(tf.cast(tf.random.normal(shape), dtype)) for _ in range(SERIES)]

    def timer(m: int, k: int, n: int, a: bool, b: bool) -> float:
        left, right = factors(m, k, a), factors(k, n, b)

        @tf.function
        def series() -> tf.Tensor:
            corners = [tf.zeros([], dtype)]
            for one, other in zip(left, right, strict=True):
                with tf.control_dependencies([corners[-1]]):  # one after the other
                    corners.append(tf.matmul(one, other, transpose_a=a, transpose_b=b)[0, 0])
            return tf.add_n(corners)  # a product that nothing uses is left out

        return _seconds(lambda: series().numpy())

    return timer


def torch_timer(dtype: str) -> Timer:
    """As an eager step calls them."""
    import torch

    def factors(rows: int, columns: int, is_transposed: bool) -> list:
        shape = (columns, rows) if is_transposed else (rows, columns)
        found = [torch.randn(shape).to(getattr(torch, dtype)) for _ in range(SERIES)]
        return [factor.t() for factor in found] if is_transposed else found

    def timer(m: int, k: int, n: int, a: bool, b: bool) -> float:
        left, right = factors(m, k, a), factors(k, n, b)

        def series() -> None:
            for one, other in zip(left, right, strict=True):
                one @ other

        return _seconds(series)

    return timer


def _seconds(series: Callable[[], object]) -> float:
    measured = []
    for _ in range(ROUNDS + 1):
        begin = time.perf_counter()
        series()
        measured.append(time.perf_counter() - begin)
    return statistics.median(measured[1:]) / SERIES


def main() -> None:
    """Prints the seconds."""
    library, dtype, *tokens = sys.argv[1:]
    timer = {"tensorflow": tensorflow_timer, "torch": torch_timer}[library](dtype)
    seconds = {count: LAYERS * sum(timer(*product) for product in products(int(count))) for count in tokens}
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
