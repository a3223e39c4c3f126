"""Files of questions that are not in SQuAD's JSON format, named for what they are."""

import json
from typing import Any

SQUAD_FORMAT = '{"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ..., "question": ..., "answers": [...]}]}]}]}'
_FLAT = "a flat list of questions, each with its own context, as Hugging Face's datasets are"
_ARTICLES = "list of articles"


def format_of_text(text: str) -> str | None:
    """What a text is that is not one JSON value, as "JSON Lines (one object a line)"; None if that is not known."""
    lines = [line for line in text.splitlines() if line.strip()][:2]
    if len(lines) == 2 and all(isinstance(_parsed(line), dict) for line in lines):
        return "JSON Lines (one object a line)"
    return None


def format_of_value(root: Any) -> str | None:
    """What a JSON value is that is not SQuAD's, as "one article"; None if that is not known, or it may be SQuAD's."""
    if isinstance(root, list):
        return _of_list(root)
    if not isinstance(root, dict) or not root:
        return None
    if isinstance(root.get("data"), list):
        name = _of_list(root["data"])
        return None if name is None or name.endswith(_ARTICLES) else f'an object whose "data" is {name}'
    if isinstance(root.get("data"), dict):
        return None
    return _of_object(root)


def format_of_answers(answers: Any) -> str | None:
    """What the "answers" of a question are if they are not a list of objects."""
    if isinstance(answers, dict) and isinstance(answers.get("text"), list):
        return 'is an object of the lists "text" and "answer_start", as in Hugging Face\'s datasets,'
    return None


def _of_list(values: list[Any]) -> str | None:
    first = values[0] if values else None
    if not isinstance(first, dict):
        return None
    if "paragraphs" in first:
        return f"a {_ARTICLES}"
    if "qas" in first and "context_text" in first:
        return "a list of paragraphs in CMRC's own format"
    if "qas" in first:
        return "a list of paragraphs without articles"
    return _FLAT if "question" in first else None


def _of_object(root: dict[str, Any]) -> str | None:
    if "paragraphs" in root:
        return "one article"
    if "qas" in root:
        return "one paragraph"
    if isinstance(root.get("question"), list | dict) or isinstance(root.get("context"), list | dict):
        return "a table written by columns, as Hugging Face's datasets and pandas write it"
    if "question" in root:
        return "one question with its own context"
    if root.keys() & {"train", "validation", "dev", "test"}:
        return "an object of several splits"
    values = [value for name, value in root.items() if name != "version"]
    if values and all(isinstance(value, str) for value in values):
        return "a file of predictions (answers by question id)"
    if values and all(type(value) in (int, float) for value in values):
        return "a file of numbers by question id, such as null odds"
    return None


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
