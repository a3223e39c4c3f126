"""The model folder that a fine-tuning run leaves in its output directory, from its first checkpoint on."""

import dataclasses
from collections.abc import Mapping, Sequence

from albert.albert_config import AlbertConfig
from albert.engine.evaluations import Evaluation
from albert.engine.throughput import StepRecord
from albert.serving.description import ModelDescription
from albert.serving.model_folder import write_model_folder
from albert.settings import Settings
from albert.tasks.base import Task
from albert.tokenization import Tokenizer


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
        """Takes what was tuned on the best evaluation."""
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
        write_model_folder(self.settings.output_dir, self.config, self.tokenizer, description)
