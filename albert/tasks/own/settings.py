"""What is asked of own data: files, columns, labels, and which rows are used."""

import dataclasses
from pathlib import Path

from albert.settings.fields import DATA, Bounds, at_least, problems_of, setting
from albert.tasks.own.columns import PROBLEM_TYPES

OWN = "own"  # the name of the task, in files and folders
_TABLE = ".csv, .tsv, .json or .jsonl (an object a line); words with tags also .conll, .iob, .bio"


def for_people(task_name: str) -> str:
    """The name of a task as messages have it: nobody has called his data `own`."""
    return "own data" if task_name == OWN else task_name


@dataclasses.dataclass(frozen=True)
class OwnDataSettings:
    """Files of texts with labels in place of a task of GLUE. Paths count from the working directory."""

    train_file: Path | None = setting(f"Own texts with labels to train on: {_TABLE}.", DATA, default=None)
    validation_file: Path | None = setting(
        "Own texts with labels to evaluate on; without it, rows of `train_file` are held out.", DATA, default=None
    )
    test_file: Path | None = setting(
        "Own texts to predict; labels are optional, and must be among those of training.", DATA, default=None
    )
    validation_split: float = setting(
        "Share of `train_file` that is held out for evaluation, stratified by label. The order of the rows does not "
        "matter.",
        DATA,
        default=0.1,
        bounds=Bounds(0, 0.5, low_excluded=True, is_interval=True),
    )
    text_column_names: str | None = setting(
        "Column with the text, or two with a comma for pairs. Without the flag: text, sentence1,sentence2, "
        "premise,hypothesis, question,sentence, question1,question2 or sentence.",
        DATA,
        default=None,
    )
    label_column_name: str | None = setting(
        "Column with the label. Without the flag: label, labels, class, category or target; of tags ner_tags, tags or "
        "labels, in CoNLL the last (columns have numbers there, from 1).",
        DATA,
        default=None,
    )
    problem_type: str | None = setting(
        "Without the flag: regression if all labels are numbers and one has a decimal point, "
        "multi_label_classification if labels are lists, token_classification for CoNLL files and lists of words with "
        "lists of tags, otherwise single_label_classification.",
        DATA,
        default=None,
        choices=PROBLEM_TYPES,
    )
    label_delimiter: str | None = setting("Separator between several labels of a row, such as |.", DATA, default=None)
    max_train_samples: int | None = setting(
        "Most rows to train on, drawn by `seed`; for quick trials.", DATA, default=None, bounds=at_least(1)
    )
    max_eval_samples: int | None = setting(
        "Most rows to evaluate on, drawn by `seed`.", DATA, default=None, bounds=at_least(1)
    )
    max_predict_samples: int | None = setting(
        "Most rows to predict, drawn by `seed`.", DATA, default=None, bounds=at_least(1)
    )

    @property
    def is_given(self) -> bool:
        """Whether a file is named."""
        return bool(self.train_file or self.validation_file or self.test_file)

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        return problems_of(self)
