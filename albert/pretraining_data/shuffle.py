"""A shuffle of more records than memory holds: by random keys into buckets on disk, then bucket by bucket in order.

Knows nothing of what records hold. The order depends on the keys alone: neither on who added a record nor on when.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

# Before each record: its key, a number that settles its place among records of the same key, its length.
_HEAD = struct.Struct("<QQI")
# Memory for one bucket; it is not exact, because how large records are is only estimated.
BUCKET_BYTES = 32 << 20
# Each process adds to as many files, one at a time, whenever it has made some hundred records.
_MAX_BUCKETS = 4096


def number_of_buckets(expected_bytes: float) -> int:
    """As many as hold `expected_bytes` in `BUCKET_BYTES` each."""
    return int(min(max(expected_bytes / BUCKET_BYTES + 1, 1), _MAX_BUCKETS))


def add_to_buckets(
    folder: Path, num_buckets: int, keys: np.ndarray, ties: np.ndarray, records: Sequence[bytes]
) -> None:
    """Appends `records` with their `keys` (uint64 [N]) to the buckets in `folder`; `ties` [N] order equal keys.

    Every process writes files of its own, so that any number may add at once.
    """
    buckets = (keys >> np.uint64(32)) * np.uint64(num_buckets) >> np.uint64(32)
    by_bucket: dict[int, list[bytes]] = {}
    for bucket, key, tie, record in zip(buckets.tolist(), keys.tolist(), ties.tolist(), records, strict=True):
        by_bucket.setdefault(bucket, []).extend((_HEAD.pack(key, tie, len(record)), record))
    for bucket, parts in by_bucket.items():
        with (folder / f"bucket-{bucket}-{os.getpid()}").open("ab") as file:
            file.write(b"".join(parts))


def in_key_order(folder: Path, num_buckets: int) -> Iterator[memoryview]:
    """All records in the buckets in `folder`, in the order of their keys. Buckets are deleted when they are done."""
    files: dict[int, list[Path]] = {}
    for path in folder.glob("bucket-*"):
        files.setdefault(int(path.name.split("-")[1]), []).append(path)
    for bucket in range(num_buckets):
        paths = files.get(bucket, [])
        places = []
        for path in paths:
            data = memoryview(path.read_bytes())
            start = 0
            while start < len(data):
                key, tie, length = _HEAD.unpack_from(data, start)
                start += _HEAD.size + length
                places.append((key, tie, data[start - length : start]))
        places.sort(key=lambda place: place[:2])
        yield from (record for _, _, record in places)
        for path in paths:
            path.unlink()
