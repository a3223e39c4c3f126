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
from albert.system.printing import counted
from albert.system.text_encoding import read_regular
from albert.tasks.base import Choice, Labels, MultiLabels, Score, Span, Tags
from albert.tasks.own.task import OwnDataTask
from albert.tokenization import SentencePieceTokenizer

_RESULTS = "eval_results.json"
_PIPELINES = {
    "AlbertForSequenceClassification": "text-classification",
    "AlbertForQuestionAnswering": "question-answering",
    "AlbertForMultipleChoice": "multiple-choice",
    "AlbertForTokenClassification": "token-classification",
    "AlbertForMaskedLM": "fill-mask",
    "AlbertForPreTraining": "fill-mask",
    "AlbertModel": "feature-extraction",
}
# Those that every version has, with what must be said.
_CALLS = {
    "text-classification": ", truncation=True",
    "token-classification": ', aggregation_strategy="first"',
    "fill-mask": "",
}
# The library's names of metrics, by words in ours.
_METRICS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "matthew": "matthews_correlation",  # CoLA's is matthew_corr
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "exact": "exact_match",
    "auroc": "roc_auc",
}
_SETTINGS = (
    *("Training steps", "Stopped early at step", "Warmup steps"),
    *("Global batch size", "Learning rate", "Learning rate schedule", "Optimizer", "Weight decay", "Max gradient norm"),
    *("Adam beta 1", "Adam beta 2", "Adam epsilon", "Seed"),
)
_FOLDER = "path/to/this/folder"
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
        _training(results, model.description),
        _scores(best, results, model.description),
        "## Use",
        _loading(model, architecture),
        _use_here(model.description),
        "## Limits",
        _limits(model, best, results),
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
        case Tags(names):
            named = f": {_listed(names)}" if len(names) <= _MAX_LABELS_IN_TITLE else f" with {len(names)} tags"
            return f"ALBERT that tags words{named}"
        case _:
            return f"ALBERT that scores a {inputs}"


def _what(model: LoadedModel, architecture: str) -> str:
    config, description = model.config, model.description
    paper = "[ALBERT](https://arxiv.org/abs/1909.11942)"
    if description:
        what = f"This is an {paper} model, fine-tuned for one task. {_does(description)}"
    elif architecture == "AlbertModel":
        what = f"This is the encoder of an {paper} model. It gives vectors for texts, and is a start for fine-tuning."
    else:
        what = f"This is a pretrained {paper} model. It is a start for fine-tuning."
    size = (
        f"`{architecture}` with {counted(config.num_hidden_layers, 'layer')} of {config.hidden_size:,} units, "
        f"{counted(config.num_attention_heads, 'attention head')} and a vocabulary of {config.vocab_size:,} pieces; "
        "the weights are float32."
    )
    return f"{what}\n\n{size}"


def _does(description: ModelDescription) -> str:
    names = [f"`{column}`" for column in map(_plain_code, description.text_columns)]
    text = "a pair of texts" if len(names) > 1 else "a text"
    text += f" ({', '.join(names)})" if names else ""
    match description.output:
        case Labels(names_of_labels):
            return f"It reads {text} and gives one of {len(names_of_labels)} labels: {_listed(names_of_labels)}."
        case MultiLabels(names_of_labels):
            return (
                f"It reads {text} and gives any number of {len(names_of_labels)} labels, "
                f"each with its own probability: {_listed(names_of_labels)}."
            )
        case Tags(names_of_tags):
            return (
                f"It reads the words of a text and gives each one of {len(names_of_tags)} tags, at the word's first "
                f"piece: {_listed(names_of_tags)}."
            )
        case Score(low, high):
            is_bounded = math.isfinite(low) and math.isfinite(high)  # a model of that library does not say
            bounds = f" Scores in its training data were between {low:g} and {high:g}." if is_bounded else ""
            return f"It reads {text} and gives a score.{bounds}"
        case Choice(count):
            return f"It reads a text, a question and {count} options, and chooses one of the options."
        case Span():
            return "It reads a question and a text, and finds the answer in the text."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_plain, names[:_MAX_LABELS])) + " ..." * (len(names) > _MAX_LABELS)


def _scores(best: _Values, results: _Values, description: ModelDescription | None) -> str:
    if not best:
        return ""
    count = _counts(results).get("dev")
    where = f", {_examples(count, description)}" if count else ""
    rows = [f"| {_plain(name)} | {value:.6g} |" for name, value in best.items()]
    table = "\n".join(["| metric | value |", "|---|---|", *rows])
    return f"## Scores\n\nOn the dev set{where}:\n\n{table}"


def _training(results: _Values, description: ModelDescription | None) -> str:
    values = results.get("hyperparameters", {})
    said = _trained_on(results, description)
    rows = [f"| {name} | {_plain(values[name])} |" for name in _SETTINGS if values.get(name) is not None]
    table = "\n".join(["| setting | value |", "|---|---|", *rows]) if rows else ""
    return "\n\n".join(["## Training", *filter(None, (said, table))]) if said or table else ""


def _trained_on(results: _Values, description: ModelDescription | None) -> str:
    count = _counts(results).get("train")
    if not count:
        return ""
    said = f"The training data have {_examples(count, description)}."
    step, batch = (
        results.get("best", {}).get("global_step"),
        results.get("hyperparameters", {}).get("Global batch size"),
    )
    if type(step) is not int or type(batch) is not int:
        return said
    return f"{said} The weights are those after {counted(step, 'step')}, which is {step * batch / count:.3g} epochs."


def _counts(results: _Values) -> dict[str, int]:
    """How many examples the splits have, by a report of which only some is known to be right."""
    examples = results.get("examples")
    counts = examples if isinstance(examples, dict) else {}
    return {name: count for name, count in counts.items() if type(count) is int and count > 0}


def _examples(count: int, description: ModelDescription | None) -> str:
    match description and description.output:
        case None:
            return counted(count, "sequence")
        case Choice():
            return counted(count, "question")
        case Span():
            return counted(count, "window") + " of texts with their questions"
        case _:
            return counted(count, "example")


def _limits(model: LoadedModel, best: _Values, results: _Values) -> str:
    points = []
    output = model.description.output if model.description else None
    length = model.description.max_seq_length if model.description else 0
    if isinstance(output, Labels | MultiLabels | Score | Tags):
        points.append(f"Texts are cut to {length:,} tokens; what follows is not read.")
    if isinstance(output, Choice):
        points.append(
            f"Text, question and option are cut to {length:,} tokens together; the end of the text is not read."
        )
    if isinstance(output, Labels):
        points.append("Every text gets one of the labels, also one that fits none of them or is in another language.")
    if best and results.get("best_metric"):
        chosen = _plain(results["best_metric"])
        points.append(
            f"The checkpoint was chosen by {chosen} on the dev set, so that its scores there are a little too good."
        )
    return "\n".join(f"- {point}" for point in [*points, *_tokenizer(model)])


def _loading(model: LoadedModel, architecture: str) -> str:
    auto = architecture.replace("Albert", "AutoModel").replace("ModelModel", "Model")
    pipeline = _PIPELINES[architecture]
    lines = [
        f"from transformers import AutoTokenizer, {auto}, pipeline",
        "",
        f'folder = "{_FOLDER}"',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f"model = {auto}.from_pretrained(folder)",
    ]
    if pipeline in _CALLS:
        name = pipeline.replace("-", "_")
        lines += [f'{name} = pipeline("{pipeline}", model=folder{_CALLS[pipeline]})']
        lines += [f"print({name}({_sample(model, pipeline)}))"]
    else:
        lines[0] = lines[0].removesuffix(", pipeline")
    return "\n".join(["With transformers:", "", "```python", *lines, "```"])


def _sample(model: LoadedModel, pipeline: str) -> str:
    if pipeline == "fill-mask":
        return '"This is a [MASK]."'
    output = model.description.output if model.description else None
    # Older versions put a model's only output through a sigmoid.
    more = {MultiLabels: ", top_k=None", Score: ', function_to_apply="none"'}.get(type(output), "")
    if model.description and len(model.description.text_columns) > 1:
        return '{"text": "A first text.", "text_pair": "A second text."}' + more
    return f'"A text."{more}'


def _use_here(description: ModelDescription | None) -> str:
    program, call = f"albert.predict --model_dir={_FOLDER} TEXT", 'model(["A text."])'
    match description and description.output:
        case None:
            program = f"albert.predict --model_dir={_FOLDER} --embeddings=mean TEXT"
            call = 'model.encode(["A text."], pooling="mean")'
        case Span():
            program = f"albert.predict --model_dir={_FOLDER} --question=QUESTION --context_file=TEXT.txt"
            call = 'model.answer("A question?", "A text.")'
        case Choice(count):
            program = f"albert.predict --model_dir={_FOLDER} --input_file=QUESTIONS.json"
            options = ", ".join(f'"Option {number + 1}."' for number in range(count))
            call = f'model.choose("A text.", "A question?", [{options}])'
        case _ if description and len(description.text_columns) > 1:
            program += " SECOND_TEXT"
            call = 'model(["A first text."], ["A second text."])'
    code = f'import albert\n\nmodel = albert.load("{_FOLDER}")\nprint({call})'
    return (
        "With albert, the Python package that wrote this folder:\n\n"
        f"```bash\npython -m {program}\n```\n\n```python\n{code}\n```"
    )


def _tokenizer(model: LoadedModel) -> list[str]:
    """What the library's tokenizers do otherwise."""
    is_pieces = isinstance(model.tokenizer, SentencePieceTokenizer)
    pad, unk = ("<pad>", "<unk>") if is_pieces else ("[PAD]", "[UNK]")
    others = (
        "`AlbertTokenizer` and tokenizers made from `spiece.model` replace quotes, and most of them split words "
        'differently after `( ) " - .` and at a comma after a digit.'
        if is_pieces
        else "`BertTokenizer` and tokenizers made from `vocab.txt` differ at rare characters."
    )
    return [
        f"Use `AutoTokenizer`: it reads `tokenizer.json` and gives the ids that the model was trained with. {others}",
        f"In transformers, `[CLS]`, `[SEP]`, `[MASK]`, `{pad}` and `{unk}` in a text become these tokens, unless you "
        "call the tokenizer with `split_special_tokens=True`.",
        "If both texts of a pair are cut, transformers may keep one token more of the second text and one less of the "
        "first than training did. A pair with an empty second text has one more `[SEP]`.",
    ]


def _plain_code(text: str) -> str:
    """The same between backquotes, where only they and the end of the line mean something."""
    return "".join("'" if c == "`" else c if c.isprintable() else " " for c in text[:200])


def _plain(value: object) -> str:
    """What somebody else wrote, so that it changes nothing around it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else " " if not c.isprintable() else c for c in text[:200])
