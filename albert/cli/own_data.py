"""Own data in place of a task of GLUE: `--train_file`, `--validation_file`, `--test_file`. No TensorFlow."""

import contextlib
import contextvars
import dataclasses
import logging
from collections.abc import Collection, Hashable, Iterator, Sequence
from pathlib import Path

from albert.cli.flags import Values
from albert.data.source_files import FileState
from albert.errors import UserError
from albert.serving import hugging_face
from albert.serving.description import DESCRIPTION, read_description
from albert.serving.model_files import HUGGING_FACE_CONFIG
from albert.tasks.base import Labels, MultiLabels, Score, Split, Tags
from albert.tasks.own.build import Known, own_data_task
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.own.task import OwnDataTask
from albert.tasks.tags.build import is_of_tags, tags_task
from albert.tasks.tags.task import TagsTask

_DEFAULT_EPOCHS = 3.0
_FILES = ("train_file", "validation_file", "test_file")
# What is used with what alone.
_USED_WITH = {
    "do_eval": ("validation_file", "validation_split", "max_eval_samples"),
    "do_predict": ("test_file", "max_predict_samples"),
}
_OWN_FLAGS = {field.name for field in dataclasses.fields(OwnDataSettings)}
# The tasks that were made, by all that they are made of, while `sharing_tasks` is active.
_made: contextvars.ContextVar[dict[Hashable, OwnDataTask | TagsTask] | None] = contextvars.ContextVar(
    "_made", default=None
)


@contextlib.contextmanager
def sharing_tasks() -> Iterator[None]:
    """While active, files that are named alike, and that nobody has changed, are looked at once.

    For a sweep, whose settings differ in how is trained: each would read a million rows before the first run begins.
    """
    before = _made.set({})
    try:
        yield
    finally:
        _made.reset(before)


def is_own_data(values: Values) -> bool:
    """Whether the command line names a file of own data."""
    return any(values[name] for name in _FILES)


def without_task(values: Values) -> Values:
    """With own data, the flags that it takes the place of filled in; a problem where they are given too.

    Without, a problem for each flag that own data alone has.
    """
    if not is_own_data(values):
        others = [flag.name for flag in values.program.flags if flag.name in values.given and flag.name in _OWN_FLAGS]
        for name in others:
            problem = "is empty: name a file" if name in _FILES else "is for own data: give --train_file too"
            values = values.with_problem(UserError(f"--{name} {problem}"))
        return values
    values = without_idle_split(values)
    both = [f"--{name}" for name in ("task_name", "data_dir") if name in values.given and values[name] is not None]
    if both:
        named = next(name for name in _FILES if values[name])
        values = values.with_problem(UserError(f"--{named} takes the place of {' and '.join(both)}: leave these out"))
    return values.replace(task_name=OwnDataTask.name, data_dir=Path())


def without_idle_split(values: Values) -> Values:
    """With a problem where rows are to be held out that nothing would use."""
    if values["validation_file"] and "validation_split" in values.given:
        return values.with_problem(
            UserError("--validation_file and --validation_split exclude each other: nothing is held out; give one")
        )
    return values


def with_epochs(values: Values) -> Values:
    """Training lasts a number of epochs, three where none is given, unless steps are given."""
    if "train_step" in values.given:
        return values
    epochs = values["num_train_epochs"]
    return values.replace(num_train_epochs=_DEFAULT_EPOCHS if epochs is None else epochs, train_step=None)


def own_data_of(values: Values) -> OwnDataTask | TagsTask:
    """The task of the files that are named; warns of what is named and not used.

    Raises UserError for what cannot be used in the files.
    """
    for needed, names in _USED_WITH.items():
        idle = [f"`{name}`" for name in names if name in values.given and values[name] is not None]
        if idle and not values[needed]:
            logging.warning("Without `%s`, no effect of %s.", needed, " and ".join(idle))
    wanted: dict[Split, bool] = {"train": values["do_train"], "dev": values["do_eval"], "test": values["do_predict"]}
    splits = [split for split, is_wanted in wanted.items() if is_wanted]
    is_read = values["do_train"] and not values["discard_classifier_weights"]
    order = classes_of(values["init_checkpoint"]) if is_read else ()
    return task_of_files(values.make(OwnDataSettings), values["seed"], splits, _known(values), order)


def task_of_files(
    settings: OwnDataSettings, seed: int, splits: Collection[Split], known: Known | None, order: Sequence[str]
) -> OwnDataTask | TagsTask:
    """The task of texts with labels, or of texts whose words have tags; see `own_data_task`."""
    made, states = _made.get(), _states(settings)
    key = (settings, seed, tuple(splits), known, tuple(order), states)
    if made and key in made:
        return made[key]
    make = tags_task if is_of_tags(settings, known) else own_data_task
    task = make(settings, seed, splits, known, order)
    if made is not None and None not in states:
        made[key] = task
    return task


def _states(settings: OwnDataSettings) -> tuple[FileState | None, ...]:
    """Of the files that are named, before they are read; None of one that cannot be."""
    found: list[FileState | None] = []
    for path in (settings.train_file, settings.validation_file, settings.test_file):
        try:
            found += [FileState.of(path)] if path else []
        except OSError:  # told where it is read
            found.append(None)
    return tuple(found)


def folder_of_model(values: Values) -> Path | None:
    """Where the model is that is trained on, or that predicts without training; None for a new one."""
    folder: Path = values["output_dir"]
    # Before its first checkpoint a run may have said other labels: it begins again with what is given now.
    if values["overwrite_output_dir"] or not next(folder.glob("model.ckpt-*.index"), None):
        checkpoint = values["init_checkpoint"]
        return None if values["do_train"] or checkpoint is None else _folder_of(checkpoint)
    return folder


def _known(values: Values) -> Known | None:
    """What that model predicts."""
    assert values["output_dir"], "it must be given"
    folder = folder_of_model(values)
    description = read_description(folder) if folder else None
    if values["do_train"] and description and description.task_name != OwnDataTask.name:
        return None  # a run of another task, which is refused as such when its folder is claimed
    return known_in(folder)


def known_in(folder: Path | None) -> Known | None:
    """What the model in `folder` predicts of texts; None where it does not, or there is none."""
    description = read_description(folder) if folder else None
    if description is None or not isinstance(description.output, Labels | MultiLabels | Score | Tags):
        return None
    assert folder, "a description is in a folder"
    return Known(description.output, description.text_columns, folder / DESCRIPTION)


def classes_of(checkpoint: Path | None) -> tuple[str, ...]:
    """The classes, in their order, of Hugging Face's classifier at `checkpoint`; () where there is none."""
    config = _folder_of(checkpoint) / HUGGING_FACE_CONFIG if checkpoint else None
    description = hugging_face.describe(config) if config and config.is_file() else None
    return (
        description.output.names if description and isinstance(description.output, Labels | MultiLabels | Tags) else ()
    )


def _folder_of(checkpoint: Path) -> Path:
    return checkpoint if checkpoint.is_dir() else checkpoint.parent
