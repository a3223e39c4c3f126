"""What a model can be used for, by what it predicts, and the line for everything else. No TensorFlow."""

import shlex
from pathlib import Path

from albert.errors import UserError
from albert.serving.description import DESCRIPTION, ModelDescription
from albert.tasks.base import Choice, Labels, MultiLabels, Score, Span, Tags

LABELS, ANSWERS, CHOICES, TAGS = "labels", "answers", "choices", "tags"

_USE_OF: dict[type, str] = {
    Labels: LABELS,
    MultiLabels: LABELS,
    Score: LABELS,
    Span: ANSWERS,
    Choice: CHOICES,
    Tags: TAGS,
}
GIVES = {
    LABELS: "reads texts (as arguments, or in `input_file`) and gives labels",
    ANSWERS: "answers questions (`question` with `context_file`, or `input_file` in SQuAD's JSON format)",
    TAGS: "reads texts (as arguments, or in `input_file`) and gives their words tags",
    CHOICES: "chooses among the options of questions (`input_file` in RACE's JSON format)",
}


def use_of(folder: Path, description: ModelDescription | None) -> str:
    """LABELS, ANSWERS, CHOICES or TAGS. Raises UserError for a model that does not predict."""
    if description is None:
        command = f"TRAIN_FILE=... MODEL_DIR={shlex.quote(str(folder))} ./multi_run_albert_own.sh"
        raise UserError(
            f"{folder} has no {DESCRIPTION}: it holds a pretrained model, which gives embeddings alone (`embeddings`). "
            f"Fine-tune it first, for example {command}. If you have fine-tuned it with an old version of this "
            "project, repeat that command: it adds the file."
        )
    return _USE_OF[type(description.output)]


def check_use(folder: Path, description: ModelDescription | None, wanted: str) -> None:
    """Raises UserError unless the model gives what is `wanted`, saying what it gives."""
    found = use_of(folder, description)
    if found != wanted:
        raise UserError(f"the model in {folder} gives no {wanted}: it {GIVES[found]}.")


def check_choice_of_results(
    model: str, description: ModelDescription, top_k: int | None, threshold: float | None
) -> None:
    """Raises UserError where a `top_k` or `threshold` that is given means nothing for `model`, as messages call it."""
    has_several = isinstance(description.output, MultiLabels)
    if has_several and top_k is not None:
        raise UserError(f"`top_k`={top_k}, but {model} gives any number of labels: those with at least `threshold`.")
    for name, value in (("top_k", top_k), ("threshold", threshold)):
        if isinstance(description.output, Tags) and value is not None:
            raise UserError(f"`{name}`={value}, but {model} gives every word one tag.")
    if isinstance(description.output, Score) and top_k not in (None, 1):
        raise UserError(f"`top_k`={top_k}, but {model} gives one score and no labels.")
    if not has_several and threshold is not None:
        raise UserError(
            f"`threshold`={threshold}, but {model} does not give several labels: `top_k` gives more than the best."
        )
