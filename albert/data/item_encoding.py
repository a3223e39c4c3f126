"""Featurised items as the bytes of a cache's file, with what its manifest counts of them. No TensorFlow.

Whoever featurises items encodes their records as well, so that a process that writes what several make only joins
bytes: lists of numbers would cost it more to receive than to write.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from albert.data.record_encoding import example, float_entry, integer_entry
from albert.data.record_file import framed
from albert.data.schema import Column, Record, take_cuts

T = TypeVar("T")


class CountedIds(NamedTuple):
    """Ids by which a cache counts pieces that the vocabulary does not have, among those that are not `special`."""

    unknown: int
    special: tuple[int, ...]


class UnknownCount(NamedTuple):
    """How many of the `total` pieces in "input_ids" are unknown, and which item is the first with one (None: none)."""

    total: int
    unknown: int
    first_item: int | None

    def with_others(self, others: "UnknownCount") -> "UnknownCount":
        """These, and those of later items."""
        first = others.first_item if self.first_item is None else self.first_item
        return UnknownCount(self.total + others.total, self.unknown + others.unknown, first)


class EncodedItems(NamedTuple):
    """Some items.

    Attributes:
      num_items: how many they are.
      data: their records as a file has them, one after the other.
      lengths: bytes of the data of each record, as `framed` was given it.
      token_counts: tokens of each record.
      cuts: by the setting to which texts were cut, how many items had such a text, and the tokens of the longest.
      unknown: what was counted; None where nothing was to be.
    """

    num_items: int
    data: bytes
    lengths: list[int]
    token_counts: list[int]
    cuts: dict[str, tuple[int, int]]
    unknown: UnknownCount | None


def numbered_chunks(items: Iterable[T], size: int) -> Iterable[tuple[int, list[T]]]:
    """`items`, so many at a time, each time with the number of the first, from 0."""
    iterator, first = iter(items), 0
    while chunk := list(itertools.islice(iterator, size)):
        yield first, chunk
        first += len(chunk)


def encode_items(
    chunk: tuple[int, Sequence[T]],
    featurize: Callable[[T], list[Record]],
    feature_spec: Mapping[str, Column],
    counted_ids: CountedIds | None,
) -> EncodedItems:
    """The items of a chunk; each record also gets "example_index", the number of its item."""
    first, items = chunk
    columns = sorted([*feature_spec.items(), (_ITEM, _ITEM_COLUMN)])  # protobuf's deterministic order of a map
    data: list[bytes] = []
    lengths: list[int] = []
    token_counts: list[int] = []
    cuts: dict[str, tuple[int, int]] = {}
    pieces = _PieceCounter(counted_ids) if counted_ids else None
    for number, item in enumerate(items, start=first):
        records = featurize(item)
        for name, longest in take_cuts(records).items():
            count, before = cuts.get(name, (0, 0))
            cuts[name] = count + 1, max(before, longest)
        for record in records:
            encoded = _encoded(record, number, feature_spec, columns)
            data.append(framed(encoded))
            lengths.append(len(encoded))
            token_counts.append(len(record["input_ids"]))
            if pieces:
                pieces.add(record["input_ids"], number)
    return EncodedItems(len(items), b"".join(data), lengths, token_counts, cuts, pieces.found() if pieces else None)


def item_encoder(
    featurize: Callable[[T], list[Record]], feature_spec: Mapping[str, Column], counted_ids: CountedIds | None
) -> Callable[[tuple[int, Sequence[T]]], EncodedItems]:
    """`encode_items` for chunks alone; can be sent to other processes if `featurize` can."""
    return functools.partial(
        encode_items, featurize=featurize, feature_spec=dict(feature_spec), counted_ids=counted_ids
    )


_ITEM, _ITEM_COLUMN = "example_index", Column("scalar", "int32")


def _encoded(
    record: Record, item: int, feature_spec: Mapping[str, Column], columns: Sequence[tuple[str, Column]]
) -> bytes:
    """The `tf.train.Example` of a record of the item with that number."""
    assert record.keys() == feature_spec.keys(), f"a record must have {list(feature_spec)}, got {list(record)}"
    entries = []
    for name, column in columns:
        if name == _ITEM:
            entries.append(integer_entry(name, [item]))
            continue
        values = record[name]
        is_fixed = column.kind in ("scalar", "vector")
        assert not is_fixed or len(values) == column.length, f"{name} has {len(values)} values, not {column.length}"
        entries.append((float_entry if column.dtype == "float32" else integer_entry)(name, values))
    return example(entries)


class _PieceCounter:
    """Counts the pieces of items, and those that the vocabulary does not have."""

    def __init__(self, counted: CountedIds):
        self._counted = counted
        self._all = frozenset((counted.unknown, *counted.special))
        self._total = self._unknown = 0
        self._first_item: int | None = None

    def add(self, ids: Sequence[float], item: int) -> None:
        """Counts those of a record of an item; items come in their order."""
        # One look for all of them, and a count of each that is there: to count each would take three times as long.
        there = self._all.intersection(ids)
        self._total += len(ids) - sum([ids.count(special) for special in self._counted.special if special in there])
        if self._counted.unknown in there:
            self._unknown += ids.count(self._counted.unknown)
            self._first_item = item if self._first_item is None else self._first_item

    def found(self) -> UnknownCount:
        """All that was counted."""
        return UnknownCount(self._total, self._unknown, self._first_item)
