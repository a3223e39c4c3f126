"""What fine-tuning is asked to do; and the settings of the model, the optimisation and the speed of every run."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from albert.errors import UserError
from albert.settings.fields import (
    DATA,
    DEVICES,
    DROPOUT,
    KEEP_ACCENTS,
    LARGE,
    MAX_INT32,
    MODEL,
    OUTPUT,
    SEED,
    SHARE,
    SPEED,
    TRAINING,
    WHAT,
    above_0,
    at_least,
    between,
    problems_of,
    setting,
)
from albert.system.printing import counted

# "auto" is bfloat16 on GPUs that compute in it, otherwise float32.
DTYPES = ("float32", "bfloat16", "auto")

# Settings of `TrainSettings` that were constants at first. At these values `run_settings.json` has none of them.
ONCE_CONSTANT: Mapping[str, float | str] = MappingProxyType(
    {
        "lr_scheduler_type": "linear",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-6,
    }
)
# More than any machine holds, and few enough that their products are exact integers everywhere.
MAX_BATCH = 1_000_000
# Replicas of one process: GPUs of one machine, or logical devices of its CPU, which take a thread pool each.
_MAX_REPLICAS = 256
_MAX_SECONDS = 30 * 24 * 3600


def missing_vocabulary(spm_model_file: Path | None, vocab_file: Path | None) -> list[str]:
    """One phrase if neither is named."""
    if spm_model_file or vocab_file:
        return []
    return ["`spm_model_file` (or `vocab_file` for a WordPiece model) is missing, or `model_dir`, which has it"]


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which rows are read, how they become features, and where the features are cached."""

    task_name: str = setting("Task, for example MRPC.", DATA)
    data_dir: Path = setting("Folder with one sub-folder per GLUE task (CoLA, MRPC, ...).", DATA)
    cached_dir: Path = setting("Where tokenised TFRecord caches go.", OUTPUT, default=Path("cached_albert_tfrecord"))
    max_seq_length: int = setting(
        "Longest row in tokens. Longer texts are cut; contexts of SQuAD and texts with tags are read in windows.",
        DATA,
        default=512,
        bounds=at_least(3, 65536, "[CLS], one token, [SEP]"),
    )
    spm_model_file: Path | None = setting("SentencePiece model that belongs to the checkpoint.", DATA, default=None)
    vocab_file: Path | None = setting(
        "Vocabulary of a WordPiece model; only read without `spm_model_file`.", DATA, default=None
    )
    do_lower_case: bool = setting("Lower-case the text, as Google's models need.", DATA, default=True)
    keep_accents: bool = setting(KEEP_ACCENTS, DATA, default=False)
    max_unknown_share: float = setting(
        "Largest share of unknown pieces; a file with more is refused.",
        DATA,
        default=0.3,
        bounds=SHARE,
    )
    # Caches under names of the user's choice, by split ("train", "dev", "test"), instead of in `cached_dir`.
    feature_files: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    # The predecessor pickled into such a file which columns decoding needs.
    left_file: Path | None = setting(
        "JSON, written to say where the columns for decoding are: in the cache of the questions.",
        OUTPUT,
        default=None,
        flag="predict_feature_left_file",
    )

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        written = [path for path in (*self.feature_files.values(), self.left_file) if path]
        folders = [f"{path} is a folder, but features are in a file: name one" for path in written if path.is_dir()]
        return problems_of(self) + missing_vocabulary(self.spm_model_file, self.vocab_file) + folders

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

    albert_config_file: Path = setting("albert_config.json of the model; not needed with `model_dir`.", MODEL)
    init_checkpoint: Path | None = setting(
        "Where to start from: prefix of a TensorFlow checkpoint, Hugging Face's model.safetensors or "
        "pytorch_model.bin, or a folder of these, of Model Garden, TF Hub or KerasHub. Without it, weights are random.",
        MODEL,
        default=None,
    )
    albert_dropout_prob: float | None = setting(
        "Dropout in the encoder, hidden and attention; without it the rates in `albert_config_file` hold.",
        MODEL,
        default=None,
        bounds=DROPOUT,
    )
    discard_classifier_weights: bool = setting(
        "Start with a new classifier (names containing output_), for example for RTE from an MNLI checkpoint.",
        MODEL,
        default=False,
    )
    dtype: str = setting(
        "Precision of activations; weights stay float32. auto: bfloat16 on GPUs that compute in it.",
        SPEED,
        default="float32",
        choices=DTYPES,
    )

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        return problems_of(self)


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """The optimisation. Batch sizes are per replica; `global_batch_size` gives the product.

    Training lasts `train_steps`, the first `warmup_steps` of them with a rising rate, or `num_train_epochs`, the first
    `warmup_proportion` of them so; `in_steps` turns epochs into steps. A step's gradient is the mean over
    `gradient_accumulation_steps` micro-batches of `per_replica_batch_size` on each replica.
    """

    train_steps: int | None = setting(
        "Optimisation steps in all. Own data is trained on for three epochs without it.",
        TRAINING,
        default=1000,
        bounds=at_least(1),
        flag="train_step",
    )
    warmup_steps: int = setting("Steps of linear warm-up.", TRAINING, default=0, bounds=at_least(0), flag="warmup_step")
    learning_rate: float = setting("Peak learning rate.", TRAINING, default=5e-5, bounds=above_0(LARGE))
    optimizer: str = setting("Optimizer.", TRAINING, default="adamw", choices=("adamw", "lamb"))
    lr_scheduler_type: str = setting(
        "Learning rate after the warm-up. linear: falls to 0, on the line that begins at its peak in step 0, as in "
        "Google's code. cosine: falls from its peak to 0 along half a wave. constant: stays at its peak.",
        TRAINING,
        default="linear",
        choices=("linear", "cosine", "constant"),
    )
    weight_decay: float = setting(
        "Weight decay of all weights but biases and layer norms, times the learning rate; 0: none.",
        TRAINING,
        default=0.01,
        bounds=between(0, LARGE),
    )
    max_grad_norm: float = setting(
        "Largest norm of a step's gradient, that of all weights; a larger one is scaled down to it. 0: no clipping.",
        TRAINING,
        default=1.0,
        bounds=between(0, LARGE),
    )
    adam_beta1: float = setting(
        "Share of the mean gradient (first moment) that a step keeps, in AdamW and LAMB.",
        TRAINING,
        default=0.9,
        bounds=DROPOUT,
    )
    adam_beta2: float = setting(
        "Share of the mean squared gradient (second moment) that a step keeps.",
        TRAINING,
        default=0.999,
        bounds=DROPOUT,
    )
    adam_epsilon: float = setting(
        "Added to the root of the mean squared gradient, by which a step is divided.",
        TRAINING,
        default=1e-6,
        bounds=above_0(LARGE),
    )
    per_replica_batch_size: int = setting(
        "Examples per replica and micro-batch.",
        TRAINING,
        default=32,
        bounds=at_least(1, MAX_BATCH),
        flag="train_batch_size",
    )
    gradient_accumulation_steps: int = setting(
        "Micro-batches per step, averaged: a step has `per_replica_batch_size` x this x `num_replicas` examples.",
        TRAINING,
        default=1,
        bounds=at_least(1, MAX_BATCH),
    )
    seed: int = setting("Seed of new weights, order of rows, and dropout.", TRAINING, default=42, bounds=SEED)
    save_checkpoints_steps: int = setting(
        "Steps between checkpoints, each evaluated with `do_eval`.", OUTPUT, default=1000, bounds=at_least(1)
    )
    keep_checkpoint_max: int = setting(
        "Newest checkpoints kept, 0 for all; the best is always kept.", OUTPUT, default=5, bounds=at_least(0)
    )
    log_steps: int = setting("Steps between progress lines in the log.", OUTPUT, default=100, bounds=at_least(1))
    skip_nonfinite_steps: int = setting(
        "How many steps with a NaN or infinite loss or gradient are skipped, each with a line in the log, before the "
        "next one stops the program; each start counts from 0.",
        TRAINING,
        default=0,
        bounds=at_least(0),
    )
    num_train_epochs: float | None = setting(
        "How often training sees every example; the number of steps is rounded up.",
        TRAINING,
        default=None,
        bounds=above_0(1_000_000),
    )
    warmup_proportion: float = setting("Share of steps that is linear warm-up.", TRAINING, default=0.0, bounds=SHARE)
    early_stopping_patience: int = setting(
        "Training ends after this many evaluations in a row without a new best; 0: never.",
        TRAINING,
        default=0,
        bounds=at_least(0),
    )
    early_stopping_threshold: float = setting(
        "For `early_stopping_patience`, a new best must beat the old one by more than this.",
        TRAINING,
        default=0.0,
        bounds=between(0, LARGE),
    )

    def in_steps(
        self, num_examples: int, num_replicas: int, counts_exactly: Callable[[], bool] = lambda: True
    ) -> "TrainSettings":
        """The same with epochs of `num_examples` examples turned into steps: rounded up, so that none is missed.

        So is `warmup_proportion`; where that is 0, `warmup_steps` holds. `counts_exactly` is asked where a step was
        added by rounding at first: 100 examples x 1.1 epochs / 10 a step are 11.000000000000002 in floating point. If
        not, it is added. Raises UserError where there are more steps of warm-up than steps.
        """
        if self.num_train_epochs is None and not self.warmup_proportion:
            return self
        steps = self.train_steps
        if self.num_train_epochs is not None:
            batch = self.global_batch_size(num_replicas)
            steps = max(1, math.ceil(num_examples * Fraction(str(self.num_train_epochs)) / batch))
            rounded = max(1, math.ceil(num_examples * self.num_train_epochs / batch))
            if rounded != steps and not counts_exactly():
                steps = rounded
        assert steps is not None, "training lasts a number of steps or of epochs"
        warmup_steps = int(steps * self.warmup_proportion) if self.warmup_proportion else self.warmup_steps
        if warmup_steps > steps:
            raise UserError(
                f"`warmup_steps`={warmup_steps} is more than the {counted(steps, 'step')} of `num_train_epochs`="
                f"{self.num_train_epochs:g}: give fewer, or `warmup_proportion`."
            )
        return dataclasses.replace(self, train_steps=steps, warmup_steps=warmup_steps)

    @property
    def num_steps(self) -> int:
        """`train_steps`, found by `in_steps` where training lasts a number of epochs."""
        assert self.train_steps is not None, "in_steps turns epochs into steps"
        return self.train_steps

    def global_batch_size(self, num_replicas: int) -> int:
        """Examples per optimisation step: examples per micro-batch x micro-batches per replica x replicas."""
        return self.per_replica_batch_size * self.gradient_accumulation_steps * num_replicas

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = problems_of(self)
        if self.train_steps is not None and self.warmup_steps > self.train_steps:
            found.append(f"`warmup_steps`={self.warmup_steps} is more than `train_steps`={self.train_steps}")
        if self.early_stopping_threshold and not self.early_stopping_patience:
            found.append(
                f"`early_stopping_threshold`={self.early_stopping_threshold} needs `early_stopping_patience` above 0"
            )
        return found


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
    """What training minimises and what the best checkpoint is chosen by, where that is not the task's own."""

    metric_for_best_model: str | None = setting(
        "Dev metric that selects the best checkpoint, instead of the task's own. For classes: accuracy, f1_macro, "
        "f1_weighted, f1_micro, matthews_correlation; for two also f1, auroc. For scores: pearson, spearman, rmse. "
        "For all: eval_loss.",
        TRAINING,
        default=None,
    )
    class_weights: str = setting(
        "Weights of the classes in the training loss. balanced: examples / (classes x examples of the class). Or a "
        'JSON file: {"label": weight, ...}.',
        TRAINING,
        default="none",
    )
    label_smoothing_factor: float = setting(
        "Label smoothing in the training loss: the share of the probability that is spread evenly over all classes.",
        TRAINING,
        default=0.0,
        bounds=DROPOUT,
    )

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        return problems_of(self)


@dataclasses.dataclass(frozen=True)
class SpeedSettings:
    """How a run computes. None of it changes what is computed, beyond rounding."""

    pack_sequences: bool = setting("Let short sequences share a row instead of padding each.", SPEED, default=True)
    use_xla: bool | None = setting(
        "Compile the forward and backward pass of each replica; without the flag, on GPUs only.", SPEED, default=None
    )
    recompute_activations: bool = setting(
        "Recompute each block's activations in the backward pass instead of keeping them: large models need less "
        "memory and a third more computation.",
        SPEED,
        default=False,
    )
    deterministic: bool = setting(
        "Make runs repeat bit by bit on the same devices, GPUs included, at some cost in speed.", SPEED, default=False
    )
    compilation_cache: Path | None = setting(
        "Folder to keep compiled code in, so that the next run on the same kind of machine need not compile.",
        SPEED,
        default=None,
    )
    # The first and the last step.
    profile_steps: tuple[int, int] | None = setting(
        "Two steps, such as 10,20: write a profile of the steps between them to `output_dir`.", SPEED, default=None
    )

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        if self.profile_steps and not 0 <= self.profile_steps[0] < self.profile_steps[1] <= MAX_INT32:
            first, last = self.profile_steps
            return [f"`profile_steps`={first},{last} must be two step numbers, the second above the first"]
        return problems_of(self)


@dataclasses.dataclass(frozen=True)
class Settings:
    """One run: what to do, with what, where, and on how many replicas."""

    data: DataSettings
    model: ModelSettings
    train: TrainSettings
    output_dir: Path = setting("Where checkpoints and results go; created if missing.", OUTPUT)
    speed: SpeedSettings = SpeedSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    do_train: bool = setting("Train.", WHAT, default=False)
    do_eval: bool = setting("Evaluate checkpoints on the dev set and keep the best.", WHAT, default=False)
    do_predict: bool = setting("Predict the test set with the best checkpoint.", WHAT, default=False)
    strategy_type: str = setting(
        "one: a single device. mirror: the replicas of this machine. multi_worker: those of several machines, which "
        "TF_CONFIG, Slurm or SageMaker name.",
        DEVICES,
        default="mirror",
        choices=("one", "mirror", "multi_worker"),
    )
    meeting_seconds: float = setting(
        "With `strategy_type`=multi_worker: seconds that a worker waits for the others to start.",
        DEVICES,
        default=600.0,
        bounds=above_0(_MAX_SECONDS),
    )
    stuck_seconds: float = setting(
        "With `strategy_type`=multi_worker: seconds without progress after which a worker ends; 0: never.",
        DEVICES,
        default=1800.0,
        bounds=between(0, _MAX_SECONDS),
    )
    num_replicas: int = setting(
        "Replicas on this machine: GPUs, or CPU devices with `device`=cpu.",
        DEVICES,
        default=1,
        bounds=at_least(1, _MAX_REPLICAS),
        flag="num_gpu_cores",
    )
    device: str = setting(
        "auto: GPUs, or the CPU for one replica where no GPU is visible. cpu: logical CPU devices.",
        DEVICES,
        default="auto",
        choices=("auto", "gpu", "cpu"),
    )
    per_replica_eval_batch_size: int | None = setting(
        "Examples of `max_seq_length` per replica in evaluation; packed, as many as fit there. By default 8, or as "
        "many as have 4,096 tokens.",
        SPEED,
        default=None,
        bounds=at_least(1, MAX_BATCH),
        flag="eval_batch_size",
    )
    per_replica_predict_batch_size: int | None = setting(
        "The same in prediction.",
        SPEED,
        default=None,
        bounds=at_least(1, MAX_BATCH),
        flag="predict_batch_size",
    )
    overwrite_output_dir: bool = setting(
        "Start again: move what is in `output_dir` aside (nothing is deleted).", OUTPUT, default=False
    )

    # What a run can be asked to do, for a message.
    actions: ClassVar[str] = "`do_train`, `do_eval` or `do_predict`"

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without opening a file, each as one phrase."""
        found = []
        if not (self.do_train or self.do_eval or self.do_predict):
            found.append(f"nothing to do: add {self.actions}")
        found += problems_of(self)
        if self.do_train and self.train.early_stopping_patience and not self.do_eval:
            found.append(f"`early_stopping_patience`={self.train.early_stopping_patience} needs `do_eval`")
        parts = (self.data, self.model, self.train, self.speed, self.objective)
        return found + [problem for part in parts for problem in part.problems()]
