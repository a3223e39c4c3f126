"""The command lines of the pretraining programs: which flags each has, and the settings they become. No TensorFlow.

Names and defaults of `create_pretraining_data` and `run_pretraining` are upstream's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from albert.cli.flags import Flag, Program, Values, declared, parse
from albert.cli.model_dir import MODEL_DIR, VOCABULARY_DIR, with_model_dir
from albert.cli.replicas import number_of_replicas
from albert.errors import UserError
from albert.pretraining_data.corpus import CorpusSettings
from albert.pretraining_data.creation import CreationSettings
from albert.pretraining_data.text_files import INPUT, expand_patterns
from albert.pretraining_data.vocabulary_training import VocabularySettings
from albert.settings import (
    ModelSettings,
    PretrainingData,
    PretrainingSettings,
    PretrainingTrainSettings,
    SpeedSettings,
)
from albert.settings.fields import DATA, TRAINING
from albert.system.printing import counted

# --- The programs ----------------------------------------------------------------------------------------------------

PREPARE_CORPUS = Program(
    "prepare_corpus",
    "Splits text files into sentences, for pretraining.",
    declared(CorpusSettings),
    required=("input", "output"),
    if_stopped="no corpus was written",
    example=("--input='books/*.txt' --output=corpus.txt",),
)

TRAIN_SENTENCEPIECE = Program(
    "train_sentencepiece",
    "Trains a SentencePiece vocabulary with ALBERT's recipe.",
    declared(VocabularySettings),
    required=("input", "model_prefix"),
    if_stopped="no vocabulary was written",
    example=("--input=corpus.txt --model_prefix=vocabulary/my-30k",),
)

CREATE_PRETRAINING_DATA = Program(
    "create_pretraining_data",
    "Creates pretraining data, files of masked records, from text.",
    (*declared(CreationSettings), VOCABULARY_DIR),
    required=("input_file", "output_file"),
    if_stopped="no incomplete file of records is left",
    example=(
        "--input_file=corpus.txt --output_file=records/train.tf_record",
        "--spm_model_file=vocabulary/my-30k.model",
    ),
)

_RUN_FLAGS = (
    Flag(
        "input_file",
        str,
        None,
        f"Records of albert.create_pretraining_data to train on: {INPUT}.",
        DATA,
        setting="input_files",
    ),
    Flag(
        "eval_input_file",
        str,
        None,
        f"Records to evaluate on, other than input_file: {INPUT}.",
        DATA,
        setting="eval_input_files",
    ),
    *declared(PretrainingData),
    *declared(PretrainingTrainSettings, without=("num_train_epochs", "warmup_proportion")),
    MODEL_DIR,
    *declared(ModelSettings, without=("albert_dropout_prob", "discard_classifier_weights")),
    *declared(SpeedSettings, without=("pack_sequences",)),
    *declared(
        PretrainingSettings, without=("do_predict", "per_replica_eval_batch_size", "per_replica_predict_batch_size")
    ),
    Flag("masked_lm_budget", float, 0.0, "Only 0: upstream's masking during training never worked.", TRAINING),
)

RUN_PRETRAINING = Program(
    "run_pretraining",
    "Pretrains ALBERT on records of albert.create_pretraining_data over any number of GPUs.",
    _RUN_FLAGS,
    required=("input_file", "albert_config_file", "output_dir"),
    example=(
        "--input_file='records/train*.tf_record' --output_dir=albert_output/pretraining",
        "--albert_config_file=pretrained_model/albert_base_v2/albert_config.json",
        "--train_batch_size=512 --num_gpu_cores=8",
    ),
    changes={
        "do_train": {"default": True},
        "train_batch_size": {
            "default": 4096,
            "text": "Sequences of a step, over all replicas and micro-batches: both must divide it.",
        },
        "gradient_accumulation_steps": {
            "text": "Micro-batches per step on each replica: the memory needed is that of --train_batch_size / "
            "(this x --num_gpu_cores) sequences."
        },
        "optimizer": {"default": "lamb"},
        "learning_rate": {"default": 0.00176},
        "save_checkpoints_steps": {"default": 5000},
        "do_eval": {"text": "Evaluate checkpoints on `eval_input_files` and keep the best."},
    },
)

PRETRAINING_PROGRAMS = (PREPARE_CORPUS, TRAIN_SENTENCEPIECE, CREATE_PRETRAINING_DATA, RUN_PRETRAINING)

# --- What they become ------------------------------------------------------------------------------------------------


def parse_corpus_flags(argv: Sequence[str]) -> CorpusSettings:
    """Settings from `argv`, whose first element is the program's name; raises as `parse_pretraining_flags`."""
    return _parse_into(CorpusSettings, PREPARE_CORPUS, argv)


def parse_vocabulary_flags(argv: Sequence[str]) -> VocabularySettings:
    """Settings from `argv`, whose first element is the program's name; raises as `parse_pretraining_flags`."""
    return _parse_into(VocabularySettings, TRAIN_SENTENCEPIECE, argv)


def parse_creation_flags(argv: Sequence[str]) -> CreationSettings:
    """Settings from `argv`, whose first element is the program's name; raises as `parse_pretraining_flags`."""
    return _parse_into(CreationSettings, CREATE_PRETRAINING_DATA, argv)


def parse_pretraining_flags(argv: Sequence[str]) -> PretrainingSettings:
    """Settings from `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for unknown or ill-formed flags and for everything that is missing,
    does not exist or does not go together, at once.
    """
    values = parse(RUN_PRETRAINING, argv, with_model_dir)
    files: dict[str, tuple[Path, ...]] = {}
    problems = []
    for flag in ("input_file", "eval_input_file"):
        try:
            files[f"{flag}s"] = tuple(expand_patterns(values[flag], flag)) if values[flag] else ()
        except UserError as error:
            files[f"{flag}s"] = (Path(values[flag]),)  # reported once: it is given, but not there
            problems.append(str(error).rstrip("."))
    settings = _settings(values, values.make(PretrainingData, **files))
    if (budget := values["masked_lm_budget"]) != 0:
        problems.append(f"--masked_lm_budget={budget:g} is not supported: pieces are masked when records are made")
    values.check(problems + _batch_problems(values) + settings.problems())
    return settings


class _Settings(Protocol):
    def problems(self) -> list[str]: ...


S = TypeVar("S", bound=_Settings)


def _parse_into(kind: type[S], program: Program, argv: Sequence[str]) -> S:
    values = parse(program, argv, with_model_dir if "model_dir" in {flag.name for flag in program.flags} else None)
    if any(values[name] is None for name in program.required):
        values.check()  # settings cannot be made without
    settings = values.make(kind)
    values.check(settings.problems())
    return settings


def _batch_problems(values: Values) -> list[str]:
    total, micro_batches, replicas = (
        values["train_batch_size"],
        values["gradient_accumulation_steps"],
        number_of_replicas(values),
    )
    if min(total, micro_batches) < 1 or total % (replicas * micro_batches) == 0:
        return []
    return [
        f"--train_batch_size={total} sequences cannot be divided over {counted(replicas, 'replica')} x "
        f"{counted(micro_batches, 'micro-batch', 'es')} a step: give a multiple of {replicas * micro_batches}"
    ]


def _part(total: int, parts: int) -> int:
    """`total` over `parts`, rounded up. A number that is out of bounds is reported as it was given, so this is not."""
    return max(1, -(-total // max(1, parts)))


def _settings(values: Values, data: PretrainingData) -> PretrainingSettings:
    replicas, micro_batches = number_of_replicas(values), values["gradient_accumulation_steps"]
    return values.make(
        PretrainingSettings,
        data=data,
        model=values.make(ModelSettings),
        train=values.make(
            PretrainingTrainSettings,
            per_replica_batch_size=_part(values["train_batch_size"], replicas * micro_batches),
        ),
        speed=values.make(SpeedSettings, pack_sequences=False),
        # What is evaluated does not depend on how it is distributed: rounded up, any number of replicas will do.
        per_replica_eval_batch_size=_part(values["eval_batch_size"], replicas),
    )
