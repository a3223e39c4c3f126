"""The command line of `albert.predict`: its flags, and the request they become. No TensorFlow."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from albert.cli.flags import Program, declared, parse
from albert.serving.request import PredictRequest
from albert.tasks.base import Choice, Span, Task

PREDICT = Program(
    "predict",
    "Predicts with a trained model: labels of texts, answers to questions, or vectors.",
    declared(PredictRequest),
    required=("model_dir",),
    example=("--model_dir=albert_output/mrpc --input_file=texts.tsv --output_file=labels.csv",),
    arguments="TEXT ...",
    if_stopped="no file was written",
    notes="A TEXT that begins with a hyphen goes behind --. Results are in the order of the input, a row for each.",
)


def parse_predict_flags(argv: Sequence[str]) -> PredictRequest:
    """The request in `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for everything that does not go together, at once.
    """
    values = parse(PREDICT, argv)
    if values["model_dir"] is None:
        values.check()  # a request cannot be made without
    request = values.make(PredictRequest, texts=values.arguments)
    values.check(request.problems())
    return request


def predict(request: PredictRequest) -> None:
    """Predicts. Imports the parts only now, when the flags are known to be right."""
    from albert.runs.prediction import run

    run(request)


def command_for(task: Task, model_dir: Path) -> str:
    """The command line that predicts with a model of `task`, from the current folder; capitals are for its user."""
    match task.output:
        case Span():
            words = ["--question=QUESTION", "--context_file=TEXT.txt"]
        case Choice():
            words = ["--input_file=QUESTIONS.json"]
        case _:
            words = ["TEXT"] if len(task.text_columns) < 2 else ["TEXT", "SECOND_TEXT"]
    python, folder = from_here(Path(sys.executable)), from_here(model_dir)
    return shlex.join([str(python), "-m", "albert.predict", f"--model_dir={folder}", *words])


def from_here(path: Path) -> Path:
    """`path` as short as it may be written in the current folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
