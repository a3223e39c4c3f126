"""The registry of fine-tuning tasks: the one place where a task is found by its name."""

from albert.errors import UserError
from albert.tasks import glue
from albert.tasks.base import Task

_TASKS: dict[str, Task] = {task.name: task for task in glue.TASKS}

# Names in use elsewhere for the same tasks.
_OTHER_NAMES = {"mnli-mm": "mismnli", "diagnostic": "ax"}
# What other programs call tags of words, which are own data here.
_TAGS = ("ner", "pos", "chunk", "conll2003", "token_classification")


def task_names() -> tuple[str, ...]:
    """Every task's own name, in the order of the table."""
    return tuple(_TASKS)


def get_task(name: str) -> Task:
    """The task called `name`, in capitals or not, with or without its hyphen ("STS-B", "stsb").

    Raises UserError listing the tasks where there is none.
    """
    wanted = _spelling(name)
    names = {_spelling(known): known for known in _TASKS} | {_spelling(k): v for k, v in _OTHER_NAMES.items()}
    if wanted in map(_spelling, _TAGS):
        raise UserError(
            f"`task_name`={name}: words with tags are own data. Name a CoNLL file, or one of JSON with lists, with "
            "`train_file`."
        )
    if wanted not in names:
        raise UserError(f"`task_name`={name} is not a task. Choose one of: {', '.join(_TASKS)}.")
    return _TASKS[names[wanted]]


def _spelling(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
