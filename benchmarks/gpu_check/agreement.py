"""The same numbers in every way of computing them: compiled and not, on one device and on all, interrupted or not."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.engine.distribution import Replicas
from albert.engine.estimator import Estimator
from albert.engine.training_step import TrainingStep
from albert.modeling import AlbertModel
from albert.ops.fenced import FENCED
from albert.ops.fused import FUSED
from albert.runs.model_fn import build_model_fn
from benchmarks.gpu_check.batches import MRPC, SEED, Workshop, replicas_of
from benchmarks.gpu_check.findings import Findings, Request
from benchmarks.gpu_check.plan import BY_NAME
from benchmarks.race.common import MODELS, Job
from benchmarks.race.ours import make_computation, make_head

# Compiled in a third of ALBERT-base's time.
MODEL = "small"
LEARNING_RATE, STEPS = 1e-3, 6
REPETITIONS, TINY_REPETITIONS = 10, 2
# Norm of the difference by the norm; of trained weights, by how far they moved.
SAME_GRADIENT, SAME_TRAINING = 1e-5, 1e-3

Arrays = Mapping[str, np.ndarray]


def compare_ways(request: Request, findings: Findings) -> None:
    """A gradient compiled as a whole against one that is not, and a training on one device against one on all."""
    with Workshop(request, MRPC) as workshop:
        replicas = replicas_of(request)
        job = _job(workshop, request)
        features = next(iter(workshop.dataset(job, 0, 1)))
        compiled, plain = (gradient_function(job, use_xla)(features) for use_xla in (True, False))
        findings.check("compiled = not compiled, gradient", apart(compiled, plain), SAME_GRADIENT)
        if replicas.count > 1:
            _compare_counts(workshop, replicas, request, findings)
        else:
            findings.note("one device: its training was not compared with that of several")


def _job(workshop: Workshop, request: Request, **changes: object) -> Job:
    return workshop.job(**{"model": "tiny" if request.is_tiny else MODEL, "dropout": 0.1, **changes})


def gradient_function(job: Job, use_xla: bool) -> Callable[[Mapping[str, tf.Tensor]], Arrays]:
    """The function from a batch to the gradient of its loss by variable, with dropout and random weights."""
    config = AlbertConfig(**MODELS[job.model]).with_dropout(job.dropout)
    head = make_head(config, job)
    computation = dataclasses.replace(make_computation(config, job), element_wise=FENCED if use_xla else FUSED)
    model_fn = build_model_fn(config, head, SEED, computation)
    step = TrainingStep(model_fn, create_optimizer("adamw"), LearningRateSchedule(LEARNING_RATE, 1000), use_xla)
    variables = AlbertModel(config, head.variable_specs, SEED).weights

    def gradient(features: Mapping[str, tf.Tensor]) -> Arrays:
        weights = {name: tf.convert_to_tensor(variable) for name, variable in variables.items()}
        _, gradients = step.gradient_function(weights, features, tf.constant(0, tf.int64))
        return {name: value.numpy() for name, value in gradients.items()}

    return gradient


def _compare_counts(workshop: Workshop, replicas: Replicas, request: Request, findings: Findings) -> None:
    """Trains with the same global batches on all devices and on the first."""
    several = _job(workshop, request, replicas=replicas.count)
    alone = dataclasses.replace(several, replicas=1)
    one = Replicas(tf.distribute.OneDeviceStrategy(f"/{request.device}:0"))
    expected, start = _trained(workshop, alone, one, "one")
    found, _ = _trained(workshop, several, replicas, "all")
    name = f"{replicas.count} devices = 1, weights after {STEPS} steps"
    findings.check(name, apart(found, expected, start), SAME_TRAINING)


def compare_resumed(request: Request, findings: Findings) -> None:
    """A run that stops in the middle and continues against one that does not; one gradient, computed again and again.

    Both are to have the same bits on a CPU, and on a GPU with the setting `deterministic`. Every step takes the same
    rows, so that one shape is compiled; the step and the examples' numbers differ, and with them the dropout.
    """
    is_deterministic = BY_NAME[request.part].is_deterministic
    must_repeat = request.device == "cpu" or is_deterministic
    with Workshop(request, MRPC, copies=STEPS) as workshop:
        replicas = replicas_of(request, 1)
        job = _job(workshop, request, deterministic=is_deterministic)
        expected, start = _trained(workshop, job, replicas, "undisturbed")
        _trained(workshop, job, replicas, "stopped", STEPS // 2)
        found, _ = _trained(workshop, job, replicas, "stopped")
        way = "deterministic, " if is_deterministic else ""
        findings.check(f"{way}resumed = undisturbed, weights", apart(found, expected, start), SAME_TRAINING)
        _compare_bits(f"{way}resumed = undisturbed", [expected, found], must_repeat, findings)
        features = next(iter(workshop.dataset(job, 0, 1)))
        gradient = gradient_function(job, use_xla=request.device == "gpu")
        repeated = [gradient(features) for _ in range(TINY_REPETITIONS if request.is_tiny else REPETITIONS)]
        _compare_bits(f"{way}{len(repeated)} times one gradient", repeated, must_repeat, findings)


def _trained(workshop: Workshop, job: Job, replicas: Replicas, name: str, steps: int = STEPS) -> tuple[Arrays, Arrays]:
    """The weights after and before a training, which continues where one of this name stopped."""
    estimator = workshop.estimator(job, name, replicas, LEARNING_RATE)
    before = weights_of(estimator)
    estimator.train(lambda first, last: workshop.dataset(job, first, last), steps)
    return weights_of(estimator), before


def weights_of(estimator: Estimator) -> Arrays:
    """The weights by name."""
    return {name: np.asarray(variable) for name, variable in estimator.weights.items()}


def _compare_bits(name: str, results: Sequence[Arrays], must_repeat: bool, findings: Findings) -> None:
    """How many arrays do not have the same bits in all results."""
    first, *others = results
    differing = [key for key in first if any(not np.array_equal(first[key], other[key]) for other in others)]
    if must_repeat:
        findings.check(f"{name}, arrays with other bits", len(differing), 0)
    else:
        findings.figure(f"{name}, arrays with other bits", ", ".join(differing) or "none")


def apart(found: Arrays, expected: Arrays, start: Arrays | None = None) -> float:
    """Norm of the difference by the norm of `expected`, or of its way from `start`; over all arrays together.

    The key bias is left out: softmax does not see it, so its gradient is rounding alone, which AdamW blows up.
    """
    names = [name for name in expected if "self/key/bias" not in name]
    difference = sum(_square(found[name] - expected[name]) for name in names)
    scale = sum(_square(expected[name] - (start[name] if start else 0.0)) for name in names)
    return (difference / scale) ** 0.5


def _square(array: np.ndarray) -> float:
    return float(np.square(array, dtype=np.float64).sum())
