"""The tensors of another library's file by our names: what TensorFlow's reader of checkpoints gives of one of ours."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.system.json_text import short_text
from albert.weights.names import EMBEDDING_MAPPING
from albert.weights.stored_tensors import BYTES_OF, Block, StoredTensor


@dataclasses.dataclass(frozen=True)
class NamedTensor:
    """A tensor that is not read yet: what the file calls it, and its shape, type and values as the variable has them.

    A `dtype` that is none of `BYTES_OF` is a type that is not read.
    """

    theirs: str
    shape: tuple[int, ...]
    dtype: str
    blocks: Callable[[], Iterator[Block]]

    def read(self) -> np.ndarray:
        """All values."""
        values = None
        for begin, block in self.blocks():
            if block.shape == self.shape:
                return block
            values = np.empty(self.shape, block.dtype) if values is None else values
            values[tuple(slice(at, at + size) for at, size in zip(begin, block.shape, strict=True))] = block
        return np.empty(self.shape, self.dtype) if values is None else values

    def with_heads_merged(self, axis: int | None) -> "NamedTensor":
        """With [.., A, D, ..] as [.., H, ..] at `axis`; itself where that is None, or where it has no such axes."""
        if axis is None or len(self.shape) < axis + 2:
            return self
        merged = (*self.shape[:axis], self.shape[axis] * self.shape[axis + 1], *self.shape[axis + 2 :])
        return named(self.theirs, merged, self.dtype, lambda: self.read().reshape(merged))


def named(theirs: str, shape: tuple[int, ...], dtype: str, read: Callable[[], np.ndarray]) -> NamedTensor:
    """A tensor that is read at once."""
    return NamedTensor(theirs, shape, dtype, lambda: iter([((0,) * len(shape), read())]))


def stored(theirs: str, tensor: StoredTensor, is_transposed: bool = False) -> NamedTensor:
    """A tensor that lies in a file as plain numbers."""
    shape = tensor.shape[::-1] if is_transposed else tensor.shape
    return NamedTensor(theirs, shape, tensor.dtype, functools.partial(tensor.blocks, is_transposed))


def check_division(path: Path, library: str) -> AlbertConfig:
    """The configuration in `path`. Raises UserError where that library uses another group for a layer than we do."""
    config = AlbertConfig.from_json_file(path)
    problem = problem_of_division(config, library)
    if problem:
        raise UserError(f"{path}: {problem}.")
    return config


def problem_of_division(config: AlbertConfig, library: str) -> str | None:
    """What is wrong where other libraries, which round at another place, use another group for a layer than we do."""
    layers, groups = config.num_hidden_layers, config.num_hidden_groups
    if all(int(i / (layers / groups)) == int(i / layers * groups) for i in range(layers)):
        return None
    return f"{layers} layers in {groups} groups are divided otherwise by {library} than by this model"


class Reader(Protocol):
    """What `load_weights` reads from: TensorFlow's reader of checkpoints, or `NamedTensors` of another format."""

    def get_variable_to_shape_map(self) -> Mapping[str, Sequence[int]]:
        """Shapes by the names of entries."""

    def get_variable_to_dtype_map(self) -> Mapping[str, Any]:
        """Types by the names of entries, as `tf.as_dtype` takes them."""

    def get_tensor(self, name: str) -> Any:
        """The value of an entry, as `np.asarray` takes it."""


class NamedTensors:
    """Another library's tensors as a `Reader`, by our names; read part by part with `get_blocks`."""

    def __init__(self, path: Path, tensors: Iterable[tuple[str, NamedTensor]]):
        """Raises UserError where two tensors have one name of ours; `path` is what errors name."""
        self._path = path
        pairs = list(tensors)
        for name, times in collections.Counter(ours for ours, _ in pairs).most_common(1):
            if times > 1:
                raise UserError(f"{path} holds {short_text(name)} {times} times, under several names.")
        self._tensors = dict(pairs)

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Shapes by our names, as the variables have them."""
        return {name: list(tensor.shape) for name, tensor in self._tensors.items()}

    def get_variable_to_dtype_map(self) -> dict[str, str]:
        """NumPy's names of types, by our names. Raises UserError for a type that is not read."""
        for name in self._tensors:
            self._check_type(name)
        return {name: tensor.dtype for name, tensor in self._tensors.items()}

    def get_tensor(self, name: str) -> np.ndarray:
        """The value of a variable. Raises UserError for a type that is not read."""
        self._check_type(name)
        return self._tensors[name].read()

    def get_blocks(self, name: str) -> Iterator[Block]:
        """The same part by part, as it is read."""
        self._check_type(name)
        return self._tensors[name].blocks()

    def drop_tied(self, theirs: str, ours: str) -> None:
        """Drops `theirs`, the same parameter as `ours`. Raises UserError where the two differ."""
        if theirs in self._tensors and ours in self._tensors:
            if not np.array_equal(self.get_tensor(theirs), self.get_tensor(ours)):
                other = self._tensors[ours].theirs
                raise UserError(f"{self._path}: {theirs} differs from {other}, but this model has one for both.")
            del self._tensors[theirs]

    def drop_identity(self) -> None:
        """Drops the mapping of a model whose embeddings are as wide as its layers: ours has none.

        Raises UserError for one that is no identity.
        """
        kernel, bias = EMBEDDING_MAPPING
        if not {kernel, bias} <= set(self._tensors) or len(set(self._tensors[kernel].shape)) != 1:
            return
        value = self.get_tensor(kernel)
        if value.ndim != 2 or not np.array_equal(value, np.eye(len(value))) or self.get_tensor(bias).any():
            raise UserError(
                f"{self._path}: {self._tensors[kernel].theirs} is no identity, but this model has no such layer where "
                "embedding_size is hidden_size."
            )
        del self._tensors[kernel], self._tensors[bias]

    def _check_type(self, name: str) -> None:
        tensor = self._tensors[name]
        if tensor.dtype not in BYTES_OF:
            theirs, kind = (short_text(text) for text in (tensor.theirs, tensor.dtype))
            raise UserError(f"{self._path}: {theirs} has type {kind}. Save the model as float32.")
