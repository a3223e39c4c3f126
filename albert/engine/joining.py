"""How this process becomes one of several workers: it meets the others, then TensorFlow connects them.

What can be wrong must be found before TensorFlow's strategy is made: that waits for the others without end, and no
signal interrupts it.
"""

import contextlib
import dataclasses
import faulthandler
import hashlib
import logging
import os
import platform
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf

from albert.engine import devices
from albert.engine.cluster import LAUNCH, Cluster, cluster_from_environment
from albert.engine.collectives import exchange_over
from albert.engine.meeting import meet
from albert.engine.watchdog import Watchdog
from albert.engine.workers import SeveralWorkers, Workers
from albert.errors import UserError
from albert.system.callback_errors import reraise_user_errors
from albert.system.endings import LostWorker, leave_at_once_from_now_on

# TensorFlow connects workers that have just met; where it cannot, nothing but a thread without Python ends it.
_CONNECTING_SECONDS = 600.0
_LOSSES = (
    *(tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError, tf.errors.CancelledError),
    tf.errors.FailedPreconditionError,
)
# Lines of TensorFlow's messages that tell what happened, the most telling first.
_TELLING = ("unhealthy", "aborted by", "timed out", "/job:")


@dataclasses.dataclass(frozen=True)
class Joining:
    """How workers join.

    Attributes:
      facts: what must be equal on all of them, as texts by names that messages print; see `meeting.meet`.
      meeting_seconds: how long each waits for the others.
      stuck_seconds: how long nothing may go on until all end; 0: for ever.
    """

    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    meeting_seconds: float = 600.0
    stuck_seconds: float = 1800.0


def join(num_replicas: int, device: str, joining: Joining) -> tuple[tf.distribute.Strategy, Workers]:
    """The strategy over all workers, and the workers, when all are there and agree.

    Raises UserError where they do not meet, or where a fact differs.
    """
    cluster = cluster_from_environment(os.environ)
    _take_devices(num_replicas, device, cluster)
    facts = {
        "the program (digest of its code)": _digest_of_code(),
        "the version of Python": platform.python_version(),
        "the version of TensorFlow": tf.__version__,
        "the kind of device": device,
        "the number of replicas of a worker": str(num_replicas),
        **joining.facts,
    }
    meet(cluster, facts, joining.meeting_seconds)
    _mark_logs(cluster)
    # TensorFlow counts devices in its own way unless it reads the cluster from here.
    os.environ["TF_CONFIG"] = cluster.tf_config()
    leave_at_once_from_now_on()
    with _signals_kept():
        strategy = _strategy(device)
    watchdog = Watchdog(joining.stuck_seconds, cluster.name(cluster.index))

    @contextlib.contextmanager
    def waiting(phase: str, is_first: bool) -> Iterator[None]:
        watchdog.begin(phase, is_first)
        with _losses_named(cluster), reraise_user_errors():
            yield
        watchdog.begin(f"what follows {phase}", is_first)

    return strategy, SeveralWorkers(cluster, exchange_over(strategy), waiting, watchdog.start)


def _take_devices(num_replicas: int, device: str, cluster: Cluster) -> None:
    if device == "gpu":
        devices.gpus(num_replicas, cluster.place_on_host)
    elif num_replicas == 1:
        devices.logical_cpus(1)
    else:
        raise UserError(
            f"`num_replicas`={num_replicas}, but without GPUs a worker of `strategy_type`=multi_worker has one "
            "replica. Leave it out, and start more workers."
        )


def _digest_of_code() -> str:
    """Of every module of the package but its tests, which are not everywhere."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if not path.name.endswith("_test.py") and path.stem not in ("testing", "conftest"):
            digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _strategy(device: str) -> tf.distribute.Strategy:
    kinds = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=kinds.AUTO if device == "gpu" else kinds.RING
    )
    faulthandler.dump_traceback_later(_CONNECTING_SECONDS, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    finally:
        faulthandler.cancel_dump_traceback_later()
    # Every worker has the same number of batches, so that none needs to ask the others for each whether they have one.
    strategy.extended.experimental_enable_get_next_as_optional = False
    return strategy


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Signals do afterwards what they did before: TensorFlow makes SIGTERM do nothing."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _mark_logs(cluster: Cluster) -> None:
    """Lines of the log name this worker; those that are not the chief log what is wrong, and nothing else."""
    # A launcher that names its launch marks every line itself.
    prefix = "" if LAUNCH in os.environ else f"worker {cluster.index}: "

    def marked(record: logging.LogRecord) -> bool:
        if not getattr(record, "is_marked", False):
            record.msg, record.is_marked = prefix + str(record.msg), True
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(marked)
    if not cluster.is_chief:
        logging.getLogger().setLevel(logging.WARNING)


@contextlib.contextmanager
def _losses_named(cluster: Cluster) -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        lines = error.message.splitlines()
        telling = [line for mark in _TELLING for line in lines if mark in line]
        if not isinstance(error, _LOSSES) and not any("aborted by" in line for line in lines):
            raise
        what = " ".join((telling or lines or [""])[0].split())[:300]
        named = re.search(r"/job:worker/(?:replica:\d+/)?task:(\d+)", what)
        # Of two workers it can only be the other one.
        number = int(named[1]) if named else (1 - cluster.index if cluster.count == 2 else cluster.index)
        who = cluster.name(number) if number != cluster.index and number < cluster.count else "another worker"
        raise LostWorker(
            f"{cluster.name(cluster.index)}: {who} was lost ({type(error).__name__}: {what}). Start all workers again: "
            "the same command continues from the newest checkpoint."
        ) from error
