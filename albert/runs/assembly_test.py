"""The parts of a run: what workers must have in common."""

import dataclasses
from pathlib import Path

import pytest
import tensorflow as tf

from albert.engine.cluster import Cluster
from albert.engine.distribution import Replicas, create_replicas
from albert.heads.pooled import ClassificationHead
from albert.ops.embedding import gather_repeatably
from albert.runs import assembly
from albert.settings import TrainSettings
from albert.system.printing import counted
from albert.testing import GOOD_SETTINGS, tiny_config


def test_workers_compare_every_setting_but_paths(monkeypatch):
    asked = []
    monkeypatch.setattr(assembly, "create_replicas", lambda *arguments: asked.append(arguments))
    settings = dataclasses.replace(GOOD_SETTINGS, strategy_type="multi_worker", meeting_seconds=5, stuck_seconds=7)
    assembly.join_replicas(settings)
    ((kind, count, device, joining),) = asked
    assert (kind, count, device) == ("multi_worker", 1, "auto")
    assert (joining.meeting_seconds, joining.stuck_seconds) == (5, 7)
    assert joining.facts["`learning_rate`"] == "1e-05"
    assert joining.facts["`pack_sequences`"] == "True"
    speed = dataclasses.replace(settings.speed, compilation_cache=Path("compiled"))
    elsewhere = dataclasses.replace(
        settings,
        speed=speed,
        output_dir=Path("other"),
        data=dataclasses.replace(settings.data, cached_dir=Path("other")),
    )
    assembly.join_replicas(elsewhere)
    assert asked[1][3].facts == joining.facts
    assert not {"`output_dir`", "`data_dir`", "`cached_dir`", "`albert_config_file`"} & joining.facts.keys()


def test_operations_are_made_deterministic_before_there_are_devices(monkeypatch):
    done = []
    monkeypatch.setattr(assembly, "create_replicas", lambda *_: done.append("devices"))
    monkeypatch.setattr(assembly, "make_deterministic", lambda: done.append("deterministic"))
    assembly.join_replicas(GOOD_SETTINGS)
    speed = dataclasses.replace(GOOD_SETTINGS.speed, deterministic=True)
    assembly.join_replicas(dataclasses.replace(GOOD_SETTINGS, speed=speed))
    assert done == ["devices", "deterministic", "devices"]


@pytest.mark.parametrize(
    ("use_xla", "cache", "said"),
    [(False, None, ""), (True, None, "`compilation_cache`"), (True, Path("kept"), "in kept.")],
)
def test_the_log_says_that_steps_wait_for_the_compiler(caplog, use_xla, cache, said):
    caplog.set_level("INFO")
    speed = dataclasses.replace(GOOD_SETTINGS.speed, use_xla=use_xla, compilation_cache=cache)
    replicas = create_replicas("mirror", 1, "cpu")
    caplog.clear()
    assembly.log_devices(dataclasses.replace(GOOD_SETTINGS, speed=speed), replicas)
    _, *more = caplog.messages
    assert [said in line and "steps wait for it" in line for line in more] == [True] * use_xla


@pytest.mark.parametrize(("is_deterministic", "gather"), [(False, tf.gather), (True, gather_repeatably)])
def test_only_deterministic_runs_add_up_embedding_gradients_by_sorting(monkeypatch, is_deterministic, gather):
    computations = []
    monkeypatch.setattr(assembly, "build_model_fn", lambda *arguments: computations.append(arguments[3]))
    monkeypatch.setattr(assembly, "Estimator", lambda **_: None)
    speed = dataclasses.replace(GOOD_SETTINGS.speed, deterministic=is_deterministic)
    settings = dataclasses.replace(GOOD_SETTINGS, speed=speed)
    config = tiny_config()
    head = ClassificationHead(config, num_labels=2)
    assembly.build_estimator(config, head, Replicas(tf.distribute.get_strategy()), settings)
    assert [computation.gather for computation in computations] == [gather]


def test_a_process_that_joins_no_other_is_warned_of_where_there_are_others(monkeypatch, caplog):
    monkeypatch.setattr(assembly, "create_replicas", lambda *_: None)
    monkeypatch.setenv("TF_CONFIG", Cluster(("a:1", "b:2"), 1).tf_config())
    assembly.join_replicas(dataclasses.replace(GOOD_SETTINGS, strategy_type="multi_worker"))
    assert not caplog.records
    assembly.join_replicas(GOOD_SETTINGS)
    assert "works alone, although its environment names 2 workers" in caplog.text


@pytest.mark.parametrize(
    ("batch", "replicas", "said"),
    [(1, 1, "1 example/replica x 1 replica ="), (4, 2, "4 examples/replica x 2 replicas =")],
)
def test_the_batch_is_counted_in_plurals_where_there_are_several(caplog, batch, replicas, said):
    with caplog.at_level("INFO"):
        assembly.log_batch(TrainSettings(per_replica_batch_size=batch, train_steps=3), 10, replicas)
    total = batch * replicas
    assert f"Batch: {said} {counted(total, 'example')}/step; 3 steps = {3 * total} examples = " in caplog.text


@pytest.mark.parametrize(
    ("steps", "examples", "said"),
    [
        (1, 1, "1 step = 1 example = 1 epoch of 1."),
        (4, 4, "4 steps = 4 examples = 1 epoch of 4."),
        (2_000, 4_000, "2,000 steps = 2,000 examples = 0.5 epochs of 4,000."),
    ],
)
def test_steps_and_epochs_are_counted_in_words(caplog, steps, examples, said):
    caplog.set_level("INFO")
    assembly.log_batch(TrainSettings(per_replica_batch_size=1, train_steps=steps), examples, 1)
    assert f" = 1 example/step; {said}" in caplog.text
