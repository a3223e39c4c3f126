"""What a run is asked to do: frozen dataclasses, validated together, and the numbers derived from them.

Owns the settings and `UserError`. Knows no flags beyond their names in messages, and imports no TensorFlow.
"""

import dataclasses
from pathlib import Path

DTYPES = ("float32", "bfloat16")


class UserError(ValueError):
    """A mistake in what the user gave us; reaches the terminal as one line, without a traceback, with exit code 2.

    The message names what was wrong and where (file and line), what is allowed, and what to do next.
    """


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

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = []
        if not (self.spm_model_file or self.vocab_file):
            found.append("--spm_model_file (or --vocab_file for a WordPiece model) is missing")
        if self.max_seq_length < 3:
            found.append(f"--max_seq_length={self.max_seq_length} must be at least 3 ([CLS], one token, [SEP])")
        return found


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
    """The optimisation. Batch sizes are per replica; `global_batch_size` gives the product."""

    train_steps: int
    warmup_steps: int
    learning_rate: float
    optimizer: str
    per_replica_batch_size: int
    seed: int = 42
    save_checkpoints_steps: int = 1000
    keep_checkpoint_max: int = 5
    log_steps: int = 100

    def global_batch_size(self, num_replicas: int) -> int:
        """Examples per optimisation step: examples per replica x replicas."""
        return self.per_replica_batch_size * num_replicas

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = []
        for flag, value, least in (
            ("train_step", self.train_steps, 1),
            ("warmup_step", self.warmup_steps, 0),
            ("train_batch_size", self.per_replica_batch_size, 1),
            ("save_checkpoints_steps", self.save_checkpoints_steps, 1),
            ("keep_checkpoint_max", self.keep_checkpoint_max, 0),
            ("log_steps", self.log_steps, 1),
        ):
            if value < least:
                found.append(f"--{flag}={value} must be at least {least}")
        if not 0 < self.learning_rate < float("inf"):
            found.append(f"--learning_rate={self.learning_rate} must be above 0")
        if self.warmup_steps > self.train_steps:
            found.append(f"--warmup_step={self.warmup_steps} is more than --train_step={self.train_steps}")
        return found


@dataclasses.dataclass(frozen=True)
class Settings:
    """One run: what to do, with what, where, and on how many replicas."""

    data: DataSettings
    model: ModelSettings
    train: TrainSettings
    output_dir: Path
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False
    strategy_type: str = "mirror"
    num_replicas: int = 1
    device: str = "auto"
    per_replica_eval_batch_size: int = 8
    per_replica_predict_batch_size: int = 8
    overwrite_output_dir: bool = False

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without opening a file, each as one phrase."""
        found = []
        if not (self.do_train or self.do_eval or self.do_predict):
            found.append("nothing to do: add --do_train, --do_eval or --do_predict")
        for flag, value in (
            ("num_gpu_cores", self.num_replicas),
            ("eval_batch_size", self.per_replica_eval_batch_size),
            ("predict_batch_size", self.per_replica_predict_batch_size),
        ):
            if value < 1:
                found.append(f"--{flag}={value} must be at least 1")
        return found + self.data.problems() + self.model.problems() + self.train.problems()
