"""GLUE as its leaderboard has it: the tasks in their order, the figures that count, the files of a submission.

No flags, no TensorFlow.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from albert.tasks.base import Task
from albert.tasks.registry import get_task
from albert.tasks.text import TextTask


@dataclasses.dataclass(frozen=True)
class Ranked:
    """One task that is trained. `metrics` are averaged where there are two.

    `evaluated` are tasks that the same model is evaluated on or predicts, besides its own: their names here.
    """

    name: str
    metrics: tuple[str, ...]
    evaluated: tuple[str, ...] = ()
    in_average: bool = True


# The names as the files of the leaderboard have them. WNLI's dev set is its training set with the labels turned round,
# which is why papers leave it out of averages.
GLUE = (
    Ranked("CoLA", ("matthew_corr",)),
    Ranked("SST-2", ("eval_accuracy",)),
    Ranked("MRPC", ("f1", "eval_accuracy")),
    Ranked("STS-B", ("pearson", "spearman")),
    Ranked("QQP", ("f1", "eval_accuracy")),
    Ranked("MNLI", ("eval_accuracy",), evaluated=("misMNLI", "AX")),
    Ranked("QNLI", ("eval_accuracy",)),
    Ranked("RTE", ("eval_accuracy",)),
    Ranked("WNLI", ("eval_accuracy",), in_average=False),
)
# Tasks whose authors start from a model that was trained on MNLI.
HELPED_BY_MNLI = ("RTE", "MRPC", "STS-B")
MNLI = "MNLI"
_BY_TASK: Mapping[str, Ranked] = {get_task(ranked.name).name: ranked for ranked in GLUE}


def ranked_of(task: Task) -> Ranked | None:
    """The row of a task of GLUE that is trained; None for other tasks."""
    return _BY_TASK.get(task.name)


def submission_tasks() -> tuple[TextTask, ...]:
    """Every task that a submission has a file of."""
    names = [name for ranked in GLUE for name in (ranked.name, *ranked.evaluated)]
    return tuple(task for task in map(get_task, names) if isinstance(task, TextTask))


def score_of(metrics: Sequence[str], best: Mapping[str, float]) -> float:
    """The figure that counts, of the metrics of a checkpoint: the mean of those that are reported."""
    return sum(best[name] for name in metrics) / len(metrics)
