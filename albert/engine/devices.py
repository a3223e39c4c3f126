"""The devices of this process: which there are, and how TensorFlow is to use them. Before it computes anything."""

import ctypes
import logging
from collections.abc import Sequence

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.eager import context

from albert.errors import UserError
from albert.system.gpus import is_gpu_expected
from albert.system.printing import counted

DEVICES = ("auto", "gpu", "cpu")
# The end of a sentence about `device`=gpu.
NO_GPU = (
    "TensorFlow finds no GPU: use `device`=cpu, or see whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES hides it."
)
# What computes first decides for the whole process. In a notebook the process is its kernel.
_ANOTHER_PROCESS = "Restart the process, in a notebook the kernel, and begin with this run."


def resolve(device: str, num_replicas: int) -> str:
    """ "gpu" or "cpu". Raises UserError where "auto" finds no GPU for several replicas."""
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
    if is_gpu_expected():
        logging.warning("No GPU is visible to TensorFlow: running on the CPU.")
    else:
        logging.info("Running on the CPU: this machine has no NVIDIA GPU.")
    return "cpu"


def gpus(count: int, place: tuple[int, int] = (0, 1)) -> list[str]:
    """The names of `count` GPUs, which alone are used from now on. Raises UserError where there are fewer.

    They are the first ones; where this process is worker i of n on its machine, its `place`, and the machine's GPUs are
    enough for all, the i-th part: Slurm shows all of a job's GPUs to each task, unless it is told to bind them.
    """
    visible = tf.config.list_physical_devices("GPU")
    if not visible:
        raise UserError(f"`device`=gpu, but {NO_GPU}")
    if count > len(visible):
        raise UserError(
            f"`num_replicas`={count} needs as many GPUs, but TensorFlow finds {len(visible)}: lower it, or see whether "
            "nvidia-smi lists more and CUDA_VISIBLE_DEVICES hides them."
        )
    worker, workers = place
    first = worker * count if workers * count <= len(visible) else 0
    keep_order_of_sums()
    try:
        # Only those that are used: TensorFlow would open a context on every other GPU too.
        tf.config.set_visible_devices(visible[first : first + count], "GPU")
        for gpu in visible[first : first + count]:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:  # TensorFlow computes already, and takes memory in the way that it began with
        used = len(tf.config.list_logical_devices("GPU"))
        if used < count:
            raise UserError(
                f"`num_replicas`={count}, but TensorFlow computes in this process already, on {counted(used, 'GPU')}. "
                f"{_ANOTHER_PROCESS}"
            ) from error
    keep_float32()
    return [f"/gpu:{i}" for i in range(count)]


def keep_float32() -> None:
    """Makes GPUs multiply float32 matrices as such; by default those since Ampere round them to TF32's 10 bits."""
    tf.config.experimental.enable_tensor_float_32_execution(False)


def have_bfloat16(gpus: Sequence[tf.config.PhysicalDevice]) -> bool:
    """Whether all of `gpus` have units for bfloat16, as NVIDIA's from compute capability 8.0 on."""
    details = map(tf.config.experimental.get_device_details, gpus)
    return all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)


def logical_cpus(count: int) -> list[str]:
    """The names of `count` logical devices of the CPU; no GPU is used from now on."""
    keep_freed_memory()
    keep_order_of_sums()
    try:
        # What runs outside the replicas would otherwise go to a GPU, and reserve its memory.
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise UserError(
            f"`device`=cpu, but TensorFlow computes in this process already, on a GPU. {_ANOTHER_PROCESS}"
        ) from error
    cpu = tf.config.list_physical_devices("CPU")[0]
    configured = len(tf.config.get_logical_device_configuration(cpu) or [cpu])
    if count > configured:
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError as error:
            raise UserError(
                f"`num_replicas`={count}, but TensorFlow computes in this process already, with "
                f"{counted(configured, 'CPU device')}, and cannot divide the processor any more. {_ANOTHER_PROCESS}"
            ) from error
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


def keep_order_of_sums(choice: int = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT) -> int:
    """Turns off the graph optimizer that saves memory by adding tensors in the order in which they are ready.

    It rewrites a sum of many tensors, if it takes it for the peak of a graph's memory: that of ALBERT-base's gradients,
    one from each layer that shares the weight, but not those of a small model. Two runs would then differ in the last
    bits, and so would a run that was interrupted.

    Returns what was chosen before, to be put back as the `choice`.
    """
    # No public option reaches this optimizer.
    tensorflow = context.context()
    config = tensorflow._config or config_pb2.ConfigProto()
    before = config.graph_options.rewrite_options.memory_optimization
    config.graph_options.rewrite_options.memory_optimization = choice
    tensorflow._config = config
    tf.config.optimizer.set_experimental_options({})  # makes TensorFlow read its configuration again
    return before


def make_deterministic() -> None:
    """Makes TensorFlow repeat every operation with the same bits; of this process, from now on.

    Compiled code obeys it as well: TensorFlow then has the compiler leave out what adds up in any order.
    """
    tf.config.experimental.enable_op_determinism()
