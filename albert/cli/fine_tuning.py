"""The command lines of the fine-tuning programs: which flags each has, and the task and settings they become.

No TensorFlow. Names and defaults of flags are the predecessor's.
"""

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from albert.albert_config import AlbertConfig
from albert.cli.flags import Flag, Program, Values, declared, parse
from albert.cli.model_dir import MODEL_DIR, with_model_dir
from albert.cli.own_data import folder_of_model, is_own_data, own_data_of, with_epochs, without_task
from albert.cli.replicas import number_of_replicas
from albert.errors import UserError
from albert.runs.output_dir import recorded_training
from albert.serving.description import read_description
from albert.settings import (
    DataSettings,
    ModelSettings,
    ObjectiveSettings,
    Settings,
    SpeedSettings,
    TrainSettings,
)
from albert.settings.fields import OUTPUT, TRAINING
from albert.system.printing import counted
from albert.tasks.base import Task
from albert.tasks.objective import objective_problems
from albert.tasks.own.settings import OwnDataSettings, for_people
from albert.tasks.own.task import OwnDataTask
from albert.tasks.race import RaceTask, options_in
from albert.tasks.recipes import Recipe, earlier_recipes, model_size_of, recipe_for
from albert.tasks.registry import get_task, task_names
from albert.tasks.squad.task import SquadTask

# --- The flags -------------------------------------------------------------------------------------------------------

# Training lasts a number of steps in one program, a number of epochs in others, either in the classifier.
_STEPS = ("train_steps", "warmup_steps")
_EPOCHS = ("num_train_epochs", "warmup_proportion")
# What a recipe says of evaluation and prediction, too.
_NOT_OF_TRAINING = ("max_seq_length",)
_STEPS_OR_EPOCHS = (("train_step", "num_train_epochs"), ("warmup_step", "warmup_proportion"))  # flags


_RECIPE = Flag(
    "recipe",
    bool,
    False,
    "Take learning rate, steps, warm-up, batch, dropout, length of rows and save interval from the task's recipe "
    "(albert/tasks/recipes.py); a flag that is given wins. The recipe's batch is that of all replicas.",
    TRAINING,
)


def _shared(data: tuple[str, ...], without: tuple[str, ...] = ()) -> tuple[Flag, ...]:
    """The flags of every fine-tuning program; of DataSettings the fields `data`, of TrainSettings not `without`."""
    return (
        *declared(Settings),
        *declared(DataSettings, *data),
        MODEL_DIR,
        *declared(ModelSettings),
        _RECIPE,
        *declared(TrainSettings, without=without),
        *declared(SpeedSettings),
    )


SHARED_DATA = (
    *("data_dir", "cached_dir", "spm_model_file", "vocab_file", "do_lower_case", "max_unknown_share"),
    *("keep_accents", "max_seq_length"),
)

# Caches under names of the user's choice: a program's `feature_files` say which split each holds.
_TRAIN_FEATURES = Flag(
    "train_feature_file",
    Path,
    None,
    "TFRecord cache of the training data, written if missing; without, one in `cached_dir`.",
    OUTPUT,
)
_SQUAD_FEATURES = (
    _TRAIN_FEATURES,
    Flag(
        "predict_feature_file", Path, None, "TFRecord cache of the questions to answer, as train_feature_file.", OUTPUT
    ),
)
_RACE_FEATURES = (
    _TRAIN_FEATURES,
    Flag("eval_feature_file", Path, None, "TFRecord cache of the dev set, as train_feature_file.", OUTPUT),
    Flag("predict_file", Path, None, "TFRecord cache of the test set, as train_feature_file.", OUTPUT),
)

# What a question without an answer needs, which SQuAD 1.1 does not have.
_UNANSWERABLE = ("start_n_top", "end_n_top", "dropout_prob", "null_score_diff_threshold", "original_thresholds")

# --- The programs ----------------------------------------------------------------------------------------------------

_MODEL_EXAMPLE = ("--model_dir=pretrained_model/albert_base_v2",)
_WITH_MODEL = {"albert_config_file": "--model_dir names the folder of a model"}
_WITH_OWN_DATA = dict.fromkeys(
    ("data_dir", "task_name"), "--train_file, --validation_file or --test_file names own data"
)

CLASSIFIER = Program(
    "run_multigpus_classifier",
    "Fine-tunes ALBERT on a GLUE task, or on own texts with labels, over any number of GPUs.",
    (*_shared(("task_name", *SHARED_DATA)), *declared(OwnDataSettings), *declared(ObjectiveSettings)),
    required=("data_dir", "task_name", "output_dir", "albert_config_file"),
    unless={**_WITH_OWN_DATA, **_WITH_MODEL},
    example=(
        "--task_name=MRPC --data_dir=glue_data --output_dir=albert_output/mrpc",
        *_MODEL_EXAMPLE,
        "--do_train --do_eval --do_predict --max_seq_length=128",
        "--train_step=800 --warmup_step=200 --learning_rate=2e-5 --save_checkpoints_steps=100",
    ),
    changes={
        "task_name": {"text": "Task, for example MRPC; not with own data."},
        "data_dir": {"text": "Folder with one sub-folder per GLUE task (CoLA, MRPC, ...); not with own data."},
        "num_train_epochs": {"text": "How often training sees every example, in place of --train_step; rounded up."},
        "warmup_proportion": {"text": "Part of the steps that is linear warm-up, in place of --warmup_step."},
    },
    notes=f"Tasks (--task_name): {', '.join(task_names())}. "
    "Own data: --train_file, --validation_file or --test_file in place of --task_name and --data_dir.",
)


def _squad_program(version: str, without: tuple[str, ...] = ()) -> Program:
    return Program(
        f"run_multigpus_squad_v{version[0]}",
        f"Fine-tunes ALBERT on SQuAD {version} over any number of GPUs.",
        (*_shared((*SHARED_DATA, "left_file"), _STEPS), *_SQUAD_FEATURES, *declared(SquadTask, without=without)),
        required=("data_dir", "output_dir", "albert_config_file"),
        unless=_WITH_MODEL,
        example=(
            f"--train_file=SQuAD/train-v{version}.json --predict_file=SQuAD/dev-v{version}.json",
            "--output_dir=albert_output/squad",
            *_MODEL_EXAMPLE,
            "--do_train --do_predict --num_train_epochs=2",
        ),
        changes={
            "data_dir": {
                "default": Path(),
                "text": "Folder that --train_file and --predict_file count from, where these are relative.",
            },
            "max_seq_length": {
                "default": 384,
                "text": "Longest row in tokens; longer contexts are cut into windows that overlap.",
            },
            "train_batch_size": {"text": "Windows of contexts per replica and micro-batch."},
            "do_eval": {"text": "The same as `do_predict`."},
            "do_predict": {
                "text": "Answer the questions in `predict_file`; with gold answers, evaluate checkpoints and keep the "
                "best."
            },
            "num_train_epochs": {"default": 3.0},
            "warmup_proportion": {"default": 0.1},
        },
        feature_files={"train": "train_feature_file", "dev": "predict_feature_file"},
    )


SQUAD_PROGRAMS = {"1.1": _squad_program("1.1", without=_UNANSWERABLE), "2.0": _squad_program("2.0")}

RACE = Program(
    "run_multigpus_race",
    "Fine-tunes ALBERT on RACE over any number of GPUs.",
    (*_shared(("task_name", *SHARED_DATA), _EPOCHS), *declared(RaceTask), *_RACE_FEATURES),
    required=("data_dir", "output_dir", "albert_config_file"),
    unless=_WITH_MODEL,
    example=("--data_dir=. --output_dir=albert_output/race", *_MODEL_EXAMPLE, "--do_predict"),
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

# --- What they become ------------------------------------------------------------------------------------------------


def parse_classifier_flags(argv: Sequence[str], task: Task | None = None) -> tuple[Task, Settings]:
    """The task and settings from `argv`, whose first element is the program's name.

    `task` is one that a caller in Python has made, and its name the `task_name`.

    Raises HelpRequested for --help, and UserError for unknown or ill-formed flags and for everything that is missing
    or beyond its bounds, together.
    """
    values = parse(CLASSIFIER, argv, lambda values: without_task(with_model_dir(values)))
    if is_own_data(values):
        return _own_data(values)
    if values["task_name"] and task is None:
        try:
            task = get_task(values["task_name"])
        except UserError as error:
            values = values.with_problem(error)
    if task:
        values = _with_recipe(values, task.name)
    values = _steps_or_epochs(values)
    settings = _settings(values)
    problems = settings.problems()
    if task:
        problems += objective_problems(task, settings.objective)
    values.check(problems)
    assert task, "without a task there is a problem"
    return task, settings


def _own_data(values: Values) -> tuple[Task, Settings]:
    """The task made of the files that `values` name, and settings. The files are read when everything else is right."""
    values = with_epochs(_steps_or_epochs(_with_recipe(values, OwnDataTask.name)))
    settings = _settings(values)
    values.check(settings.problems())
    task = own_data_of(values)
    values.check(objective_problems(task, settings.objective))
    if "train" in task.parts:
        settings = _settings(_with_smaller_batch(values, task.parts["train"].num_examples))
    return task, settings


def _with_smaller_batch(values: Values, num_examples: int) -> Values:
    """The values with a batch that so few examples fill, where a batch that nobody asked for has more."""
    if "train_batch_size" in values.given or not values["do_train"]:
        return values
    replicas, micro_batches = number_of_replicas(values), values["gradient_accumulation_steps"]
    batch, smaller = values["train_batch_size"], num_examples // (replicas * micro_batches)
    if not 0 < smaller < batch:
        return values  # what no smaller batch helps is an error when training begins
    logging.info(
        "%s a step instead of %d: there are only %d to train on.",
        counted(smaller * replicas * micro_batches, "example"), batch * replicas * micro_batches, num_examples,
    )  # fmt: skip
    return values.replace(train_batch_size=smaller)


def parse_squad_flags(argv: Sequence[str], version: Literal["1.1", "2.0"]) -> tuple[SquadTask, Settings]:
    """SQuAD of one version, and settings; raises as `parse_classifier_flags`.

    To predict is to evaluate, and the other way round: one file serves both.
    """
    values = _with_recipe(parse(SQUAD_PROGRAMS[version], argv, with_model_dir), f"squad{version}")
    task = values.make(SquadTask, version=version)
    answers = values["do_eval"] or values["do_predict"]
    settings = _settings(
        values.replace(do_eval=answers, do_predict=answers), task_name=task.name, train_steps=None, warmup_steps=0
    )
    problems = settings.problems() + task.problems(settings.data)
    if settings.do_train and not task.train_file:
        problems.append("--do_train needs --train_file, in SQuAD's JSON format")
    if answers and not task.predict_file:
        problems.append("--do_predict needs --predict_file, in SQuAD's JSON format")
    values.check(problems)
    return dataclasses.replace(task, known_threshold=_threshold_of_model(values)), settings


def _threshold_of_model(values: Values) -> float | None:
    """The `null_score_diff_threshold` that was tuned for a model which only answers; None where it has none."""
    folder = None if values["do_train"] else folder_of_model(values)
    try:
        description = read_description(folder) if folder else None
    except UserError:  # of a file that is needed for nothing else
        return None
    return description.options.get("null_score_diff_threshold") if description else None


def parse_race_flags(argv: Sequence[str]) -> tuple[RaceTask, Settings]:
    """RACE, and settings; raises as `parse_classifier_flags`."""
    values = _with_recipe(parse(RACE, argv, with_model_dir), RaceTask.name)
    settings = _settings(values.replace(task_name=RaceTask.name))
    problems = settings.problems()
    if values["task_name"].lower() != RaceTask.name:
        problems.append(
            f"--task_name={values['task_name']} is not {RaceTask.name}, the only task of this program; "
            f"albert.{CLASSIFIER.module} has those of GLUE"
        )
    task = None
    try:
        task = values.make(RaceTask, num_options=options_in(values["data_dir"] or Path()))
    except UserError as error:
        problems += error.problems or [str(error)]
    values.check(problems)
    assert task, "a task that cannot be made is a problem"
    return task, settings


def _steps_or_epochs(values: Values) -> Values:
    """The values with what is given in epochs in place of steps; a problem where both are given."""
    for steps, in_epochs in _STEPS_OR_EPOCHS:
        if {steps, in_epochs} <= values.given:
            values = values.with_problem(UserError(f"--{steps} and --{in_epochs} exclude each other: give one"))
    if "num_train_epochs" in values.given:
        values = values.replace(train_step=None)
    return values.replace(warmup_step=0) if "warmup_proportion" in values.given else values


def _with_recipe(values: Values, task_name: str) -> Values:
    """With --recipe, the values of flags that were not given are those of the task's recipe; logs which."""
    config_file = values["albert_config_file"]
    if not values["recipe"] or config_file is None:
        return values
    try:
        size = model_size_of(AlbertConfig.from_json_file(config_file).hidden_size)
        recipe = _as_begun(recipe_for(task_name, size), task_name, values)
    except UserError as error:
        return values.with_problem(error)
    settings = dataclasses.asdict(recipe) | _warm_up_of_few_steps(recipe, values)
    if {"num_train_epochs", "warmup_proportion"} & values.given:
        settings |= _recipe_in_epochs(recipe, values)
    for steps, in_epochs in _STEPS_OR_EPOCHS:
        if steps in values.given:
            settings[in_epochs] = None
    if "train_batch_size" not in values.given:
        replicas = number_of_replicas(values)
        is_given = "gradient_accumulation_steps" in values.given
        batch = recipe.batch_on(replicas, max(1, values["gradient_accumulation_steps"]) if is_given else None)
        settings["per_replica_batch_size"], settings["gradient_accumulation_steps"] = batch
        examples, wanted = math.prod(batch) * replicas, recipe.global_batch_size
        if examples != wanted and values["do_train"]:
            logging.warning(
                "%s a step: the recipe's %d cannot be divided over the replicas.", counted(examples, "example"), wanted
            )
    chosen = values.defaults_from(settings)
    told = chosen if values["do_train"] else {name: chosen[name] for name in _NOT_OF_TRAINING if name in chosen}
    shown = " ".join(f"--{flag}={value}" for flag, value in told.items())
    if shown or values["do_train"]:
        size_of_model = size or "another"
        of = for_people(task_name)
        logging.info("From the recipe of %s for a model of %s size: %s", of, size_of_model, shown or "nothing")
    return values.replace(**chosen)


def _as_begun(recipe: Recipe, task_name: str, values: Values) -> Recipe:
    """The earlier recipe of the task that the run in `output_dir` began with, if it did; otherwise `recipe`.

    It is told by warm-up and batch: a flag that sets one of them was given to the run, too.
    """
    if values["output_dir"] is None or values["overwrite_output_dir"]:
        return recipe
    recorded = recorded_training(values["output_dir"])
    for earlier in earlier_recipes(task_name):
        is_its_batch = "train_batch_size" in values.given or (
            recorded.get("global_batch_size") == earlier.global_batch_size
        )
        if is_its_batch and recorded.get("warmup_steps") == earlier.warmup_steps:
            return earlier
    return recipe


def _warm_up_of_few_steps(recipe: Recipe, values: Values) -> dict[str, int]:
    """Where fewer steps are given than the recipe's warm-up has: the same share of them."""
    steps = values["train_step"] if "train_step" in values.given else None
    if not (steps and recipe.train_steps and recipe.warmup_steps) or steps >= recipe.warmup_steps:
        return {}
    return {"warmup_steps": steps * recipe.warmup_steps // recipe.train_steps}


def _recipe_in_epochs(recipe: Recipe, values: Values) -> dict[str, float | None]:
    """What a recipe of steps sets where epochs or a share of warm-up are given: the share of its warm-up, if any."""
    in_epochs: dict[str, float | None] = {"warmup_steps": None}
    if "num_train_epochs" in values.given:
        in_epochs["train_steps"] = None
        if recipe.train_steps and recipe.warmup_steps and "warmup_step" not in values.given:
            in_epochs["warmup_proportion"] = round(recipe.warmup_steps / recipe.train_steps, 4)
    return in_epochs


def _settings(values: Values, **others: Any) -> Settings:
    """The settings of a fine-tuning program; `others` are fields of data and training that have no flag in it."""
    data_fields = {"task_name"} & others.keys()
    files = {split: values[flag] for split, flag in values.program.feature_files.items()}
    data = values.make(
        DataSettings,
        feature_files={split: path for split, path in files.items() if path},
        **{name: others[name] for name in data_fields},
    )
    train = values.make(TrainSettings, **{name: value for name, value in others.items() if name not in data_fields})
    return values.make(
        Settings,
        data=data,
        model=values.make(ModelSettings),
        train=train,
        speed=values.make(SpeedSettings),
        objective=values.make(ObjectiveSettings),
    )
