"""What transformers' files beside a vocabulary say of its tokenizer, where this project's tokenizers do otherwise.

The library makes its ids by these files, so that a model which it trained may know texts by other ids than here.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from albert.interchange.tokenizer_json import TOKENIZER_JSON, pieces_by_id
from albert.system.json_text import parse_json, short_repr, short_text
from albert.system.printing import counted
from albert.system.text_encoding import read_regular

TOKENIZER_CONFIG, ADDED_TOKENS = "tokenizer_config.json", "added_tokens.json"
UNIGRAM, WORD_PIECE = "Unigram", "WordPiece"  # as the library calls the kinds of vocabulary
# Classes that cut texts at all as ALBERT's and BERT's do; "Fast" may follow.
_CLASSES = (
    *("AlbertTokenizer", "BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"),
    *("PreTrainedTokenizer", "TokenizersBackend", "SentencePieceBackend"),
)
# Settings with the value that means what is done here, and that counts there, too, where nothing is said.
_USUAL: Mapping[str, Mapping[str, object]] = {
    UNIGRAM: {"truncation_side": "right"},
    WORD_PIECE: {"truncation_side": "right", "do_basic_tokenize": True, "tokenize_chinese_chars": True},
}
_Pieces = Mapping[int, object]  # by their ids


def warn_of_differences(vocabulary: Path, kind: str, pieces: _Pieces, strips_accents: bool = True) -> None:
    """Warns where files beside a `vocabulary` of `kind` give ids other pieces, or ask for what is not done here.

    `strips_accents`: whether texts lose them here; of word pieces, whose settings say it.
    """
    found = _other_vocabulary(vocabulary, kind, pieces) or _added_tokens(vocabulary, pieces)
    if found:  # one is enough: each file has all added tokens
        logging.warning("%s", found)
    path = vocabulary.with_name(TOKENIZER_CONFIG)
    other = ", ".join(_other_settings(_answer(path, parse_json), kind, strips_accents))
    if other:
        logging.warning("%s says %s, which is not done here: its model may predict worse.", path, other)


def _other_vocabulary(vocabulary: Path, kind: str, pieces: _Pieces) -> str | None:
    path = vocabulary.with_name(TOKENIZER_JSON)
    other = _answer(path, lambda data: _difference(pieces_by_id(data, kind), pieces))
    if not other:
        return None
    advice = f"move {vocabulary.name} away" if kind == UNIGRAM else f"correct {vocabulary.name}"
    return (
        f"{path} differs from {vocabulary.name}, whose ids count here: {other}. transformers reads the former; if it "
        f"trained the model, {advice}."
    )


def _difference(theirs: _Pieces | None, ours: _Pieces) -> str:
    """In which pieces `theirs` are others, as a phrase; "" where in none."""
    if theirs is None:
        return "it is of another kind"
    # What is blank has an id and stands for no text.
    theirs = {number: piece for number, piece in theirs.items() if not isinstance(piece, str) or piece.strip()}
    other = [number for number in sorted({*theirs, *ours}) if theirs.get(number) != ours.get(number)]
    if not other:
        return ""
    first = other[0]
    return f"{len(other)} pieces, as number {first}, {short_repr(theirs.get(first))} for {short_repr(ours.get(first))}"


def _added_tokens(vocabulary: Path, pieces: _Pieces) -> str | None:
    for name, read in ((TOKENIZER_CONFIG, _added_by_config), (ADDED_TOKENS, _added_by_list)):
        values = _answer(vocabulary.with_name(name), parse_json)
        added = read(values) if isinstance(values, dict) else {}
        missing = [number for number, token in added.items() if pieces.get(number) != token]
        if missing:
            first = f"number {missing[0]}, {short_repr(added[missing[0]])}"
            return (
                f"{vocabulary.with_name(name)} has {counted(len(missing), 'token')} that {vocabulary.name} lacks, as "
                f"{first}: cut like any text here, so that a model that was trained with them may predict worse."
            )
    return None


def _added_by_config(values: Mapping[str, Any]) -> dict[int, str]:
    """{"added_tokens_decoder": {"30000": {"content": "<new>"}}}, as transformers writes it since version 4.34."""
    decoder = values.get("added_tokens_decoder")
    tokens = decoder.items() if isinstance(decoder, dict) else ()
    return {
        int(number): token["content"]
        for number, token in tokens
        if number.isdecimal() and len(number) < 10 and isinstance(token, dict) and isinstance(token.get("content"), str)
    }


def _added_by_list(values: Mapping[str, Any]) -> dict[int, str]:
    """{"<new>": 30000}, as it was before."""
    return {number: token for token, number in values.items() if type(number) is int}


def _other_settings(values: Any, kind: str, strips_accents: bool) -> Iterator[str]:
    if not isinstance(values, dict):
        return
    name = values.get("tokenizer_class")
    if isinstance(name, str) and name.removesuffix("Fast") not in _CLASSES:
        yield f"tokenizer_class {short_text(name)}"
    usual = {**_USUAL[kind], **({"strip_accents": strips_accents} if kind == WORD_PIECE else {})}
    for name, value in usual.items():
        if values.get(name) is not None and values[name] != value:
            yield f"{name} {short_text(values[name])}"


def _answer(path: Path, question: Callable[[bytes], Any]) -> Any:
    """What `question` finds in a file; None where it is not there, or is damaged, which its own reader tells."""
    try:
        return question(read_regular(path))
    except (OSError, ValueError):
        return None
