"""The model folder that a run leaves in its output directory, from its first checkpoint on, and what it says."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

from albert.albert_config import AlbertConfig
from albert.engine.evaluations import Evaluation
from albert.engine.throughput import StepRecord
from albert.errors import UserError
from albert.runs.output_dir import record_scoring, recorded_training
from albert.runs.run_differences import SCORING
from albert.serving.description import ModelDescription, read_description
from albert.serving.model_folder import write_model_folder
from albert.settings import Settings
from albert.tasks.base import Task
from albert.tokenization import Tokenizer

# Of the options of tasks those that say how texts become rows, and rows answers.
_LENGTHS = ("doc_stride", "max_query_length", "max_answer_length", "max_qa_length")
# Those that decide what is trained on.
_OF_RECORDS = ("doc_stride", "max_query_length", "max_qa_length")


def check_lengths(task: Task, settings: Settings) -> None:
    """Compares the lengths of rows, and how they are scored, with what the folder says, as the functions below."""
    check_records_of_training(task, settings)
    warn_of_other_length(task, settings)
    warn_of_other_scoring(task, settings)


def check_records_of_training(task: Task, settings: Settings) -> None:
    """Raises UserError where a training would go on with other rows than it began with, of the same data.

    The folder's description says of which lengths they were; `run_settings.json` does not.
    """
    folder = settings.output_dir
    begun = settings.do_train and not settings.overwrite_output_dir and any(folder.glob("model.ckpt-*.index"))
    try:
        found = read_description(folder) if begun else None
    except UserError:  # said where it matters
        return
    if found is None or found.task_name != task.name:  # another task is refused as such
        return
    both = {name: (found.options[name], value) for name, value in task.options({}).items() if name in found.options}
    differing = [
        f"`{name}` is {there} there and {here} here"
        for name, (there, here) in both.items()
        if name in _OF_RECORDS and there != here
    ]
    if differing:
        raise UserError(
            f"`output_dir`={folder} holds another run: {'; '.join(differing)}. Choose another `output_dir`, repeat "
            "that run's settings, or add `overwrite_output_dir` to move it aside."
        )


def warn_of_other_length(task: Task, settings: Settings) -> None:
    """Warns where a model evaluates or predicts rows of other lengths than it was trained on."""
    checkpoint = settings.model.init_checkpoint
    started_from = [checkpoint if checkpoint.is_dir() else checkpoint.parent] if checkpoint else []
    for folder in (settings.output_dir, *started_from):
        try:
            description = None if settings.do_train else read_description(folder)
        except UserError:  # said where it matters
            return
        if description is None:
            continue
        used = {"max_seq_length": settings.data.max_seq_length, **task.options({})}
        trained = {"max_seq_length": description.max_seq_length, **description.options}
        for name in ("max_seq_length", *_LENGTHS):
            if name in used and name in trained and used[name] != trained[name]:
                told = (name, used[name], folder, trained[name])
                logging.warning("`%s`=%d, but the model in %s was trained with %d.", *told)
        return


def may_have_other_scores(task: Task, settings: Settings) -> bool:
    """Whether a training that goes on, or is done, has scores which may not be those that are asked for.

    A run that began with another scoring than the default says so, and `claim_output_dir` compares it.
    """
    begun = {} if settings.overwrite_output_dir else recorded_training(settings.output_dir)
    return settings.do_train and settings.do_eval and bool(task.scoring() and begun) and SCORING not in begun


def warn_of_other_scoring(task: Task, settings: Settings) -> None:
    """Warns where a run `may_have_other_scores`."""
    if may_have_other_scores(task, settings):
        logging.warning(
            "%s is of a run that does not say that it began with %s: the checkpoints that are evaluated keep their "
            "scores, by which the best one is chosen; that one is scored anew.",
            *(settings.output_dir, ", ".join(f"`{name}`={value}" for name, value in task.scoring().items())),
        )


@dataclasses.dataclass(frozen=True)
class LeftModel:
    """Writes everything but the weights, before there are any: wherever a checkpoint is, the model is whole.

    Writes again where an evaluation found a better model, since what predicting needs may be tuned on it.
    """

    task: Task
    config: AlbertConfig
    tokenizer: Tokenizer
    settings: Settings

    def on_start(self, first_step: int) -> None:
        """The state of a run that begins or continues is written by `write`, before."""

    def on_steps(self, records: Sequence[StepRecord]) -> None:
        """Steps change only weights."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Takes what was tuned on the best evaluation, and records how it was scored."""
        record_scoring(self.settings.output_dir, self.task.scoring())
        if evaluation.is_best:
            self.write(evaluation.metrics)

    def write(self, scores: Mapping[str, float]) -> None:
        """Writes what is missing or differs; `scores` are the best evaluation's, or {}."""
        data = self.settings.data
        description = ModelDescription(
            task_name=self.task.name,
            output=self.task.output,
            text_columns=self.task.text_columns,
            max_seq_length=data.max_seq_length,
            do_lower_case=data.do_lower_case,
            keep_accents=data.keep_accents,
            tokenizer_digest=self.tokenizer.digest,
            dtype=self.settings.model.dtype,
            options=self.task.options(scores),
        )
        if not self.settings.do_train:
            description = self._as_trained(description)
        write_model_folder(self.settings.output_dir, self.config, self.tokenizer, description)

    def _as_trained(self, description: ModelDescription) -> ModelDescription:
        """What the folder says of the model's training already stays: evaluating and predicting change none of it."""
        try:
            found = read_description(self.settings.output_dir)
        except UserError:  # damaged, and written again
            return description
        if found is None or type(found.output) is not type(description.output):
            return description
        lengths = {name: value for name, value in found.options.items() if name in _LENGTHS}
        options = {**description.options, **lengths}
        return dataclasses.replace(description, output=found.output, text_columns=found.text_columns, options=options)
