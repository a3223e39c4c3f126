"""Devices and strategies. albert/conftest.py gives every test process four logical CPU devices."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.data.ops import iterator_ops
from tensorflow.python.eager import context

from albert.engine import collectives, distribution
from albert.errors import UserError


class _Gpu:
    device_type = "GPU"

    def __init__(self, number: int):
        self.name = f"/physical_device:GPU:{number}"


@pytest.fixture
def visible_gpus(monkeypatch) -> list[_Gpu]:
    """The GPUs that TensorFlow seems to see: none at first; tests append."""
    gpus: list[_Gpu] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    return gpus


def test_more_gpus_than_visible_are_refused_with_a_way_out(visible_gpus):
    with pytest.raises(
        UserError, match=r"^`device`=gpu, but TensorFlow finds no GPU: use `device`=cpu, or see whether"
    ):
        distribution.create_replicas("mirror", 1, "gpu")
    visible_gpus += [_Gpu(0), _Gpu(1)]
    message = r"^`num_replicas`=8 needs as many GPUs, but TensorFlow finds 2: lower it, or see whether nvidia-smi"
    for device in ("gpu", "auto"):
        with pytest.raises(UserError, match=message):
            distribution.create_replicas("mirror", 8, device)


def test_replicas_without_any_gpu_are_refused_with_what_to_do(visible_gpus):
    assert visible_gpus == []
    with pytest.raises(UserError, match=r"`num_replicas`=2, but no GPU is visible.*`device`=cpu"):
        distribution.create_replicas("mirror", 2, "auto")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("multi", 1, "cpu"), "`strategy_type`=multi is unknown; known are one, mirror, multi_worker"),
        (("mirror", 0, "cpu"), "`num_replicas`=0 must be at least 1"),
        (("mirror", 1, "tpu"), "`device`=tpu is unknown; known are auto, gpu, cpu"),
    ],
)
def test_unknown_values_are_refused_with_the_known_ones(arguments, message):
    with pytest.raises(UserError, match=message):
        distribution.create_replicas(*arguments)


@pytest.mark.parametrize(
    ("strategy_type", "wanted", "made", "description"),
    [
        ("mirror", 1, 1, "1 replica on CPU:0"),
        ("mirror", 3, 3, "3 replicas on CPU:0, CPU:1, CPU:2"),
        ("one", 4, 1, "1 replica on CPU:0"),
    ],
)
def test_there_are_the_replicas_asked_for(strategy_type, wanted, made, description):
    replicas = distribution.create_replicas(strategy_type, wanted, "cpu")
    assert (replicas.count, replicas.local_count, list(replicas.local_ids)) == (made, made, list(range(made)))
    assert replicas.strategy.num_replicas_in_sync == made
    assert replicas.describe() == description
    assert not replicas.is_on_gpus
    assert replicas.resolve_dtype("auto") == "float32"
    assert replicas.resolve_dtype("bfloat16") == "bfloat16"


@pytest.mark.parametrize("count", [1, 2, 4])
def test_all_reduce_sums_tensors_of_any_shape(count):
    # Replica r contributes r + 1 times each tensor, so the sum is 1, 3 or 10 times each.
    replicas = distribution.create_replicas("mirror", count, "cpu")
    tensors = [tf.constant(5.0), tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.zeros([0]), tf.constant([7.0])]

    @tf.function(autograph=False)
    def summed():
        def in_replica():
            factor = float(collectives.local_replica_index() + 1)
            return collectives.all_reduce_sum([factor * tensor for tensor in tensors])

        return [replicas.local_values(value) for value in replicas.strategy.run(in_replica)]

    factor = count * (count + 1) / 2
    for tensor, values in zip(tensors, summed(), strict=True):
        assert len(values) == count
        for value in values:
            assert value.shape == tensor.shape
            np.testing.assert_array_equal(value, factor * tensor)


@pytest.mark.parametrize("count", [1, 2])
def test_no_iterator_is_tuned_because_dropping_it_would_wait_for_the_thread_that_tunes(monkeypatch, count):
    tuned = []

    create = iterator_ops.OwnedIterator.__init__

    def created(self, dataset=None, *arguments, **names):
        tuned.append(dataset.options().autotune.enabled)
        create(self, dataset, *arguments, **names)

    monkeypatch.setattr(iterator_ops.OwnedIterator, "__init__", created)
    replicas = distribution.create_replicas("mirror", count, "cpu")
    iterator = replicas.iterate(tf.data.Dataset.range(4).prefetch(tf.data.AUTOTUNE))
    assert [int(value) for value in replicas.local_values(replicas.next_elements(iterator))] == list(range(count))
    assert tuned == [False]


def test_gradients_are_added_in_the_same_order_in_every_execution():
    # TensorFlow takes a CPU for a device of 256 MB. Beyond that, it adds what it can as soon as it is ready.
    distribution.create_replicas("one", 1, "cpu")

    @tf.function(autograph=False)
    def gradient_of_shared_weight(x, weight):
        with tf.GradientTape() as tape:
            tape.watch(weight)
            for _ in range(16):
                x = tf.tanh(tf.matmul(x, weight))
        return tape.gradient(x, weight)

    context.context().enable_graph_collection()
    gradient_of_shared_weight(tf.zeros([1, 2048]), tf.zeros([2048, 2048]))
    metadata = context.context().export_run_metadata()
    context.context().disable_graph_collection()
    operations = [node.op for graph in metadata.function_graphs for node in graph.post_optimization_graph.node]
    assert operations.count("AddN") == 1
    assert "TemporaryVariable" not in operations


@pytest.mark.parametrize(("strategy_type", "count"), [("one", 1), ("mirror", 2)])
def test_elements_stay_in_the_hosts_memory(strategy_type, count):
    replicas = distribution.create_replicas(strategy_type, count, "cpu")
    parts = replicas.local_values(replicas.next_elements(replicas.iterate(tf.data.Dataset.range(4))))
    assert [int(part) for part in parts] == list(range(count))
    # Not on CPU:1, the second replica's device: from a GPU, TensorFlow would copy numbers back for each step.
    assert {part.device.rpartition("/device:")[2] for part in parts} == {"CPU:0"}


@pytest.mark.parametrize(("count", "steps"), [(1, 4), (2, 2), (4, 1)])
def test_every_replica_has_an_element_in_each_step(count, steps):
    replicas = distribution.create_replicas("mirror", count, "cpu")
    dataset = tf.data.Dataset.range(4)
    assert replicas.steps_of(dataset) == steps
    for wrong in (dataset.take(3), dataset.repeat(), dataset.filter(lambda number: number >= 0)):
        if count > 1 or wrong.cardinality() < 0:
            with pytest.raises(RuntimeError, match=rf"batches for {count} replicas"):
                replicas.steps_of(wrong)
