"""TFRecord files of pretraining records, by this project's tool or upstream's: checked when opened, read at random.

Owns where each record lies, what every record must be, and the digest of them all. Knows neither batches nor models.
Every byte is read once at the beginning: a damaged or ill-fitting record is found then, and not days into training. A
run that goes on trusts the check with which it began, for as long as the files are as they were.
"""

import array
import contextlib
import dataclasses
import functools
import hashlib
import mmap
import os
import re
import struct
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from albert.data.record_encoding import Feature, record_features
from albert.errors import UserError

# A TFRecord's data stand behind their length (8 bytes) and its checksum (4), and before their own checksum (4).
_LENGTH = struct.Struct("<Q")
_HEADER_BYTES, _FOOTER_BYTES = 12, 4
_RECORDS_AT_A_TIME = 1024
# Features of a record that training does not read.
_NOT_READ = ("token_boundary",)


@dataclasses.dataclass(frozen=True)
class RecordFormat:
    """What fits a model: S positions, up to P predictions, and ids below the model's numbers of pieces and segments."""

    max_seq_length: int
    max_predictions_per_seq: int
    vocab_size: int
    type_vocab_size: int = 2

    @functools.cached_property
    def features(self) -> dict[str, Feature]:
        """What is read of a record, by name."""
        found = record_features(self.max_seq_length, self.max_predictions_per_seq)
        return {feature.name: feature for feature in found if feature.name not in _NOT_READ}

    @property
    def limits(self) -> dict[str, int]:
        """What each integer feature must be below, and at least 0."""
        return {
            "input_ids": self.vocab_size,
            "input_mask": 2,
            "segment_ids": self.type_vocab_size,
            "masked_lm_positions": self.max_seq_length,
            "masked_lm_ids": self.vocab_size,
            "next_sentence_labels": 2,
        }

    def parse(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """string [N] -> each feature [N, its length], int64 or float32. Fails on a record that lacks one."""
        spec = {
            name: tf.io.FixedLenFeature([feature.length], tf.as_dtype(feature.dtype))
            for name, feature in self.features.items()
        }
        return tf.io.parse_example(serialized, spec)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordFiles:
    """Opened files, whose records are numbered through; holds 24 bytes a record.

    `digest` tells the records and their order, however they are spread over files.
    """

    format: RecordFormat
    count: int
    digest: str
    _files: Sequence["_RecordFile"]
    _first_numbers: np.ndarray  # int64 [files], the number of each file's first record

    def read(self, numbers: np.ndarray) -> list[bytes]:
        """The serialized records, in that order. May be called from several threads.

        Raises UserError where a file was cut since it was opened.
        """
        owners = np.searchsorted(self._first_numbers, numbers, side="right") - 1
        places = zip(owners.tolist(), (numbers - self._first_numbers[owners]).tolist(), strict=True)
        return [self._files[owner].read(number) for owner, number in places]


@dataclasses.dataclass(frozen=True)
class EarlierCheck:
    """All records of `digest` were found good for the same format, at a time in seconds since the epoch."""

    digest: str
    time: float

    def covers(self, files: Sequence["_RecordFile"], digest: str) -> bool:
        """Whether it was of these files, and none was written since. Equal times may hide a change: not covered."""
        return digest == self.digest and all(os.fstat(file.descriptor).st_mtime < self.time for file in files)


def open_records(
    paths: Sequence[Path], record_format: RecordFormat, earlier: EarlierCheck | None = None
) -> RecordFiles:
    """Opens files and checks every record of them, unless `earlier` covers them.

    Raises UserError naming file and record, counted from 0, where one is cut, damaged, no record of pretraining, of
    another length, or has an id that the model does not; or where there are no records at all.
    """
    files = [_RecordFile.open(path) for path in paths]
    counts = [file.count for file in files]
    if not sum(counts):
        raise UserError(
            f"{', '.join(map(str, paths))}: no records. Make some with python3 -m albert.create_pretraining_data"
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(np.stack([file.lengths, file.checksums], axis=1).tobytes())
    if not (earlier and earlier.covers(files, digest.hexdigest())):
        total_bytes = sum(int(file.lengths.sum()) for file in files)
        with tqdm(desc="check records", total=total_bytes, unit="B", unit_scale=True, delay=1, disable=None) as bar:
            for file in files:
                _check(file, record_format, bar)
    return RecordFiles(record_format, sum(counts), digest.hexdigest(), files, np.cumsum([0, *counts[:-1]]))


# --- One file -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _RecordFile:
    path: Path
    descriptor: int
    offsets: np.ndarray  # int64 [count], of the data
    lengths: np.ndarray  # int64 [count], of the data
    checksums: np.ndarray  # int64 [count], masked CRC-32C of the data as the file has it

    @property
    def count(self) -> int:
        return len(self.offsets)

    @classmethod
    def open(cls, path: Path) -> "_RecordFile":
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        try:
            file = cls(path, descriptor, *_index(path, descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        weakref.finalize(file, os.close, descriptor)
        return file

    def read(self, number: int) -> bytes:
        length = int(self.lengths[number])
        data = os.pread(self.descriptor, length, int(self.offsets[number]))
        if len(data) != length:
            raise UserError(f"{self.path} was cut short while it was in use: record {number} is gone")
        return data


def _index(path: Path, descriptor: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offset, length and checksum of every record's data, by going from length to length."""
    offsets, lengths, checksums = (array.array("q") for _ in range(3))  # lists would take six times as much
    with _mapped(descriptor) as data:
        place, size = 0, len(data)
        while place < size:
            length = _LENGTH.unpack_from(data, place)[0] if place + _HEADER_BYTES <= size else size
            end = place + _HEADER_BYTES + length
            if end + _FOOTER_BYTES > size:
                if not offsets:
                    raise UserError(f"{path} is not a file of TFRecords, or cut short within the first")
                raise UserError(f"{path} is cut short or damaged: record {len(offsets)} does not end. Make it again.")
            offsets.append(place + _HEADER_BYTES)
            lengths.append(length)
            checksums.append(int.from_bytes(data[end : end + _FOOTER_BYTES], "little"))
            place = end + _FOOTER_BYTES
    return tuple(np.frombuffer(numbers, np.int64) for numbers in (offsets, lengths, checksums))


@contextlib.contextmanager
def _mapped(descriptor: int) -> Iterator[mmap.mmap | bytes]:
    if os.fstat(descriptor).st_size == 0:  # cannot be mapped
        yield b""
        return
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        yield data


# --- What is in the records ----------------------------------------------------------------------------------------


def _check(file: _RecordFile, record_format: RecordFormat, bar: tqdm) -> None:
    """Raises UserError for the first record that is damaged or does not fit."""
    if not file.count:
        return
    _raise_for_problem(file, record_format, range(1))
    dataset = tf.data.TFRecordDataset(str(file.path)).batch(_RECORDS_AT_A_TIME)
    dataset = dataset.map(lambda serialized: _is_good(serialized, record_format), tf.data.AUTOTUNE, deterministic=True)
    batches = iter(dataset.prefetch(tf.data.AUTOTUNE))
    for first in range(0, file.count, _RECORDS_AT_A_TIME):
        numbers = range(first, min(first + _RECORDS_AT_A_TIME, file.count))
        try:
            is_good = bool(next(batches))
        except tf.errors.DataLossError as error:
            offset = re.search(r"record at (\d+)", error.message)
            number = np.searchsorted(file.offsets, int(offset[1])) if offset else first
            raise UserError(f"{file.path}, record {number}: its checksum is wrong. Make the file again.") from error
        except tf.errors.InvalidArgumentError:  # from parsing; what is wrong is found below
            is_good = False
        if not is_good:
            _raise_for_problem(file, record_format, numbers)
            raise UserError(f"{file.path}: one of the records {numbers[0]} to {numbers[-1]} cannot be read")
        bar.update(int(file.lengths[numbers[0] : numbers[-1] + 1].sum()))


def _is_good(serialized: tf.Tensor, record_format: RecordFormat) -> tf.Tensor:
    """bool []: whether all numbers of these records are in range. The same conditions as `_problem`."""
    parsed = record_format.parse(serialized)
    in_range = [
        tf.reduce_all((parsed[name] >= 0) & (parsed[name] < limit)) for name, limit in record_format.limits.items()
    ]
    weights = parsed["masked_lm_weights"]
    return tf.reduce_all(in_range) & tf.reduce_all((weights >= 0) & (weights <= 1))


def _raise_for_problem(file: _RecordFile, record_format: RecordFormat, numbers: range) -> None:
    for number in numbers:
        problem = _problem(file.read(number), record_format)
        if problem:
            raise UserError(f"{file.path}, record {number}: {problem}")


def _problem(serialized: bytes, record_format: RecordFormat) -> str | None:
    """What is wrong with a record, as a phrase; None if nothing is."""
    try:
        example = tf.train.Example.FromString(serialized)
    except Exception:  # protobuf's DecodeError, whose module depends on protobuf's version
        return "not a tf.train.Example. Make the records with python3 -m albert.create_pretraining_data."
    values = {name: _values(example, feature) for name, feature in record_format.features.items()}
    missing = [name for name, found in values.items() if not found.size]
    if missing:
        return f"no {', '.join(missing)}: not a record of pretraining, which albert.create_pretraining_data makes"
    return _length_problem(values, record_format) or _range_problem(values, record_format)


def _values(example: "tf.train.Example", feature: Feature) -> np.ndarray:
    found = example.features.feature[feature.name]
    return np.array(found.float_list.value if feature.dtype == "float32" else found.int64_list.value)


def _length_problem(values: Mapping[str, np.ndarray], record_format: RecordFormat) -> str | None:
    found = {name: len(values[name]) for name in record_format.features}
    problems = []
    if found["input_ids"] != record_format.max_seq_length:
        problems.append(f"`max_seq_length`={record_format.max_seq_length}, but it has {found['input_ids']} input_ids")
    if found["masked_lm_ids"] != record_format.max_predictions_per_seq:
        problems.append(
            f"`max_predictions_per_seq`={record_format.max_predictions_per_seq}, but it has "
            f"{found['masked_lm_ids']} masked_lm_ids (twice as many as asked for where do_permutation "
            "made it)"
        )
    if problems:
        return f"{'; '.join(problems)}. Give the numbers of the data; all records must have the same."
    wrong = [name for name, feature in record_format.features.items() if found[name] != feature.length]
    if wrong:
        return f"{found[wrong[0]]} {wrong[0]}, but {record_format.features[wrong[0]].length} are needed"
    return None


def _range_problem(values: Mapping[str, np.ndarray], record_format: RecordFormat) -> str | None:
    for name, limit in record_format.limits.items():
        wrong = values[name][(values[name] < 0) | (values[name] >= limit)]
        if wrong.size:
            setting = {"input_ids": "vocab_size", "masked_lm_ids": "vocab_size", "segment_ids": "type_vocab_size"}
            advice = ""
            if name in setting:
                advice = f"; {setting[name]} in the model's configuration must be that of the vocabulary of the data"
            return f"{name} holds {wrong[0]}, but 0 to {limit - 1} are possible{advice}"
    weights = values["masked_lm_weights"]
    if not np.all((weights >= 0) & (weights <= 1)):
        return "masked_lm_weights are not all from 0 to 1"
    return None
