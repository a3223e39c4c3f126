"""One training step on one replica, the same for any number of them.

    (a) loss of the replica's rows, summed, and the gradient of that sum; for several micro-batches the sum of theirs
    (b) one all-reduce SUM of [loss, number of real rows, tokens, gradients]; division by the global number of rows
    (c) one clip by the norm of that global gradient
    (d) the same optimizer update on every replica; none where the loss or the norm is not finite

so N replicas with k micro-batches of b rows compute what one device computes with N k b rows.

What is compiled: (d) always, where a plain graph passes over every weight a dozen times; (a) with `use_xla`, which is
what a GPU wants, and there (c) together with (d), since a hundred small operations take its host longer than the GPU. A
CPU's library multiplies matrices faster than the compiler does, so there only the element-wise parts of (a) are
compiled (`albert.ops.fused`). (b) is never inside: the compiler knows no collectives of `tf.distribute`, whatever
strategy they belong to.
"""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from albert.engine import collectives
from albert.engine.estimator_spec import Features, ModeKeys, ModelFn, Optimizer
from albert.ops.compiled import CompiledOnce, TracedOnce

# The numbers that a step returns, in this order.
STEP_FIGURES = ("loss", "gradient_norm", "learning_rate", "real_tokens", "computed_tokens")

# Sums over rows: [loss, number of real rows, real tokens, computed tokens] float32 [4], and the gradient by name.
_Sums = tuple[tf.Tensor, dict[str, tf.Tensor]]


class TrainingStep:
    """Calls `model_fn`, and updates one replica's variables.

    Args:
      model_fn, optimizer, learning_rate: as for `Estimator`.
      use_xla: compile forward and backward pass as a whole.
      compiles_clip: make the norm, the clip and the update one program. On a GPU; on a CPU it would change the bits of
        runs that were begun without.
      micro_batches: k; where it is above 1, every feature has a leading axis of that many micro-batches.
    """

    def __init__(
        self,
        model_fn: ModelFn,
        optimizer: Optimizer,
        learning_rate: Callable[[tf.Tensor], tf.Tensor],
        use_xla: bool = False,
        micro_batches: int = 1,
        compiles_clip: bool = False,
    ):
        self._model_fn = model_fn
        self._optimizer = optimizer
        self._learning_rate = learning_rate
        self._micro_batches = micro_batches
        # (weights by name, features, step) -> sums; free of collectives and variables.
        self.gradient_function = (CompiledOnce if use_xla else TracedOnce)(self._sums_of_micro_batch)
        clip_and_update = self._clip_and_update
        if compiles_clip:
            clip_and_update = tf.function(clip_and_update, jit_compile=True, autograph=False)
        self._update = clip_and_update

    def __call__(
        self,
        variables: Mapping[str, tf.Variable],
        slots: Mapping[str, Sequence[tf.Variable]],
        features: Features,
        step: tf.Tensor,
    ) -> tf.Tensor:
        """One update; float32 [len(STEP_FIGURES)]. Inside a replica, with its own variables, slots and rows."""
        weights = {name: tf.convert_to_tensor(variable) for name, variable in variables.items()}
        counts, gradients = self._sums(weights, features, step)
        counts, *summed = collectives.all_reduce_sum([counts, *gradients.values()])
        trained = {name: variables[name] for name in gradients}
        return self._update(
            trained, {name: slots[name] for name in trained}, dict(zip(trained, summed, strict=True)), counts, step
        )

    def _sums(self, weights: Mapping[str, tf.Tensor], features: Features, step: tf.Tensor) -> _Sums:
        if self._micro_batches == 1:
            return self.gradient_function(weights, features, step)

        def of_micro_batch(i) -> _Sums:
            return self.gradient_function(weights, {name: value[i] for name, value in features.items()}, step)

        def add_next(i, sums: _Sums) -> tuple[tf.Tensor, _Sums]:
            return i + 1, tf.nest.map_structure(tf.add, sums, of_micro_batch(i))

        # One at a time, so that only one micro-batch's activations are in memory.
        _, sums = tf.while_loop(
            lambda i, _: i < self._micro_batches, add_next, (tf.constant(1), of_micro_batch(0)), parallel_iterations=1
        )
        return sums

    def _sums_of_micro_batch(self, weights: Mapping[str, tf.Tensor], features: Features, step: tf.Tensor) -> _Sums:
        """Variables that the loss does not reach are left out, so that they neither move nor decay."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            spec = self._model_fn(features, ModeKeys.TRAIN, weights, step)
            loss = tf.reduce_sum(spec.per_example_loss * spec.example_weights)
        gradients = tape.gradient(loss, weights)
        dense = {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items() if gradient is not None}
        tokens = tf.zeros([2]) if spec.token_counts is None else spec.token_counts
        return tf.concat([tf.stack([loss, tf.reduce_sum(spec.example_weights)]), tokens], axis=0), dense

    def _clip_and_update(self, variables, slots, summed_gradients, counts, step) -> tf.Tensor:
        loss, rows, real_tokens, computed_tokens = tf.unstack(counts)
        loss, norm = loss / rows, tf.linalg.global_norm(list(summed_gradients.values())) / rows
        rate = self._learning_rate(step)
        # Both come from the all-reduce: every replica decides the same.
        is_finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        # The mean gradient, clipped, is the sum times one number.
        scale = self._optimizer.clip(norm) / rows
        self._optimizer.update(variables, slots, summed_gradients, rate, scale, is_finite)
        return tf.stack([loss, norm, rate, real_tokens, computed_tokens])
