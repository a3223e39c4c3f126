"""What predictions of a test split score, where its rows have labels: `test_scores.json`."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albert.tasks.base import Task

_LOG = logging.getLogger(__name__)

TEST_SCORES = "test_scores.json"


def scores_of_labelled(
    task: Task,
    items: Sequence[Any],
    predictions: Mapping[str, np.ndarray],
    labelled: Sequence[int],
    rows: str = "rows",
    place: str = "",
) -> dict[str, str]:
    """TEST_SCORES as JSON: the metrics over the items numbered `labelled`. The log has them, or that there are none.

    `rows` is what the items are called, and `place` where their labels would be.
    """
    scores: dict[str, float] = {}
    if labelled:
        chosen = {name: np.asarray(values)[list(labelled)] for name, values in predictions.items()}
        scores = task.score([items[number] for number in labelled], chosen)
        shown = ", ".join(f"{name} = {value:.4f}" for name, value in scores.items())
        _LOG.info("test: %s over the %d of %d %s that have a label.", shown, len(labelled), len(items), rows)
    else:
        _LOG.info("test: nothing is scored: no label was found%s of its %d %s.", place, len(items), rows)
    # NaN, as of a correlation of one row, is no JSON.
    metrics = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    return {TEST_SCORES: json.dumps({"rows": len(labelled), "metrics": metrics}, indent=2) + "\n"}
