"""AdamW and LAMB as ALBERT was trained with them, their learning-rate schedule, and the clip of the global gradient.

Owns the update rules, which variables decay, and the names of the slots. Knows no strategy: the engine, whose
`Optimizer` protocol these classes satisfy, hands in gradients that are already summed over all replicas and the
variables of one replica, so every replica computes the same update, and the slots are called the same for any number of
replicas.

Formulas: google-research/albert, `optimization.py` and `lamb_optimizer.py`. There is no bias correction: ALBERT was
pretrained without it, and adding it changes the first ~1/(1 - beta2) = 1,000 steps, which is most of an MRPC run.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import tensorflow as tf

from albert.ops.compiled import CompiledOnce, read_compiler_options, replicas_share_code

# Upstream clips the gradient of the whole model to this norm.
CLIP_NORM = 1.0
# Slots of variable `name` are checkpointed as `<name>/adam_m` and `<name>/adam_v`, for both optimizers.
SLOT_NAMES = ("adam_m", "adam_v")
# A variable whose name contains one of these neither decays nor, under LAMB, gets a trust ratio.
EXCLUDE_FROM_WEIGHT_DECAY = ("LayerNorm", "layer_norm", "bias")


@dataclasses.dataclass(frozen=True)
class LearningRateSchedule:
    """Linear warm-up over polynomial decay to zero.

    For step t counted from 0: init_lr (t - s) / w while t - s < w, otherwise init_lr (1 - min(t, n) / n)^p.
    Decay counts from step 0 and not from the end of the warm-up, so the rate never reaches init_lr: it rises to
    init_lr (w - 1) / w and then steps down to init_lr (1 - w / n)^p. Before step s it is negative. All as upstream.
    """

    init_lr: float
    num_train_steps: int
    num_warmup_steps: int = 0
    poly_power: float = 1.0
    start_warmup_step: int = 0

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate [] float32 of the update that turns step `step` into `step + 1`."""
        progress = tf.cast(tf.minimum(tf.cast(step, tf.int64), self.num_train_steps), tf.float32)
        decayed = self.init_lr * tf.pow(1.0 - progress / float(self.num_train_steps), self.poly_power)
        if not self.num_warmup_steps:
            return decayed
        warmed = tf.cast(tf.cast(step, tf.int64) - self.start_warmup_step, tf.float32)
        warming_up = warmed < float(self.num_warmup_steps)
        return tf.where(warming_up, self.init_lr * (warmed / float(self.num_warmup_steps)), decayed)


@dataclasses.dataclass(frozen=True)
class AdamWeightDecayOptimizer:
    """AdamW without bias correction; decay is multiplied by the learning rate."""

    weight_decay_rate: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    exclude_from_weight_decay: tuple[str, ...] = EXCLUDE_FROM_WEIGHT_DECAY

    name: ClassVar[str] = "adamw"
    slot_names: ClassVar[tuple[str, ...]] = SLOT_NAMES
    has_trust_ratio: ClassVar[bool] = False

    def clip(self, norm: tf.Tensor) -> tf.Tensor:
        """What a gradient of norm `norm` [] is multiplied by so that its norm is at most CLIP_NORM.

        The norm is that of the summed, dense gradient of all variables. Upstream takes sparse embedding gradients row
        by row before summing them, which counts a token that occurs twice differently; a gradient that is summed over
        replicas has no such rows.
        """
        return CLIP_NORM / tf.maximum(norm, CLIP_NORM)

    def update(
        self,
        variables: Mapping[str, tf.Variable],
        slots: Mapping[str, Sequence[tf.Variable]],
        gradients: Mapping[str, tf.Tensor],
        learning_rate: tf.Tensor,
        gradient_scale: tf.Tensor | float = 1.0,
        is_applied: tf.Tensor | bool = True,
    ) -> None:
        """Assigns new values to the variables and to their slots (m, v), all of one replica, keyed by variable name.

        The gradient is `gradients` times `gradient_scale` []. Where `is_applied` [] is False, everything stays as it
        is, whatever the gradient holds.
        """
        scale, rate = (tf.convert_to_tensor(value, tf.float32) for value in (gradient_scale, learning_rate))
        applied = tf.convert_to_tensor(is_applied, tf.bool)
        # One program for all variables, unless there are norms to take: a CPU takes those of one program one after the
        # other, each on one core. A caller that compiles all of its update, as on a GPU, has one program either way.
        together = [list(variables)] if not self.has_trust_ratio else [[name] for name in variables]
        for names in together:
            _compiled_update(self)(
                [variables[name] for name in names],
                [slots[name] for name in names],
                [gradients[name] for name in names],
                rate,
                scale,
                applied,
                decays=tuple(map(self.decays, names)),
            )

    def _next_values(self, decays: bool, gradient, variable, m, v, rate, scale, applied) -> tuple[tf.Tensor, ...]:
        """The variable, m and v after the step."""
        # Selections and not a branch, for which a GPU's host would have to wait; of numbers rather than whole tensors.
        gradient = tf.where(applied, gradient * scale, 0.0)
        m = tf.where(applied, self.beta_1, 1.0) * m + tf.where(applied, 1.0 - self.beta_1, 0.0) * gradient
        v = tf.where(applied, self.beta_2, 1.0) * v + tf.where(applied, 1.0 - self.beta_2, 0.0) * tf.square(gradient)
        step = m / (tf.sqrt(v) + self.epsilon)
        if decays and self.weight_decay_rate:
            step += self.weight_decay_rate * variable
        if decays and self.has_trust_ratio:
            weight_norm, step_norm = tf.norm(variable), tf.norm(step)
            step *= tf.where((weight_norm > 0) & (step_norm > 0), weight_norm / step_norm, 1.0)
        return variable - tf.where(applied, rate, 0.0) * step, m, v

    def decays(self, name: str) -> bool:
        """Whether the variable called `name` is subject to weight decay."""
        return not any(re.search(pattern, name) for pattern in self.exclude_from_weight_decay)


@dataclasses.dataclass(frozen=True)
class LAMBOptimizer(AdamWeightDecayOptimizer):
    """LAMB without bias correction (You et al. 2019): AdamW's step scaled per variable by |w| / |step|.

    The scale is 1 where one of them is 0, and for variables that do not decay.
    """

    name: ClassVar[str] = "lamb"
    has_trust_ratio: ClassVar[bool] = True


@functools.cache
def _compiled_update(optimizer: AdamWeightDecayOptimizer) -> Callable[..., None]:
    """Assigns the variables, and their m and v, after the step. No names: variables of one shape share a program.

    Compiled: one pass over memory instead of a dozen, and in place, so that no second copy of anything is made. One
    function for all optimizers with the same constants: as an argument, TensorFlow would compile for each object.
    """

    def next_values(variables, slots, gradients, rate, scale, applied, decays):
        return [
            optimizer._next_values(decay, gradient, variable, m, v, rate, scale, applied)
            for variable, (m, v), gradient, decay in zip(variables, slots, gradients, decays, strict=True)
        ]

    def assign(variables, slots, values):
        for variable, of_variable, new in zip(variables, slots, values, strict=True):
            for target, value in zip((variable, *of_variable), new, strict=True):
                target.assign(value)

    if replicas_share_code():
        # In place is what belongs to one device; a copy costs less than compiling this for each of them.
        compiled = CompiledOnce(next_values)
        return lambda variables, slots, *rest, decays: assign(
            variables, slots, compiled(variables, slots, *rest, decays=decays)
        )

    read_compiler_options()

    @tf.function(jit_compile=True, autograph=False)
    def assign_next_values(variables, slots, gradients, rate, scale, applied, decays):
        assign(variables, slots, next_values(variables, slots, gradients, rate, scale, applied, decays))

    return assign_next_values


OPTIMIZERS = {optimizer.name: optimizer for optimizer in (AdamWeightDecayOptimizer, LAMBOptimizer)}


def create_optimizer(name: str) -> AdamWeightDecayOptimizer:
    """`adamw` or `lamb` with ALBERT's constants. Raises ValueError for another name."""
    if name not in OPTIMIZERS:
        raise ValueError(f"`optimizer`={name} is unknown; known are {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name]()
