"""The columns of a cache as arrays, decoded once: a batch is gathered from them, and parses nothing.

Owns the decoding of records and the room that columns take. An integer takes as few bytes as the largest one of its
column needs: the 393 thousand records of MNLI take 3 bytes a token.

A large column lies in a file and is mapped, so that the kernel can reclaim its memory. That file has no name: no other
process can truncate it while it is mapped, which would end this one; nothing has to be verified, locked or removed; and
a kill leaves nothing behind. The price is that each start decodes the cache again: benchmarks/results/feeding.md.
"""

import dataclasses
import logging
import math
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert.data.schema import Column
from albert.data.tfrecord_cache import RecordCache
from albert.system.printing import counted
from albert.system.progress import progress_bar

_RECORDS_AT_A_TIME = 4096
# A column up to this size is held in memory: a file would save nothing worth its cost.
_MAX_BYTES_IN_MEMORY = 1 << 24


@dataclasses.dataclass(frozen=True)
class Columns:
    """What the model reads of all N records, T tokens together; "host" columns are left out.

    Attributes:
      values: [T] for a column of tokens, [N, length] for a scalar or a vector; of any type that holds the numbers.
      first_tokens: int64 [N], where a record's tokens begin.
    """

    values: Mapping[str, np.ndarray]
    first_tokens: np.ndarray

    def tokens_of(self, records: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """int64 [sum of `lengths`]: where in T the tokens of `records` [n] are, which have `lengths` [n]."""
        before = np.cumsum(lengths) - lengths
        return np.repeat(self.first_tokens[records] - before, lengths) + np.arange(lengths.sum())


# A start that takes this long says what it was doing.
_LONG_SECONDS = 1.0

# Of the caches in use: a run reads its dev split through several datasets.
_decoded: weakref.WeakKeyDictionary[RecordCache, Columns] = weakref.WeakKeyDictionary()


def columns_of(cache: RecordCache, feature_spec: Mapping[str, Column]) -> Columns:
    """The columns of `cache`, whose columns are `feature_spec`; decoded at the first call.

    Raises UserError where the file was changed since it was opened.
    """
    if cache not in _decoded:
        started = time.monotonic()
        _decoded[cache] = columns = _decode(cache, feature_spec)
        megabytes = sum(array.nbytes for array in columns.values.values()) / 1e6
        seconds = time.monotonic() - started
        level = logging.INFO if seconds >= _LONG_SECONDS else logging.DEBUG
        logging.log(
            *(level, "Decoded %s of %s in %.1f s: %.1f MB."),
            *(counted(cache.count, "record"), cache.path, seconds, megabytes),
        )
    return _decoded[cache]


def _decode(cache: RecordCache, feature_spec: Mapping[str, Column]) -> Columns:
    room = _Room(cache.path.parent)
    num_tokens = int(cache.token_counts.sum(dtype=np.int64))
    spec = {name: column for name, column in feature_spec.items() if column.kind != "host"}
    shapes = {n: (num_tokens,) if c.kind == "tokens" else (cache.count, c.length) for n, c in spec.items()}
    columns = {name: _Numbers(shape, room) for name, shape in shapes.items()}
    options: dict[str, Any] = {"unit": " records", "delay": 1, "disable": None, "leave": False}
    with progress_bar(desc=f"decoding {cache.path.name}", total=cache.count, **options) as bar:
        for first, parsed in _parsed(cache, {name: column.dtype for name, column in spec.items()}):
            for name, column in spec.items():
                lengths = parsed[name].row_lengths().numpy()
                if column.kind == "tokens":
                    expected = cache.token_counts[first : first + len(lengths)]
                    assert np.array_equal(lengths, expected), f"{cache.path}: {name} has not one number a token"
                    numbers = parsed[name].values
                else:
                    numbers = parsed[name].to_tensor(shape=[len(lengths), column.length])
                columns[name].add(numbers.numpy().astype(column.dtype))
            bar.update(min(_RECORDS_AT_A_TIME, cache.count - first))
    return Columns(
        {name: numbers.array for name, numbers in columns.items()},
        np.cumsum(cache.token_counts, dtype=np.int64) - cache.token_counts,
    )


class _Numbers:
    """An array of `shape`, filled part by part along the first axis, in the narrowest type that holds its numbers."""

    def __init__(self, shape: tuple[int, ...], room: "_Room"):
        self._room, self._filled = room, 0
        self.array = np.empty(shape, bool)  # narrower than any; nothing is in it, so it takes no memory

    def add(self, numbers: np.ndarray) -> None:
        needed = np.result_type(self.array.dtype, _narrowest(numbers))
        if needed != self.array.dtype:
            wider = self._room.array(self.array.shape, needed)
            wider[: self._filled] = self.array[: self._filled]
            self.array = wider
        self.array[self._filled : self._filled + len(numbers)] = numbers
        self._filled += len(numbers)


def _narrowest(numbers: np.ndarray) -> np.dtype:
    if numbers.dtype.kind == "f":
        return numbers.dtype
    low, high = (np.min_scalar_type(number) for number in (numbers.min(initial=0), numbers.max(initial=0)))
    return min(np.result_type(low, high), numbers.dtype, key=lambda dtype: dtype.itemsize)


class _Room:
    """Where columns lie: in memory; the large ones in files without names in `folder`, if it takes them."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._takes_files = True

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        num_bytes = math.prod(shape) * dtype.itemsize
        if num_bytes > _MAX_BYTES_IN_MEMORY and self._takes_files:
            try:
                with tempfile.TemporaryFile(dir=self._folder) as file:
                    # A full disk is found here, and not when the kernel writes a page, which would end the process.
                    os.posix_fallocate(file.fileno(), 0, num_bytes)
                    return np.frombuffer(mmap.mmap(file.fileno(), num_bytes), dtype).reshape(shape)
            except OSError as error:  # no room, no right to write, or files that cannot be mapped
                self._takes_files = False
                reason = error.strerror or error
                logging.warning("%s takes no temporary file (%s): columns stay in memory.", self._folder, reason)
        return np.empty(shape, dtype)


def read_columns(cache: RecordCache, names: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """The integer columns `names` of every record, each int32 [any]; [] without names."""
    records: list[dict[str, np.ndarray]] = []
    for _, parsed in _parsed(cache, dict.fromkeys(names, "int32")):
        columns = [
            np.split(parsed[name].values.numpy().astype(np.int32), parsed[name].row_splits[1:-1].numpy())
            for name in names
        ]
        records += [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return records


def read_integers(cache: RecordCache, name: str) -> np.ndarray:
    """int64: the integers of column `name` of all records, one after the other."""
    parts = [parsed[name].values.numpy() for _, parsed in _parsed(cache, {name: "int32"})]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _parsed(cache: RecordCache, dtypes: Mapping[str, str]) -> Iterator[tuple[int, dict[str, tf.RaggedTensor]]]:
    """The columns of `dtypes`, a few thousand records at a time, and the number of the first of them."""
    on_disk = {"int32": tf.int64, "float32": tf.float32}
    spec = {name: tf.io.RaggedFeature(on_disk[dtype]) for name, dtype in dtypes.items()}
    for first in range(0, cache.count if dtypes else 0, _RECORDS_AT_A_TIME):
        numbers = np.arange(first, min(first + _RECORDS_AT_A_TIME, cache.count))
        yield first, tf.io.parse_example(tf.constant(cache.read(numbers)), spec)
