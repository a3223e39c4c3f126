"""What a head is: from the encoder's output to predictions, and from predictions to one loss per example.

A head has its variables (upstream's names), logits and loss, and knows neither checkpoints, flags nor training. It is a
frozen description with these members, so that a new one is a class and a line in `heads.head_for`:

* `variable_specs`: its variables;
* `predict(weights, encoded, dropout_key, features)`: a dictionary of tensors, first axis b, the examples;
* `per_example_loss(predictions, features)`: [b] float32. The engine averages it over the examples of a global batch.

An example is a sequence, so that b = n, except for multiple choice.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Protocol

import tensorflow as tf

from albert.modeling import EncoderOutput, VariableSpec, Weights
from albert.ops.dropout import DropoutKey

# Upstream drops a tenth of the pooled output when it trains, whatever the configuration says.
POOLED_DROPOUT = 0.1
# Upstream initialises classifier weights with this deviation, not with `initializer_range`.
OUTPUT_STDDEV = 0.02
# Sites of the encoder are 0 .. 3 * layers * inner groups; heads count from here.
FIRST_HEAD_SITE = 1 << 16


# What a head may read beside the encoder's output, by name.
Features = Mapping[str, tf.Tensor]
NO_FEATURES: Features = MappingProxyType({})


# From predictions and features to [b] float32, as `Head.per_example_loss`.
Loss = Callable[[Mapping[str, tf.Tensor], Features], tf.Tensor]


class Head(Protocol):
    """What a task puts on the encoder."""

    reads_tokens: ClassVar[bool]  # whether it needs more of the encoder than `pooled_output`
    label_columns: ClassVar[tuple[str, ...]]  # the features that only training and the loss read

    @property
    def variable_specs(self) -> Sequence[VariableSpec]: ...

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]: ...

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor: ...
