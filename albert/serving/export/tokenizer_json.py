"""`tokenizer.json`, from which the tokenizers library cuts texts into the ids that this project has; made without it.

What transformers makes of `spiece.model` by itself gives others: it turns quotes into `"`, takes the vocabulary's
user-defined pieces out of a text before the model sees it, and mostly leaves out the rule for a comma behind a digit.
"""

import base64
import json
import unicodedata
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from albert.errors import UserError
from albert.serving.export.characters import class_of
from albert.tokenization import (
    MAX_WORD_CHARACTERS,
    SentencePieceTokenizer,
    Tokenizer,
    WordPieceTokenizer,
    clean,
    ends_in_digit_and_comma,
    set_apart,
)

_BOUNDARY = "\u2581"
# Lowers the score of pieces that are always split, so that no best path has one.
_NEVER = 100.0
_FINAL_SIGMA, _BYTE_OF_SIGMA = "ς", "<0xCF>"
_DECOMPOSED = unicodedata.normalize("NFD", "한")
_UNIGRAM, _UNUSED, _USER_DEFINED = 1, 5, 4
_Step = dict[str, Any]


def tokenizer_json(tokenizer: Tokenizer) -> str:
    """The text of the file. Raises UserError for a vocabulary of which the library would make other ids."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        form = _of_sentence_pieces(tokenizer)
    else:
        assert isinstance(tokenizer, WordPieceTokenizer), "there are two kinds"
        form = _of_word_pieces(tokenizer)
    tokens = special_tokens(tokenizer)
    ids = {name: getattr(tokenizer, f"{name}_id") for name in tokens}
    others = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
    added = [
        {"id": ids[name], "content": tokens[name], "lstrip": name == "mask", **others}
        for name in sorted(tokens, key=lambda name: ids[name])
    ]
    values = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **form}
    values["post_processor"] = _template(tokenizer, tokens["cls"], tokens["sep"])
    return json.dumps({**values, "model": values.pop("model")}, ensure_ascii=False) + "\n"


def special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """The tokens that no text has: pad, unk, cls, sep, mask."""
    is_word_pieces = isinstance(tokenizer, WordPieceTokenizer)
    pad, unk = ("[PAD]", "[UNK]") if is_word_pieces else ("<pad>", tokenizer.pieces()[tokenizer.unk_id])
    return {"pad": pad, "unk": unk, "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def _template(tokenizer: Tokenizer, cls: str, sep: str) -> _Step:
    """[CLS] A [SEP] and [CLS] A [SEP] B [SEP]."""

    def special(token: str, segment: int) -> _Step:
        return {"SpecialToken": {"id": token, "type_id": segment}}

    single = [special(cls, 0), {"Sequence": {"id": "A", "type_id": 0}}, special(sep, 0)]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}, special(sep, 1)]
    ids = ((cls, tokenizer.cls_id), (sep, tokenizer.sep_id))
    tokens = {token: {"id": token, "ids": [number], "tokens": [token]} for token, number in ids}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


# --- SentencePiece ----------------------------------------------------------------------------------------------------


def _of_sentence_pieces(tokenizer: SentencePieceTokenizer) -> _Step:
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made when it is imported
    proto.ParseFromString(tokenizer.vocabulary_bytes)
    problem = _problem_of(proto)
    if problem:
        raise UserError(
            f"transformers would make other ids with this vocabulary, which {problem}: `format`=huggingface cannot "
            "keep them; `format`=checkpoint does."
        )
    scores = [
        [entry.piece, entry.score - _NEVER * ends_in_digit_and_comma(entry.piece)] for entry in proto.pieces
    ]  # fmt: skip
    form = "NFKC" if tokenizer.keep_accents else "NFKD"
    spaces, strip = (
        _replace(class_of(str.isspace) + "+", " "),
        {"type": "Strip", "strip_left": True, "strip_right": True},
    )
    # As `preprocess_text` does it, and then what the vocabulary's file says.
    steps = [{"type": form}, spaces, strip] if tokenizer.keep_accents else [spaces, strip, {"type": form}]
    if not tokenizer.keep_accents:
        steps.append(_replace(class_of(unicodedata.combining), ""))
    steps += _lower_case(tokenizer)
    characters = proto.normalizer_spec.precompiled_charsmap
    if characters:
        # The library looks characters up one by one, where SentencePiece also composes several, as those of Hangul.
        if _normalized(tokenizer, _DECOMPOSED).endswith(unicodedata.normalize("NFC", _DECOMPOSED)):
            steps.append({"type": "NFC"})
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(characters).decode()})
    metaspace = {"type": "Metaspace", "replacement": _BOUNDARY, "prepend_scheme": "always", "split": True}
    metaspace["add_prefix_space"] = True  # the same for older versions of the library, such as 0.15
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*steps, _replace(" {2,}", " "), strip]},
        "pre_tokenizer": metaspace,
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": tokenizer.unk_id,
            "vocab": scores,
            "byte_fallback": proto.trainer_spec.byte_fallback,
        },
    }


def _normalized(tokenizer: SentencePieceTokenizer, text: str) -> str:
    """What the vocabulary's own normalisation makes of a text."""
    model = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.vocabulary_bytes)
    normalized: str = model.normalize(text)
    return normalized


def _problem_of(proto: Any) -> str | None:
    """What the vocabulary does that the library's plain search for the best path does not."""
    normalizer, pieces = proto.normalizer_spec, [entry.piece for entry in proto.pieces]
    symbols = [entry.piece for entry in proto.pieces if entry.type == _USER_DEFINED]
    if proto.trainer_spec.model_type != _UNIGRAM:
        return "is no unigram model"
    if not (normalizer.add_dummy_prefix and normalizer.remove_extra_whitespaces and normalizer.escape_whitespaces):
        return "treats white space in a way of its own"
    if proto.trainer_spec.treat_whitespace_as_suffix:
        return "marks the ends of words instead of their beginnings"
    if any(entry.type == _UNUSED for entry in proto.pieces):
        return "has pieces that are marked as unused"
    inside = next((piece for piece in pieces if _BOUNDARY in piece[1:]), None)
    if inside is not None:
        return f"has the piece {inside!r} of several words"
    # These are cut out of a text first. The search does the same, by their score 0, where nothing else has them.
    for symbol in symbols:
        other = next((piece for piece in pieces if symbol in piece and piece != symbol), None)
        if other is not None:
            return f"has the piece {other!r} beside the user-defined {symbol!r}"
        if any(symbol[start:] == other[: len(symbol) - start] for other in symbols for start in range(1, len(symbol))):
            return f"has user-defined pieces that overlap, among them {symbol!r}"
    return None


# --- Word pieces ------------------------------------------------------------------------------------------------------


def _of_word_pieces(tokenizer: WordPieceTokenizer) -> _Step:
    """Written out, because the library's own form of BERT's tokenizer knows other characters; see that class."""
    steps = [{"type": "NFC"}] if tokenizer.keep_accents else []
    steps.append(_replace(class_of(lambda character: not clean(character)), ""))
    steps += _lower_case(tokenizer)
    if tokenizer.do_lower_case and not tokenizer.keep_accents:
        marks = class_of(lambda character: unicodedata.category(character) == "Mn")
        steps += [{"type": "NFD"}, _replace(marks, "")]
    apart = class_of(lambda character: set_apart(character) != character or clean(character) == f" {character} ")
    splits = [
        {"type": "Split", "pattern": {"Regex": class_of(str.isspace) + "+"}, "behavior": "Removed", "invert": False},
        {"type": "Split", "pattern": {"Regex": apart}, "behavior": "Isolated", "invert": False},
    ]
    return {
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": MAX_WORD_CHARACTERS,
            "vocab": tokenizer.ids,
        },
    }


# --- Characters -------------------------------------------------------------------------------------------------------


def _lower_case(tokenizer: Tokenizer) -> list[_Step]:
    """Small letters, with the sigma at the end of a word, which Python knows and the library does not."""
    if not tokenizer.do_lower_case:
        return []
    if not any(_FINAL_SIGMA in piece or piece == _BYTE_OF_SIGMA for piece in tokenizer.pieces()):
        return [{"type": "Lowercase"}]
    cased = class_of(lambda character: f"aΣ{character}".lower()[1] != _FINAL_SIGMA)
    passed_over = class_of(
        lambda character: f"aΣ{character}".lower()[1] == _FINAL_SIGMA != f"aΣ{character}a".lower()[1]
    )
    return [_replace(f"{cased}{passed_over}*\\KΣ(?!{passed_over}*{cased})", _FINAL_SIGMA), {"type": "Lowercase"}]


def _replace(pattern: str, by: str) -> _Step:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}
