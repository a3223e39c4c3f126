"""What the tests of pretraining share: small files of records, and a command line that trains on them."""

import json
from pathlib import Path

import numpy as np

from albert.albert_config import AlbertConfig
from albert.data.record_encoding import encode_records, record_features

# Of the records that `random_columns` makes by default.
LENGTH, PREDICTIONS, VOCABULARY = 16, 3, 50
TINY_ALBERT = {
    "vocab_size": VOCABULARY,
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "hidden_act": "gelu",
}

Columns = dict[str, np.ndarray]


def tiny_albert() -> AlbertConfig:
    """A model for these records."""
    return AlbertConfig.from_dict(TINY_ALBERT)


def random_columns(
    count: int, length: int = LENGTH, predictions: int = PREDICTIONS, vocabulary: int = VOCABULARY, seed: int = 0
) -> Columns:
    """Numbers of `count` records, of random lengths and with 0 to `predictions` masked positions each."""
    rng = np.random.default_rng(seed)
    lengths, masked = rng.integers(length // 2, length + 1, count), rng.integers(0, predictions + 1, count)
    inside = np.arange(length) < lengths[:, None]
    is_masked = np.arange(predictions) < masked[:, None]
    tokens = rng.integers(5, vocabulary, (count, length))
    return {
        "input_ids": np.where(inside, tokens, 0),
        "input_mask": inside.astype(np.int64),
        "segment_ids": np.where(inside, np.arange(length) >= lengths[:, None] // 2, 0).astype(np.int64),
        "token_boundary": inside.astype(np.int64),
        "masked_lm_positions": np.where(is_masked, rng.integers(0, length // 2, (count, predictions)), 0),
        "masked_lm_ids": np.where(is_masked, rng.integers(5, vocabulary, (count, predictions)), 0),
        "masked_lm_weights": is_masked.astype(np.float32),
        "next_sentence_labels": rng.integers(0, 2, (count, 1)),
    }


def write_records(path: Path, columns: Columns) -> Path:
    """Writes `columns` as a file of records; returns `path`."""
    length, predictions = columns["input_ids"].shape[1], columns["masked_lm_ids"].shape[1]
    path.write_bytes(b"".join(encode_records(record_features(length, predictions), columns)))
    return path


def write_run(folder: Path, count: int = 40, **config: object) -> Path:
    """Puts records and a model's configuration, with `config` in place of its values, into `folder`; returns that."""
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / "train.tfrecord", random_columns(count))
    write_records(folder / "dev.tfrecord", random_columns(10, seed=1))
    (folder / "albert_config.json").write_text(json.dumps(TINY_ALBERT | config))
    return folder


def command(folder: Path, **flags: object) -> list[str]:
    """A command line on what `write_run` wrote: 12 steps of 8 sequences on two CPU devices.

    `flags` replace its flags; None omits one.
    """
    chosen = {
        "input_file": folder / "train.tfrecord",
        "eval_input_file": folder / "dev.tfrecord",
        "output_dir": folder / "out",
        "albert_config_file": folder / "albert_config.json",
        "max_seq_length": LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "device": "cpu",
        "num_gpu_cores": 2,
        "train_batch_size": 8,
        "eval_batch_size": 4,
        "num_train_steps": 12,
        "num_warmup_steps": 2,
        "save_checkpoints_steps": 4,
        "learning_rate": 1e-2,
        "do_eval": True,
        **flags,
    }
    return ["pretraining", *(f"--{name}={value}" for name, value in chosen.items() if value is not None)]
