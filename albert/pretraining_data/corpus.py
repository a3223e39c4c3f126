"""Text files to a corpus: one sentence a line, a blank line between documents. No TensorFlow.

Owns the corpus file. What a document is, is `paragraphs`' business, and where sentences end `sentences`'.
"""

import contextlib
import dataclasses
import functools
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from albert.errors import UserError
from albert.pretraining_data.markup import Markup
from albert.pretraining_data.paragraphs import FORMS, Paragraph, read_paragraphs
from albert.pretraining_data.sentences import LANGUAGES, clean, has_word, split_sentences, unwrap
from albert.pretraining_data.text_files import INPUT, expand_patterns, warn_of_copies, warn_of_empty
from albert.settings.fields import DATA, OUTPUT, SPEED, between, problems_of, setting
from albert.system.files import whole_file
from albert.system.processes import MAX_WORKERS, number_of_workers, parallel_map
from albert.system.progress import progress_bar
from albert.system.signals import exit_on_termination

_LOG = logging.getLogger(__name__)

_BATCH_CHARACTERS = 1 << 18
# Starting processes takes longer than splitting less than this.
_MIN_BYTES_FOR_WORKERS = 4 << 20
_LONG_SENTENCE_CHARACTERS = 1000
# A text with half of it in longer sentences was not really split.
_UNSPLIT_CHARACTERS = 400


@dataclasses.dataclass(frozen=True)
class CorpusSettings:
    """One making of a corpus."""

    input: str = setting(f"Text to split: {INPUT}. UTF-8; a blank line ends a paragraph.", DATA)
    output: Path = setting("Where the corpus goes: one sentence a line, a blank line between documents.", OUTPUT)
    language: str = setting("Language of the text, as ISO 639-1 code: decides how sentences end.", DATA, default="en")
    documents: str = setting(
        "What is a document: a file; what blank_lines part; an article in the <doc> of wikiextractor; or the text in "
        "each object of jsonl.",
        DATA,
        default="file",
        choices=tuple(FORMS),
    )
    num_workers: int = setting(
        "Processes; 0 uses one for each processor, up to 8. The output is the same.",
        SPEED,
        default=0,
        bounds=between(0, MAX_WORKERS),
    )

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without opening a file, each as one phrase."""
        found = problems_of(self)
        if self.language not in LANGUAGES:
            found.append(
                f"`language`={self.language} is not an ISO 639-1 code, which has two letters: en for English, de for "
                "German, zh for Chinese (https://en.wikipedia.org/wiki/List_of_ISO_639_language_codes has all)"
            )
        return found


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a corpus, or a part of it, holds, and what was left out of it."""

    sentences: int = 0
    words: int = 0
    paragraphs: int = 0
    characters: int = 0
    unsplit_characters: int = 0  # of sentences so long that the text was not really split
    long_sentences: int = 0
    invisible_lines: int = 0
    wordless_sentences: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return Counts(*(a + b for a, b in zip(mine, others, strict=True)))


def write_corpus(settings: CorpusSettings) -> None:
    """Splits all input into sentences and writes the corpus, whole or not at all; logs what is in it.

    Memory is bounded by the number of processes, however long the files, their lines and their paragraphs are.

    Raises:
      UserError: a file is missing or not UTF-8, there is no sentence at all, or the corpus cannot be written or exists.
    """
    files = expand_patterns(settings.input, "input")
    _check_output(settings.output, files)
    warn_of_copies(files, "input")
    num_bytes = sum(path.stat().st_size for path in files)
    num_workers = number_of_workers(settings.num_workers) if num_bytes >= _MIN_BYTES_FOR_WORKERS else 1
    total = Counts()
    last_document, documents = None, 0
    files_with_text: set[int] = set()
    markup = Markup()
    with (
        exit_on_termination(),
        whole_file(settings.output) as corpus,
        progress_bar(
            desc="splitting", total=num_bytes, unit="B", unit_scale=True, delay=1, disable=None, leave=False
        ) as bar,
        contextlib.closing(
            parallel_map(
                functools.partial(_split_batch, language=settings.language),
                _batches(read_paragraphs(files, settings.documents, markup, bar.update)),
                num_workers,
            )
        ) as results,
    ):
        for texts, counts in results:
            total += counts
            for file, document, lines in texts:
                files_with_text.add(file)
                if document != last_document:
                    corpus.write(b"" if last_document is None else b"\n")
                    last_document = document
                    documents += 1
                corpus.write(lines.encode())
        if not total.sentences:
            raise UserError(f"`input`={settings.input} holds no sentence. Give files with text in them.")
    markup.warn()
    warn_of_empty([path for number, path in enumerate(files) if number not in files_with_text], "input")
    _warn_of_form(settings, total, documents)
    _log_summary(settings.output, total, documents, len(files) - len(files_with_text))


def _check_output(output: Path, files: list[Path]) -> None:
    if any(os.path.realpath(output) == os.path.realpath(path) for path in files):
        raise UserError(f"`output`={output} is one of the files of `input`. Give it another name.")
    if output.exists():
        raise UserError(f"`output`={output} exists already. Give it another name, or move what is there away.")


def _batches(paragraphs: Iterable[Paragraph]) -> Iterator[list[Paragraph]]:
    """The paragraphs in lists that are long enough to be worth sending to a process."""
    batch, size = [], 0
    for paragraph in paragraphs:
        batch.append(paragraph)
        size += len(paragraph.text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _split_batch(batch: list[Paragraph], language: str) -> tuple[list[tuple[int, int, str]], Counts]:
    """(file, document, its sentences as lines) for each document with sentences here, and what they hold."""
    texts, total = [], Counts()
    for (file, document), paragraphs in itertools.groupby(batch, key=lambda paragraph: paragraph[:2]):
        sentences = []
        for paragraph in paragraphs:
            found, counts = _sentences(paragraph.text, language)
            sentences += found
            total += counts
        if sentences:
            texts.append((file, document, "".join(f"{sentence}\n" for sentence in sentences)))
    return texts, total


def _sentences(paragraph: str, language: str) -> tuple[list[str], Counts]:
    lines = [clean(line) for line in paragraph.split("\n") if line and not line.isspace()]
    visible = [line for line in lines if line]
    found = [sentence for text in unwrap(visible) for sentence in split_sentences(text, language)]
    kept = [sentence for sentence in found if has_word(sentence)]
    return kept, Counts(
        sentences=len(kept),
        words=sum(len(sentence.split()) for sentence in kept),
        paragraphs=bool(kept),
        characters=sum(map(len, kept)),
        unsplit_characters=sum(len(sentence) for sentence in kept if len(sentence) > _UNSPLIT_CHARACTERS),
        long_sentences=sum(len(sentence) > _LONG_SENTENCE_CHARACTERS for sentence in kept),
        invisible_lines=len(lines) - len(visible),
        wordless_sentences=len(found) - len(kept),
    )


def _warn_of_form(settings: CorpusSettings, counts: Counts, documents: int) -> None:
    """Warns where documents or sentences are probably not what was wanted."""
    if documents == 1 and settings.documents == "file" and counts.paragraphs > 1:
        _LOG.warning(
            "All %s paragraphs are one document, because there is one file with text. Give a file for each document, "
            "or `documents`=blank_lines if blank lines separate documents, as in CC-100.",
            f"{counts.paragraphs:,}",
        )
    if 2 * counts.unsplit_characters > counts.characters:
        _LOG.warning(
            "%.0f %% of the text is in sentences of more than %d characters: its sentences do not end as those of "
            "`language`=%s do. Correct `language`, or put one sentence on a line by other means; what is longer than "
            "a sequence is cut.",
            *(100 * counts.unsplit_characters / counts.characters, _UNSPLIT_CHARACTERS, settings.language),
        )


def _log_summary(output: Path, counts: Counts, documents: int, empty_files: int) -> None:
    notes = [
        f"{what}: {number:,}"
        for what, number in (
            ("files without a sentence", empty_files),
            ("left out, lines of invisible characters", counts.invisible_lines),
            ("left out, without a letter or digit", counts.wordless_sentences),
            (f"kept, longer than {_LONG_SENTENCE_CHARACTERS:,} characters", counts.long_sentences),
        )
        if number
    ]
    held = f"documents: {documents:,}; sentences: {counts.sentences:,}; words: {counts.words:,}"
    logging.info("%s", "; ".join([f"{output} is written; {held}", *notes]))
