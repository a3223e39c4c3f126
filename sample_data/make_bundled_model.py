#!/usr/bin/env python3
"""Pretrains the bundled model: a small ALBERT that learns the toy language by filling in masked pieces.

Writes `model.ckpt-best` beside itself: encoder and masked-language-model head, under upstream's names. It reads correct
sentences of other seeds than the bundled task's and none of that task's dev or test rows, and it never sees a label:

    python -m sample_data.make_bundled_model

The whole run is one `Estimator` with another `model_fn`, and takes a few minutes on two CPU cores.
"""

import argparse
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert import checkpoints
from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.distribution import create_strategy
from albert.estimator import Estimator, EstimatorSpec, ModeKeys, RunConfig
from albert.features import build_pair_features
from albert.input_pipeline import train_indices
from albert.modeling import AlbertModel, TokenLayout, VariableSpec, encode
from albert.pretraining.head import PretrainingHead, cross_entropy
from albert.tokenization import Tokenizer, load_tokenizer
from sample_data.make_agreement_data import SEED, make_splits

HERE = Path(__file__).parent
MAX_SEQ_LENGTH = 32
BATCH_SIZE = 64
MASKED_SHARE = 0.2
# Each seed gives 3,000 correct training sentences.
PRETRAINING_SEEDS = range(SEED + 1, SEED + 9)


def correct_sentences() -> list[str]:
    """Sentences whose verb agrees, without those that the bundled task tests on."""
    held_out = {row.sentence for split in ("dev", "test") for row in make_splits()[split]}
    rows = [row for seed in PRETRAINING_SEEDS for row in make_splits(seed)["train"]]
    return sorted({row.sentence for row in rows if row.label == 1} - held_out)


def to_matrix(sentences: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """int32 [N, MAX_SEQ_LENGTH], zero padded."""
    matrix = np.zeros((len(sentences), MAX_SEQ_LENGTH), np.int32)
    for row, sentence in zip(matrix, sentences, strict=True):
        ids, _ = build_pair_features(tokenizer.encode(sentence), None, MAX_SEQ_LENGTH, tokenizer)
        row[: len(ids)] = ids
    return matrix


def masked_batches(matrix: np.ndarray, tokenizer: Tokenizer, first_step: int, last_step: int) -> tf.data.Dataset:
    """Batches in which a share of the pieces is [MASK]; `label_ids` holds what stood there, 0 elsewhere."""

    def batch(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = matrix[train_indices(int(step), BATCH_SIZE, len(matrix), SEED)]
        chosen = np.random.default_rng([SEED, int(step)]).random(rows.shape) < MASKED_SHARE
        chosen &= ~np.isin(rows, (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id))
        return np.where(chosen, tokenizer.mask_id, rows), np.where(chosen, rows, 0)

    def features(step: tf.Tensor) -> dict[str, tf.Tensor]:
        input_ids, label_ids = tf.numpy_function(batch, [step], (tf.int32, tf.int32), stateful=False)
        ids = tf.range(BATCH_SIZE)
        return {
            "input_ids": tf.ensure_shape(input_ids, [BATCH_SIZE, MAX_SEQ_LENGTH]),
            "label_ids": tf.ensure_shape(label_ids, [BATCH_SIZE, MAX_SEQ_LENGTH]),
            "example_ids": tf.cast(ids, tf.int64),
            "example_weights": tf.ones([BATCH_SIZE]),
        }

    return tf.data.Dataset.range(first_step, last_step).map(features).prefetch(8)


def masked_lm_specs(config: AlbertConfig) -> list[VariableSpec]:
    """The variables of the pretraining head that fill in masked pieces."""
    return [spec for spec in PretrainingHead(config).variable_specs if spec.name.startswith("cls/predictions/")]


def masked_lm_loss(config: AlbertConfig, features: Mapping[str, tf.Tensor], weights) -> tf.Tensor:
    """[B]: mean cross-entropy of each sentence's masked pieces."""
    labels = features["label_ids"]
    layout = TokenLayout.one_per_row(features["input_ids"], tf.cast(features["input_ids"] > 0, tf.int32))
    encoded = encode(config, weights, layout)
    everywhere = tf.broadcast_to(tf.range(labels.shape[1]), labels.shape)
    products = PretrainingHead(config).masked_lm_products(weights, encoded, everywhere)
    losses = cross_entropy(products, weights["cls/predictions/output_bias"], tf.reshape(labels, [-1]))
    is_masked = tf.cast(labels > 0, tf.float32)
    sums = tf.reduce_sum(tf.reshape(losses, labels.shape) * is_masked, axis=1)
    return sums / tf.maximum(tf.reduce_sum(is_masked, axis=1), 1.0)


def pretrain(steps: int, learning_rate: float, model_dir: Path) -> Estimator:
    """Trains for `steps` and returns the estimator that holds the weights."""
    config = AlbertConfig.from_json_file(HERE / "albert_config.json")
    tokenizer = load_tokenizer(HERE / "agreement.model", None, do_lower_case=True)
    matrix = to_matrix(correct_sentences(), tokenizer)

    def model_fn(features, mode: ModeKeys, weights, step) -> EstimatorSpec:
        loss = masked_lm_loss(config, features, weights)
        return EstimatorSpec(mode, features["example_ids"], features["example_weights"], loss)

    estimator = Estimator(
        model_fn=model_fn,
        create_weights=lambda: AlbertModel(config, masked_lm_specs(config), SEED).weights,
        optimizer=create_optimizer("adamw"),
        learning_rate=LearningRateSchedule(learning_rate, steps, steps // 20),
        strategy=create_strategy("one", 1, "auto"),
        config=RunConfig(model_dir, BATCH_SIZE, save_checkpoints_steps=steps, log_steps=max(1, steps // 20)),
    )
    estimator.train(lambda first, last: masked_batches(matrix, tokenizer, first, last), steps)
    return estimator


def main() -> None:
    """Parses the command line, pretrains and writes the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--output", type=Path, default=HERE / "model.ckpt-best", help="prefix of the checkpoint")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with tempfile.TemporaryDirectory() as model_dir:
        estimator = pretrain(arguments.steps, arguments.learning_rate, Path(model_dir))
    checkpoints.save(arguments.output, {"global_step": np.int64(arguments.steps), **estimator.weights})


if __name__ == "__main__":
    main()
