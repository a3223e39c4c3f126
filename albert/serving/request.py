"""What `albert.predict` is asked for: which model, which texts or questions, what is written where. No TensorFlow."""

import dataclasses
import os
from pathlib import Path

from albert.serving.description import MAX_LABELS
from albert.settings import DTYPES
from albert.settings.fields import DATA, DEVICES, MODEL, OUTPUT, SHARE, SPEED, WHAT, at_least, problems_of, setting
from albert.tasks.own.files import CONLL, JSON, TABLES

STDIN = Path("-")
CSV, JSON_LINES, NPY = ".csv", ".jsonl", ".npy"
DEFAULT_THRESHOLD = 0.5
POOLED, MEAN = "pooled", "mean"
POOLINGS = (POOLED, MEAN)


@dataclasses.dataclass(frozen=True)
class ModelUse:
    """Which model is used, for what, and how it computes: of every program that predicts."""

    model_dir: Path = setting("Folder of a model: one that a training run left, or a downloaded one.", MODEL)
    embeddings: str | None = setting(
        "Give vectors instead of labels: the pooled output, or the mean over the tokens of a text.",
        WHAT,
        default=None,
        choices=POOLINGS,
    )
    batch_size: int = setting(
        "Rows of tokens that are computed at once; packed, they hold as many texts as go in there.",
        SPEED,
        default=32,
        bounds=at_least(1, 65536),
    )
    pack_sequences: bool = setting("Several short texts share a row; without, each is padded.", SPEED, default=True)
    dtype: str | None = setting(
        "Precision of activations; without the flag that of the training. auto: bfloat16 on GPUs that compute in it.",
        SPEED,
        default=None,
        choices=DTYPES,
    )
    device: str = setting(
        "auto: a GPU if there is one, otherwise the CPU.", DEVICES, default="auto", choices=("auto", "gpu", "cpu")
    )


@dataclasses.dataclass(frozen=True)
class PredictRequest(ModelUse):
    """One call of the program. Exactly one of `texts`, `input_file` and `question` says what is predicted.

    `top_k` and `threshold` None are 1 and DEFAULT_THRESHOLD. They are None and not those numbers, so that one which is
    given to a model for which it means nothing is refused.
    """

    texts: tuple[str, ...] = ()
    input_file: Path | None = setting(
        "Texts: .txt (a text a line, or two with a tab between them), .csv, .tsv, .jsonl (an object a line); "
        "questions: SQuAD's or RACE's JSON. -: lines of standard input, answered as they come.",
        DATA,
        default=None,
    )
    question: str | None = setting("A question about the text of `context_file`.", DATA, default=None)
    context_file: Path | None = setting("Text that answers `question`.", DATA, default=None)
    text_column_names: str | None = setting(
        "Column with the text, or two with a comma: a pair. Without: those that the model was trained on, otherwise "
        "the usual ones (text, sentence1,sentence2, ...).",
        DATA,
        default=None,
    )
    output_file: Path | None = setting(
        f"Where results go: {CSV} or {JSON_LINES}, vectors {NPY} or {JSON_LINES}; written whole or not at all. Without "
        "it, JSON Lines on standard output.",
        OUTPUT,
        default=None,
    )
    with_inputs: bool = setting(
        "Write each row of the table in `input_file` with all its columns, and the prediction behind them: "
        "predicted_label and predicted_score.",
        OUTPUT,
        default=False,
    )
    top_k: int | None = setting(
        "Best labels or answers of each row, 0 for all; 1 without the flag.",
        OUTPUT,
        default=None,
        bounds=at_least(0, MAX_LABELS),
    )
    threshold: float | None = setting(
        f"Of a model of several labels: the least score of a label; {DEFAULT_THRESHOLD} without the flag.",
        OUTPUT,
        default=None,
        bounds=SHARE,
    )

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = problems_of(self)
        sources = [bool(self.texts), self.input_file is not None, self.question is not None]
        if sum(sources) != 1:
            found.append("give one of: texts as arguments, `input_file`, `question` with `context_file`")
        if file := next((text for text in self.texts if _is_table_file(text)), None):
            found.append(f"{file} is a file, not a text: give it as `input_file`")
        if self.question is not None and not self.question.strip():
            found.append("`question` is empty; give the text of one")
        if (self.question is None) != (self.context_file is None):
            found.append("`question` and `context_file` belong together")
        if self.text_column_names and self.input_file in (None, STDIN):
            found.append("`text_column_names` are those of a table in `input_file`")
        if self.embeddings:
            given = {"top_k": self.top_k, "threshold": self.threshold, "question": self.question}
            found += [f"`{name}` is not for `embeddings`" for name, value in given.items() if value is not None]
        return found + self._output_problems() + (self._problems_of_inputs() if self.with_inputs else [])

    def _problems_of_inputs(self) -> list[str]:
        if self.embeddings:
            return ["`with_inputs` is not for `embeddings`"]
        ending = self.input_file.suffix.lower() if self.input_file else ""
        if ending in CONLL:
            return [of_words(self.input_file)]
        if ending not in TABLES:
            return [f"`with_inputs` writes rows of a table: give one as `input_file` ({', '.join(TABLES)})"]
        if ending in JSON and self.output_file is not None and self.output_file.suffix.lower() == CSV:
            return [f"`with_inputs` of JSON, whose keys may differ, needs an `output_file` that ends in {JSON_LINES}"]
        return []

    def _output_problems(self) -> list[str]:
        if self.output_file is None:
            return []
        endings = (NPY, JSON_LINES) if self.embeddings else (CSV, JSON_LINES)
        if self.output_file.suffix.lower() not in endings:
            return [f"`output_file`={self.output_file} must end in {' or '.join(endings)}"]
        for name in ("input_file", "context_file"):
            if _is_same(self.output_file, getattr(self, name)):
                return [f"`output_file`={self.output_file} is also `{name}`"]
        # Reported now and not after everything is computed.
        if os.path.lexists(self.output_file) and not self.output_file.is_file():
            return [f"`output_file`={self.output_file} is there and is no file: move it away, or choose another"]
        return []


def of_words(path: Path | None) -> str:
    """What to say of `with_inputs` for a file of words, which is no table of texts."""
    return f"`with_inputs` is for texts, but {path} holds words: leave it out, each word is written with its tag anyway"


def _is_same(path: Path, other: Path | None) -> bool:
    try:
        return other is not None and (path == other or path.samefile(other))
    except OSError:  # one of them is not there, or cannot be looked at, which its reader or writer tells
        return False


def _is_table_file(text: str) -> bool:
    """Whether a text is the name of a file that `input_file` may be: nobody has such a text labelled."""
    # Unlike Path's, this takes a text that is too long for a path.
    return text.lower().endswith((".txt", *TABLES)) and os.path.isfile(text)  # noqa: PTH113
