"""What predictions of a test split score, where its rows have labels: `test_scores.json`."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albert.data.schema import HostRecord
from albert.system.printing import counted, part_of
from albert.tasks.base import Task

_LOG = logging.getLogger(__name__)

TEST_SCORES = "test_scores.json"


def scores_of_labelled(
    task: Task,
    items: Sequence[Any],
    predictions: Mapping[str, np.ndarray],
    labelled: Sequence[int],
    row: str = "row",
    place: str = "",
    records: Sequence[HostRecord] = (),
) -> dict[str, str]:
    """TEST_SCORES as JSON: the metrics over the items numbered `labelled`; {} where none is. The log has them, too.

    `row` is what an item is called, and `place` where their labels would be. `records` are those of all items, where
    the scores need them; an item may have several, so the task itself leaves out those of items without labels.
    """
    if not labelled:
        _LOG.info("test: nothing is scored: no label was found%s of its %s.", place, counted(len(items), row))
        return {}
    if records or len(labelled) == len(items):
        scores = task.score(items, predictions, records)
    else:
        chosen = {name: np.asarray(values)[list(labelled)] for name, values in predictions.items()}
        scores = task.score([items[number] for number in labelled], chosen, ())
    shown = ", ".join(f"{name} = {value:.4f}" for name, value in scores.items())
    _LOG.info("test: %s over those with a label, %s.", shown, part_of(len(labelled), len(items), row))
    # NaN, as of a correlation of one row, is no JSON.
    metrics = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    return {TEST_SCORES: json.dumps({"rows": len(labelled), "metrics": metrics}, indent=2) + "\n"}
