"""Descriptions of models, as the fuzzer damages them: what is accepted means the same when it is written again."""

import dataclasses
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from albert.serving.description import DESCRIPTION, MAX_LABELS, ModelDescription, read_description
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span
from albert.tasks.race import RaceTask
from albert.tasks.squad.task import SquadTask
from robustness.fuzz_cases import Reader, Seed
from robustness.fuzz_mutations import JSON

_SPANS = {"doc_stride": 128, "max_query_length": 64, "max_answer_length": 30}
_GOOD: tuple[tuple[Output, tuple[str, ...], dict[str, Any]], ...] = (
    (Labels(("billing", "\u00e9t\u00e9", 'other, "quoted"')), ("text",), {}),
    (MultiLabels(("a|b", "c")), ("sentence1", "sentence2"), {}),
    (Score(0.0, 5.0), ("text",), {}),
    (Score(), ("text",), {}),
    (Choice(4), (), {"max_qa_length": 64}),
    (Span("1.1"), (), _SPANS),
    (Span("2.0", 5, 4), (), {**_SPANS, "null_score_diff_threshold": -1.5}),
)


def _seeds() -> list[Seed]:
    """A description of every head."""
    return [
        Seed({DESCRIPTION: ModelDescription("own", output, columns, 128, True, False, "0" * 64, "float32", options)
              .to_json().encode()})
        for output, columns, options in _GOOD
    ]  # fmt: skip


def _read(folder: Path, messages: Sequence[str]) -> None:
    description = read_description(folder)
    if description is None:
        assert not (folder / DESCRIPTION).exists(), "it is there, but was not read"
        return
    _check_meaning(description, _values(folder / DESCRIPTION))
    with tempfile.TemporaryDirectory(dir=folder / "out") as again:
        (Path(again) / DESCRIPTION).write_bytes(description.to_json().encode())
        assert read_description(Path(again)) == description, description
    # What predicting makes of it.
    if isinstance(description.output, Span):
        SquadTask(version=description.output.version, **dict(description.options))
    elif isinstance(description.output, Choice):
        RaceTask(num_options=description.output.count, **dict(description.options))


def _values(path: Path) -> dict[str, Any]:
    """The members, by a plain reader."""
    return json.loads(path.read_bytes().decode("utf-8-sig").lstrip("\ufeff"))


def _check_meaning(found: ModelDescription, values: dict[str, Any]) -> None:
    """Raises AssertionError where something is not what the file says."""
    assert found.task_name == values["task"]
    assert list(found.text_columns) == values["text_column_names"]
    for name in ("max_seq_length", "do_lower_case", "keep_accents", "tokenizer_digest", "dtype"):
        assert getattr(found, name) == values[name], name
    assert all(values[name] == value for name, value in found.options.items()), found.options
    match found.output:
        case Labels(names) | MultiLabels(names):
            assert 2 <= len(names) <= MAX_LABELS
            assert {str(number): name for number, name in enumerate(names)} == values["id2label"]
            assert {name: number for number, name in enumerate(names)} == values["label2id"]
        case Score(low, high):
            given = (values.get("low"), values.get("high"))
            assert (low, high) == (
                -math.inf if given[0] is None else float(given[0]),
                math.inf if given[1] is None else float(given[1]),
            )
        case Choice(count):
            assert count == values["num_choices"]
        case Span("2.0") as span:
            assert (span.start_n_top, span.end_n_top) == (values["start_n_top"], values["end_n_top"])
        case Span():
            assert dataclasses.astuple(found.output) == dataclasses.astuple(Span("1.1"))


MODEL_JSON = Reader(name="model_json", seeds=_seeds, read=_read, mutators=JSON)
