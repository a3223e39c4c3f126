"""What the engine is given: a `model_fn` with its mode and its spec, an `Optimizer`, an `EvalSpec`, and observers."""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import tensorflow as tf

from albert.engine.evaluations import Evaluation
from albert.engine.throughput import StepRecord
from albert.engine.workers import Arrays

Features = Mapping[str, tf.Tensor]


class ModeKeys(enum.StrEnum):
    """What a `model_fn` is asked for; the values are tf.estimator's."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


@dataclasses.dataclass(frozen=True)
class EstimatorSpec:
    """What a `model_fn` returns for the rows of one replica; every tensor's first axis is that replica's batch.

    Attributes:
      mode: what it was made for.
      example_ids: int64 [b], the number of each row in its data set; -1 on padding rows.
      example_weights: float32 [b], 1 for a real row and 0 for padding.
      per_example_loss: float32 [b]; needed to train and evaluate.
      predictions: named tensors [b, ...]; needed to evaluate and predict.
      token_counts: float32 [2], tokens of these rows without and with padding; for throughput figures.
    """

    mode: ModeKeys
    example_ids: tf.Tensor
    example_weights: tf.Tensor
    per_example_loss: tf.Tensor | None = None
    predictions: Mapping[str, tf.Tensor] | None = None
    token_counts: tf.Tensor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.mode, ModeKeys):
            raise ValueError(f"EstimatorSpec.mode is {self.mode!r}; one of {', '.join(map(repr, ModeKeys))} is needed")
        if self.mode != ModeKeys.PREDICT and self.per_example_loss is None:
            raise ValueError(f"EstimatorSpec.per_example_loss is missing; mode {self.mode} needs it")
        if self.mode != ModeKeys.TRAIN and not self.predictions:
            raise ValueError(f"EstimatorSpec.predictions is {self.predictions!r}; mode {self.mode} needs some")
        for name in ("example_ids", "example_weights", "per_example_loss"):
            tensor = getattr(self, name)
            if tensor is not None and tensor.shape.rank != 1:
                raise ValueError(f"EstimatorSpec.{name} has shape {tensor.shape}; one value per example is needed")


# (features of one replica's rows, mode, weights by name, number of updates made before [] int64)
ModelFn = Callable[[Features, ModeKeys, Mapping[str, tf.Tensor], tf.Tensor], EstimatorSpec]


class Optimizer(Protocol):
    """An update rule. The engine sums gradients over replicas and asks for the same update on each of them.

    So an optimizer neither knows how many replicas there are nor runs a collective.
    """

    @property
    def slot_names(self) -> Sequence[str]:
        """What it remembers of each variable, in order: tensors of the variable's shape that begin at zero.

        Slot `s` of variable `name` is checkpointed as `<name>/<s>`.
        """

    def clip(self, norm: tf.Tensor) -> tf.Tensor:
        """The factor [] that the mean gradient, whose global norm is `norm` [], is multiplied by; 1 for no clipping."""

    def update(
        self,
        variables: Mapping[str, tf.Variable],
        slots: Mapping[str, Sequence[tf.Variable]],
        gradients: Mapping[str, tf.Tensor],
        learning_rate: tf.Tensor,
        gradient_scale: tf.Tensor | float = 1.0,
        is_applied: tf.Tensor | bool = True,
    ) -> None:
        """Assigns new values to one replica's variables and to their slots, which are in the order of `slot_names`.

        The gradient is `gradients` times `gradient_scale` []. Where `is_applied` [] is False, everything stays as it
        is, whatever the gradient holds.
        """


@dataclasses.dataclass(frozen=True)
class EvalSpec:
    """How a checkpoint is evaluated: the rows, what scores all predictions at once, and the metric that selects.

    The best checkpoint has the largest `best_metric`, or with `lower_is_better` the smallest.
    `has_labels`: the rows have labels for a loss, and not only what `score_fn` knows. `num_examples` is for the log.
    """

    input_fn: Callable[[], tf.data.Dataset]
    score_fn: Callable[[Arrays], Mapping[str, float]]
    best_metric: str
    has_labels: bool = True
    lower_is_better: bool = False
    num_examples: int | None = None


class TrainingObserver(Protocol):
    """Called with what happens during training; writes curves, TensorBoard events and the like."""

    def on_start(self, first_step: int) -> None: ...

    def on_steps(self, records: Sequence[StepRecord]) -> None: ...

    def on_evaluation(self, evaluation: Evaluation) -> None: ...
