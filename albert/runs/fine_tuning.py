"""The one runner: from settings and a task to a trained, evaluated model and its result files.

Puts the parts together and decides nothing about any of them. Knows no flags, and has no loop over steps.
"""

import dataclasses
import functools
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule
from albert.data import input_pipeline, tfrecord_cache
from albert.data.input_pipeline import BatchShape, Source
from albert.data.schema import HostRecord
from albert.data.tfrecord_cache import RecordCache
from albert.engine.distribution import Replicas, create_replicas
from albert.engine.estimator import EvalSpec
from albert.errors import UserError
from albert.heads import head_for
from albert.runs import reports
from albert.runs.assembly import (
    build_estimator,
    check_model,
    identity_of_training,
    load_config,
    log_batch,
    log_devices,
    resolve,
    restore_best,
    train_and_evaluate,
)
from albert.runs.output_dir import claim_output_dir
from albert.settings import Settings
from albert.system.files import write_text
from albert.tasks.base import Split, Task
from albert.tokenization import Tokenizer, load_tokenizer


def run(task: Task, settings: Settings) -> dict[str, float]:
    """Does what `settings` ask for and returns the dev metrics of the best checkpoint (empty without --do_eval).

    Raises UserError for everything the user can mend, and Interrupted after a signal.
    """
    config = load_config(settings)
    tokenizer = load_tokenizer(settings.data.spm_model_file, settings.data.vocab_file, settings.data.do_lower_case)
    check_model(config, settings)
    check_vocabulary(config, tokenizer, settings)
    replicas = create_replicas(settings.strategy_type, settings.num_replicas, settings.device)
    settings = resolve(settings, replicas)
    log_devices(settings, replicas)
    sources = {split: task.source_files(split, settings.data.data_dir) for split in wanted_splits(task, settings)}
    digests = {split: tfrecord_cache.sha256_of_files(files) for split, files in sources.items()}
    identity = identity_of_run(task, config, tokenizer, settings, replicas.count, digests)
    with claim_output_dir(settings, identity, itertools.chain(*sources.values())):
        caches = {split: build_cache(task, split, tokenizer, settings, digests[split]) for split in digests}
        settings = count_steps(task, caches, settings, replicas.count)
        judged = Judged.of(task, caches, settings)

        train = settings.train
        schedule = LearningRateSchedule(train.learning_rate, train.train_steps or 1, train.warmup_steps)
        estimator = build_estimator(config, head_for(task.output, config), replicas, settings, schedule)
        inputs = InputFunctions(task, caches, settings, replicas)
        eval_spec = build_eval_spec(task, inputs, judged) if settings.do_eval and judged.can_be_scored else None
        metrics = train_and_evaluate(estimator, inputs.train, eval_spec, settings, task.best_metric, replicas.count)
        if settings.do_predict:
            restore_best(estimator, settings)
            split = task.predict_split
            predictions = estimator.predict(
                functools.partial(inputs.once, split, settings.per_replica_predict_batch_size)
            )
            reports.write_files(settings.output_dir, judged.result_files(split, predictions))
        return metrics


def check_vocabulary(config: AlbertConfig, tokenizer: Tokenizer, settings: Settings) -> None:
    """Raises UserError where the vocabulary has pieces that the model does not."""
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"{settings.data.spm_model_file or settings.data.vocab_file} has {tokenizer.vocab_size} pieces, but "
            f"vocab_size in {settings.model.albert_config_file} is {config.vocab_size}. Use two that belong together."
        )


def wanted_splits(task: Task, settings: Settings) -> list[Split]:
    """The splits that training, evaluation and prediction read, each once."""
    wanted = (("train", settings.do_train), ("dev", settings.do_eval), (task.predict_split, settings.do_predict))
    return list(dict.fromkeys(split for split, is_wanted in wanted if is_wanted))


def count_steps(task: Task, caches: Mapping[Split, RecordCache], settings: Settings, num_replicas: int) -> Settings:
    """`settings` with epochs turned into steps."""
    if not settings.do_train:
        return settings
    examples = caches["train"].count // task.sequences_per_example
    train = settings.train.in_steps(examples, num_replicas)
    log_batch(train, examples, num_replicas)
    return dataclasses.replace(settings, train=train)


def identity_of_run(
    task: Task,
    config: AlbertConfig,
    tokenizer: Tokenizer,
    settings: Settings,
    num_replicas: int,
    digests: Mapping[Split, str],
) -> dict[str, dict[str, object]]:
    """What must be equal for an output_dir to be continued: the model, and how it is trained and judged if it is.

    The number of replicas is not in it, only the global batch; nor is how fast it is computed.
    """
    identity: dict[str, dict[str, object]] = {
        "model": {
            "task": task.name,
            "albert_config": config.to_dict(),
            "tokenizer": tokenizer.digest,
            "max_seq_length": settings.data.max_seq_length,
            "dtype": settings.model.dtype,
        }
    }
    if settings.do_train:
        identity["training"] = {
            **identity_of_training(settings, num_replicas),
            "discard_classifier_weights": settings.model.discard_classifier_weights,
            "data_sha256": digests["train"],
            "head": {name: value for name, value in vars(head_for(task.output, config)).items() if name != "config"},
        }
    if settings.do_eval:
        identity["evaluation"] = {"data_sha256": digests["dev"]}
    return identity


def build_cache(task: Task, split: Split, tokenizer: Tokenizer, settings: Settings, digest: str) -> RecordCache:
    """The tokenised records of one split, whose files have `digest`, from `cached_dir` if they are there."""
    data = settings.data
    path = data.feature_files.get(split)
    if split == "dev" and data.left_file:
        write_left_file(data.left_file, task, path or data.cached_dir)
    return tfrecord_cache.open_or_build(
        path=path,
        directory=data.cached_dir,
        stem=f"{task.name}_{split}_{data.max_seq_length}",
        identity={
            "task": task.identity(),
            "split": split,
            "data": digest,
            "tokenizer": tokenizer.digest,
            "max_seq_length": data.max_seq_length,
        },
        items=lambda: task.read(split, data.data_dir),
        featurize=functools.partial(task.featurize, tokenizer=tokenizer, settings=data),
        feature_spec=task.feature_spec,
    )


def write_left_file(path: Path, task: Task, cache: Path) -> None:
    """What the predecessor pickled beside a cache is now in columns of its own in it; this says so, in JSON."""
    columns = [name for name, column in task.feature_spec.items() if column.kind == "host"]
    write_text(path, json.dumps({"features": str(cache), "columns": columns}, indent=2) + "\n")


@dataclasses.dataclass(frozen=True)
class InputFunctions:
    """The engine's three input functions, over the caches of the wanted splits."""

    task: Task
    caches: Mapping[Split, RecordCache]
    settings: Settings
    replicas: Replicas

    def train(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """The batches of steps first_step..last_step - 1, one shard for each replica of this process."""
        train = self.settings.train
        shape = BatchShape(train.per_replica_batch_size, self.replicas.count, train.gradient_accumulation_steps)
        replica_ids = self.replicas.local_ids
        return input_pipeline.train_dataset(
            self._source("train"), shape, train.seed, first_step, last_step, replica_ids
        )

    def once(self, split: Split, per_replica_batch_size: int) -> tf.data.Dataset:
        """Every example of `split` once."""
        shape = BatchShape(per_replica_batch_size, self.replicas.count)
        return input_pipeline.eval_dataset(self._source(split), shape, self.replicas.local_ids)

    def _source(self, split: Split) -> Source:
        return Source(
            self.caches[split],
            self.task.feature_spec,
            self.settings.data.max_seq_length,
            self.task.sequences_per_example,
            self.settings.speed.pack_sequences,
        )


@dataclasses.dataclass(frozen=True)
class Judged:
    """The items of the splits that are evaluated or predicted, and the columns that only scoring reads."""

    task: Task
    items: Mapping[Split, Sequence[Any]]
    records: Mapping[Split, Sequence[HostRecord]]

    @classmethod
    def of(cls, task: Task, caches: Mapping[Split, RecordCache], settings: Settings) -> "Judged":
        """Reads them, and has the task report what it left out; that of training too, if it wants to."""
        host = [name for name, column in task.feature_spec.items() if column.kind == "host"]
        items, records = {}, {}
        for split, cache in caches.items():
            names = task.reported_columns if split == "train" else host
            if split == "train" and not names:
                continue
            records[split] = input_pipeline.read_columns(cache, names)
            items[split] = list(task.read(split, settings.data.data_dir))
            task.report(task.source_files(split, settings.data.data_dir)[0], items[split], records[split])
        return cls(task, items, records)

    @property
    def can_be_scored(self) -> bool:
        """Whether the dev split has gold answers; says so where it has none."""
        if self.task.can_score(self.items["dev"]):
            return True
        logging.warning("No gold answers in the dev split: checkpoints are not evaluated, and no score is claimed.")
        return False

    def score(self, split: Split, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The task's metrics."""
        return self.task.score(self.items[split], predictions, self.records[split])

    def result_files(self, split: Split, predictions: Mapping[str, np.ndarray]) -> dict[str, str]:
        """The task's files."""
        return self.task.result_files(self.items[split], predictions, self.records[split])


def build_eval_spec(task: Task, inputs: InputFunctions, judged: Judged) -> EvalSpec:
    """Scoring on the dev split, whose batches are described once."""
    dataset = inputs.once("dev", inputs.settings.per_replica_eval_batch_size)
    return EvalSpec(lambda: dataset, functools.partial(judged.score, "dev"), task.best_metric, task.has_dev_labels)
