"""Words to pieces and back: which piece stands for a word, rows of a text, where its words are. No TensorFlow.

The first piece of a word carries its tag; the others have none, in the loss as in the scores. So does the paper of BERT
(Devlin et al. 2019, section 5.3), and so does transformers' `run_ner.py`: a word counts once, however it is cut.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from albert.data.schema import Record, cut_marks
from albert.tokenization import Tokenizer

# The position of a word without a piece in the row: the vocabulary drops all of it, or the row is cut before it.
NO_PIECE = -1
# How `windows_of` splits texts, for caches and runs to say.
WINDOWS_VERSION = 1
_SPECIAL_TOKENS = 2  # [CLS] words [SEP]


class Word(NamedTuple):
    """A word with its characters in the text that it is in: from `start` up to `stop`."""

    text: str
    start: int
    stop: int


class Row(NamedTuple):
    """`[CLS] words [SEP]` and the places of the first pieces of the words that are read in it, or NO_PIECE."""

    record: Record
    first_pieces: list[int]


class Window(NamedTuple):
    """Words `start` up to `stop` of a text, of which those from `first` up to `end` are read in it."""

    start: int
    stop: int
    first: int
    end: int


def pieces_of(words: Sequence[str], tokenizer: Tokenizer, max_seq_length: int) -> Row:
    """All words in one row, which is cut to `max_seq_length`, and has a mark where it was cut.

    Every word is cut into pieces alone, as one behind a blank.
    """
    return _row([tokenizer.encode(word) for word in words], tokenizer, max_seq_length)


def windows_of(words: Sequence[str], tokenizer: Tokenizer, max_seq_length: int) -> list[Row]:
    """The same row where it is not cut, otherwise windows of it, in which each word is read once, in their order.

    Only a word that is longer than a row is cut, and its row has the mark.
    """
    pieces = [tokenizer.encode(word) for word in words]
    lengths, room = list(map(len, pieces)), max_seq_length - _SPECIAL_TOKENS
    if sum(lengths) <= room:
        return [_row(pieces, tokenizer, max_seq_length)]
    rows = []
    for start, stop, first, end in split_at_words(lengths, room):
        record, places = _row(pieces[start:stop], tokenizer, max_seq_length)
        rows.append(Row(record, places[first - start : end - start]))
    return rows


def split_at_words(lengths: Sequence[int], room: int) -> list[Window]:
    """Windows of whole words, which have `lengths` in tokens: as many as `room` tokens hold, at least one.

    Each begins half a room of tokens behind the one before it. A word is read in the window that has the most context
    of it: the fewer of its tokens before the word and behind the word are more than in any other, or, where two are
    alike, in the earlier one. Windows in which no word is read are left out.
    """
    # A word that is longer fills a window alone.
    before = np.concatenate([[0], np.cumsum(np.minimum(lengths, room), dtype=np.int64)])
    stride, spans = max(1, room // 2), list[tuple[int, int]]()
    start = stop = 0
    while stop < len(lengths):
        start = min(stop, int(np.searchsorted(before, before[start] + stride))) if spans else 0
        stop = int(np.searchsorted(before, before[start] + room, side="right")) - 1
        spans.append((start, stop))
    most, best = np.full(len(lengths), -1), np.zeros(len(lengths), np.int64)
    for number, (start, stop) in enumerate(spans):
        context = np.minimum(before[start:stop] - before[start], before[stop] - before[start + 1 : stop + 1])
        better = np.flatnonzero(context > most[start:stop]) + start
        most[better], best[better] = context[better - start], number
    read = [np.flatnonzero(best == number) for number in range(len(spans))]
    # Context before a word grows with its place, and context behind it shrinks: what is read lies together.
    return [Window(*span, int(w[0]), int(w[-1]) + 1) for span, w in zip(spans, read, strict=True) if len(w)]


def _row(pieces: Sequence[Sequence[int]], tokenizer: Tokenizer, max_seq_length: int) -> Row:
    ids = [tokenizer.cls_id]
    firsts = []
    for of_word in pieces:
        firsts.append(len(ids) if of_word else NO_PIECE)
        ids += of_word
    length, room = len(ids) + 1, max_seq_length - 1
    kept = [*ids[:room], tokenizer.sep_id]
    record: Record = {
        "input_ids": kept,
        "segment_ids": [0] * len(kept),
        **cut_marks(max_seq_length=(length, max_seq_length)),
    }
    return Row(record, [first if first < room else NO_PIECE for first in firsts])


def words_of(text: str, sets_punctuation_apart: bool) -> list[Word]:
    """The words of a text: what stands between white space, and with `sets_punctuation_apart` marks at its ends alone.

    A full stop stays where another one is in the word, as in "U.S."; marks inside a word do, too.
    """
    words = [Word(match[0], match.start(), match.end()) for match in re.finditer(r"\S+", text)]
    return [part for word in words for part in _parts(word)] if sets_punctuation_apart else words


def _parts(word: Word) -> list[Word]:
    text = word.text
    first, stop = 0, len(text)
    while first < stop and is_mark(text[first]):
        first += 1
    while stop > first and is_mark(text[stop - 1]):
        if text[stop - 1] == "." and "." in text[first : stop - 1]:
            break
        stop -= 1
    marks = [*range(first), *range(stop, len(text))]
    parts = [(place, place + 1) for place in marks] + ([(first, stop)] if first < stop else [])
    return [Word(text[begin:end], word.start + begin, word.start + end) for begin, end in sorted(parts)]


def is_mark(character: str) -> bool:
    """Whether a character is a punctuation mark."""
    return unicodedata.category(character).startswith("P")
