"""What to say of a flag that a program does not have: which of its own is meant. No TensorFlow."""

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

_LONGEST_NAME = 100
_MOST_NAMES = 20  # in a message
# How much alike names are of which one is a misspelling of the other.
_ALIKE = 0.7


class Always(NamedTuple):
    """What a program that has `flag` does anyway, or never, whatever others' flag says: a sentence's end."""

    flag: str
    said: str


Target = str | Always

_LENGTH = ("train_step", "num_train_steps")
_EPOCHS = ("num_train_epochs", *(f"{flag} (in steps)" for flag in _LENGTH))
_STEPS = (*_LENGTH, "num_train_epochs (in epochs)")
_WARMUP = ("warmup_step", "num_warmup_steps", "warmup_proportion")
_BATCH = ("train_batch_size", "batch_size")
_RESULTS = ("output_dir", "output_file", "model_prefix", "output", "cached_dir")
_INPUT = ("train_file", "input_file", "input", "data_dir")
_SEED = ("seed", "random_seed", "seeds")
_DEV = ("validation_file", "predict_file", "eval_input_file")
_GPUS = ("num_gpu_cores", "gpus", "gpus_per_worker")
_EVALUATED = ("save_checkpoints_steps (each checkpoint is evaluated)",)
_KEPT_BEST = (Always("keep_checkpoint_max", "the best checkpoint is always kept, and used at the end"),)
_LABELS = (Always("label_column_name", "labels are always those of the training data"),)
_TENSORBOARD = (Always("log_steps", "TensorBoard's events are always written to --output_dir"),)
_RESUMES = (Always("overwrite_output_dir", "the same command always resumes what is in its --output_dir"),)
_POWER = ("poly_power", Always("lr_scheduler_type", "the power of a linear fall is always 1"))
_END_OF_FALL = (Always("lr_scheduler_type", "a rate that falls always falls to 0"),)
_SAMPLES = "samples are of own data, in albert.run_multigpus_classifier; here all rows are used"
_NO_SAMPLES = (Always("train_feature_file", _SAMPLES), Always("doc_stride", _SAMPLES))
_TPU = (Always("device", "TPUs are not supported"),)
_TRAINS = "gradient_accumulation_steps"  # a flag of all programs that train, and of no other
_INNER = (Always(_TRAINS, "it is about the inner workings of PyTorch or its trainer"),)
_WHOLE = (Always("strategy_type", "each replica always has the whole model"),)
_HUB = (Always(_TRAINS, "nothing is ever uploaded; albert.export_model makes a folder for a hub"),)
_FROM_HUB = (Always("model_dir", "a model is always read from a folder, where a download has put it"),)
_STATE = (Always("keep_checkpoint_max", "a checkpoint always has all that training resumes with"),)
_LOG = (Always("log_steps", "the log always has progress and warnings"),)

# Names that other libraries and earlier ALBERT programs have for a flag, with ours: the first that a program has. One
# with a value is meant with it, and one with a unit counts something else.
OTHER_NAMES: Mapping[str, tuple[Target, ...]] = {
    # How long, how fast
    **dict.fromkeys(("lr", "peak_lr", "init_lr", "adam_lr"), ("learning_rate",)),
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs", "train_epochs"), _EPOCHS),
    **dict.fromkeys(
        ("steps", "num_steps", "max_steps", "total_steps", "train_step", "train_steps", "max_train_steps"), _STEPS
    ),
    "num_train_steps": _STEPS,
    "num_train_epochs": _EPOCHS,
    **dict.fromkeys(("warmup", "warmup_step", "warmup_steps", "num_warmup_steps"), _WARMUP),
    **dict.fromkeys(("warmup_ratio", "warmup_fraction", "warmup_proportion"), tuple(reversed(_WARMUP))),
    **dict.fromkeys(("bs", "batch", "batch_size", "train_batch", "mini_batch_size"), _BATCH),
    **dict.fromkeys(("per_device_train_batch_size", "per_gpu_train_batch_size"), _BATCH),
    **dict.fromkeys(
        ("per_device_eval_batch_size", "per_gpu_eval_batch_size", "dev_batch_size", "val_batch_size"),
        ("eval_batch_size", "batch_size"),
    ),
    "eval_accumulation_steps": ("eval_batch_size",),
    **dict.fromkeys(("test_batch_size", "predict_batch_size"), ("predict_batch_size", "batch_size")),
    **dict.fromkeys(
        ("gradient_accumulation", "grad_accum", "grad_accumulation_steps", "accumulation_steps", "accum_steps"),
        ("gradient_accumulation_steps",),
    ),
    "accumulate_grad_batches": ("gradient_accumulation_steps",),
    **dict.fromkeys(("optim", "optimizer_name", "optimizer_type"), ("optimizer",)),
    **dict.fromkeys(("dropout", "dropout_rate", "hidden_dropout_prob", "dropout_prob"), ("albert_dropout_prob",)),
    "attention_probs_dropout_prob": ("albert_dropout_prob",),
    **dict.fromkeys(("hidden_dropout", "attention_dropout"), ("albert_dropout_prob",)),
    "classifier_dropout": ("dropout_prob", "albert_dropout_prob"),
    **dict.fromkeys(("weight_decay_rate", "wd", "l2", "l2_reg", "decay"), ("weight_decay",)),
    **dict.fromkeys(("beta_1", "beta1", "adam_beta_1", "opt_beta1"), ("adam_beta1",)),
    **dict.fromkeys(("beta_2", "beta2", "adam_beta_2", "opt_beta2"), ("adam_beta2",)),
    **dict.fromkeys(("betas", "adam_betas", "opt_betas"), ("adam_beta1 (and --adam_beta2)",)),
    **dict.fromkeys(("epsilon", "eps", "adam_eps", "optimizer_epsilon", "opt_eps"), ("adam_epsilon",)),
    **dict.fromkeys(("clip_norm", "clip_grad_norm", "gradient_clip_val", "gradient_clipping"), ("max_grad_norm",)),
    **dict.fromkeys(("clipnorm", "global_clipnorm", "grad_clip", "clip_grad", "max_norm"), ("max_grad_norm",)),
    **dict.fromkeys(("lr_scheduler", "scheduler", "scheduler_type", "lr_schedule"), ("lr_scheduler_type",)),
    **dict.fromkeys(("schedule", "sched", "lr_decay", "lr_decay_style"), ("lr_scheduler_type",)),
    **dict.fromkeys(("polynomial_decay_schedule_power", "power", "lr_power"), _POWER),
    **dict.fromkeys(("polynomial_decay_schedule_lr_end", "lr_end", "min_lr", "end_learning_rate"), _END_OF_FALL),
    **dict.fromkeys(
        ("cosine_schedule_num_cycles", "num_cycles", "lr_scheduler_kwargs"),
        ("poly_power", Always("lr_scheduler_type", "a kind of schedule has no options of its own")),
    ),
    "adafactor": ("optimizer",),
    "optim_args": ("adam_epsilon (and --adam_beta1, --adam_beta2, --weight_decay)",),
    **dict.fromkeys(("label_smoothing", "smoothing"), ("label_smoothing_factor",)),
    **dict.fromkeys(("class_weight", "loss_weights", "weight"), ("class_weights",)),
    **dict.fromkeys(("patience", "early_stopping", "use_early_stopping"), ("early_stopping_patience",)),
    **dict.fromkeys(("early_stopping_delta", "min_delta"), ("early_stopping_threshold",)),
    **dict.fromkeys(
        ("metric", "metric_name", "best_metric", "metric_for_best_model", "early_stopping_metric"),
        ("metric_for_best_model", Always("keep_checkpoint_max", "the best is always chosen by the task's own metric")),
    ),
    **dict.fromkeys(
        ("greater_is_better", "early_stopping_metric_minimize"),
        (Always("keep_checkpoint_max", "of each metric it is known whether larger is better"),),
    ),
    **dict.fromkeys(("seed", "seeds", "random_seed", "rng_seed", "data_seed", "random_state"), _SEED),
    **dict.fromkeys(("manual_seed", "shuffle_seed", "set_seed"), _SEED),
    **dict.fromkeys(("shuffle", "shuffle_train_dataset"), (Always(_TRAINS, "training examples are always shuffled"),)),
    "logging_nan_inf_filter": ("skip_nonfinite_steps",),
    "dataloader_drop_last": (Always(_TRAINS, "a step is always full, and no example is left out of training"),),
    "auto_find_batch_size": (
        Always("recompute_activations", "for less memory give more --gradient_accumulation_steps and a smaller batch"),
    ),
    "average_tokens_across_devices": (Always(_TRAINS, "the loss is always the mean over all replicas' examples"),),
    "neftune_noise_alpha": (Always(_TRAINS, "embeddings never get noise"),),
    "optim_target_modules": (Always("optimizer", "all weights are always trained"),),
    # The model
    **dict.fromkeys(("model", "model_name", "model_path", "model_name_or_path"), ("model_dir",)),
    **dict.fromkeys(("pretrained_model", "pretrained_model_name_or_path", "bert_model"), ("model_dir",)),
    **dict.fromkeys(("hub_module", "albert_hub_module_handle"), ("model_dir",)),
    "ignore_mismatched_sizes": ("discard_classifier_weights",),
    **dict.fromkeys(("model_revision", "trust_remote_code", "use_auth_token", "token"), _FROM_HUB),
    **dict.fromkeys(
        ("use_fast_tokenizer", "use_fast"), (Always("spm_model_file", "there is one tokenizer, which is fast"),)
    ),
    **dict.fromkeys(("config", "config_file", "config_name", "bert_config_file"), ("albert_config_file", "model_dir")),
    **dict.fromkeys(
        ("tokenizer", "tokenizer_name", "spm_model", "sentencepiece_model", "spm"), ("spm_model_file", "model_dir")
    ),
    "vocab": ("vocab_file", "model_dir"),
    **dict.fromkeys(("checkpoint", "ckpt", "init_ckpt", "checkpoint_path"), ("init_checkpoint", "model_dir")),
    **dict.fromkeys(("max_length", "max_len", "max_seq_len", "max_sequence_length"), ("max_seq_length",)),
    **dict.fromkeys(("seq_len", "seq_length", "sequence_length", "msl"), ("max_seq_length",)),
    **dict.fromkeys(("uncased", "lower_case", "do_lower", "lowercase"), ("do_lower_case",)),
    **dict.fromkeys(("fp16", "bf16", "amp", "half", "use_fp16", "use_bfloat16"), ("dtype=bfloat16",)),
    **dict.fromkeys(("fp16_full_eval", "bf16_full_eval"), ("dtype=bfloat16",)),
    **dict.fromkeys(("precision", "mixed_precision", "torch_dtype", "compute_dtype"), ("dtype",)),
    **dict.fromkeys(("tf32", "fp16_opt_level", "fp16_backend", "half_precision_backend"), ("dtype",)),
    # Data
    **dict.fromkeys(("task", "dataset", "dataset_name", "glue_task"), ("task_name", "train_file")),
    **dict.fromkeys(("data", "data_file", "data_path", "input", "input_path", "input_file"), _INPUT),
    **dict.fromkeys(("train_data", "train_path", "train_data_file", "training_file"), ("train_file", "input_file")),
    "train_dataset": ("train_file",),
    **dict.fromkeys(("eval_dataset", "validation_dataset", "dev_dataset", "eval_data"), ("validation_file",)),
    **dict.fromkeys(("test_dataset", "predict_dataset"), ("test_file",)),
    **dict.fromkeys(("eval_file", "dev_file", "val_file", "valid_file", "validation_data", "eval_data_file"), _DEV),
    **dict.fromkeys(("test_data", "test_path", "predict_data"), ("test_file", "predict_file", "input_file")),
    **dict.fromkeys(("val_split", "dev_split", "test_size", "validation_split_percentage"), ("validation_split",)),
    **dict.fromkeys(("text_column", "text_columns", "text_column_name", "text_col"), ("text_column_names",)),
    **dict.fromkeys(("label_column", "label_columns", "label_column_names", "label_col"), ("label_column_name",)),
    "target_column": ("label_column_name",),
    **dict.fromkeys(("num_labels", "labels_list", "label_list", "label_names"), _LABELS),
    **dict.fromkeys(("do_regression", "regression", "is_regression"), ("problem_type=regression",)),
    **dict.fromkeys(("multi_label", "is_multi_label"), ("problem_type=multi_label_classification",)),
    "label_all_tokens": (Always("problem_type", "of a word's pieces the first alone has its tag"),),
    "return_entity_level_metrics": (Always("problem_type", "classification_report.json has each type of entity"),),
    "text_column_delimiter": (Always("text_column_names", "a table's name says how its columns are parted"),),
    "length_column_name": (Always("pack_sequences", "lengths are always counted"),),
    "remove_unused_columns": (Always("text_column_names", "other columns are always left out"),),
    **{
        name: (f"max_{split}_samples", *_NO_SAMPLES)
        for split, others in (
            ("train", ("train_samples",)),
            ("eval", ("max_val_samples",)),
            ("predict", ("max_test_samples",)),
        )
        for name in (f"max_{split}_samples", f"max_{split}_examples", *others)
    },
    **dict.fromkeys(("cache_dir", "data_cache"), ("cached_dir",)),
    **dict.fromkeys(
        ("overwrite_cache", "reprocess_input_data", "no_cache"),
        (Always("cached_dir", "data that changed are always read again"),),
    ),
    **dict.fromkeys(("use_cache", "use_cached_eval_features"), (Always("cached_dir", "caches are always used"),)),
    **dict.fromkeys(
        ("dataloader_num_workers", "preprocessing_num_workers", "num_proc", "process_count", "use_multiprocessing"),
        ("num_workers", Always("cached_dir", "all processors are always used")),
    ),
    "pad_to_max_length": ("pack_sequences (false pads to the full length)",),
    "stride": ("doc_stride",),
    **dict.fromkeys(
        ("version_2_with_negative", "version_2"),
        (
            Always("null_score_diff_threshold", "this program is always for SQuAD 2.0"),
            Always("n_best_size", "SQuAD 2.0 has a program of its own, albert.run_multigpus_squad_v2"),
        ),
    ),
    **dict.fromkeys(("mlm_prob", "mlm_probability"), ("masked_lm_prob",)),
    # What is done, and where results go
    **dict.fromkeys(("train", "training"), ("do_train",)),
    **dict.fromkeys(("eval", "evaluate", "evaluation"), ("do_eval",)),
    **dict.fromkeys(("test", "predict", "do_test", "prediction"), ("do_predict",)),
    **dict.fromkeys(("out", "output", "out_dir", "output_path", "save_dir", "output_file", "output_dir"), _RESULTS),
    **dict.fromkeys(("resume_from_checkpoint", "resume", "continue_training", "auto_resume"), _RESUMES),
    "ignore_data_skip": (Always("overwrite_output_dir", "a run that resumes always goes on with the next examples"),),
    **dict.fromkeys(("save_only_model", "restore_callback_states_from_checkpoint"), _STATE),
    "save_on_each_node": (Always("strategy_type", "the first worker alone always saves"),),
    "save_safetensors": (Always(_TRAINS, "checkpoints are always TensorFlow's; albert.export_model has others"),),
    **dict.fromkeys(("push_to_hub", "push_to_hub_model_id", "push_to_hub_organization", "push_to_hub_token"), _HUB),
    **dict.fromkeys(("hub_model_id", "hub_strategy", "hub_token", "hub_private_repo"), _HUB),
    **dict.fromkeys(("hub_always_push", "hub_revision"), _HUB),
    "best_model_dir": ("output_dir",),
    **dict.fromkeys(("load_best_model_at_end", "save_best_model", "load_best_model"), _KEPT_BEST),
    **dict.fromkeys(("overwrite", "overwrite_output"), ("overwrite_output_dir",)),
    **dict.fromkeys(("save_steps", "eval_steps", "save_interval", "eval_interval"), ("save_checkpoints_steps",)),
    **dict.fromkeys(("save_strategy", "save_model_every_epoch"), ("save_checkpoints_steps (in steps)",)),
    **dict.fromkeys(("checkpointing_steps", "save_every", "steps_per_checkpoint"), ("save_checkpoints_steps",)),
    "save_checkpoints_secs": ("save_checkpoints_steps (in steps)",),
    **dict.fromkeys(("eval_strategy", "evaluation_strategy"), _EVALUATED),
    **dict.fromkeys(("evaluate_during_training", "eval_during_train", "save_eval_checkpoints"), _EVALUATED),
    **dict.fromkeys(("evaluate_during_training_steps", "eval_every"), ("save_checkpoints_steps",)),
    "eval_delay": _EVALUATED,
    "eval_on_start": (Always("save_checkpoints_steps", "the first evaluation is always that of the first checkpoint"),),
    "prediction_loss_only": (Always("do_eval", "an evaluation always has the loss and the metrics"),),
    **dict.fromkeys(("save_total_limit", "max_to_keep", "num_keep_checkpoint"), ("keep_checkpoint_max",)),
    **dict.fromkeys(("logging_steps", "log_interval", "log_every"), ("log_steps",)),
    "logging_strategy": ("log_steps (in steps)",),
    "logging_first_step": (Always("log_steps", "the first step is always logged"),),
    **dict.fromkeys(("log_level", "log_level_replica", "log_on_each_node"), _LOG),
    **dict.fromkeys(
        ("include_tokens_per_second", "include_num_input_tokens_seen"),
        (Always("log_steps", "tokens are always counted, in the log and in training_log.jsonl"),),
    ),
    "run_name": ("output_dir (whose name TensorBoard shows)",),
    **dict.fromkeys(("project", "trackio_space_id", "wandb_project"), _TENSORBOARD),
    **dict.fromkeys(("report_to", "logging_dir", "tensorboard_dir", "log_dir", "with_tracking"), _TENSORBOARD),
    **dict.fromkeys(
        ("disable_tqdm", "silent"),
        (Always(_TRAINS, "a bar is only shown on a terminal or in a notebook, never in a log"),),
    ),
    **dict.fromkeys(("topk", "k"), ("top_k",)),
    **dict.fromkeys(("include_inputs", "keep_inputs", "keep_columns"), ("with_inputs",)),
    # Devices and speed
    **dict.fromkeys(("num_gpus", "num_gpu", "n_gpu", "gpus", "nproc_per_node", "num_replicas"), _GPUS),
    **dict.fromkeys(("cpu", "use_cpu", "no_cuda"), ("device=cpu",)),
    **dict.fromkeys(("gpu", "cuda", "use_gpu", "use_cuda"), ("device=gpu",)),
    **dict.fromkeys(("gradient_checkpointing", "recompute", "remat"), ("recompute_activations",)),
    **dict.fromkeys(("xla", "jit", "jit_compile", "enable_xla"), ("use_xla",)),
    **dict.fromkeys(("torch_compile", "jit_mode_eval"), ("use_xla",)),
    **dict.fromkeys(
        ("local_rank", "ddp_backend", "multi_node", "nnodes", "num_machines"), ("strategy_type=multi_worker",)
    ),
    "ddp_timeout": ("stuck_seconds",),
    "use_mps_device": (Always("device", "GPUs of other makers than NVIDIA are not supported"),),
    **dict.fromkeys(("fsdp", "fsdp_config", "fsdp_min_num_params", "fsdp_transformer_layer_cls_to_wrap"), _WHOLE),
    **dict.fromkeys(("deepspeed", "mp_parameters", "parallelism_config"), _WHOLE),
    **dict.fromkeys(("use_ipex", "torchdynamo", "torch_compile_backend", "torch_compile_mode"), _INNER),
    **dict.fromkeys(("use_liger_kernel", "liger_kernel_config", "gradient_checkpointing_kwargs"), _INNER),
    **dict.fromkeys(("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers"), _INNER),
    **dict.fromkeys(("dataloader_pin_memory", "dataloader_persistent_workers"), _INNER),
    **dict.fromkeys(("dataloader_prefetch_factor", "torch_empty_cache_steps", "past_index", "ray_scope"), _INNER),
    **dict.fromkeys(("accelerator_config", "skip_memory_metrics", "use_legacy_prediction_loop"), _INNER),
    **dict.fromkeys(("batch_eval_metrics", "eval_do_concat_batches", "eval_use_gather_object"), _INNER),
    **dict.fromkeys(("include_for_metrics", "include_inputs_for_metrics", "debug", "tpu_metrics_debug"), _INNER),
    **dict.fromkeys(("use_tpu", "tpu", "tpu_name", "tpu_zone", "gcp_project", "num_tpu_cores", "master"), _TPU),
    **dict.fromkeys(("iterations_per_loop", "tpu_num_cores", "tpu_job_name"), _TPU),
    **dict.fromkeys(("pack", "packing", "group_by_length"), ("pack_sequences",)),
    **dict.fromkeys(("full_determinism", "tf_deterministic"), ("deterministic",)),
    **dict.fromkeys(("strategy", "distribution_strategy"), ("strategy_type",)),
    "n_best": ("n_best_size",),
}


def suggestions(name: str, flags: Collection[str]) -> tuple[Target, ...]:
    """What a program with `flags` has for what others call `name`; () for nothing."""
    name = name.replace("-", "_").lower()
    if name in flags:
        return (name,)
    meant = (target for target in OTHER_NAMES.get(name, ()) if flag_of(target) in flags)
    return tuple(meant)[:1]


def flag_of(target: Target) -> str:
    """The flag's name in an entry of OTHER_NAMES."""
    return target.flag if isinstance(target, Always) else re.split("[= ]", target)[0]


def similar(name: str, flags: Collection[str]) -> tuple[Target, ...]:
    """`suggestions`, or the flag that is spelled most alike; `no-do-train` is `nodo_train`."""
    off = name.replace("-", "_").lower().removeprefix("no_")
    if off in flags and len(off) < len(name):
        return (f"no{off}",)
    alike = difflib.get_close_matches(name[:_LONGEST_NAME], sorted(flags), n=1, cutoff=_ALIKE)
    return suggestions(name, flags) or tuple(alike)


# What people write behind a flag to turn it off, and what that is here where it is not so anyway.
_OFF = ("false", "f", "0", "no", "off", "none")
_WHEN_OFF = {"dtype=bfloat16": "dtype=float32"}


def did_you_mean(found: Sequence[Target], value: str = "") -> str:
    """The end of a message: what was found, as a question, or as what is always so; "" for nothing.

    `value` is what the unknown flag was given.
    """
    if not found:
        return ""
    [first] = found
    if isinstance(first, Always):
        return f": leave it out, {first.said}"
    if "=" in first and value.lower() in _OFF:
        if first not in _WHEN_OFF:
            return f": leave it out, nothing is so without --{first}"
        first = _WHEN_OFF[first]
    return f": did you mean --{first}?"


def unknown_flags(
    given: Sequence[str], flags: Collection[str], otherwise: Callable[[str], str | None] = lambda name: None
) -> list[str]:
    """What to say of flags that are none of `flags`, as problems: what is meant by each.

    They are `given` as NAME or NAME=VALUE. `otherwise` may say it of a name in another way; None leaves it to this
    function.
    """
    values = {name: value for name, _, value in (each.partition("=") for each in reversed(given))}
    names = list(dict.fromkeys(each.partition("=")[0] for each in given))
    said = {name: text for name in names if (text := otherwise(name))}
    rest = [name for name in names if name not in said]
    problems = [
        f"unknown flag --{_shown(name)}{did_you_mean(similar(name, flags), values[name])}"
        for name in rest[:_MOST_NAMES]
    ]
    if more := len(rest) - len(problems):
        problems.append(f"and {more:,} more unknown flags")
    if problems:
        problems[-1] += " (--help lists all)"
    return [*dict.fromkeys(said.values()), *problems]


def _shown(name: str) -> str:
    shown = repr(name[:_LONGEST_NAME])[1:-1]  # what would move a terminal's cursor is written out
    return shown if len(name) <= _LONGEST_NAME else f"{shown}..."
