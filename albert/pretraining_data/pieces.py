"""What creating pretraining data knows of a vocabulary: special ids, and which pieces begin a word. No TensorFlow."""

from typing import NamedTuple

import numpy as np

from albert.pretraining_data.scripts import goes_on
from albert.tokenization import SentencePieceTokenizer, Tokenizer, WordPieceTokenizer

WORD_BEGIN = "\u2581"  # SentencePiece's sign in front of a piece that begins a word
# The original's list of punctuation, which has no apostrophe and none of < = >.
_PUNCTUATION = frozenset('!"#$%&()*+,-./:;?@[\\]^_`{|}~')
_INSIDE_WORDS = _PUNCTUATION | frozenset("abcdefghijklmnopqrstuvwxyz")
_NONE = -1


class Vocabulary(NamedTuple):
    """Ids with a meaning of their own, and where words begin.

    The id behind the last, `inner_unknown_id`, is used before records are made, for an unknown piece that begins no
    word; in records it is `unk_id`. The original decides by the text of an unknown piece whether it begins a word.
    """

    cls_id: int
    sep_id: int
    mask_id: int
    pad_id: int
    unk_id: int  # _NONE where all unknown pieces begin words
    starts_word: np.ndarray  # bool [size + 1]: of each id

    @property
    def size(self) -> int:
        """How many pieces there are."""
        return len(self.starts_word) - 1

    @property
    def inner_unknown_id(self) -> int:
        """The id that stands for an unknown piece that begins no word."""
        return self.size


def is_start_piece(piece: str) -> bool:
    """Whether a SentencePiece piece begins a word.

    By the original's rule, which knows English alone, but for pieces with letters beyond ASCII: there, a piece of a
    script that puts spaces between words continues the word before it, and one of Chinese, Japanese or Thai, which
    do not, begins a word.
    """
    if piece.startswith((WORD_BEGIN, "<")) or piece in _PUNCTUATION:
        return True
    return not _INSIDE_WORDS.issuperset(piece.lower()) and not goes_on(piece)


def is_start_word_piece(piece: str) -> bool:
    """Whether a WordPiece piece begins a word."""
    return not piece.startswith("##")


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """What the ids of `tokenizer` mean."""
    starts_word = np.ones(tokenizer.vocab_size + 1, bool)
    starts_word[-1] = False  # `inner_unknown_id`
    if isinstance(tokenizer, SentencePieceTokenizer):
        starts_word[:-1] = [is_start_piece(piece) for piece in tokenizer.pieces()]
        unk_id = tokenizer.unk_id
    else:
        assert isinstance(tokenizer, WordPieceTokenizer), "there are two kinds"
        for piece, number in tokenizer.ids.items():  # a blank line of the vocabulary has a number and no piece
            starts_word[number] = is_start_word_piece(piece)
        unk_id = _NONE
    return Vocabulary(tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id, unk_id, starts_word)


def encode(text: str, tokenizer: Tokenizer, vocabulary: Vocabulary) -> list[int]:
    """Ids of raw text, with `inner_unknown_id` for unknown pieces that begin no word."""
    ids = tokenizer.encode(text)
    if vocabulary.unk_id not in ids:
        return ids
    pieces = tokenizer.tokenize(tokenizer.preprocess(text))
    return [
        vocabulary.inner_unknown_id if i == vocabulary.unk_id and not is_start_piece(piece) else i
        for i, piece in zip(ids, pieces, strict=True)
    ]
