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
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow as tf

from albert.ops.compiled import CompiledOnce, read_compiler_options, replicas_share_code

# Slots of variable `name` are checkpointed as `<name>/adam_m` and `<name>/adam_v`, for both optimizers.
SLOT_NAMES = ("adam_m", "adam_v")
# A variable whose name contains one of these neither decays nor, under LAMB, gets a trust ratio.
EXCLUDE_FROM_WEIGHT_DECAY = ("LayerNorm", "layer_norm", "bias")
# What the rate does after the warm-up.
SCHEDULES = ("linear", "cosine", "constant")


@dataclasses.dataclass(frozen=True)
class LearningRateSchedule:
    """Linear warm-up, then polynomial decay to zero, or another of SCHEDULES.

    For step t counted from 0: init_lr (t - s) / w while t - s < w. Before step s it is negative, as upstream.
    From then on, with n steps in all, T = min(t, n), and d = s + w the end of the warm-up (0 without one):

        linear     init_lr (1 - T / n)^p
        cosine     init_lr (1 + cos(pi (T - d) / (n - d))) / 2, and init_lr while T < d or where n <= d
        constant   init_lr

    `linear` is upstream's. It counts from step 0 and not from the end of the warm-up, so the rate never reaches
    init_lr: it rises to init_lr (w - 1) / w and then steps down to init_lr (1 - w / n)^p.
    `cosine` is SGDR's without restarts (Loshchilov & Hutter 2017, equation 5, with minimum 0) and, as `constant`, what
    transformers computes: `get_cosine_schedule_with_warmup` with half a cycle, `get_constant_schedule_with_warmup`.
    """

    init_lr: float
    num_train_steps: int
    num_warmup_steps: int = 0
    poly_power: float = 1.0
    start_warmup_step: int = 0
    kind: str = "linear"

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise ValueError(f"`lr_scheduler_type`={self.kind} is unknown; known are {', '.join(SCHEDULES)}")

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate [] float32 of the update that turns step `step` into `step + 1`."""
        decayed = self.init_lr * self._share_after_warm_up(step)
        if not self.num_warmup_steps:
            return decayed
        warmed = tf.cast(tf.cast(step, tf.int64) - self.start_warmup_step, tf.float32)
        warming_up = warmed < float(self.num_warmup_steps)
        return tf.where(warming_up, self.init_lr * (warmed / float(self.num_warmup_steps)), decayed)

    def _share_after_warm_up(self, step: tf.Tensor) -> tf.Tensor:
        """The rate [] float32 after the warm-up as a share of `init_lr`."""
        if self.kind == "constant":
            return tf.ones([])
        progress = tf.cast(tf.minimum(tf.cast(step, tf.int64), self.num_train_steps), tf.float32)
        if self.kind == "linear":
            return tf.pow(1.0 - progress / float(self.num_train_steps), self.poly_power)
        begin = self.start_warmup_step + self.num_warmup_steps if self.num_warmup_steps else 0
        fallen = tf.maximum(progress - float(begin), 0.0) / float(max(1, self.num_train_steps - begin))
        return 0.5 * (1.0 + tf.cos(math.pi * fallen))


@dataclasses.dataclass(frozen=True)
class AdamWeightDecayOptimizer:
    """AdamW without bias correction; decay is multiplied by the learning rate.

    The defaults are ALBERT's. `max_grad_norm` 0 is no clipping, as in transformers' `TrainingArguments`.
    """

    weight_decay_rate: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    max_grad_norm: float = 1.0
    exclude_from_weight_decay: tuple[str, ...] = EXCLUDE_FROM_WEIGHT_DECAY

    name: ClassVar[str] = "adamw"
    slot_names: ClassVar[tuple[str, ...]] = SLOT_NAMES
    has_trust_ratio: ClassVar[bool] = False

    def clip(self, norm: tf.Tensor) -> tf.Tensor:
        """What a gradient of norm `norm` [] is multiplied by so that its norm is at most `max_grad_norm`.

        Without clipping this is 1, also for a norm that is not finite: `update` is told to leave such a step out.

        The norm is that of the summed, dense gradient of all variables. Upstream takes sparse embedding gradients row
        by row before summing them, which counts a token that occurs twice differently; a gradient that is summed over
        replicas has no such rows.
        """
        if not self.max_grad_norm:
            return tf.ones_like(norm)
        return self.max_grad_norm / tf.maximum(norm, self.max_grad_norm)

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


def create_optimizer(name: str, **constants: Any) -> AdamWeightDecayOptimizer:
    """`adamw` or `lamb`, with ALBERT's constants but for `constants`. Raises ValueError for another name."""
    if name not in OPTIMIZERS:
        raise ValueError(f"`optimizer`={name} is unknown; known are {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name](**constants)
