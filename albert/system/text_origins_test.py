"""What composes: every pair of characters that Unicode makes one of."""

import sys
import unicodedata

import pytest

from albert.system.text_origins import composed_with_origins


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
def test_every_pair_that_composes_is_one(form):
    composed = [
        (chr(code), unicodedata.normalize("NFD", chr(code)))
        for code in range(sys.maxunicode + 1)
        if len(unicodedata.normalize("NFD", chr(code))) > 1
    ]
    assert len(composed) > 12_000
    for character, parts in composed:
        for text in (parts, character, f"a{parts}b"):
            made, origins = composed_with_origins(text, form)
            assert made == unicodedata.normalize(form, text), ascii(text)
            assert len(origins.starts) == len(made)
    made, origins = composed_with_origins("xa\u030a\u0323y\u1112\u1161\u11ab", "NFC")
    assert made == "x\u1ea1\u030ay\ud55c"
    assert (origins.starts.tolist(), origins.stops.tolist()) == ([0, 1, 1, 4, 5], [1, 4, 4, 5, 8])
