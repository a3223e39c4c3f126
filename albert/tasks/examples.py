"""Many examples in little memory. No TensorFlow."""

import itertools
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from albert.tasks.base import Example


class Examples(Sequence[Example]):
    """Examples one after the other, to which some can be added, but none changed.

    A run keeps the rows that it scores. As objects they take 300 bytes more than their texts, here 40.
    """

    def __init__(self, examples: Sequence[Example] = ()):
        self._texts = bytearray()
        self._ends = array("Q", [0])  # of the name and the two texts of each
        self._has_second = bytearray()
        self._labels: list[Any] = []
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}  # several examples have the same labels
        for example in examples:
            self.append(example)

    def append(self, example: Example) -> None:
        """Adds one."""
        for text in (example.guid, example.text_a, example.text_b or ""):
            self._texts += text.encode("utf-8", "surrogatepass")
            self._ends.append(len(self._texts))
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
            return [self._example(each) for each in range(*number.indices(len(self)))]
        return self._example(range(len(self))[number])

    def __iter__(self) -> Iterator[Example]:
        return map(self._example, range(len(self)))

    def _example(self, number: int) -> Example:
        ends = self._ends[3 * number : 3 * number + 4]
        name, first, second = (
            self._texts[begin:end].decode("utf-8", "surrogatepass") for begin, end in itertools.pairwise(ends)
        )
        return Example(name, first, second if self._has_second[number] else None, self._labels[number])


def labels_of(items: Sequence[Example]) -> np.ndarray:
    """The labels of all examples, [N], or [N, C] where each has several."""
    return items.labels() if isinstance(items, Examples) else np.array([example.label for example in items])
