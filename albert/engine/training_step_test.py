"""How a step is computed changes nothing: packed, in micro-batches, compiled, recomputed, on several replicas."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.autograph.impl import api

from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.data.input_pipeline import BatchShape, Source, eval_dataset, train_dataset
from albert.data.schema import Column
from albert.data.tfrecord_cache import open_or_build
from albert.engine.distribution import create_replicas
from albert.engine.estimator import Estimator, RunConfig
from albert.engine.training_step import TrainingStep
from albert.heads import pooled
from albert.modeling import FLOAT32, AlbertModel, Computation
from albert.ops.fenced import FENCED
from albert.runs.model_fn import build_model_fn
from albert.testing import tiny_config

pytestmark = pytest.mark.training

ROWS, STEPS, LENGTH = 8, 4, 32
SPEC = {
    "input_ids": Column("tokens", "int32"),
    "segment_ids": Column("tokens", "int32"),
    "label_ids": Column("scalar", "int32"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """60 rows of 1 to 32 tokens."""
    random = np.random.default_rng(0)

    def record(number):
        length = int(random.integers(1, LENGTH + 1))
        ids = random.integers(5, 1000, length).tolist()
        return [{"input_ids": ids, "segment_ids": [i % 2 for i in range(length)], "label_ids": [number % 2]}]

    cache = open_or_build(
        directory=tmp_path_factory.mktemp("cache"),
        stem="rows",
        identity={},
        items=lambda: range(60),
        featurize=record,
        feature_spec=SPEC,
        num_workers=1,
    )
    return Source(cache, SPEC, LENGTH)


def _estimator(model_dir, replicas=1, computation=FLOAT32, dropout=0.1, **config):
    # Two blocks: the last one computes first tokens alone.
    albert = dataclasses.replace(tiny_config(), num_hidden_layers=2).with_dropout(dropout)
    head = pooled.ClassificationHead(albert, num_labels=2)
    return Estimator(
        model_fn=build_model_fn(albert, head, seed=3, computation=computation),
        create_weights=lambda: AlbertModel(albert, head.variable_specs, seed=1).weights,
        optimizer=create_optimizer("adamw"),
        learning_rate=LearningRateSchedule(1e-3, num_train_steps=100),
        replicas=create_replicas("mirror", replicas, "cpu"),
        config=RunConfig(model_dir, ROWS, **config),
    )


class Records(list):
    """Remembers the records of every step."""

    def on_start(self, first_step):
        pass

    def on_steps(self, records):
        self += records

    def on_evaluation(self, evaluation):
        pass


def _train(model_dir, source, is_packed=True, replicas=1, micro_batches=1, steps=STEPS, **arguments):
    """Losses and gradient norms of every step, and the final weights and slots."""
    estimator = _estimator(model_dir, replicas, micro_batches=micro_batches, **arguments)
    shape = BatchShape(ROWS // replicas // micro_batches, replicas, micro_batches)
    source = Source(source.cache, SPEC, LENGTH, is_packed=is_packed)
    records = Records()
    estimator.train(lambda a, b: train_dataset(source, shape, 7, a, b), steps, observers=[records])
    state = {name: np.asarray(value) for name, value in estimator._state().items()}
    return state, records


def _assert_close(found, expected, tolerance):
    """Losses and norms agree to `tolerance` of their size, slots (sums of gradients) to that of the largest entry.

    Weights are left out: Adam divides gradients that are zero but for rounding by their own size.
    """
    for quantity in ("loss", "gradient_norm"):
        values, others = ([getattr(r, quantity) for r in run[1]] for run in (found, expected))
        np.testing.assert_allclose(values, others, rtol=tolerance, err_msg=quantity)
    slots = [name for name in expected[0] if name.endswith("adam_m")]
    for name in slots:
        largest = np.abs(expected[0][name]).max()
        assert np.abs(found[0][name] - expected[0][name]).max() <= tolerance * largest + 1e-7, name
    assert len(slots) > 20


@pytest.fixture(scope="module")
def padded(source, tmp_path_factory):
    """One replica, rows padded, nothing compiled or recomputed."""
    return _train(tmp_path_factory.mktemp("padded"), source, is_packed=False)


@pytest.fixture(scope="module")
def without_dropout(source, tmp_path_factory):
    """As `padded`, without dropout."""
    return _train(tmp_path_factory.mktemp("without_dropout"), source, is_packed=False, dropout=0.0)


@pytest.fixture(autouse=True)
def _nothing_is_rewritten(monkeypatch):
    """AutoGraph would rewrite each function of a model at every start, which takes as long as all the rest."""
    rewritten = []
    convert = api._convert_actual

    def noted(entity, context):
        rewritten.append(f"{getattr(entity, '__module__', '')}.{getattr(entity, '__qualname__', entity)}")
        return convert(entity, context)

    monkeypatch.setattr(api, "_convert_actual", noted)
    yield
    assert [name for name in rewritten if name.startswith("albert.") and "_test." not in name] == []


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_packed_equals_padded_with_dropout_on_any_number_of_replicas(tmp_path, source, padded, replicas):
    packed = _train(tmp_path, source, replicas=replicas)
    _assert_close(packed, padded, 1e-5)
    assert [r.real_tokens for r in packed[1]] == [r.real_tokens for r in padded[1]]
    assert {r.computed_tokens for r in padded[1]} == {ROWS * LENGTH}
    assert sum(r.computed_tokens for r in packed[1]) < STEPS * ROWS * LENGTH


@pytest.mark.parametrize(("replicas", "micro_batches"), [(1, 2), (1, 8), (2, 2)])
def test_micro_batches_equal_one_batch(tmp_path, source, padded, without_dropout, replicas, micro_batches):
    # k x b examples against one batch of k b: gradients are sums in another order.
    _assert_close(_train(tmp_path, source, replicas=replicas, micro_batches=micro_batches), padded, 1e-5)
    parts = _train(tmp_path / "parts", source, False, replicas, micro_batches, dropout=0.0)
    _assert_close(parts, without_dropout, 4e-6)
    np.testing.assert_allclose([r.loss for r in parts[1]], [r.loss for r in without_dropout[1]], rtol=1e-6)


def test_activations_recomputed_on_two_replicas_equal_those_that_one_keeps(tmp_path, source):
    kept = _train(tmp_path / "kept", source)
    computation = Computation(recompute=True, sums_by_layer=True)
    recomputed = _train(tmp_path / "recomputed", source, replicas=2, computation=computation)
    _assert_close(recomputed, kept, 1e-6)


def test_compiled_replicas_equal_each_other_and_the_plain_graph(tmp_path, source):
    # Two steps of one shape without dropout, since every replica compiles on its own, for ten seconds.
    plain = _train(tmp_path / "plain", source, False, steps=2, dropout=0.0)
    for replicas in (1, 2):
        folder = tmp_path / str(replicas)
        fenced = Computation(element_wise=FENCED)
        compiled = _train(folder, source, False, replicas, steps=2, dropout=0.0, use_xla=True, computation=fenced)
        _assert_close(compiled, plain, 1e-5)


def test_compiled_with_everything_at_once(tmp_path, source):
    computation = Computation(recompute=True, element_wise=FENCED, sums_by_layer=True)
    everything = _train(tmp_path, source, micro_batches=2, steps=2, use_xla=True, computation=computation)
    _assert_close(everything, _train(tmp_path / "plain", source, False, steps=2), 1e-5)


def test_bfloat16_stays_near_float32(tmp_path, source, padded):
    found = _train(tmp_path, source, computation=Computation(tf.bfloat16))
    # bfloat16 keeps 8 bits: 0.4 % a rounding.
    np.testing.assert_allclose([r.loss for r in found[1]], [r.loss for r in padded[1]], rtol=0.02)
    np.testing.assert_allclose(found[1][0].gradient_norm, padded[1][0].gradient_norm, rtol=0.05)
    assert all(value.dtype == np.float32 for name, value in found[0].items() if name != "global_step")
    assert [r.loss for r in found[1]] != [r.loss for r in padded[1]]


@pytest.mark.parametrize(("replicas", "use_xla"), [(2, False), (1, True)])
def test_packed_predictions_equal_padded_ones(tmp_path, source, replicas, use_xla):
    estimator = _estimator(tmp_path, replicas, use_xla=use_xla)
    shape = BatchShape(8 // replicas, replicas)
    results = [
        estimator.predict(lambda p=is_packed: eval_dataset(Source(source.cache, SPEC, LENGTH, is_packed=p), shape))
        for is_packed in (True, False)
    ]
    assert results[0]["logits"].shape == (60, 2)
    np.testing.assert_allclose(results[0]["logits"], results[1]["logits"], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(results[0]["predictions"], results[1]["predictions"])


def test_each_row_count_is_compiled_once(tmp_path, source):
    estimator = _estimator(tmp_path)
    shape = BatchShape(ROWS, 1)
    shapes = {tuple(shard["input_ids"].shape) for shard in train_dataset(source, shape, 7, 0, 40)}
    estimator.train(lambda a, b: train_dataset(source, shape, 7, a, b), 40)
    assert 1 < len(shapes) <= 6
    # One graph for all of them: rows are a dynamic dimension, and XLA compiles each size that it meets.
    assert estimator._training_step.gradient_function._function.experimental_get_tracing_count() == 1


def test_a_profile_of_some_steps_is_written_once(tmp_path, source):
    _train(tmp_path, source, profile_steps=(1, 3))
    assert len(list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))) == 1


def test_a_profile_beyond_the_last_step_is_ended_there(tmp_path, source):
    _train(tmp_path, source, steps=2, profile_steps=(1, 30))
    assert len(list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))) == 1


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_a_step_compiles_as_a_whole_for_a_tpu_and_its_clip_with_the_update_for_a_gpu(source, optimizer):
    albert = dataclasses.replace(tiny_config(), num_hidden_layers=1).with_dropout(0.1)
    head = pooled.ClassificationHead(albert, num_labels=2)
    rows = Source(source.cache, SPEC, LENGTH, is_packed=False)
    batch = next(iter(train_dataset(rows, BatchShape(ROWS, 1), 7, 0, 1)))

    def trained(is_whole=False, **ways):
        rule = create_optimizer(optimizer)
        weights = AlbertModel(albert, head.variable_specs, seed=1).weights
        slots = {name: [tf.Variable(tf.zeros(v.shape)) for _ in rule.slot_names] for name, v in weights.items()}
        step = TrainingStep(build_model_fn(albert, head, seed=3), rule, LearningRateSchedule(1e-3, 100), **ways)
        compiled = tf.function(
            lambda number: step(weights, slots, batch, number), jit_compile=is_whole or None, autograph=False
        )
        figures = [compiled(tf.constant(number, tf.int64)) for number in range(2)]
        return [*figures, *weights.values(), *(slot for both in slots.values() for slot in both)]

    for usual, *others in zip(trained(), trained(is_whole=True), trained(compiles_clip=True), strict=True):
        for other in others:
            np.testing.assert_allclose(np.asarray(other), np.asarray(usual), atol=1e-6, rtol=1e-6)
