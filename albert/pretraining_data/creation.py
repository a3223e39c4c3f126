"""Creating pretraining data: text to files of masked records. No TensorFlow.

Three phases: text is tokenised once; each pass through each document makes records, in any number of processes, which
go to buckets on disk; the buckets are read in the order of random keys. What comes out depends on the text, the
vocabulary and the settings, and not on the number of processes. Memory does not grow with the corpus.
"""

import contextlib
import dataclasses
import itertools
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from albert.data.counter_hash import Stream, draw, key_of
from albert.data.manifest import manifest_path
from albert.data.pretraining_manifest import RecordsManifest, is_manifest
from albert.data.record_encoding import encode_records, num_predictions, record_features
from albert.data.record_file import RecordWriter
from albert.errors import UserError
from albert.pretraining_data.documents import Corpus, tokenize_corpus
from albert.pretraining_data.instances import (
    SPECIAL_TOKENS,
    Pair,
    PairSettings,
    Sequences,
    has_neighbours,
    pairs_of_document,
    sequences,
)
from albert.pretraining_data.masking import HashedMaskDraws, Masked, MaskSettings, mask, word_units
from albert.pretraining_data.noise import with_noise
from albert.pretraining_data.pieces import Vocabulary, vocabulary_of
from albert.pretraining_data.shuffle import add_to_buckets, in_key_order, number_of_buckets
from albert.pretraining_data.text_files import INPUT, expand_patterns, warn_of_copies, warn_of_empty
from albert.settings import missing_vocabulary
from albert.settings.fields import (
    DATA,
    KEEP_ACCENTS,
    MASKS,
    OUTPUT,
    SEED,
    SHARE,
    SPEED,
    at_least,
    between,
    problems_of,
    setting,
)
from albert.system.files import cannot_write, delete_leftovers, whole_file
from albert.system.homes import expanded
from albert.system.locks import LOCK, OutputLock
from albert.system.open_files import make_room_for_files
from albert.system.printing import counted
from albert.system.processes import MAX_WORKERS, number_of_workers, parallel_map
from albert.system.progress import progress_bar
from albert.system.signals import exit_on_termination
from albert.tokenization import Tokenizer, load_tokenizer
from albert.vocabulary_fit import check_unknown, warn_of_vocabulary

_LOG = logging.getLogger(__name__)

# Positions of the sequences that are masked at once: enough for NumPy to be quick, few enough to stay in the caches.
_POSITIONS_PER_BATCH = 1 << 17
# Tokens of the documents that a process is given at once.
_TOKENS_PER_BLOCK = 1 << 18

# What is drawn of a document's key, so that no two draws are the same.
_PAIRS, _MASKS, _ORDER, _TIES, _NOISE = range(5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CreationSettings(PairSettings, MaskSettings):
    """What `create` is asked to do; the fields are the flags of the same names."""

    input_file: str = setting(
        f"Corpus, one sentence a line; a blank line or a file's end ends a document: {INPUT}.", DATA
    )
    output_file: str = setting(
        "TFRecord files, comma-separated, none of them there yet; records are dealt to them in turn.", OUTPUT
    )
    spm_model_file: Path | None = setting("SentencePiece model that belongs to the checkpoint.", DATA, default=None)
    vocab_file: Path | None = setting(
        "Vocabulary of a WordPiece model; only read without `spm_model_file`.", DATA, default=None
    )
    do_lower_case: bool = setting("Lower-case the text, as Google's models need.", DATA, default=True)
    keep_accents: bool = setting(KEEP_ACCENTS, DATA, default=False)
    max_unknown_share: float = setting(
        "Share of the pieces that the vocabulary may not know before the text is refused.",
        DATA,
        default=0.3,
        bounds=SHARE,
    )
    random_seed: int = setting("Seed of everything that is drawn.", DATA, default=12345, bounds=SEED)
    dupe_factor: int = setting(
        "How often the corpus is gone through, each time with other masks.", MASKS, default=40, bounds=at_least(1)
    )
    num_workers: int = setting(
        "Processes; 0 uses one for each processor, up to 8. The output is the same.",
        SPEED,
        default=0,
        bounds=between(0, MAX_WORKERS),
    )

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = missing_vocabulary(self.spm_model_file, self.vocab_file) + problems_of(self)
        if self.noisy_copies and self.max_seq_length == SPECIAL_TOKENS + 2:
            least = SPECIAL_TOKENS + 3
            found.append(f"`max_seq_length`={self.max_seq_length} must be at least {least} for `noisy_copies`")
        if self.max_seq_length >= SPECIAL_TOKENS + 2 and self.max_predictions_per_seq > self.max_tokens:
            found.append(
                f"`max_predictions_per_seq`={self.max_predictions_per_seq} is more than the {self.max_tokens} tokens "
                f"beside the special ones in a record of `max_seq_length`={self.max_seq_length}"
            )
        if self.noisy_copies and self.random_next_sentence:
            found.append("`noisy_copies` and `random_next_sentence` exclude each other")
        return found


@dataclasses.dataclass(frozen=True)
class RecordCounts:
    """What came of some documents, in numbers."""

    tokens_read: int = 0  # of the corpus
    records: int = 0
    tokens: int = 0  # in the records, without padding
    masked: int = 0
    without_masks: int = 0  # records in which nothing is to be predicted

    def __add__(self, other: "RecordCounts") -> "RecordCounts":
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return RecordCounts(*(a + b for a, b in zip(mine, others, strict=True)))


def create(settings: CreationSettings) -> None:
    """Writes the records that `settings` ask for: all output files whole, or none.

    Raises UserError for everything that is the user's to put right.
    """
    started = time.monotonic()
    inputs = expand_patterns(settings.input_file, "input_file")
    outputs = _output_paths(settings.output_file, inputs)
    warn_of_copies(inputs, "input_file")
    tokenizer = load_tokenizer(
        settings.spm_model_file, settings.vocab_file, settings.do_lower_case, settings.keep_accents
    )
    make_room_for_files(2 * len(outputs), f"`output_file` names {counted(len(outputs), 'file')}, each with a manifest")
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
    warn_of_vocabulary(tokenizer)
    vocabulary = vocabulary_of(tokenizer)
    with exit_on_termination(), _disk_errors_named(outputs[0]), _temporary_folder(outputs) as folder:
        corpus = _tokenize(settings, inputs, tokenizer, vocabulary, folder)
        check_unknown(
            corpus.num_unknown,
            corpus.num_tokens,
            max_share=settings.max_unknown_share,
            where=f"`input_file`={settings.input_file}",
            example=corpus.first_unknown,
            tokenizer=tokenizer,
        )
        _check(corpus, settings)
        num_buckets = number_of_buckets(_expected_bytes(corpus, settings))
        made = _make_records(RecordMaker(settings, corpus, vocabulary, folder, num_buckets))
        _check_masks(made, settings)
        _write_outputs(folder, num_buckets, made.records, outputs, manifest_of(settings, tokenizer))
    _LOG.info(
        "%s, %s, %s -> %s in %s: %s to predict (%.1f %% of all), %.1f %% padding. %.0f s.",
        *(counted(corpus.num_documents, "document"), counted(corpus.num_sentences, "sentence")),
        *(counted(corpus.num_tokens, "token"), counted(made.records, "record")),
        *(settings.output_file, counted(made.masked, "token"), 100 * made.masked / made.tokens),
        *(100 - 100 * made.tokens / (made.records * settings.max_seq_length), time.monotonic() - started),
    )


class _Block(NamedTuple):
    """Neighbouring documents, in one pass."""

    dupe: int
    first_document: int
    end_document: int


class Batch(NamedTuple):
    """N masked sequences, and by which numbers (uint64 [N]) their records are shuffled."""

    text: Sequences
    masked: Masked
    order_keys: np.ndarray
    ties: np.ndarray


@dataclasses.dataclass(frozen=True)
class RecordMaker:
    """Makes the records of documents and puts them into buckets; is sent to every process."""

    settings: CreationSettings
    corpus: Corpus
    vocabulary: Vocabulary
    folder: Path
    num_buckets: int

    def blocks(self) -> Iterator[_Block]:
        """All passes through all documents, in portions of about the same size."""
        for dupe in range(self.settings.dupe_factor):
            arrays = self.corpus.open()
            first = 0
            while first < arrays.num_documents:
                last_token = arrays.sentence_starts[arrays.document_starts[first]] + _TOKENS_PER_BLOCK
                last_sentence = np.searchsorted(arrays.sentence_starts, last_token)
                end = max(first + 1, int(np.searchsorted(arrays.document_starts, last_sentence, side="right")) - 1)
                yield _Block(dupe, first, end)
                first = end

    def __call__(self, block: _Block) -> RecordCounts:
        """Makes the records of `block` and returns how many."""
        made = RecordCounts(tokens_read=self._num_tokens(block))
        for batch in self.batches(block):
            features = record_features(self.settings.max_seq_length, batch.masked.positions.shape[1])
            records = encode_records(features, columns_of(batch.text, batch.masked))
            add_to_buckets(self.folder, self.num_buckets, batch.order_keys, batch.ties, records)
            masked = batch.masked.counts
            made += RecordCounts(
                records=len(records),
                tokens=int(batch.text.lengths.sum()),
                masked=int(masked.sum()),
                without_masks=int((masked == 0).sum()),
            )
        return made

    def _num_tokens(self, block: _Block) -> int:
        """The tokens of the documents in `block`."""
        arrays = self.corpus.open()
        sentences = arrays.document_starts[[block.first_document, block.end_document]]
        first_token, end_token = arrays.sentence_starts[sentences].tolist()
        return int(end_token - first_token)

    def batches(self, block: _Block) -> Iterator[Batch]:
        """The sequences of `block`, masked."""
        pairs = self._pairs(block)
        batch_size = max(1, _POSITIONS_PER_BATCH // self.settings.max_seq_length)
        while some := list(itertools.islice(pairs, batch_size)):
            some_pairs, document_keys, numbers = (list(column) for column in zip(*some, strict=True))
            yield self._masked(some_pairs, document_keys, numbers)

    def _pairs(self, block: _Block) -> Iterator[tuple[Pair, int, int]]:
        """Each pair with the key of its document and pass, and its number there."""
        corpus = self.corpus.open()
        for document in range(block.first_document, block.end_document):
            key = key_of(self.settings.random_seed, block.dupe, document)
            draws = Stream(key_of(key, _PAIRS))
            for number, pair in enumerate(pairs_of_document(corpus, document, self.settings, draws)):
                yield pair, key, number

    def _masked(self, pairs: list[Pair], document_keys: list[int], numbers: list[int]) -> Batch:
        # Mapped again each time, so that what was read of a long document does not stay in memory.
        text = sequences(self.corpus.open().ids, pairs, self.settings.max_seq_length, self.vocabulary)
        mask_keys, order_keys, ties, noise_keys = (
            draw(draw(np.array(document_keys, np.uint64), purpose), np.array(numbers))
            for purpose in (_MASKS, _ORDER, _TIES, _NOISE)
        )
        if self.settings.noisy_copies:
            text = with_noise(text, self.vocabulary, noise_keys)
        units = word_units(text, self.vocabulary, self.settings)
        draws = HashedMaskDraws(mask_keys, units.counts, self.settings, self.vocabulary.size)
        return Batch(text, mask(text, units, self.vocabulary, self.settings, draws), order_keys, ties)


def columns_of(text: Sequences, masked: Masked) -> dict[str, np.ndarray]:
    """The features of records, [N, length] each."""
    positions, places = (np.arange(array.shape[1]) for array in (text.ids, masked.positions))
    return {
        "input_ids": masked.input_ids,
        "input_mask": (positions < text.lengths[:, None]).astype(np.int32),
        "segment_ids": text.segment_ids,
        "token_boundary": masked.token_boundary,
        "masked_lm_positions": masked.positions,
        "masked_lm_ids": masked.ids,
        "masked_lm_weights": (places < masked.counts[:, None]).astype(np.float32),
        "next_sentence_labels": text.labels[:, None],
    }


# --- The phases -------------------------------------------------------------------------------------------------------


def _tokenize(
    settings: CreationSettings, inputs: list[Path], tokenizer: Tokenizer, vocabulary: Vocabulary, folder: Path
) -> Corpus:
    total = sum(path.stat().st_size for path in inputs)
    with progress_bar(desc="tokenizing", total=total, unit="B", unit_scale=True, disable=None) as progress:
        return tokenize_corpus(
            inputs,
            tokenizer,
            vocabulary,
            folder,
            max_sentence_tokens=settings.max_text_tokens,
            num_workers=number_of_workers(settings.num_workers),
            on_bytes=progress.update,
        )


def _check(corpus: Corpus, settings: CreationSettings) -> None:
    if corpus.num_documents == 1 and settings.random_next_sentence:
        raise UserError(
            "`random_next_sentence` pairs text of different documents, but there is only one document. Separate "
            "documents by blank lines, or leave it out."
        )
    if not has_neighbours(corpus.open(), settings.max_text_tokens):
        raise UserError(
            f"`input_file`={settings.input_file}: nowhere do two lines, one after the other, fit into the "
            f"{settings.max_text_tokens} tokens of a sequence, so that no text could be paired with what follows it. "
            "Put one sentence on a line and blank lines only between documents (albert.prepare_corpus does), or raise "
            "`max_seq_length`."
        )
    if corpus.num_documents == 1:
        _LOG.warning(
            "There is only one document. If the first half of a pair is a single long sentence, the second half comes "
            "from the same document instead of another one. Blank lines separate documents."
        )
    warn_of_empty(corpus.empty_files, "input_file")
    if corpus.num_long_sentences:
        _LOG.warning(
            "%s of more than the %d tokens that fit into a sequence will be cut; the first is %s.",
            *(counted(corpus.num_long_sentences, "sentence"), settings.max_text_tokens, corpus.first_long_sentence),
        )


def _make_records(maker: RecordMaker) -> RecordCounts:
    total = maker.corpus.num_tokens * maker.settings.dupe_factor
    made = RecordCounts()
    workers = number_of_workers(maker.settings.num_workers)
    with (
        progress_bar(desc="masking", total=total, unit="token", unit_scale=True, disable=None) as progress,
        # Closed when the block is left, however: no process may then still write into the folder.
        contextlib.closing(parallel_map(maker, maker.blocks(), workers)) as parts,
    ):
        for part in parts:
            made += part
            progress.update(part.tokens_read)
    return made


def _check_masks(made: RecordCounts, settings: CreationSettings) -> None:
    """Raises UserError where no record has a mask, and warns of those that have none."""
    if not made.without_masks:
        return
    advice = "Raise `masked_lm_prob` and `max_predictions_per_seq`"
    advice += ", or give `do_whole_word_mask`=false." if settings.do_whole_word_mask else "."
    why = "no word in them is as short as what may be masked of a sequence"
    if made.without_masks == made.records:
        raise UserError(f"`input_file`={settings.input_file} makes only records without masks: {why}. {advice}")
    share = 100 * made.without_masks / made.records
    have = "have" if made.without_masks > 1 else "has"
    found = counted(made.without_masks, "record")
    _LOG.warning("%s (%.2g %%) %s no masks: %s. %s", found, share, have, why, advice)


def manifest_of(settings: CreationSettings, tokenizer: Tokenizer) -> RecordsManifest:
    """What is to stand beside every output, but for what was written to it."""
    # Neither names of files, which are others on another machine, nor how many processes there were.
    left_out = ["input_file", "output_file", "spm_model_file", "vocab_file", "num_workers", "max_seq_length"]
    left_out += ["max_unknown_share"]  # which says what is refused, not what is made
    left_out += [] if settings.keep_accents else ["keep_accents"]  # manifests from before it are the same
    asked_for = {name: value for name, value in dataclasses.asdict(settings).items() if name not in left_out}
    predictions = num_predictions(settings.max_predictions_per_seq, settings.do_permutation)
    return RecordsManifest(tokenizer.digest, tokenizer.vocab_size, settings.max_seq_length, predictions, asked_for)


def _write_outputs(
    folder: Path, num_buckets: int, num_records: int, outputs: list[Path], manifest: RecordsManifest
) -> None:
    if num_records < len(outputs):
        raise UserError(f"`output_file` names {len(outputs):,} files, for only {counted(num_records, 'record')}.")
    with contextlib.ExitStack() as opened:
        # Closed from the last on: the manifest appears before its records, so that who finds them finds what they are.
        files = [[opened.enter_context(whole_file(name)) for name in (path, manifest_path(path))] for path in outputs]
        writers = [RecordWriter(file) for file, _ in files]
        records = in_key_order(folder, num_buckets)
        progress = progress_bar(records, "writing", num_records, unit="record", unit_scale=True, disable=None)
        for record, writer in zip(progress, itertools.cycle(writers), strict=False):
            writer.write(record)
        for writer, (_, manifest_file) in zip(writers, files, strict=True):
            manifest_file.write(manifest.text_for(writer))


# --- What surrounds them ----------------------------------------------------------------------------------------------


def _output_paths(names: str, inputs: list[Path]) -> list[Path]:
    outputs = [expanded(name.strip(), "`output_file`") for name in names.split(",") if name.strip()]
    if not outputs:
        raise UserError(f"`output_file`={names!r} names no file.")
    read = {os.path.realpath(path) for path in inputs}
    written: set[str] = set()
    for path in outputs:
        place = os.path.realpath(path)
        if place in read:
            raise UserError(f"`output_file`={path} is one of the files of `input_file`. Name another one.")
        if path.exists():
            raise UserError(f"`output_file`={path} exists already. Delete it, or name another one.")
        if place in written:
            raise UserError(f"`output_file` names {path} twice. Every file once.")
        beside = manifest_path(path)
        if beside.exists() and not is_manifest(beside):
            raise UserError(f"{beside}, where the manifest of {path} should go, exists already. Name another output.")
        written |= {place, os.path.realpath(beside)}
    return outputs


def _expected_bytes(corpus: Corpus, settings: CreationSettings) -> float:
    """Roughly the size of all records: of an id two bytes, of the other three features of a position one each."""
    records = settings.dupe_factor * (1.3 * corpus.num_tokens / settings.max_text_tokens + corpus.num_documents)
    places = num_predictions(settings.max_predictions_per_seq, settings.do_permutation)
    return records * (200 + 5 * settings.max_seq_length + 8 * places)


@contextlib.contextmanager
def _temporary_folder(outputs: list[Path]) -> Iterator[Path]:
    """An empty folder beside the first of `outputs`, which goes with all that is in it, whatever happens.

    Where an earlier process was killed, so that its folder and its part of the outputs are still there, they go first.
    Raises UserError where another process makes that output.
    """
    folder = outputs[0].with_name(f".{outputs[0].name}.parts")
    if folder.is_symlink():
        raise UserError(f"{folder}, where parts of {outputs[0]} should go, is a symbolic link. Remove it.")
    lock = OutputLock(folder, outputs[0])
    try:
        for path in outputs:
            for written in (path, manifest_path(path)):
                delete_leftovers(written.parent, written.name)
        _empty(folder)
        yield folder
    finally:
        _empty(folder)
        lock.release()
        # NFS keeps files that are still mapped, as they are where an error ends the work, under other names. That must
        # not hide the error; the next process takes the folder over.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink()


@contextlib.contextmanager
def _disk_errors_named(output: Path) -> Iterator[None]:
    """Names the file that could not be written, which the error of a write does not."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise cannot_write(output, error) from error
