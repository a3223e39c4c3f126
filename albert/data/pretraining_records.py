"""TFRecord files of pretraining records, by this project's tool or upstream's: checked when opened, read at random.

Owns what every record must be, how that is found out, and the digest of all records. Knows neither batches nor models.
Every byte is read once at the beginning: a damaged or ill-fitting record is found then, and not days into training. A
run that resumes trusts its own check for as long as the files are as they were, and the checksum of each record says so
once more when it is read.
"""

import dataclasses
import functools
import hashlib
import logging
import os
import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from albert.data import checked_records
from albert.data.checked_records import Checked
from albert.data.manifest import ManifestError
from albert.data.pretraining_manifest import RecordsManifest, without_manifests
from albert.data.record_encoding import Feature, record_features
from albert.data.record_file import RecordFile, scan
from albert.errors import UserError
from albert.system.files import as_os_error
from albert.system.open_files import make_room_for_files
from albert.system.printing import counted, part_of
from albert.system.progress import progress_bar
from albert.system.text_encoding import open_regular

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

    def accepts(self, manifest: RecordsManifest) -> bool:
        """Whether all records that `manifest` is of must fit, without a look at them."""
        is_as_long = (self.max_seq_length, self.max_predictions_per_seq) == (
            manifest.max_seq_length,
            manifest.predictions,
        )
        return is_as_long and manifest.vocab_size <= self.vocab_size and self.type_vocab_size >= 2

    def parse(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """string [N] -> each feature [N, its length], int64 or float32. Fails on a record that lacks one."""
        spec = {
            name: tf.io.FixedLenFeature([feature.length], tf.as_dtype(feature.dtype))
            for name, feature in self.features.items()
        }
        return tf.io.parse_example(serialized, spec)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordFiles:
    """Opened files, whose records are numbered through; holds 16 bytes a record.

    Attributes:
      format: what every record is.
      count: the number of records.
      digest: tells the records and their order, however they are spread over files.
      vocabularies: digest and size of those that manifests name; more than one is a mistake.
      digests: of the records of each file, without files that have none.
      without_masks: records without a masked position, among those that were checked one by one when this was opened.
    """

    format: RecordFormat
    count: int
    digest: str
    vocabularies: frozenset[tuple[str, int]]
    digests: Mapping[Path, bytes]
    without_masks: int
    _files: Sequence[RecordFile]
    _first_numbers: np.ndarray  # int64 [files], the number of each file's first record
    _checked: Sequence[Checked]
    _is_kept: bool

    def read(self, numbers: np.ndarray) -> list[bytes]:
        """The serialized records, in that order. May be called from several threads.

        Raises UserError where a file was changed since it was opened.
        """
        owners = np.searchsorted(self._first_numbers, numbers, side="right") - 1
        in_files = (numbers - self._first_numbers[owners]).tolist()
        return [self._files[owner].read([number])[0] for owner, number in zip(owners.tolist(), in_files, strict=True)]

    def keep_check(self, path: Path) -> None:
        """Keeps at `path` that all records are good, for `open_records`. Raises UserError where the disk is full."""
        if self._is_kept and path.exists():
            return
        checked_records.write(path, dataclasses.asdict(self.format), self._checked)


def open_records(paths: Sequence[Path], record_format: RecordFormat, kept: Path | None = None) -> RecordFiles:
    """Opens files and checks every record of those that `kept`, which `keep_check` wrote, does not have.

    A file that has a manifest of create_pretraining_data is read once, and no record is parsed but the first.

    Raises UserError naming file and record, counted from 0, where one is cut, damaged, not a record of pretraining, of
    another length, or has an id that the model does not; or where the files hold nothing.
    """
    paths = without_manifests(tuple(paths))
    make_room_for_files(len(paths), f"There are {counted(len(paths), 'file')} of records")
    known = checked_records.read(kept, dataclasses.asdict(record_format))
    total_bytes = sum(path.stat().st_size for path in paths if path.exists())
    unmasked = _WithoutMasks()
    with progress_bar(desc="check records", total=total_bytes, unit="B", unit_scale=True, delay=1, disable=None) as bar:
        opened = [_open(path, record_format, known, bar, unmasked) for path in paths]
    files, checked = [file for file, _ in opened], [check for _, check in opened]
    counts = [file.count for file in files]
    if not sum(counts):
        raise UserError(
            f"{', '.join(map(str, paths))}: no records. Make some with python3 -m albert.create_pretraining_data"
        )
    unmasked.warn(sum(counts))
    digest, digests = hashlib.sha256(), {}
    for file in files:
        # Of 64 bits each: the identity of runs that began with these records.
        numbers = np.stack([file.lengths, file.checksums], axis=1).astype(np.int64)
        digest.update(numbers.data)
        if file.count:
            digests[file.path] = hashlib.sha256(numbers.data).digest()
    _warn_of_copies(digests)
    vocabularies = frozenset(check.vocabulary for check in checked if check.vocabulary)
    first_numbers = np.cumsum([0, *counts[:-1]])
    is_kept = len(known) == len(checked) and all(known.get(check.state.path) is check for check in checked)
    return RecordFiles(
        record_format,
        sum(counts),
        digest.hexdigest(),
        vocabularies,
        digests,
        unmasked.count,
        files,
        first_numbers,
        checked,
        is_kept,
    )


def _warn_of_copies(digests: Mapping[Path, bytes]) -> None:
    """Warns where files hold the same records, whose sequences then count more than once."""
    firsts: dict[bytes, Path] = {}
    copies = [(path, first) for path, digest in digests.items() if (first := firsts.setdefault(digest, path)) != path]
    if copies:
        logging.warning(
            "%s with the records of another, which count more than once. The first is %s, which holds the same as %s.",
            *(counted(len(copies), "file"), *copies[0]),
        )


@dataclasses.dataclass
class _WithoutMasks:
    """Counts the records in which nothing is masked, as other programs may make them."""

    count: int = 0
    first: str = ""

    def add(self, count: int, path: Path, number: int) -> None:
        """Adds `count` records of a file, beginning with `number`."""
        if count and not self.count:
            self.first = f"{path}, record {number}"
        self.count += count

    def warn(self, total: int) -> None:
        """Tells how many there are of `total`, if there are any."""
        if self.count:
            logging.warning(
                "%s without a masked position, so that no prediction of tokens is learned from them. The first is %s.",
                *(part_of(self.count, total, "record"), self.first),
            )


# --- One file -----------------------------------------------------------------------------------------------------


def _open(
    path: Path, record_format: RecordFormat, known: Mapping[str, Checked], bar: tqdm, unmasked: _WithoutMasks
) -> tuple[RecordFile, Checked]:
    """Opens a file, and checks it unless that was done before; closed when what is returned is gone."""
    try:
        stream = open_regular(path, buffering=0)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    try:
        begun = checked_records.now_ns()
        state = checked_records.state_of(path, stream.fileno())
        check = known.get(state.path) if state else None
        if state is None or check is None or not check.covers(state):
            lengths, checksums, vocabulary = _checked_numbers(path, stream, record_format, bar, unmasked)
            if state is None or state != checked_records.state_of(path, stream.fileno()):
                raise _changed_meanwhile(path)
            check = Checked(state, begun, lengths.astype(np.uint32), checksums, vocabulary)
        file = _record_file(path, stream, check.lengths, check.checksums)
    except BaseException:
        stream.close()
        raise
    weakref.finalize(file, stream.close)
    return file, check


def _changed_meanwhile(path: Path) -> UserError:
    return UserError(f"{path} was changed while it was being checked. Start again when it is finished.")


def _record_file(path, stream, lengths: np.ndarray, checksums: np.ndarray) -> RecordFile:
    return RecordFile(path, stream, lengths, checksums, "Make it again, or start again to have it checked.")


def _checked_numbers(
    path: Path, stream, record_format: RecordFormat, bar: tqdm, unmasked: _WithoutMasks
) -> tuple[np.ndarray, np.ndarray, tuple[str, int] | None]:
    """Lengths and checksums of all records, which are good; and their vocabulary, where a manifest names it."""
    manifest = None
    try:
        manifest = RecordsManifest.read_beside(path)
    except ManifestError as error:
        logging.warning("The manifest of %s %s: every record is checked", path, error)
    digest = hashlib.sha256() if manifest else None
    lengths, checksums = scan(path, stream.fileno(), digest)
    if lengths.max(initial=0) >= 1 << 32:
        raise UserError(f"{path}, record {int(lengths.argmax())}: larger than any record of pretraining")
    file = _record_file(path, stream, lengths, checksums)
    if file.count:
        _raise_for_problem(file, record_format, range(1))
    if manifest and digest and digest.hexdigest() != manifest.sha256:
        logging.warning("The manifest of %s belongs to other records: every record is checked", path)
        manifest = None
    if manifest and record_format.accepts(manifest):
        bar.update(manifest.size)
    else:
        _check(file, record_format, bar, unmasked)
    return lengths, checksums, (manifest.vocabulary, manifest.vocab_size) if manifest else None


# --- What is in the records ----------------------------------------------------------------------------------------


def _check(file: RecordFile, record_format: RecordFormat, bar: tqdm, unmasked: _WithoutMasks) -> None:
    """Raises UserError for the first record that is damaged or does not fit."""
    dataset = tf.data.TFRecordDataset(os.fsencode(file.path)).batch(_RECORDS_AT_A_TIME)
    examine = tf.autograph.experimental.do_not_convert(lambda serialized: _verdict(serialized, record_format))
    dataset = dataset.map(examine, tf.data.AUTOTUNE, deterministic=True)
    options = tf.data.Options()
    options.autotune.enabled = False  # whose thread sleeps on, up to a minute, when the iterator is dropped
    batches = iter(dataset.prefetch(tf.data.AUTOTUNE).with_options(options))
    for first in range(0, file.count, _RECORDS_AT_A_TIME):
        numbers = range(first, min(first + _RECORDS_AT_A_TIME, file.count))
        try:
            is_good, without_masks, place = next(batches).numpy().tolist()
            unmasked.add(without_masks, file.path, first + place)
        except tf.errors.DataLossError as error:
            offset = re.search(r"record at (\d+)", error.message)
            number = file.number_at(int(offset[1])) if offset else first
            raise UserError(f"{file.path}, record {number}: its checksum is wrong. Make the file again.") from error
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
            # From parsing, whose message may quote bytes that are not text. What is wrong is found below.
            is_good = False
        except (StopIteration, tf.errors.NotFoundError) as error:  # TensorFlow opens it by its path
            raise _changed_meanwhile(file.path) from error
        except tf.errors.OpError as error:
            reason = as_os_error(error).strerror
            raise UserError(f"{file.path} cannot be read: {reason}. Check the disk or network it is on.") from error
        if not is_good:
            _raise_for_problem(file, record_format, numbers)
            raise UserError(f"{file.path}: one of the records {numbers[0]} to {numbers[-1]} cannot be read")
        bar.update(int(file.lengths[numbers[0] : numbers[-1] + 1].sum()))


def _verdict(serialized: tf.Tensor, record_format: RecordFormat) -> tf.Tensor:
    """int64 [3]: 1 where all numbers of these records are in range; how many have no masks, and the first of these.

    The same conditions as `_problem`.
    """
    parsed = record_format.parse(serialized)
    in_range = [
        tf.reduce_all((parsed[name] >= 0) & (parsed[name] < limit)) for name, limit in record_format.limits.items()
    ]
    weights = parsed["masked_lm_weights"]
    is_good = tf.reduce_all(in_range) & tf.reduce_all((weights >= 0) & (weights <= 1))
    is_unmasked = tf.cast(tf.reduce_all(weights == 0, axis=1), tf.int64)
    return tf.stack([tf.cast(is_good, tf.int64), tf.reduce_sum(is_unmasked), tf.argmax(is_unmasked)])


def _raise_for_problem(file: RecordFile, record_format: RecordFormat, numbers: range) -> None:
    for number in numbers:
        problem = _problem(file.read([number])[0], record_format)
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
