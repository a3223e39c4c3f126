"""Many examples in little memory. No TensorFlow."""

import itertools
import logging
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np

from albert.errors import UserError
from albert.tasks.base import Example

_MAX_BYTES_IN_MEMORY = 1 << 24
_READ_AT_ONCE = 1024


class Examples(Sequence[Example]):
    """Examples one after the other, to which some can be added, but none changed.

    A run keeps the rows that it scores. As objects they take 300 bytes more than their texts, here 40; and many texts
    lie in a file without a name in `folder`, if one is given that takes it.
    """

    def __init__(self, examples: Sequence[Example] = (), folder: Path | None = None):
        self._texts = _Bytes(folder)
        self._ends = array("Q", [0])  # of the name and the two texts of each
        self._has_second = bytearray()
        self._labels: list[Any] = []
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}  # several examples have the same labels
        for example in examples:
            self.append(example)

    def append(self, example: Example) -> None:
        """Adds one."""
        for text in (example.guid, example.text_a, example.text_b or ""):
            self._texts.add(text.encode("utf-8", "surrogatepass"))
            self._ends.append(self._texts.size)
        self._has_second.append(example.text_b is not None)
        label = example.label
        self._labels.append(self._known.setdefault(label, label) if isinstance(label, tuple) else label)

    def labels(self) -> np.ndarray:
        """Those of all, [N], or [N, C] where each has several."""
        return np.array(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, number: int) -> Example: ...

    @overload
    def __getitem__(self, number: slice) -> "list[Example]": ...

    def __getitem__(self, number: int | slice) -> "Example | list[Example]":
        if isinstance(number, slice):
            wanted = range(*number.indices(len(self)))
            if wanted and wanted.step == 1:
                return list(self._run(wanted))
            return [self[each] for each in wanted]
        place = range(len(self))[number]
        return next(self._run(range(place, place + 1)))

    def __iter__(self) -> Iterator[Example]:
        for first in range(0, len(self), _READ_AT_ONCE):
            yield from self._run(range(first, min(first + _READ_AT_ONCE, len(self))))

    def _run(self, wanted: range) -> Iterator[Example]:
        """Examples that follow each other, whose texts are read together."""
        ends = self._ends[3 * wanted.start : 3 * wanted.stop + 1]
        data = self._texts.read(ends[0], ends[-1])
        for number, place in zip(wanted, range(0, 3 * len(wanted), 3), strict=True):
            name, first, second = (
                data[begin - ends[0] : end - ends[0]].decode("utf-8", "surrogatepass")
                for begin, end in itertools.pairwise(ends[place : place + 4])
            )
            yield Example(name, first, second if self._has_second[number] else None, self._labels[number])


class _Bytes:
    """Bytes, to which some can be added: the last of them in memory, those before in a file, if there may be one."""

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._file: BinaryIO | None = None
        self._in_file, self._last = 0, bytearray()

    @property
    def size(self) -> int:
        """How many they are."""
        return self._in_file + len(self._last)

    def add(self, data: bytes) -> None:
        """Adds `data`. Warns where a folder takes no file: then all stay in memory."""
        self._last += data
        if self._folder and len(self._last) >= _MAX_BYTES_IN_MEMORY:
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115  # as long as self
                    weakref.finalize(self, self._file.close)
                while self._last:
                    written = self._file.write(self._last[:_MAX_BYTES_IN_MEMORY])
                    self._in_file += written
                    self._last = self._last[written:]
            except OSError as error:  # no room, no right to write
                logging.warning(
                    "%s takes no temporary file (%s): texts stay in memory.", self._folder, error.strerror or error
                )
                self._folder = None

    def read(self, begin: int, end: int) -> bytes:
        """Those from `begin` up to `end`. Raises UserError where the disk fails."""
        parts = []
        while self._file and begin < min(end, self._in_file):
            try:
                parts.append(os.pread(self._file.fileno(), min(end, self._in_file) - begin, begin))
            except OSError as error:
                raise UserError(f"the texts in a temporary file cannot be read again: {error.strerror}.") from error
            assert parts[-1], "the file has no name, so that nobody else can truncate it"
            begin += len(parts[-1])
        parts.append(self._last[max(0, begin - self._in_file) : max(0, end - self._in_file)])
        return b"".join(parts)


def labels_of(items: Sequence[Example]) -> np.ndarray:
    """The labels of all examples, [N], or [N, C] where each has several."""
    return items.labels() if isinstance(items, Examples) else np.array([example.label for example in items])
