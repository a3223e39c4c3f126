"""The types of `albert.fine_tune`'s keywords, for editors: a test holds them equal to the flags. No TensorFlow."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from albert.cli.in_memory import Dataset, PandasFrame, PolarsFrame
from albert.tasks.base import Task

# Of a file or a folder.
Name = str | os.PathLike[str]
# A file, or what it would hold: a DataFrame, a `datasets.Dataset`, a list of dictionaries.
Table = Name | PandasFrame | PolarsFrame | Dataset | Sequence[Mapping[str, Any]]
Weights = str | Mapping[Any, float]


class FineTuningKeywords(TypedDict, total=False):
    """The flags of the fine-tuning programs; None is a flag that is not given."""

    # What to do
    do_train: bool | None
    do_eval: bool | None
    do_predict: bool | None
    # Data
    task_name: str | Task | None  # a task that is no line of a table: docs/extending.md
    data_dir: Name | None
    spm_model_file: Name | None
    vocab_file: Name | None
    do_lower_case: bool | None
    max_unknown_share: float | None
    keep_accents: bool | None
    max_seq_length: int | None
    train_file: Table | None
    validation_file: Table | None
    test_file: Table | None
    validation_split: float | None
    text_column_names: str | Sequence[str] | None
    label_column_name: str | None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification", "token_classification"]
        | None
    )
    label_delimiter: str | None
    max_train_samples: int | None
    max_eval_samples: int | None
    max_predict_samples: int | None
    predict_file: Name | None
    doc_stride: int | None
    max_query_length: int | None
    max_qa_length: int | None
    high_only: bool | None
    middle_only: bool | None
    # Model
    model_dir: Name | None
    albert_config_file: Name | None
    init_checkpoint: Name | None
    albert_dropout_prob: float | None
    discard_classifier_weights: bool | None
    start_n_top: int | None
    end_n_top: int | None
    dropout_prob: float | None
    # Training
    recipe: bool | None
    train_step: int | None
    warmup_step: int | None
    learning_rate: float | None
    optimizer: Literal["adamw", "lamb"] | None
    lr_scheduler_type: Literal["linear", "cosine", "constant"] | None
    weight_decay: float | None
    max_grad_norm: float | None
    adam_beta1: float | None
    adam_beta2: float | None
    adam_epsilon: float | None
    train_batch_size: int | None
    gradient_accumulation_steps: int | None
    seed: int | None
    skip_nonfinite_steps: int | None
    num_train_epochs: float | None
    warmup_proportion: float | None
    early_stopping_patience: int | None
    early_stopping_threshold: float | None
    metric_for_best_model: str | None
    class_weights: Weights | None
    label_smoothing_factor: float | None
    # Devices
    strategy_type: Literal["one", "mirror", "multi_worker"] | None
    meeting_seconds: float | None
    stuck_seconds: float | None
    num_gpu_cores: int | None
    device: Literal["auto", "gpu", "cpu"] | None
    # Speed
    eval_batch_size: int | None
    predict_batch_size: int | None
    dtype: Literal["float32", "bfloat16", "auto"] | None
    pack_sequences: bool | None
    use_xla: bool | None
    recompute_activations: bool | None
    deterministic: bool | None
    compilation_cache: Name | None
    profile_steps: str | Sequence[int] | None
    # Output
    output_dir: Name | None
    overwrite_output_dir: bool | None
    cached_dir: Name | None
    save_checkpoints_steps: int | None
    keep_checkpoint_max: int | None
    log_steps: int | None
    predict_feature_left_file: Name | None
    train_feature_file: Name | None
    predict_feature_file: Name | None
    n_best_size: int | None
    max_answer_length: int | None
    score_language: Literal["en", "ar", "de", "es", "hi", "ja", "km", "lo", "my", "th", "vi", "zh"] | None
    null_score_diff_threshold: float | None
    original_thresholds: bool | None
    eval_feature_file: Name | None
