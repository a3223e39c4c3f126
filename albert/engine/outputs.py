"""What a model gives for every example of a data set: computed over all replicas, in the order of the examples.

Owns the way from a data set to arrays, for evaluation and prediction alike. Weights that are finite may still be too
large to compute with, which only the outputs show.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from albert.engine.distribution import Replicas
from albert.engine.estimator_spec import Features, ModeKeys, ModelFn
from albert.engine.workers import Arrays
from albert.ops.compiled import CompiledOnce, TracedOnce
from albert.system.callback_errors import reraise_user_errors
from albert.system.printing import part_of
from albert.system.progress import progress_bar


class Outputs:
    """Computes the outputs of `model_fn` with `weights`, variables by name that are mirrored over `replicas`.

    `use_xla`: compile the forward pass of each replica as a whole.
    """

    def __init__(self, model_fn: ModelFn, weights: Mapping[str, tf.Variable], replicas: Replicas, use_xla: bool):
        self._model_fn = model_fn
        self._weights = weights
        self._replicas = replicas
        self._compiled = CompiledOnce if use_xla else TracedOnce
        modes = (ModeKeys.EVAL, ModeKeys.PREDICT)
        self._functions = {mode: tf.function(self._function_of(mode), autograph=False) for mode in modes}

    @reraise_user_errors()
    def collect(self, input_fn: Callable[[], tf.data.Dataset], mode: ModeKeys) -> Arrays:
        """The predictions of all examples [n, ...] by name, sorted by example id; to evaluate, also `per_example_loss`.

        `input_fn` yields the batches replica by replica, padding among their rows. A warning says how many rows are
        NaN. Raises RuntimeError unless the ids are exactly 0 .. n - 1: an example lost or counted twice is a bug.
        """
        workers = self._replicas.workers
        gathered = workers.gather(self._local_outputs(input_fn(), mode))
        # One output after the other, and what it was made of is dropped: of many examples each takes much memory.
        merged = {name: _joined([arrays.pop(name) for arrays in gathered]) for name in list(gathered[0])}
        real = np.flatnonzero(merged.pop("example_weights") > 0)
        ids = merged.pop("example_ids")[real]
        if not np.array_equal(np.sort(ids), np.arange(len(ids))):
            raise RuntimeError(f"{len(ids)} rows evaluated, but their ids are not 0 to {len(ids) - 1}, each once")
        order = real[np.argsort(ids)]
        return warned_of_not_numbers({name: merged.pop(name)[order] for name in list(merged)})

    def _local_outputs(self, dataset: tf.data.Dataset, mode: ModeKeys) -> Arrays:
        """The outputs of this process's rows, padding among them, with their `example_ids` and `example_weights`."""
        replicas, workers = self._replicas, self._replicas.workers
        iterator, steps = replicas.iterate(dataset), range(replicas.steps_of(dataset))
        parts: dict[str, list[np.ndarray]] = {}
        workers.start_watching()
        for _ in progress_bar(steps, mode.name.lower(), unit="batch", disable=workers.hides_bars, leave=False):
            with workers.waiting(f"a batch of {mode.name.lower()}", is_first=not parts):
                for outputs in self._functions[mode](replicas.next_elements(iterator)):
                    for name, tensor in outputs.items():
                        parts.setdefault(name, []).append(tensor.numpy())
        return {name: _joined(parts.pop(name)) for name in list(parts)}

    def _function_of(self, mode: ModeKeys) -> Callable[[Features], list[dict[str, tf.Tensor]]]:
        """The function that turns a distributed batch into one dictionary of outputs per local replica."""

        @self._compiled
        def forward(weights: Mapping[str, tf.Tensor], features: Features) -> dict[str, tf.Tensor]:
            spec = self._model_fn(features, mode, weights, tf.constant(0, tf.int64))
            assert spec.predictions is not None, f"{mode} has predictions"
            outputs = {**spec.predictions, "example_ids": spec.example_ids, "example_weights": spec.example_weights}
            if mode == ModeKeys.EVAL:
                outputs["per_example_loss"] = spec.per_example_loss
            return outputs

        def in_replica(features: Features) -> dict[str, tf.Tensor]:
            own = self._replicas.own_component
            return forward({name: tf.convert_to_tensor(own(v)) for name, v in self._weights.items()}, features)

        def outputs(features: Features) -> list[dict[str, tf.Tensor]]:
            per_replica = self._replicas.strategy.run(in_replica, args=(features,))
            local = {name: self._replicas.local_values(value) for name, value in per_replica.items()}
            return [dict(zip(local, values, strict=True)) for values in zip(*local.values(), strict=True)]

        return outputs


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def count_not_numbers(outputs: Mapping[str, np.ndarray]) -> int:
    """How many of N rows have a NaN in any output [N, ...]."""
    floats = [values for values in outputs.values() if np.issubdtype(values.dtype, np.floating)]
    found = [np.isnan(values).reshape(len(values), math.prod(values.shape[1:])).any(axis=1) for values in floats]
    return int(np.any(found, axis=0).sum())


def warned_of_not_numbers(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`outputs` [N, ...]; a warning says how many of the rows are not numbers."""
    if count := count_not_numbers(outputs):
        logging.warning(
            "the model's outputs are not numbers (NaN) for %s: its weights are too large to compute with. Lower the "
            "learning rate, or use an earlier checkpoint.",
            part_of(count, len(next(iter(outputs.values()))), "row"),
        )
    return outputs
