"""Rebuilds the SentencePiece model from which a `tokenizer.json` of Hugging Face's tokenizers library was made.

The file has the pieces with their scores and the table of characters, which is all that ids depend on. How that library
cuts text around them is not taken over: ids are those of this project's tokenizer, with which ALBERT was trained.
"""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from albert.errors import UserError
from albert.system.json_text import parse_json, short_repr, short_text

TOKENIZER_JSON = "tokenizer.json"
_WORD_BOUNDARY = "\u2581"
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
# What transformers 4 subtracts from pieces that end in a digit and a comma, so that they are never used.
_LOWERED = 100
# The first row is of that library's own files, the second of those that this project exports.
_NORMALIZERS = ("Replace", "Strip", "NFKD", "StripAccents", "Lowercase", "Precompiled", "NFC", "NFKC")
_QUOTES = ("``", "''")


def sentencepiece_model(data: bytes, source: str) -> bytes:
    """The serialized SentencePiece model of a `tokenizer.json`; `source` says in errors where it came from.

    Raises UserError for what is damaged or cannot be represented.
    """
    try:
        return _rebuilt(_read(data))
    except ValueError as error:
        raise UserError(
            f"{source} {error}. Take the .model (spiece.model, 30k-clean.model) that came with the weights "
            "in its place, or a vocab.txt of word pieces."
        ) from error


def _rebuilt(values: Mapping[str, Any]) -> bytes:
    model = _mapping(values.get("model"), "model")
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "Unigram":
        raise ValueError(f"is of kind {short_text(kind)}, not Unigram, as ALBERT's SentencePiece models are")
    if model.get("byte_fallback"):
        raise ValueError("splits unknown characters into bytes, which ALBERT's models do not")
    _check_boundaries(values.get("pre_tokenizer"))
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made when it is imported
    pieces = _pieces(model.get("vocab"))
    types = _types(pieces, model.get("unk_id"), values.get("added_tokens"))
    for (piece, score), kind in zip(pieces, types, strict=True):
        is_number_with_comma = len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()
        raised = score + _LOWERED if is_number_with_comma and score <= -_LOWERED else score
        proto.pieces.add(piece=piece, score=raised, type=kind)
    proto.trainer_spec.model_type = 1  # unigram
    proto.trainer_spec.vocab_size = len(pieces)
    proto.normalizer_spec.precompiled_charsmap = _character_map(_normalizers(values))
    proto.normalizer_spec.add_dummy_prefix = True
    return bytes(proto.SerializeToString(deterministic=True))


def read_casing(data: bytes) -> dict[str, bool]:
    """`do_lower_case` and `keep_accents` of a Unigram tokenizer, {} of another. Raises ValueError for a damaged one."""
    values = _read(data)
    if _mapping(values.get("model"), "model").get("type") != "Unigram":
        return {}
    kinds = [normalizer.get("type") for normalizer in _normalizers(values)]
    return {"do_lower_case": "Lowercase" in kinds, "keep_accents": "NFKD" not in kinds}


def cuts_as_we_do(data: bytes) -> bool:
    """Whether that library cuts text as this project does, but for odd texts: neither at symbols nor at quotes."""
    values = _read(data)
    at_symbols = [token for token in _mappings(values.get("added_tokens"), "added_tokens") if not token.get("special")]
    patterns = [_mapping(n.get("pattern", {}), "normalizer").get("String") for n in _normalizers(values)]
    return not at_symbols and not set(_QUOTES) & {text for text in patterns if isinstance(text, str)}


def pieces_by_id(data: bytes, kind: str) -> dict[int, object] | None:
    """The pieces of a tokenizer of the `kind` Unigram or WordPiece with its added tokens; None where it is of another.

    Raises ValueError for a damaged one.
    """
    values = _read(data)
    model = _mapping(values.get("model"), "model")
    if model.get("type") != kind:
        return None
    if kind == "Unigram":
        found: dict[int, object] = dict(enumerate(piece for piece, _ in _pieces(model.get("vocab"))))
    else:
        vocabulary = _mapping(model.get("vocab"), "vocab")
        found = {number: piece for piece, number in vocabulary.items() if type(number) is int}
    added = _mappings(values.get("added_tokens"), "added_tokens")
    return found | {token["id"]: token.get("content") for token in added if type(token.get("id")) is int}


def _read(data: bytes) -> Mapping[str, Any]:
    try:
        values = parse_json(data)
    except ValueError as error:
        raise ValueError(f"is {error}") from None
    return _mapping(values, "the whole")


def _pieces(vocabulary: object) -> list[tuple[str, float]]:
    rows = vocabulary if isinstance(vocabulary, list) else []
    pieces = [(row[0], row[1]) for row in rows if isinstance(row, list) and len(row) == 2]
    if len(pieces) < len(rows) or not all(
        isinstance(piece, str) and piece and type(score) in (int, float) and math.isfinite(score) and abs(score) < 1e30
        for piece, score in pieces
    ):
        raise ValueError("is damaged: its vocabulary is no list of pieces with scores")
    if len({piece for piece, _ in pieces}) < len(pieces) or not pieces:
        raise ValueError("is damaged: its vocabulary is empty, or has a piece twice")
    return pieces


def _types(pieces: Sequence[tuple[str, float]], unknown: object, added: object) -> list[int]:
    if type(unknown) is not int or not 0 <= unknown < len(pieces):
        raise ValueError(f"has no unknown piece: unk_id is {short_repr(unknown)}")
    # Log probabilities are below 0: the others were named when the model was trained.
    types = [_NORMAL if score < 0 else _USER_DEFINED for _, score in pieces]
    for token in _mappings(added, "added_tokens"):
        number = token.get("id")
        if type(number) is not int or not 0 <= number < len(pieces) or pieces[number][0] != token.get("content"):
            raise ValueError(
                f"has an added token, {short_repr(token.get('content'))}, which is no piece of its vocabulary: the "
                "model's own vocabulary has none"
            )
        types[number] = _CONTROL if token.get("special") else _USER_DEFINED
    types[unknown] = _UNKNOWN
    return types


def _normalizers(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """In their order. Raises ValueError for one that this project does not compute."""
    whole = values.get("normalizer")
    if whole is None:
        return []
    whole = _mapping(whole, "normalizer")
    parts = _mappings(whole.get("normalizers"), "normalizer") if whole.get("type") == "Sequence" else [whole]
    for part in parts:
        if part.get("type") not in _NORMALIZERS:
            raise ValueError(f"has the normalizer {short_text(part.get('type'))}, which ALBERT's do not have")
    return parts


def _character_map(normalizers: Sequence[Mapping[str, Any]]) -> bytes:
    found = [part.get("precompiled_charsmap") for part in normalizers if part.get("type") == "Precompiled"]
    if not found:
        return b""
    try:
        return base64.b64decode(found[0] if isinstance(found[0], str) else "?", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is damaged: its table of characters is no base64") from None


def _check_boundaries(pre_tokenizer: object) -> None:
    whole = _mapping(pre_tokenizer, "pre_tokenizer")
    parts = _mappings(whole.get("pretokenizers"), "pre_tokenizer") if whole.get("type") == "Sequence" else [whole]
    for part in parts:
        is_boundary = part.get("type") == "Metaspace" and part.get("replacement") == _WORD_BOUNDARY
        if is_boundary and part.get("prepend_scheme", "always") != "never" and part.get("add_prefix_space", True):
            return
    raise ValueError(f"does not put {_WORD_BOUNDARY} in front of words, as ALBERT's SentencePiece models do")


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"is damaged: {name} is no JSON object")
    return value


def _mappings(value: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise ValueError(f"is damaged: {name} is no list")
    return [_mapping(item, name) for item in value]
