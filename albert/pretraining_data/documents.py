"""A corpus as ids on disk: text is tokenised once, and then read in any order without being held in memory.

Owns what a document and a sentence is, and the three files of a tokenised corpus. No TensorFlow.
"""

import array
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from albert.errors import UserError
from albert.pretraining_data.markup import Markup
from albert.pretraining_data.pieces import Vocabulary, encode
from albert.pretraining_data.text_files import read_lines
from albert.system.json_text import short_repr
from albert.system.processes import parallel_map
from albert.tokenization import Tokenizer
from albert.vocabulary_fit import first_unknown_word

_LINES_PER_BLOCK = 2000
_CHARACTERS_PER_BLOCK = 1 << 20
_BLANK = -1


class CorpusArrays(NamedTuple):
    """What is on disk, as arrays.

    Sentence s is ids[sentence_starts[s]:sentence_starts[s + 1]]; document d has the sentences from document_starts[d]
    to document_starts[d + 1], the last excluded. No sentence and no document is empty.
    """

    ids: np.ndarray
    sentence_starts: np.ndarray  # int64 [sentences + 1]
    document_starts: np.ndarray  # int64 [documents + 1]

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.document_starts) - 1


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A tokenised corpus in `folder`.

    `num_long_sentences` have more tokens than fit into a sequence; `first_long_sentence` is "file:line" of the first.
    `empty_files` gave no sentence. `num_unknown` tokens stand for pieces that the vocabulary does not have;
    `first_unknown` is the first word with one, and where.
    """

    folder: Path
    id_dtype: str
    num_documents: int
    num_sentences: int
    num_tokens: int
    num_long_sentences: int
    first_long_sentence: str
    empty_files: tuple[Path, ...]
    num_unknown: int
    first_unknown: str

    def open(self) -> CorpusArrays:
        """The arrays, mapped into memory: pages that were read count as this process's until the arrays are gone."""

        def mapped(name: str, dtype: str) -> np.ndarray:
            return np.memmap(self.folder / name, dtype, mode="r").view(np.ndarray)

        return CorpusArrays(mapped("ids", self.id_dtype), mapped("sentences", "int64"), mapped("documents", "int64"))


class _Lines(NamedTuple):
    """Neighbouring lines of one file."""

    path: Path
    starts_file: bool
    numbers: list[int]
    texts: list[str]


class _TokenizedLines(NamedTuple):
    """Ids of all lines, one after the other, and how many each line has; _BLANK for a line that ends a document."""

    ids: bytes
    lengths: list[int]
    num_unknown: int
    first_unknown: tuple[int, str] | None  # which line, and the word


def tokenize_corpus(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    folder: Path,
    *,
    max_sentence_tokens: int,
    num_workers: int,
    on_bytes: Callable[[int], object],
) -> Corpus:
    """Writes the ids of the text in `paths` into `folder`, as `encode` gives them.

    A line is a sentence. A blank line, or the end of a file, ends a document. Lines without any token left are
    passed over, and so are documents without a sentence. Lines of more than a million characters are read as several
    sentences. `on_bytes` is called with the number of bytes read.

    Raises UserError where a file cannot be read or is not UTF-8, and where there is no text at all.
    """
    id_dtype = "uint16" if vocabulary.inner_unknown_id < 1 << 16 else "int32"
    markup = Markup()
    blocks = _blocks(paths, on_bytes, markup)
    waiting: list[_Lines] = []  # those that were sent off, for their places

    def remembered() -> Iterator[_Lines]:
        for block in blocks:
            waiting.append(block._replace(texts=[]))
            yield block

    work = functools.partial(_tokenize, tokenizer=tokenizer, vocabulary=vocabulary, id_dtype=id_dtype)
    with (
        (folder / "ids").open("wb") as ids,
        (folder / "sentences").open("wb") as sentences,
        (folder / "documents").open("wb") as documents,
        contextlib.closing(parallel_map(work, remembered(), num_workers)) as results,
    ):
        writer = _CorpusWriter(ids, sentences, documents, max_sentence_tokens)
        for result in results:
            writer.add(waiting.pop(0), result)
        writer.finish()
    markup.warn()
    if not writer.num_sentences:
        raise UserError(
            f"No text in {', '.join(map(str, paths[:3]))}{' ...' if len(paths) > 3 else ''}: the corpus needs one "
            "sentence a line and a blank line between documents."
        )
    return Corpus(
        folder=folder,
        id_dtype=id_dtype,
        num_documents=writer.num_documents,
        num_sentences=writer.num_sentences,
        num_tokens=writer.num_tokens,
        num_long_sentences=writer.num_long_sentences,
        first_long_sentence=writer.first_long_sentence,
        empty_files=tuple(path for path in paths if path not in writer.files_with_text),
        num_unknown=writer.num_unknown,
        first_unknown=writer.first_unknown,
    )


def _blocks(paths: Iterable[Path], on_bytes: Callable[[int], object], markup: Markup) -> Iterator[_Lines]:
    for path in paths:
        block = _Lines(path, True, [], [])
        characters = 0
        for number, text in read_lines(path, max_characters=_CHARACTERS_PER_BLOCK, on_bytes=on_bytes):
            if len(block.texts) == _LINES_PER_BLOCK or characters + len(text) > _CHARACTERS_PER_BLOCK:
                yield block
                block, characters = _Lines(path, False, [], []), 0
            markup.note(path, number, text)
            block.numbers.append(number)
            block.texts.append(text)
            characters += len(text)
        yield block


def _tokenize(lines: _Lines, tokenizer: Tokenizer, vocabulary: Vocabulary, id_dtype: str) -> _TokenizedLines:
    ids = array.array("i")
    lengths = []
    unknown_ids = (tokenizer.unk_id, vocabulary.inner_unknown_id)
    num_unknown, first_unknown = 0, None
    for number, text in enumerate(lines.texts):
        line_ids = encode(text, tokenizer, vocabulary)
        if found := sum(map(line_ids.count, unknown_ids)):
            num_unknown += found
            first_unknown = first_unknown or (number, first_unknown_word([text], tokenizer) or short_repr(text))
        is_blank = not line_ids and not tokenizer.preprocess(text).strip()
        ids.extend(line_ids)
        lengths.append(_BLANK if is_blank else len(line_ids))
    return _TokenizedLines(np.array(ids, np.int32).astype(id_dtype).tobytes(), lengths, num_unknown, first_unknown)


class _CorpusWriter:
    """Appends tokenised lines to the files, and counts."""

    def __init__(self, ids: BinaryIO, sentences: BinaryIO, documents: BinaryIO, max_sentence_tokens: int):
        self._ids, self._sentences, self._documents = ids, sentences, documents
        self._max_sentence_tokens = max_sentence_tokens
        self._document_start = 0
        self._line = 0  # the last one, by its number in its file
        self.num_documents = self.num_sentences = self.num_tokens = self.num_long_sentences = 0
        self.first_long_sentence = ""
        self.files_with_text: set[Path] = set()
        self.num_unknown = 0
        self.first_unknown = ""
        _append(sentences, [0])
        _append(documents, [0])

    def add(self, lines: _Lines, result: _TokenizedLines) -> None:
        if lines.starts_file:
            self._end_document()
            self._line = 0
        self._ids.write(result.ids)
        self.num_unknown += result.num_unknown
        if result.first_unknown and not self.first_unknown:
            line, word = result.first_unknown
            self.first_unknown = f"{word} ({lines.path}, line {lines.numbers[line]})"
        ends = []
        for number, length in zip(lines.numbers, result.lengths, strict=True):
            # A long line comes in parts. The last may be only its end, or its trailing spaces: that is no blank line.
            if length == _BLANK and number != self._line:
                self._end_document()
            if length > 0:
                self.num_sentences += 1
                self.num_tokens += length
                ends.append(self.num_tokens)
            if length > self._max_sentence_tokens:
                self.first_long_sentence = self.first_long_sentence or f"{lines.path}:{number}"
                self.num_long_sentences += 1
            self._line = number
        if ends:
            self.files_with_text.add(lines.path)
        _append(self._sentences, ends)

    def finish(self) -> None:
        self._end_document()

    def _end_document(self) -> None:
        if self.num_sentences > self._document_start:
            self.num_documents += 1
            self._document_start = self.num_sentences
            _append(self._documents, [self.num_sentences])


def _append(file: BinaryIO, numbers: list[int]) -> None:
    file.write(np.array(numbers, np.int64).tobytes())
