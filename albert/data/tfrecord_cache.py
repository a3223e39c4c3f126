"""Caches of featurised records: built once by several processes, verified at every opening, read at random.

Owns the files in the cache folder: their names, their format, their integrity, and who may build one when. A cache is
two files: `<stem>_<digest>.tf_record`, standard TFRecords of `tf.train.Example` with columns of varying length, and its
manifest `<the same>.tf_record.json`, which says what the cache was made from, its checksum and where each record lies.

May not know how a row becomes records (the caller passes a function), nor how records become batches. No TensorFlow:
neither building nor opening a cache needs it, and worker processes import this module.
"""

import array
import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import os
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from albert.data.item_encoding import CountedIds, EncodedItems, UnknownCount, item_encoder, numbered_chunks
from albert.data.manifest import ManifestError, canonical, encode, manifest_path, read
from albert.data.record_file import RecordFile, RecordWriter, file_size, scan
from albert.data.schema import Column, Record
from albert.errors import UserError
from albert.system.files import advice_on, delete_leftovers, whole_file
from albert.system.json_text import parse_json, short_repr
from albert.system.locks import FileLock
from albert.system.printing import counted
from albert.system.processes import number_of_workers, parallel_map
from albert.system.progress import progress_bar
from albert.system.text_encoding import open_regular, read_regular

# Raise this whenever the same identity would give other files: caches of older versions are then no longer used.
FORMAT_VERSION = 1

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
Tell = Callable[..., None]

_CHUNK_ITEMS = 128
# Featurising begins in this process; workers, which take about a second to start, come in when it takes longer than
# this. Short rows (SST-2: 8 microseconds each) gain nothing from them, because handing a row over costs 15.
_SECONDS_WITHOUT_WORKERS = 2.0


class CutItems(NamedTuple):
    """How many of `total` items had a text that was cut, and the tokens of the longest one."""

    total: int
    cut: int
    longest: int


@dataclasses.dataclass(frozen=True, eq=False)
class RecordCache:
    """An opened and verified cache. `token_counts` int32 [count] is the length of each record's "input_ids".

    `unknown` is None where nobody counted, as in caches of earlier versions, whose `cuts` are empty. These are by the
    setting to which texts were cut.
    """

    token_counts: np.ndarray
    unknown: UnknownCount | None
    cuts: Mapping[str, CutItems]
    _records: RecordFile

    @property
    def path(self) -> Path:
        """Where its records are."""
        return self._records.path

    @property
    def count(self) -> int:
        """Number of records."""
        return self._records.count

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """The serialized `tf.train.Example`s at `indices`, in that order. May be called from several threads."""
        wanted = np.asarray(indices, np.int64)
        in_range = wanted.size == 0 or (wanted.min() >= 0 and wanted.max() < self.count)
        assert in_range, f"record numbers must lie in [0, {self.count}), got {wanted.min()} to {wanted.max()}"
        return self._records.read(wanted)


def open_or_build(
    *,
    directory: Path,
    stem: str,
    identity: Mapping[str, object],
    items: Callable[[], Iterable[T]],
    featurize: Callable[[T], list[Record]],
    feature_spec: Mapping[str, Column],
    path: Path | None = None,
    num_workers: int | None = None,
    num_items: int | None = None,
    counted_ids: CountedIds | None = None,
    tell: Tell = _LOG.info,
) -> RecordCache:
    """Opens the cache of `identity`, and builds it first where it is missing, corrupt, or built from other inputs.

    Args:
      directory: where caches live; created if need be.
      stem: the readable beginning of the file name, as "mrpc_train_128".
      identity: JSON-able data naming everything the records depend on: source bytes, tokenizer, lengths, task.
      items: yields the items, lazily; called only for a build.
      featurize: the records of one item. Worker processes need it to be picklable and free of TensorFlow.
      feature_spec: the columns every record has. Each also gets "example_index", the 0-based number of its item.
      num_workers: processes that featurise. None uses the processors there are, after two seconds in this one alone.
      num_items: how many items there are, for the progress bar.
      counted_ids: what to count as unknown pieces while the cache is built.
      tell: is told in one line, as a log is, what was used or built.

    Of several processes that want the same cache one builds it and the others wait. What `items` and `featurize` raise
    reaches the caller unchanged, and nothing half-written stays behind.

    Raises UserError, naming the file, where the cache cannot be written, or where `path` holds something else: a cache
    made with other settings, which are named, or no cache at all.
    """
    made_from = {"identity": json.loads(canonical(dict(identity))), "columns": _plain(feature_spec)}
    digest = hashlib.sha256(canonical([FORMAT_VERSION, made_from])).hexdigest()
    if path is None:
        path = directory / f"{stem}_{digest[:16]}.tf_record"
    else:
        _check_user_named(path, made_from)
    with contextlib.suppress(_UnusableError):
        return _announced(_open(path, digest), tell)
    with _only_builder(path):
        try:
            # Another process may have built it while this one waited.
            return _announced(_open(path, digest), tell)
        except _UnusableError as error:
            if error.reason is not None:
                _LOG.warning("not using cache %s: %s; building it again", path, error.reason)
        with (
            progress_bar(desc=stem, total=num_items, unit=" rows", delay=1, disable=None) as progress,
            contextlib.closing(
                _encoded(items(), item_encoder(featurize, feature_spec, counted_ids), num_workers)
            ) as chunks,
        ):
            _build(path, {"digest": digest, **made_from}, _counted(chunks, progress), counted_ids is not None, tell)
        try:
            return _open(path, digest)
        except _UnusableError as error:
            raise _cannot_write(path, OSError(f"read back, {error.reason}")) from error


def _announced(cache: RecordCache, tell: Tell) -> RecordCache:
    tell("using cache %s (%s)", cache.path, counted(cache.count, "record"))
    return cache


# --- The files: names, checks, writing ------------------------------------------------------------


class _UnusableError(Exception):
    """What is at the path cannot be used; `reason` is None where nothing is there at all."""

    def __init__(self, reason: str | None):
        super().__init__(reason)
        self.reason = reason


def _plain(feature_spec: Mapping[str, Column]) -> dict[str, list[str | int]]:
    """As JSON has it, which is digested: only a vector has its length there, because existing caches have none."""
    return {
        name: [column.kind, column.dtype, *([column.length] if column.kind == "vector" else [])]
        for name, column in feature_spec.items()
    }


def _open(path: Path, digest: str) -> RecordCache:
    """Opens and verifies. Raises _UnusableError saying what is wrong."""
    # Wrong records would train a wrong model without a word, so nothing is believed that can be computed:
    # 1. The manifest's own checksum: it was not cut or edited.
    # 2. Its digest, over the identity and the columns: it is of what is wanted now, and not of a cache that was
    #    renamed, or of older code (the format's version is in the digest and, for a better message, beside it).
    # 3. Size and SHA-256 of the records' file: these are the bytes that were written.
    # 4. The lists of the manifest against that size: where records lie is computed from them, and a list that something
    #    else wrote would make reading go astray.
    # The file stays open, and all reading is from it: whatever is put at the path afterwards was not verified. And each
    # record must have the checksum that it had then, since the file itself can still be overwritten in place.
    if not path.exists() and not manifest_path(path).exists():
        raise _UnusableError(None)
    manifest = _read_manifest(manifest_path(path), digest)
    try:
        file = open_regular(path, buffering=0)
    except OSError as error:
        raise _UnusableError(f"it cannot be read ({error.strerror})") from error
    try:
        found, checksums = _checked_contents(path, file, manifest)
        lengths, token_counts = _counts(manifest)
        if not np.array_equal(found, lengths):
            raise _UnusableError("its manifest lists other records")
    except BaseException:
        file.close()
        raise
    records = RecordFile(path, file, lengths, checksums, "Start again to have it rebuilt.")
    weakref.finalize(records, file.close)
    return RecordCache(token_counts, _unknown_pieces(manifest), _cut_items(manifest), records)


def _check_user_named(path: Path, made_from: Mapping[str, Any]) -> None:
    """Raises UserError unless `path` is free or holds, whole or damaged, the cache of `made_from`."""
    advice = "name another file, or move this one away to have it built again"
    try:
        manifest = parse_json(read_regular(manifest_path(path)))
        theirs = {**manifest["identity"], "columns": manifest["columns"]}
    except FileNotFoundError:
        if path.exists():
            raise UserError(f"{path} has no manifest {manifest_path(path).name} beside it; {advice}.") from None
        return
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{manifest_path(path)} is not the manifest of a cache; {advice}.") from error
    ours = {**made_from["identity"], "columns": made_from["columns"]}
    differing = [
        f"{name} was {short_repr(theirs.get(name))}, now {short_repr(ours.get(name))}"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    ]
    if differing:
        raise UserError(f"{path} was made with other settings ({'; '.join(differing)}); {advice}.")


def _read_manifest(path: Path, digest: str) -> dict[str, Any]:
    try:
        manifest = read(path)
    except ManifestError as error:
        raise _UnusableError(f"its manifest {error}") from error
    if manifest.get("format_version") != FORMAT_VERSION:
        raise _UnusableError(
            f"its format is version {short_repr(manifest.get('format_version'))}, not {FORMAT_VERSION}"
        )
    if manifest.get("digest") != digest:
        raise _UnusableError("its manifest belongs to another cache")
    return manifest


def _checked_contents(
    path: Path, file: io.FileIO | io.BufferedReader, manifest: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Length and checksum of every record; the bytes of the file are those that the manifest says."""
    size, digest = os.fstat(file.fileno()).st_size, hashlib.sha256()
    if size != manifest.get("size"):
        raise _UnusableError(f"it has {size} bytes, not the {short_repr(manifest.get('size'))} that were written")
    try:
        found = scan(path, file.fileno(), digest)
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise _UnusableError(f"it cannot be read ({error.__cause__.strerror})") from error
        found = None
    if found is None or digest.hexdigest() != manifest.get("sha256"):
        raise _UnusableError("its bytes are not the ones that were written")
    return found


def _counts(manifest: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (int64) and tokens (int32) of every record. Raises _UnusableError where they cannot be those of the file.

    A manifest whose checksum is right may still have been written by something else.
    """
    try:
        lengths = np.array(manifest["record_lengths"], np.int64)
        token_counts = np.array(manifest["token_counts"], np.int32)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _UnusableError("its manifest does not list records") from error
    is_list = lengths.ndim == 1 and lengths.shape == token_counts.shape and (lengths >= 0).all()
    if not is_list or file_size(lengths) != manifest["size"] or (token_counts < 0).any():
        raise _UnusableError("its manifest lists other records")
    return lengths, token_counts


def _build(
    path: Path,
    description: Mapping[str, Any],
    chunks: Iterable[EncodedItems],
    counts_unknown: bool,
    tell: Tell,
) -> None:
    started = time.monotonic()

    def cannot(_manifest: Path, error: OSError) -> UserError:
        return _cannot_write(path, error)

    # The manifest is renamed first, and not used before its records are there too. Records without a manifest, which a
    # kill between the two would otherwise leave, look like another program's file at a path that the user named.
    with whole_file(path, _cannot_write) as records, whole_file(manifest_path(path), cannot) as manifest:
        contents = _write_records(RecordWriter(records), chunks, counts_unknown)
        manifest.write(encode({"format_version": FORMAT_VERSION, **description, **contents}))
    seconds = time.monotonic() - started
    made, rows = counted(contents["records"], "record"), counted(contents["items"], "row")
    tell("built %s from %s in %.1f s: %s", made, rows, seconds, path)


def _write_records(writer: RecordWriter, chunks: Iterable[EncodedItems], counts_unknown: bool) -> dict[str, Any]:
    """Writes all records; returns what the manifest says of them."""
    lengths, token_counts = array.array("q"), array.array("i")
    num_items = 0
    unknown = UnknownCount(0, 0, None)
    cuts: dict[str, list[int]] = {}
    for chunk in chunks:
        writer.write(chunk.data, len(chunk.lengths))
        lengths.extend(chunk.lengths)
        token_counts.extend(chunk.token_counts)
        for name, (count, longest) in chunk.cuts.items():
            before = cuts.get(name, [0, 0])
            cuts[name] = [before[0] + count, max(before[1], longest)]
        if chunk.unknown:
            unknown = unknown.with_others(chunk.unknown)
        num_items += chunk.num_items
    return {
        "items": num_items,
        "records": writer.count,
        "size": writer.size,
        "sha256": writer.sha256,
        "record_lengths": lengths.tolist(),
        "token_counts": token_counts.tolist(),
        **({"cuts": cuts} if cuts else {}),
        **({"unknown": list(unknown)} if counts_unknown else {}),
    }


def _unknown_pieces(manifest: Mapping[str, Any]) -> UnknownCount | None:
    """What was counted when the cache was built."""
    counted = manifest.get("unknown")
    return UnknownCount(*counted) if isinstance(counted, list) and len(counted) == len(UnknownCount._fields) else None


def _cut_items(manifest: Mapping[str, Any]) -> dict[str, CutItems]:
    """What was cut when the cache was built; what is not a count is passed over."""
    items, cuts = manifest.get("items"), manifest.get("cuts")
    if type(items) is not int or not isinstance(cuts, dict):
        return {}
    return {
        name: CutItems(items, *counts)
        for name, counts in cuts.items()
        if isinstance(counts, list) and list(map(type, counts)) == [int, int]
    }


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"Cannot write the cache {path}: {error.strerror or error}. Nothing was kept of it. "
        f"{advice_on(error, 'set `cached_dir` to a folder with room that you may write to')}."
    )


@contextlib.contextmanager
def _only_builder(path: Path) -> Iterator[None]:
    """Creates the folder and holds the cache's lock, having waited for the process that has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    with FileLock(path.with_name(path.name + ".lock"), lambda _, error: _cannot_write(path, error)) as lock:
        if lock.take() is not None:
            _LOG.info("waiting for another process that is building %s", path)
            lock.take(wait=True)
        if lock.is_exclusive:
            for name in (path.name, manifest_path(path).name):
                delete_leftovers(path.parent, name)
        yield


# --- Featurising, in this process and in workers --------------------------------------------------


def _counted(chunks: Iterable[EncodedItems], progress: tqdm) -> Iterator[EncodedItems]:
    for chunk in chunks:
        yield chunk
        progress.update(chunk.num_items)


def _encoded(
    items: Iterable[T], encode: Callable[[tuple[int, Sequence[T]]], EncodedItems], num_workers: int | None
) -> Generator[EncodedItems]:
    """Chunks of `items`, in their order, with their records; only a bounded number is in flight."""
    alone_seconds = _SECONDS_WITHOUT_WORKERS if num_workers is None else 0.0
    chunks = iter(numbered_chunks(items, _CHUNK_ITEMS))
    started = time.monotonic()
    while time.monotonic() - started < alone_seconds:
        chunk = next(chunks, None)
        if chunk is None:
            return
        yield encode(chunk)
    yield from parallel_map(encode, chunks, number_of_workers(num_workers or 0))
