"""Text to token ids: the SentencePiece path of ALBERT's released models, and word pieces for `vocab.txt` models.

Owns normalisation, splitting and the ids of the special tokens. Knows no task, no sequence length and no TensorFlow, so
that worker processes can tokenize without it. Both tokenizers can be pickled.
"""

import functools
import hashlib
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import sentencepiece
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from albert.errors import UserError
from albert.interchange.tokenizer_differences import UNIGRAM, WORD_PIECE, warn_of_differences
from albert.interchange.tokenizer_json import sentencepiece_model
from albert.system.json_text import short_repr
from albert.system.text_encoding import decoded, read_regular, what_is, without_marks
from albert.system.text_origins import Origins, code_points, composed_with_origins, origins_of_units, spaced_origins

_WORD_BOUNDARY = "\u2581"  # what SentencePiece puts in front of a piece that begins a word
_BYTE_PIECE = re.compile("<0x[0-9A-F]{2}>")
MAX_WORD_CHARACTERS = 200  # longer words become [UNK] without being searched for pieces
_CACHED_WORDS = 65536  # bounded, so that memory does not grow with the rows read


class Encoding(NamedTuple):
    """T tokens and the characters of the raw text that each stands for, from `starts` up to `stops`.

    Neither ever falls. A token that begins a word may begin with the white space before it. Combining marks belong to
    the character before them. A character that becomes several tokens belongs to each. Only a word boundary that the
    tokenizer adds in front of a text stands for nothing.
    """

    ids: list[int]  # [T]
    starts: np.ndarray  # [T] int64
    stops: np.ndarray  # [T] int64


class Tokenizer(Protocol):
    """What features need of a tokenizer. `digest` changes whenever the ids of any text may change."""

    cls_id: int
    sep_id: int
    pad_id: int
    mask_id: int
    unk_id: int
    vocab_size: int
    do_lower_case: bool
    keep_accents: bool
    digest: str
    vocabulary_bytes: bytes

    def __hash__(self) -> int: ...

    def preprocess(self, text: str) -> str:
        """Normalises raw text; `tokenize` expects its result."""

    def tokenize(self, text: str) -> list[str]:
        """Pieces of preprocessed text."""

    def encode(self, text: str) -> list[int]:
        """Ids of raw text, without special tokens: preprocess, tokenize, look up."""

    def encode_with_offsets(self, text: str) -> Encoding:
        """The ids of `encode` with the characters of the raw text that they stand for."""

    def pieces(self) -> list[str]:
        """The vocabulary, in the order of its ids."""


def preprocess_text(text: str, remove_space: bool = True, lower: bool = False, keep_accents: bool = False) -> str:
    """Collapses white space, decomposes (NFKD), drops combining marks and lower-cases, in this order.

    With `keep_accents`, which Google's models do not have, text is composed (NFKC) first instead and loses no mark.
    """
    if keep_accents:
        text = unicodedata.normalize("NFKC", text)
    if remove_space:
        text = " ".join(text.split())
    if not keep_accents and not text.isascii():  # ASCII is its own NFKD form and holds no combining marks
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.lower() if lower else text


def _preprocessed_origins(text: str, lower: bool, keep_accents: bool) -> Origins:
    """Of the characters of `preprocess_text(text, lower=lower, keep_accents=keep_accents)`.

    It works on one character after the other. What looks beyond one, the order of combining marks and the last sigma of
    a word, changes neither what is left nor its length.
    """
    if text.isascii() and len(" ".join(text.split())) == len(text):
        positions = np.arange(len(text))
        return Origins(positions, positions + 1)
    if keep_accents:
        composed, origins = composed_with_origins(text, "NFKC")
        units = [character.lower() if lower else character for character in composed]
        return spaced_origins(composed, units).through(origins)
    return spaced_origins(text, [_preprocessed_character(character, lower) for character in text])


@functools.lru_cache(maxsize=65536)
def _preprocessed_character(character: str, lower: bool) -> str:
    return preprocess_text(character, remove_space=False, lower=lower)


def load_tokenizer(
    spm_model_file: Path | None, vocab_file: Path | None, do_lower_case: bool, keep_accents: bool = False
) -> Tokenizer:
    """The tokenizer of a SentencePiece model, or of a `tokenizer.json` with one; otherwise of word pieces.

    Raises UserError where none is named, or the file is missing, unreadable, of another kind or lacks a special token.
    """
    if spm_model_file is not None:
        data, source = _read_bytes("spm_model_file", spm_model_file), f"`spm_model_file`={spm_model_file}"
        data = sentencepiece_model(data, source) if Path(spm_model_file).suffix == ".json" else data
        pieces = SentencePieceTokenizer(data, do_lower_case, source, keep_accents)
        warn_of_differences(Path(spm_model_file), UNIGRAM, dict(enumerate(pieces.pieces())))
        return pieces
    if vocab_file is not None:
        data, source = _read_bytes("vocab_file", vocab_file), f"`vocab_file`={vocab_file}"
        words = WordPieceTokenizer(data, do_lower_case, source, keep_accents)
        by_id = {number: piece for piece, number in words.ids.items()}
        warn_of_differences(Path(vocab_file), WORD_PIECE, by_id, do_lower_case and not keep_accents)
        return words
    raise UserError(
        "No vocabulary was named. Give `spm_model_file` (an ALBERT's 30k-clean.model) or `vocab_file` (word pieces)."
    )


class SentencePieceTokenizer:
    """ALBERT's own tokenization: a SentencePiece model plus the rule that splits "2010," into number and comma."""

    def __init__(
        self,
        model_bytes: bytes,
        do_lower_case: bool,
        source: str = "the SentencePiece model",
        keep_accents: bool = False,
    ):
        """Builds from a serialized model; `source` says in errors where it came from. Raises UserError."""
        self.do_lower_case = do_lower_case
        self.keep_accents = keep_accents
        self.digest = _digest("sentencepiece", do_lower_case, keep_accents, model_bytes)
        self.vocabulary_bytes = model_bytes
        self._model, pieces = _load_model(model_bytes, source)
        self.vocab_size = len(pieces)
        ids = {piece: i for i, piece in enumerate(pieces)}
        self.cls_id, self.sep_id, self.mask_id, self.pad_id = _special_ids(
            ids, source, ("[CLS]", "[SEP]", "[MASK]", "<pad>")
        )
        self.unk_id = self._model.unk_id()
        self._split_ids = {i for i, piece in enumerate(pieces) if ends_in_digit_and_comma(piece)}
        # The text that one unknown token stands for may end in a comma, where the model has none or does not use it.
        is_unknown = self._model.is_unknown(list(range(len(pieces))))
        self._split_ids.update(i for i, unknown in enumerate(is_unknown) if unknown)

    def __reduce__(self):
        return SentencePieceTokenizer, (self.vocabulary_bytes, self.do_lower_case, "", self.keep_accents)

    def preprocess(self, text: str) -> str:
        """White space, NFKD, combining marks and case; see `preprocess_text`."""
        return preprocess_text(text, lower=self.do_lower_case, keep_accents=self.keep_accents)

    def tokenize(self, text: str) -> list[str]:
        """Pieces of preprocessed text, with the comma split off every piece that ends in a digit and a comma."""
        pieces: list[str] = []
        for piece in self._model.encode(text, out_type=str):
            pieces += self.split_off_comma(piece) if ends_in_digit_and_comma(piece) else [piece]
        return pieces

    def encode(self, text: str) -> list[int]:
        """Ids of raw text. Pieces, which take longer, are made where a digit, or another letter, is before a comma."""
        text = self.preprocess(text)
        ids = self._model.encode(text)
        if self._split_ids.isdisjoint(ids) or not re.search(r"[^\W_a-zA-Z],", self._model.normalize(text)):
            return ids
        return self._model.piece_to_id(self.tokenize(text))

    def encode_with_offsets(self, text: str) -> Encoding:
        """The ids of `encode` with the characters of the raw text that they stand for."""
        prepared = self.preprocess(text)
        raw = _preprocessed_origins(text, self.do_lower_case, self.keep_accents)
        assert len(raw.starts) == len(prepared), f"{len(raw.starts)} origins of {len(prepared)} characters"
        pieces, spans = [], []  # the spans are of the normalised text, which is the model's pieces one after the other
        position = 0
        for piece in self._model.encode(prepared, out_type=str):
            length = self._normalized_length(piece)
            if ends_in_digit_and_comma(piece):
                parts = self.split_off_comma(piece)
                spans += _spans_of_parts(piece, parts, position)
                pieces += parts
            else:
                # The later bytes of a character stand for the character of the first.
                spans.append((position - (length == 0), position + length))
                pieces.append(piece)
            position += length
        if not pieces:
            return Encoding([], np.zeros(0, np.int64), np.zeros(0, np.int64))
        normalized = self._normalized_origins(prepared)
        assert len(normalized.starts) == position, f"{len(normalized.starts)} origins of {position} characters"
        first, stop = np.array(spans).T
        starts, stops = normalized.of_spans(first, stop).through(raw)
        # White space in front of the text belongs to its first word; of it, a word boundary alone has one character.
        stops[0] = stops[0] if stops[0] > starts[0] else min(starts[0], 1)
        starts[0] = 0
        return Encoding(self._model.piece_to_id(pieces), starts, stops)

    def _normalized_origins(self, prepared: str) -> Origins:
        """Of the characters of the model's normalised text."""
        normalized, offsets = self._model.normalize(prepared, with_offsets=True)
        bounds = np.array(offsets, np.int64)
        starts = bounds[:-1]
        # Characters that one character became begin at the same place, and end where the next ones begin.
        is_last = np.append(starts[1:] != starts[:-1], True)
        last = np.flatnonzero(is_last)
        stops = bounds[1:][last[np.searchsorted(last, np.arange(len(starts)))]]
        # White space that was collapsed, and what the model drops, is no part of what is before it. Of several kinds
        # of white space, a word begins with the first space.
        dropped = [ord(character) for character in set(prepared) if not self._model.normalize(character)]
        codes, positions = code_points(prepared), np.arange(len(prepared))
        last_kept = np.maximum.accumulate(np.where(np.isin(codes, dropped), -1, positions))
        next_space = np.minimum.accumulate(np.where(codes == ord(" "), positions, len(prepared))[::-1])[::-1]
        is_boundary = code_points(normalized) == ord(_WORD_BOUNDARY)
        spaces = np.where(is_boundary, next_space[np.minimum(starts, len(prepared) - 1)], len(prepared))
        starts = np.where(spaces < stops, spaces, starts)
        stops = np.maximum(last_kept[stops - 1] + 1, starts + 1)
        if is_boundary[0] and len(starts) > 1 and starts[0] == starts[1]:
            stops[0] = starts[0]  # the model's own, not the text's
        return Origins(starts, stops)

    def _normalized_length(self, piece: str) -> int:
        """How many characters of the normalised text a piece is: its own, unless it is one byte of a character."""
        if not _BYTE_PIECE.fullmatch(piece) or not self._model.is_byte(self._model.piece_to_id(piece)):
            return len(piece)
        return int(int(piece[1:-1], 16) & 0xC0 != 0x80)  # 1 for the first byte of a character

    def pieces(self) -> list[str]:
        """The vocabulary, in the order of its ids."""
        return self._model.id_to_piece(list(range(self.vocab_size)))

    def split_off_comma(self, piece: str) -> list[str]:
        """The pieces of the number and the comma that a piece consists of."""
        number = self._model.encode(piece[:-1].replace(_WORD_BOUNDARY, ""), out_type=str)
        # Encoding the number alone puts a word boundary in front of it, which must go if the piece had none.
        if not piece.startswith(_WORD_BOUNDARY) and number[0].startswith(_WORD_BOUNDARY):
            number[0] = number[0][1:]
        return [part for part in number if part] + [","]


class WordPieceTokenizer:
    """BERT's tokenization, exactly: clean, split at white space and punctuation, then greedy longest match.

    Written out here because the `tokenizers` library differs: it drops private-use characters, knows fewer punctuation
    marks and accents, and sets fewer ideographs apart.
    """

    def __init__(
        self,
        vocab_bytes: bytes,
        do_lower_case: bool,
        source: str = "the word-piece vocabulary",
        keep_accents: bool = False,
    ):
        """Builds from the bytes of a `vocab.txt`; `source` says in errors where it came from. Raises UserError."""
        self.do_lower_case = do_lower_case
        self.keep_accents = keep_accents
        self.digest = _digest("wordpiece", do_lower_case, keep_accents, vocab_bytes)
        self.vocabulary_bytes = vocab_bytes
        self.ids, self.vocab_size = _parse_vocab(vocab_bytes, source)
        self.cls_id, self.sep_id, self.mask_id, self.pad_id, self.unk_id = _special_ids(
            self.ids, source, ("[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]")
        )
        self._word_pieces = functools.lru_cache(maxsize=_CACHED_WORDS)(self._search_word_pieces)

    def __reduce__(self):
        return WordPieceTokenizer, (self.vocabulary_bytes, self.do_lower_case, "", self.keep_accents)

    def preprocess(self, text: str) -> str:
        """The text itself: cleaning and casing are part of `tokenize` here."""
        return text

    def tokenize(self, text: str) -> list[str]:
        """Word pieces of raw text."""
        words = split_words(text, self.do_lower_case, self.keep_accents)
        return [piece for word in words for piece in self._word_pieces(word)]

    def encode(self, text: str) -> list[int]:
        """Ids of raw text."""
        return [self.ids[piece] for piece in self.tokenize(text)]

    def encode_with_offsets(self, text: str) -> Encoding:
        """The ids of `encode` with the characters of the raw text that they stand for."""
        raw = None
        if self.keep_accents:
            text, raw = composed_with_origins(text, "NFC")
        units = [_words_of_character(character, self.do_lower_case, self.keep_accents) for character in text]
        origins = origins_of_units(units, lambda position: unicodedata.category(text[position]) == "Mn")
        origins = origins.through(raw) if raw else origins
        joined = "".join(units)
        words = split_words(text, self.do_lower_case, self.keep_accents)
        ids, first, stop = [], [], []
        for word, place in zip(words, re.finditer(r"\S+", joined), strict=True):
            assert place.end() - place.start() == len(word), f"{place.group()!r} is not as long as {word!r}"
            position = place.start()
            for piece in self._word_pieces(word):
                ids.append(self.ids[piece])
                first.append(position)
                position += len(piece.removeprefix("##")) if position > place.start() else len(piece)
                stop.append(place.end() if piece == "[UNK]" else position)
        if not ids:
            return Encoding([], np.zeros(0, np.int64), np.zeros(0, np.int64))
        return Encoding(ids, *origins.of_spans(np.array(first), np.array(stop)))

    def pieces(self) -> list[str]:
        """The vocabulary, in the order of its ids."""
        return list(self.ids)

    def _search_word_pieces(self, word: str) -> tuple[str, ...]:
        if len(word) > MAX_WORD_CHARACTERS:
            return ("[UNK]",)
        pieces = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.ids), None)
            if end is None:
                return ("[UNK]",)
            pieces.append(prefix + word[start:end])
            start = end
        return tuple(pieces)


def split_words(text: str, lower: bool, keep_accents: bool = False) -> list[str]:
    """BERT's basic tokenization: words and single punctuation marks, without accents and capitals if `lower`.

    With `keep_accents` the text is composed (NFC) and keeps them.
    """
    if keep_accents:
        text = unicodedata.normalize("NFC", text)
    words = []
    for word in text.translate(_CLEANED).split():
        if lower:
            word = word.lower() if keep_accents else _lower_without_accents(word)
        words.extend(word.translate(_PUNCTUATION_APART).split())
    return words


def _lower_without_accents(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


@functools.lru_cache(maxsize=65536)
def _words_of_character(character: str, lower: bool, keep_accents: bool) -> str:
    """What becomes of one character in `split_words`, with spaces where words end."""
    cleaned = character.translate(_CLEANED)
    if lower:
        cleaned = cleaned.lower() if keep_accents else _lower_without_accents(cleaned)
    return cleaned.translate(_PUNCTUATION_APART)


class _Replacements(dict):
    """A table for `str.translate` that asks `replace` once per character it meets."""

    def __init__(self, replace):
        super().__init__()
        self._replace = replace

    def __missing__(self, code_point: int) -> str:
        self[code_point] = self._replace(chr(code_point))
        return self[code_point]


def clean(character: str) -> str:
    """What BERT first makes of a character: itself, nothing, a space, or an ideograph between spaces."""
    category = unicodedata.category(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if character == "\ufffd" or category in ("Cc", "Cf"):
        return ""
    is_chinese = any(ord(character) in block for block in _CHINESE_BLOCKS)
    return f" {character} " if is_chinese else character


def set_apart(character: str) -> str:
    """What BERT makes of a character last: itself, or a punctuation mark between spaces."""
    # BERT counts all of ASCII's symbols as punctuation, also those that Unicode does not, such as $ and ^.
    is_ascii_symbol = character.isascii() and character.isprintable() and not character.isalnum()
    is_mark = is_ascii_symbol or unicodedata.category(character).startswith("P")
    return f" {character} " if is_mark else character


# The CJK ideograph blocks BERT surrounds by spaces; Hangul, Hiragana and Katakana are written with spaces or as words.
_CHINESE_BLOCKS = (
    range(0x4E00, 0xA000),
    range(0x3400, 0x4DC0),
    range(0x20000, 0x2A6E0),
    range(0x2A700, 0x2B740),
    range(0x2B740, 0x2B820),
    range(0x2B820, 0x2CEB0),
    range(0xF900, 0xFB00),
    range(0x2F800, 0x2FA20),
)

_CLEANED = _Replacements(clean)
_PUNCTUATION_APART = _Replacements(set_apart)


def ends_in_digit_and_comma(piece: str) -> bool:
    """Whether a piece is one that ALBERT always splits."""
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def _spans_of_parts(piece: str, parts: list[str], position: int) -> list[tuple[int, int]]:
    """The characters of each of the `parts` of a piece, which begins at `position` and may have word boundaries more.

    The parts together are the piece, with word boundaries only where a part has them.
    """
    letters = [position + index for index, letter in enumerate(piece) if letter != _WORD_BOUNDARY]
    spans, used = [], 0
    for part in parts:
        own = len(part) - part.count(_WORD_BOUNDARY)
        last = len(letters) - 1
        first = position if part.startswith(_WORD_BOUNDARY) and not used else letters[min(used, last)]
        used += own
        spans.append((first, max(first, letters[min(max(used - 1, 0), last)]) + 1 if own else first + 1))
    return spans


def _digest(kind: str, do_lower_case: bool, keep_accents: bool, data: bytes) -> str:
    casing = "lower" if do_lower_case else "cased"
    casing += ", with accents" if keep_accents else ""  # and nothing without, as digests have been
    return hashlib.sha256(f"{kind}\0{casing}\0".encode() + data).hexdigest()


def _read_bytes(setting: str, path: Path) -> bytes:
    try:
        return read_regular(Path(path))
    except OSError as error:
        raise UserError(
            f"`{setting}`={path} cannot be read: {error.strerror}. Name the file that came with the weights "
            "(download_pretrained_models.sh fetches them)."
        ) from error


def _load_model(data: bytes, source: str) -> tuple[sentencepiece.SentencePieceProcessor, list[str]]:
    """The processor and its pieces in the order of their ids."""
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made when it is imported
    try:
        proto.ParseFromString(data)
        # The last field of the file. One that was cut between two pieces loads as well, as a smaller vocabulary.
        model = sentencepiece.SentencePieceProcessor(model_proto=data) if proto.HasField("normalizer_spec") else None
        pieces = model.id_to_piece(list(range(len(proto.pieces)))) if model else []
    except (DecodeError, RuntimeError, UnicodeDecodeError):  # the last one of a piece that is no text
        model = None
    if model is None:
        what = what_is(data) or "not a whole SentencePiece model"
        raise UserError(f"{source} is {what}; name the .model that came with the weights.")
    return model, pieces


def _parse_vocab(data: bytes, source: str) -> tuple[dict[str, int], int]:
    """Piece to id, and the number of ids: line numbers from 0. A blank line keeps its id and matches nothing."""
    if description := what_is(data):
        raise UserError(f"{source} is {description}. A vocabulary is a text file, one piece a line.")
    ids: dict[str, int] = {}
    lines = without_marks(data).split(b"\n")
    if not lines[-1]:
        lines.pop()
    for index, line in enumerate(lines):
        try:
            fields = decoded(line + b"\n").split()  # a line with its end is told from one that stops
        except ValueError as error:
            raise UserError(
                f"{source}, line {index + 1}: {error}. A vocabulary is a text file, one piece a line."
            ) from error
        if fields and fields[0] in ids:
            where, first = f"{source}, line {index + 1}", ids[fields[0]] + 1
            raise UserError(f"{where}: {short_repr(fields[0])} stands on line {first} already; every piece once.")
        if fields:
            ids[fields[0]] = index
    return ids, len(lines)


def _special_ids(ids: dict[str, int], source: str, needed: tuple[str, ...]) -> list[int]:
    missing = [token for token in needed if token not in ids]
    if missing:
        hint = " It looks like the list beside a SentencePiece model: name the .model with `spm_model_file` instead."
        raise UserError(
            f"{source} lacks {', '.join(missing)}; an ALBERT vocabulary has {', '.join(needed)}."
            + (hint if "[UNK]" in missing and "<unk>" in ids else "")
        )
    return [ids[token] for token in needed]
