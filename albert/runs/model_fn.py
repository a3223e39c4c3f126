"""The one `model_fn`: encoder plus head as the engine wants them."""

import dataclasses

import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.engine.estimator_spec import EstimatorSpec, Features, ModeKeys, ModelFn
from albert.heads.base import Head
from albert.modeling import FLOAT32, Computation, TokenLayout, Weights, encode
from albert.ops.dropout import DropoutKey
from albert.ops.fused import FUSED, FUSED_FORWARD


def build_model_fn(
    config: AlbertConfig,
    head: Head,
    seed: int = 0,
    computation: Computation = FLOAT32,
    training_head: Head | None = None,
) -> ModelFn:
    """The function `Estimator` calls with one replica's batch: b examples, whose n sequences lie in R rows of length L.

    Training minimises the loss of `training_head`, if there is one: it has the same variables. Evaluation reports that
    of `head`.

    Features: input_ids, segment_ids, position_ids, sequence_ids int32 [R, L] and sequence_starts, sequence_lengths
    int32 [n] as in `TokenLayout`; sequence_rows int32 [n] (row in the global batch, which decides a sequence's
    dropout); label_ids and what else the head reads [b], except to predict; example_ids int64 [b], example_weights
    float32 [b].
    """

    forward = computation
    if computation.element_wise is FUSED:
        forward = dataclasses.replace(computation, element_wise=FUSED_FORWARD)

    def model_fn(features: Features, mode: ModeKeys, weights: Weights, step: tf.Tensor) -> EstimatorSpec:
        layout = TokenLayout(**{name: features[name] for name in TokenLayout.__annotations__})
        dropout_key = None
        if mode == ModeKeys.TRAIN:
            rows = features["sequence_rows"]
            dropout_key = DropoutKey.of_layout(seed, step, rows, layout.sequence_ids, layout.position_ids)
        here = computation if mode == ModeKeys.TRAIN else forward
        encoded = encode(config, weights, layout, dropout_key, here, not head.reads_tokens)
        # A cache that also serves evaluation has labels, which prediction must not look at.
        head_here = training_head if training_head and mode == ModeKeys.TRAIN else head
        hidden = head.label_columns if mode == ModeKeys.PREDICT else ()
        readable = {name: value for name, value in features.items() if name not in hidden}
        predictions = head_here.predict(weights, encoded, dropout_key, readable)
        return EstimatorSpec(
            mode=mode,
            example_ids=features["example_ids"],
            example_weights=features["example_weights"],
            per_example_loss=None if mode == ModeKeys.PREDICT else head_here.per_example_loss(predictions, features),
            predictions=predictions,
            token_counts=layout.token_counts(),
        )

    return model_fn
