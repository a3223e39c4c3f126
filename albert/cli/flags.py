"""How a command line becomes a task and settings. No TensorFlow: `--help` answers at once.

Flags are absl's, as the predecessor's were: `--flag=value`, `--flag value`, `--flag` and `--noflag` for booleans.
Unlike there, an unknown flag stops the program: each program knows its own flags only.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from absl import flags

from albert.cli.flag_tables import CLASSIFIER, RACE, SQUAD_OPTIONS, SQUAD_PROGRAMS, Program
from albert.errors import UserError
from albert.settings import DataSettings, ModelSettings, Settings, SpeedSettings, TrainSettings
from albert.tasks.race import RaceTask
from albert.tasks.squad.task import SquadTask


class HelpRequested(Exception):
    """`--help` was given; carries the text to print."""


def parse_classifier_flags(argv: Sequence[str]) -> Settings:
    """Settings from `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for unknown or ill-formed flags and for everything that
    is missing or that `Settings.problems` finds, together.
    """
    values = parse(CLASSIFIER, argv)
    settings = _settings(CLASSIFIER, values, values.task_name)
    raise_for(missing(CLASSIFIER, values) + settings.problems())
    return settings


def parse_squad_flags(argv: Sequence[str], version: Literal["1.1", "2.0"]) -> tuple[SquadTask, Settings]:
    """SQuAD of one version, and settings; raises as `parse_classifier_flags`.

    To predict is to evaluate, and the other way round: one file serves both.
    """
    program = SQUAD_PROGRAMS[version]
    values = parse(program, argv)
    train_file, predict_file = (path_of(values, name) for name in ("train_file", "predict_file"))
    task = SquadTask(
        version=version,
        train_file=train_file and str(train_file),
        predict_file=predict_file and str(predict_file),
        **{name: values[name].value for name in SQUAD_OPTIONS if name in values},
    )
    answers = values.do_eval or values.do_predict
    settings = dataclasses.replace(_settings(program, values, task.name), do_eval=answers, do_predict=answers)
    problems = missing(program, values) + settings.problems() + task.problems(settings.data)
    if settings.do_train and not train_file:
        problems.append("--do_train needs --train_file, in SQuAD's JSON format")
    if answers and not predict_file:
        problems.append("--do_predict needs --predict_file, in SQuAD's JSON format")
    raise_for(problems)
    return task, settings


def parse_race_flags(argv: Sequence[str]) -> tuple[RaceTask, Settings]:
    """RACE, and settings; raises as `parse_classifier_flags`."""
    values = parse(RACE, argv)
    settings = _settings(RACE, values, RaceTask.name)
    problems = missing(RACE, values) + settings.problems()
    if values.task_name.lower() != RaceTask.name:
        problems.append(
            f"--task_name={values.task_name} is not {RaceTask.name}, the only task of this program; "
            f"albert.{CLASSIFIER.module} has those of GLUE"
        )
    task = None
    try:
        task = RaceTask(
            max_qa_length=values.max_qa_length,
            high_only=values.high_only,
            middle_only=values.middle_only,
            dropout_prob=values.dropout_prob,
        )
    except UserError as error:
        problems.append(str(error).rstrip("."))
    raise_for(problems)
    assert task, "a task that cannot be made is a problem"
    return task, settings


def parse(program: Program, argv: Sequence[str]) -> flags.FlagValues:
    """The values of `program`'s flags in `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for unknown or ill-formed flags.
    """
    values = program.define()
    try:
        rest = values(list(argv))[1:]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from error
    if values.help:
        raise HelpRequested(f"usage: python3 -m albert.{program.module} --flag=value ...\n{values.get_help()}")
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}: everything is given as --flag=value")
    return values


def missing(program: Program, values: flags.FlagValues) -> list[str]:
    """One phrase naming the required flags that have no value; [] if there is none."""
    names = [f"--{name}" for name in program.required if not values[name].value]
    return [f"{', '.join(names)} must be given (--help lists all flags)"] if names else []


def raise_for(problems: Sequence[str]) -> None:
    """Raises UserError telling all `problems`, if there are any."""
    if problems:
        raise UserError("; ".join(problems))


def path_of(values: flags.FlagValues, name: str) -> Path | None:
    """The path in flag `name`, ~ expanded; None where the flag is empty, or not one of the program's."""
    given = values[name].value if name in values else None
    return Path(given).expanduser() if given else None


def profile_steps_of(given: Sequence[str] | None) -> tuple[int, int] | None:
    """The two steps of --profile_steps. Raises UserError where they are not two numbers."""
    if not given:
        return None
    try:
        first, last = map(int, given)
    except ValueError:
        raise UserError(f"--profile_steps={','.join(given)} must be two step numbers, as 10,20") from None
    return first, last


def _duration(values: flags.FlagValues) -> dict[str, Any]:
    if "num_train_epochs" in values:
        return {
            "train_steps": None,
            "warmup_steps": 0,
            "num_train_epochs": values.num_train_epochs,
            "warmup_proportion": values.warmup_proportion,
        }
    return {"train_steps": values.train_step, "warmup_steps": values.warmup_step}


def _data_settings(program: Program, values: flags.FlagValues, task_name: str) -> DataSettings:
    feature_files = {split: path_of(values, flag) for split, flag in program.feature_files.items()}
    return DataSettings(
        task_name=task_name,
        data_dir=path_of(values, "data_dir"),
        cached_dir=path_of(values, "cached_dir") or Path("cached_albert_tfrecord"),
        max_seq_length=values.max_seq_length,
        spm_model_file=path_of(values, "spm_model_file"),
        vocab_file=path_of(values, "vocab_file"),
        do_lower_case=values.do_lower_case,
        feature_files={split: path for split, path in feature_files.items() if path},
        left_file=path_of(values, "predict_feature_left_file"),
    )


def train_fields(values: flags.FlagValues) -> dict[str, Any]:
    """The fields of `TrainSettings` that have flags of the same meaning in every program that trains."""
    names = ("learning_rate", "optimizer", "gradient_accumulation_steps", "seed", "save_checkpoints_steps")
    names += ("keep_checkpoint_max", "log_steps", "skip_nonfinite_steps")
    return {name: values[name].value for name in names}


def speed_settings(values: flags.FlagValues, pack_sequences: bool) -> SpeedSettings:
    """How a program that trains computes."""
    return SpeedSettings(
        pack_sequences=pack_sequences,
        use_xla=values.use_xla,
        recompute_activations=values.recompute_activations,
        profile_steps=profile_steps_of(values.profile_steps),
    )


def run_fields(values: flags.FlagValues) -> dict[str, Any]:
    """The fields of `Settings` that have flags of the same meaning in every program that trains."""
    names = ("do_train", "do_eval", "strategy_type", "device", "overwrite_output_dir")
    given = {name: values[name].value for name in names}
    return {**given, "num_replicas": values.num_gpu_cores, "output_dir": path_of(values, "output_dir")}


def _settings(program: Program, values: flags.FlagValues, task_name: str) -> Settings:
    return Settings(
        data=_data_settings(program, values, task_name),
        model=ModelSettings(
            albert_config_file=path_of(values, "albert_config_file"),
            init_checkpoint=path_of(values, "init_checkpoint"),
            albert_dropout_prob=values.albert_dropout_prob,
            discard_classifier_weights=values.discard_classifier_weights,
            dtype=values.dtype,
        ),
        train=TrainSettings(
            **_duration(values), **train_fields(values), per_replica_batch_size=values.train_batch_size
        ),
        speed=speed_settings(values, values.pack_sequences),
        do_predict=values.do_predict,
        per_replica_eval_batch_size=values.eval_batch_size,
        per_replica_predict_batch_size=values.predict_batch_size,
        **run_fields(values),
    )
