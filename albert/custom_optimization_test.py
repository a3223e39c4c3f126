"""Expected numbers: testdata/optimizers.npz and lr_schedule.npz, recorded from google-research/albert under TF 1.15."""

import json

import numpy as np
import pytest
import tensorflow as tf

from albert import custom_optimization
from albert.custom_optimization import LearningRateSchedule
from albert.testing import TESTDATA, below, golden

RECORDED = golden("optimizers")
RATES = golden("lr_schedule")
CASES = json.loads((TESTDATA / "lr_schedule_cases.json").read_text())


@pytest.mark.parametrize("case", range(len(CASES)))
def test_learning_rate_equals_the_original_at_every_step(case):
    schedule = LearningRateSchedule(**CASES[case])
    found = [schedule(tf.constant(step)) for step in RATES[f"case_{case}/steps"]]
    # 1 - t / n loses digits near the end, so the bound is one float32 unit of the peak.
    atol = CASES[case]["init_lr"] * 1.2e-7
    np.testing.assert_allclose(found, RATES[f"case_{case}/learning_rate"], rtol=1e-6, atol=atol)


# The dense runs: the `_sparse` ones clip by the norm of un-summed embedding rows, upstream's quirk and not ours; their
# updates are tested below from the clipped gradients.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_ten_clipped_updates_equal_the_original(name):
    run = below(RECORDED, f"upstream_{name}")
    gradients = below(RECORDED, "gradients")
    variables, slots = _start()
    for step in range(10):
        gradient = {key: tf.constant(values[step]) for key, values in gradients.items()}
        norm = tf.linalg.global_norm(list(gradient.values()))
        np.testing.assert_allclose(norm, run["global_norm_dense"][step], rtol=1e-6)
        rate = LearningRateSchedule(0.01, num_train_steps=12, num_warmup_steps=4)(tf.constant(step))
        optimizer = custom_optimization.create_optimizer(name)
        optimizer.update(variables, slots, gradient, rate, optimizer.clip(norm))
        _compare(run, step, variables, slots)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw_sparse", "lamb_sparse"])
def test_updates_from_the_originals_clipped_sparse_gradients_equal_the_original(name):
    run = below(RECORDED, f"upstream_{name}")
    gradients = below(run, "clipped_gradient")
    variables, slots = _start()
    optimizer = custom_optimization.create_optimizer(name.removesuffix("_sparse"))
    for step in range(10):
        clipped = {key: tf.constant(g[step]) for key, g in gradients.items()}
        optimizer.update(variables, slots, clipped, tf.constant(run["learning_rate"][step]))
        _compare(run, step, variables, slots)


def _start():
    variables = {key: tf.Variable(value) for key, value in below(RECORDED, "init").items()}
    return variables, {key: [tf.Variable(tf.zeros_like(v)) for _ in range(2)] for key, v in variables.items()}


def _compare(run, step, variables, slots):
    after = below(run, "after")
    found = dict(variables)
    for name, values in slots.items():
        found |= {f"{name}/{slot}": value for slot, value in zip(custom_optimization.SLOT_NAMES, values, strict=True)}
    assert set(found) == set(after)
    for key, value in after.items():
        np.testing.assert_allclose(found[key], value[step], atol=1e-6, rtol=1e-6, err_msg=f"{key} after step {step}")


def test_layer_norm_and_biases_do_not_decay():
    optimizer = custom_optimization.create_optimizer("adamw")
    assert optimizer.decays("bert/embeddings/word_embeddings")
    assert optimizer.decays("output_weights")
    for name in ("bert/embeddings/LayerNorm/gamma", "output_bias", "a/layer_norm/beta", "bert/pooler/dense/bias"):
        assert not optimizer.decays(name)


def test_what_is_said_of_others_flags_is_true():
    # albert/cli/other_names.py says these numbers, and must not import TensorFlow.
    adamw = custom_optimization.AdamWeightDecayOptimizer()
    assert (adamw.weight_decay_rate, adamw.beta_1, adamw.beta_2, adamw.epsilon) == (0.01, 0.9, 0.999, 1e-6)
    assert custom_optimization.CLIP_NORM == 1


def test_an_unknown_optimizer_names_the_known_ones():
    with pytest.raises(ValueError, match="`optimizer`=sgd is unknown; known are adamw, lamb"):
        custom_optimization.create_optimizer("sgd")


@pytest.mark.parametrize("name", custom_optimization.OPTIMIZERS)
def test_clip_norm_is_one(name):
    # gradients_info.json records norms above and below it, so the engine's recorded trajectories exercise both sides.
    clip = custom_optimization.create_optimizer(name).clip
    assert clip(tf.constant(5.0)) == tf.constant(0.2)
    assert clip(tf.constant(0.5)) == 1.0
