"""Whether a vocabulary fits the text: the share of pieces that it does not know, capitals, accents. No TensorFlow."""

import logging
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.system.printing import counted
from albert.tokenization import Tokenizer

_LOG = logging.getLogger(__name__)

_WARN_SHARE = 0.01
# Of the pieces with letters, more than so many have capitals or accents where the vocabulary was made for them.
_SOME_PIECES = 0.01


def warn_of_vocabulary(tokenizer: Tokenizer) -> None:
    """Warns where the text is changed to what the vocabulary was not made from."""
    pieces = [piece for piece in tokenizer.pieces() if any(map(str.isalpha, piece)) and not _is_special(piece)]
    if not pieces:
        return
    cased = [piece for piece in pieces if piece != piece.lower()]
    is_cased = len(cased) > _SOME_PIECES * len(pieces)
    if is_cased and tokenizer.do_lower_case:
        _LOG.warning(
            "The vocabulary has %s with capitals, as %s, but the text is lower-cased: it was made for "
            "`do_lower_case`=false.",
            *(counted(len(cased), "piece"), short_repr(cased[0])),
        )
    if not is_cased and not tokenizer.do_lower_case and any(piece != piece.upper() for piece in pieces):
        _LOG.warning(
            "The vocabulary has no pieces with capitals, but the text is not lower-cased, so that words with capitals "
            "become unknown pieces: it was made for `do_lower_case`."
        )
    accented = [piece for piece in pieces if _has_accent(piece)]
    if len(accented) > _SOME_PIECES * len(pieces) and _lose_accents(accented, tokenizer):
        _LOG.warning(
            "The vocabulary has %s with accents or marks, as %s, but the text loses them: it was made for "
            "`keep_accents`.",
            *(counted(len(accented), "piece"), short_repr(accented[0])),
        )


def is_worth_telling(unknown: int, total: int, max_share: float) -> bool:
    """Whether `check_unknown` would warn or raise."""
    return unknown > min(_WARN_SHARE, max_share) * total


def check_unknown(
    unknown: int, total: int, *, max_share: float, where: str, example: str, tokenizer: Tokenizer
) -> None:
    """Warns where more than 1 % of `total` pieces are unknown. Raises UserError above `max_share`.

    `where` is the text, and `example` the first place in it, with the word there.
    """
    if not is_worth_telling(unknown, total, max_share):
        return
    share = unknown / total
    casing = "lower-cased" if tokenizer.do_lower_case else "not lower-cased"
    problem = (
        f"{where}: the vocabulary does not know {100 * share:.2g} % of the pieces ({unknown:,} of {total:,}), the "
        f"first in {example}. The text is {casing}"
    )
    if share > max_share:
        raise UserError(
            f"{problem}. Name a vocabulary of the text's language, change `do_lower_case`, or raise "
            f"`max_unknown_share`={max_share:g}."
        )
    _LOG.warning("%s; is the vocabulary one of its language and case?", problem)


class UnknownPieces:
    """Counts the pieces of texts, and those that the vocabulary does not know. Several threads may add to it.

    Attributes:
      total: all pieces so far.
      count: those that are unknown.
      example: the first word with one; "" where there is none.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self.total = self.count = 0
        self.example = ""

    def add(self, records: Iterable[Sequence[float]], item: object) -> None:
        """Counts the ids of `records`, which were made of the texts in `item`."""
        pieces = [piece for ids in records for piece in ids]
        unknown = pieces.count(self._tokenizer.unk_id)
        with self._lock:
            self.count += unknown
            self.total += len(pieces)
            if unknown and not self.example:
                self.example = first_unknown_word(texts_of(item), self._tokenizer) or "a text"

    def warn(self, where: str) -> None:
        """Warns as `check_unknown` does, whatever the share; `where` is the text."""
        check_unknown(
            self.count, self.total, max_share=1.0, where=where, example=self.example, tokenizer=self._tokenizer
        )


def first_unknown_word(texts: Iterable[str], tokenizer: Tokenizer) -> str:
    """The first word with an unknown piece, cut to a line's length; "" where there is none."""
    for text in texts:
        for word in text.split():
            if tokenizer.unk_id in tokenizer.encode(word):
                return short_repr(word)
    return ""


def texts_of(item: object) -> Iterator[str]:
    """The texts in a row of a task: in its fields, lists and mappings, but for names of rows and labels."""
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        yield from texts_of([value for name, value in item.items() if not str(name).endswith(("id", "label"))])
    elif hasattr(item, "_asdict"):
        yield from texts_of(item._asdict())
    elif isinstance(item, list | tuple):
        for part in item:
            yield from texts_of(part)
    elif hasattr(item, "__dict__"):
        yield from texts_of(vars(item))
    elif hasattr(item, "__slots__"):
        yield from texts_of({name: getattr(item, name) for name in item.__slots__})


def _is_special(piece: str) -> bool:
    return piece[0] in "[<" and piece[-1] in "]>"


def _has_accent(piece: str) -> bool:
    return piece != _without_accents(piece)


def _without_accents(text: str) -> str:
    """`text`, decomposed where it has combining marks, without these."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    left = "".join(character for character in decomposed if not unicodedata.combining(character))
    return left if left != decomposed else text


def _lose_accents(pieces: list[str], tokenizer: Tokenizer) -> bool:
    return all(tokenizer.encode(piece) == tokenizer.encode(_without_accents(piece)) for piece in pieces[:100])
