"""Lines of text files that are markup, not text: which they are, and how many there were."""

import dataclasses
import logging
import re
from pathlib import Path

from albert.system.json_text import short_repr
from albert.system.printing import counted

_LOG = logging.getLogger(__name__)

# Attributes of a tag. The repetitions are possessive, so that no line takes long, whatever is in it.
ATTRIBUTES = r"""(?:\s++[\w:.-]++\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'<>]++))*+"""
_TAG = rf"/?[a-z][\w:.-]*+{ATTRIBUTES}\s*+/?|!--(?:(?!-->).)*+--|[!?](?!--)[^<>]*+|\|[^|<>]*+\|"
# A line of nothing but tags, comments, declarations, and separators such as <|endoftext|>. "a < b" is none.
_ONLY_TAGS = re.compile(rf"\s*+(?:<(?:{_TAG})>\s*+)++", re.I)
# WikiExtractor escapes no quotation marks in titles, so that a tag may be ill-formed.
_DOC_TAG = re.compile(r"\s*(?:<doc\s[^<]*>|</doc\s*>)", re.I)
# Text with markup in it: closing tags, headings of wikis, and what surrounds books of Project Gutenberg and web pages.
_CLOSING_TAG = re.compile(r"</[a-z][\w:.-]*+\s*+>", re.I)
_BEGINS_AS_MARKUP = re.compile(r"\s*+(?:\*\*\* ?(?:START|END) OF TH|WARC/\d|-DOCSTART-)", re.I)
_LONGEST_HEADING = 300


@dataclasses.dataclass
class Noted:
    """Lines of one kind: how many, where the first is and what it says."""

    lines: int = 0
    first: str = ""

    def add(self, path: Path, number: int, line: str) -> None:
        """Counts one line."""
        self.lines += 1
        self.first = self.first or f"{path}, line {number}: {short_repr(line.strip())}"


@dataclasses.dataclass
class Markup:
    """What was found while text was read. Lines of nothing but markup are left out, those with text in them kept."""

    left_out: Noted = dataclasses.field(default_factory=Noted)
    kept: Noted = dataclasses.field(default_factory=Noted)
    empty_texts: Noted = dataclasses.field(default_factory=Noted)
    documents: int = 0  # lines that begin one: <doc ...>

    def without(self, path: Path, number: int, line: str) -> str:
        """`line`, counted; "" where it is nothing but markup."""
        if is_markup(line):
            self.left_out.add(path, number, line)
            self.documents += "<doc " in line.lower()
            return ""
        self.note(path, number, line)
        return line

    def note(self, path: Path, number: int, line: str) -> None:
        """Counts a line that is kept, whatever it is."""
        if is_markup(line) or has_markup(line):
            self.kept.add(path, number, line)
            self.documents += "<doc " in line.lower()

    def warn(self) -> None:
        """Tells what was counted, if anything was."""
        advice = "Take markup out of the text first."
        if self.documents:
            begin = counted(self.documents, "of them begin", "", "s")
            advice = (
                f"{begin} a document: albert.prepare_corpus with `documents`=wikiextractor makes each of these one."
            )
        for found, what in (
            (self.left_out, ("s are markup and were left out", " is markup and was left out")),
            (self.kept, ("s have markup in them and were kept as they are", " has markup in it and was kept as it is")),
        ):
            if found.lines:
                _LOG.warning("%s; the first is %s. %s", counted(found.lines, "line", *what), found.first, advice)
        if self.empty_texts.lines:
            _LOG.warning(
                "%s no text; the first is %s.",
                *(counted(self.empty_texts.lines, "document", "s have", " has"), self.empty_texts.first),
            )


def is_markup(line: str) -> bool:
    """Whether a line has nothing but markup."""
    return "<" in line and bool(_ONLY_TAGS.fullmatch(line) or _DOC_TAG.fullmatch(line.rstrip()))


def has_markup(line: str) -> bool:
    """Whether a line of text has markup in it."""
    stripped = line.strip()
    is_heading = stripped[:1] == stripped[-1:] == "=" and len(stripped) <= _LONGEST_HEADING
    has_tag = "</" in line and _CLOSING_TAG.search(line)
    return bool((is_heading and any(map(str.isalnum, stripped))) or has_tag or _BEGINS_AS_MARKUP.match(line))
