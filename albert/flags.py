"""Every command-line flag, once, and how flags become settings. No TensorFlow: `--help` answers at once.

Flags are absl's, as the predecessor's were: `--flag=value`, `--flag value`, `--flag` and `--noflag` for booleans.
Unlike there, an unknown flag stops the program.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from albert.settings import (
    DTYPES,
    DataSettings,
    ModelSettings,
    Settings,
    SpeedSettings,
    TrainSettings,
    UserError,
)


class HelpRequested(Exception):
    """`--help` was given; carries the text to print."""


_REQUIRED = ("data_dir", "task_name", "output_dir", "albert_config_file")


def _define() -> flags.FlagValues:
    values = flags.FlagValues()
    _define_task_flags(values)
    _define_model_flags(values)
    _define_training_flags(values)
    _define_speed_flags(values)
    flags.DEFINE_bool("help", False, "Print this text.", short_name="h", flag_values=values)
    return values


def _define_task_flags(values: flags.FlagValues) -> None:
    def string(name: str, default: str | None, text: str) -> None:
        flags.DEFINE_string(name, default, text, flag_values=values)

    string("data_dir", None, "Folder with one sub-folder per GLUE task (CoLA, MRPC, ...). Required.")
    string("task_name", None, "Task, for example MRPC; a wrong name lists all of them. Required.")
    string("output_dir", None, "Where checkpoints and results go; created if missing. Required.")
    string("cached_dir", "cached_albert_tfrecord", "Where tokenised TFRecord caches go.")
    string("spm_model_file", None, "SentencePiece model that belongs to the checkpoint.")
    string("vocab_file", None, "Vocabulary of a WordPiece model; only read without --spm_model_file.")
    flags.DEFINE_bool("do_lower_case", True, "Lower-case the text, as Google's models need.", flag_values=values)
    flags.DEFINE_integer("max_seq_length", 512, "Longest row in tokens; longer ones are cut.", flag_values=values)
    flags.DEFINE_bool("do_train", False, "Train.", flag_values=values)
    flags.DEFINE_bool("do_eval", False, "Evaluate checkpoints on the dev set and keep the best.", flag_values=values)
    flags.DEFINE_bool("do_predict", False, "Predict the test set with the best checkpoint.", flag_values=values)
    flags.DEFINE_bool(
        "overwrite_output_dir",
        False,
        "Start anew: move what is in output_dir aside (nothing is deleted).",
        flag_values=values,
    )


def _define_model_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("albert_config_file", None, "albert_config.json of the model. Required.", flag_values=values)
    flags.DEFINE_string(
        "init_checkpoint",
        None,
        "Prefix of the TF1 checkpoint to start from; random weights without.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "discard_classifier_weights",
        False,
        "Start with a fresh classifier (names containing output_), for example for RTE from an MNLI checkpoint.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "albert_dropout_prob",
        None,
        "Dropout in the encoder, hidden and attention; without it the rates in albert_config_file hold.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "dtype",
        "float32",
        DTYPES,
        "Precision of activations; weights stay float32. auto: bfloat16 on GPUs that compute in it.",
        flag_values=values,
    )
    flags.DEFINE_enum("strategy_type", "mirror", ("one", "mirror"), "One device or replicas.", flag_values=values)
    flags.DEFINE_integer("num_gpu_cores", 1, "Replicas: GPUs, or CPU devices with --device=cpu.", flag_values=values)
    flags.DEFINE_enum(
        "device",
        "auto",
        ("auto", "gpu", "cpu"),
        "auto: GPUs, or the CPU for one replica where no GPU is visible. cpu: logical CPU devices.",
        flag_values=values,
    )


def _define_training_flags(values: flags.FlagValues) -> None:
    def integer(name: str, default: int, text: str) -> None:
        flags.DEFINE_integer(name, default, text, flag_values=values)

    integer("train_batch_size", 32, "Examples per replica and micro-batch.")
    integer(
        "gradient_accumulation_steps",
        1,
        "Micro-batches per step, averaged: a step has train_batch_size x this x num_gpu_cores examples.",
    )
    integer("eval_batch_size", 8, "Examples of max_seq_length per replica in evaluation; packed, as many as fit there.")
    integer("predict_batch_size", 8, "The same in prediction.")
    integer("train_step", 1000, "Optimisation steps in all.")
    integer("warmup_step", 0, "Steps of linear warm-up.")
    integer("save_checkpoints_steps", 1000, "Steps between checkpoints, each evaluated with --do_eval.")
    integer("keep_checkpoint_max", 5, "Newest checkpoints kept, 0 for all; the best is always kept.")
    integer("log_steps", 100, "Steps between lines in the log.")
    integer("seed", 42, "Seed of fresh weights, order of rows, and dropout.")
    flags.DEFINE_float("learning_rate", 5e-5, "Peak learning rate.", flag_values=values)
    flags.DEFINE_enum("optimizer", "adamw", ("adamw", "lamb"), "Optimizer.", flag_values=values)


def _define_speed_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_bool(
        "pack_sequences",
        True,
        "Several short sequences share a row; without, each is padded to max_seq_length.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "use_xla",
        None,
        "Compile the forward and backward pass of each replica; without the flag, on GPUs only.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "recompute_activations",
        False,
        "Compute each block's activations again in the backward pass instead of keeping them: for large models.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "profile_steps",
        None,
        "Two steps, as 10,20: write a profile of those between to output_dir.",
        flag_values=values,
    )


def all_flag_names() -> frozenset[str]:
    """The names of all flags, with `noNAME` for booleans."""
    values = _define()
    booleans = {f"no{name}" for name in values if values[name].boolean}
    return frozenset(values) | booleans


def parse_classifier_flags(argv: Sequence[str]) -> Settings:
    """Settings from `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for unknown or ill-formed flags and for everything that
    is missing or that `Settings.problems` finds, together.
    """
    values = _define()
    try:
        rest = values(list(argv))[1:]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from error
    if values.help:
        usage = "usage: python3 -m albert.run_multigpus_classifier --flag=value ...\n"
        raise HelpRequested(usage + values.get_help())
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}: everything is given as --flag=value")
    profile_steps = _profile_steps(values.profile_steps)
    missing = [f"--{name}" for name in _REQUIRED if not values[name].value]
    problems = [f"{', '.join(missing)} must be given (--help lists all flags)"] if missing else []
    settings = _settings(values, profile_steps)
    problems += settings.problems()
    if problems:
        raise UserError("; ".join(problems))
    return settings


def _profile_steps(given: Sequence[str] | None) -> tuple[int, int] | None:
    if not given:
        return None
    try:
        first, last = map(int, given)
    except ValueError:
        raise UserError(f"--profile_steps={','.join(given)} must be two step numbers, as 10,20") from None
    return first, last


def _settings(values: flags.FlagValues, profile_steps: tuple[int, int] | None) -> Settings:
    def path(name: str) -> Path | None:
        return Path(values[name].value).expanduser() if values[name].value else None

    return Settings(
        data=DataSettings(
            task_name=values.task_name,
            data_dir=path("data_dir"),
            cached_dir=path("cached_dir") or Path("cached_albert_tfrecord"),
            max_seq_length=values.max_seq_length,
            spm_model_file=path("spm_model_file"),
            vocab_file=path("vocab_file"),
            do_lower_case=values.do_lower_case,
        ),
        model=ModelSettings(
            albert_config_file=path("albert_config_file"),
            init_checkpoint=path("init_checkpoint"),
            albert_dropout_prob=values.albert_dropout_prob,
            discard_classifier_weights=values.discard_classifier_weights,
            dtype=values.dtype,
        ),
        train=TrainSettings(
            train_steps=values.train_step,
            warmup_steps=values.warmup_step,
            learning_rate=values.learning_rate,
            optimizer=values.optimizer,
            per_replica_batch_size=values.train_batch_size,
            gradient_accumulation_steps=values.gradient_accumulation_steps,
            seed=values.seed,
            save_checkpoints_steps=values.save_checkpoints_steps,
            keep_checkpoint_max=values.keep_checkpoint_max,
            log_steps=values.log_steps,
        ),
        output_dir=path("output_dir"),
        speed=SpeedSettings(
            pack_sequences=values.pack_sequences,
            use_xla=values.use_xla,
            recompute_activations=values.recompute_activations,
            profile_steps=profile_steps,
        ),
        do_train=values.do_train,
        do_eval=values.do_eval,
        do_predict=values.do_predict,
        strategy_type=values.strategy_type,
        num_replicas=values.num_gpu_cores,
        device=values.device,
        per_replica_eval_batch_size=values.eval_batch_size,
        per_replica_predict_batch_size=values.predict_batch_size,
        overwrite_output_dir=values.overwrite_output_dir,
    )
