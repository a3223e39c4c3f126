"""Validates a checkpoint index, because TensorFlow aborts the process on a malformed one.

The format is LevelDB's table (doc/table_format.md in github.com/google/leveldb) of `BundleEntryProto` by name
(tensorflow/core/protobuf/tensor_bundle.proto). Checksums are left to TensorFlow, which does check those.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_slice_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

from albert.system.text_encoding import read_regular

_FOOTER_BYTES = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
_TRAILER_BYTES = 5  # of a block: how it is compressed, and its checksum
_UNCOMPRESSED = 0

# What the tensors of a checkpoint of weights can be. Others have no NumPy type, or are not values.
_DTYPES = frozenset(
    getattr(tf, name).as_datatype_enum
    for name in "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string".split()
)


def check_index(path: Path, num_data_bytes: int) -> None:
    """Raises ValueError unless each entry describes a tensor that lies within `num_data_bytes` bytes of data.

    OSError where the file cannot be read.
    """
    data = read_regular(path)
    if len(data) < _FOOTER_BYTES or data[-8:] != _MAGIC:
        raise ValueError("its index is not one of TensorFlow's, or is cut")
    try:
        for key, value in _entries(data):
            if key:  # the first entry, without a name, is about all of them
                _check_entry(key, tensor_bundle_pb2.BundleEntryProto.FromString(value), num_data_bytes)
    except (IndexError, struct.error, DecodeError):
        raise ValueError("its index is damaged") from None


def _check_entry(key: bytes, entry: tensor_bundle_pb2.BundleEntryProto, num_data_bytes: int) -> None:
    name = ascii(key.decode(errors="replace"))[1:-1][:100]
    shape = [dim.size for dim in entry.shape.dim]
    if entry.dtype not in _DTYPES:
        raise ValueError(f"{name} has a type that weights cannot have")
    if entry.shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"{name} has no definite shape")
    dtype = tf.dtypes.as_dtype(entry.dtype)
    num_elements = math.prod(shape)
    if entry.slices:
        for tensor_slice in entry.slices:
            extents = tensor_slice.extent
            if len(extents) != len(shape) or not all(map(_is_within, extents, shape)):
                raise ValueError(f"{name} has a part that is not within it")
    elif dtype == tf.string:
        if num_elements > entry.size:
            raise ValueError(f"{name} holds more texts than it has bytes")
    elif num_elements * dtype.size != entry.size:
        raise ValueError(f"{name} has {entry.size} bytes, which its shape {shape} does not fill")
    if not 0 <= entry.offset <= entry.offset + entry.size <= num_data_bytes:
        raise ValueError(f"{name} does not lie within the {num_data_bytes} bytes of the data")


def _is_within(extent: tensor_slice_pb2.TensorSliceProto.Extent, size: int) -> bool:
    if not extent.HasField("length"):  # all of it
        return extent.start == 0
    return extent.start >= 0 and extent.length >= 0 and extent.start + extent.length <= size


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, value) of all entries in uncompressed blocks, which are the only ones that TensorFlow writes."""
    _, _, at = _handle(data, len(data) - _FOOTER_BYTES)  # of the meta index
    start, size, _ = _handle(data, at)
    for _, handle in _block(data, start, size):
        start, size, _ = _handle(handle, 0)
        yield from _block(data, start, size)


def _block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries hold their key without the prefix it shares with the one before; offsets of whole keys end the block."""
    block = data[start : start + size]
    if start + size + _TRAILER_BYTES > len(data) - _FOOTER_BYTES or data[start + size] != _UNCOMPRESSED:
        raise IndexError("outside of the file, or compressed")
    (num_restarts,) = struct.unpack("<I", block[-4:])
    stop, at, key = size - 4 - 4 * num_restarts, 0, b""
    while at < stop:
        shared, at = _varint(block, at)
        num_new, at = _varint(block, at)
        num_value_bytes, at = _varint(block, at)
        if shared > len(key) or at + num_new + num_value_bytes > stop:
            raise IndexError("an entry outside of its block")
        key = key[:shared] + block[at : at + num_new]
        at += num_new
        yield key, block[at : at + num_value_bytes]
        at += num_value_bytes


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """(start, size, place after it) of the block that is described at `at`."""
    start, at = _varint(data, at)
    size, at = _varint(data, at)
    return start, size, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, place after it): seven bits a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise IndexError("a number without an end")
