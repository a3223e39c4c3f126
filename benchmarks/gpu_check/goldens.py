"""The numbers of Google's code (albert/testdata) on this device: forward pass, gradients, 20 training steps."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.engine.distribution import Replicas
from albert.engine.estimator import Estimator, ModeKeys, RunConfig
from albert.engine.estimator_spec import Features, ModelFn
from albert.engine.training_step import TrainingStep
from albert.heads.pooled import ClassificationHead
from albert.heads.span import SpanHeadV2
from albert.modeling import AlbertModel, Computation, TokenLayout, encode
from albert.ops.fenced import FENCED
from albert.ops.fused import FUSED
from albert.runs.model_fn import build_model_fn
from albert.weights.loading import load_weights
from benchmarks.gpu_check.agreement import apart
from benchmarks.gpu_check.batches import replicas_of
from benchmarks.gpu_check.findings import Findings, Request

MODELS, HEADS = ("tiny", "tiny_groups"), ("classification3", "squad_v2")
TESTDATA = Path(__file__).parents[2] / "albert" / "testdata"
# The largest difference in float32, as in the tests. In bfloat16 the norm of the difference by the norm, twice what a
# CPU shows: these models have larger weights than trained ones.
BOUNDS = {"float32": 1e-5, "bfloat16": 6e-2}
FINAL_BOUND = 5e-5
STEPS, ROWS = 20, 8
SCHEDULE = LearningRateSchedule(1e-3, num_train_steps=STEPS, num_warmup_steps=5)


def compare(request: Request, findings: Findings) -> None:
    """All of them in both precisions, computed as training does on this device; in float32 also the other way."""
    replicas = replicas_of(request, 1)
    is_compiled = request.device == "gpu"
    ways = [("float32", is_compiled), ("bfloat16", is_compiled), ("float32", not is_compiled)]
    for dtype, use_xla in ways[:1] if request.is_tiny else ways:
        computation = Computation(tf.as_dtype(dtype), element_wise=FENCED if use_xla else FUSED)
        title = f"{dtype}, {'compiled' if use_xla else 'not compiled'}"
        _compare_forward(title, computation, use_xla, MODELS[: 1 if request.is_tiny else None], findings)
        _compare_gradients(title, computation, use_xla, HEADS[: 1 if request.is_tiny else None], findings)
        if not request.is_tiny:
            _compare_steps(title, computation, use_xla, replicas, findings)


def recorded(name: str, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of `testdata/<name>.npz` whose name begins with `prefix`, without it."""
    with np.load(TESTDATA / f"{name}.npz") as arrays:
        return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}


def difference(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], dtype: tf.DType) -> float:
    """As BOUNDS has it."""
    if dtype == tf.bfloat16:
        return apart(found, expected)
    return max(float(np.abs(found[name] - value).max()) for name, value in expected.items())


def _config(name: str) -> AlbertConfig:
    return AlbertConfig.from_json_file(TESTDATA / name / "albert_config.json")


def _weights(name: str, specs: Mapping[str, np.ndarray] | None = None) -> dict[str, tf.Tensor]:
    """The variables of the recorded checkpoint, and `specs` of a head."""
    reader = tf.train.load_checkpoint(str(TESTDATA / name / "model.ckpt-best"))
    names = [key for key in reader.get_variable_to_shape_map() if key.startswith("bert/")]
    return {key: tf.constant(reader.get_tensor(key)) for key in names} | {
        key: tf.constant(value) for key, value in (specs or {}).items()
    }


def _compare_forward(
    title: str, computation: Computation, use_xla: bool, models: Sequence[str], findings: Findings
) -> None:
    """Every layer of the recorded models for rows with padding."""
    inputs = {name: tf.constant(value) for name, value in recorded("forward", "inputs/pad32/").items()}
    for model in models:

        @tf.function(jit_compile=use_xla or None, autograph=False)
        def forward(weights, inputs, model=model):
            encoded = encode(_config(model), weights, TokenLayout.one_per_row(**inputs), computation=computation)
            layers = {f"layer_{number}": output for number, output in enumerate(encoded.all_layer_outputs)}
            return layers | {"pooled_output": encoded.pooled_output}

        outputs = forward(_weights(model), inputs)
        expected = recorded("forward", f"{model}/pad32/")
        found = {name: tf.cast(value, tf.float32).numpy() for name, value in outputs.items()}
        expected = {name: expected[name] for name in found}
        apart_by = difference(found, expected, computation.dtype)
        findings.check(f"forward, {model}, {title}", apart_by, BOUNDS[computation.dtype.name])


def _compare_gradients(
    title: str, computation: Computation, use_xla: bool, heads: Sequence[str], findings: Findings
) -> None:
    """Of the mean loss of a classifier and of a span head, by the engine's own function."""
    config = _config("tiny")
    for name in heads:
        head = SpanHeadV2(config) if name == "squad_v2" else ClassificationHead(config, num_labels=3)
        features = _features(recorded("heads", f"{name}/inputs/"))
        model_fn = _without_dropout(build_model_fn(config, head, computation=computation))
        step = TrainingStep(model_fn, create_optimizer("adamw"), SCHEDULE, use_xla)
        weights = _weights("tiny", recorded("heads", f"{name}/weights/"))
        (_, rows, *_), gradients = step.gradient_function(weights, features, tf.constant(0, tf.int64))
        found = {key: (value / rows).numpy() for key, value in gradients.items()}
        expected = recorded("gradients", f"{name}/tiny/")
        expected = {key: value for key, value in expected.items() if not key.startswith("_norms")}
        apart_by = difference(found, expected, computation.dtype)
        findings.check(f"gradient, {name}, {title}", apart_by, BOUNDS[computation.dtype.name])


def _compare_steps(title: str, computation: Computation, use_xla: bool, replicas: Replicas, findings: Findings) -> None:
    """The recorded run whose gradients are dense, by the engine."""
    config, run = _config("tiny"), recorded("e2e/trajectory", "upstream_adamw_onehot/")
    head = ClassificationHead(config, num_labels=2)
    batches = recorded("e2e/trajectory", "inputs/")
    losses = _Losses()
    with tempfile.TemporaryDirectory() as folder:
        estimator = Estimator(
            model_fn=_without_dropout(build_model_fn(config, head, computation=computation)),
            create_weights=lambda: AlbertModel(config, head.variable_specs).weights,
            optimizer=create_optimizer("adamw"),
            learning_rate=SCHEDULE,
            replicas=replicas,
            config=RunConfig(Path(folder), ROWS, use_xla=use_xla),
            warm_start=_start,
        )
        dataset = tf.data.Dataset.from_tensor_slices(batches).map(_features)
        estimator.train(lambda first, last: dataset.skip(first).take(last - first), STEPS, observers=[losses])
    apart_by = float(np.abs(np.array(losses.values) - run["loss"]).max())
    findings.check(f"{STEPS} steps, losses, {title}", apart_by, BOUNDS[computation.dtype.name])
    if (
        computation.dtype == tf.float32
    ):  # in bfloat16 AdamW divides rounding by its own size where a gradient is almost zero
        final = {name: np.asarray(value) for name, value in estimator.weights.items()}
        apart_by = max(float(np.abs(final[name] - run[f"final/{name}"]).max()) for name in final)
        findings.check(f"{STEPS} steps, weights, {title}", apart_by, FINAL_BOUND)


def _start(weights: Mapping[str, tf.Variable]) -> None:
    load_weights(TESTDATA / "tiny" / "model.ckpt-best", weights)
    for name, value in recorded("e2e/trajectory", "weights/").items():
        weights[name].assign(value)


def _without_dropout(model_fn: ModelFn) -> ModelFn:
    """The recorded runs had none; in evaluation mode the same function computes the same loss without it."""
    return lambda features, mode, weights, step: model_fn(features, ModeKeys.EVAL, weights, step)


def _features(columns: Mapping[str, tf.Tensor]) -> Features:
    """Padded rows under upstream's names, one sequence a row, as the engine gets them."""
    names = ("input_ids", "input_mask", "segment_ids")
    columns = {name: tf.convert_to_tensor(value) for name, value in columns.items()}
    layout = TokenLayout.one_per_row(*(columns[name] for name in names))
    count = tf.shape(columns["input_ids"])[0]
    return {
        **{name: value for name, value in columns.items() if name not in names},
        **vars(layout),
        "sequence_rows": tf.range(count),
        "example_ids": tf.range(tf.cast(count, tf.int64)),
        "example_weights": tf.ones([count]),
    }


class _Losses:
    """Remembers the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_start(self, first_step: int) -> None:
        """Nothing to do."""

    def on_steps(self, records) -> None:
        """Called by the engine."""
        self.values += [record.loss for record in records]

    def on_evaluation(self, evaluation) -> None:
        """There is none."""
