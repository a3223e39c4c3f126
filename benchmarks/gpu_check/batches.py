"""Rows of random pieces that are as long as those of real tasks, and the race's own job and engine for them."""

import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.custom_optimization import LearningRateSchedule
from albert.data.tfrecord_cache import RecordCache
from albert.engine.distribution import Replicas, create_replicas
from albert.engine.estimator import Estimator
from benchmarks.gpu_check.findings import Request
from benchmarks.race import ours
from benchmarks.race.common import Job, Rows
from benchmarks.race.rows import FIRST_PIECE, VOCABULARY

SEED = 0
# Steps until the rows are used up, and come again in another order.
_STEPS = 16
_TINY_BATCH = 4


@dataclasses.dataclass(frozen=True)
class Batch:
    """A step's examples on one device.

    `lengths` are the deciles, from the shortest to the longest, of the task's training rows in pieces of Google's
    vocabulary, cut at `max_seq_length`; of SQuAD's questions, every window is a row.
    """

    title: str
    kind: str
    size: int
    max_seq_length: int
    lengths: tuple[int, ...]

    def rows(self, count: int, copies: int = 1) -> Rows:
        """`count` rows of random pieces, `copies` times; their lengths lie evenly between the deciles."""
        random = np.random.default_rng(SEED)
        deciles = np.linspace(0, 1, len(self.lengths))
        lengths = np.interp(random.random(count), deciles, self.lengths).astype(int).tolist()
        width, highest = (2, 3) if self.kind == "span" else (1, 2)
        return Rows.from_lists(
            [
                (
                    random.integers(FIRST_PIECE, VOCABULARY, length).tolist(),
                    [int(place > length // 2) for place in range(length)],
                    random.integers(0, highest, width).tolist(),
                )
                for length in lengths
            ]
            * copies,
            "int32",
        )


MRPC = Batch("MRPC", "classification", 32, 128, (21, 40, 46, 50, 55, 59, 64, 68, 72, 79, 128))
SST2 = Batch("SST-2", "classification", 32, 128, (3, 4, 6, 7, 9, 11, 13, 17, 22, 29, 65))
SQUAD = Batch("SQuAD", "span", 16, 384, (41, 122, 133, 143, 155, 170, 190, 217, 256, 324, 384))
BATCHES = (MRPC, SST2, SQUAD)


class Workshop:
    """A folder with rows and their cache, where engines for them are made; gone with the context.

    The rows make some steps on all devices; with `copies`, one step on one device, so many times.
    """

    def __init__(self, request: Request, batch: Batch, copies: int = 0):
        self._request, self._batch = request, batch
        self._folder = tempfile.TemporaryDirectory()
        size = _TINY_BATCH if request.is_tiny else batch.size
        rows = batch.rows(size, copies) if copies else batch.rows(_STEPS * size * max(1, num_devices(request)))
        self.path = Path(self._folder.name)
        rows.save(self.path / "rows.npz")
        self.cache: RecordCache = ours.build_cache(rows, self.job(), self.path)

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def job(self, replicas: int = 1, **changes: object) -> Job:
        """The race's job: the batch on each of `replicas` devices, packed, of the size "base" unless changed."""
        size = _TINY_BATCH if self._request.is_tiny else self._batch.size
        fields = {
            "rows": str(self.path / "rows.npz"),
            "model": "tiny" if self._request.is_tiny else "base",
            "kind": self._batch.kind,
            "num_labels": 2,
            "dtype": "float32",
            "batch_size": size * replicas,
            "max_seq_length": self._batch.max_seq_length,
            "variants": ("packed",),
            "warm_up_rounds": 1,
            "timed_rounds": 5,
            "steps_per_round": 2,
            "threads": len(os.sched_getaffinity(0)),
            "device": self._request.device,
            "replicas": replicas,
        }
        return Job(**{**fields, **changes})

    def dataset(self, job: Job, first_step: int, last_step: int) -> tf.data.Dataset:
        """The engine's own input for these steps."""
        return ours.make_dataset(self.cache, job, first_step, last_step)

    def estimator(self, job: Job, name: str, replicas: Replicas, learning_rate: float = 1e-5) -> Estimator:
        """An engine on `replicas`, whose checkpoints go to the folder `name`."""
        schedule = LearningRateSchedule(learning_rate, num_train_steps=1_000_000)
        return ours.make_estimator(job, self.path / name, schedule, replicas)


def num_devices(request: Request) -> int:
    """The devices that are asked for: by default every GPU, or two logical CPUs."""
    if request.num_replicas:
        return request.num_replicas
    return len(tf.config.list_physical_devices("GPU")) if request.device == "gpu" else 2


def replicas_of(request: Request, count: int | None = None) -> Replicas:
    """`count` replicas, by default on all devices of the request. To be called before anything computes."""
    count = num_devices(request) if count is None else count
    return create_replicas("mirror" if count > 1 else "one", max(1, count), request.device)
