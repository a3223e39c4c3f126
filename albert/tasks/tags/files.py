"""Texts as words with tags: CoNLL files, a word a line, and JSON Lines with lists. No TensorFlow.

Rows are read one by one. Whatever is none raises UserError in one line, with the file and the line. Knows no task.
"""

import dataclasses
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.system.printing import counted
from albert.tasks.own.cells import kind_of, label_of, text_of
from albert.tasks.own.columns import USUAL_TEXTS, check_label
from albert.tasks.own.files import (
    CONLL,
    JSON,
    TABLES,
    all_column_names,
    choose_from_header,
    describe_unknown,
    list_names,
    read_columns,
)
from albert.tasks.own.lines import is_chosen, numbered_lines
from albert.tasks.rows import RowTally
from albert.tasks.tags import brackets

# Endings of CoNLL files that other files have, too: they are read where tags are asked for.
MAYBE_CONLL = (".txt", ".tsv")
CONLLU = ".conllu"

_WORDS = ("tokens", "words")
_TAGS = ("ner_tags", "tags", "labels", "label", "ner", "pos_tags", "upos")
# The word and its tag by column, from 1, and -1 for the last.
_CONLL_COLUMNS, _CONLLU_COLUMNS, _COLUMNS_OF_2012 = ("1", "-1"), ("2", "4"), ("4", "11")
_CONLLU_WIDTH = 10
NO_TAG = "_"  # in CoNLL-U
# The ids of CoNLL-U: of a word, and of what is none: several words that are written as one, and a word that is not
# written.
_WORD_ID, _OTHER_ID = re.compile("[0-9]+"), re.compile(r"[0-9]+[-.][0-9]+")
_DOCUMENT = "-DOCSTART-"
# Lines of CoNLL-2012, as OntoNotes has them, around a document.
_DOCUMENTS_OF_2012 = ("#begin document", "#end document")
_WHITE_LINE = "{rows} of white space that is neither blanks nor tabs, read as the end of a text"
MAX_WORDS = 20_000
_LOOKED_AT = 10  # lines


class TagRow(NamedTuple):
    """The words of a text with their tags, if it has any: `number` counts from 0, `line` is the first one, from 1.

    `lines` are those of the words, in CoNLL; () where all are on `line`.
    """

    number: int
    line: int
    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    lines: tuple[int, ...] = ()

    def line_of(self, place: int) -> int:
        """The line of the word at `place`."""
        return self.lines[place] if self.lines else self.line


@dataclasses.dataclass(frozen=True)
class TagColumns:
    """The columns that are read, by name, in CoNLL by number. `tags` is None where the texts have none."""

    words: str
    tags: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Both, or the one."""
        return (self.words,) if self.tags is None else (self.words, self.tags)


@dataclasses.dataclass(frozen=True)
class TagFile:
    """A file and the columns that are read of it. `needs_tags`: every text must have tags."""

    path: Path
    columns: TagColumns
    needs_tags: bool = True

    @property
    def is_json(self) -> bool:
        """Whether it is JSON Lines."""
        return self.path.suffix.lower() in JSON

    def rows(self, tally: RowTally, chosen: bytes | None = None) -> Iterator[TagRow]:
        """The texts, one by one; where `chosen` is given, those that it has a 1 for.

        Raises UserError with file and line for one that cannot be used.
        """
        rows = self._json_rows(tally) if self.is_json else self._conll_rows(tally)
        first = next(rows, None)
        if first is None:
            raise UserError(f"{self.path} has no words; write a word and its tag a line, an empty line between texts.")
        for row in itertools.chain([first], rows):
            if chosen is None or is_chosen(chosen, row.number):
                yield row

    def _json_rows(self, tally: RowTally) -> Iterator[TagRow]:
        columns = self.columns
        needed, optional = (columns.names, ()) if self.needs_tags else ((columns.words,), columns.names[1:])
        for number, row in enumerate(read_columns(self.path, needed, tally, optional)):
            cells = dict(zip(columns.names, row.cells, strict=False))
            name = columns.words
            try:
                words = _words(cells[name])
                name = columns.tags or ""
                tags = _tags(cells.get(name), len(words), self.needs_tags)
            except ValueError as error:
                raise UserError(
                    f"{self.path}, line {row.line}: {short_repr(name)} {error}; correct or remove the row."
                ) from None
            yield TagRow(number, row.line, words, tags)

    def _conll_rows(self, tally: RowTally) -> Iterator[TagRow]:
        number, first, words, tags, lines = 0, 0, list[str](), list[str](), list[int]()
        width: tuple[list[str], int] | None = None  # the first columns, and their line
        has_documents = False
        has_brackets: bool | None = None  # not known before the first text with tags
        for line, text in itertools.chain(numbered_lines(self.path, tally), [(0, "")]):
            cells = self._cells(line, text)
            if cells is None:
                continue
            if not cells:
                has_documents = has_documents or text.startswith(_DOCUMENTS_OF_2012)
                if text.strip(" \t\r\n") and not text.strip():
                    tally.add(_WHITE_LINE, line, text)
                if words:
                    found = tuple(tags) if len(tags) == len(words) else None
                    if found is not None:
                        if has_brackets is None:
                            has_brackets = brackets.are_brackets(found, has_documents)
                        found = brackets.tags_of(self.path, found, lines) if has_brackets else found
                    yield TagRow(number, first, tuple(words), found, tuple(lines))
                    number, words, tags, lines = number + 1, [], [], []
                # Its texts have a column for each verb.
                width = None if has_documents else width
                continue
            width = width or (cells, line)
            if len(cells) != len(width[0]):
                raise self._other_width(line, cells, *width)
            first = first if words else line
            word, tag = self._word_and_tag(line, cells)
            words.append(word)
            lines.append(line)
            if tag is not None:
                tags.append(tag)
            if len(words) > MAX_WORDS:
                raise UserError(
                    f"{self.path}, line {first}: a text of more than {MAX_WORDS:,} words begins here; write an empty "
                    "line between sentences."
                )

    def _cells(self, line: int, text: str) -> list[str] | None:
        """Of a line of CoNLL: [] of one that ends a text, None of one that is no word."""
        text = text.rstrip("\r\n")
        if "\r" in text:
            raise UserError(
                f"{self.path}, line {line}: a carriage return within the line; save the file with line feeds (\\n or "
                "\\r\\n) at the ends of lines."
            )
        if not text.strip():
            return []
        is_conllu = self.path.suffix.lower() == CONLLU
        if is_conllu and text.startswith("#"):
            return None
        if text.startswith(_DOCUMENTS_OF_2012):
            return []
        # A word in a file with tabs may have a blank in it.
        cells = [cell.strip(" ") for cell in text.split("\t")] if "\t" in text else text.split(" ")
        cells = cells if "\t" in text else [cell for cell in cells if cell]
        if cells[0] == _DOCUMENT:
            return []
        if is_conllu:
            if len(cells) != _CONLLU_WIDTH:
                raise UserError(f"{self.path}, line {line}: {len(cells)} columns; CoNLL-U has {_CONLLU_WIDTH}.")
            if _OTHER_ID.fullmatch(cells[0]):
                return None
            if not _WORD_ID.fullmatch(cells[0]):
                raise UserError(
                    f"{self.path}, line {line}: the id {short_repr(cells[0])}; the first column of CoNLL-U is 1, 2, "
                    "..., 1-2 for words that are written as one, or 8.1 for a word that is not written."
                )
        return cells

    def _word_and_tag(self, line: int, cells: list[str]) -> tuple[str, str | None]:
        names = self.columns.names
        places = [int(name) - (int(name) > 0) for name in names]
        if len(cells) == 1 and len(places) == 2 and places[1] in (-1, 1):
            if self.needs_tags:
                raise UserError(
                    f"{self.path}, line {line}: the word {short_repr(cells[0])} has no tag; write it behind the word, "
                    "a blank or a tab between them."
                )
            places = places[:1]
        if beyond := [
            name for name, place in zip(names, places, strict=False) if not -len(cells) <= place < len(cells)
        ]:
            raise UserError(f"{self.path}, line {line}: no column {beyond[0]}; there are {len(cells)}.")
        # Around a tag no white space counts, as around labels; a word may have some of its own kind in it.
        found = [cells[place].strip() if number else cells[place] for number, place in enumerate(places)]
        try:
            for cell in found:
                text_of(cell)
            if "" in found:
                raise ValueError("has an empty column")
            for tag in found[1:]:
                check_label(tag)
        except ValueError as error:
            raise UserError(f"{self.path}, line {line} {error}; correct the line.") from None
        is_without = len(found) < 2 or (found[1] == NO_TAG and self._may_lack_tags)
        return found[0], None if is_without else found[1]

    @property
    def _may_lack_tags(self) -> bool:
        """Whether a line in a file without tags is as long as any other."""
        return not self.needs_tags and self.path.suffix.lower() == CONLLU and self.columns.tags == _CONLLU_COLUMNS[1]

    def _other_width(self, line: int, cells: list[str], others: list[str], where: int) -> UserError:
        has_comment = any(some[0].startswith("#") for some in (cells, others))
        comments = " (only files of CoNLL-U, which end in .conllu, have comments with #)" if has_comment else ""
        what = f"the word {short_repr(cells[0])} has no tag" if len(cells) == 1 else f"{len(cells)} columns"
        return UserError(
            f"{self.path}, line {line}: {what}, but line {where} has {len(others)} columns{comments}; write a word a "
            "line, its tag in the last column, and an empty line between texts."
        )


def _words(cell: Any) -> tuple[str, ...]:
    """Raises ValueError saying what else a cell holds, to follow the name of its column."""
    if not isinstance(cell, list):
        raise ValueError(f"holds {'a text' if isinstance(cell, str) else kind_of(cell)}, not a list of words")
    if not cell:
        raise ValueError("is an empty list")
    if len(cell) > MAX_WORDS:
        raise ValueError(f"has {len(cell):,} words; {MAX_WORDS:,} are allowed")
    for number, word in enumerate(cell):
        try:
            if not text_of(word).strip(" \t\r\n"):
                raise ValueError("is empty")
        except ValueError as error:
            raise ValueError(f"[{number}] {error}") from None
    return tuple(cell)


def _tags(cell: Any, num_words: int, needs_tags: bool) -> tuple[str, ...] | None:
    if cell is None and not needs_tags:
        return None
    if not isinstance(cell, list):
        raise ValueError(f"holds {'a text' if isinstance(cell, str) else kind_of(cell)}, not a list of tags")
    if len(cell) != num_words:
        raise ValueError(f"has {counted(len(cell), 'tag')} for {counted(num_words, 'word')}")
    found = []
    for number, value in enumerate(cell):
        try:
            tag = label_of(value)
            if not isinstance(tag, str):
                raise ValueError("holds a list, not a tag")
            if not tag:
                raise ValueError("is empty")
            check_label(tag)
        except ValueError as error:
            raise ValueError(f"[{number}] {error}") from None
        found.append(tag)
    return tuple(found)


# --- Which files hold tags, and in which columns ----------------------------------------------------------------------


def holds_words(path: Path) -> bool:
    """Whether a file holds words apart, by its ending or by its first object."""
    return path.suffix.lower() in CONLL or holds_lists_of_words(path, needs_tags=False)


def holds_lists_of_words(path: Path, needs_tags: bool = True) -> bool:
    """Whether the first object of a JSON file has words, and tags if it `needs_tags`, as lists, and no text.

    What has a text is classified, as before there were tags.
    """
    if path.suffix.lower() not in JSON:
        return False
    try:
        (first,) = itertools.islice(read_columns(path, (), RowTally(path), (*_WORDS, *_TAGS, *USUAL_TEXTS)), 1)
    except UserError:  # told where it is read
        return False
    words, tags, texts = (
        first.cells[start:stop]
        for start, stop in itertools.pairwise((0, len(_WORDS), len(_WORDS) + len(_TAGS), len(first.cells)))
    )
    has_words, has_tags = (any(isinstance(cell, list) for cell in some) for some in (words, tags))
    return all(text is None for text in texts) and has_words and (has_tags or not needs_tags)


def looks_like_conll(path: Path, tags: Collection[str]) -> bool:
    """Whether the first lines of a text file are words with one of `tags` behind each."""
    lines = (text.split() for _, text in numbered_lines(path))
    first = list(itertools.islice((cells for cells in lines if cells and cells[0] != _DOCUMENT), _LOOKED_AT))
    return bool(first) and all(len(cells) > 1 and cells[-1] in tags for cells in first)


def choose_tag_columns(path: Path, words: str | None, tags: str | None, needs_tags: bool) -> TagColumns:
    """Those that are `words` and `tags`, or the usual ones. Raises UserError where there are none such."""
    ending = path.suffix.lower()
    if ending in JSON:
        return _choose_keys(path, words, tags, needs_tags)
    if ending not in (*CONLL, *MAYBE_CONLL):
        endings = ", ".join((*CONLL, *MAYBE_CONLL, *JSON))
        if ending in TABLES:
            remedy = (
                "write a word and its tag a line, an empty line between texts, to a file called so"
                if needs_tags
                else "the texts of a table are predicted by albert.predict, with the model that the run leaves"
            )
            raise UserError(f"{path} is a table, but words with tags are in {endings}: {remedy}.")
        raise UserError(f"{path}{describe_unknown(path)}; words with tags are in {endings}.")
    usual = _CONLLU_COLUMNS if ending == CONLLU else _COLUMNS_OF_2012 if _is_of_2012(path) else _CONLL_COLUMNS
    for name, given in (("text_column_names", words), ("label_column_name", tags)):
        if given and not _is_number(given):
            raise UserError(
                f"`{name}`={given}: the columns of {path} have no names; give a number, from 1, or -1 for the last."
            )
    return TagColumns(words or usual[0], tags or usual[1])


def _is_of_2012(path: Path) -> bool:
    """Whether a file begins with a document of CoNLL-2012."""
    first = next((text for _, text in numbered_lines(path) if text.strip()), "")
    return first.startswith(_DOCUMENTS_OF_2012)


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 4 and int(digits) > 0


def _choose_keys(path: Path, words: str | None, tags: str | None, needs_tags: bool) -> TagColumns:
    keys, _ = choose_from_header(path, lambda header: header.names)

    def chosen(setting: str, named: str | None, usual: Sequence[str], what: str) -> str | None:
        nonlocal keys
        candidates = (named,) if named else usual
        if not any(name in keys for name in candidates):
            keys = all_column_names(path, keys) or tuple(keys)
        found = next((name for name in candidates if name in keys), None)
        if found is None and (named or needs_tags or setting == "text_column_names"):
            raise UserError(
                f"{path}: no list of {what} ({', '.join(candidates)}); its keys are {list_names(keys)}. Name it with "
                f"`{setting}`."
            )
        return found

    found = chosen("text_column_names", words, _WORDS, "words")
    assert found, "it is needed"
    return TagColumns(found, chosen("label_column_name", tags, [name for name in _TAGS if name != found], "tags"))
