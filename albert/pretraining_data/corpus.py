"""Text files to a corpus: one sentence a line, a blank line between documents. No TensorFlow.

Owns what a document and a paragraph are, and the corpus file. Where sentences end is `sentences`' business.
"""

import contextlib
import dataclasses
import functools
import itertools
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from albert.errors import UserError
from albert.pretraining_data.sentences import LANGUAGES, clean, has_word, split_sentences, unwrap
from albert.pretraining_data.text_files import INPUT, expand_patterns, read_lines
from albert.setting_fields import DATA, OUTPUT, SPEED, between, problems_of, setting
from albert.system.files import whole_file
from albert.system.processes import MAX_WORKERS, number_of_workers, parallel_map
from albert.system.signals import exit_on_termination

_BATCH_CHARACTERS = 1 << 18
# A paragraph that is longer, as in a file without line ends or blank lines, is cut: memory stays bounded.
_MAX_PARAGRAPH_CHARACTERS = 1 << 18
# Starting processes takes longer than splitting less than this.
_MIN_BYTES_FOR_WORKERS = 4 << 20
_LONG_SENTENCE_CHARACTERS = 1000
_SENTENCE_END = re.compile("[.!?\u2026\u3002\uff01\uff1f\u0964\u06d4\u061f][\"'\u201d\u2019\u00bb\u300d\u300f)]*\\s*")


@dataclasses.dataclass(frozen=True)
class CorpusSettings:
    """One making of a corpus."""

    input: str = setting(f"Text to split: {INPUT}. UTF-8; a blank line ends a paragraph, a file a document.", DATA)
    output: Path = setting("Where the corpus goes: one sentence a line, a blank line between documents.", OUTPUT)
    language: str = setting("Language of the text, as ISO 639-1 code: decides how sentences end.", DATA, default="en")
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
    long_sentences: int = 0
    invisible_lines: int = 0
    wordless_sentences: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return Counts(*(a + b for a, b in zip(mine, others, strict=True)))


@dataclasses.dataclass(frozen=True)
class _Paragraph:
    """Lines of one document that belong together; `document` is the number of its file."""

    document: int
    text: str


def write_corpus(settings: CorpusSettings) -> None:
    """Splits all input into sentences and writes the corpus, whole or not at all; logs what is in it.

    Memory is bounded by the number of processes, however long the files, their lines and their paragraphs are.

    Raises:
      UserError: a file is missing or not UTF-8, there is no sentence at all, or the corpus cannot be written or exists.
    """
    files = expand_patterns(settings.input, "input")
    _check_output(settings.output, files)
    num_bytes = sum(path.stat().st_size for path in files)
    num_workers = number_of_workers(settings.num_workers) if num_bytes >= _MIN_BYTES_FOR_WORKERS else 1
    total = Counts()
    last_document, documents = None, 0
    with (
        exit_on_termination(),
        whole_file(settings.output) as corpus,
        tqdm(desc="splitting", total=num_bytes, unit="B", unit_scale=True, delay=1, disable=None, leave=False) as bar,
        contextlib.closing(
            parallel_map(
                functools.partial(_split_batch, language=settings.language),
                _batches(_paragraphs(files, bar)),
                num_workers,
            )
        ) as results,
    ):
        for texts, counts in results:
            total += counts
            for document, lines in texts:
                if document != last_document:
                    corpus.write(b"" if last_document is None else b"\n")
                    last_document = document
                    documents += 1
                corpus.write(lines.encode())
        if not total.sentences:
            raise UserError(f"`input`={settings.input} holds no sentence. Give files with text in them.")
    _log_summary(settings.output, total, documents, len(files))


def _check_output(output: Path, files: list[Path]) -> None:
    if any(os.path.realpath(output) == os.path.realpath(path) for path in files):
        raise UserError(f"`output`={output} is one of the files of `input`. Give it another name.")
    if output.exists():
        raise UserError(f"`output`={output} exists already. Give it another name, or move what is there away.")


def _paragraphs(files: list[Path], bar: tqdm) -> Iterator[_Paragraph]:
    """All paragraphs of all files. A blank line ends a paragraph; one that gets too long is cut, see `_cut`."""
    for document, path in enumerate(files):
        lines: list[str] = []
        size = last_number = 0
        for number, line in read_lines(path, max_characters=_MAX_PARAGRAPH_CHARACTERS, on_bytes=bar.update):
            if number == last_number and lines:  # a part of a line that is too long
                lines[-1] += line
            elif line and not line.isspace():
                lines.append(line)
            elif lines:
                yield _Paragraph(document, "\n".join(lines))
                lines, size = [], 0
            last_number = number
            size += len(line)
            while size >= _MAX_PARAGRAPH_CHARACTERS:
                text = "\n".join(lines)
                end = _cut(text)
                yield _Paragraph(document, text[:end])
                lines = text[end:].split("\n")
                size = len(text) - end
        if lines:
            yield _Paragraph(document, "\n".join(lines))


def _cut(text: str) -> int:
    """Where to cut a text that is too long: behind its last sentence, else behind its last white space, else its end.

    Marks that look like the end of a sentence but are none, such as in "Mr.", are taken for one here.
    """
    last = 0
    for match in _SENTENCE_END.finditer(text):
        # At the very end it cannot be seen what follows the mark.
        if match.end() < len(text) and (match[0][-1].isspace() or ord(match[0][0]) >= ord("\u3000")):
            last = match.end()
    return last or max(text.rfind(" "), text.rfind("\n")) + 1 or len(text)


def _batches(paragraphs: Iterable[_Paragraph]) -> Iterator[list[_Paragraph]]:
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


def _split_batch(batch: list[_Paragraph], language: str) -> tuple[list[tuple[int, str]], Counts]:
    """(number of the document, its sentences as lines) for each document with sentences here, and what they hold."""
    texts, total = [], Counts()
    for document, paragraphs in itertools.groupby(batch, key=lambda paragraph: paragraph.document):
        sentences = []
        for paragraph in paragraphs:
            found, counts = _sentences(paragraph.text, language)
            sentences += found
            total += counts
        if sentences:
            texts.append((document, "".join(f"{sentence}\n" for sentence in sentences)))
    return texts, total


def _sentences(paragraph: str, language: str) -> tuple[list[str], Counts]:
    lines = [clean(line) for line in paragraph.split("\n") if line and not line.isspace()]
    visible = [line for line in lines if line]
    found = [sentence for text in unwrap(visible) for sentence in split_sentences(text, language)]
    kept = [sentence for sentence in found if has_word(sentence)]
    return kept, Counts(
        sentences=len(kept),
        words=sum(len(sentence.split()) for sentence in kept),
        long_sentences=sum(len(sentence) > _LONG_SENTENCE_CHARACTERS for sentence in kept),
        invisible_lines=len(lines) - len(visible),
        wordless_sentences=len(found) - len(kept),
    )


def _log_summary(output: Path, counts: Counts, documents: int, num_files: int) -> None:
    notes = [
        f"{what}: {number:,}"
        for what, number in (
            ("files without a sentence", num_files - documents),
            ("left out, lines of invisible characters", counts.invisible_lines),
            ("left out, without a letter or digit", counts.wordless_sentences),
            (f"kept, longer than {_LONG_SENTENCE_CHARACTERS:,} characters", counts.long_sentences),
        )
        if number
    ]
    held = f"documents: {documents:,}; sentences: {counts.sentences:,}; words: {counts.words:,}"
    logging.info("%s", "; ".join([f"{output} is written; {held}", *notes]))
