"""Finds the rows of a split among those that the model is trained on, where they make its scores worthless."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from albert.system.printing import counted

_LOG = logging.getLogger(__name__)


def warn_of_training_rows(path: Path, rows: Iterable[Any], train_path: Path, train_rows: Iterator[Any]) -> None:
    """Logs a warning where `rows`, all of a split, are the first of the training data, in the same order.

    That is so where a file was copied under two names, or a split cut off the head of the other and left there. The
    first row that differs ends the search, so that it costs nothing where the files are what they should be. Training
    data that are not there or cannot be read are reported elsewhere.
    """
    count = 0
    try:
        for row in rows:
            if row != next(train_rows, None):
                return
            count += 1
    except ValueError:
        return
    _LOG.warning(
        "%s: all of it, %s, is also in %s, in the same order: a score on them says nothing of other data",
        *(path, counted(count, "row"), train_path),
    )
