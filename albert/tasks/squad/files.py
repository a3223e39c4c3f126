"""SQuAD's files: questions on paragraphs, read from JSON, and what is done with those that are not as they should be.

Knows no tokens and no features.
"""

import dataclasses
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from albert.errors import UserError
from albert.system.json_text import parse_json, short_repr
from albert.system.printing import counted, part_of
from albert.system.text_encoding import HALF_SURROGATE, half_surrogate, read_regular, with_file
from albert.tasks.squad.other_formats import SQUAD_FORMAT, format_of_answers, format_of_text, format_of_value

_LOG = logging.getLogger(__name__)

_LISTED_IDS = 5


@dataclasses.dataclass(frozen=True)
class Question:
    """One question. `answers` are (text, first character in the context); a test set has none of them.

    The first character is -1 where a file that is only predicted does not give it. `is_impossible`: the file says that
    the context has no answer, by that name or by an empty list of answers.
    """

    id: str
    text: str
    answers: tuple[tuple[str, int], ...]
    is_impossible: bool

    @property
    def has_gold(self) -> bool:
        """Whether the file says how it is to be answered: with one of `answers`, or not at all."""
        return self.is_impossible or bool(self.answers)


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A context and its questions: what is aligned once.

    `place` is where it is in the JSON, as "data[3].paragraphs[0]". `first_question` is how many questions the
    paragraphs before it have. `for_training` says that records carry the place of the answer.
    """

    context: str
    questions: tuple[Question, ...]
    place: str
    first_question: int
    for_training: bool


def all_questions(paragraphs: Iterable[Paragraph]) -> list[Question]:
    """The questions in the order that "question_index" counts."""
    return [question for paragraph in paragraphs for question in paragraph.questions]


class Tally:
    """Counts questions of one file by what happened to them, and keeps the first ids."""

    def __init__(self, path: Path):
        self._path = path
        self._ids: dict[str, list[str]] = {}

    def add(self, what: str, question_id: str) -> None:
        self._ids.setdefault(what, []).append(question_id)

    def log(self, total: int) -> None:
        """One warning for each thing that happened; `total` is the number of questions there are."""
        for what, ids in self._ids.items():
            listed = ", ".join(ids[:_LISTED_IDS]) + (", ..." if len(ids) > _LISTED_IDS else "")
            _LOG.warning("%s: %s %s: %s", self._path, part_of(len(ids), total, "question"), what, listed)


def read_paragraphs(path: Path, version: str, for_training: bool) -> Iterator[Paragraph]:
    """The paragraphs of a file of SQuAD `version` ("1.1" or "2.0"), in its order; logs at the end what was left out.

    Left out are training questions whose answer does not stand at its answer_start. Raises UserError, naming file and
    place, for what is not SQuAD, for empty texts, ids that occur twice, and files without usable questions.
    """
    return _Reading(path, version, for_training).paragraphs()


class _Reading:
    """One pass over one file."""

    def __init__(self, path: Path, version: str, for_training: bool):
        self._path = path
        self._version = version
        self._for_training = for_training
        self._tally = Tally(path)
        self._places: dict[str, str] = {}  # by question id
        self._is_blank = True  # all questions so far have an empty list of answers, and no more is said of any

    def paragraphs(self) -> Iterator[Paragraph]:
        """What `read_paragraphs` returns."""
        kept = 0
        for place, paragraph in self._paragraph_objects(self._load()):
            context = self._text(place, paragraph, "context")
            questions = tuple(self._questions(place, paragraph, context))
            yield Paragraph(context, questions, place, kept, self._for_training)
            kept += len(questions)
        self._tally.log(len(self._places))
        if self._version == "2.0" and self._is_blank and not self._for_training and kept:
            _LOG.warning(
                '%s: "answers" is [] in all, %s: they count as questions without an answer; leave "answers" out where '
                "it is not known",
                *(self._path, counted(kept, "question")),
            )
        if not kept:
            raise UserError(f"{self._path} has no {'usable ' if self._places else ''}questions; name another file.")

    def _load(self) -> Any:
        try:
            data = read_regular(self._path)
            root = parse_json(data)
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            if name := format_of_text(data.decode(errors="replace").lstrip("\ufeff")):
                raise self._other_format(name) from error
            raise UserError(f"{self._path} is {with_file(error, self._path)}; fetch or write it again.") from error
        if name := format_of_value(root):
            raise self._other_format(name)
        return root

    def _other_format(self, name: str) -> UserError:
        return UserError(f"{self._path} is {name}, not SQuAD's JSON; convert it to {SQUAD_FORMAT}.")

    def _paragraph_objects(self, root: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for article_place, article in self._objects("", root, "data"):
            yield from self._objects(article_place, article, "paragraphs")

    def _questions(self, place: str, paragraph: dict[str, Any], context: str) -> Iterator[Question]:
        for question_place, fields in self._objects(place, paragraph, "qas"):
            question = self._question(question_place, fields)
            if not self._for_training or self._can_be_learned(question_place, question, context):
                yield question

    def _question(self, place: str, fields: dict[str, Any]) -> Question:
        question_id = self._text(place, fields, "id")
        if question_id in self._places:
            raise self._not_squad(
                place, f"its id {short_repr(question_id)} is also that of {self._places[question_id]}"
            )
        self._places[question_id] = place
        if name := format_of_answers(fields.get("answers")):
            raise self._not_squad(place, f'"answers" {name} instead of a list of objects')
        answers = []
        for answer_place, answer in self._objects(place, fields, "answers", default=[]):
            text = self._text(answer_place, answer, "text", may_be_empty=True)
            answers.append((text, self._answer_start(answer_place, answer)))
        is_impossible = self._is_impossible(place, fields, question_id, has_answers=bool(answers))
        return Question(question_id, self._text(place, fields, "question"), tuple(answers), is_impossible)

    def _answer_start(self, place: str, answer: dict[str, Any]) -> int:
        if self._for_training:
            return self._member(place, answer, "answer_start", int)
        # Only training needs to know where an answer stands.
        start = _in_one_spelling(answer.get("answer_start"), int)
        return start if type(start) is int else -1

    def _is_impossible(self, place: str, fields: dict[str, Any], question_id: str, has_answers: bool) -> bool:
        """Whether the file says that there is no answer, as the official script of SQuAD 2.0 understands it."""
        marked = self._member(place, fields, "is_impossible", bool, default=False)
        is_said = fields.get("answers") is not None
        self._is_blank = self._is_blank and is_said and not has_answers and not marked
        if marked and has_answers:
            done = "trained on as without one" if self._for_training else "scored by these"
            self._tally.add(f"with answers but marked is_impossible, and {done}", question_id)
        # Where a file of SQuAD 1.1 to predict has no answer, there is nothing to compare with.
        return marked or (is_said and not has_answers and (self._for_training or self._version == "2.0"))

    def _can_be_learned(self, place: str, question: Question, context: str) -> bool:
        if question.is_impossible:
            if self._version == "1.1":
                self._tally.add("without an answer, but SQuAD 1.1 always answers", question.id)
            return True
        if not question.answers:
            raise self._not_squad(place, 'to be trained on, it needs one of "answers" or "is_impossible": true')
        if len(question.answers) > 1:
            self._tally.add("with several answers; the first is trained on", question.id)
        text, start = question.answers[0]
        stands_there = text and start >= 0 and context.startswith(text, start)
        if not stands_there:
            self._tally.add("left out because the answer does not stand at its answer_start", question.id)
        return bool(stands_there)

    def _objects(
        self, place: str, holder: dict[str, Any], name: str, default: list[Any] | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """(place, object) for each element of the list called `name`."""
        for number, value in enumerate(self._member(place, holder, name, list, default)):
            yield f"{place}.{name}[{number}]".removeprefix("."), value

    def _text(self, place: str, holder: dict[str, Any], name: str, may_be_empty: bool = False) -> str:
        # A number is a fine id, and a fine answer in a file that was written by columns.
        text = self._member(place, holder, name, str, numbers=name in ("id", "text"))
        if not may_be_empty and not text.strip():
            raise self._not_squad(place, f'"{name}" is empty')
        if half_surrogate(text) is not None:
            raise self._not_squad(place, f'"{name}" has {HALF_SURROGATE}')
        return text

    def _member(
        self, place: str, holder: Any, name: str, kind: type, default: Any = None, numbers: bool = False
    ) -> Any:
        """`holder[name]`, or `default` where it is missing or null. Raises UserError unless it is a `kind`.

        Another spelling of one is taken as what it means; `numbers`: a whole number as its digits.
        """
        if type(holder) is not dict:
            raise self._not_squad(place, f"is {_kind_name(holder)} instead of an object")
        value = default if holder.get(name) is None else holder[name]
        value = _in_one_spelling(value, kind, numbers)
        if type(value) is not kind:  # not isinstance: true is not a number
            fault = "is missing" if value is None else f"is {_kind_name(value)} instead of {_KIND_NAMES[kind]}"
            raise self._not_squad(place, f'"{name}" {fault}')
        return value

    def _not_squad(self, place: str, fault: str) -> UserError:
        where = place or "the outermost value"
        return UserError(f"{self._path}, {where}: {fault}; correct it, or name a file in SQuAD's JSON format.")


_KIND_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    type(None): "null",
}


# Above it a number with a fraction is not exact: 2**53 + 1 is read as 2**53.
_EXACT = 2**53


def _in_one_spelling(value: Any, kind: type, numbers: bool = False) -> Any:
    """`value` as a `kind` where it can mean one only: 31.0 is 31, 0 is false, 7 is "7" if `numbers`."""
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT and kind in (int, bool, str):
        value = int(value) if kind is not str or numbers else value
    if kind is str and numbers and type(value) is int:
        return str(value)
    if kind is int and type(value) is str and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    if kind is bool and type(value) in (int, str):
        return _TRUTH.get(str(value).lower(), value)
    return value


_WHOLE_NUMBER = re.compile("-?[0-9]{1,18}")
_TRUTH = {"0": False, "1": True, "false": False, "true": True}


def _kind_name(value: Any) -> str:
    return _KIND_NAMES[type(value)]
