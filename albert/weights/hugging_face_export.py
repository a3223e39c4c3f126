"""An ALBERT's weights under Hugging Face's names: `model.safetensors`, as its library writes it, but without that."""

import json
import logging
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.system.files import whole_file
from albert.weights.named_tensors import problem_of_division
from albert.weights.names import EMBEDDING_MAPPING
from albert.weights.variables import VARIABLES

WHOLE = "model.safetensors"


def check_representable(config: AlbertConfig) -> None:
    """Raises UserError for a model that the library would compute otherwise."""
    problem = problem_of_division(config, "Hugging Face")
    if problem:
        raise UserError(f"{problem}, so that it cannot be exported there; `format`=checkpoint keeps it.")
    num_layers = config.num_hidden_layers // config.num_hidden_groups
    if config.inner_group_num > num_layers:
        logging.warning(
            "transformers before version 5 cannot compute %d inner layers in groups of %d layers.",
            config.inner_group_num, num_layers,
        )  # fmt: skip


def write_weights(folder: Path, config: AlbertConfig, weights: Mapping[str, Any], is_encoder: bool) -> None:
    """Writes `weights`, by our names, to the file that transformers looks for in `folder`.

    `is_encoder`: for AlbertModel, whose names have no `albert.` in front of them. Raises UserError where the disk is
    full or fails.
    """
    tensors = tensors_of(config, weights, "" if is_encoder else "albert.")
    # Without the note on the format, some versions refuse the file.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, value in tensors.items():
        begin, end = end, end + value.nbytes
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers behind it are aligned
    with whole_file(folder / WHOLE) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(np.ascontiguousarray(value).data)


def tensors_of(config: AlbertConfig, weights: Mapping[str, Any], scope: str) -> dict[str, np.ndarray]:
    """Arrays by their names; those of the encoder begin with `scope`."""
    places = [(g, i) for g in range(config.num_hidden_groups) for i in range(config.inner_group_num)]
    rows = {row.ours.format(group=g, layer=i): (row, g, i) for row in VARIABLES for g, i in places}
    tensors = {}
    for ours, value in weights.items():
        row, group, layer = rows[ours]
        theirs = row.hugging_face.format(group=group, layer=layer)
        array = np.asarray(value, "<f4")
        array = array.T if row.is_transposed else array
        tensors[f"{scope}{theirs}" if ours.startswith("bert/") else theirs] = array
    if config.embedding_size == config.hidden_size:
        # Always there in the library, never here: an identity, whose product with finite numbers is exact.
        kernel, bias = (rows[ours][0].hugging_face for ours in EMBEDDING_MAPPING)
        tensors[f"{scope}{kernel}"] = np.eye(config.hidden_size, dtype=np.float32)
        tensors[f"{scope}{bias}"] = np.zeros(config.hidden_size, np.float32)
    return tensors
