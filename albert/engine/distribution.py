"""The replicas that train together, and the devices they are on.

`Replicas` answers every question about how many there are and what they can do, so that nobody else reads a strategy.
The strategy types `one` and `mirror` are one process. With `multi_worker` there are several, the workers: only what is
called local in `Replicas`, and `Replicas.workers`, then differ from process to process.
"""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from albert.engine import devices
from albert.engine.collectives import local_replica_index
from albert.engine.joining import Joining, join
from albert.engine.workers import ALONE, Workers
from albert.errors import UserError
from albert.system.printing import counted

STRATEGY_TYPES = ("one", "mirror", "multi_worker")


@dataclasses.dataclass(frozen=True)
class Replicas:
    """All replicas of the model. This process computes the local ones.

    Batches, steps and what identifies a run depend on `count` alone. What this process reads and computes depends on
    `local_count` and `local_ids`; in a single process they are all replicas.
    """

    strategy: tf.distribute.Strategy
    workers: Workers = ALONE

    @property
    def count(self) -> int:
        """Replicas over all processes."""
        return self.strategy.num_replicas_in_sync

    @property
    def local_count(self) -> int:
        """Replicas of this process: as many elements of its data set make up one step."""
        return len(self._devices)

    @property
    def local_ids(self) -> range:
        """The numbers of this process's replicas, counted over all processes from 0."""
        first = self.workers.index * self.local_count
        return range(first, first + self.local_count)

    @property
    def is_on_gpus(self) -> bool:
        """Whether the replicas are GPUs."""
        return all("GPU" in name for name in self._devices)

    @property
    def _devices(self) -> Sequence[str]:
        return self.strategy.extended.worker_devices

    def describe(self) -> str:
        """One phrase for logs: "2 replicas on CPU:0, CPU:1"."""
        names = [name.split("device:")[-1] for name in self._devices]
        where = f"{', '.join(names)}{self.workers.describe()}"
        return f"{counted(self.count, 'replica')} on {where}"

    def resolve_dtype(self, dtype: str) -> str:
        """`dtype`, where "auto" is "bfloat16" on GPUs with units for it, else "float32"."""
        if dtype != "auto":
            return dtype
        if not self.is_on_gpus:
            return "float32"
        return "bfloat16" if devices.have_bfloat16(tf.config.get_visible_devices("GPU")) else "float32"

    def iterate(self, dataset: tf.data.Dataset) -> tf.data.Iterator:
        """What `next_elements` deals, in the host's memory.

        TensorFlow hands int32 to a function through the host's memory. Brought to a GPU before, they would be copied
        back, for which the host waits until the GPU has done all that came before: it could never run ahead of it.
        """
        with tf.device("/cpu:0"):
            return iter(_untuned(dataset))

    def next_elements(self, iterator: tf.data.Iterator) -> object:
        """The next element for each replica of this process, in their order, as `Strategy.run` takes them.

        TensorFlow's own distributed data set would trace four functions for every replica each time it is iterated,
        0.1 s for two.
        """
        return self.strategy.experimental_distribute_values_from_function(lambda _context: next(iterator))

    def steps_of(self, dataset: tf.data.Dataset) -> int:
        """How often `next_elements` has an element for each replica.

        Raises RuntimeError where that is not known, or elements would be left.
        """
        elements = int(dataset.cardinality())
        if elements < 0 or elements % self.local_count:
            raise RuntimeError(f"{elements} batches for {self.local_count} replicas; a negative number is not known")
        return elements // self.local_count

    def local_values(self, value: object) -> tuple:
        """The components of a per-replica value or mirrored variable in this process, in the order of `local_ids`."""
        return self.strategy.experimental_local_results(value)

    def own_component(self, variable: tf.Variable) -> tf.Variable:
        """The component of a mirrored variable that belongs to the replica in which this is called."""
        return self.local_values(variable)[local_replica_index()]


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """`dataset` without TensorFlow's tuning of its parallelism.

    The thread that tunes sleeps up to a minute between two looks, and nobody wakes it when its iterator is dropped:
    a program would sit still so long between its last step and its results, or its exit after a signal.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def create_replicas(
    strategy_type: str, num_replicas: int, device: str = "auto", joining: Joining | None = None
) -> Replicas:
    """`num_replicas` replicas on `device`: "gpu", "cpu" (logical devices) or "auto".

    `one` always has a single replica, as in the predecessor. Each worker of `multi_worker` has `num_replicas`; they
    join as `joining` says. Raises UserError, saying what is visible, when there are fewer GPUs than asked for. On CPUs
    it splits the processor into logical devices, which TensorFlow only allows before its first computation.
    """
    if strategy_type not in STRATEGY_TYPES:
        raise UserError(f"`strategy_type`={strategy_type} is unknown; known are {', '.join(STRATEGY_TYPES)}")
    if num_replicas < 1:
        raise UserError(f"`num_replicas`={num_replicas} must be at least 1")
    if strategy_type == "one":
        num_replicas = 1
    kind = devices.resolve(device, num_replicas)
    if strategy_type == "multi_worker":
        return Replicas(*join(num_replicas, kind, joining or Joining()))
    names = devices.gpus(num_replicas) if kind == "gpu" else devices.logical_cpus(num_replicas)
    if strategy_type == "one":
        return Replicas(tf.distribute.OneDeviceStrategy(names[0]))
    # The default collectives cannot serve two different replica counts in one process, and gain nothing on a CPU.
    reduction = None if kind == "gpu" else tf.distribute.ReductionToOneDevice()
    return Replicas(tf.distribute.MirroredStrategy(names, cross_device_ops=reduction))
