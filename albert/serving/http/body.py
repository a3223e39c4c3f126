"""The body of a request becomes rows that a model computes, or one line that says why not. No TensorFlow.

    {"texts": ["..."], "text_pairs": ["..."], "top_k": 1, "threshold": 0.5}    what gives labels, or vectors
    {"texts": ["...", ["...", ...]]}                                           what gives words tags
    {"questions": ["..."], "contexts": ["..."], "top_k": 1}                    what answers questions
    {"questions": ["..."], "contexts": ["..."], "options": [["...", ...]]}     what chooses among options

Lists are equally long; a text stands for a list of one. A list of words is a text whose words are known.
"""

import dataclasses
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from albert.errors import UserError
from albert.serving.description import MAX_LABELS, ModelDescription
from albert.serving.http.settings import Limits
from albert.serving.inputs import Texts
from albert.serving.request import DEFAULT_THRESHOLD
from albert.serving.sentences import WHITE
from albert.serving.uses import ANSWERS, CHOICES, LABELS, TAGS, check_choice_of_results, use_of
from albert.system.json_text import parse_json, short_repr
from albert.system.text_encoding import HALF_SURROGATE, half_surrogate
from albert.tasks.base import Choice, Labels, MultiLabels, Score, Tags
from albert.tasks.race import RaceExample

VECTORS = "vectors"
TOP_K, THRESHOLD = "top_k", "threshold"
# Of all the rows of a request, so that a result is bounded where a model has thousands of labels.
MAX_RESULTS = 100_000

_FIELDS = {
    LABELS: ("texts", "text_pairs"),
    TAGS: ("texts",),
    VECTORS: ("texts", "text_pairs"),
    ANSWERS: ("questions", "contexts"),
    CHOICES: ("questions", "contexts", "options"),
}
_SETTING = re.compile("`([a-z_]+)`")
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}


class Refused(Exception):
    """A request that is not computed, with the status of its answer."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


class Asked(NamedTuple):
    """A question about a text."""

    question: str
    context: str


class Tagged(NamedTuple):
    """A text whose words get tags, or its words."""

    text: str | tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Request:
    """The rows of a body, all of one kind, and what is wanted of each.

    `key` tells what may be computed together. `has_one`: a row's answer is its only result and not a list.
    `is_open_ended`: how many results a row has is known when they are computed, see `check_number`.
    """

    rows: Sequence[Texts | Tagged | Asked | RaceExample]
    key: Hashable
    top_k: int
    threshold: float
    has_one: bool
    is_open_ended: bool = False


class BodyReader:
    """Reads the bodies for one model.

    Args:
      folder: of the model, for the error of one that does not predict.
      description: of the model; None where it is only pretrained.
      embeddings: the pooling where vectors are wanted instead of predictions.
      limits: on what a request may hold.
    """

    def __init__(self, folder: Path, description: ModelDescription | None, embeddings: str | None, limits: Limits):
        self.use = VECTORS if embeddings else use_of(folder, description)
        self._description = description
        self._limits = limits

    @property
    def fields(self) -> tuple[str, ...]:
        """The lists of a body; those that a model reads only together are all there."""
        names = _FIELDS[self.use]
        return names[:1] if self.use == LABELS and self._num_texts == 1 else names

    def read(self, data: bytes) -> Request:
        """Raises Refused for everything that the model does not compute."""
        values = self._object(data)
        lists = {name: self._texts(name, values[name]) for name in self.fields if name in values and name != "options"}
        rows = self._rows(values, lists)
        top_k, threshold = self._choice_of_results(values)
        wanted = len(rows) * (top_k or self._num_results)
        if self.use != VECTORS and wanted > MAX_RESULTS:
            raise Refused(
                413, f'"{TOP_K}"={top_k} of {len(rows):,} rows are {wanted:,} results; {MAX_RESULTS:,} may be.'
            )
        is_open_ended = self.use != VECTORS and isinstance(self._output, MultiLabels)
        if is_open_ended and threshold == 0:  # no label has less
            check_number(len(rows) * self._num_results, threshold)
        has_one = self.use != VECTORS and top_k == 1 and not is_open_ended
        return Request(rows, "text_pairs" in lists, top_k, threshold, has_one, is_open_ended)

    @property
    def _options_taken(self) -> tuple[str, ...]:
        """Of the members of a body beside lists, those that mean something for the model."""
        if self.use == VECTORS or isinstance(self._output, Score | Tags):
            return ()
        return (THRESHOLD,) if isinstance(self._output, MultiLabels) else (TOP_K,)

    @property
    def _output(self) -> Any:
        return self._description.output if self._description else None

    @property
    def _num_texts(self) -> int | None:
        return self._description.num_texts if self._description else None

    @property
    def _num_results(self) -> int:
        """Of a row, where all are asked for."""
        output = self._output
        if isinstance(output, Labels | MultiLabels):
            return len(output.names)
        return output.count if isinstance(output, Choice) else 1

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            values = parse_json(data)
        except ValueError as error:
            raise Refused(400, f"the body is {error}.") from None
        if not isinstance(values, dict):
            raise Refused(400, f"the body is {_kind(values)}, not an object such as {{{self._example()}}}.")
        for name in values:
            if name not in (*self.fields, TOP_K, THRESHOLD) or (self.use == VECTORS and name not in self.fields):
                # What another model takes is a request that this one cannot serve.
                is_others = any(name in names for names in (*_FIELDS.values(), (TOP_K, THRESHOLD)))
                takes = ", ".join((*self.fields, *self._options_taken))
                raise Refused(
                    422 if is_others else 400, f"the body has {short_repr(name)}, but the model takes {takes}."
                )
        required = self.fields if self.use in (ANSWERS, CHOICES) or self._num_texts == 2 else self.fields[:1]
        missing = [f'"{name}"' for name in required if name not in values]
        if missing:
            status = 422 if missing == ['"text_pairs"'] else 400
            raise Refused(status, f"the body has no {' and no '.join(missing)}; give {{{self._example()}}}.")
        return values

    def _example(self) -> str:
        """What a body may hold, without the braces."""
        names = self.fields if self._num_texts == 2 or self.use in (ANSWERS, CHOICES) else self.fields[:1]
        return ", ".join(f'"{name}": [["..."]]' if name == "options" else f'"{name}": ["..."]' for name in names)

    def _texts(self, name: str, value: Any) -> list[Any]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list):
            raise Refused(400, f'"{name}" is {_kind(value)}, not a list of texts.')
        if len(texts) > self._limits.max_texts:
            raise Refused(413, f'"{name}" has {len(texts):,} texts; a request may have {self._limits.max_texts:,}.')
        for number, text in enumerate(texts):
            place = f'"{name}"[{number}]'
            if self.use == TAGS and isinstance(text, list):
                self._check_words(place, text)
            else:
                self._check_text(place, text)
        return texts

    def _check_words(self, place: str, words: list[Any]) -> None:
        for number, word in enumerate(words):
            self._check_text(f"{place}[{number}]", word)
            if not word.strip(WHITE):
                raise Refused(400, f"{place}[{number}] is an empty word; leave it out.")
        length = sum(map(len, words)) + max(0, len(words) - 1)  # with a blank between two
        if length > self._limits.max_text_length:
            allowed = f"a text may have {self._limits.max_text_length:,}"
            raise Refused(413, f"{place} has {length:,} characters, with blanks between its words; {allowed}.")

    def _check_text(self, place: str, text: Any) -> None:
        if not isinstance(text, str):
            raise Refused(400, f"{place} is {_kind(text)}, not a text.")
        if len(text) > self._limits.max_text_length:
            allowed = f"a text may have {self._limits.max_text_length:,}"
            raise Refused(413, f"{place} has {len(text):,} characters; {allowed}.")
        if "\0" in text:
            raise Refused(400, f"{place} is not text: character {text.index(chr(0)) + 1} is 0.")
        half = half_surrogate(text)
        if half is not None:
            raise Refused(400, f"{place} has {HALF_SURROGATE}: character {half + 1}.")

    def _rows(
        self, values: dict[str, Any], lists: dict[str, list[Any]]
    ) -> Sequence[Texts | Tagged | Asked | RaceExample]:
        lengths = {name: len(texts) for name, texts in lists.items()}
        if self.use == CHOICES:
            options = self._option_lists(values["options"])
            lengths["options"] = len(options)
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f'{count:,} in "{name}"' for name, count in lengths.items())
            raise Refused(400, f"lists must be equally long, but there are {shown}.")
        if self.use == ANSWERS:
            return list(map(Asked, lists["questions"], lists["contexts"]))
        if self.use == CHOICES:
            rows = zip(lists["contexts"], lists["questions"], options, strict=True)
            return [RaceExample("", context, question, given, None, "") for context, question, given in rows]
        if self.use == TAGS:
            return [Tagged(text if isinstance(text, str) else tuple(text)) for text in lists["texts"]]
        seconds: Sequence[str | None] = lists.get("text_pairs") or [None] * len(lists["texts"])
        return list(map(Texts, lists["texts"], seconds))

    def _option_lists(self, value: Any) -> list[tuple[str, ...]]:
        if not isinstance(value, list) or not all(isinstance(options, list) for options in value):
            raise Refused(400, '"options" must be a list with a list of texts for each question.')
        if len(value) > self._limits.max_texts:
            raise Refused(413, f'"options" has {len(value):,} lists; a request may have {self._limits.max_texts:,}.')
        for number, options in enumerate(value):
            if len(options) != self._num_results:
                raise Refused(
                    422,
                    f'"options"[{number}] has {len(options)} options, but the model chooses among {self._num_results}.',
                )
            for position, option in enumerate(options):
                self._check_text(f'"options"[{number}][{position}]', option)
        return [tuple(options) for options in value]

    def _choice_of_results(self, values: dict[str, Any]) -> tuple[int, float]:
        """`top_k` and `threshold`, as they are or by default."""
        top_k, threshold = values.get(TOP_K), values.get(THRESHOLD)
        if TOP_K in values and (not isinstance(top_k, int) or isinstance(top_k, bool) or not 0 <= top_k <= MAX_LABELS):
            raise Refused(400, f'"{TOP_K}" must be a whole number from 0, which means all, to {MAX_LABELS:,}.')
        is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
        if THRESHOLD in values and not (is_number and 0 <= threshold <= 1):  # type: ignore[operator]
            raise Refused(400, f'"{THRESHOLD}" must be a number from 0 to 1.')
        if self.use != VECTORS:
            assert self._description, "use_of demands one"
            try:
                check_choice_of_results("the model", self._description, top_k, threshold)
            except UserError as error:
                raise Refused(422, in_fields(str(error))) from None
        return 1 if top_k is None else top_k, DEFAULT_THRESHOLD if threshold is None else threshold


def check_number(num_results: int, threshold: float) -> None:
    """Raises Refused where labels with at least `threshold`, however many these are, are too many results."""
    if num_results > MAX_RESULTS:
        raise Refused(
            413,
            f'"{THRESHOLD}"={threshold:g} gives {num_results:,} results or more; {MAX_RESULTS:,} may be. Ask for fewer '
            "texts, or a higher one.",
        )


def in_fields(text: str) -> str:
    """`text` with the names of a body's fields in place of the settings that it names in backquotes."""
    return _SETTING.sub(r'"\1"', text)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
