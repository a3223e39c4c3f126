"""One look at all texts of a file with tags before a run: the tags, a fingerprint of each text, and what is odd."""

import collections
import dataclasses
import logging
import re
from array import array
from collections.abc import Collection, Sequence

import numpy as np

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.system.printing import counted, part_of
from albert.tasks.own.columns import MAX_CLASSES, is_integer, looks_alike
from albert.tasks.own.files import log_reading
from albert.tasks.own.lines import reading_bar
from albert.tasks.own.survey import Fingerprints
from albert.tasks.tags.entities import OUTSIDE, are_chunks, place_and_type
from albert.tasks.tags.files import CONLLU, NO_TAG, TagFile, TagRow
from albert.tasks.tags.words import is_mark

_LOG = logging.getLogger(__name__)

# Of a tag with one word, where others have many: a spelling mistake looks so.
_MANY_WORDS, _SHOWN = 20, 5
# Up to so many, a tenth of the words may have a tag of their own.
_MANY_TAGS = 50
# Marks that are set apart or not, whatever else is: full stops also end abbreviations.
_CLEAR_MARKS = frozenset(",;:!?")
# "(12" and "(PERSON*", which is read in columns, but not in lists: how CoNLL-2012 marks where a mention or an entity
# begins that ends at another word.
_BRACKET = re.compile(r"\([^)]+")
# What people call a column of tags.
_HEADERS = frozenset(
    "tag tags label labels ner ner_tag ner_tags pos pos_tag pos_tags upos xpos iob bio entity entities".split()
)


@dataclasses.dataclass
class TagSurvey:
    """What a look at all texts of a file found; arrays have an entry for each text.

    `counts` are the words with each tag, `first_lines` the lines of the first words with it.
    """

    file: TagFile
    lines: array = dataclasses.field(default_factory=lambda: array("I"))
    texts: array = dataclasses.field(default_factory=lambda: array("Q"))
    rows: array = dataclasses.field(default_factory=lambda: array("Q"))
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    first_lines: dict[str, int] = dataclasses.field(default_factory=dict)
    num_words: int = 0
    inside_first: tuple[int, int] = (0, 0)  # entities that begin with I-: how many, and the line of the first
    begun: int = 0  # those that begin with B- behind something else than an entity of their type
    marks_apart: int = 0
    marks_beside: int = 0

    @property
    def num_rows(self) -> int:
        """Texts of the file."""
        return len(self.lines)

    @property
    def sets_punctuation_apart(self) -> bool:
        """Whether marks are words of their own, more often than not."""
        return self.marks_apart >= self.marks_beside

    def add(self, row: TagRow, fingerprints: Fingerprints) -> None:
        """Looks at one more text. Raises UserError where there are too many different tags."""
        self.lines.append(row.line)
        self.texts.append(fingerprints.of(row.words))
        self.rows.append(fingerprints.of(row.words, row.tags))
        self.num_words += len(row.words)
        for word in row.words:
            if word[-1] in _CLEAR_MARKS:
                self.marks_apart += len(word) == 1
                self.marks_beside += not all(map(is_mark, word))
        if row.tags is None:
            return
        self.counts.update(row.tags)
        for place, tag in enumerate(row.tags):
            if tag not in self.first_lines:
                self.first_lines[tag] = row.line_of(place)
        self._look_at_beginnings(row)
        if len(self.counts) > MAX_CLASSES:
            raise UserError(
                f"{self.file.path}, line {row.line}: more than {MAX_CLASSES:,} different tags; is it the right column? "
                "(`label_column_name` names another.)"
            )

    def _look_at_beginnings(self, row: TagRow) -> None:
        before = (OUTSIDE, "")
        for number, tag in enumerate(row.tags or ()):
            place, type_ = place_and_type(tag)
            if place in "BI" and (before[0] == OUTSIDE or before[1] != type_):
                if place == "B":
                    self.begun += 1
                else:
                    count, line = self.inside_first
                    self.inside_first = (count + 1, line or row.line_of(number))
            before = (place, type_)


def survey_tags(file: TagFile, seed: int) -> TagSurvey:
    """Reads all texts of `file`. Raises UserError for the first that cannot be used; logs what was done with rows."""
    found, fingerprints = TagSurvey(file), Fingerprints(seed)
    if file.is_json:
        needed = file.columns.names if file.needs_tags else (file.columns.words,)
        log_reading(file.path, needed, file.columns.names[len(needed) :])
    with reading_bar(file.path) as tally:
        for row in file.rows(tally):
            found.add(row, fingerprints)
    tally.log()
    return found


def warn_of_mixed_beginnings(found: TagSurvey) -> None:
    """Warns where entities begin both with B- and with I-, of which each scheme has one."""
    count, line = found.inside_first
    if count and found.begun and are_chunks(found.counts):
        _LOG.warning(
            "%s: %s of %s entities begin with I- and the others with B-, the first on line %d; all are entities",
            *(found.file.path, f"{count:,}", f"{count + found.begun:,}", line),
        )


def warn_of_odd_tags(found: TagSurvey) -> None:
    """Warns of tags that hardly differ, of tags with a single word, and of numbers in place of tags."""
    path, counts = found.file.path, found.counts
    alike: dict[str, list[str]] = {}
    for name in counts:
        alike.setdefault(looks_alike(name), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            shown = ", ".join(f"{short_repr(name)} {counts[name]:,}" for name in sorted(names))
            _LOG.warning("%s: tags that differ in capitals or blanks alone are kept apart; words: %s", path, shown)
    single = sorted(name for name, count in counts.items() if count == 1)
    headers = [name for name in single if is_like_header(found.file, found.first_lines[name], name)]
    for name in headers:
        single.remove(name)
        _LOG.warning(
            "%s, line 1: the tag %s occurs only here, as in a header; these files have none: delete the line if it is "
            "one",
            *(path, short_repr(name)),
        )
    if single and found.num_words >= _MANY_WORDS * len(counts):
        more = f" and {len(single) - _SHOWN} more" if len(single) > _SHOWN else ""
        occur = "tag occurs only once and may be" if len(single) == 1 else "tags occur only once each and may be"
        mistakes = "a spelling mistake" if len(single) == 1 else "spelling mistakes"
        _LOG.warning(
            "%s: %d %s %s: %s%s", path, len(single), occur, mistakes, _with_lines(found, single[:_SHOWN]), more
        )
    marked = {name for name in counts if name != OUTSIDE and are_chunks((name, OUTSIDE))}
    others = sorted(counts.keys() - marked - {OUTSIDE})
    if marked and others and sum(counts[name] for name in marked) > sum(counts[name] for name in others):
        _LOG.warning(
            "%s: most tags mark entities, as %s does, but others do not, so that words are scored and no entities: %s",
            *(path, short_repr(max(marked, key=lambda name: counts[name])), _with_lines(found, others[:_SHOWN])),
        )
    if len(counts) > max(_MANY_TAGS, found.num_words // 10):
        sizes = counted(len(counts), "different tag"), counted(found.num_words, "word")
        _LOG.warning(
            "%s: %s in %s, the first %s: is it the right column?", path, *sizes, short_repr(next(iter(counts)))
        )
    if found.file.path.suffix.lower() == CONLLU and (count := counts[NO_TAG]):
        words = counted(count, "word")
        _LOG.warning("%s: %s with the tag _, which in CoNLL-U says that there is none; it is a tag here", path, words)
    if all(map(is_integer, counts)):
        _LOG.warning(
            "%s: the tags are numbers, in which no entities can be counted; write their names, such as B-PER",
            path,
        )


def check_brackets(found: TagSurvey) -> None:
    """Raises UserError where tags are brackets over several words: what is inside does not say so by itself."""
    brackets = [(line, name) for name, line in found.first_lines.items() if _BRACKET.fullmatch(name)]
    if brackets:
        line, name = min(brackets)
        raise UserError(
            f"{found.file.path}, line {line}: the tag {short_repr(name)} is a bracket over several words, as in "
            "CoNLL-2012; write B- and I- with the type for the words of an entity and O for others, or name another "
            "column with `label_column_name`."
        )


def is_like_header(file: TagFile, line: int, tag: str) -> bool:
    """Whether a tag on `line` of a file without header is what columns of tags are called."""
    return not file.is_json and line == 1 and looks_alike(tag).replace("-", "_") in _HEADERS


def _with_lines(found: TagSurvey, names: Sequence[str]) -> str:
    return ", ".join(f"{short_repr(name)} (line {found.first_lines[name]})" for name in names)


def warn_of_tag_leak(found: TagSurvey, is_member: np.ndarray, train: TagSurvey, is_trained: np.ndarray) -> None:
    """Warns of texts of a split that the model is trained on: the scores on them say nothing of other texts."""
    texts = np.array(found.texts, np.uint64)
    leaked = np.isin(texts, np.array(train.texts, np.uint64)[is_trained]) & is_member
    if leaked.any():
        _LOG.warning(
            "%s: %s that are also trained on (%s), the first on line %d: their scores say nothing of other texts",
            *(found.file.path, part_of(int(leaked.sum()), int(is_member.sum()), "text")),
            *(train.file.path, found.lines[int(leaked.argmax())]),
        )


def unknown_tag(found: TagSurvey, names: Collection[str]) -> tuple[int, str] | None:
    """The first line with a tag that is none of `names`, and that tag; None where there is none."""
    unknown = [(line, name) for name, line in found.first_lines.items() if name not in names]
    return min(unknown) if unknown else None
