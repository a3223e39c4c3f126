"""Every command-line flag, once, and which program has which. No TensorFlow.

Owns names, kinds, defaults and help texts. Knows nothing of what flags become: that is `flags`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from absl import flags

from albert.settings import DTYPES

# --- The flags -------------------------------------------------------------------------------------------------------

_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    list: flags.DEFINE_list,
}


class Flag(NamedTuple):
    """One flag of any number of programs."""

    name: str
    kind: type | tuple[str, ...]  # a tuple holds the values that are allowed
    default: object
    text: str

    def define(self, values: flags.FlagValues) -> None:
        """Adds it to `values`."""
        if isinstance(self.kind, tuple):
            flags.DEFINE_enum(self.name, self.default, self.kind, self.text, flag_values=values)
        else:
            _DEFINE[self.kind](self.name, self.default, self.text, flag_values=values)


_SHARED = (
    Flag("data_dir", str, None, "Folder with one sub-folder per GLUE task (CoLA, MRPC, ...)."),
    Flag("output_dir", str, None, "Where checkpoints and results go; created if missing."),
    Flag("cached_dir", str, "cached_albert_tfrecord", "Where tokenised TFRecord caches go."),
    Flag("spm_model_file", str, None, "SentencePiece model that belongs to the checkpoint."),
    Flag("vocab_file", str, None, "Vocabulary of a WordPiece model; only read without --spm_model_file."),
    Flag("do_lower_case", bool, True, "Lower-case the text, as Google's models need."),
    Flag("max_seq_length", int, 512, "Longest row in tokens; longer ones are cut."),
    Flag("do_train", bool, False, "Train."),
    Flag("do_eval", bool, False, "Evaluate checkpoints on the dev set and keep the best."),
    Flag("do_predict", bool, False, "Predict the test set with the best checkpoint."),
    Flag("overwrite_output_dir", bool, False, "Start anew: move what is in output_dir aside (nothing is deleted)."),
    # The model
    Flag("albert_config_file", str, None, "albert_config.json of the model."),
    Flag("init_checkpoint", str, None, "Prefix of the TF1 checkpoint to start from; random weights without."),
    Flag(
        "discard_classifier_weights",
        bool,
        False,
        "Start with a fresh classifier (names containing output_), for example for RTE from an MNLI checkpoint.",
    ),
    Flag(
        "albert_dropout_prob",
        float,
        None,
        "Dropout in the encoder, hidden and attention; without it the rates in albert_config_file hold.",
    ),
    # Devices and precision
    Flag(
        "dtype",
        DTYPES,
        "float32",
        "Precision of activations; weights stay float32. auto: bfloat16 on GPUs that compute in it.",
    ),
    Flag("strategy_type", ("one", "mirror"), "mirror", "One device or replicas."),
    Flag("num_gpu_cores", int, 1, "Replicas: GPUs, or CPU devices with --device=cpu."),
    Flag(
        "device",
        ("auto", "gpu", "cpu"),
        "auto",
        "auto: GPUs, or the CPU for one replica where no GPU is visible. cpu: logical CPU devices.",
    ),
    Flag("pack_sequences", bool, True, "Several short sequences share a row; without, each is padded."),
    Flag(
        "use_xla",
        bool,
        None,
        "Compile the forward and backward pass of each replica; without the flag, on GPUs only.",
    ),
    Flag(
        "recompute_activations",
        bool,
        False,
        "Compute each block's activations again in the backward pass instead of keeping them: for large models.",
    ),
    # Training and evaluation
    Flag("train_batch_size", int, 32, "Examples per replica and micro-batch."),
    Flag(
        "gradient_accumulation_steps",
        int,
        1,
        "Micro-batches per step, averaged: a step has train_batch_size x this x num_gpu_cores examples.",
    ),
    Flag(
        "eval_batch_size",
        int,
        8,
        "Examples of max_seq_length per replica in evaluation; packed, as many as fit there.",
    ),
    Flag("predict_batch_size", int, 8, "Examples of max_seq_length per replica in prediction."),
    Flag("learning_rate", float, 5e-5, "Peak learning rate."),
    Flag("optimizer", ("adamw", "lamb"), "adamw", "Optimizer."),
    Flag("save_checkpoints_steps", int, 1000, "Steps between checkpoints, each evaluated with --do_eval."),
    Flag("keep_checkpoint_max", int, 5, "Newest checkpoints kept, 0 for all; the best is always kept."),
    Flag("log_steps", int, 100, "Steps between lines in the log."),
    Flag(
        "skip_nonfinite_steps",
        int,
        0,
        "Steps with a NaN or infinite loss or gradient that are left out, each named in the log, before the next one "
        "stops the program; counted anew at each start.",
    ),
    Flag("profile_steps", list, None, "Two steps, as 10,20: write a profile of those between to output_dir."),
    Flag("seed", int, 42, "Seed of fresh weights, order of rows, and dropout."),
)


def shared(*names: str) -> tuple[Flag, ...]:
    """The flags of these names, which several programs have."""
    by_name = {flag.name: flag for flag in _SHARED}
    return tuple(by_name[name] for name in names)


# Training lasts a number of steps in some programs, a number of epochs in the others.
_IN_STEPS = (
    Flag("task_name", str, None, "Task, for example MRPC; a wrong name lists all of them."),
    Flag("train_step", int, 1000, "Optimisation steps in all."),
    Flag("warmup_step", int, 0, "Steps of linear warm-up."),
)
_IN_EPOCHS = (
    Flag("num_train_epochs", float, 3.0, "How often training sees every example; the number of steps is rounded up."),
    Flag("warmup_proportion", float, 0.1, "Part of the steps that is linear warm-up."),
)

_TRAIN_FEATURES = Flag(
    "train_feature_file",
    str,
    None,
    "TFRecord cache of the training data, written if missing; without, one in cached_dir.",
)
_HEAD_DROPOUT = Flag("dropout_prob", float, 0.1, "Dropout of the pooled output.")

_SQUAD = (
    Flag("train_file", str, None, "Questions to train on, in SQuAD's JSON format."),
    Flag("predict_file", str, None, "Questions to answer, in SQuAD's JSON format; scored if it has gold answers."),
    _TRAIN_FEATURES,
    Flag("predict_feature_file", str, None, "TFRecord cache of the questions to answer, as train_feature_file."),
    Flag(
        "predict_feature_left_file",
        str,
        None,
        "JSON, written to say where the columns for decoding are: in predict_feature_file.",
    ),
    Flag("doc_stride", int, 128, "Tokens from the beginning of one window of a long context to that of the next."),
    Flag("max_query_length", int, 64, "Longest question in tokens; longer ones are cut."),
    Flag("n_best_size", int, 20, "Answers per question in nbest_predictions.json."),
    Flag("max_answer_length", int, 30, "Longest answer in tokens."),
)
_SQUAD_V2 = (
    Flag("start_n_top", int, 5, "Beginnings of an answer that are followed."),
    Flag("end_n_top", int, 5, "Ends of an answer that are followed for each beginning."),
    _HEAD_DROPOUT,
    Flag(
        "null_score_diff_threshold",
        float,
        None,
        "Null odds above which a question is left unanswered; without, tuned on the gold answers (0 without those).",
    ),
    Flag("original_thresholds", bool, False, "Apply tuned thresholds as the original did, one question off."),
)
# The names of the flags that are fields of SquadTask, where the program has them.
SQUAD_OPTIONS = tuple(flag.name for flag in _SQUAD + _SQUAD_V2 if "_file" not in flag.name)

_RACE = (
    Flag("max_qa_length", int, 128, "Longest question with option in tokens, of which the last are kept."),
    Flag("high_only", bool, False, "Only the articles for high schools."),
    Flag("middle_only", bool, False, "Only the articles for middle schools."),
    _TRAIN_FEATURES,
    Flag("eval_feature_file", str, None, "TFRecord cache of the dev set, as train_feature_file."),
    Flag("predict_file", str, None, "TFRecord cache of the test set, as train_feature_file."),
    _HEAD_DROPOUT,
)


# --- The programs ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Program:
    """One entry point: its module, its flags, and what is its own in those that it shares.

    `changes` replace fields of a flag, by its name; `other_names` are names that a flag has besides its own.
    `feature_files` are the flags that name the caches, by split.
    """

    module: str
    flags: tuple[Flag, ...]
    required: tuple[str, ...]
    changes: Mapping[str, Mapping[str, object]] = dataclasses.field(default_factory=dict)
    other_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    feature_files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def define(self) -> flags.FlagValues:
        """All its flags, not parsed yet; --help among them."""
        values = flags.FlagValues()
        for flag in self.flags:
            changed = flag._replace(**self.changes.get(flag.name, {}))
            if changed.name in self.required and changed.default is None:
                changed = changed._replace(text=f"{changed.text} Required.")
            changed.define(values)
        for other_name, name in self.other_names.items():
            flags.DEFINE_alias(other_name, name, flag_values=values)
        flags.DEFINE_bool("help", False, "Print this text.", short_name="h", flag_values=values)
        return values


CLASSIFIER = Program(
    "run_multigpus_classifier",
    _SHARED + _IN_STEPS,
    required=("data_dir", "task_name", "output_dir", "albert_config_file"),
)


def _squad_program(module: str, own_flags: tuple[Flag, ...]) -> Program:
    return Program(
        module,
        _SHARED + _IN_EPOCHS + own_flags,
        required=("data_dir", "output_dir", "albert_config_file"),
        changes={
            "data_dir": {
                "default": ".",
                "text": "Folder that --train_file and --predict_file count from, where these are relative.",
            },
            "max_seq_length": {
                "default": 384,
                "text": "Longest row in tokens; longer contexts are cut into windows that overlap.",
            },
            "vocab_file": {"text": "Not read: SQuAD needs --spm_model_file."},
            "train_batch_size": {"text": "Windows of contexts per replica and micro-batch."},
            "do_eval": {"text": "The same as --do_predict."},
            "do_predict": {
                "text": "Answer the questions in predict_file; with gold answers, evaluate checkpoints and keep the "
                "best."
            },
            "dropout_prob": {"text": "Dropout where the model decides whether there is an answer."},
        },
        feature_files={"train": "train_feature_file", "dev": "predict_feature_file"},
    )


SQUAD_PROGRAMS = {
    "1.1": _squad_program("run_multigpus_squad_v1", _SQUAD),
    "2.0": _squad_program("run_multigpus_squad_v2", _SQUAD + _SQUAD_V2),
}

RACE = Program(
    "run_multigpus_race",
    _SHARED + _IN_STEPS + _RACE,
    required=("data_dir", "output_dir", "albert_config_file"),
    changes={
        "task_name": {"default": "race", "text": "Only race."},
        "data_dir": {"text": "Folder that holds RACE/{train,dev,test}/{middle,high}."},
        "do_train": {"default": True},
        "do_eval": {"default": True},
        "train_batch_size": {"text": "Questions, each with four options, per replica and micro-batch."},
        "learning_rate": {"default": 1e-5},
        "train_step": {"default": 12000},
        "warmup_step": {"default": 1000},
        "save_checkpoints_steps": {"default": 100},
    },
    other_names={"num_keep_checkpoint": "keep_checkpoint_max"},
    feature_files={"train": "train_feature_file", "dev": "eval_feature_file", "test": "predict_file"},
)


FINE_TUNING_PROGRAMS = (CLASSIFIER, *SQUAD_PROGRAMS.values(), RACE)


def flag_names(programs: Sequence[Program]) -> dict[str, frozenset[str]]:
    """For each program, by its module's name in the package, the names of its flags, with `noNAME` for booleans."""
    defined = {program.module: program.define() for program in programs}
    return {
        module: frozenset(values) | {f"no{name}" for name in values if values[name].boolean}
        for module, values in defined.items()
    }
