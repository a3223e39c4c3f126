"""What the scores of answers count as a word, by language.

English is scored by the official SQuAD scripts, the other languages by the rules of MLQA
(mlqa_evaluation_v1.py), whose seven languages include English by the same rule but for punctuation. In a language that
is written without spaces every character is a word, as MLQA and CMRC 2018 count Chinese; here also rarer ideographs.
"""

import dataclasses
import functools
import re
import string
import sys
import unicodedata


@dataclasses.dataclass(frozen=True)
class Language:
    """How an answer becomes words. `characters` match what is a word by itself; None where spaces divide all."""

    articles: re.Pattern[str] | None = None
    characters: re.Pattern[str] | None = None
    only_ascii_punctuation: bool = False

    def words(self, text: str) -> list[str]:
        """The words of an answer: in lower case, without punctuation and articles."""
        marks = _ASCII_PUNCTUATION if self.only_ascii_punctuation else _punctuation()
        text = text.lower().translate(marks)
        text = self.articles.sub(" ", text) if self.articles else text
        text = self.characters.sub(r" \g<0> ", text) if self.characters else text
        return text.split()


_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)


@functools.cache
def _punctuation() -> dict[int, int | None]:
    """A table for `str.translate` that takes out all of Unicode's punctuation, and ASCII's symbols."""
    marks = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith("P"))
    return {**_ASCII_PUNCTUATION, **dict.fromkeys(marks)}


_IDEOGRAPHS = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

DEFAULT_LANGUAGE = "en"
LANGUAGES = {
    DEFAULT_LANGUAGE: Language(re.compile(r"\b(a|an|the)\b"), only_ascii_punctuation=True),
    "ar": Language(re.compile("ال")),
    "de": Language(re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b")),
    "es": Language(re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b")),
    "hi": Language(),
    "ja": Language(characters=re.compile(f"[{_IDEOGRAPHS}\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f]")),
    "km": Language(characters=re.compile("[\u1780-\u17ff]")),
    "lo": Language(characters=re.compile("[\u0e80-\u0eff]")),
    "my": Language(characters=re.compile("[\u1000-\u109f]")),
    "th": Language(characters=re.compile("[\u0e00-\u0e7f]")),
    "vi": Language(re.compile(r"\b(của|là|cái|chiếc|những)\b")),
    "zh": Language(characters=re.compile(f"[{_IDEOGRAPHS}]")),
}


def unspaced_language(text: str) -> str | None:
    """The language of a text of more than one character that is written without spaces; None of any other."""
    for name in ("zh", "th", "lo", "km", "my", "ja"):
        characters = LANGUAGES[name].characters
        found = characters.findall(text) if characters else []
        if len(found) > 1:
            return "ja" if re.search("[\u3040-\u30ff]", text) else name
    return None
