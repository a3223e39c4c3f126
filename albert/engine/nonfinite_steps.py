"""Steps whose loss or gradient is NaN or infinite: logged with their examples, and tolerated up to a limit.

`TrainingStep` leaves out the update of such a step, so that the weights are good either way.
"""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.engine.throughput import StepRecord
from albert.engine.workers import ALONE, Workers
from albert.errors import UserError

# Examples of a batch that are named.
_MAX_NAMED = 256


class NonfiniteSteps:
    """Tolerates `limit` of them in this process; the next one stops training.

    They are counted from the program's start, because they are not part of what a run computes: a run that stopped at
    one and is started again with a higher limit ends as if it had had that limit from the beginning.

    `input_fn(first, last)` yields this process's batches of steps first..last - 1 with their `example_ids`; `workers`
    have those of the others. All of them must ask, since all see the same steps; the chief logs.
    """

    def __init__(
        self,
        limit: int,
        input_fn: Callable[[int, int], tf.data.Dataset],
        directory: Path,
        workers: Workers = ALONE,
    ):
        self._workers = workers
        self._limit = limit
        self._input_fn = input_fn
        self._directory = directory
        self._count = 0
        self._fatal: StepRecord | None = None

    def tolerated(self, records: Sequence[StepRecord]) -> Sequence[StepRecord]:
        """`records` up to the one that stops training, if there is one. Logs those that are left out."""
        for number, record in enumerate(records):
            if math.isfinite(record.loss) and math.isfinite(record.gradient_norm):
                continue
            self._count += 1
            if self._count > self._limit:
                self._fatal = record
                return records[:number]
            description = self._describe(record)
            if self._workers.is_chief:
                logging.warning("%s. Left out, %d of at most %d.", description, self._count, self._limit)
        return records

    def raise_if_too_many(self) -> None:
        """Raises UserError naming the step, its loss, its examples and the learning rate, if it was one too many."""
        if self._fatal is None:
            return
        description = self._describe(self._fatal)
        self._workers.part()
        raise UserError(
            f"{description}. Training stopped; that update was not made, and the checkpoints in "
            f"{self._directory} are from before. Lower `learning_rate` or warm up longer, in another `output_dir` if "
            f"it has any; or leave such steps out: `skip_nonfinite_steps`={self._limit + 1} or more."
        )

    def _describe(self, record: StepRecord) -> str:
        ids = self._example_ids(record.step)
        named = ", ".join(map(str, ids[:_MAX_NAMED]))
        more = f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else ""
        return (
            f"step {record.step}: loss {record.loss}, gradient norm {record.gradient_norm} on the training examples "
            f"(counted from 0) {named}{more} at learning rate {record.learning_rate:.3g}"
        )

    def _example_ids(self, step: int) -> list[int]:
        """Ascending; the batch is read again, which gives the same as before."""
        shards = self._input_fn(step - 1, step)
        ids = np.concatenate([shard["example_ids"].numpy().ravel() for shard in shards])
        ids = np.concatenate([arrays["ids"] for arrays in self._workers.gather({"ids": ids})])
        return sorted(ids[ids >= 0].tolist())
