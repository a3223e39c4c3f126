"""What a Hugging Face folder says of its model, as a `ModelDescription`; a folder of ours says it in `model.json`.

No TensorFlow.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from albert.errors import UserError
from albert.interchange import tokenizer_json
from albert.interchange.tokenizer_differences import TOKENIZER_CONFIG
from albert.interchange.tokenizer_json import TOKENIZER_JSON
from albert.serving.description import MAX_LABELS, MAX_TOKENS, ModelDescription, check_names
from albert.serving.model_files import find_vocabulary
from albert.system.json_text import parse_json, short_repr
from albert.system.text_encoding import read_regular
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span, Tags
from albert.weights.tensor_files import NAMES, damaged, read_tensors

_Answer = TypeVar("_Answer")
CASING = {"do_lower_case": True, "keep_accents": False}  # with the values that count where none are said
# Of BERT's tokenizers, whose vocabulary is of word pieces.
_STRIPS_ACCENTS = "strip_accents"
_POSITIONS = 512  # where the file does not say how many
_PRETRAINING_CLASSIFIER = "sop_classifier.classifier.weight"
_HEADS = ("qa_outputs.weight", "classifier.weight", "pooler.weight")
# RACE's number, as the file says none.
_NUM_CHOICES = 4


def describe(config_file: Path) -> ModelDescription | None:
    """What the `config.json` of a fine-tuned model and its tokenizer's say; None for a model that was only pretrained.

    Neither says how many texts an input has, so that one or two may be given. Raises UserError, naming the file, for
    what it should not say.
    """
    values = read_object(config_file)
    architectures = values.get("architectures")
    if isinstance(architectures, list) and len(architectures) == 1:
        name = architectures[0]
    else:
        name = _class_by_tensors(config_file, values.get("problem_type"))
    try:
        output = _output(name, values, config_file)
    except ValueError as error:
        raise UserError(f"{config_file}: {error}.") from None
    if output is None:
        return None
    tokenizer = _tokenizer_config(config_file.parent)
    positions = values.get("max_position_embeddings", _POSITIONS)
    lengths = (MAX_TOKENS, tokenizer.get("model_max_length"), positions)
    longest = min(length for length in lengths if type(length) is int and length > 2)
    return ModelDescription(
        task_name=str(name),
        output=output,
        text_columns=(),
        max_seq_length=longest,
        **(CASING | read_casing(config_file.parent)),
        tokenizer_digest="",
        dtype="float32",
        options=_options(output, longest),
    )


def read_casing(folder: Path) -> dict[str, bool]:
    """`do_lower_case` and `keep_accents`, as `tokenizer_config.json` or otherwise `tokenizer.json` says them."""
    values = {name: value for name, value in _tokenizer_config(folder).items() if value is not None}
    values = {name: values[name] for name in (*CASING, _STRIPS_ACCENTS) if name in values}
    for name, value in values.items():
        if type(value) is not bool:
            raise UserError(f"{folder / TOKENIZER_CONFIG}: {name} is {short_repr(value)}, not true or false.")
    # Where texts keep their capitals, they keep their accents here and there in any case.
    is_kept = values.pop(_STRIPS_ACCENTS, True) is False and values.get("do_lower_case", True)
    if is_kept and _has_word_pieces(folder):
        values.setdefault("keep_accents", True)
    if len(values) < len(CASING) and (folder / TOKENIZER_JSON).is_file():
        nothing: dict[str, bool] = {}
        return _ask_tokenizer(folder, tokenizer_json.read_casing, nothing) | values
    return values


def _has_word_pieces(folder: Path) -> bool:
    try:
        return find_vocabulary(folder)[1] is not None
    except UserError:  # told where it is needed
        return False


def is_cut_as_here(folder: Path) -> bool:
    """Whether the `tokenizer.json` in `folder` cuts texts as this project does; False where there is none."""
    return (folder / TOKENIZER_JSON).is_file() and _ask_tokenizer(folder, tokenizer_json.cuts_as_we_do, False)


def _ask_tokenizer(folder: Path, question: Callable[[bytes], _Answer], otherwise: _Answer) -> _Answer:
    """The answer, or `otherwise` where the file beside the vocabulary is not ALBERT's, or is damaged."""
    try:
        return question(read_regular(folder / TOKENIZER_JSON))
    except (OSError, ValueError):
        return otherwise


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises UserError where there is none."""
    try:
        values = parse_json(read_regular(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path} is {error}.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}; a JSON object is needed.")
    return values


def _output(architecture: object, values: Mapping[str, Any], config_file: Path) -> Output | None:
    """What the class of that name predicts. Raises ValueError for labels or a problem that cannot be."""
    match architecture:
        case "AlbertForSequenceClassification":
            return _labels(values)
        case "AlbertForQuestionAnswering":
            return Span("1.1")
        case "AlbertForMultipleChoice":
            logging.info("%s does not say how many options a question has: %d are taken.", config_file, _NUM_CHOICES)
            return Choice(_NUM_CHOICES)
        case "AlbertForTokenClassification":
            names = _names(values)
            if len(names) < 2:
                raise ValueError(f"id2label has {len(names)} label, but a word's tag is one of two or more")
            return Tags(names)
    return None


def _class_by_tensors(config_file: Path, problem_type: object) -> str | None:
    """The class that a configuration without `architectures` is of, by the head among the weights beside it.

    None where there is no head of a fine-tuned model; also, with a warning, where it may be one of several.
    """
    shapes = _shapes_beside(config_file)
    names = {
        ending: [n for n in shapes if f".{n}".endswith(f".{ending}") and not n.endswith(_PRETRAINING_CLASSIFIER)]
        for ending in _HEADS
    }
    classifiers = names["classifier.weight"]
    if names["qa_outputs.weight"]:
        found = "AlbertForQuestionAnswering"
    elif not classifiers:
        return None
    elif not names["pooler.weight"]:
        found = "AlbertForTokenClassification"
    elif shapes[classifiers[0]][:1] != (1,) or problem_type == "regression":
        found = "AlbertForSequenceClassification"
    else:
        logging.warning(
            "%s names no class in architectures, and a head of one output is that of a regression or of a multiple "
            "choice: the model gives embeddings. Add AlbertForSequenceClassification or AlbertForMultipleChoice there "
            "to predict.",
            config_file,
        )
        return None
    logging.warning("%s names no class in architectures: by the names of its weights it is an %s.", config_file, found)
    return found


def _shapes_beside(config_file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors beside a configuration; {} where there is no file of them.

    Raises UserError for a file that cannot be read: what the model is for is unknown then.
    """
    path = next((path for name in NAMES if (path := config_file.with_name(name)).is_file()), None)
    try:
        return {name: tensor.shape for name, tensor in read_tensors(path).items()} if path else {}
    except OSError as error:
        raise damaged(path or config_file, error.strerror or error) from error


def _options(output: Output, longest: int) -> dict[str, int | float | None]:
    """The usual options, which are made for 512 tokens, as far as they go into `longest`."""
    match output:
        case Span():
            return {"doc_stride": min(128, longest // 3), "max_query_length": min(64, longest // 3)}
        case Choice():
            return {"max_qa_length": min(128, longest // 4)}
    return {}


def _names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the labels. Raises ValueError for what cannot be such."""
    # The library leaves the default out, and names what a file only counts.
    count = values.get("num_labels") or 2
    if type(count) is not int or not 1 <= count <= MAX_LABELS:
        raise ValueError(f"num_labels is {short_repr(count)}, not 1 to {MAX_LABELS}")
    by_id = values.get("id2label") or {str(number): f"LABEL_{number}" for number in range(count)}
    if not isinstance(by_id, dict) or not 1 <= len(by_id) <= MAX_LABELS:
        raise ValueError(f"id2label is {short_repr(by_id)}, not 1 to {MAX_LABELS} labels")
    if any(str(number) not in by_id for number in range(len(by_id))):
        raise ValueError(f"id2label must have texts for 0 to {len(by_id) - 1}, but is {short_repr(by_id)}")
    names = tuple(by_id[str(number)] for number in range(len(by_id)))
    # As in a model.json, which an export of the model has.
    check_names(names)
    return names


def _labels(values: Mapping[str, Any]) -> Output:
    names = _names(values)
    kind = values.get("problem_type")
    match kind:
        case "regression" | None if len(names) == 1:
            return Score()
        case "single_label_classification" | None if len(names) > 1:
            return Labels(names)
        case "multi_label_classification" if len(names) > 1:
            return MultiLabels(names)
    raise ValueError(f"problem_type is {short_repr(kind)} with {len(names)} labels, which is not predicted here")


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / TOKENIZER_CONFIG
    return read_object(path) if path.exists() else {}
