"""This project's model folder with the bare weights: a third of what a run leaves, ready for `model_dir`."""

import json
from pathlib import Path

import tensorflow as tf

from albert.engine import checkpoint_files
from albert.interchange.tokenizer_differences import TOKENIZER_CONFIG
from albert.serving.export.reference import reopened
from albert.serving.export.request import ExportRequest
from albert.serving.loading import LoadedModel
from albert.serving.model_folder import contents_of
from albert.system.files import write_bytes, write_text
from albert.weights.names import POOLER

reopen = reopened


def write(model: LoadedModel, folder: Path, request: ExportRequest) -> None:
    """Writes configuration, vocabulary, description and `model.ckpt-best`, without slots and step."""
    write_all_but_weights(model, folder)
    checkpoint_files.save(folder / "model.ckpt-best", weights_of(model))


def write_all_but_weights(model: LoadedModel, folder: Path) -> None:
    """Writes configuration, vocabulary and description to `folder`."""
    for name, data in contents_of(model.config, model.tokenizer, model.description).items():
        write_bytes(folder / name, data)
    if model.description is None:  # which would say it
        casing = {name: getattr(model.tokenizer, name) for name in ("do_lower_case", "keep_accents")}
        write_text(folder / TOKENIZER_CONFIG, json.dumps(casing, indent=2) + "\n")


def weights_of(model: LoadedModel) -> dict[str, tf.Variable]:
    """The weights by name, without a pooler that the model's file did not have."""
    return {name: value for name, value in model.weights.items() if model.has_pooler or name not in POOLER}
