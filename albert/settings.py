"""What a run is asked to do: frozen dataclasses, validated together, and the numbers derived from them.

Command lines may count sequences of a whole step; settings count per replica and micro-batch.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

# "auto" is bfloat16 on GPUs that compute in it, otherwise float32.
DTYPES = ("float32", "bfloat16", "auto")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which rows are read, how they become features, and where the features are cached."""

    task_name: str
    data_dir: Path
    cached_dir: Path
    max_seq_length: int
    spm_model_file: Path | None = None
    vocab_file: Path | None = None
    do_lower_case: bool = True
    # Caches under names of the user's choice, by split ("train", "dev", "test"), instead of in `cached_dir`.
    feature_files: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    left_file: Path | None = None  # says where the columns are that the predecessor pickled into such a file

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = []
        if not (self.spm_model_file or self.vocab_file):
            found.append("--spm_model_file (or --vocab_file for a WordPiece model) is missing")
        if self.max_seq_length < 3:
            found.append(f"--max_seq_length={self.max_seq_length} must be at least 3 ([CLS], one token, [SEP])")
        return found

    def paths(self) -> tuple[Path | None, ...]:
        """What is read. Caches of the user's choice are read where they are there, and written where not."""
        named = (*self.feature_files.values(), self.left_file)
        there = (path for path in named if path and path.exists())
        return (self.data_dir, self.spm_model_file, self.vocab_file, *there)


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The architecture and where its weights come from.

    `albert_dropout_prob` None keeps the rates of the configuration file; `init_checkpoint` None starts at random.
    """

    albert_config_file: Path
    init_checkpoint: Path | None = None
    albert_dropout_prob: float | None = None
    discard_classifier_weights: bool = False
    dtype: str = "float32"

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = []
        if self.albert_dropout_prob is not None and not 0 <= self.albert_dropout_prob < 1:
            found.append(f"--albert_dropout_prob={self.albert_dropout_prob} must be in [0, 1)")
        if self.dtype not in DTYPES:
            found.append(f"--dtype={self.dtype} is unknown; known are {', '.join(DTYPES)}")
        return found


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """The optimisation. Batch sizes are per replica; `global_batch_size` gives the product.

    Training lasts `train_steps`, of which `warmup_steps` warm up, or `num_train_epochs`, of which `warmup_proportion`
    does; `in_steps` turns the second into the first. A step's gradient is the mean over `gradient_accumulation_steps`
    micro-batches of `per_replica_batch_size` on each replica.
    """

    train_steps: int | None
    warmup_steps: int
    learning_rate: float
    optimizer: str
    per_replica_batch_size: int
    gradient_accumulation_steps: int = 1
    seed: int = 42
    save_checkpoints_steps: int = 1000
    keep_checkpoint_max: int = 5
    log_steps: int = 100
    skip_nonfinite_steps: int = 0
    num_train_epochs: float | None = None
    warmup_proportion: float = 0.0

    # What messages call `train_steps` and `warmup_steps`.
    steps_flag: ClassVar[str] = "train_step"
    warmup_flag: ClassVar[str] = "warmup_step"

    def in_steps(self, num_examples: int, num_replicas: int) -> "TrainSettings":
        """The same with epochs of `num_examples` examples turned into steps: rounded up, so that none is missed."""
        if self.num_train_epochs is None:
            return self
        steps = max(1, math.ceil(num_examples * self.num_train_epochs / self.global_batch_size(num_replicas)))
        return dataclasses.replace(self, train_steps=steps, warmup_steps=int(steps * self.warmup_proportion))

    def global_batch_size(self, num_replicas: int) -> int:
        """Examples per optimisation step: examples per micro-batch x micro-batches per replica x replicas."""
        return self.per_replica_batch_size * self.gradient_accumulation_steps * num_replicas

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = []
        steps = () if self.train_steps is None else ((self.steps_flag, self.train_steps, 1),)
        for flag, value, least in (
            *steps,
            (self.warmup_flag, self.warmup_steps, 0),
            ("train_batch_size", self.per_replica_batch_size, 1),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps, 1),
            ("save_checkpoints_steps", self.save_checkpoints_steps, 1),
            ("keep_checkpoint_max", self.keep_checkpoint_max, 0),
            ("log_steps", self.log_steps, 1),
            ("skip_nonfinite_steps", self.skip_nonfinite_steps, 0),
        ):
            if value < least:
                found.append(f"--{flag}={value} must be at least {least}")
        if not 0 < self.learning_rate < float("inf"):
            found.append(f"--learning_rate={self.learning_rate} must be above 0")
        if self.num_train_epochs is not None and not 0 < self.num_train_epochs < math.inf:
            found.append(f"--num_train_epochs={self.num_train_epochs} must be above 0")
        if not 0 <= self.warmup_proportion <= 1:
            found.append(f"--warmup_proportion={self.warmup_proportion} must be in [0, 1]")
        if self.train_steps is not None and self.warmup_steps > self.train_steps:
            found.append(
                f"--{self.warmup_flag}={self.warmup_steps} is more than --{self.steps_flag}={self.train_steps}"
            )
        return found


@dataclasses.dataclass(frozen=True)
class SpeedSettings:
    """How a run computes. None of it changes what is computed, beyond rounding.

    Attributes:
      pack_sequences: several short sequences share a row.
      use_xla: compile the forward and backward pass; None does where there are GPUs.
      recompute_activations: trade a third more computation for activations that need not be kept.
      profile_steps: the (first, last) step of a profile; None for none.
    """

    pack_sequences: bool = True
    use_xla: bool | None = None
    recompute_activations: bool = False
    profile_steps: tuple[int, int] | None = None

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        if self.profile_steps and not 0 <= self.profile_steps[0] < self.profile_steps[1]:
            first, last = self.profile_steps
            return [f"--profile_steps={first},{last} must be two step numbers, the second above the first"]
        return []


@dataclasses.dataclass(frozen=True)
class Settings:
    """One run: what to do, with what, where, and on how many replicas."""

    data: DataSettings
    model: ModelSettings
    train: TrainSettings
    output_dir: Path
    speed: SpeedSettings = SpeedSettings()
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False
    strategy_type: str = "mirror"
    num_replicas: int = 1
    device: str = "auto"
    per_replica_eval_batch_size: int = 8
    per_replica_predict_batch_size: int = 8
    overwrite_output_dir: bool = False

    # What a run can be asked to do, for a message.
    actions: ClassVar[str] = "--do_train, --do_eval or --do_predict"

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without opening a file, each as one phrase."""
        found = []
        if not (self.do_train or self.do_eval or self.do_predict):
            found.append(f"nothing to do: add {self.actions}")
        for flag, value in (
            ("num_gpu_cores", self.num_replicas),
            ("eval_batch_size", self.per_replica_eval_batch_size),
            ("predict_batch_size", self.per_replica_predict_batch_size),
        ):
            if value < 1:
                found.append(f"--{flag}={value} must be at least 1")
        return found + self.data.problems() + self.model.problems() + self.train.problems() + self.speed.problems()


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
