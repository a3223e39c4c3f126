"""Words to pieces and back: which piece stands for a word, and where a text's words are. No TensorFlow.

The first piece of a word carries its tag; the others have none, in the loss as in the scores. So does the paper of BERT
(Devlin et al. 2019, section 5.3), and so does transformers' `run_ner.py`: a word counts once, however it is cut.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from albert.data.schema import Record, cut_marks
from albert.tokenization import Tokenizer

# The position of a word without a piece in the row: the vocabulary drops all of it, or the row is too short.
NO_PIECE = -1
_SPECIAL_TOKENS = 2  # [CLS] words [SEP]


class Word(NamedTuple):
    """A word with its characters in the text that it is in: from `start` up to `stop`."""

    text: str
    start: int
    stop: int


def pieces_of(words: Sequence[str], tokenizer: Tokenizer, max_seq_length: int) -> tuple[Record, list[int]]:
    """`input_ids` and `segment_ids` of `[CLS] words [SEP]`, a mark where it was cut, and the place of each word's first
    piece in it, or NO_PIECE.

    Every word is cut into pieces alone, as one behind a blank.
    """
    ids = [tokenizer.cls_id]
    firsts = []
    for word in words:
        pieces = tokenizer.encode(word)
        firsts.append(len(ids) if pieces else NO_PIECE)
        ids += pieces
    length, room = len(ids) + 1, max_seq_length - 1
    kept = [*ids[:room], tokenizer.sep_id]
    record: Record = {
        "input_ids": kept,
        "segment_ids": [0] * len(kept),
        **cut_marks(max_seq_length=(length, max_seq_length)),
    }
    return record, [first if first < room else NO_PIECE for first in firsts]


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
