"""The one `model_fn`: encoder plus head as the engine wants them. Knows no flags, files or loops over steps."""

import tensorflow as tf

from albert.estimator import EstimatorSpec, Features, ModeKeys, ModelFn
from albert.heads import Head
from albert.modeling import AlbertConfig, DropoutKey, Weights, encode


def build_model_fn(config: AlbertConfig, head: Head, seed: int = 0, dtype: str = "float32") -> ModelFn:
    """The function `Estimator` calls with one replica's batch.

    Features: input_ids, input_mask, segment_ids int32 [B, S]; label_ids [B] except to predict; example_ids int64 [B],
    example_weights float32 [B], batch_rows int32 [B] (row in the global batch, which decides its dropout).
    With dtype "bfloat16" the weights are cast once; statistics, softmax and loss stay float32.
    """
    compute_dtype = tf.as_dtype(dtype)

    def model_fn(features: Features, mode: ModeKeys, weights: Weights, step: tf.Tensor) -> EstimatorSpec:
        cast = {name: tf.cast(value, compute_dtype) for name, value in weights.items()}
        dropout_key = DropoutKey(seed, step, features["batch_rows"]) if mode == ModeKeys.TRAIN else None
        inputs = (features["input_ids"], features["input_mask"], features["segment_ids"])
        encoded = encode(config, cast, *inputs, dropout_key)
        predictions = head.predict(cast, encoded, dropout_key)
        return EstimatorSpec(
            mode=mode,
            example_ids=features["example_ids"],
            example_weights=features["example_weights"],
            per_example_loss=None if mode == ModeKeys.PREDICT else head.per_example_loss(predictions, features),
            predictions=predictions,
        )

    return model_fn
