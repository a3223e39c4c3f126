"""The engine on real models. Expected: testdata/e2e/trajectory.npz, from google-research/albert under TF 1.15."""

import dataclasses
import json
import logging
import math
import re
import signal
from types import MappingProxyType

import numpy as np
import pytest
import tensorflow as tf

from albert import custom_optimization, modeling
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.engine import checkpoint_files
from albert.engine.distribution import create_replicas
from albert.engine.estimator import Estimator, EstimatorSpec, EvalSpec, ModeKeys, RunConfig
from albert.errors import UserError
from albert.heads import pooled
from albert.runs.model_fn import build_model_fn
from albert.system.signals import AskedToStop, Interrupted
from albert.testing import TESTDATA, below, golden, tiny_config, with_layout
from albert.weights.loading import load_weights

pytestmark = pytest.mark.training

TRAJECTORY = golden("e2e/trajectory")
INPUTS = below(TRAJECTORY, "inputs")  # 20 batches of 8 rows, 32 positions
STEPS, ROWS = 20, 8
SCHEDULE = LearningRateSchedule(1e-3, num_train_steps=STEPS, num_warmup_steps=5)


def _without_dropout(model_fn):
    """The recorded runs had none; in evaluation mode the same function computes the same loss without it."""
    return lambda features, mode, weights, step: model_fn(features, ModeKeys.EVAL, weights, step)


def _start(weights):
    load_weights(TESTDATA / "tiny/model.ckpt-best", weights)
    for name, value in below(TRAJECTORY, "weights").items():
        weights[name].assign(value)


def _estimator(model_dir, replicas=1, optimizer="adamw", use_dropout=False, rate=0.0, **config):
    albert = tiny_config().with_dropout(rate)
    head = pooled.ClassificationHead(albert, num_labels=2)
    model_fn = build_model_fn(albert, head, seed=3)
    return Estimator(
        model_fn=model_fn if use_dropout else _without_dropout(model_fn),
        create_weights=lambda: modeling.AlbertModel(albert, head.variable_specs).weights,
        optimizer=create_optimizer(optimizer),
        learning_rate=SCHEDULE,
        replicas=create_replicas("mirror", replicas, "cpu"),
        config=RunConfig(model_dir, ROWS, **{"save_checkpoints_steps": 1000, **config}),
        warm_start=_start,
    )


class LightHead:
    """Class logits from the mean word embedding: a model that compiles at once, for what the engine does with any."""

    @staticmethod
    def create_weights():
        random = np.random.default_rng(5)
        shapes = {"embeddings": (tiny_config().vocab_size, 4), "output_weights": (2, 4), "output_bias": (2,)}
        return {
            name: tf.Variable(random.normal(size=shape).astype(np.float32), name=name) for name, shape in shapes.items()
        }

    @staticmethod
    def model_fn(features, mode, weights, step):
        means = tf.reduce_mean(tf.gather(weights["embeddings"], features["input_ids"]), axis=1)
        logits = tf.matmul(means, weights["output_weights"], transpose_b=True) + weights["output_bias"]
        predictions = {"logits": logits, "predictions": tf.argmax(logits, axis=-1, output_type=tf.int32)}
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(features["label_ids"], logits)
        return EstimatorSpec(mode, features["example_ids"], features["example_weights"], loss, predictions)


def _light_estimator(model_dir, replicas=1, learning_rate=SCHEDULE, constants=MappingProxyType({}), **config):
    """An estimator whose model is no ALBERT, for what is the same with any model."""
    return Estimator(
        model_fn=LightHead.model_fn,
        create_weights=LightHead.create_weights,
        optimizer=create_optimizer("adamw", **constants),
        learning_rate=learning_rate,
        replicas=create_replicas("mirror", replicas, "cpu"),
        config=RunConfig(model_dir, ROWS, **{"save_checkpoints_steps": 1000, **config}),
    )


def _shards(replicas, first=0, last=STEPS, weights=None):
    """The recorded batches as the engine wants them: elements are the shards of replica 0, 1, ... of one step."""
    features = {name: array[first:last] for name, array in INPUTS.items()}
    steps = last - first
    features["example_ids"] = np.tile(np.arange(ROWS, dtype=np.int64), (steps, 1))
    features["batch_rows"] = features["example_ids"].astype(np.int32)
    features["example_weights"] = np.ones((steps, ROWS), np.float32) if weights is None else weights[first:last]
    split = {k: v.reshape(steps * replicas, ROWS // replicas, *v.shape[2:]) for k, v in features.items()}
    return tf.data.Dataset.from_tensor_slices(split).map(with_layout)


def _train(estimator, replicas=1, last=STEPS, **arguments):
    """Final variables and slots by name, and the records of every step."""
    log = Log()
    estimator.train(lambda a, b: _shards(replicas, a, b), last, observers=[log], **arguments)
    return {name: np.asarray(value) for name, value in estimator._state().items()}, log.records


class Log:
    """Remembers what an observer is called with."""

    def __init__(self):
        self.records, self.evaluations, self.first_step = [], [], None

    def on_start(self, first_step):
        self.first_step = first_step

    def on_steps(self, records):
        self.records += records

    def on_evaluation(self, evaluation):
        self.evaluations.append(evaluation)


def _assert_same_training(found, expected):
    """Variables agree to 1e-6 of their largest entry, slots (sums of gradients, not of weights) to 1e-5.

    The key bias is the exception: softmax does not see what is added to all scores of a query, so its gradient is zero
    but for rounding, and dividing noise by its own root mean square moves it by up to the rate each step (1e-3).
    """
    assert set(found) == set(expected)
    for name, value in expected.items():
        difference = np.abs(found[name] - value).max()
        if "self/key/bias" in name:
            assert difference < 2e-5, name
        else:
            relative = 1e-5 if name.endswith(custom_optimization.SLOT_NAMES) else 1e-6
            assert difference <= relative * np.abs(value).max(), name


def test_20_adamw_steps_equal_the_original(tmp_path):
    # Run `upstream_adamw_onehot`: its gradients are dense, so it clips by the norm of the summed gradient, as we do.
    run = below(TRAJECTORY, "upstream_adamw_onehot")
    final, records = _train(_estimator(tmp_path))
    np.testing.assert_allclose([r.loss for r in records], run["loss"], atol=1e-5, rtol=0)
    np.testing.assert_allclose([r.learning_rate for r in records], run["learning_rate"], rtol=1e-6)
    np.testing.assert_allclose([r.gradient_norm for r in records], run["global_norm"], rtol=1e-4)
    for name, value in below(run, "final").items():
        if name in final:
            np.testing.assert_allclose(final[name], value, atol=5e-5, rtol=0, err_msg=name)
    assert set(below(run, "final")) >= set(modeling.AlbertModel(tiny_config()).weights)


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_20_steps_with_the_originals_own_clip_norm_equal_the_original(optimizer):
    # Runs `upstream_adamw` and `upstream_lamb`: they clipped by the norm of un-summed embedding rows. That norm is
    # recorded and replayed here, since there is no recorded LAMB run with dense gradients.
    run = below(TRAJECTORY, f"upstream_{optimizer}")
    config = tiny_config()
    head = pooled.ClassificationHead(config, num_labels=2)
    weights = modeling.AlbertModel(config, head.variable_specs).weights
    _start(weights)
    slots = {name: [tf.Variable(tf.zeros(v.shape)) for _ in range(2)] for name, v in weights.items()}
    update = create_optimizer(optimizer).update

    @tf.function(autograph=False)
    def train_step(features, norm, rate):
        tensors = {name: tf.convert_to_tensor(v) for name, v in weights.items()}
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            inputs = (features[name] for name in ("input_ids", "input_mask", "segment_ids"))
            encoded = modeling.encode(config, tensors, modeling.TokenLayout.one_per_row(*inputs))
            loss = tf.reduce_mean(head.per_example_loss(head.predict(tensors, encoded), features))
        gradients = tape.gradient(loss, tensors)
        update(weights, slots, {k: tf.convert_to_tensor(g) / tf.maximum(norm, 1.0) for k, g in gradients.items()}, rate)
        return loss

    losses = []
    for step in range(STEPS):
        features = {name: tf.constant(array[step]) for name, array in INPUTS.items()}
        losses.append(train_step(features, run["global_norm"][step], SCHEDULE(tf.constant(step))))
    np.testing.assert_allclose(losses, run["loss"], atol=1e-5, rtol=0)
    for name, value in below(run, "final").items():
        if name in weights:
            np.testing.assert_allclose(weights[name], value, atol=5e-5, rtol=0, err_msg=name)


@pytest.mark.parametrize(
    ("optimizer", "rate", "use_dropout", "counts"),
    [("adamw", 0.0, False, (2,)), ("adamw", 0.1, True, (2, 4)), ("lamb", 0.0, False, (4,))],
)
def test_any_number_of_replicas_gives_what_one_device_gives(tmp_path, optimizer, rate, use_dropout, counts):
    def train(replicas):
        estimator = _estimator(tmp_path / str(replicas), replicas, optimizer, use_dropout, rate)
        return *_train(estimator, replicas), estimator

    expected, records, _ = train(1)
    assert np.abs(expected["output_weights"] - TRAJECTORY["weights/output_weights"]).max() > 1e-3
    for replicas in counts:
        found, found_records, estimator = train(replicas)
        _assert_same_training(found, expected)
        np.testing.assert_allclose([r.loss for r in found_records], [r.loss for r in records], rtol=1e-6)
        for variable in estimator.weights.values():
            first, *others = (component.numpy() for component in estimator.replicas.local_values(variable))
            assert len(others) == replicas - 1
            for other in others:
                np.testing.assert_array_equal(other, first)


def test_two_replicas_give_what_one_device_gives_without_a_clip_too(tmp_path):
    def train(replicas, max_grad_norm):
        constants = {"max_grad_norm": max_grad_norm, "weight_decay_rate": 0.3, "beta_1": 0.7}
        schedule = dataclasses.replace(SCHEDULE, kind="cosine")
        folder = tmp_path / f"{replicas}_{max_grad_norm}"
        return _train(_light_estimator(folder, replicas, schedule, constants), replicas, last=8)

    expected, records = train(1, 0.0)
    found, _ = train(2, 0.0)
    _assert_same_training(found, expected)
    # By hand: 8 of 20 steps, 5 of them warm-up.
    rates = [*(t / 5 for t in range(5)), *((1 + math.cos(math.pi * t / 15)) / 2 for t in range(3))]
    np.testing.assert_allclose([r.learning_rate for r in records], 1e-3 * np.array(rates), rtol=1e-5)
    assert min(r.gradient_norm for r in records) > 0.1
    clipped, _ = train(1, 0.1)
    assert np.abs(clipped["output_weights/adam_m"]).max() < 0.9 * np.abs(expected["output_weights/adam_m"]).max()


def test_padding_rows_do_not_count_even_when_a_replica_has_nothing_else(tmp_path):
    # Three real rows: on four replicas one has only padding. By hand, the mean is over three rows.
    real = np.zeros((STEPS, ROWS), np.float32)
    real[:, [0, 1, 4]] = 1
    losses = []
    for replicas in (1, 4):
        log = Log()
        estimator = _light_estimator(tmp_path / str(replicas), replicas)
        estimator.train(lambda a, b, n=replicas: _shards(n, a, b, real), 3, observers=[log])
        losses.append([record.loss for record in log.records])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    everything = [r.loss for r in _train(_light_estimator(tmp_path / "all"), last=3)[1]]
    assert abs(everything[0] - losses[0][0]) > 1e-3


def test_an_interrupted_run_ends_bitwise_equal(tmp_path):
    whole, _ = _train(_estimator(tmp_path / "whole", 2, use_dropout=True, rate=0.1), 2)
    _train(_estimator(tmp_path / "cut", 2, use_dropout=True, rate=0.1), 2, last=9)
    resumed, records = _train(_estimator(tmp_path / "cut", 2, use_dropout=True, rate=0.1), 2)
    assert [record.step for record in records] == list(range(10, 21))
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_a_run_continues_on_another_number_of_replicas(tmp_path):
    whole, _ = _train(_estimator(tmp_path / "whole", 2), 2)
    _train(_estimator(tmp_path / "cut", 2), 2, last=6)
    _train(_estimator(tmp_path / "cut", 1), 1, last=13)
    resumed, records = _train(_estimator(tmp_path / "cut", 4), 4)
    assert [record.step for record in records] == list(range(14, 21))
    _assert_same_training(resumed, whole)


def test_after_a_damaged_checkpoint_a_run_ends_bitwise_equal(tmp_path):
    def train(folder, last):
        estimator = _light_estimator(tmp_path / folder, 2, save_checkpoints_steps=4)
        spec = EvalSpec(lambda: _dev(2), lambda outputs: {"score": -float(outputs["logits"].std())}, "score")
        estimator.train(lambda a, b: _shards(2, a, b), last, spec)
        return estimator

    whole = train("whole", 16)
    train("cut", 12)
    # As for the last two, and for the best among them, whichever it is.
    for step in (8, 12):
        path = tmp_path / f"cut/model.ckpt-{step}.index"
        path.write_bytes(path.read_bytes()[:-10])
    resumed = train("cut", 16)
    assert list(resumed.evaluations) == list(whole.evaluations)
    assert resumed.checkpoint_steps == whole.checkpoint_steps == [4, 8, 12, 16]
    for name in ("checkpoint", "evaluations.json", *(f"model.ckpt-{step}.index" for step in (4, 8, 12, 16, "best"))):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    for step in (16, "best"):
        expected, found = (
            checkpoint_files.load_tensors(tmp_path / name / f"model.ckpt-{step}") for name in ("whole", "cut")
        )
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_stop_between_two_evaluations_changes_neither_the_best_nor_what_is_kept(tmp_path):
    def train(folder, last, scores):
        estimator = _light_estimator(tmp_path / folder, save_checkpoints_steps=4, keep_checkpoint_max=2)
        estimator.train(lambda a, b: _shards(1, a, b), last, _scored(scores))
        return estimator

    whole = train("whole", 14, [0.1, 0.9, 0.3, 0.2])
    interrupted = _light_estimator(tmp_path / "cut", save_checkpoints_steps=4, keep_checkpoint_max=2)

    class StopAfterStep6(Log):
        def on_steps(self, records):
            if records[-1].step >= 6:
                signal.raise_signal(signal.SIGTERM)

    # One step a call, so that the signal comes between two due steps.
    interrupted.throughput.steps_for = lambda seconds: 1
    with pytest.raises(Interrupted, match="after step 6 of 14"):
        interrupted.train(lambda a, b: _shards(1, a, b), 14, _scored([0.1]), [StopAfterStep6()])
    assert interrupted.checkpoint_steps == [4, 6]
    resumed = train("cut", 14, [0.9, 0.3, 0.2])
    assert list(resumed.evaluations) == list(whole.evaluations)
    assert resumed.checkpoint_steps == whole.checkpoint_steps == [12, 14]
    best, expected = (
        checkpoint_files.load_tensors(tmp_path / folder / "model.ckpt-best") for folder in ("cut", "whole")
    )
    assert best["global_step"] == 8
    for name, value in expected.items():
        np.testing.assert_array_equal(best[name], value, err_msg=name)


def test_an_observer_that_asks_to_stop_finds_everything_saved(tmp_path):
    whole, _ = _train(_light_estimator(tmp_path / "whole", save_checkpoints_steps=4), last=8)

    class Asking(Log):
        def on_steps(self, records):
            if records[-1].step == 6:
                raise AskedToStop

        def on_evaluation(self, evaluation):
            raise AskedToStop

    for name, spec, saved in (("step", None, [4, 6]), ("evaluation", _scored([0.5]), [4])):
        asked = _light_estimator(tmp_path / name, save_checkpoints_steps=4)
        asked.throughput.steps_for = lambda seconds: 1
        with pytest.raises(AskedToStop):
            asked.train(lambda a, b: _shards(1, a, b), 8, spec, [Asking()])
        assert asked.checkpoint_steps == saved
        assert [evaluation.step for evaluation in asked.evaluations] == ([4] if spec else [])
    resumed, _ = _train(_light_estimator(tmp_path / "step", save_checkpoints_steps=4), last=8)
    for key, value in whole.items():
        np.testing.assert_array_equal(resumed[key], value, err_msg=key)


def test_a_signal_during_the_last_evaluation_is_honoured(tmp_path):
    estimator = _light_estimator(tmp_path)

    def score(_outputs):
        signal.raise_signal(signal.SIGINT)
        return {"score": 1.0}

    with pytest.raises(Interrupted, match="after step 3 of 3"):
        estimator.train(lambda a, b: _shards(1, a, b), 3, EvalSpec(lambda: _dev(1), score, "score"))
    assert estimator.evaluations.best.step == 3


def test_temporary_files_of_a_killed_writer_go_at_the_next_start(tmp_path):
    leftover = tmp_path / "model.ckpt-8.tmp-0a1b2c3d.data-00000-of-00001"
    leftover.write_bytes(b"half")
    _train(_light_estimator(tmp_path), last=1)
    assert not leftover.exists()


def test_training_twice_to_the_same_step_trains_once(tmp_path):
    first, _ = _train(_light_estimator(tmp_path), last=4)
    again, records = _train(_light_estimator(tmp_path), last=4)
    assert records == []
    assert again["global_step"] == 4
    np.testing.assert_array_equal(again["output_weights"], first["output_weights"])


def test_checkpoints_hold_slots_and_step_under_upstreams_names(tmp_path):
    # testdata/e2e/model.ckpt-20 was written by upstream's AdamW under TensorFlow 1.15.
    _train(_estimator(tmp_path))
    ours, theirs = (
        dict(tf.train.list_variables(str(prefix)))
        for prefix in (tmp_path / "model.ckpt-20", TESTDATA / "e2e/model.ckpt-20")
    )
    assert ours == theirs
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-20")


# Evaluation -----------------------------------------------------------------------------------------------------------


def _dev(replicas, count=13, per_replica=2):
    """`count` distinct rows once each, shards padded to `per_replica`."""
    steps = math.ceil(count / (replicas * per_replica))
    size = steps * replicas * per_replica
    rows = np.arange(size)
    features = {name: array.reshape(-1, *array.shape[2:])[:size].copy() for name, array in INPUTS.items()}
    features["example_ids"] = np.where(rows < count, rows, -1).astype(np.int64)
    features["example_weights"] = (rows < count).astype(np.float32)
    features["batch_rows"] = (rows % (replicas * per_replica)).astype(np.int32)
    return tf.data.Dataset.from_tensor_slices(features).batch(per_replica, drop_remainder=True).map(with_layout)


def test_predictions_are_identical_on_any_number_of_replicas(tmp_path):
    results = []
    for replicas in (1, 2, 3):
        estimator = _estimator(tmp_path, replicas)
        _start(estimator.weights)
        results.append(estimator.predict(lambda n=replicas: _dev(n)))
    assert results[0]["predictions"].shape == (13,)
    for other in results[1:]:
        for name, value in results[0].items():
            np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_evaluation_loss_is_the_mean_over_real_rows(tmp_path):
    estimator = _estimator(tmp_path, 2)
    _start(estimator.weights)
    labels = INPUTS["label_ids"].reshape(-1)[:13]
    spec = EvalSpec(lambda: _dev(2), lambda outputs: {"rows": float(len(outputs["predictions"]))}, "rows")
    metrics = estimator.evaluate(spec)
    logits = estimator.predict(lambda: _dev(2))["logits"].astype(np.float64)
    by_hand = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(13), labels])
    assert metrics["rows"] == 13
    assert metrics["eval_loss"] == pytest.approx(by_hand, abs=1e-6)


def test_a_lost_example_is_a_bug_and_stops_the_run(tmp_path):
    estimator = _light_estimator(tmp_path)
    lossy = _dev(1).map(lambda f: {**f, "example_ids": f["example_ids"] // 2})
    with pytest.raises(RuntimeError, match="each once"):
        estimator.predict(lambda: lossy)


# Which checkpoints stay, and which is best ----------------------------------------------------------------------------


def _scored(values):
    """An EvalSpec whose metric takes the given values in turn."""
    scores = iter(values)
    return EvalSpec(lambda: _dev(1), lambda _outputs: {"score": next(scores)}, "score")


def test_the_best_checkpoint_is_chosen_during_training_and_survives_retention(tmp_path):
    log = Log()
    estimator = _light_estimator(tmp_path, save_checkpoints_steps=2, keep_checkpoint_max=2)
    estimator.train(lambda a, b: _shards(1, a, b), 10, _scored([0.1, 0.7, 0.3, 0.7, 0.2]), [log])
    assert [(e.step, e.is_best) for e in log.evaluations] == [(2, True), (4, True), (6, False), (8, False), (10, False)]
    assert estimator.checkpoint_steps == [8, 10]
    assert checkpoint_files.load_tensors(tmp_path / "model.ckpt-best")["global_step"] == 4
    assert estimator.evaluations.best.step == 4


def test_the_first_evaluation_of_a_process_alone_says_that_it_begins(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    estimator = _light_estimator(tmp_path, save_checkpoints_steps=2)
    spec = dataclasses.replace(_scored([0.1, 0.7, 0.3]), num_examples=1_300)
    estimator.train(lambda a, b: _shards(1, a, b), 6, spec)
    said = [message for message in caplog.messages if message.startswith("Evaluating") or "score = 0.1000" in message]
    assert said[0] == "Evaluating step 2 on 1,300 examples."
    assert len(said) == 2
    assert len([message for message in caplog.messages if "compiled" in message]) == 1
    alone = _light_estimator(tmp_path)
    alone.evaluate(dataclasses.replace(_scored([0.1]), num_examples=1))
    assert caplog.messages[-1].endswith("on 1 example; the first time takes longer: it is compiled.")


def test_a_metric_that_is_not_a_number_never_beats_one_but_leaves_a_best(tmp_path):
    estimator = _light_estimator(tmp_path, save_checkpoints_steps=2)
    estimator.train(lambda a, b: _shards(1, a, b), 6, _scored([math.nan, 0.2, math.nan]))
    assert estimator.evaluations.best.step == 4
    only_nan = _light_estimator(tmp_path / "nan")
    only_nan.train(lambda a, b: _shards(1, a, b), 2, _scored([math.nan]))
    assert checkpoint_files.exists(tmp_path / "nan/model.ckpt-best")


def test_a_checkpoint_saved_but_not_yet_evaluated_is_evaluated_after_a_restart(tmp_path):
    _train(_light_estimator(tmp_path), last=4)
    estimator = _light_estimator(tmp_path, save_checkpoints_steps=4)
    estimator.train(lambda a, b: _shards(1, a, b), 8, _scored([0.9, 0.1]))
    assert [(e.step, e.is_best) for e in estimator.evaluations] == [(4, True), (8, False)]


def test_training_that_resumes_with_evaluation_evaluates_what_was_missed_the_oldest_first(tmp_path):
    whole, _ = _train(_light_estimator(tmp_path / "whole", save_checkpoints_steps=2), last=8)
    _train(_light_estimator(tmp_path / "cut", save_checkpoints_steps=2, keep_checkpoint_max=2), last=6)
    estimator = _light_estimator(tmp_path / "cut", save_checkpoints_steps=2, keep_checkpoint_max=2)
    log = Log()
    estimator.train(lambda a, b: _shards(1, a, b), 8, _scored([0.9, 0.9, 0.1]), [log])
    assert [(e.step, e.is_best) for e in log.evaluations] == [(4, True), (6, False), (8, False)]
    for name, value in whole.items():
        np.testing.assert_array_equal(estimator._state()[name], value, err_msg=name)


@pytest.mark.parametrize("trains", [True, False])
def test_a_best_model_whose_score_is_lost_is_evaluated_again_before_another_takes_its_place(tmp_path, trains):
    def estimator():
        return _light_estimator(tmp_path, save_checkpoints_steps=2, keep_checkpoint_max=2)

    estimator().train(lambda a, b: _shards(1, a, b), 8, _scored([0.9, 0.1, 0.2, 0.3]))
    expected = checkpoint_files.load_tensors(tmp_path / "model.ckpt-best")
    (tmp_path / "evaluations.json").unlink()
    again = estimator()
    scores = _scored([0.9, 0.2, 0.3])
    again.train(lambda a, b: _shards(1, a, b), 8, scores) if trains else again.evaluate_checkpoints(scores)
    assert [(e.step, e.is_best) for e in again.evaluations] == [(2, True), (6, False), (8, False)]
    found = checkpoint_files.load_tensors(tmp_path / "model.ckpt-best")
    assert found["global_step"] == expected["global_step"] == 2
    np.testing.assert_array_equal(found["output_weights"], expected["output_weights"])


def test_training_resumes_and_evaluates_from_the_best_checkpoint_alone(tmp_path):
    _light_estimator(tmp_path).train(lambda a, b: _shards(1, a, b), 4, _scored([0.5]))
    for path in (*tmp_path.glob("model.ckpt-4.*"), tmp_path / "evaluations.json"):
        path.unlink()
    estimator = _light_estimator(tmp_path, save_checkpoints_steps=4)
    estimator.train(lambda a, b: _shards(1, a, b), 6, _scored([0.5, 0.4]))
    assert [(e.step, e.is_best) for e in estimator.evaluations] == [(4, True), (6, False)]


def test_evaluating_leaves_out_what_is_damaged(tmp_path):
    _train(_light_estimator(tmp_path, save_checkpoints_steps=2), last=6)
    for step in (4, 6):
        (tmp_path / f"model.ckpt-{step}.index").write_bytes(b"")
    estimator = _light_estimator(tmp_path)
    estimator.evaluate_checkpoints(_scored([0.5]))
    assert [e.step for e in estimator.evaluations] == [2]
    assert estimator.restore_best()
    assert estimator.global_step == 2


def test_evaluating_only_damaged_checkpoints_names_them(tmp_path):
    _train(_light_estimator(tmp_path, save_checkpoints_steps=2), last=4)
    for step in (2, 4):
        (tmp_path / f"model.ckpt-{step}.index").write_bytes(b"")
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged: model\.ckpt-2, model\.ckpt-4"):
        _light_estimator(tmp_path).evaluate_checkpoints(_scored([]))


def test_evaluating_without_training_judges_every_kept_checkpoint(tmp_path):
    _train(_light_estimator(tmp_path, save_checkpoints_steps=2), last=6)
    estimator = _light_estimator(tmp_path)
    estimator.evaluate_checkpoints(_scored([0.5, 0.8, 0.6]))
    assert [e.step for e in estimator.evaluations] == [2, 4, 6]
    assert checkpoint_files.load_tensors(tmp_path / "model.ckpt-best")["global_step"] == 4


def test_a_damaged_evaluation_log_is_named(tmp_path):
    (tmp_path / "evaluations.json").write_text("[{]")
    with pytest.raises(UserError, match=r"evaluations\.json is damaged"):
        _light_estimator(tmp_path)
    (tmp_path / "evaluations.json").write_text(json.dumps([{"step": 1}]))
    with pytest.raises(UserError, match=r"evaluations\.json is damaged"):
        _light_estimator(tmp_path)


@pytest.mark.parametrize("start", [0, 3])
def test_a_rate_below_zero_is_warned_of(start, tmp_path, caplog):
    # The original's, whose warm-up counts from a step that the run has not come to.
    schedule = LearningRateSchedule(0.01, 12, num_warmup_steps=4, start_warmup_step=start)
    _train(_light_estimator(tmp_path, learning_rate=schedule), last=1)
    assert ("The learning rate of step 1 is -0.0075: below 0" in caplog.text) is (start > 0)


# Faults ---------------------------------------------------------------------------------------------------------------


def _exploding(estimator, *steps, value=0.0):
    """The same estimator, whose losses in these steps, counted from 1, are divided by `value`."""
    inner = estimator._training_step._model_fn

    def model_fn(features, mode, weights, step):
        spec = inner(features, mode, weights, step)
        explodes = tf.reduce_any(tf.constant(steps, tf.int64) == step + 1)
        return dataclasses.replace(spec, per_example_loss=spec.per_example_loss / tf.where(explodes, value, 1.0))

    estimator._training_step._model_fn = model_fn
    return estimator


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(("value", "loss"), [(0.0, "inf"), (math.nan, "nan")])
def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_last_good_state(tmp_path, value, loss, replicas):
    estimator = _exploding(_light_estimator(tmp_path, replicas, save_checkpoints_steps=2), 4, value=value)
    message = rf"step 4: loss {loss}.* 0, 1, 2, 3, 4, 5, 6, 7 at learning rate 0\.0006\..*`learning_rate`"
    with pytest.raises(UserError, match=message):
        _train(estimator, replicas)
    assert estimator.checkpoint_steps == [2]
    saved = checkpoint_files.load_tensors(tmp_path / "model.ckpt-2")
    for state in (saved, estimator._state()):
        assert all(np.isfinite(value).all() for value in state.values())
    # In memory is what three steps make.
    expected, _ = _train(_light_estimator(tmp_path / "three", replicas), replicas, last=3)
    for name, variable in estimator.weights.items():
        for copy in estimator.replicas.local_values(variable):
            np.testing.assert_array_equal(copy, expected[name], err_msg=name)


def test_a_step_that_is_left_out_changes_nothing_however_many_share_a_call(tmp_path, caplog):
    states = []
    for steps_per_call in (1, 6):
        estimator = _light_estimator(
            tmp_path / str(steps_per_call), 2, save_checkpoints_steps=6, skip_nonfinite_steps=2
        )
        estimator.throughput.steps_for = lambda seconds, count=steps_per_call: count
        state, records = _train(_exploding(estimator, 2, 4), 2, last=6)
        assert [record.step for record in records] == [1, 2, 3, 4, 5, 6]
        assert [math.isfinite(record.loss) for record in records] == [True, False, True, False, True, True]
        states.append(state)
    for name, value in states[0].items():
        np.testing.assert_array_equal(states[1][name], value, err_msg=name)
    assert states[0]["global_step"] == 6
    # By hand: the four other steps, with their own batches, rates and numbers, one after the other.
    by_hand = _light_estimator(tmp_path / "by_hand", 2)
    for first, last in ((0, 1), (2, 3), (4, 6)):
        by_hand.global_step = first
        if first:
            by_hand._store.save(first, by_hand._state(), lambda _: True)
        _train(by_hand, 2, last=last)
    for name, value in by_hand.weights.items():
        np.testing.assert_array_equal(states[0][name], value, err_msg=name)
    assert "step 2: loss inf" in caplog.text
    assert "Left out, 2 of at most 2" in caplog.text
    with pytest.raises(UserError, match="step 4: loss inf"):
        _train(_exploding(_light_estimator(tmp_path / "one", 2, skip_nonfinite_steps=1), 2, 4), 2, last=6)


def test_who_asks_to_stop_does_not_hide_an_earlier_step_that_is_not_finite(tmp_path):
    class Asking(Log):
        def on_steps(self, records):
            raise AskedToStop

    estimator = _exploding(_light_estimator(tmp_path), 2)
    estimator.throughput.steps_for = lambda seconds: 4  # step 2 is in the same call
    with pytest.raises(UserError, match="step 2: loss inf"):
        estimator.train(lambda a, b: _shards(1, a, b), 8, None, [Asking()])
    assert estimator.checkpoint_steps == []


def test_a_line_has_the_time_left_from_when_the_speed_is_known(tmp_path, caplog):
    caplog.set_level("INFO")
    estimator = _light_estimator(tmp_path, log_steps=2)
    estimator.throughput.steps_for = lambda seconds: 1
    _train(estimator, last=6)
    lines = [line for line in caplog.messages if ": loss " in line]
    assert [line.split(":")[0] for line in lines] == ["step 1", "step 2", "step 4", "step 6"]
    assert ["speed not measured yet" in line for line in lines] == [True, True, False, False]
    assert [line.endswith(" left") for line in lines] == [False, False, True, False]  # after step 6 none is left


def test_lines_are_of_the_steps_that_were_asked_for_however_many_a_call_makes(tmp_path, caplog):
    caplog.set_level("INFO")
    estimator = _light_estimator(tmp_path, save_checkpoints_steps=5, log_steps=3)
    estimator.throughput.steps_for = lambda seconds: 4
    _train(estimator, last=11)
    assert re.findall(r"step (\d+): loss", caplog.text) == ["3", "6", "9"]


def test_a_checkpoint_of_another_model_is_refused_with_both_shapes(tmp_path):
    checkpoint_files.save(
        tmp_path / "model.ckpt-3", {"global_step": np.int64(3), "output_bias": np.zeros(7, np.float32)}
    )
    with pytest.raises(UserError, match="nothing under embeddings"):
        _train(_light_estimator(tmp_path))


def test_variables_that_the_loss_does_not_reach_neither_move_nor_decay(tmp_path):
    # As the pooler of the SQuAD heads.
    estimator = _estimator(tmp_path)

    def from_word_embeddings(features, mode, weights, step):
        loss = tf.reduce_sum(tf.gather(weights["bert/embeddings/word_embeddings"], features["input_ids"]), axis=[1, 2])
        return EstimatorSpec(mode, features["example_ids"], features["example_weights"], loss)

    estimator._training_step._model_fn = from_word_embeddings
    final, _ = _train(estimator, last=3)
    checkpoint = tf.train.load_checkpoint(str(TESTDATA / "tiny/model.ckpt-best"))
    name = "bert/pooler/dense/kernel"
    np.testing.assert_array_equal(final[name], checkpoint.get_tensor(name))
    assert np.abs(final["bert/embeddings/word_embeddings/adam_m"]).max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "train"}, "mode is 'train'"),
        ({"mode": ModeKeys.TRAIN}, "per_example_loss is missing; mode train"),
        ({"mode": ModeKeys.EVAL, "per_example_loss": tf.zeros(2)}, "predictions is None; mode eval"),
        ({"mode": ModeKeys.PREDICT}, "predictions is None; mode infer"),
        ({"mode": ModeKeys.TRAIN, "per_example_loss": tf.zeros([])}, r"per_example_loss has shape \(\)"),
    ],
)
def test_an_estimator_spec_is_checked_against_its_mode(arguments, message):
    with pytest.raises(ValueError, match=message):
        EstimatorSpec(example_ids=tf.range(2), example_weights=tf.ones(2), **arguments)
