"""How a step is computed changes nothing: packed, in micro-batches, recomputed, in bfloat16, on several replicas."""

import numpy as np
import pytest
import tensorflow as tf

from albert.data.input_pipeline import BatchShape, Source, eval_dataset
from albert.modeling import Computation
from albert.testing import STEP_LENGTH, STEP_ROWS, STEP_SPEC, STEPS, assert_steps_close, step_estimator, train_steps

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("nothing_is_rewritten")]


@pytest.fixture(scope="module")
def padded(source, tmp_path_factory):
    """One replica, rows padded, nothing compiled or recomputed."""
    return train_steps(tmp_path_factory.mktemp("padded"), source, is_packed=False)


@pytest.fixture(scope="module")
def without_dropout(source, tmp_path_factory):
    """As `padded`, without dropout."""
    return train_steps(tmp_path_factory.mktemp("without_dropout"), source, is_packed=False, dropout=0.0)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_packed_equals_padded_with_dropout_on_any_number_of_replicas(tmp_path, source, padded, replicas):
    packed = train_steps(tmp_path, source, replicas=replicas)
    assert_steps_close(packed, padded, 1e-5)
    assert [r.real_tokens for r in packed[1]] == [r.real_tokens for r in padded[1]]
    assert {r.computed_tokens for r in padded[1]} == {STEP_ROWS * STEP_LENGTH}
    assert sum(r.computed_tokens for r in packed[1]) < STEPS * STEP_ROWS * STEP_LENGTH


@pytest.mark.parametrize(("replicas", "micro_batches"), [(1, 2), (1, 8), (2, 2)])
def test_micro_batches_equal_one_batch(tmp_path, source, padded, without_dropout, replicas, micro_batches):
    # k x b examples against one batch of k b: gradients are sums in another order.
    assert_steps_close(train_steps(tmp_path, source, replicas=replicas, micro_batches=micro_batches), padded, 1e-5)
    parts = train_steps(tmp_path / "parts", source, False, replicas, micro_batches, dropout=0.0)
    assert_steps_close(parts, without_dropout, 4e-6)
    np.testing.assert_allclose([r.loss for r in parts[1]], [r.loss for r in without_dropout[1]], rtol=1e-6)


def test_activations_recomputed_on_two_replicas_equal_those_that_one_keeps(tmp_path, source):
    kept = train_steps(tmp_path / "kept", source)
    computation = Computation(recompute=True, sums_by_layer=True)
    recomputed = train_steps(tmp_path / "recomputed", source, replicas=2, computation=computation)
    assert_steps_close(recomputed, kept, 1e-6)


def test_bfloat16_stays_near_float32(tmp_path, source, padded):
    found = train_steps(tmp_path, source, computation=Computation(tf.bfloat16))
    # bfloat16 keeps 8 bits: 0.4 % a rounding.
    np.testing.assert_allclose([r.loss for r in found[1]], [r.loss for r in padded[1]], rtol=0.02)
    np.testing.assert_allclose(found[1][0].gradient_norm, padded[1][0].gradient_norm, rtol=0.05)
    assert all(value.dtype == np.float32 for name, value in found[0].items() if name != "global_step")
    assert [r.loss for r in found[1]] != [r.loss for r in padded[1]]


@pytest.mark.parametrize(("replicas", "use_xla"), [(2, False), (1, True)])
def test_packed_predictions_equal_padded_ones(tmp_path, source, replicas, use_xla):
    estimator = step_estimator(tmp_path, replicas, use_xla=use_xla)
    shape = BatchShape(8 // replicas, replicas)
    results = [
        estimator.predict(
            lambda p=is_packed: eval_dataset(Source(source.cache, STEP_SPEC, STEP_LENGTH, is_packed=p), shape)
        )
        for is_packed in (True, False)
    ]
    assert results[0]["logits"].shape == (60, 2)
    np.testing.assert_allclose(results[0]["logits"], results[1]["logits"], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(results[0]["predictions"], results[1]["predictions"])


def test_a_profile_of_some_steps_is_written_once(tmp_path, source):
    train_steps(tmp_path, source, profile_steps=(1, 3))
    assert len(list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))) == 1


def test_a_profile_beyond_the_last_step_is_ended_there(tmp_path, source):
    train_steps(tmp_path, source, steps=2, profile_steps=(1, 30))
    assert len(list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))) == 1
