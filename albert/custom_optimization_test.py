"""Expected numbers: testdata/optimizers.npz and lr_schedule.npz, recorded from google-research/albert under TF 1.15."""

import dataclasses
import inspect
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from albert import custom_optimization
from albert.custom_optimization import LearningRateSchedule
from albert.runs.assembly import optimizer_of, schedule_of
from albert.settings import ONCE_CONSTANT, PretrainingTrainSettings, TrainSettings
from albert.settings.fields import declaration_of
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


# Constants that a run may choose -------------------------------------------------------------------------------------

OTHERS = {"weight_decay_rate": 0.3, "beta_1": 0.6, "beta_2": 0.95, "epsilon": 1e-3, "max_grad_norm": 0.25}


def _reference(name, variables, gradients, rates, decay, beta_1, beta_2, epsilon, max_norm):
    """The formulas of both papers without bias correction, in float64: variables, m and v after all steps."""
    values = {key: value.numpy().astype(np.float64) for key, value in variables.items()}
    m, v = ({key: np.zeros_like(value) for key, value in values.items()} for _ in range(2))
    for t, rate in enumerate(rates):
        norm = math.sqrt(sum(np.square(g[t].astype(np.float64)).sum() for g in gradients.values()))
        clip = min(1.0, max_norm / norm) if max_norm else 1.0
        for key, of_steps in gradients.items():
            gradient = of_steps[t].astype(np.float64) * clip
            m[key] = beta_1 * m[key] + (1 - beta_1) * gradient
            v[key] = beta_2 * v[key] + (1 - beta_2) * gradient**2
            step = m[key] / (np.sqrt(v[key]) + epsilon)
            if not any(word in key for word in ("LayerNorm", "layer_norm", "bias")):
                step = step + decay * values[key]
                if name == "lamb":
                    norms = np.linalg.norm(values[key]), np.linalg.norm(step)
                    step = step * (norms[0] / norms[1] if all(norms) else 1)
            values[key] = values[key] - rate * step
    return values, m, v


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "others"),
    [("adamw", OTHERS), ("lamb", OTHERS), ("lamb", {"weight_decay_rate": 0.0, "beta_1": 0.0, "max_grad_norm": 0.0})],
)
def test_ten_updates_with_other_constants_equal_the_formulas(name, others):
    optimizer = custom_optimization.create_optimizer(name, **others)
    gradients, rates = below(RECORDED, "gradients"), np.linspace(0.01, 0.001, 10)
    variables, slots = _start()
    constants = (optimizer.weight_decay_rate, optimizer.beta_1, optimizer.beta_2, optimizer.epsilon)
    expected, *moments = _reference(name, variables, gradients, rates, *constants, optimizer.max_grad_norm)
    usual, _, _ = _reference(name, variables, gradients, rates, 0.01, 0.9, 0.999, 1e-6, 1.0)
    for step, rate in enumerate(rates):
        gradient = {key: tf.constant(values[step]) for key, values in gradients.items()}
        scale = optimizer.clip(tf.linalg.global_norm(list(gradient.values())))
        optimizer.update(variables, slots, gradient, tf.constant(rate, tf.float32), scale)
    for key, value in expected.items():
        np.testing.assert_allclose(variables[key], value, rtol=1e-5, atol=1e-6, err_msg=key)
        assert key.startswith("zero_") or np.abs(usual[key] - value).max() > 1e-4, f"{key}: no difference"
        for slot, moment in zip(slots[key], moments, strict=True):
            np.testing.assert_allclose(slot, moment[key], rtol=1e-5, atol=1e-7, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("max_grad_norm", [0.0, 0.5])
def test_a_step_that_is_left_out_changes_nothing_with_or_without_a_clip(max_grad_norm):
    optimizer = custom_optimization.create_optimizer("adamw", max_grad_norm=max_grad_norm)
    variables, slots = {"w": tf.Variable([1.0, 2.0])}, {"w": [tf.Variable([0.5, 0.5]) for _ in range(2)]}
    gradient = tf.constant([math.nan, math.inf])
    scale = optimizer.clip(tf.linalg.global_norm([gradient]))
    optimizer.update(variables, slots, {"w": gradient}, tf.constant(0.1), scale, is_applied=False)
    assert variables["w"].numpy().tolist() == [1.0, 2.0]
    assert [slot.numpy().tolist() for slot in slots["w"]] == [[0.5, 0.5]] * 2


def test_gradients_are_clipped_to_the_norm_that_is_asked_for_and_never_with_0():
    clip = custom_optimization.create_optimizer("lamb", max_grad_norm=2.0).clip
    assert [float(clip(tf.constant(norm))) for norm in (0.0, 1.5, 8.0)] == [1.0, 1.0, 0.25]
    without = custom_optimization.create_optimizer("adamw", max_grad_norm=0.0).clip
    assert [float(without(tf.constant(norm))) for norm in (0.0, 1.5, 8e30, math.inf)] == [1.0] * 4


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        # 4 of 8 steps of warm-up: 0.4 t / 4, then from step 4 on half a wave of four steps.
        ({"kind": "cosine", "num_warmup_steps": 4}, [0, 0.1, 0.2, 0.3, 0.4, 0.34142136, 0.2, 0.05857864, 0, 0]),
        # (1 + cos(pi t / 8)) / 2 of 0.4
        (
            {"kind": "cosine"},
            [0.4, 0.38477591, 0.34142136, 0.27653669, 0.2, 0.12346331, 0.05857864, 0.01522409, 0, 0],
        ),
        # The warm-up lasts from step 2 to step 4. Before it the rate is negative, as the original's.
        (
            {"kind": "cosine", "num_warmup_steps": 2, "start_warmup_step": 2},
            [-0.4, -0.2, 0, 0.2, 0.4, 0.34142136, 0.2, 0.05857864, 0, 0],
        ),
        # Without a warm-up it begins nowhere.
        (
            {"kind": "cosine", "start_warmup_step": 2},
            [0.4, 0.38477591, 0.34142136, 0.27653669, 0.2, 0.12346331, 0.05857864, 0.01522409, 0, 0],
        ),
        ({"kind": "cosine", "num_warmup_steps": 8}, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.4]),
        ({"kind": "constant", "num_warmup_steps": 4}, [0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]),
        ({"kind": "constant"}, [0.4] * 10),
        # The original's: 0.4 (1 - t / 8) from step 4 on, so that it steps down from 0.3 to 0.2.
        ({"kind": "linear", "num_warmup_steps": 4}, [0, 0.1, 0.2, 0.3, 0.2, 0.15, 0.1, 0.05, 0, 0]),
    ],
)
def test_the_rates_of_each_kind_of_schedule(others, expected):
    schedule = LearningRateSchedule(0.4, num_train_steps=8, **others)
    found = [schedule(tf.constant(step, tf.int64)) for step in range(10)]
    assert all(rate.dtype == tf.float32 and rate.shape == () for rate in found)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=3e-8)


def test_an_unknown_schedule_names_the_known_ones():
    with pytest.raises(ValueError, match="`lr_scheduler_type`=step is unknown; known are linear, cosine, constant"):
        LearningRateSchedule(0.4, 8, kind="step")


def test_settings_become_the_constants_and_at_their_defaults_are_alberts():
    # Written out in the settings, which must not import TensorFlow.
    assert optimizer_of(TrainSettings()) == custom_optimization.AdamWeightDecayOptimizer()
    assert optimizer_of(PretrainingTrainSettings(optimizer="lamb")) == custom_optimization.LAMBOptimizer()
    fields = {field.name: field for field in dataclasses.fields(TrainSettings)}
    assert {name: fields[name].default for name in ONCE_CONSTANT} == ONCE_CONSTANT
    assert declaration_of(fields["lr_scheduler_type"]).choices == custom_optimization.SCHEDULES
    assert inspect.signature(LearningRateSchedule).parameters["kind"].default == ONCE_CONSTANT["lr_scheduler_type"]
    others = {"weight_decay": 0.3, "adam_beta1": 0.6, "adam_beta2": 0.95, "adam_epsilon": 1e-3, "max_grad_norm": 0.25}
    train = TrainSettings(10, 2, 0.1, lr_scheduler_type="cosine", **others)
    assert schedule_of(train) == LearningRateSchedule(0.1, 10, 2, kind="cosine")
    power = PretrainingTrainSettings(10, 2, 0.1, poly_power=2.0, start_warmup_step=3)
    assert schedule_of(power) == LearningRateSchedule(0.1, 10, 2, poly_power=2.0, start_warmup_step=3)
    found = optimizer_of(train)
    assert {name: getattr(found, name) for name in OTHERS} == OTHERS


def test_an_unknown_optimizer_names_the_known_ones():
    with pytest.raises(ValueError, match="`optimizer`=sgd is unknown; known are adamw, lamb"):
        custom_optimization.create_optimizer("sgd")


@pytest.mark.parametrize("name", custom_optimization.OPTIMIZERS)
def test_the_usual_clip_norm_is_one(name):
    # gradients_info.json records norms above and below it, so the engine's recorded trajectories exercise both sides.
    clip = custom_optimization.create_optimizer(name).clip
    assert clip(tf.constant(5.0)) == tf.constant(0.2)
    assert clip(tf.constant(0.5)) == 1.0
