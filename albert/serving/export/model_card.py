"""The model card: the README.md that says what a model is, what it was trained on, and how to load it."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.errors import UserError
from albert.serving.description import ModelDescription
from albert.serving.loading import LoadedModel
from albert.system.json_text import parse_json
from albert.system.text_encoding import read_regular
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span
from albert.tasks.own.task import OwnDataTask
from albert.tokenization import SentencePieceTokenizer

_RESULTS = "eval_results.json"
_PIPELINES = {
    "AlbertForSequenceClassification": "text-classification",
    "AlbertForQuestionAnswering": "question-answering",
    "AlbertForMultipleChoice": "multiple-choice",
    "AlbertForMaskedLM": "fill-mask",
    "AlbertForPreTraining": "fill-mask",
    "AlbertModel": "feature-extraction",
}
# Those that every version has, with what must be said.
_CALLS = {"text-classification": ", truncation=True", "fill-mask": ""}
# The library's names of metrics, by words in ours.
_METRICS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "exact": "exact_match",
    "auroc": "roc_auc",
}
_SETTINGS = ("Training steps", "Warmup steps", "Global batch size", "Learning rate", "Optimizer", "Seed")
_MAX_LABELS = 50
_MAX_LABELS_IN_TITLE = 5
_Values = Mapping[str, Any]


def model_card(model: LoadedModel, architecture: str) -> str:
    """The text of README.md. Language and license are left to whoever publishes the model."""
    is_encoder = architecture == "AlbertModel"  # whose scores were those of a head that is not there
    results = {} if is_encoder else read_results(model.folder)
    best = {
        name: value for name, value in results.get("best", {}).items()
        if name != "global_step" and isinstance(value, int | float)
    }  # fmt: skip
    parts = [
        _head(architecture, best),
        f"# {_title(model, architecture)}",
        _what(model, architecture),
        _scores(best, results),
        _training(results),
        "## Loading",
        _loading(architecture),
        "## Tokenizer",
        _tokenizer(model),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def read_results(folder: Path) -> dict[str, Any]:
    """What the run in `folder` reports of its scores; {} where it is no run's, or the report cannot be read."""
    path = folder / _RESULTS
    try:
        values = parse_json(read_regular(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, UserError) as error:
        logging.warning("%s cannot be read (%s): the model card has no scores.", path, error)
        return {}
    parts = ("best", "hyperparameters")
    is_whole = isinstance(values, dict) and all(isinstance(values.get(name, {}), dict) for name in parts)
    if not is_whole:
        logging.warning("%s is no run's report: the model card has no scores.", path)
    return values if is_whole else {}


def _head(architecture: str, best: _Values) -> str:
    metrics = dict.fromkeys(theirs for name in best for word, theirs in _METRICS.items() if word in name.lower())
    lines = ["library_name: transformers", f"pipeline_tag: {_PIPELINES[architecture]}", "tags:", "- albert"]
    if metrics:
        lines += ["metrics:", *(f"- {name}" for name in metrics)]
    return "\n".join(["---", *lines, "---"])


def _title(model: LoadedModel, architecture: str) -> str:
    task = model.description.task_name if model.description else ""
    if model.description and task == OwnDataTask.name:
        return _title_of_own(model.description)
    if task and task not in _PIPELINES:  # which is what the task of a model of that library is called
        return f"ALBERT for {_plain(task)}"
    return "ALBERT encoder" if architecture == "AlbertModel" else "ALBERT"


def _title_of_own(description: ModelDescription) -> str:
    """Of own data, whose task has no name that says anything: what the model does with a text."""
    inputs = "text pair" if len(description.text_columns) > 1 else "text"
    match description.output:
        case Labels(names) | MultiLabels(names):
            kind = "multi-label " * isinstance(description.output, MultiLabels)
            named = f": {_listed(names)}" if len(names) <= _MAX_LABELS_IN_TITLE else f" with {len(names)} labels"
            return f"ALBERT {kind}{inputs} classifier{named}"
        case _:
            return f"ALBERT that scores a {inputs}"


def _what(model: LoadedModel, architecture: str) -> str:
    config, description = model.config, model.description
    size = (
        f"`{architecture}` with {config.num_hidden_layers} layers of {config.hidden_size} units, "
        f"{config.num_attention_heads} heads and a vocabulary of {config.vocab_size} pieces; weights are float32."
    )
    if description is None:
        return size
    columns = f" Texts: {', '.join(map(_plain, description.text_columns))}." if description.text_columns else ""
    return f"{size}\n\n{_predicts(description.output)}{columns} Rows have up to {description.max_seq_length} tokens."


def _predicts(output: Output) -> str:
    match output:
        case Labels(names):
            return f"It gives one of {len(names)} labels: {_listed(names)}."
        case MultiLabels(names):
            return f"It gives any of {len(names)} labels, each with a probability of its own: {_listed(names)}."
        case Score(low, high):
            if not math.isfinite(low) or not math.isfinite(high):  # as a model of that library says none
                return "It gives a score."
            return f"It gives a score, from {low:g} to {high:g} in training."
        case Choice(count):
            return f"It chooses among the {count} options of a question."
        case Span():
            return "It finds the answer to a question in a text."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_plain, names[:_MAX_LABELS])) + " ..." * (len(names) > _MAX_LABELS)


def _scores(best: _Values, results: _Values) -> str:
    if not best:
        return ""
    rows = [f"| {_plain(name)} | {value:.6g} |" for name, value in best.items()]
    chosen = f", which was chosen by {_plain(results['best_metric'])}" if results.get("best_metric") else ""
    table = "\n".join(["| metric | value |", "|---|---|", *rows])
    return f"## Scores\n\nOn the dev set, of this checkpoint{chosen}:\n\n{table}"


def _training(results: _Values) -> str:
    values = results.get("hyperparameters", {})
    rows = [f"| {name} | {_plain(values[name])} |" for name in _SETTINGS if values.get(name) is not None]
    return "## Training\n\n" + "\n".join(["| setting | value |", "|---|---|", *rows]) if rows else ""


def _loading(architecture: str) -> str:
    auto = architecture.replace("Albert", "AutoModel").replace("ModelModel", "Model")
    pipeline = _PIPELINES[architecture]
    lines = [
        f"from transformers import AutoTokenizer, {auto}, pipeline",
        "",
        'folder = "path/to/this/folder"',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f"model = {auto}.from_pretrained(folder)",
    ]
    if pipeline in _CALLS:
        lines += [f'{pipeline.replace("-", "_")} = pipeline("{pipeline}", model=folder{_CALLS[pipeline]})']
    else:
        lines[0] = lines[0].removesuffix(", pipeline")
    return "\n".join(["```python", *lines, "```"])


def _tokenizer(model: LoadedModel) -> str:
    is_pieces = isinstance(model.tokenizer, SentencePieceTokenizer)
    pad, unk = ("<pad>", "<unk>") if is_pieces else ("[PAD]", "[UNK]")
    others = (
        "`AlbertTokenizer` and `AlbertTokenizerFast`, and any tokenizer that is made from `spiece.model`, do not: they "
        'turn quotes into others, and most of them cut words behind `( ) " - .` and a comma behind a digit otherwise.'
        if is_pieces
        else "`BertTokenizer` and `BertTokenizerFast`, made from `vocab.txt`, differ at rare characters."
    )
    return (
        f"`AutoTokenizer` reads `tokenizer.json`, with the ids of the program that wrote this folder. {others}\n\n"
        f"What differs: `[CLS]`, `[SEP]`, `[MASK]`, `{pad}` and `{unk}` written out in a text become these tokens, "
        "unless the tokenizer is called with `split_special_tokens=True`. Where both texts of a pair are cut, an odd "
        "token may be kept of the second text there, which was kept of the first in this model's training. An empty "
        "second text has one `[SEP]` more."
    )


def _plain(value: object) -> str:
    """What somebody else wrote, so that it changes nothing around it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else " " if not c.isprintable() else c for c in text[:200])
