"""What a KerasHub preset says of its head, as a `ModelDescription`. No TensorFlow."""

import logging
from pathlib import Path

from albert.albert_config import AlbertConfig
from albert.serving.description import MAX_LABELS, MAX_TOKENS, ModelDescription
from albert.serving.hugging_face import CASING, read_object
from albert.tasks.base import Labels

TASK = "task.json"
_CLASSIFIER = "AlbertTextClassifier"
# Both have the same class on top, and the same probabilities behind a softmax.
_ACTIVATIONS = ("linear", "softmax", None)


def describe(config_file: Path) -> ModelDescription | None:
    """What the `task.json` of a classifier says, whose labels have no names; None for a backbone and other tasks.

    Raises UserError, naming the file, where it cannot be read.
    """
    path = config_file.with_name(TASK)
    if not path.exists():
        return None
    values = read_object(path)
    name, fields = values.get("class_name"), values.get("config")
    fields = fields if isinstance(fields, dict) else {}
    count, activation = fields.get("num_classes"), fields.get("activation")
    is_known = name == _CLASSIFIER and activation in _ACTIVATIONS
    if not is_known or type(count) is not int or not 1 < count <= MAX_LABELS:
        logging.warning("%s: what this task gives is not predicted here; the model gives embeddings.", path)
        return None
    return ModelDescription(
        task_name=_CLASSIFIER,
        output=Labels(tuple(f"LABEL_{number}" for number in range(count))),
        text_columns=(),
        max_seq_length=min(MAX_TOKENS, AlbertConfig.from_json_file(config_file).max_position_embeddings),
        **CASING,
        tokenizer_digest="",
        dtype="float32",
        options={},
    )
