"""The replicas that train together, the devices they are on, and the one collective of a training step.

`Replicas` answers every question about how many there are and what they can do, so that nobody else reads a strategy.
Both strategy types, `one` and `mirror`, are one process; a strategy over several processes is made in
`create_replicas`, and only what is called local in `Replicas` then differs from process to process.
"""

import contextlib
import ctypes
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops

from albert.errors import UserError

STRATEGY_TYPES = ("one", "mirror")
DEVICES = ("auto", "gpu", "cpu")


@dataclasses.dataclass(frozen=True)
class Replicas:
    """All replicas of the model. This process computes the local ones.

    Batches, steps and what identifies a run depend on `count` alone. What this process reads and computes depends on
    `local_count` and `local_ids`; in a single process they are all replicas.
    """

    strategy: tf.distribute.Strategy

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
        assert self.local_count == self.count, "replicas of other processes are not numbered yet"
        return range(self.local_count)

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
        return f"{self.count} replica{'s' if self.count > 1 else ''} on {', '.join(names)}"

    def resolve_dtype(self, dtype: str) -> str:
        """`dtype`, where "auto" is "bfloat16" on GPUs with units for it (compute capability 8.0), else "float32"."""
        if dtype != "auto":
            return dtype
        if not self.is_on_gpus:
            return "float32"
        details = map(tf.config.experimental.get_device_details, tf.config.get_visible_devices("GPU"))
        is_able = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
        return "bfloat16" if is_able else "float32"

    def iterate(self, make_dataset: Callable[[], tf.data.Dataset]) -> tf.distribute.DistributedIterator:
        """Deals consecutive elements of the data set to consecutive replicas of this process."""
        dealt = self.strategy.distribute_datasets_from_function(lambda _context: _untuned(make_dataset()))
        with _device_datasets_untuned():
            return iter(dealt)

    def local_values(self, value: object) -> tuple:
        """The components of a per-replica value or mirrored variable in this process, in the order of `local_ids`."""
        return self.strategy.experimental_local_results(value)


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """`dataset` without TensorFlow's tuning of its parallelism.

    The thread that tunes sleeps up to a minute between two looks, and nobody wakes it when its iterator is dropped:
    a program would sit still so long between its last step and its results, or its exit after a signal.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@contextlib.contextmanager
def _device_datasets_untuned() -> Iterator[None]:
    """While active, the data sets by which a strategy brings elements to devices are not tuned either.

    They are TensorFlow's own, and take no options from the data set that is dealt; no public setting reaches them.
    """
    create = multi_device_iterator_ops._create_device_dataset
    multi_device_iterator_ops._create_device_dataset = lambda *arguments: _untuned(create(*arguments))
    try:
        yield
    finally:
        multi_device_iterator_ops._create_device_dataset = create


def create_replicas(strategy_type: str, num_replicas: int, device: str = "auto") -> Replicas:
    """`num_replicas` replicas on `device`: "gpu", "cpu" (logical devices) or "auto".

    `one` always has a single replica, as in the predecessor. Raises UserError, saying what is visible, when there are
    fewer GPUs than asked for. On CPUs it splits the processor into logical devices, which TensorFlow only allows
    before its first computation.
    """
    if strategy_type not in STRATEGY_TYPES:
        raise UserError(f"`strategy_type`={strategy_type} is unknown; known are {', '.join(STRATEGY_TYPES)}")
    if num_replicas < 1:
        raise UserError(f"`num_replicas`={num_replicas} must be at least 1")
    if strategy_type == "one":
        num_replicas = 1
    return Replicas(_strategy(strategy_type, num_replicas, device))


def _strategy(strategy_type: str, num_replicas: int, device: str) -> tf.distribute.Strategy:
    names = _gpus(num_replicas) if _resolve(device, num_replicas) == "gpu" else _logical_cpus(num_replicas)
    if strategy_type == "one":
        return tf.distribute.OneDeviceStrategy(names[0])
    if names[0].startswith("/cpu"):
        # The default collectives cannot serve two different replica counts in one process, and gain nothing on a CPU.
        return tf.distribute.MirroredStrategy(names, cross_device_ops=tf.distribute.ReductionToOneDevice())
    return tf.distribute.MirroredStrategy(names)


def _resolve(device: str, num_replicas: int) -> str:
    if device not in DEVICES:
        raise UserError(f"`device`={device} is unknown; known are {', '.join(DEVICES)}")
    if device != "auto":
        return device
    if tf.config.list_physical_devices("GPU"):
        return "gpu"
    if num_replicas > 1:
        raise UserError(
            f"`num_replicas`={num_replicas}, but no GPU is visible to TensorFlow. For a trial without GPUs add "
            f"`device`=cpu: {num_replicas} replicas on logical CPU devices."
        )
    logging.warning("No GPU is visible to TensorFlow: running on the CPU.")
    return "cpu"


def _gpus(count: int) -> list[str]:
    visible = tf.config.list_physical_devices("GPU")
    if count > len(visible):
        names = ", ".join(device.name for device in visible) or "none"
        raise UserError(f"`num_replicas`={count}, but {len(visible)} visible to TensorFlow: {names}")
    # Only those that are used: TensorFlow would open a context on every other GPU too.
    tf.config.set_visible_devices(visible[:count], "GPU")
    for gpu in visible[:count]:
        tf.config.experimental.set_memory_growth(gpu, True)
    # By default TensorFlow multiplies float32 matrices with the 10-bit mantissas of TF32 on Ampere GPUs and later.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return [f"/gpu:{i}" for i in range(count)]


def _logical_cpus(count: int) -> list[str]:
    keep_freed_memory()
    # What runs outside the replicas would otherwise go to a GPU, and reserve its memory.
    tf.config.set_visible_devices([], "GPU")
    cpu = tf.config.list_physical_devices("CPU")[0]
    configured = tf.config.get_logical_device_configuration(cpu)
    if count > (len(configured) if configured else 1):
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError as error:
            raise RuntimeError(f"create the replicas before anything computes; {count} CPU devices wanted") from error
    return [f"/cpu:{i}" for i in range(count)]


def keep_freed_memory() -> None:
    """Tells glibc to keep what is freed for the next allocation; does nothing with another C library.

    By default it hands every large block back to the kernel, and a training step, which takes and frees the same
    tensors over and over, pays for clearing their pages each time.
    """
    m_mmap_max, m_trim_threshold, m_top_pad = -4, -1, -2
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, 2**31 - 1)
        mallopt(m_top_pad, 64 << 20)


def local_replica_index() -> int:
    """Which of this process's replicas is being traced, from 0; a Python number. Inside a replica."""
    replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
    number = tf.get_static_value(replica_id)
    assert number is not None, "the replica's number must be known while it is traced"
    return int(number)


def all_reduce_sum(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Sums float32 tensors over all replicas. Inside a replica; the only collective of a training step.

    They travel as one flat vector: one call for a whole gradient together with whatever rides along.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return list(tensors)
    shapes = [tensor.shape for tensor in tensors]
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(flat))
    parts = tf.split(total, [shape.num_elements() for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
