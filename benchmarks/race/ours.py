"""Our side of the race: the project's own engine on the same rows. Started by race.py in the project's environment.

Nothing is rebuilt here: the rows go through `tfrecord_cache`, `input_pipeline` and `Estimator` exactly as in a training
run, and the clock runs around calls of the engine's compiled loop, its input included.
"""

import functools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.data.input_pipeline import BatchShape, Source, train_dataset
from albert.data.order import epoch_order
from albert.data.schema import Column
from albert.data.source_files import SourceFiles
from albert.data.tfrecord_cache import RecordCache, open_or_build
from albert.engine.distribution import Replicas, create_replicas
from albert.engine.estimator import Estimator, RunConfig
from albert.heads.base import Head
from albert.heads.pooled import ClassificationHead, RegressionHead
from albert.heads.span import SpanHead
from albert.modeling import AlbertModel, Computation
from albert.runs.assembly import training_computation
from albert.runs.model_fn import build_model_fn
from albert.settings import DataSettings
from albert.tasks.registry import get_task
from albert.tokenization import load_tokenizer
from benchmarks.race.common import MODELS, Job, Rows, serve

SEED = 0
SCHEDULE = LearningRateSchedule(2e-5, num_train_steps=1_000_000, num_warmup_steps=100)
TOKENS = Column("tokens", "int32")
LABELS = {
    "classification": {"label_ids": Column("scalar", "int32")},
    "regression": {"label_ids": Column("scalar", "float32")},
    "span": {"start_positions": Column("scalar", "int32"), "end_positions": Column("scalar", "int32")},
}


def make_head(config: AlbertConfig, job: Job) -> Head:
    """The head of the job's kind of task."""
    if job.kind == "classification":
        return ClassificationHead(config, num_labels=job.num_labels)
    return {"regression": RegressionHead, "span": SpanHead}[job.kind](config)


def make_dataset(cache: RecordCache, job: Job, first_step: int, last_step: int) -> tf.data.Dataset:
    """The engine's own input for steps first_step .. last_step - 1, packed or padded: variants differ in no more."""
    source = Source(cache, feature_spec(job), job.max_seq_length, is_packed="packed" in job.variants)
    shape = BatchShape(job.batch_size // job.replicas, job.replicas)
    return train_dataset(source, shape, SEED, first_step, last_step)


def make_computation(config: AlbertConfig, job: Job) -> Computation:
    """As a run's own: the parts of a step that is compiled as a whole, where it is."""
    return training_computation(
        config, job.dtype, recompute=job.recompute, use_xla=job.device == "gpu", deterministic=job.deterministic
    )


def make_estimator(
    job: Job, model_dir: Path, schedule: LearningRateSchedule = SCHEDULE, replicas: Replicas | None = None
) -> Estimator:
    """The engine with random weights and its slots, on `replicas` or those that the job asks for."""
    config = AlbertConfig(**MODELS[job.model]).with_dropout(job.dropout)
    head = make_head(config, job)
    estimator = Estimator(
        model_fn=build_model_fn(config, head, SEED, make_computation(config, job)),
        create_weights=lambda: AlbertModel(config, head.variable_specs, SEED).weights,
        optimizer=create_optimizer("adamw"),
        learning_rate=schedule,
        replicas=replicas or create_replicas("mirror" if job.replicas > 1 else "one", job.replicas, job.device),
        # As a run's own default: compiled as a whole on GPUs.
        config=RunConfig(model_dir, global_batch_size=job.batch_size, use_xla=job.device == "gpu"),
    )
    estimator._start_or_resume()
    return estimator


def feature_spec(job: Job) -> dict[str, Column]:
    """The columns of the job's records."""
    return {"input_ids": TOKENS, "segment_ids": TOKENS, **LABELS[job.kind]}


def build_cache(rows: Rows, job: Job, directory: Path) -> RecordCache:
    """A cache whose first epoch visits the rows in their own order, so that batch k is the same as everybody's."""
    row_of_record = np.argsort(epoch_order(rows.count, SEED, epoch=0))

    def record(number: int) -> list[dict]:
        ids, segments = rows.row(number)
        labels = {name: [value] for name, value in zip(LABELS[job.kind], rows.labels[number].tolist(), strict=True)}
        return [{"input_ids": ids.tolist(), "segment_ids": segments.tolist(), **labels}]

    return open_or_build(
        directory=directory,
        stem="race",
        identity={"rows": SourceFiles.read([Path(job.rows)]).digest, "seed": SEED},
        items=lambda: iter(row_of_record.tolist()),
        featurize=record,
        feature_spec=feature_spec(job),
        num_workers=1,
    )


class Engine:
    """The engine with one way of making batches, ready to be timed from any batch on."""

    def __init__(self, config: Mapping[str, object]):
        self._job = job = Job(**config)
        self._rows = Rows.load(Path(job.rows))
        self._folder = tempfile.TemporaryDirectory()
        # Before anything computes: the strategy may divide the processor into logical devices.
        self._estimator = make_estimator(job, Path(self._folder.name))
        self._cache = build_cache(self._rows, job, Path(self._folder.name))
        self._computed_tokens: list[int] = []  # of each batch, replicas together
        self._next_batch = -1
        self._iterator = None
        self._warm_up()
        self.info = {"versions": {"tensorflow": tf.__version__}}

    def answer(self, request: Mapping[str, object]) -> dict[str, object]:
        """Trains on the batches asked for, or prepares them without training: {"input": 5, "first_batch": 0}."""
        if "input" in request:
            return self._time_input(request["first_batch"], request["input"])
        first, steps = request["first_batch"], request["run"]
        self._go_to(first)
        begin = time.perf_counter()
        self._estimator._run_steps(self._iterator, steps)
        seconds = time.perf_counter() - begin
        self._next_batch += steps
        real = sum(int(self._rows.lengths[self._job.plain_batch(n)].sum()) for n in range(first, first + steps))
        return {
            "seconds": [seconds / steps] * steps,
            "examples": steps * self._job.batch_size,
            "real_tokens": real,
            "computed_tokens": sum(self._computed_tokens[first : first + steps]),
        }

    def _go_to(self, first: int) -> None:
        if first != self._next_batch:
            dataset = make_dataset(self._cache, self._job, first, self._job.num_batches)
            self._iterator = self._estimator.replicas.iterate(dataset)
            self._next_batch = first

    def _warm_up(self) -> None:
        """One step for each shape that will be timed: the loop is compiled, and kernels are prepared, for each."""
        shapes = []
        parts = iter(make_dataset(self._cache, self._job, 0, self._job.num_batches))
        for _ in range(self._job.num_batches):
            shapes.append(tuple(tuple(next(parts)["input_ids"].shape) for _ in range(self._job.replicas)))
        self._computed_tokens = [sum(rows * length for rows, length in shape) for shape in shapes]
        for shape in dict.fromkeys(shapes):
            first = shapes.index(shape)
            self.answer({"run": 1, "first_batch": first})
        # The loop is traced at its first call and may be once more when called for several steps.
        self.answer({"run": min(2, self._job.num_batches), "first_batch": 0})

    def _time_input(self, first: int, count: int) -> dict[str, object]:
        """Seconds in which the pipeline alone makes `count` batches."""
        iterator = iter(make_dataset(self._cache, self._job, first, first + count))
        begin = time.perf_counter()
        for _ in range(count * self._job.replicas):
            next(iterator)
        return {"seconds": [(time.perf_counter() - begin) / count] * count, "examples": count * self._job.batch_size}


class Tokenization:
    """Builds the cache of a task's training rows again and again, as a run does that finds none."""

    def __init__(self, config: Mapping[str, object]):
        self._config = config
        self._task = get_task(config["task"])
        self._tokenizer = load_tokenizer(Path(config["spm_model_file"]), None, do_lower_case=True)
        self._settings = DataSettings(
            config["task"], Path(config["glue_dir"]), Path(config["scratch"]), config["max_seq_length"]
        )
        self._runs = 0
        self.info = {"versions": {"tensorflow": tf.__version__}}

    def answer(self, request: Mapping[str, object]) -> dict[str, object]:
        """Reads, tokenises and writes all rows; seconds of that, and where the rows are when they are asked for."""
        self._runs += 1
        begin = time.perf_counter()
        sources = self._task.source_files("train", self._settings.data_dir)
        cache = open_or_build(
            directory=self._settings.cached_dir / f"ours-{self._runs}",
            stem="race",
            identity={"data": SourceFiles.read(sources).digest, "tokenizer": self._tokenizer.digest},
            items=lambda: self._task.read("train", self._settings.data_dir),
            featurize=functools.partial(self._task.featurize, tokenizer=self._tokenizer, settings=self._settings),
            feature_spec=self._task.feature_spec,
        )
        seconds = time.perf_counter() - begin
        path = self._settings.cached_dir / "ours.npz"
        if request.get("keep"):
            self._save_rows(cache, path)
        return {"seconds": [seconds], "examples": cache.count, "rows": str(path)}

    def _save_rows(self, cache: RecordCache, path: Path) -> None:
        columns = {name: tf.io.RaggedFeature(tf.int64) for name in ("input_ids", "segment_ids", "label_ids")}
        parsed = tf.io.parse_example(cache.read(range(cache.count)), columns)
        ids, segments = (parsed[name].values.numpy().astype(np.int32) for name in ("input_ids", "segment_ids"))
        labels = parsed["label_ids"].values.numpy().astype(np.int32)[:, None]
        Rows(ids, segments, cache.token_counts, labels).save(path)


if __name__ == "__main__":
    serve(lambda config: Tokenization(config) if "scratch" in config else Engine(config))
