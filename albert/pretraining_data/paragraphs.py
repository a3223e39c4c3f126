"""Files to paragraphs of documents: the forms in which text comes, and what in it is markup and no text.

Owns what a document and a paragraph are. Where sentences end is `sentences`' business.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from albert.errors import UserError
from albert.pretraining_data.markup import ATTRIBUTES, Markup
from albert.pretraining_data.text_files import read_lines
from albert.system.json_text import parse_json, short_repr
from albert.system.text_encoding import HALF_SURROGATE, half_surrogate

# A paragraph that is longer, as in a file without line ends or blank lines, is cut: memory stays bounded.
_MAX_PARAGRAPH_CHARACTERS = 1 << 18
_MAX_JSON_CHARACTERS = 1 << 26
# Where JSON lines have the text: The Pile, OSCAR, C4, mC4 and WikiExtractor; Dolma's relatives; CCNet.
_TEXT_KEYS = ("text", "content", "raw_content")
_SENTENCE_END = re.compile("[.!?\u2026\u3002\uff01\uff1f\u0964\u06d4\u061f][\"'\u201d\u2019\u00bb\u300d\u300f)]*\\s*")

# WikiExtractor escapes no quotation marks in titles, so that a tag may be ill-formed.
_DOC_BEGIN = re.compile(rf"\s*<doc(?P<tag>{ATTRIBUTES})\s*>(?P<rest>.*)|\s*<doc\s(?P<ill_formed>.*)>\s*", re.I | re.S)
_DOC_END = re.compile(r"(?P<text>.*)</doc\s*>\s*", re.I | re.S)
_TITLE = re.compile(r"""\stitle\s*=\s*(?:"(.*)"|'(.*)')""", re.I)
# What begins a JSON object, or a list of them: no prose does.
_JSON_BEGIN = re.compile(r'\s*\[?\s*(?:\{\s*("[^"]*"\s*:|$)|$)')


class Paragraph(NamedTuple):
    """Lines that belong together, of a document with this number, which is in a file with that number."""

    file: int
    document: int
    text: str


class _Numbered(NamedTuple):
    """Text of one document, as lines; "" ends a paragraph."""

    document: int
    line: str
    goes_on: bool = False  # with the line before, which was too long


def read_paragraphs(
    files: Iterable[Path], form: str, markup: Markup, on_bytes: Callable[[int], object]
) -> Iterator[Paragraph]:
    """All paragraphs of all files, in which documents are marked as `form` says, one of FORMS.

    A blank line ends a paragraph; one that gets too long is cut, see `_cut`. `markup` counts what is left out.

    Raises:
      UserError: names file and line where a file is not of that form.
    """
    first = 0
    for number, path in enumerate(files):
        last = first - 1
        for document, text in _joined(FORMS[form](path, markup, on_bytes)):
            last = first + document
            yield Paragraph(number, last, text)
        first = last + 1


def _joined(lines: Iterable[_Numbered]) -> Iterator[tuple[int, str]]:
    paragraph: list[str] = []
    size = document = 0
    for line in lines:
        if paragraph and (line.document != document or not line.line or line.line.isspace()) and not line.goes_on:
            yield document, "\n".join(paragraph)
            paragraph, size = [], 0
        document = line.document
        if line.goes_on and paragraph:
            paragraph[-1] += line.line
        elif line.line and not line.line.isspace():
            paragraph.append(line.line)
        size += len(line.line)
        while size >= _MAX_PARAGRAPH_CHARACTERS:
            text = "\n".join(paragraph)
            end = _cut(text)
            yield document, text[:end]
            paragraph = text[end:].split("\n")
            size = len(text) - end
    if paragraph:
        yield document, "\n".join(paragraph)


def _cut(text: str) -> int:
    """Where to cut a text that is too long: behind its last sentence, else behind its last white space, else its end.

    Marks that look like the end of a sentence but are none, such as in "Mr.", are taken for one here.
    """
    last = 0
    for match in _SENTENCE_END.finditer(text):
        # At the very end it cannot be seen what follows the mark.
        if match.end() < len(text) and (match[0][-1].isspace() or ord(match[0][0]) >= ord("\u3000")):
            last = match.end()
    return last or max(text.rfind(" "), text.rfind("\n")) + 1 or len(text)


# --- The forms --------------------------------------------------------------------------------------------------------


def _text_lines(path: Path, on_bytes: Callable[[int], object]) -> Iterator[tuple[int, str, bool]]:
    """(number, line, whether it continues a part before it, of a line that was too long)."""
    last = 0
    for number, line in read_lines(path, max_characters=_MAX_PARAGRAPH_CHARACTERS, on_bytes=on_bytes):
        yield number, line, number == last
        last = number


def _file(path: Path, markup: Markup, on_bytes: Callable[[int], object]) -> Iterator[_Numbered]:
    """A file is a document."""
    is_first = True
    for number, line, goes_on in _text_lines(path, on_bytes):
        if is_first and line.strip():
            is_first = False
            _refuse_json(path, number, line)
        yield _Numbered(0, markup.without(path, number, line), goes_on)


def _blank_lines(path: Path, markup: Markup, on_bytes: Callable[[int], object]) -> Iterator[_Numbered]:
    """A blank line ends a document. Markup does not, though it ends a paragraph."""
    document, has_text = 0, False
    left_out = markup.left_out.lines
    for _, line, goes_on in _file(path, markup, on_bytes):
        is_blank = (not line or line.isspace()) and not goes_on
        if is_blank and markup.left_out.lines == left_out and has_text:
            document, has_text = document + 1, False
        left_out = markup.left_out.lines
        has_text = has_text or not is_blank
        yield _Numbered(document, line, goes_on)


def _wikiextractor(path: Path, markup: Markup, on_bytes: Callable[[int], object]) -> Iterator[_Numbered]:
    """`<doc ...>` begins a document, `</doc>` ends it."""
    document, is_inside, title = -1, False, ""
    for number, line, goes_on in _text_lines(path, on_bytes):
        begin = None if goes_on else _DOC_BEGIN.fullmatch(line)
        if begin:
            document, is_inside = document + 1, True
            title = _title(begin["tag"] or begin["ill_formed"] or "")
            line = begin["rest"] or ""
        end = _DOC_END.fullmatch(line) if "</" in line else None
        if end and is_inside:
            line = end["text"]
        if line.strip() and not is_inside:
            raise UserError(
                f"{path}, line {number}: {short_repr(line.strip())} stands outside of <doc ...> and </doc>, in which "
                "WikiExtractor puts articles. Choose what `documents` says by what the file is: file, blank_lines, "
                "wikiextractor or jsonl."
            )
        line = markup.without(path, number, line)
        yield _Numbered(max(document, 0), line, goes_on)
        if title and line.strip() == title:
            yield _Numbered(document, "")  # the title is not part of the sentence that follows
        title = "" if line.strip() else title
        is_inside = is_inside and not end


def _jsonl(path: Path, markup: Markup, on_bytes: Callable[[int], object]) -> Iterator[_Numbered]:
    """A line is an object, the text in it a document."""
    last = 0
    for number, line in read_lines(path, max_characters=_MAX_JSON_CHARACTERS, on_bytes=on_bytes):
        if number == last:
            raise UserError(f"{path}, line {number}: longer than {_MAX_JSON_CHARACTERS:,} characters. Split it.")
        last = number
        if not line.strip():
            continue
        text = _text_of(line, path, number)
        if not text.strip():
            markup.empty_texts.add(path, number, line)
        for text_line in re.split("\r\n|\n|\r", text):
            yield _Numbered(number, markup.without(path, number, text_line))


FORMS: dict[str, Callable[[Path, Markup, Callable[[int], object]], Iterator[_Numbered]]] = {
    "file": _file,
    "blank_lines": _blank_lines,
    "wikiextractor": _wikiextractor,
    "jsonl": _jsonl,
}


def _title(attributes: str) -> str:
    found = _TITLE.search(f" {attributes}")
    return html.unescape((found[1] or found[2] or "").strip()) if found else ""


def _text_of(line: str, path: Path, number: int) -> str:
    """The text in an object, "" for null. Raises UserError where it is none, or has no text."""
    place = f"{path}, line {number}"
    try:
        found = parse_json(line.encode())
    except ValueError as error:
        raise UserError(f"{place}: {error}. `documents`=jsonl needs an object a line.") from error
    if not isinstance(found, dict):
        raise UserError(f"{place}: {short_repr(found)} is not an object. `documents`=jsonl needs an object a line.")
    key = next((key for key in _TEXT_KEYS if key in found), None)
    if key is None:
        raise UserError(
            f"{place}: has none of {', '.join(_TEXT_KEYS)}, but {short_repr(', '.join(found))}. Rename the one "
            "that holds the text."
        )
    text = found[key]
    if text is not None and not isinstance(text, str):
        raise UserError(f"{place}: `{key}` must be a text, not {short_repr(text)}.")
    if half_surrogate(text or "") is not None:
        raise UserError(f"{place}: `{key}` has {HALF_SURROGATE}.")
    return text or ""


def _refuse_json(path: Path, number: int, line: str) -> None:
    """Raises UserError where a file of text begins with a JSON object."""
    if _JSON_BEGIN.match(line):
        raise UserError(
            f"{path}, line {number}: {short_repr(line.strip())} begins JSON, not text. `documents`=jsonl reads files "
            "that have an object on every line, and takes the text in it for a document."
        )
