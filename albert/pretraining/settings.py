"""What a pretraining run is asked to do: fine-tuning's settings, with records in place of a task's data. No TensorFlow.

The command line gives the sequences of a whole step; settings count per replica and micro-batch, as everywhere.
"""

import dataclasses
from pathlib import Path
from typing import ClassVar

from albert.settings import Settings, TrainSettings


@dataclasses.dataclass(frozen=True)
class PretrainingData:
    """The files of records, and what every record of them has: S tokens and up to P masked positions.

    Of the records to evaluate on, `max_eval_steps` batches of `eval_batch_size` over all replicas are used at most.
    """

    input_files: tuple[Path, ...]
    eval_input_files: tuple[Path, ...]
    max_seq_length: int
    max_predictions_per_seq: int
    max_eval_steps: int = 100
    eval_batch_size: int = 64

    task_name: ClassVar[str] = "pretraining"

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        return [
            f"--{flag}={value} must be at least 1"
            for flag, value in (
                ("max_seq_length", self.max_seq_length),
                ("max_predictions_per_seq", self.max_predictions_per_seq),
                ("max_eval_steps", self.max_eval_steps),
            )
            if value < 1
        ]

    @property
    def max_eval_records(self) -> int:
        """How many records an evaluation has at most; the same for any number of replicas."""
        return self.max_eval_steps * self.eval_batch_size

    def paths(self) -> tuple[Path | None, ...]:
        """What is read."""
        return (*self.input_files, *self.eval_input_files)


@dataclasses.dataclass(frozen=True)
class PretrainingTrainSettings(TrainSettings):
    """The optimisation, whose learning rate may also fall by a power and begin to rise late."""

    poly_power: float = 1.0
    start_warmup_step: int = 0

    steps_flag: ClassVar[str] = "num_train_steps"
    warmup_flag: ClassVar[str] = "num_warmup_steps"

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = super().problems()
        if not 0 < self.poly_power < float("inf"):
            found.append(f"--poly_power={self.poly_power} must be above 0")
        if self.start_warmup_step < 0:
            found.append(f"--start_warmup_step={self.start_warmup_step} must be at least 0")
        return found


@dataclasses.dataclass(frozen=True)
class PretrainingSettings(Settings):
    """One run; `init_from_group0` starts every group of layers from group 0 of --init_checkpoint."""

    data: PretrainingData
    train: PretrainingTrainSettings
    init_from_group0: bool = False

    actions: ClassVar[str] = "--do_train or --do_eval"

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without opening a file, each as one phrase."""
        found = super().problems()
        if self.do_eval and not self.data.eval_input_files:
            found.append("--do_eval needs --eval_input_file: records that are not trained on")
        if self.init_from_group0 and not self.model.init_checkpoint:
            found.append("--init_from_group0 needs --init_checkpoint")
        return found
