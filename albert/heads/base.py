"""What a head is: from the encoder's output to predictions, and from predictions to one loss per example.

A head has its variables (upstream's names), predictions and loss, and knows neither checkpoints, flags nor training. It
is a frozen description with the members of `Head`, so that a new one is a class and a line in `heads.head_for`.

b is the number of examples, n that of sequences. An example is a sequence, so that b = n, except for multiple choice,
where the k options of an example are sequences that follow each other: n = k b.
"""

from collections.abc import Mapping, Sequence
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


class Head(Protocol):
    """What a task puts on the encoder.

    Attributes:
      reads_tokens: whether it needs more of the encoder than `EncoderOutput.pooled_output`.
      label_columns: the features that only training and the loss read; they are taken away before it predicts.
    """

    reads_tokens: ClassVar[bool]
    label_columns: ClassVar[tuple[str, ...]]

    @property
    def variable_specs(self) -> Sequence[VariableSpec]:
        """Its variables, in upstream's order of creation."""

    def predict(
        self,
        weights: Weights,
        encoded: EncoderOutput,
        dropout_key: DropoutKey | None = None,
        features: Features = NO_FEATURES,
    ) -> dict[str, tf.Tensor]:
        """Predictions by name, each [b, ...]; without a `dropout_key` there is no dropout.

        `weights` holds its variables, and those of the encoder, by name. `features` are what a batch has beside the
        tokens, by name, each [b, ...], or [R, L] where it has one number for each token.
        """

    def per_example_loss(self, predictions: Mapping[str, tf.Tensor], features: Features) -> tf.Tensor:
        """[b] float32, of what `predict` returned and the labels in `features`.

        The engine averages it over the examples of a global batch.
        """
