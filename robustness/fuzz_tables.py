"""The index of a TensorFlow checkpoint taken apart and put together, so that damage lies behind good checksums.

The format is LevelDB's table (github.com/google/leveldb, doc/table_format.md), with keys of variables and
`BundleEntryProto` values. Written are tables of one uncompressed block.
"""

import struct
from collections.abc import Mapping

from albert.data.record_file import masked_crc

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57


def read_table(data: bytes) -> dict[bytes, bytes]:
    """Value by key of a table whose first block holds all entries. Raises ValueError or IndexError where it is none."""
    end, _ = _varint(data, len(data) - _FOOTER_BYTES)  # the first of what follows the entries, the meta index
    block = data[: end - 5]
    (num_restarts,) = struct.unpack("<I", block[-4:])
    stop, at, key, entries = len(block) - 4 - 4 * num_restarts, 0, b"", {}
    while at < stop:
        shared, at = _varint(block, at)
        new, at = _varint(block, at)
        size, at = _varint(block, at)
        key = key[:shared] + block[at : at + new]
        entries[key] = block[at + new : at + new + size]
        at += new + size
    return entries


def write_table(entries: Mapping[bytes, bytes]) -> bytes:
    """The table of `entries`, in order of their keys."""
    block = _block({key: entries[key] for key in sorted(entries)})
    body = _with_checksum(block)
    meta = _block({})
    meta_handle = _number(len(body)) + _number(len(meta))
    body += _with_checksum(meta)
    index = _block({max(entries, default=b""): _number(0) + _number(len(block))})
    index_handle = _number(len(body)) + _number(len(index))
    footer = (meta_handle + index_handle).ljust(_FOOTER_BYTES - 8, b"\0") + struct.pack("<Q", _MAGIC)
    return body + _with_checksum(index) + footer


def _block(entries: Mapping[bytes, bytes]) -> bytes:
    data, starts = b"", []
    for key, value in entries.items():
        starts.append(len(data))
        data += _number(0) + _number(len(key)) + _number(len(value)) + key + value
    starts = starts or [0]
    return data + struct.pack(f"<{len(starts)}I", *starts) + struct.pack("<I", len(starts))


def _with_checksum(block: bytes) -> bytes:
    typed = block + b"\0"  # the 0 says "not compressed"
    return typed + struct.pack("<I", masked_crc(typed))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def _number(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
