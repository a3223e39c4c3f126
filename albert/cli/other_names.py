"""What to say of a flag that a program does not have: which of its own is meant. No TensorFlow."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

from absl import flags as absl_flags

_MOST_SUGGESTIONS = 4
_MISSPELLED = re.compile(r"Did you mean: (.*) \?")

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

# Names that other libraries and earlier ALBERT programs have for a flag, with ours: the first that a program has. One
# with a value is meant with it, and one with a unit counts something else.
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    # How long, how fast
    **dict.fromkeys(("lr", "peak_lr", "init_lr", "adam_lr"), ("learning_rate",)),
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs", "train_epochs"), _EPOCHS),
    **dict.fromkeys(
        ("steps", "num_steps", "max_steps", "total_steps", "train_step", "train_steps", "max_train_steps"), _STEPS
    ),
    "num_train_steps": _STEPS,
    **dict.fromkeys(("warmup", "warmup_step", "warmup_steps", "num_warmup_steps"), _WARMUP),
    **dict.fromkeys(("warmup_ratio", "warmup_fraction", "warmup_proportion"), tuple(reversed(_WARMUP))),
    **dict.fromkeys(("bs", "batch", "batch_size", "train_batch", "mini_batch_size"), _BATCH),
    **dict.fromkeys(("per_device_train_batch_size", "per_gpu_train_batch_size"), _BATCH),
    **dict.fromkeys(
        ("per_device_eval_batch_size", "per_gpu_eval_batch_size", "dev_batch_size", "val_batch_size"),
        ("eval_batch_size", "batch_size"),
    ),
    **dict.fromkeys(("test_batch_size", "predict_batch_size"), ("predict_batch_size", "batch_size")),
    **dict.fromkeys(
        ("gradient_accumulation", "grad_accum", "grad_accumulation_steps", "accumulation_steps", "accum_steps"),
        ("gradient_accumulation_steps",),
    ),
    "accumulate_grad_batches": ("gradient_accumulation_steps",),
    **dict.fromkeys(("optim", "optimizer_name", "optimizer_type"), ("optimizer",)),
    **dict.fromkeys(("dropout", "dropout_rate", "hidden_dropout_prob", "dropout_prob"), ("albert_dropout_prob",)),
    "attention_probs_dropout_prob": ("albert_dropout_prob",),
    **dict.fromkeys(("label_smoothing", "smoothing"), ("label_smoothing_factor",)),
    **dict.fromkeys(("patience", "early_stopping"), ("early_stopping_patience",)),
    **dict.fromkeys(("metric", "metric_name", "best_metric"), ("metric_for_best_model",)),
    **dict.fromkeys(("seed", "seeds", "random_seed", "rng_seed", "data_seed", "random_state"), _SEED),
    # The model
    **dict.fromkeys(("model", "model_name", "model_path", "model_name_or_path"), ("model_dir",)),
    **dict.fromkeys(("pretrained_model", "pretrained_model_name_or_path", "bert_model"), ("model_dir",)),
    **dict.fromkeys(("hub_module", "albert_hub_module_handle"), ("model_dir",)),
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
    **dict.fromkeys(("precision", "mixed_precision", "torch_dtype", "compute_dtype"), ("dtype",)),
    # Data
    **dict.fromkeys(("task", "dataset", "dataset_name", "glue_task"), ("task_name", "train_file")),
    **dict.fromkeys(("data", "data_file", "data_path", "input", "input_path", "input_file"), _INPUT),
    **dict.fromkeys(("train_data", "train_path", "train_data_file", "training_file"), ("train_file", "input_file")),
    **dict.fromkeys(("eval_file", "dev_file", "val_file", "valid_file", "validation_data", "eval_data_file"), _DEV),
    **dict.fromkeys(("test_data", "test_path", "predict_data"), ("test_file", "predict_file", "input_file")),
    **dict.fromkeys(("val_split", "dev_split", "test_size", "validation_split_percentage"), ("validation_split",)),
    **dict.fromkeys(("text_column", "text_columns", "text_column_name", "text_col"), ("text_column_names",)),
    **dict.fromkeys(("label_column", "label_columns", "label_column_names", "label_col"), ("label_column_name",)),
    "target_column": ("label_column_name",),
    **dict.fromkeys(("cache_dir", "overwrite_cache", "data_cache"), ("cached_dir",)),
    **dict.fromkeys(("mlm_prob", "mlm_probability"), ("masked_lm_prob",)),
    # What is done, and where results go
    **dict.fromkeys(("train", "training"), ("do_train",)),
    **dict.fromkeys(("eval", "evaluate", "evaluation"), ("do_eval",)),
    **dict.fromkeys(("test", "predict", "do_test", "prediction"), ("do_predict",)),
    **dict.fromkeys(("out", "output", "out_dir", "output_path", "save_dir", "output_file", "output_dir"), _RESULTS),
    "resume_from_checkpoint": ("output_dir",),  # the same command resumes
    **dict.fromkeys(("overwrite", "overwrite_output"), ("overwrite_output_dir",)),
    **dict.fromkeys(("save_steps", "eval_steps", "save_interval", "eval_interval"), ("save_checkpoints_steps",)),
    **dict.fromkeys(("save_total_limit", "max_to_keep", "num_keep_checkpoint"), ("keep_checkpoint_max",)),
    **dict.fromkeys(("logging_steps", "log_interval", "log_every"), ("log_steps",)),
    **dict.fromkeys(("topk", "k"), ("top_k",)),
    **dict.fromkeys(("include_inputs", "keep_inputs", "keep_columns"), ("with_inputs",)),
    # Devices and speed
    **dict.fromkeys(("num_gpus", "num_gpu", "n_gpu", "gpus", "nproc_per_node", "num_replicas"), _GPUS),
    **dict.fromkeys(("cpu", "use_cpu", "no_cuda"), ("device=cpu",)),
    **dict.fromkeys(("gpu", "cuda", "use_gpu", "use_cuda"), ("device=gpu",)),
    **dict.fromkeys(("gradient_checkpointing", "recompute", "remat"), ("recompute_activations",)),
    **dict.fromkeys(("xla", "jit", "jit_compile", "enable_xla"), ("use_xla",)),
    **dict.fromkeys(("pack", "packing", "group_by_length"), ("pack_sequences",)),
    **dict.fromkeys(("full_determinism", "tf_deterministic"), ("deterministic",)),
    **dict.fromkeys(("strategy", "distribution_strategy"), ("strategy_type",)),
    "n_best": ("n_best_size",),
}


def suggestions(name: str, flags: Collection[str]) -> tuple[str, ...]:
    """The flag that a program with `flags` has for what others call `name`; () for none."""
    name = name.replace("-", "_").lower()
    if name in flags:
        return (name,)
    meant = (target for target in OTHER_NAMES.get(name, ()) if flag_of(target) in flags)
    return tuple(meant)[:1]


def flag_of(target: str) -> str:
    """The flag's name in an entry of OTHER_NAMES."""
    return re.split("[= ]", target)[0]


def similar(name: str, flags: Collection[str]) -> tuple[str, ...]:
    """`suggestions`, or the flag that is spelled most alike."""
    return suggestions(name, flags) or tuple(difflib.get_close_matches(name[:100], sorted(flags), n=1))


def did_you_mean(flags: Iterable[str]) -> str:
    """`flags` as the question that ends a message; "" for none."""
    named = [f"--{flag}" for flag in flags][:_MOST_SUGGESTIONS]
    return f": did you mean {' or '.join(named)}?" if named else ""


def unknown_flag(error: absl_flags.UnrecognizedFlagError, flags: Collection[str]) -> str:
    """What to say of a flag that is none of `flags`: the one that is meant, otherwise those that are spelled alike."""
    found = suggestions(error.flagname, flags)
    if not found and (alike := _MISSPELLED.search(str(error))):
        found = tuple(alike[1].split(", "))
    return f"unknown flag --{error.flagname}{did_you_mean(found)} (--help lists all)"
