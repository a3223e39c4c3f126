"""Hugging Face's ALBERT weights in safetensors' format, read one tensor at a time by our names. No TensorFlow."""

import collections
import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.weights.safetensors_files import open_tensors
from albert.weights.variables import VARIABLES

CONFIG = "config.json"
_NUMBER = r"(?P<{}>0|[1-9]\d{{0,5}})"
_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}
_OLD_SPELLINGS = {"gamma": "weight", "beta": "bias"}
_TABLE = "bert/embeddings/word_embeddings"
_MAPPING = "bert/encoder/embedding_hidden_mapping_in"
# What some files hold a second time: it is one parameter there, and has no variable of its own here.
_TIED = {"predictions.decoder.weight": _TABLE, "predictions.decoder.bias": "cls/predictions/output_bias"}


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.escape(name)
    for number in ("group", "layer"):
        escaped = escaped.replace(rf"\{{{number}\}}", _NUMBER.format(number))
    return re.compile(escaped)


_ROWS = [(_pattern(row.hugging_face), row) for row in VARIABLES]


@dataclasses.dataclass(frozen=True)
class _Entry:
    theirs: str
    is_transposed: bool = False


@contextlib.contextmanager
def open_weights(path: Path) -> Iterator["Weights"]:
    """The tensors of a file, or of the shards that an index names, by our names.

    Raises UserError when something is missing, damaged, or cannot be represented here; reading a tensor does too.
    """
    if (path.parent / CONFIG).is_file():
        _check_config(path.parent / CONFIG)
    with open_tensors(path) as files:
        yield Weights(path, files)


class Weights:
    """What TensorFlow's reader of checkpoints gives; `files` are the open files by the names of their tensors."""

    def __init__(self, path: Path, files: Mapping[str, Any]):
        self._path = path
        self._files = files
        names = _our_names(list(files))
        if _TABLE not in [ours for ours, _ in names]:
            first = ", ".join(short_repr(name)[1:-1] for name in sorted(files)[:3])
            raise UserError(f"{path} holds no ALBERT: no embeddings.word_embeddings.weight; it begins with {first}.")
        name, times = collections.Counter(ours for ours, _ in names).most_common(1)[0]
        if times > 1:
            raise UserError(f"{path} holds {short_repr(name)[1:-1]} {times} times, under several names.")
        self._entries = dict(names)
        self._check_tied()
        self._drop_identity()

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Shapes by our names, as the variables have them."""
        shapes = {name: list(self._slice(name).get_shape()) for name in self._entries}
        return {name: shape[::-1] if self._entries[name].is_transposed else shape for name, shape in shapes.items()}

    def get_variable_to_dtype_map(self) -> dict[str, str]:
        """NumPy's names of types, by our names. Raises UserError for types of packed numbers."""
        types = {name: self._slice(name).get_dtype() for name in self._entries}
        for name, kind in types.items():
            if kind not in _TYPES:
                theirs = short_repr(self._entries[name].theirs)[1:-1]
                raise UserError(f"{self._path}: {theirs} has type {kind}. Save the model as float32.")
        return {name: _TYPES[kind] for name, kind in types.items()}

    def get_tensor(self, name: str) -> np.ndarray:
        """The value of a variable. TensorFlow must be imported for bfloat16, which NumPy knows from it."""
        entry = self._entries[name]
        value: np.ndarray = self._files[entry.theirs].get_tensor(entry.theirs)
        return value.T if entry.is_transposed else value

    def _slice(self, name: str) -> Any:
        theirs = self._entries[name].theirs
        return self._files[theirs].get_slice(theirs)

    def _check_tied(self) -> None:
        """Drops what is there twice. Raises UserError where the two differ."""
        for theirs, ours in _TIED.items():
            if theirs in self._entries and ours in self._entries:
                if not np.array_equal(self.get_tensor(theirs), self.get_tensor(ours)):
                    other = self._entries[ours].theirs
                    raise UserError(f"{self._path}: {theirs} differs from {other}, but this model has one for both.")
                del self._entries[theirs]

    def _drop_identity(self) -> None:
        """A model whose embeddings are as wide as its layers has no mapping here, but always one there."""
        kernel, bias = f"{_MAPPING}/kernel", f"{_MAPPING}/bias"
        if not {kernel, bias} <= set(self._entries) or len(set(self._slice(kernel).get_shape())) != 1:
            return
        value = self.get_tensor(kernel)
        if value.ndim != 2 or not np.array_equal(value, np.eye(len(value))) or self.get_tensor(bias).any():
            raise UserError(
                f"{self._path}: {self._entries[kernel].theirs} is no identity, but this model has no such layer where "
                "embedding_size is hidden_size."
            )
        del self._entries[kernel], self._entries[bias]


def _our_names(names: list[str]) -> list[tuple[str, _Entry]]:
    # A token classifier's head is not ours: it reads no pooler, which its file does not have.
    has_pooler = any(name.removeprefix("albert.").startswith("pooler.") for name in names)
    return [
        (name, _Entry(name)) if name.startswith("classifier.") and not has_pooler else _our_name(name)
        for name in names
    ]  # fmt: skip


def _our_name(theirs: str) -> tuple[str, _Entry]:
    scope, dot, leaf = theirs.removeprefix("albert.").rpartition(".")
    inside = scope + dot + _OLD_SPELLINGS.get(leaf, leaf)
    for pattern, row in _ROWS:
        if match := pattern.fullmatch(inside):
            return row.ours.format(**match.groupdict()), _Entry(theirs, row.is_transposed)
    # What else an encoder holds must not be passed over: under such a name `load_weights` refuses it.
    is_encoder = theirs.startswith("albert.") or inside.partition(".")[0] in ("embeddings", "encoder", "pooler")
    return f"bert/{inside.replace('.', '/')}" if is_encoder else theirs, _Entry(theirs)


def _check_config(path: Path) -> None:
    """Raises UserError where the configuration beside the weights is one that this model cannot compute."""
    config = AlbertConfig.from_json_file(path)
    layers, groups = config.num_hidden_layers, config.num_hidden_groups
    if any(int(i / (layers / groups)) != int(i / layers * groups) for i in range(layers)):
        raise UserError(
            f"{path}: {layers} layers in {groups} groups are divided otherwise by Hugging Face than by this model."
        )
