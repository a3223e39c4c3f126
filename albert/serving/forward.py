"""A model's weights on a device and its compiled forward passes: arrays of a batch in, arrays out."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.engine.devices import DEVICES, NO_GPU, keep_float32, keep_freed_memory
from albert.errors import UserError
from albert.heads.base import Features, Head
from albert.modeling import Computation, EncoderOutput, TokenLayout, Weights, encode
from albert.serving.request import MEAN, POOLED

Arrays = dict[str, np.ndarray]

PREDICTIONS = "predictions"

_LAYOUT = tuple(TokenLayout.__annotations__)


class Forward:
    """Computes predictions and embeddings; may be called from several threads.

    Args:
      config: the architecture.
      head: what predicts; None where the model only embeds.
      weights: variables by name.
      computation: the precision of activations.
      device: as `device_name` gives it.
    """

    def __init__(
        self, config: AlbertConfig, head: Head | None, weights: Weights, computation: Computation, device: str
    ):
        self._config = config
        self._head = head
        self._weights = weights
        self._computation = computation
        self._device = device
        # On a GPU the compiler fuses what lies between matrix products; on a CPU `ops.fused` has done so.
        compiled = functools.partial(tf.function, jit_compile=True if "gpu" in device else None, autograph=False)
        computed: dict[str, Callable[[Features], dict[str, tf.Tensor]]] = {POOLED: self._pooled, MEAN: self._mean}
        if head is not None:
            computed[PREDICTIONS] = self._predictions
        self._functions = {name: compiled(function) for name, function in computed.items()}
        self._of_shapes: dict[tuple[str, frozenset[tuple[str, tuple[int, ...]]]], Any] = {}

    def __call__(self, what: str, features: Mapping[str, np.ndarray]) -> Arrays:
        """PREDICTIONS, as `Head.predict` names them, or {POOLED: [n, H]} or {MEAN: [n, H]}, of one batch.

        `features` are the arrays of `TokenLayout`, and what else the head reads. Each shape is compiled once.
        """
        with tf.device(self._device):
            tensors = {name: tf.constant(values) for name, values in features.items()}
            outputs = self._compiled(what, tensors)(tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def _compiled(self, what: str, tensors: dict[str, tf.Tensor]) -> Callable[[Features], dict[str, tf.Tensor]]:
        """The function for tensors of these shapes. Two threads that ask at once get the same."""
        shapes = what, frozenset((name, tuple(tensor.shape)) for name, tensor in tensors.items())
        if shapes not in self._of_shapes:
            # Where the function itself is called, TensorFlow counts its shapes together with those of every other
            # predictor, and from five on warns of them as of a mistake.
            self._of_shapes[shapes] = self._functions[what].get_concrete_function(tensors)
        return self._of_shapes[shapes]

    @property
    def num_compiled(self) -> int:
        """How often a function was compiled: once for each shape that came."""
        return sum(function.experimental_get_tracing_count() for function in self._functions.values())

    def _encoded(self, features: Features, first_tokens_only: bool) -> tuple[Weights, EncoderOutput]:
        weights = {name: tf.convert_to_tensor(variable) for name, variable in self._weights.items()}
        layout = TokenLayout(**{name: features[name] for name in _LAYOUT})
        encoded = encode(self._config, weights, layout, None, self._computation, first_tokens_only)
        return weights, encoded

    def _predictions(self, features: Features) -> dict[str, tf.Tensor]:
        assert self._head is not None, "only a model with a head predicts"
        weights, encoded = self._encoded(features, not self._head.reads_tokens)
        return self._head.predict(weights, encoded, features=features)

    def _pooled(self, features: Features) -> dict[str, tf.Tensor]:
        _, encoded = self._encoded(features, first_tokens_only=True)
        return {POOLED: encoded.pooled_output}

    def _mean(self, features: Features) -> dict[str, tf.Tensor]:
        """Over all tokens of a sequence, [CLS] and [SEP] among them, as sentence-transformers has it."""
        _, encoded = self._encoded(features, first_tokens_only=False)
        assert encoded.sequence_output is not None, "all tokens were asked for"
        vectors = tf.cast(encoded.sequence_output, tf.float32)
        flat = tf.reshape(vectors, [-1, vectors.shape[-1]])
        numbers = tf.reshape(encoded.layout.sequence_ids, [-1]) - 1  # -1 where no token is, which counts nowhere
        sums = tf.math.unsorted_segment_sum(flat, numbers, encoded.layout.sequence_lengths.shape[0])
        return {MEAN: sums / tf.cast(tf.maximum(encoded.layout.sequence_lengths, 1), tf.float32)[:, None]}


def take_process(device: str) -> None:
    """For a program that only predicts: on the CPU it leaves GPUs alone, and it keeps the memory that it frees."""
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    keep_freed_memory()


def device_name(device: str) -> str:
    """TensorFlow's name of "auto", "gpu" or "cpu": the first GPU, or the CPU. Raises UserError where there is no GPU.

    A GPU that is hidden is not there: a run on the CPU hides all, and TensorFlow does not bring them back. A process
    that also does other things keeps its settings, but for the precision of a GPU's matrix products, and for
    how its memory is taken if it does not compute yet.
    """
    if device not in DEVICES:
        raise UserError(f"`device`={device} is unknown; known are {', '.join(DEVICES)}")
    gpus = tf.config.get_visible_devices("GPU")
    if device == "gpu" and not gpus:
        raise UserError(f"`device`=gpu, but {NO_GPU}")
    if device == "cpu" or not gpus:
        return "/cpu:0"
    with contextlib.suppress(RuntimeError):  # it computes already
        tf.config.experimental.set_memory_growth(gpus[0], True)
    keep_float32()
    return "/gpu:0"
