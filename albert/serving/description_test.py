import json
import math

import pytest

from albert.errors import UserError
from albert.serving.description import DESCRIPTION, MAX_LABELS, ModelDescription, read_description
from albert.settings import DataSettings
from albert.settings.fields import MAX_INT32
from albert.tasks.base import Choice, Labels, MultiLabels, Score, Span, Tags
from albert.tasks.own.columns import MAX_LABEL
from albert.tasks.squad.task import SquadTask

PAIR = ModelDescription(
    task_name="mrpc",
    output=Labels(("not_equivalent", "äquivalent")),
    text_columns=("#1 String", "#2 String"),
    max_seq_length=128,
    do_lower_case=True,
    keep_accents=False,
    tokenizer_digest="0" * 64,
    dtype="float32",
    options={},
)
# The changes that make it a model for questions.
_SPAN = {"head": "span_v1", "problem_type": None, "text_columns": 0, "text_column_names": []}


def described(**changes):
    return ModelDescription(**{**vars(PAIR), **changes})


@pytest.mark.parametrize(
    "description",
    [
        PAIR,
        described(output=MultiLabels(("news", "sport", "weather"))),
        described(output=MultiLabels(("news", "sport"), ";")),
        described(text_columns=(), tokenizer_digest=""),  # of another library, converted
        described(output=Score(0.0, 5.0)),
        described(output=Score(-math.inf, math.inf), text_columns=("text",), dtype="bfloat16"),
        described(output=Tags(("B-X", "O")), text_columns=("text",)),
        described(output=Tags(("B-X", "O"), sets_punctuation_apart=False), text_columns=(), tokenizer_digest=""),
        described(output=Choice(3), text_columns=(), options={"max_qa_length": 64}),
        described(
            output=Span("1.1"),
            text_columns=(),
            options={"doc_stride": 128, "max_query_length": 64, "max_answer_length": 30},
        ),
        described(output=Span("2.0", 5, 4), text_columns=(), options={"null_score_diff_threshold": -1.5}),
        described(output=Span("2.0", 5, 4), text_columns=(), options={"null_score_diff_threshold": None}),
    ],
)
def test_what_is_written_is_read(description, tmp_path):
    (tmp_path / DESCRIPTION).write_text(description.to_json(), encoding="utf-8")
    assert read_description(tmp_path) == description


def test_the_names_are_those_that_transformers_has():
    values = json.loads(PAIR.to_json())
    assert values["problem_type"] == "single_label_classification"
    assert values["id2label"] == {"0": "not_equivalent", "1": "äquivalent"}
    assert values["label2id"] == {"not_equivalent": 0, "äquivalent": 1}
    assert (values["format"], values["task"], values["head"], values["text_columns"]) == (
        1,
        "mrpc",
        "classification",
        2,
    )


def test_a_folder_without_one_has_none(tmp_path):
    assert read_description(tmp_path) is None


def test_a_model_of_several_labels_that_says_no_delimiter_has_the_usual_one(tmp_path):
    values = json.loads(described(output=MultiLabels(("news", "sport"), ";")).to_json())
    assert values.pop("label_delimiter") == ";"
    assert "label_delimiter" not in json.loads(PAIR.to_json())
    (tmp_path / DESCRIPTION).write_text(json.dumps(values))
    assert read_description(tmp_path).output == MultiLabels(("news", "sport"), "|")
    (tmp_path / DESCRIPTION).write_text(json.dumps(values | {"label_delimiter": ""}))
    with pytest.raises(UserError, match=r"label_delimiter is empty"):
        read_description(tmp_path)


def test_the_order_of_ids_in_the_file_does_not_matter(tmp_path):
    values = json.loads(PAIR.to_json())
    values["id2label"] = dict(reversed(values["id2label"].items()))
    (tmp_path / DESCRIPTION).write_text(json.dumps(values))
    assert read_description(tmp_path) == PAIR


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format is 2, but this version reads 1"),
        ({"format": True}, "format is True, which is no whole number"),
        ({"head": "tagging"}, "head is 'tagging', not one of classification, multi_label, regression"),
        ({"head": "tags", "problem_type": "token_classification"}, "it has no sets_punctuation_apart"),
        (
            {"head": "tags", "problem_type": "token_classification", "sets_punctuation_apart": True},
            "text_columns is 2, but words of one text have tags",
        ),
        ({"head": "regression"}, "problem_type is 'single_label_classification', but regression has regression"),
        ({"head": None}, "head is None, which is no text"),
        ({"id2label": {"0": "a"}}, "id2label has 1 labels"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label has no 1"),
        ({"id2label": {"1": "a", "2": "b"}}, "id2label has no 0"),
        ({"id2label": {"0": "a", "01": "b"}}, "id2label has no 1"),
        ({"id2label": {"0": "a", "1": "a"}}, "id2label has 'a' twice"),
        ({"id2label": {"0": "a", "1": " "}}, "label that is no text"),
        ({"id2label": {"0": "a", "1": 3}}, "label that is no text"),
        ({"id2label": {str(i): str(i) for i in range(10_001)}}, "10001 labels"),
        ({"label2id": {"not_equivalent": 1, "äquivalent": 0}}, "label2id is not the inverse"),
        ({"label2id": ...}, "label2id is not the inverse"),
        ({"max_seq_length": 2}, "max_seq_length is 2, not from 3"),
        ({"max_seq_length": 128.0}, "max_seq_length is 128.0, which is no whole number"),
        ({"max_seq_length": 10**9}, "max_seq_length is 1000000000"),
        ({"do_lower_case": 1}, "do_lower_case is 1, which is no true or false"),
        ({"do_lower_case": ...}, "it has no do_lower_case"),
        ({"task": ...}, "it has no task"),
        ({"text_columns": 1}, "text_columns is 1, but 2 have names"),
        ({"text_column_names": ["a", "a"]}, "up to two different names"),
        ({"text_column_names": ["a", "b", "c"]}, "up to two different names"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"head": "choice", "problem_type": None, "num_choices": 1}, "num_choices is 1, not from 2 to 8"),
        ({"head": "span_v2", "problem_type": None, "start_n_top": 5}, "it has no end_n_top"),
        ({"head": "regression", "problem_type": "regression", "low": 5, "high": 0}, "low 5 is not below high 0"),
        ({"head": "regression", "problem_type": "regression", "low": "0"}, "low is '0', which is no number"),
        ({"doc_stride": 0}, "doc_stride is 0, not from 1"),
        ({"null_score_diff_threshold": "x"}, "null_score_diff_threshold is 'x'"),
        ({"null_score_diff_threshold": 10**400}, "null_score_diff_threshold is 1000"),
        ({"head": "regression", "problem_type": "regression", "low": -(10**400)}, "low is -1000"),
        ({"format": 10**400}, "format is 1000"),
        ({"task": "\ud800"}, "task has half of a surrogate pair, which is not a character: '\\ud800'"),
        ({"text_column_names": ["a", "b\ud800"]}, "text_column_names has half of a surrogate pair"),
        ({"id2label": {"0": "a", "1": "\udc00"}}, "id2label has half of a surrogate pair"),
        ({"id2label": {"0": "a", "1": "b\nc"}}, "id2label holds a label with a control character in it ('b\\nc')"),
        ({"id2label": {"0": "a", "1": "b" * 257}}, "id2label holds a label of 257 characters"),
        ({"text_columns": 0, "text_column_names": []}, "text_columns is 0, which a model with the head classification"),
        ({"head": "span_v1", "problem_type": None}, "text_columns is 2, which a model with the head span_v1 never has"),
        ({**_SPAN, "max_query_length": 125}, "max_seq_length is 128, which has no room beside a question of 125"),
        ({**_SPAN, "max_seq_length": 67}, "max_seq_length is 67, which has no room beside a question of 64"),
    ],
)
def test_what_a_description_cannot_be_is_refused_in_one_line(changes, message, tmp_path):
    values = json.loads(PAIR.to_json()) | changes
    values = {name: value for name, value in values.items() if value is not ...}
    (tmp_path / DESCRIPTION).write_text(json.dumps(values))
    with pytest.raises(UserError) as raised:
        read_description(tmp_path)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / DESCRIPTION))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value).removeprefix(str(tmp_path))) < 400


def test_as_many_and_as_long_labels_as_may_be_are_read_again(tmp_path):
    names = tuple(f"{number:05}{'é' * (MAX_LABEL - 5)}" for number in range(MAX_LABELS))
    description = described(output=Labels(names))
    (tmp_path / DESCRIPTION).write_text(description.to_json())
    assert read_description(tmp_path) == description


def test_what_a_task_may_be_told_is_read_again(tmp_path):
    # The bounds of the flags: --max_answer_length=100000, for no bound, once left a model that nobody could read.
    task = SquadTask(version="2.0", doc_stride=MAX_INT32, max_answer_length=MAX_INT32, start_n_top=1000, end_n_top=1000)
    assert task.problems(DataSettings("", tmp_path, max_seq_length=128)) == []
    description = described(output=task.output, text_columns=(), options=task.options({}))
    (tmp_path / DESCRIPTION).write_text(description.to_json())
    assert read_description(tmp_path) == description


def test_what_another_head_would_need_changes_nothing(tmp_path):
    (tmp_path / DESCRIPTION).write_text(json.dumps(json.loads(PAIR.to_json()) | {"doc_stride": 9, "max_qa_length": 9}))
    assert read_description(tmp_path) == PAIR
    span = json.loads(PAIR.to_json()) | _SPAN | {"max_qa_length": 9, "doc_stride": 9}
    (tmp_path / DESCRIPTION).write_text(json.dumps(span))
    assert read_description(tmp_path).options == {"doc_stride": 9}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff\xfe{\0}\0", b'{"format": 1, "format": 1}', b"1" * 5000, b" " * (2 << 20)]
)
def test_what_is_no_json_object_is_refused_in_one_line(data, tmp_path):
    (tmp_path / DESCRIPTION).write_bytes(data)
    with pytest.raises(UserError, match=r"model\.json is damaged"):
        read_description(tmp_path)
