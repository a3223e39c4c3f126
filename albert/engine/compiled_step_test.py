"""A compiled step computes what the plain graph does, and each shape is compiled once."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.data.input_pipeline import BatchShape, Source, train_dataset
from albert.engine.training_step import TrainingStep
from albert.heads import pooled
from albert.modeling import AlbertModel, Computation
from albert.ops.fenced import FENCED
from albert.runs.model_fn import build_model_fn
from albert.testing import (
    STEP_LENGTH,
    STEP_ROWS,
    STEP_SPEC,
    assert_steps_close,
    step_estimator,
    tiny_config,
    train_steps,
)

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("nothing_is_rewritten")]


def test_compiled_replicas_equal_each_other_and_the_plain_graph(tmp_path, source):
    # Two steps of one shape without dropout, since every replica compiles on its own, for ten seconds.
    plain = train_steps(tmp_path / "plain", source, False, steps=2, dropout=0.0)
    for replicas in (1, 2):
        folder = tmp_path / str(replicas)
        fenced = Computation(element_wise=FENCED)
        compiled = train_steps(folder, source, False, replicas, steps=2, dropout=0.0, use_xla=True, computation=fenced)
        assert_steps_close(compiled, plain, 1e-5)


def test_compiled_with_everything_at_once(tmp_path, source):
    computation = Computation(recompute=True, element_wise=FENCED, sums_by_layer=True)
    everything = train_steps(tmp_path, source, micro_batches=2, steps=2, use_xla=True, computation=computation)
    assert_steps_close(everything, train_steps(tmp_path / "plain", source, False, steps=2), 1e-5)


def test_each_row_count_is_compiled_once(tmp_path, source):
    estimator = step_estimator(tmp_path)
    shape = BatchShape(STEP_ROWS, 1)
    shapes = {tuple(shard["input_ids"].shape) for shard in train_dataset(source, shape, 7, 0, 40)}
    estimator.train(lambda a, b: train_dataset(source, shape, 7, a, b), 40)
    assert 1 < len(shapes) <= 6
    # One graph for all of them: rows are a dynamic dimension, and XLA compiles each size that it meets.
    assert estimator._training_step.gradient_function._function.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_a_step_compiles_as_a_whole_for_a_tpu_and_its_clip_with_the_update_for_a_gpu(source, optimizer):
    albert = dataclasses.replace(tiny_config(), num_hidden_layers=1).with_dropout(0.1)
    head = pooled.ClassificationHead(albert, num_labels=2)
    rows = Source(source.cache, STEP_SPEC, STEP_LENGTH, is_packed=False)
    batch = next(iter(train_dataset(rows, BatchShape(STEP_ROWS, 1), 7, 0, 1)))

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
