"""The command line of `create_finetuning_data`: any task of the fine-tuning programs. No TensorFlow."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from albert.cli.fine_tuning import SHARED_DATA
from albert.cli.flags import Program, Values, declared, parse
from albert.cli.model_dir import VOCABULARY_DIR, with_model_dir
from albert.cli.own_data import classes_of, known_in, task_of_files, without_idle_split
from albert.cli.task_names import SQUAD_TASKS, is_race, squad_version
from albert.errors import UserError
from albert.settings import DataSettings, TrainSettings
from albert.tasks.base import Split, Task
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.race import RaceTask, options_in
from albert.tasks.registry import get_task, task_names
from albert.tasks.squad.task import SquadTask

# What decides the records, of what the programs that train may set.
_SQUAD_WINDOWS = declared(SquadTask, "doc_stride", "max_query_length")
_RACE_SEQUENCES = declared(RaceTask, without=("dropout_prob",))

CREATE_FINETUNING_DATA = Program(
    "create_finetuning_data",
    "Makes the caches of a task ahead of training, and shows what is in the data; needs no GPU.",
    (
        *declared(DataSettings, "task_name", *SHARED_DATA),
        *declared(OwnDataSettings),
        *declared(SquadTask, "predict_file"),
        *_SQUAD_WINDOWS,
        *_RACE_SEQUENCES,
        *declared(TrainSettings, "seed"),
        VOCABULARY_DIR,
    ),
    required=(),
    example=("--task_name=MRPC --data_dir=glue_data --model_dir=pretrained_model/albert_base_v2 --max_seq_length=128",),
    changes={
        "task_name": {
            "default": None,
            "text": f"{', '.join(task_names())}, {', '.join(SQUAD_TASKS)} (their files: `train_file`, `predict_file`) "
            "or race; without it, own data in `train_file`, `validation_file` and `test_file`.",
        },
        "data_dir": {"default": Path(), "text": "Folder of the task's files, as in the program that trains."},
        "predict_file": {"text": "SQuAD: questions to answer, in SQuAD's JSON format."},
        "seed": {"text": "Decides which rows of own data are held out and drawn; the same as in training."},
    },
    if_stopped="the caches that were built stay, and none is incomplete",
    notes="Training on the same data, vocabulary and lengths then starts at once: its caches are found by what they "
    "depend on. Give the `max_seq_length` that training will have.",
)


def parse_feature_flags(argv: Sequence[str]) -> tuple[Task, DataSettings]:
    """The task and what is made of it, from `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for everything that is missing or does not go together, together.
    """
    values = without_idle_split(parse(CREATE_FINETUNING_DATA, argv, with_model_dir))
    task: Task | None = None
    idle: list[str] = []
    try:
        task = _task(values)
        idle = _without_effect(values, task)
    except UserError as error:  # what has no effect is not known then
        values = values.with_problem(error)
    settings = values.make(DataSettings, task_name=task.name if task else "")
    problems = settings.problems() + idle
    if isinstance(task, SquadTask):
        problems += task.problems(settings)
    values.check(problems)
    if task is None:  # own data: its files are read when everything else is right
        # Without rows to train on, the labels are those of the model, as in evaluating and predicting.
        known = None if values["train_file"] else known_in(values["model_dir"])
        order = classes_of(values["model_dir"])
        task = task_of_files(values.make(OwnDataSettings), values["seed"], _own_splits(values), known, order)
    return task, settings


def _task(values: Values) -> Task | None:
    """The task that is named; None for own data. Raises UserError where nothing is."""
    name = values["task_name"]
    if name is None:
        if not _own_splits(values):
            raise UserError("nothing to do: give `task_name`, or own data in `train_file`")
        return None
    if version := squad_version(name):
        if not (values["train_file"] or values["predict_file"]):
            raise UserError(f"`task_name`={name} needs `train_file` or `predict_file`, in SQuAD's JSON format")
        return values.make(SquadTask, version=version)
    if is_race(name):
        return values.make(RaceTask, num_options=options_in(values["data_dir"]))
    return get_task(name)


def _without_effect(values: Values, task: Task | None) -> list[str]:
    """One phrase for each flag that is given and belongs to another kind of task."""
    own = {field.name for field in dataclasses.fields(OwnDataSettings)}
    squad = {"train_file", "predict_file", *(flag.name for flag in _SQUAD_WINDOWS)}
    race = {flag.name for flag in _RACE_SEQUENCES}
    used = squad if isinstance(task, SquadTask) else race if isinstance(task, RaceTask) else set() if task else own
    idle = sorted(values.given & (own | squad | race) - used)
    return [f"--{flag} has no effect on {task.name if task else 'own data'}: leave it out" for flag in idle]


def _own_splits(values: Values) -> list[Split]:
    given: dict[Split, bool] = {
        "train": bool(values["train_file"]),
        "dev": bool(values["validation_file"] or values["train_file"]),
        "test": bool(values["test_file"]),
    }
    return [split for split, is_given in given.items() if is_given]
