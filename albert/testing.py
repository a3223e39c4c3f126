"""What the tests share: the golden files recorded from the original code, and the tiny models they belong to."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.modeling import AlbertConfig

TESTDATA = Path(__file__).parent / "testdata"
TINY_CONFIGS = ("tiny", "tiny_groups")


def golden(name: str) -> dict[str, np.ndarray]:
    """Every array of `testdata/<name>.npz`."""
    with np.load(TESTDATA / f"{name}.npz") as arrays:
        return dict(arrays)


def below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The entries whose key starts with `prefix` + "/", without that prefix."""
    return {key[len(prefix) + 1 :]: value for key, value in arrays.items() if key.startswith(prefix + "/")}


def tiny_config(name: str = "tiny") -> AlbertConfig:
    """The configuration the golden numbers were recorded with; `name` is one of TINY_CONFIGS."""
    return AlbertConfig.from_json_file(TESTDATA / name / "albert_config.json")


def tiny_weights(name: str = "tiny") -> dict[str, tf.Tensor]:
    """Every float variable of the tiny pretraining checkpoint, by TF1 name."""
    reader = tf.train.load_checkpoint(str(TESTDATA / name / "model.ckpt-best"))
    names = reader.get_variable_to_shape_map()
    return {key: tf.constant(reader.get_tensor(key)) for key in names if key != "global_step"}
