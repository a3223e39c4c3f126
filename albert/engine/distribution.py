"""Where the replicas live: the strategy made from settings, and the one collective of a training step.

Owns devices and strategies. Knows no model, task or flag values beyond the ones named in its messages. `strategy_type`
`one` and `mirror` are one process on one machine; several workers would add a row to `create_strategy` and change
`replica_index`, nothing else.
"""

import ctypes
import logging
from collections.abc import Sequence

import tensorflow as tf

from albert.errors import UserError

STRATEGY_TYPES = ("one", "mirror")
DEVICES = ("auto", "gpu", "cpu")


def create_strategy(strategy_type: str, num_replicas: int, device: str = "auto") -> tf.distribute.Strategy:
    """The strategy for `num_replicas` replicas on `device`: "gpu", "cpu" (logical devices) or "auto".

    `one` always has a single replica, as in the predecessor. Raises UserError, saying what is visible, when there are
    fewer GPUs than asked for. On CPUs it splits the processor into logical devices, which TensorFlow only allows
    before its first computation.
    """
    if strategy_type not in STRATEGY_TYPES:
        raise UserError(f"--strategy_type={strategy_type} is unknown; known are {', '.join(STRATEGY_TYPES)}")
    if num_replicas < 1:
        raise UserError(f"--num_gpu_cores={num_replicas} must be at least 1")
    if strategy_type == "one":
        num_replicas = 1
    names = _gpus(num_replicas) if _resolve(device, num_replicas) == "gpu" else _logical_cpus(num_replicas)
    if strategy_type == "one":
        return tf.distribute.OneDeviceStrategy(names[0])
    if names[0].startswith("/cpu"):
        # The default collectives cannot serve two different replica counts in one process, and gain nothing on a CPU.
        return tf.distribute.MirroredStrategy(names, cross_device_ops=tf.distribute.ReductionToOneDevice())
    return tf.distribute.MirroredStrategy(names)


def _resolve(device: str, num_replicas: int) -> str:
    if device not in DEVICES:
        raise UserError(f"--device={device} is unknown; known are {', '.join(DEVICES)}")
    if device != "auto":
        return device
    if tf.config.list_physical_devices("GPU"):
        return "gpu"
    if num_replicas > 1:
        raise UserError(
            f"--num_gpu_cores={num_replicas}, but no GPU is visible to TensorFlow. For a trial without GPUs add "
            f"--device=cpu: {num_replicas} replicas on logical CPU devices."
        )
    logging.warning("No GPU is visible to TensorFlow: running on the CPU.")
    return "cpu"


def _gpus(count: int) -> list[str]:
    visible = tf.config.list_physical_devices("GPU")
    if count > len(visible):
        names = ", ".join(device.name for device in visible) or "none"
        raise UserError(f"--num_gpu_cores={count}, but {len(visible)} visible to TensorFlow: {names}")
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
            raise RuntimeError(f"create the strategy before anything computes; {count} CPU devices wanted") from error
    return [f"/cpu:{i}" for i in range(count)]


def is_on_gpus(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas are GPUs."""
    return all("GPU" in name for name in strategy.extended.worker_devices)


def resolve_dtype(dtype: str, strategy: tf.distribute.Strategy) -> str:
    """`dtype`, where "auto" is "bfloat16" on GPUs with units for it (compute capability 8.0), else "float32"."""
    if dtype != "auto":
        return dtype
    if not is_on_gpus(strategy):
        return "float32"
    used = tf.config.get_visible_devices("GPU")
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in used]
    return "bfloat16" if all(capability >= (8, 0) for capability in capabilities) else "float32"


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


def describe(strategy: tf.distribute.Strategy) -> str:
    """One phrase for logs: "2 replicas on CPU:0, CPU:1"."""
    devices = [name.split("device:")[-1] for name in strategy.extended.worker_devices]
    count = strategy.num_replicas_in_sync
    return f"{count} replica{'s' if count > 1 else ''} on {', '.join(devices)}"


def replica_index() -> int:
    """Which local replica is being traced; a Python number. Inside a replica."""
    replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
    number = tf.get_static_value(replica_id)
    assert number is not None, "the replica's number must be known while it is traced"
    return int(number)


def local_values(strategy: tf.distribute.Strategy, value: object) -> tuple:
    """The components of a per-replica value or mirrored variable on this worker, in replica order."""
    return strategy.experimental_local_results(value)


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
