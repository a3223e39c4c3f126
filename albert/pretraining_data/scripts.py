"""How scripts write words: which put no spaces between them, and which characters continue a word."""

import re
import unicodedata

# Blocks of scripts that are written without spaces between words, as the inside of a regular expression's [...].
SPACELESS = "".join(
    (
        "\u0e00-\u0fff",  # Thai, Lao, Tibetan
        "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f",  # Burmese
        "\u1780-\u17ff\u19e0-\u19ff",  # Khmer
        "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf",  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
        "\u1a00-\u1a1f\u1b00-\u1b7f\u1bc0-\u1bff\ua930-\ua95f\ua980-\ua9df",  # Buginese to Javanese
        "\u2e80-\u2fdf\u3000-\u312f\u31a0-\u31bf\u31f0-\u31ff",  # radicals, marks, kana, Bopomofo
        "\u3400-\u9fff\ua000-\ua4cf\uf900-\ufaff\uff00-\uffef",  # Han, Yi, forms of other widths
        "\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff",  # Tangut, Khitan, Kana, Nushu, Han
    )
)
_SPACELESS_CHARACTER = re.compile(f"[{SPACELESS}]")
# Combining marks and what joins or parts letters without being seen, such as the non-joiner within Persian words.
_ATTACHED = frozenset(("Mn", "Mc", "Me", "Cf"))


def goes_on(text: str) -> bool:
    """Whether `text`, which follows other text without a space, continues the word there, by its letters beyond a-z.

    So it does with a letter, beyond ASCII, of a script that puts spaces between words, as Cyrillic, Arabic, Devanagari
    or Hangul, and with a combining mark at its beginning. A text with a character of another script does not.
    """
    if not text or text.isascii():
        return False
    if unicodedata.category(text[0]) in _ATTACHED:
        return True
    return not _SPACELESS_CHARACTER.search(text) and any(not c.isascii() and c.isalpha() for c in text)
