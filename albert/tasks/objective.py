"""What training minimises and what selects the best checkpoint, where a user asks for other than the task's own.

The weights of classes and the smoothing of labels change the training loss alone. The loss on the dev split stays the
plain mean cross-entropy, so that runs with different weights can be compared, and evaluating needs no training data.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from albert.errors import UserError
from albert.settings import ObjectiveSettings
from albert.settings.fields import LARGE
from albert.system.homes import expanded
from albert.system.json_text import parse_json, short_repr
from albert.system.text_encoding import open_regular
from albert.tasks.base import Choice, Labels, MultiLabels, Score, Span, Tags, Task

_LOG = logging.getLogger(__name__)

_MAX_FILE_BYTES = 1 << 20
_SHOWN = 10
# What a task without labels of texts has.
_KINDS = {
    MultiLabels: "several labels",
    Score: "scores",
    Choice: "options to choose from",
    Span: "answers in a text",
}

NONE: Literal["none"] = "none"
BALANCED: Literal["balanced"] = "balanced"


@dataclasses.dataclass(frozen=True)
class LossChoice:
    """How the training loss differs from the mean cross-entropy.

    `class_weights` are "balanced", which the training data decide, or in the order of the labels; None: all 1.
    """

    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, task: Task, settings: ObjectiveSettings) -> "LossChoice":
        """What the settings ask for. Raises UserError where it does not fit the task, or the file holds no weights."""
        choice = settings.class_weights
        asked = [f"`class_weights`={choice}"] if choice != NONE else []
        if settings.label_smoothing_factor:
            asked.append(f"`label_smoothing_factor`={settings.label_smoothing_factor:g}")
        if asked and not isinstance(task.output, Labels | Tags):
            raise UserError(
                f"{' and '.join(asked)} {'works' if len(asked) == 1 else 'work'} with one label per text or word, not "
                f"with {_KINDS[type(task.output)]}: leave {'it' if len(asked) == 1 else 'them'} out."
            )
        weights: Literal["balanced"] | tuple[float, ...] | None = None
        if choice == BALANCED:
            weights = BALANCED
        elif choice != NONE and isinstance(task.output, Labels | Tags):
            weights = read_class_weights(expanded(choice, "`class_weights`"), task.output.names)
        return cls(weights, settings.label_smoothing_factor)

    def identity(self) -> dict[str, Any]:
        """What differs from the plain loss, for `run_settings.json`; nothing where nothing does.

        "balanced" stands for weights that follow from the training data, which have their own digest there.
        """
        return {field.name: value for field in dataclasses.fields(self) if (value := getattr(self, field.name))}

    def weights_for(self, names: Sequence[str], label_ids: np.ndarray) -> tuple[float, ...] | None:
        """The weight of each class for training examples of the classes `label_ids` [N]; logs them."""
        weights = balanced_weights(names, label_ids) if self.class_weights == BALANCED else self.class_weights
        if weights is None:
            return None
        shown = ", ".join(f"{name} {weight:.4g}" for name, weight in list(zip(names, weights, strict=True))[:_SHOWN])
        _LOG.info("Class weights in the training loss: %s%s.", shown, ", ..." if len(names) > _SHOWN else "")
        return weights


def balanced_weights(names: Sequence[str], label_ids: np.ndarray) -> tuple[float, ...]:
    """N / (C * N_c) for the N_c of the N examples `label_ids` [N] that are of class c: their mean over examples is 1.

    C counts the classes that occur. The others, which a warning names, have weight 0.
    """
    counts = np.bincount(label_ids, minlength=len(names))
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if missing:
        shown = f"label {_listed(missing)}" if len(missing) == 1 else f"one of the labels {_listed(missing)}"
        what = "it" if len(missing) == 1 else "them"
        _LOG.warning("No training example has %s: nothing is learnt of %s, whatever `class_weights` are.", shown, what)
    share = len(label_ids) / max(1, int(np.count_nonzero(counts)))
    return tuple(share / int(count) if count else 0.0 for count in counts)


def read_class_weights(path: Path, names: Sequence[str]) -> tuple[float, ...]:
    """The weights in the JSON file at `path`, {"label": weight, ...}, in the order of `names`.

    Raises UserError where the file is not of this form, lacks a label or has another, or a weight is not above 0.
    """
    hint = f'{NONE}, {BALANCED}, or a JSON file {{"label": weight, ...}} with the labels {_listed(names)}'
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ValueError(f"longer than {_MAX_FILE_BYTES} bytes")
        found = parse_json(data)
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
        unknown, missing = ([n for n in some if n not in others] for some, others in ((found, names), (names, found)))
        if unknown:
            raise ValueError(f"{_are(unknown)} unknown")
        if missing:
            raise ValueError(f"{_are(missing)} missing")
        for name, weight in found.items():
            if type(weight) not in (int, float) or not 0 < weight <= LARGE:
                raise ValueError(f"the weight of {short_repr(name)} is {short_repr(weight)}, not a number above 0")
    except OSError as error:
        raise UserError(f"`class_weights`={path} cannot be read ({error.strerror}); give {hint}.") from error
    except ValueError as error:
        raise UserError(f"`class_weights`={path}: {error}; give {hint}.") from None
    return tuple(float(found[name]) for name in names)


def objective_problems(task: Task, settings: ObjectiveSettings) -> list[str]:
    """What of the settings does not fit the task, each as one phrase."""
    problems = []
    try:
        LossChoice.of(task, settings)
    except UserError as error:
        problems.append(str(error).rstrip("."))
    try:
        with_metric(task, settings)
    except UserError as error:
        problems.append(str(error).rstrip("."))
    return problems


def with_metric(task: Task, settings: ObjectiveSettings) -> Task:
    """The task with the best metric that the settings name, if any. Raises UserError where that does not fit."""
    name = settings.metric_for_best_model
    return task if name is None else task.with_best_metric(name)


def _are(names: Sequence[str]) -> str:
    return f"label {_listed(names)} is" if len(names) == 1 else f"labels {_listed(names)} are"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(short_repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
