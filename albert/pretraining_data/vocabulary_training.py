"""Training a SentencePiece vocabulary as ALBERT's own was trained. No TensorFlow.

The text is prepared by `tokenization.preprocess_text`, as that of pretraining and fine-tuning is. The trainer
gets the numbers stored in Google's 30k-clean.model, except for those that are flags.
"""

import collections
import contextlib
import dataclasses
import io
import itertools
import logging
import os
import re
import signal
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from albert.errors import UserError
from albert.pretraining_data.markup import Markup
from albert.pretraining_data.text_files import INPUT, expand_patterns, read_lines, warn_of_copies, warn_of_empty
from albert.settings.fields import DATA, KEEP_ACCENTS, MODEL, OUTPUT, at_least, between, problems_of, setting
from albert.system.files import write_bytes, write_text
from albert.system.printing import counted
from albert.system.progress import progress_bar
from albert.tokenization import SentencePieceTokenizer, preprocess_text

CONTROL_SYMBOLS = ("[CLS]", "[SEP]", "[MASK]")
USER_DEFINED_SYMBOLS = ("(", ")", '"', "-", ".", "–", "£", "€")
_FIRST_PIECES = ("<pad>", "<unk>", *CONTROL_SYMBOLS, *USER_DEFINED_SYMBOLS)

_MAX_SENTENCE_BYTES = 4192  # SentencePiece leaves longer ones out, without a word
_RESERVED = "\u2585"  # SentencePiece's mark for unknown characters; it leaves out sentences that have one
_SEED_PIECES = 1_000_000  # candidates from which the trainer chooses: no vocabulary is larger
_SHOWN_CHARACTERS = 6
_SOME_LOST = 0.002  # above what foreign words and names make of English text
# The trainer's sums, and with them the vocabulary, depend on how many threads share them: always as many as for
# 30k-clean.model, whatever the machine has.
_NUM_THREADS = 16


@dataclasses.dataclass(frozen=True)
class VocabularySettings:
    """One training of a vocabulary."""

    input: str = setting(f"Corpus, one sentence a line: {INPUT}.", DATA)
    model_prefix: Path = setting("The vocabulary goes to <prefix>.model and <prefix>.vocab.", OUTPUT)
    vocab_size: int = setting(
        "Pieces, the special ones included.", MODEL, default=30000, bounds=between(len(_FIRST_PIECES) + 1, _SEED_PIECES)
    )
    # Both bounds are SentencePiece's.
    character_coverage: float = setting(
        "Share of the corpus's characters that get pieces of their own.",
        MODEL,
        default=0.99995,
        bounds=between(0.98, 1),
    )
    input_sentence_size: int = setting(
        "Sentences drawn from a larger corpus, always the same ones, and held in memory; 0 takes all.",
        DATA,
        default=10_000_000,
        bounds=at_least(0),
    )
    do_lower_case: bool = setting(
        "Lower-case the corpus; give create_pretraining_data and fine-tuning the same.", DATA, default=True
    )

    keep_accents: bool = setting(KEEP_ACCENTS, DATA, default=False)

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without reading the corpus, each as one phrase."""
        found = problems_of(self)
        if 0 < self.input_sentence_size <= 100:
            found.append(f"`input_sentence_size`={self.input_sentence_size} must be above 100, or 0 for all")
        if self.model_prefix.is_dir():
            found.append(f"`model_prefix`={self.model_prefix} is a folder; add a name: {self.model_prefix / 'my-30k'}")
        there = [str(path) for path in self.outputs if path.exists()]
        if there:
            found.append(f"{' and '.join(there)} exists already; choose another `model_prefix`, or move it away")
        return found

    @property
    def outputs(self) -> tuple[Path, Path]:
        """The files of the model and of its list of pieces."""
        return Path(f"{self.model_prefix}.model"), Path(f"{self.model_prefix}.vocab")


def train_vocabulary(settings: VocabularySettings) -> None:
    """Trains a vocabulary and writes both its files, or none. The same text and settings give the same pieces.

    Memory is that of the sentences drawn, which the trainer keeps, and does not grow with the corpus beyond them.

    Raises:
      UserError: the corpus is missing, empty, not UTF-8 or too small for the vocabulary, or nothing can be written.
    """
    files = expand_patterns(settings.input, "input")
    warn_of_copies(files, "input")
    _prepare_folder(settings.model_prefix.parent)
    sentences = _Sentences(files, settings.do_lower_case, settings.keep_accents)
    model = _train(sentences, settings)
    _check(model, settings)
    _write(model, settings)
    logging.info(
        "%s: %s from %s. Give create_pretraining_data and fine-tuning spm_model_file=%s and do_lower_case=%s%s.",
        *(settings.outputs[0], counted(settings.vocab_size, "piece"), counted(sentences.count, "sentence")),
        settings.outputs[0],
        *(str(settings.do_lower_case).lower(), " and keep_accents" if settings.keep_accents else ""),
    )


class _Sentences:
    """The corpus as the trainer wants it, read once and counted meanwhile.

    What stops the reading is kept in `error`: the trainer would turn it into one of its own.
    """

    def __init__(self, files: list[Path], do_lower_case: bool, keep_accents: bool):
        self._files = files
        self._do_lower_case = do_lower_case
        self._keep_accents = keep_accents
        self._markup = Markup()
        self._num_characters = 0
        self._characters: collections.Counter[str] = collections.Counter()  # of lines beyond ASCII
        self.count = 0
        self.lines = 0
        self.too_long = 0
        self.reserved = 0
        self.empty_files: list[Path] = []
        self.first_left_out: str | None = None
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        total = sum(path.stat().st_size for path in self._files)
        try:
            with progress_bar(
                desc="reading", total=total, unit="B", unit_scale=True, delay=1, disable=None, leave=False
            ) as bar:
                for path in self._files:
                    lines_before = self.lines
                    for number, line in read_lines(path, on_bytes=bar.update):
                        text = preprocess_text(line, lower=self._do_lower_case, keep_accents=self._keep_accents)
                        self._markup.note(path, number, line)
                        self._num_characters += len(line)
                        if not line.isascii():
                            self._characters.update(line)
                        self.lines += bool(text)
                        if text and self._fits(text, path, number):
                            self.count += 1
                            yield text
                    if self.lines == lines_before:
                        self.empty_files.append(path)
        except BaseException as error:
            self.error = error
            raise
        self._log_summary()

    def _fits(self, text: str, path: Path, line_number: int) -> bool:
        too_long = len(text.encode()) > _MAX_SENTENCE_BYTES
        reserved = _RESERVED in text
        self.too_long += too_long
        self.reserved += reserved and not too_long
        if (too_long or reserved) and self.first_left_out is None:
            self.first_left_out = f"{path}, line {line_number}"
        return not (too_long or reserved)

    def left_out(self) -> str:
        """One phrase on the lines that were not used; "" if there is none."""
        reasons = []
        if self.too_long:
            reasons.append(f"{self.too_long} longer than {_MAX_SENTENCE_BYTES} bytes")
        if self.reserved:
            reasons.append(f"{self.reserved} with U+{ord(_RESERVED):04X}, which SentencePiece keeps for itself")
        return f"lines left out: {', '.join(reasons)} (the first: {self.first_left_out})" if reasons else ""

    def _log_lost_accents(self) -> None:
        """Tells what of the text's characters is lost because accents are not kept."""
        if self._keep_accents:
            return
        lost = {
            character: count
            for character, count in self._characters.most_common()
            if any(map(unicodedata.combining, unicodedata.normalize("NFKD", character)))
        }
        if not lost:
            return
        share = sum(lost.values()) / self._num_characters
        shown = ", ".join(
            f"{character} to {preprocess_text(character, remove_space=False) or 'nothing'}"
            for character in itertools.islice(lost, _SHOWN_CHARACTERS)
        )
        logging.log(
            logging.WARNING if share > _SOME_LOST else logging.INFO,
            "%.2g %% of the characters lose accents or marks, most often %s. `keep_accents` keeps them, for a "
            "vocabulary of another language than English.",
            *(100 * share, shown),
        )

    def _log_summary(self) -> None:
        self._log_lost_accents()
        self._markup.warn()
        if self.left_out():
            logging.warning("%s; albert.prepare_corpus puts one sentence on a line.", self.left_out())
        if self.count:
            warn_of_empty(self.empty_files, "input")
            logging.info("%s read; training on them can take minutes.", counted(self.count, "sentence"))


def _train(sentences: _Sentences, settings: VocabularySettings) -> bytes:
    """The serialized model. Raises UserError for what the trainer finds wrong with the text."""
    model = io.BytesIO()
    try:
        with _stoppable():
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(sentences),
                model_writer=model,
                model_type="unigram",
                vocab_size=settings.vocab_size,
                character_coverage=settings.character_coverage,
                input_sentence_size=settings.input_sentence_size,
                shuffle_input_sentence=True,
                max_sentence_length=_MAX_SENTENCE_BYTES,
                seed_sentencepiece_size=_SEED_PIECES,
                normalization_rule_name="nmt_nfkc",
                add_dummy_prefix=True,
                remove_extra_whitespaces=True,
                pad_id=0,
                unk_id=1,
                bos_id=-1,
                eos_id=-1,
                control_symbols=list(CONTROL_SYMBOLS),
                user_defined_symbols=list(USER_DEFINED_SYMBOLS),
                num_threads=_NUM_THREADS,
                minloglevel=2,
            )
    except RuntimeError as error:
        if sentences.error is not None:
            raise sentences.error from None
        raise _explained(str(error), sentences, settings) or error from error
    return model.getvalue()


def _explained(message: str, sentences: _Sentences, settings: VocabularySettings) -> UserError | None:
    """What the trainer's complaint means for the user; None where it is not about the text."""
    if sentences.count == 0 or "all_chars_count" in message:
        why = f": {sentences.left_out()}" if sentences.left_out() else ""
        return UserError(f"`input`={settings.input} holds no text to train on{why}. Give text, one sentence a line.")
    if too_high := re.search(r"Vocabulary size too high .* <= (\d+)", message):
        return UserError(
            f"`vocab_size`={settings.vocab_size} is more than this text of "
            f"{counted(sentences.count, 'sentence')} has pieces for: {too_high[1]} at most. Lower "
            "`vocab_size`, or give more text."
        )
    if too_low := re.search(r"smaller than required_chars. \d+ vs (\d+)", message):
        return UserError(
            f"`vocab_size`={settings.vocab_size} has no room for the characters of this text, which with the special "
            f"pieces are {too_low[1]}. Raise `vocab_size`, or lower `character_coverage`."
        )
    return None


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C ends the process at once: Python would not hear of it until the trainer, which is C++, has finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _check(model: bytes, settings: VocabularySettings) -> None:
    """Makes sure that the rest of the project will accept the model."""
    tokenizer = SentencePieceTokenizer(model, settings.do_lower_case, "the trained model", settings.keep_accents)
    ids = (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert ids == (0, 2, 3, 4), f"special tokens have the ids {ids}"
    assert tokenizer.vocab_size == settings.vocab_size, f"{tokenizer.vocab_size} pieces"
    first = tuple(entry.piece for entry in _pieces(model)[: len(_FIRST_PIECES)])
    assert first == _FIRST_PIECES, f"the vocabulary begins with {first}"


def _pieces(model: bytes) -> list[Any]:
    """The entries of the vocabulary, each with its `piece`."""
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made when it is imported
    proto.ParseFromString(model)
    return list(proto.pieces)


def _prepare_folder(folder: Path) -> None:
    """Finds out before the training whether its result can be written. Raises UserError if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise UserError(f"{folder} is not a folder that can be written to. Choose another `model_prefix`.")


def _write(model: bytes, settings: VocabularySettings) -> None:
    """Writes both files; the list of pieces in spm_train's format: piece, tab, log probability."""
    model_file, vocab_file = settings.outputs
    write_text(vocab_file, "".join(f"{entry.piece}\t{entry.score:g}\n" for entry in _pieces(model)))
    try:
        write_bytes(model_file, model)
    except BaseException:
        vocab_file.unlink()
        raise
