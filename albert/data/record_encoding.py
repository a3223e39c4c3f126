"""The bytes of a `tf.train.Example`, and the records of pretraining, whose lengths are the same. No TensorFlow.

Writing the bytes by hand saves the writing processes TensorFlow, which takes seconds and 500 MB to import, and most of
the time: of records of one length, the numbers of many are encoded at once.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from albert.data.record_file import framed


class Feature(NamedTuple):
    """One feature of a record: its name, the dtype of its numbers, and how many there are."""

    name: str
    dtype: str  # "int64" or "float32", the two kinds of numbers that a tf.train.Example has
    length: int


def num_predictions(max_predictions_per_seq: int, do_permutation: bool) -> int:
    """P, the predictions that a record has room for: permuted tokens are predicted besides masked ones."""
    return max_predictions_per_seq * (2 if do_permutation else 1)


def record_features(max_seq_length: int, predictions: int) -> tuple[Feature, ...]:
    """The features of a record of S = `max_seq_length` positions with room for P = `predictions`, in upstream's order.

    `input_mask` is 0 on padding, `segment_ids` 1 in the second half, `token_boundary` 1 where a word begins.
    `masked_lm_ids` are the true tokens at `masked_lm_positions`; `masked_lm_weights` is 0 where nothing is predicted.
    `next_sentence_labels` is 1 where the second half does not follow the first, or is not a noisy copy of it.
    """
    return (
        Feature("input_ids", "int64", max_seq_length),
        Feature("input_mask", "int64", max_seq_length),
        Feature("segment_ids", "int64", max_seq_length),
        Feature("token_boundary", "int64", max_seq_length),
        Feature("masked_lm_positions", "int64", predictions),
        Feature("masked_lm_ids", "int64", predictions),
        Feature("masked_lm_weights", "float32", predictions),
        Feature("next_sentence_labels", "int64", 1),
    )


def encode_records(features: tuple[Feature, ...], columns: dict[str, np.ndarray]) -> list[bytes]:
    """N framed TFRecords, which a file of records holds one after the other.

    Args:
      features: what a record consists of.
      columns: the numbers of each feature by its name, [N, length]; integers are not negative.

    The bytes are those of `tf.train.Example.SerializeToString(deterministic=True)` and `tf.io.TFRecordWriter`.
    """
    assert columns.keys() == {feature.name for feature in features}, f"columns are {sorted(columns)}"
    entries = []
    for feature in sorted(features):  # protobuf's deterministic order of a map
        rows = columns[feature.name]
        assert rows.shape[1:] == (feature.length,), f"{feature.name} has shape {rows.shape}, not [N, {feature.length}]"
        if feature.dtype == "float32":
            payloads = _split(rows.astype("<f4").tobytes(), np.full(len(rows), 4 * feature.length))
        else:
            payloads = _packed_varints(rows)
        kind = _FLOAT_LIST if feature.dtype == "float32" else _INT64_LIST
        entries.append([_entry_head(feature.name, kind, len(payload)) + payload for payload in payloads])
    return [framed(example(parts)) for parts in zip(*entries, strict=True)]


# --- tf.train.Example: protocol buffers' wire format ------------------------------------------------------------------
# Example { Features features = 1 }; Features { map<string, Feature> feature = 1 };
# Feature { one of FloatList float_list = 2, Int64List int64_list = 3 }; either list { repeated value = 1 [packed] }.
# A map is a repeated message { key = 1, value = 2 }. Every field here is "length-delimited": tag, length, content.

_FLOAT_LIST, _INT64_LIST = 2, 3


def _tag(field: int) -> bytes:
    return bytes([field << 3 | 2])


def _varint(number: int) -> bytes:
    """7 bits a byte, the lowest first; the top bit says that more follow."""
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def example(entries: Iterable[bytes]) -> bytes:
    """A `tf.train.Example` of features as `integer_entry` and `float_entry` make them, in the order of their names."""
    features = b"".join(entries)
    return _tag(1) + _varint(len(features)) + features


def integer_entry(name: str, values: Sequence[float]) -> bytes:
    """A feature of any number of integers."""
    payload = _small(values) if isinstance(values, list) else None
    if payload is None:
        payload = b"".join(map(_VARINTS.__getitem__, values))
    return _entry_head(name, _INT64_LIST, len(payload)) + payload


def float_entry(name: str, values: Sequence[float]) -> bytes:
    """A feature of any number of numbers, as float32."""
    payload = np.array(values, "<f4").tobytes()
    return _entry_head(name, _FLOAT_LIST, len(payload)) + payload


def _small(values: list[int] | list[float]) -> bytes | None:
    """The varints of numbers of one byte, such as segments, in a fifth of the time; None where one needs more."""
    try:
        payload = bytes(values)  # type: ignore[arg-type]  # floats raise
    except (TypeError, ValueError):
        return None
    return payload if payload.isascii() else None


class _Varints(dict[float, bytes]):
    """The bytes of integers. Those of a vocabulary are kept: looking one up takes a tenth of the time."""

    def __missing__(self, number: float) -> bytes:
        whole = int(number)
        assert whole == number, f"{number} is no integer"
        data = _varint(whole & 0xFFFFFFFFFFFFFFFF)
        if 0 <= whole < _KEPT_VARINTS:
            self[whole] = data
        return data


_KEPT_VARINTS = 1 << 18
_VARINTS = _Varints()


@functools.lru_cache(maxsize=4096)
def _entry_head(name: str, kind: int, payload_length: int) -> bytes:
    """The bytes before the packed numbers of a feature, if these have `payload_length` bytes; none if that is 0."""
    numbers = _tag(1) + _varint(payload_length) if payload_length else b""
    value = _tag(kind) + _varint(len(numbers) + payload_length) + numbers
    encoded = name.encode()
    entry = _tag(1) + _varint(len(encoded)) + encoded + _tag(2) + _varint(len(value) + payload_length) + value
    return _tag(1) + _varint(len(entry) + payload_length) + entry


def _packed_varints(rows: np.ndarray) -> list[bytes]:
    """The varints of each row of `rows` [N, L], one after the other; numbers below 2**28, which need four bytes."""
    if not rows.size:
        return [b""] * len(rows)
    largest = int(rows.max())
    assert rows.min() >= 0, "a negative number would take ten bytes"
    assert largest < 1 << 28, "only numbers of at most four bytes are provided for"
    if largest < 1 << 7:
        return _split(rows.astype(np.uint8).tobytes(), np.full(len(rows), rows.shape[1]))
    numbers = rows.astype("<u4")
    more = [numbers >= 1 << bits for bits in (7, 14, 21)]  # is there another byte?
    spread = np.zeros(rows.shape, "<u4")
    for place in range(4):
        spread |= (numbers & 0x7F << 7 * place) << place
    for place, follows in enumerate(more):
        spread |= follows.astype("<u4") << (7 + 8 * place)
    is_there = np.stack([np.ones(rows.shape, bool), *more], axis=-1)
    # Flat: NumPy selects from a flat array five times as fast.
    return _split(spread.view(np.uint8).ravel()[is_there.ravel()].tobytes(), is_there.sum((1, 2)))


def _split(data: bytes, lengths: np.ndarray) -> list[bytes]:
    ends = np.cumsum(lengths).tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
