"""How fast: matrix products and copies, training steps of every size, the all-reduce, the input pipeline."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.engine import collectives
from albert.engine.distribution import Replicas
from albert.engine.estimator import Estimator
from albert.modeling import encoder_specs
from benchmarks.gpu_check.batches import BATCHES, SQUAD, SST2, Batch, Workshop, num_devices, replicas_of
from benchmarks.gpu_check.findings import Findings, Request
from benchmarks.race.common import MODELS, Job
from benchmarks.results_file import processor

# A timed block lasts about so long, and the median of so many counts.
_BLOCK_SECONDS, _BLOCKS = 0.5, 5
_PRODUCT_SIZE, _TINY_PRODUCT_SIZE = 8192, 256
_COPIED_FLOATS, _TINY_COPIED_FLOATS = 1 << 28, 1 << 16


class Case(NamedTuple):
    """A training step to time; `model` is a key of the race's MODELS."""

    model: str
    batch: Batch
    dtype: str = "bfloat16"
    recompute: bool = False

    @property
    def title(self) -> str:
        """For the report."""
        return f"{self.model}, {self.batch.title}, {self.dtype}{', recomputed' if self.recompute else ''}"


# By part. The narrow models leave a GPU next to nothing to do, so that a step takes what its host needs.
_CASES = {
    "base": (
        *(Case("base", batch) for batch in BATCHES),
        *(Case(model, SST2) for model in ("tiny", "thin")),
    ),
    "large": (Case("large", SQUAD), Case("large", SQUAD, recompute=True)),
    "xlarge": (Case("xlarge", SQUAD),),
    "xxlarge": (Case("xxlarge", SQUAD),),
}
_TINY_CASES = (Case("tiny", SQUAD, recompute=True),)


def median_seconds(run: Callable[[int], object], request: Request) -> float:
    """Seconds of one of `run`'s repetitions: the median of blocks. It is called once before the clock runs."""
    begin = time.perf_counter()
    run(1)
    run(1)
    count = 2 if request.is_tiny else max(1, round(2 * _BLOCK_SECONDS / (time.perf_counter() - begin)))
    blocks = []
    for _ in range(2 if request.is_tiny else _BLOCKS):
        begin = time.perf_counter()
        run(count)
        blocks.append((time.perf_counter() - begin) / count)
    return statistics.median(blocks)


# The device -----------------------------------------------------------------------------------------------------------


def measure_device(request: Request, findings: Findings) -> None:
    """Its name, and what a matrix product and a copy reach: what the steps are compared with."""
    replicas = replicas_of(request)
    build = tf.sysconfig.get_build_info()
    findings.figure("TensorFlow", tf.__version__)
    for name in ("cuda_version", "cudnn_version"):
        findings.figure(name, build.get(name, "none"))
    findings.figure("processor", processor())
    findings.figure("devices", replicas.describe())
    for gpu in tf.config.get_visible_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, details.get("compute_capability", ())))
        findings.figure(gpu.name, f"{details.get('device_name', 'unknown')}, compute capability {capability}")
    size = _TINY_PRODUCT_SIZE if request.is_tiny else _PRODUCT_SIZE
    for dtype in ("bfloat16", "float32"):
        seconds = median_seconds(_products(tf.as_dtype(dtype), size), request)
        findings.figure(f"product {dtype}", 2 * size**3 / seconds, "FLOP/s")
    floats = _TINY_COPIED_FLOATS if request.is_tiny else _COPIED_FLOATS
    seconds = median_seconds(_negations(floats), request)
    findings.figure("copy", 2 * 4 * floats / seconds, "B/s")


def _products(dtype: tf.DType, size: int) -> Callable[[int], object]:
    """n products of two matrices of this size, each of the one before, so that none can be left out."""
    matrix = tf.cast(tf.random.stateless_normal([size, size], [0, 1]) / size**0.5, dtype)

    @tf.function(autograph=False)
    def run(count: tf.Tensor) -> tf.Tensor:
        _, product = tf.while_loop(
            lambda i, _: i < count, lambda i, last: (i + 1, tf.matmul(last, matrix)), (tf.constant(0), matrix)
        )
        return product[0, 0]

    return lambda count: run(tf.constant(count)).numpy()


def _negations(floats: int) -> Callable[[int], object]:
    vector = tf.ones([floats])

    @tf.function(autograph=False)
    def run(count: tf.Tensor) -> tf.Tensor:
        _, result = tf.while_loop(lambda i, _: i < count, lambda i, last: (i + 1, -last), (tf.constant(0), vector))
        return result[0]

    return lambda count: run(tf.constant(count)).numpy()


# Training steps -------------------------------------------------------------------------------------------------------


def time_steps(request: Request, findings: Findings, part: str) -> None:
    """Times the engine's training step on one device, one batch again and again; a run meets up to six shapes of it.

    A case that does not fit the device's memory is noted, and the next is tried.
    """
    replicas = replicas_of(request, 1)
    for case in _TINY_CASES if request.is_tiny else _CASES[part]:
        with Workshop(request, case.batch) as workshop:
            job = workshop.job(model=case.model, dtype=case.dtype, recompute=case.recompute, dropout=0.1)
            try:
                step = _time_case(workshop, job, workshop.estimator(job, "model", replicas), request)
                findings.add("step", title=case.title, size=case.model, rows=case.batch.title, **step)
            except tf.errors.ResourceExhaustedError as error:
                findings.note(f"{case.title}: does not fit the memory ({error.message[:200]})")
        gc.collect()


def _time_case(workshop: Workshop, job: Job, estimator: Estimator, request: Request) -> dict[str, object]:
    batch = workshop.dataset(job, 0, 1)
    features = next(iter(batch))
    rows, length = features["input_ids"].shape
    real_tokens = int(np.count_nonzero(features["sequence_ids"]))
    iterator = estimator.replicas.iterate(batch.cache().repeat())
    _forget_peak(request)
    begin = time.perf_counter()
    estimator._run_steps(iterator, 1)
    first_step = time.perf_counter() - begin
    seconds = median_seconds(lambda count: estimator._run_steps(iterator, count), request)
    config = AlbertConfig(**MODELS[job.model])
    return {
        "dtype": job.dtype,
        "recompute": job.recompute,
        "shape": [rows, length],
        "padding": 1 - real_tokens / (rows * length),
        "first_step_seconds": first_step,
        "step_seconds": seconds,
        "examples_per_second": job.batch_size / seconds,
        "flops": flops_of_step(config, rows, length, None if job.kind == "span" else job.batch_size),
        "peak_bytes": _peak(request),
    }


def flops_of_step(config: AlbertConfig, rows: int, length: int, num_sequences: int | None) -> float:
    """Multiplications and additions of the encoder's matrix products in a training step: three times the forward pass.

    Of the last block only query, key, value and attention are computed for every token where a head reads
    `num_sequences` first tokens, and not all (None).
    """
    tokens, hidden = rows * length, config.hidden_size
    attention = 2 * tokens * 3 * hidden**2 + 4 * tokens * length * hidden
    per_token = 2 * (hidden**2 + 2 * hidden * config.intermediate_size)
    last = tokens if num_sequences is None else num_sequences
    layers = config.num_hidden_layers
    forward = layers * attention + per_token * ((layers - 1) * tokens + last)
    return 3.0 * (forward + 2 * tokens * config.embedding_size * hidden)


def _forget_peak(request: Request) -> None:
    if request.device == "gpu":
        tf.config.experimental.reset_memory_stats("GPU:0")


def _peak(request: Request) -> int | None:
    """The most memory of the first GPU that was in use; None on a CPU, where it is not counted."""
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] if request.device == "gpu" else None


# The all-reduce and the input -----------------------------------------------------------------------------------------


def time_all_reduce(request: Request, findings: Findings) -> None:
    """Sums a vector as long as the gradient of a model over all devices, as a training step does."""
    count = num_devices(request)
    if count < 2:
        findings.note("one device: there is nothing to sum over")
        return
    replicas = replicas_of(request)
    for size in ("tiny",) if request.is_tiny else ("base", "xxlarge"):
        config = AlbertConfig(**MODELS[size])
        floats = sum(int(np.prod(spec.shape)) for spec in encoder_specs(config))
        seconds = median_seconds(_sums(replicas, floats), request)
        findings.figure(f"all-reduce of {size}'s gradient ({4 * floats / 1e6:.0f} MB) on {count} devices", seconds, "s")


def _sums(replicas: Replicas, floats: int) -> Callable[[int], object]:
    def in_replica(scale: tf.Tensor) -> tf.Tensor:
        (total,) = collectives.all_reduce_sum([tf.fill([floats], scale)])
        return total[0]

    @tf.function(autograph=False)
    def run(count: tf.Tensor) -> tf.Tensor:
        def sum_again(i: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            sums = replicas.strategy.run(in_replica, args=(last / replicas.count,))
            return i + 1, replicas.local_values(sums)[0]

        return tf.while_loop(lambda i, _: i < count, sum_again, (tf.constant(0), tf.constant(1.0)))[1]

    return lambda count: run(tf.constant(count)).numpy()


def time_input(request: Request, findings: Findings) -> None:
    """Examples per second of the pipeline alone, for all devices."""
    replicas = max(1, num_devices(request))
    for batch in BATCHES:
        with Workshop(request, batch) as workshop:
            job = workshop.job(replicas)
            iterator = iter(workshop.dataset(job, 0, 1_000_000))

            def steps(count: int, iterator=iterator) -> None:
                for _ in range(count * replicas):
                    next(iterator)

            rate = job.batch_size / median_seconds(steps, request)
            findings.figure(f"input of {batch.title}, {replicas} x {job.batch_size // replicas}", rate, "examples/s")
