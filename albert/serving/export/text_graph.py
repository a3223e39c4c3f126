"""From texts to rows of tokens inside a TensorFlow graph: what `tokenization` and `tasks.text` do, in operations.

Needs tensorflow-text (the extra `serving`), which TensorFlow Serving links, and a SentencePiece vocabulary.
"""

import os
import unicodedata
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import tensorflow as tf

from albert.errors import UserError
from albert.serving.export.characters import class_of
from albert.tokenization import SentencePieceTokenizer, Tokenizer, ends_in_digit_and_comma

_COMMA = ","
_KERAS = "TF_USE_LEGACY_KERAS"
# The operation takes U+0000 for the end of a text; a character that no vocabulary has stands for it.
_NUL, _PRIVATE_USE = r"\x00", "\ue000"


class RowTensors(NamedTuple):
    """int32 [n, L], padded with the tokenizer's padding and zeros."""

    input_ids: tf.Tensor
    attention_mask: tf.Tensor
    token_type_ids: tf.Tensor


def why_not_in_graph(tokenizer: Tokenizer) -> str | None:
    """What keeps texts out of an exported graph, as a phrase; None where nothing does."""
    if not isinstance(tokenizer, SentencePieceTokenizer):
        return "TensorFlow has no operation that cuts texts into word pieces as BERT does"
    if _COMMA not in tokenizer.pieces():
        return "its vocabulary has no comma, so that numbers cannot be cut as ALBERT cuts them"
    try:
        _tensorflow_text()
    except UserError as error:
        return str(error).rstrip(".")
    return None


def _tensorflow_text() -> ModuleType:
    # It imports Keras, which this project's programs leave out by this variable.
    choice = os.environ.pop(_KERAS, None)
    try:
        import tensorflow_text
    except ImportError as error:
        raise UserError(
            f"tensorflow-text cannot be imported ({error}): scripts/setup.sh --serving installs it."
        ) from error
    finally:
        if choice is not None:
            os.environ[_KERAS] = choice
    return tensorflow_text


class TextGraph(tf.Module):
    """`SentencePieceTokenizer.encode` and `build_pair_features` as operations, of rows of at most `max_seq_length`.

    Equal to them, but for texts whose best two segmentations have the same score, where tensorflow-text's SentencePiece
    may take the other one.
    """

    def __init__(self, tokenizer: SentencePieceTokenizer, max_seq_length: int):
        super().__init__(name="texts")
        text = _tensorflow_text()
        self._pieces = text.SentencepieceTokenizer(tokenizer.vocabulary_bytes, out_type=tf.int32)
        self._normalize: Callable[[tf.Tensor, str], tf.Tensor] = text.normalize_utf8
        self._special_ids = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
        self._do_lower_case, self._keep_accents = tokenizer.do_lower_case, tokenizer.keep_accents
        self._max_seq_length = max_seq_length
        self._without_commas = _without_commas(tokenizer)

    def rows(self, texts: tf.Tensor, pairs: tf.Tensor | None = None) -> RowTensors:
        """The rows of `texts`, or of them and `pairs`, each string [n]."""
        first = self.encode(texts)
        second = tf.zeros_like(first[:, :0]) if pairs is None else self.encode(pairs)
        first_length, second_length = first.row_lengths(), second.row_lengths()
        # A second text without tokens makes a single text.
        is_pair = tf.cast(second_length > 0, first_length.dtype)
        kept = _kept(first_length, second_length, self._max_seq_length - 2 - is_pair)
        first, second = (_truncated(tokens, length) for tokens, length in zip((first, second), kept, strict=True))
        cls, sep, pad = self._special_ids
        one = tf.ones_like(is_pair)
        input_ids = tf.concat([_repeated(cls, one), first, _repeated(sep, one), second, _repeated(sep, is_pair)], 1)
        segments = tf.concat([_repeated(0, kept[0] + 2), _repeated(1, kept[1] + is_pair)], 1)
        padded = input_ids.to_tensor(pad)
        mask = tf.sequence_mask(input_ids.row_lengths(), tf.shape(padded)[1], tf.int32)
        return RowTensors(padded, mask, segments.to_tensor(0))

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of texts [n] without special tokens, int32 [n, None]."""
        ids = self._pieces.tokenize(self.preprocess(texts))
        return tf.gather(self._without_commas, ids).merge_dims(1, 2)

    def preprocess(self, texts: tf.Tensor) -> tf.Tensor:
        """`preprocess_text` of texts [n]."""
        texts = tf.strings.regex_replace(texts, _NUL, _PRIVATE_USE)
        if self._keep_accents:
            texts = self._normalize(texts, "NFKC")
        texts = tf.strings.regex_replace(texts, f"{class_of(str.isspace)}+", " ")
        texts = tf.strings.strip(texts)
        if not self._keep_accents:
            texts = tf.strings.regex_replace(self._normalize(texts, "NFKD"), class_of(unicodedata.combining), "")
        return tf.strings.lower(texts, encoding="utf-8") if self._do_lower_case else texts


def _without_commas(tokenizer: SentencePieceTokenizer) -> tf.RaggedTensor:
    """What each id becomes by the rule that splits "2010," into number and comma; for most the id alone, [V, None].

    An unknown piece stays: the text that it stands for ends in no comma, which is a piece of its own.
    """
    ids = {piece: number for number, piece in enumerate(tokenizer.pieces())}
    parts = [tokenizer.split_off_comma(piece) if ends_in_digit_and_comma(piece) else [piece] for piece in ids]
    flat = [ids.get(part, tokenizer.unk_id) for row in parts for part in row]
    return tf.RaggedTensor.from_row_lengths(tf.constant(flat, tf.int32), [len(row) for row in parts])


def _kept(first: tf.Tensor, second: tf.Tensor, budget: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`truncated_pair_lengths` of tensors [n]."""
    excess = tf.maximum(first + second - budget, 0)
    difference = tf.minimum(tf.abs(first - second), excess)
    is_longer = tf.cast(first > second, first.dtype)
    excess -= difference
    return (
        first - is_longer * difference - excess // 2,
        second - (1 - is_longer) * difference - (excess + 1) // 2,
    )


def _truncated(tokens: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """The first `lengths` [n] tokens of each row."""
    places = tf.ragged.range(lengths).flat_values + tf.repeat(tokens.row_starts(), lengths)
    return tf.RaggedTensor.from_row_lengths(tf.gather(tokens.flat_values, places), lengths)


def _repeated(value: int, times: tf.Tensor) -> tf.RaggedTensor:
    """`value` as often as `times` [n] says: int32 [n, None]."""
    return tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(times)], value), times)
