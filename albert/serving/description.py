"""`model.json`: what a trained model must be told beside its weights, configuration and vocabulary to be used.

Owns that file's format, which is a promise: `format` grows when its meaning changes. No TensorFlow.
"""

import collections
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.errors import UserError
from albert.settings.fields import MAX_INT32
from albert.system.json_text import parse_json, short_repr
from albert.system.text_encoding import HALF_SURROGATE, half_surrogate, read_regular
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span, Tags
from albert.tasks.own.columns import check_label
from albert.tasks.squad.task import SquadTask
from albert.tasks.squad.windows import SPECIAL_TOKENS

DESCRIPTION = "model.json"
FORMAT = 1
MAX_LABELS = 10_000
# MAX_LABELS names of 256 characters of 4 bytes, twice, are 20 MB.
_MAX_BYTES = 32 << 20
MAX_TOKENS = 65_536
_LARGEST = sys.float_info.max

_PROBLEM_TYPES = {
    "classification": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
    "tags": "token_classification",
}
_SPAN_HEADS = {"1.1": "span_v1", "2.0": "span_v2"}


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """What `model.json` says of a model.

    Attributes:
      task_name: what it was trained on, such as "mrpc".
      output: what it predicts, with the names of its labels.
      text_columns: the names of the one or two texts of an input; () where an input is a question or has choices,
        and of another library's model, which does not say them.
      max_seq_length: the longest row in tokens it was trained on.
      do_lower_case, keep_accents: how text is prepared for its vocabulary.
      tokenizer_digest: of the vocabulary and its preparation, see `Tokenizer.digest`; "" of another library's model.
      dtype: of the activations in training.
      options: further settings of its task that predicting needs, such as "doc_stride"; see `Task.options`.
    """

    task_name: str
    output: Output
    text_columns: tuple[str, ...]
    max_seq_length: int
    do_lower_case: bool
    keep_accents: bool
    tokenizer_digest: str
    dtype: str
    options: Mapping[str, int | float | None]

    @property
    def num_texts(self) -> int | None:
        """How many texts an input has; None where it may have one or two."""
        return len(self.text_columns) or None

    def to_json(self) -> str:
        """The text of `model.json`."""
        values: dict[str, Any] = {"format": FORMAT, "task": self.task_name, **_output_values(self.output)}
        values |= {"text_columns": len(self.text_columns), "text_column_names": list(self.text_columns)}
        for name in ("max_seq_length", "do_lower_case", "keep_accents", "dtype", "tokenizer_digest"):
            values[name] = getattr(self, name)
        return json.dumps(values | dict(self.options), indent=2, ensure_ascii=False) + "\n"


def read_description(folder: Path) -> ModelDescription | None:
    """What the `model.json` in `folder` says; None where there is none.

    Raises UserError naming the file and the first thing that is wrong with it.
    """
    path = folder / DESCRIPTION
    try:
        data = read_regular(path)
        if len(data) > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES} bytes")
        values = parse_json(data)
        if not isinstance(values, dict):
            raise ValueError("not a JSON object")
        return _description(values)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(
            f"{path} is damaged, or not a description of a model: {error}. Copy it from where the model was trained, "
            "or delete it and train on in its folder to have it written again."
        ) from None


# --- Writing ---------------------------------------------------------------------------------------------------------


def _output_values(output: Output) -> dict[str, Any]:
    match output:
        case Labels(names):
            return _named_labels("classification", names)
        case MultiLabels(names, delimiter):
            return _named_labels("multi_label", names) | {"label_delimiter": delimiter}
        case Tags(names, sets_punctuation_apart):
            return _named_labels("tags", names) | {"sets_punctuation_apart": sets_punctuation_apart}
        case Score(low, high):
            bounds = {"low": low if math.isfinite(low) else None, "high": high if math.isfinite(high) else None}
            return {"head": "regression", "problem_type": _PROBLEM_TYPES["regression"], **bounds}
        case Choice(count):
            return {"head": "choice", "num_choices": count}
        case Span("1.1" as version):
            return {"head": _SPAN_HEADS[version]}
        case Span(version, start_n_top, end_n_top):
            return {"head": _SPAN_HEADS[version], "start_n_top": start_n_top, "end_n_top": end_n_top}


def _named_labels(head: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "head": head,
        "problem_type": _PROBLEM_TYPES[head],
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }


# --- Reading ---------------------------------------------------------------------------------------------------------


def _description(values: Mapping[str, Any]) -> ModelDescription:
    """Raises ValueError for what `ModelDescription.to_json` never writes. What it does not know changes nothing."""
    if _whole(values, "format", 1) != FORMAT:
        raise ValueError(f"format is {values['format']}, but this version reads {FORMAT}: use the one that wrote it")
    columns, output = _value(values, "text_column_names", list), _output(values)
    if not all(isinstance(name, str) for name in columns) or len(columns) > 2 or len(set(columns)) < len(columns):
        raise ValueError("text_column_names are not up to two different names")
    for name in columns:
        _check_characters("text_column_names", name)
    if _whole(values, "text_columns", 0) != len(columns):
        raise ValueError(f"text_columns is {values['text_columns']}, but {len(columns)} have names")
    digest, dtype = _value(values, "tokenizer_digest", str), _value(values, "dtype", str)
    is_of_texts = isinstance(output, Labels | MultiLabels | Score | Tags)
    is_unsaid = not columns and not digest  # another library's model, converted
    if bool(columns) != is_of_texts and not (is_of_texts and is_unsaid):
        raise ValueError(f"text_columns is {len(columns)}, which a model with the head {values['head']} never has")
    if isinstance(output, Tags) and len(columns) > 1:
        raise ValueError(f"text_columns is {len(columns)}, but words of one text have tags")
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype is {short_repr(dtype)}, not float32 or bfloat16")
    options = {name: check(values, name) for name, check in _OPTIONS.items() if name in values}
    length = _whole(values, "max_seq_length", 3)
    question = options.get("max_query_length") or SquadTask.max_query_length
    if isinstance(output, Span) and length <= question + SPECIAL_TOKENS:
        raise ValueError(f"max_seq_length is {length}, which has no room beside a question of {question} tokens")
    return ModelDescription(
        task_name=_value(values, "task", str),
        output=output,
        text_columns=tuple(columns),
        max_seq_length=length,
        do_lower_case=_value(values, "do_lower_case", bool),
        keep_accents=_value(values, "keep_accents", bool),
        tokenizer_digest=digest,
        dtype=dtype,
        options={name: value for name, value in options.items() if name in _OPTIONS_OF.get(type(output), ())},
    )


def _output(values: Mapping[str, Any]) -> Output:
    head = _value(values, "head", str)
    known = (*_PROBLEM_TYPES, "choice", *_SPAN_HEADS.values())
    if head not in known:
        raise ValueError(f"head is {short_repr(head)}, not one of {', '.join(known)}")
    expected = _PROBLEM_TYPES.get(head)
    if values.get("problem_type") != expected:
        raise ValueError(f"problem_type is {short_repr(values.get('problem_type'))}, but {head} has {expected}")
    match head:
        case "classification":
            return Labels(_labels(values))
        case "multi_label":
            return MultiLabels(_labels(values), _delimiter(values))
        case "tags":
            return Tags(_labels(values), _value(values, "sets_punctuation_apart", bool))
        case "regression":
            low, high = (_bound(values, name, limit) for name, limit in (("low", -math.inf), ("high", math.inf)))
            if not low < high:
                raise ValueError(f"low {low:g} is not below high {high:g}")
            return Score(low, high)
        case "choice":
            return Choice(_whole(values, "num_choices", 2, 8))
        case "span_v1":
            return Span("1.1")
        case _:
            return Span("2.0", _whole(values, "start_n_top", 1, 1000), _whole(values, "end_n_top", 1, 1000))


def _labels(values: Mapping[str, Any]) -> tuple[str, ...]:
    by_id = _value(values, "id2label", dict)
    if not 2 <= len(by_id) <= MAX_LABELS:
        raise ValueError(f"id2label has {len(by_id)} labels, not 2 to {MAX_LABELS}")
    wanted = [str(number) for number in range(len(by_id))]
    missing = [number for number in wanted if number not in by_id]
    if missing:
        raise ValueError(f"id2label has no {missing[0]}: its {len(by_id)} ids must be 0 to {len(by_id) - 1}")
    names = [by_id[number] for number in wanted]
    check_names(names)
    if values.get("label2id") != {name: number for number, name in enumerate(names)}:
        raise ValueError("label2id is not the inverse of id2label")
    return tuple(names)


def _delimiter(values: Mapping[str, Any]) -> str:
    """What stands between labels; older files do not say it."""
    if "label_delimiter" not in values:
        return MultiLabels.delimiter
    delimiter: str = _value(values, "label_delimiter", str)
    if not delimiter:
        raise ValueError("label_delimiter is empty")
    return delimiter


def check_names(names: Sequence[object]) -> None:
    """Raises ValueError where these cannot be the labels of a model, saying why."""
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"id2label has a label that is no text: {short_repr(name)}")
        _check_characters("id2label", name)
        try:
            check_label(name)
        except ValueError as error:
            raise ValueError(f"id2label {error}") from None
    for name, times in collections.Counter(names).most_common(1):
        if times > 1:
            raise ValueError(f"id2label has {short_repr(name)} twice")


def _value(values: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in values:
        raise ValueError(f"it has no {name}")
    if type(values[name]) is not kind:
        raise ValueError(f"{name} is {short_repr(values[name])}, which is no {_KINDS[kind]}")
    if kind is str:
        _check_characters(name, values[name])
    return values[name]


def _check_characters(name: str, text: str) -> None:
    if half_surrogate(text) is not None:
        raise ValueError(f"{name} has {HALF_SURROGATE}: {short_repr(text)}")


_KINDS = {str: "text", int: "whole number", bool: "true or false", list: "list", dict: "object"}


def _whole(values: Mapping[str, Any], name: str, low: int, high: int = MAX_TOKENS) -> int:
    number: int = _value(values, name, int)
    if not low <= number <= high:
        raise ValueError(f"{name} is {short_repr(number)}, not from {low} to {high}")
    return number


def _bound(values: Mapping[str, Any], name: str, without: float) -> float:
    number = values.get(name)
    if number is None:
        return without
    # A whole number of JSON can be larger than any float.
    if type(number) not in (int, float) or not -_LARGEST <= number <= _LARGEST:
        raise ValueError(f"{name} is {short_repr(number)}, which is no number")
    return float(number)


def _threshold(values: Mapping[str, Any], name: str) -> float | None:
    return None if values[name] is None else _bound(values, name, 0.0)


def _count(values: Mapping[str, Any], name: str) -> int:
    return _whole(values, name, 1, MAX_INT32)  # which the settings of a task allow, as an answer of any length


# What a task's options may be, by name; see `Task.options`.
_OPTIONS: Mapping[str, Callable[[Mapping[str, Any], str], int | float | None]] = {
    "doc_stride": _count,
    "max_query_length": _count,
    "max_answer_length": _count,
    "max_qa_length": _count,
    "null_score_diff_threshold": _threshold,
}
# Those that a head's task has; others are checked all the same, and change nothing.
_OPTIONS_OF: Mapping[type, tuple[str, ...]] = {
    Span: ("doc_stride", "max_query_length", "max_answer_length", "null_score_diff_threshold"),
    Choice: ("max_qa_length",),
}
