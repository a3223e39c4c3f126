"""What pretraining is asked to do: records instead of a task's rows, and the schedule of the original."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from albert.settings.fields import DATA, LARGE, MODEL, SPEED, TRAINING, above_0, at_least, problems_of, setting
from albert.settings.run import MAX_BATCH, Settings, TrainSettings


@dataclasses.dataclass(frozen=True)
class PretrainingData:
    """The files of records, and what every record of them has: S tokens and up to P masked positions.

    Of the records to evaluate on, `max_eval_steps` batches of `eval_batch_size` over all replicas are used at most.
    """

    input_files: tuple[Path, ...]
    eval_input_files: tuple[Path, ...]
    max_seq_length: int = setting("Length of the records in tokens.", DATA, default=512, bounds=at_least(1, 65536))
    max_predictions_per_seq: int = setting(
        "Predictions that the records have room for: create_pretraining_data's number, X",
        DATA,
        default=20,
        bounds=at_least(1, 65536),
    )
    max_eval_steps: int = setting("Most batches in an evaluation.", DATA, default=100, bounds=at_least(1))
    eval_batch_size: int = setting(
        "Sequences of an evaluation batch, over all replicas.", SPEED, default=64, bounds=at_least(1, MAX_BATCH)
    )

    task_name: ClassVar[str] = "pretraining"

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        return problems_of(self)

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

    train_steps: int | None = setting(
        "Optimisation steps in all.", TRAINING, default=125000, bounds=at_least(1), flag="num_train_steps"
    )
    warmup_steps: int = setting(
        "Steps of linear warm-up.", TRAINING, default=3125, bounds=at_least(0), flag="num_warmup_steps"
    )
    poly_power: float = setting(
        "Power of the polynomial by which the learning rate falls, with `lr_scheduler_type`=linear.",
        TRAINING,
        default=1.0,
        bounds=above_0(LARGE),
    )
    start_warmup_step: int = setting("Step at which the warm-up begins.", TRAINING, default=0, bounds=at_least(0))

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = super().problems()
        if self.poly_power != 1 and self.lr_scheduler_type != "linear":
            found.append(
                f"`poly_power`={self.poly_power:g} is for `lr_scheduler_type`=linear, not {self.lr_scheduler_type}"
            )
        return found


@dataclasses.dataclass(frozen=True)
class PretrainingSettings(Settings):
    """One run; `init_from_group0` starts every group of layers from group 0 of `init_checkpoint`."""

    data: PretrainingData  # type: ignore[assignment]  # in place of a task's data
    train: PretrainingTrainSettings
    init_from_group0: bool = setting(
        "Start all groups of layers from group 0 of `init_checkpoint`.", MODEL, default=False
    )
    spm_model_file: Path | None = setting(
        "SentencePiece model that the records were made with; copied to `output_dir`, which then holds a whole model.",
        DATA,
        default=None,
    )
    vocab_file: Path | None = setting("The same for a WordPiece vocabulary.", DATA, default=None)

    actions: ClassVar[str] = "`do_train` or `do_eval`"

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without opening a file, each as one phrase."""
        found = super().problems()
        if self.do_eval and not self.data.eval_input_files:
            found.append("`do_eval` needs `eval_input_files`: records that are not trained on")
        if self.init_from_group0 and not self.model.init_checkpoint:
            found.append("`init_from_group0` needs `init_checkpoint`")
        return found
