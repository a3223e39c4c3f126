"""How a worker joins, as far as one process can tell: what it compares, and what it says of a lost one."""

import logging
import signal

import pytest
import tensorflow as tf

from albert.engine import devices, joining
from albert.engine.cluster import Cluster
from albert.errors import UserError
from albert.system.endings import LostWorker

CLUSTER = Cluster(("a:1", "b:2", "c:3"), 0)


def _lost(error: tf.errors.OpError, cluster: Cluster = CLUSTER) -> str:
    with pytest.raises(LostWorker) as raised, joining._losses_named(cluster):
        raise error
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_lost_worker_is_named_where_tensorflow_names_it():
    message = (
        "Detected at node allgather\n  File x\nCollective ops is aborted by: Error reported from /job:worker/task:2: "
        "The following tasks are unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:2\nThe error could"
    )
    said = _lost(tf.errors.UnavailableError(None, None, message))
    assert said.startswith("worker 0 (a:1): worker 2 (c:3) was lost (UnavailableError: Collective ops is aborted by: ")
    assert said.endswith("Start all workers again: the same command continues from the newest checkpoint.")


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "Collective ops is aborted by: Socket closed\nmore"),
        tf.errors.DeadlineExceededError(None, None, "Deadline Exceeded"),
        tf.errors.InternalError(None, None, "Collective ops is aborted by: something"),
    ],
)
def test_a_lost_worker_that_nobody_names_is_another_one_and_of_two_the_other(error):
    assert "worker 0 (a:1): another worker was lost" in _lost(error)
    assert "worker 1 (b:2): worker 0 (a:1) was lost" in _lost(error, Cluster(("a:1", "b:2"), 1))


@pytest.mark.parametrize("error", [tf.errors.InvalidArgumentError(None, None, "shape"), UserError("no"), KeyError("x")])
def test_other_errors_are_what_they_are(error):
    with pytest.raises(type(error)), joining._losses_named(CLUSTER):
        raise error


def test_signals_do_what_they_did_before_even_where_tensorflow_does_not_start():
    before = signal.getsignal(signal.SIGTERM)

    def fail() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise RuntimeError("no cluster")

    with pytest.raises(RuntimeError, match="no cluster"), joining._signals_kept():
        fail()
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_digest_of_the_code_is_of_every_module_and_of_no_test(monkeypatch, tmp_path):
    package = tmp_path / "albert"
    (package / "engine").mkdir(parents=True)
    (package / "engine/joining.py").write_text("a")
    monkeypatch.setattr(joining, "__file__", str(package / "engine/joining.py"))
    first = joining._digest_of_code()
    (package / "engine/joining_test.py").write_text("b")
    (package / "testing.py").write_text("b")
    assert joining._digest_of_code() == first
    (package / "other.py").write_text("b")
    assert joining._digest_of_code() != first


def test_replicas_on_the_cpu_are_one_for_each_worker():
    with pytest.raises(UserError, match=r"`num_replicas`=2, but without GPUs a worker .* has one replica"):
        joining._take_devices(2, "cpu", CLUSTER)


@pytest.mark.parametrize(
    ("index", "launch", "expected"),
    [(0, "", ["worker 0: 50 %", "worker 0: bad"]), (1, "", ["worker 1: bad"]), (1, "7", ["bad"])],
)
def test_lines_name_the_worker_and_those_of_others_than_the_chief_are_warnings(monkeypatch, index, launch, expected):
    root, lines = logging.Logger("root", logging.INFO), []

    class Kept(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    root.addHandler(Kept())
    monkeypatch.setattr(logging, "getLogger", lambda: root)
    monkeypatch.setenv("ALBERT_LAUNCH", launch)
    if not launch:
        monkeypatch.delenv("ALBERT_LAUNCH")
    joining._mark_logs(Cluster(("a:1", "b:2"), index))
    root.info("%d %%", 50)
    root.warning("bad")
    assert lines == expected


@pytest.mark.parametrize(
    ("index", "each", "visible", "taken"),
    [
        (0, 1, "ABC", "A"),
        (2, 1, "ABC", "C"),  # the third of host a, which has three GPUs
        (1, 1, "ABC", "B"),
        (1, 1, "C", "C"),  # each sees its own
        (3, 1, "AB", "A"),  # alone on host b
        (1, 2, "ABCDEF", "CD"),
        (1, 2, "CDEF", "CD"),
    ],
)
def test_workers_of_one_machine_that_see_all_its_gpus_take_different_ones(monkeypatch, index, each, visible, taken):
    # As srun shows a job's GPUs to each of its tasks. NCCL refuses two workers on one GPU.
    found: list[str] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(visible))
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpus, kind: found.extend(gpus))
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grows: None)
    monkeypatch.setattr(devices, "keep_order_of_sums", lambda: None)
    monkeypatch.setattr(devices, "keep_float32", lambda: None)
    joining._take_devices(each, "gpu", Cluster(("a:1", "a:2", "a:3", "b:1"), index))
    assert "".join(found) == taken
