"""A paragraph to sentences. The only module that knows the library that finds where sentences end."""

import re
from collections.abc import Iterator, Sequence

import sentencex

from albert.pretraining_data.scripts import SPACELESS

# ISO 639-1.
LANGUAGES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo
    es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka
    kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng
    nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su
    sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)

# Control characters other than those that `str.split` takes for white space, soft hyphens, zero-width spaces and BOMs.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff]")
# Without spaces between words, a line that continues in the next is joined to it without one.
_BREAK_IN_SPACELESS = re.compile(f"(?<=[{SPACELESS}])\n(?=[{SPACELESS}])")
# Single and double quotation marks, straight and curly. Guillemets, which may be set off by spaces, and corner brackets
# stay with the library.
_QUOTES = re.compile("[\"'`\u00b4\u2018-\u201f]")
_OPENING = "\u2018\u201b\u201c\u201f"
# No text is wrapped at more characters than this.
_WIDEST_WRAP = 120


def clean(text: str) -> str:
    """`text` without invisible characters, each run of white space made one space, none at the ends."""
    return " ".join(_INVISIBLE.sub("", text).split())


def has_word(text: str) -> bool:
    """Whether there is a letter or digit of any script."""
    return any(map(str.isalnum, text))


def unwrap(lines: Sequence[str]) -> list[str]:
    """The lines of a paragraph, cleaned, to texts in which no sentence is cut by a line end.

    Lines that were wrapped are joined. Where one line is longer than any that are wrapped, each is a text of its own:
    a sentence, a paragraph or a title.
    """
    if any(_is_unwrapped(line) for line in lines):
        return list(lines)
    return [_BREAK_IN_SPACELESS.sub("", "\n".join(lines)).replace("\n", " ")]


def split_sentences(text: str, language: str) -> list[str]:
    """The sentences of a text that is `clean`, in order; nothing but white space between them is left out.

    Sentences within a quotation are sentences of their own. A language without rules of its own gets those of a related
    one, at last English's.
    """
    ends = list(_sentence_ends(text, language))
    sentences = []
    start = 0
    for end, next_end in zip(ends, [*ends[1:], len(text)], strict=True):
        if end < len(text) and _goes_on(text[start:end].rstrip(), text[end:next_end].lstrip()):
            continue
        sentences.append(text[start:end].strip())
        start = end
    return [sentence for sentence in sentences if sentence]


def _goes_on(sentence: str, following: str) -> bool:
    """Whether what the library took for two sentences is one: `"Is it so?" she asked.`, or a stray mark."""
    says_who_spoke = bool(_QUOTES.match(sentence[-1:])) and following[:1].islower()
    return says_who_spoke or not has_word(sentence) or not has_word(following)


def _sentence_ends(text: str, language: str) -> Iterator[int]:
    """Where sentences end in `text`, the white space behind them included; the last is its length.

    The library takes a quotation for one sentence, and one unclosed quotation mark, as books have at the beginning of
    each paragraph of a long speech, for a reason to cut in odd places. It therefore sees the text without them.
    """
    quotes = [match.start() for match in _QUOTES.finditer(text)]
    bare_end = seen = 0  # characters of the text without quotation marks; quotation marks before them
    for sentence in sentencex.segment(language, _QUOTES.sub("", text)):
        bare_end += len(sentence)
        while seen < len(quotes) and quotes[seen] < bare_end + seen:
            seen += 1
        end = bare_end + seen
        if not sentence[-1].isspace():
            while seen < len(quotes) and quotes[seen] == end and text[end] not in _OPENING:
                end += 1
                seen += 1
        if end < len(text):
            yield end
    yield len(text)


def _is_unwrapped(line: str) -> bool:
    # A long address stands alone on a wrapped line.
    return len(line) > _WIDEST_WRAP and (" " in line[:_WIDEST_WRAP] or not line.isascii())
