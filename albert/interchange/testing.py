"""Files of transformers' tokenizers, made of vocabularies that are there."""

import base64
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

TESTDATA = Path(__file__).parents[1] / "testdata"
WHOLE = TESTDATA / "30k-clean.model"
SMALL = TESTDATA / "agreement/agreement.model"


def proto_of(data: bytes) -> Any:
    """A SentencePiece model."""
    return sentencepiece_model_pb2.ModelProto.FromString(data)  # type: ignore[attr-defined]


def made_of(path: Path, is_converted: bool = True) -> dict[str, Any]:
    """What transformers 4.57 makes of a .model, and otherwise what gives our ids there, as far as it is read."""
    proto = proto_of(path.read_bytes())
    lowered = [p.score - 100 * (p.piece[-1:] == "," and p.piece[-2:-1].isdigit()) for p in proto.pieces]
    types = {4: False, 3: True, 2: True} if is_converted else {3: True, 2: True}
    quotes = [{"type": "Replace", "pattern": {"String": quote}, "content": '"'} for quote in ("``", "''")]
    table = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    kinds = [{"type": kind} for kind in ("NFKD", "StripAccents", "Lowercase")]
    return {
        "added_tokens": [
            {"id": number, "content": piece.piece, "special": types[piece.type]}
            for number, piece in enumerate(proto.pieces)
            if piece.type in types
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": quotes * is_converted + kinds + [{"type": "Precompiled", "precompiled_charsmap": table}],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
        "model": {
            "type": "Unigram",
            "unk_id": 1,
            "vocab": [[p.piece, score] for p, score in zip(proto.pieces, lowered, strict=True)],
        },
    }
