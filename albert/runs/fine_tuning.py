"""The one runner: from settings and a task to a trained, evaluated model and its result files.

Puts the parts together and decides nothing about any of them. Knows no flags, and has no loop over steps.
"""

import dataclasses
import functools
import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.data import input_pipeline, tfrecord_cache
from albert.data.input_pipeline import BatchShape, Source
from albert.data.schema import HostRecord
from albert.data.source_files import SourceFiles
from albert.data.tfrecord_cache import RecordCache
from albert.engine import checkpoint_files, distribution
from albert.engine.estimator import Estimator, EvalSpec, RunConfig
from albert.errors import UserError
from albert.heads.pooled import Head
from albert.modeling import AlbertModel, Computation
from albert.runs import reports
from albert.runs.model_fn import build_model_fn
from albert.runs.output_dir import claim_output_dir
from albert.settings import Settings, TrainSettings
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
    strategy = distribution.create_strategy(settings.strategy_type, settings.num_replicas, settings.device)
    replicas = strategy.num_replicas_in_sync
    settings = resolve(settings, strategy)
    log_devices(settings, strategy)
    files = {split: task.source_files(split, settings.data.data_dir) for split in wanted_splits(task, settings)}
    sources = {split: SourceFiles.read(paths) for split, paths in files.items()}
    digests = {split: source.digest for split, source in sources.items()}
    identity = identity_of_run(task, config, tokenizer, settings, replicas, digests)
    with claim_output_dir(settings, identity, itertools.chain(*files.values())):
        caches = {split: build_cache(task, split, tokenizer, settings, source) for split, source in sources.items()}
        settings = count_steps(task, caches, settings, replicas)
        judged = Judged.of(task, caches, settings)
        for source in sources.values():
            source.check_unchanged()  # rows were read once more, and are scored against what the caches hold

        train = settings.train
        schedule = LearningRateSchedule(train.learning_rate, train.train_steps or 1, train.warmup_steps)
        estimator = build_estimator(config, task.head(config), strategy, settings, schedule)
        inputs = InputFunctions(task, caches, settings, replicas)
        eval_spec = build_eval_spec(task, inputs, judged) if settings.do_eval and judged.can_be_scored else None
        metrics = train_and_evaluate(estimator, inputs.train, eval_spec, settings, task.best_metric, replicas)
        if settings.do_predict:
            restore_best(estimator, settings)
            split = task.predict_split
            predictions = estimator.predict(
                functools.partial(inputs.once, split, settings.per_replica_predict_batch_size)
            )
            reports.write_files(settings.output_dir, judged.result_files(split, predictions))
        return metrics


def train_and_evaluate(
    estimator: Estimator,
    train_input_fn: Callable[[int, int], tf.data.Dataset],
    eval_spec: EvalSpec | None,
    settings: Settings,
    best_metric: str,
    replicas: int,
) -> dict[str, float]:
    """Trains if asked to, writes results, log and curve; metrics of the best checkpoint, {} without an `eval_spec`."""
    results = reports.Results(settings, best_metric, replicas)
    if settings.do_train:
        observers = [reports.TrainingLog(settings.output_dir), reports.TensorBoard(settings.output_dir)]
        estimator.train(train_input_fn, settings.train.train_steps, eval_spec, observers)
        results.trained(estimator.throughput)
    metrics = evaluate(estimator, eval_spec, settings) if eval_spec else {}
    if eval_spec:
        results.evaluated(estimator.evaluations, metrics)
    reports.draw_curve(settings.output_dir, estimator.evaluations, best_metric)
    return metrics


def resolve(settings: Settings, strategy: tf.distribute.Strategy) -> Settings:
    """`settings` with what depends on the devices decided."""
    dtype = distribution.resolve_dtype(settings.model.dtype, strategy)
    use_xla = distribution.is_on_gpus(strategy) if settings.speed.use_xla is None else settings.speed.use_xla
    return dataclasses.replace(
        settings,
        model=dataclasses.replace(settings.model, dtype=dtype),
        speed=dataclasses.replace(settings.speed, use_xla=use_xla),
    )


def load_config(settings: Settings) -> AlbertConfig:
    """The configuration file's model, with --albert_dropout_prob in place of its rates if given."""
    config = AlbertConfig.from_json_file(settings.model.albert_config_file)
    rate = settings.model.albert_dropout_prob
    return config if rate is None else config.with_dropout(rate)


def check_model(config: AlbertConfig, settings: Settings) -> None:
    """Raises UserError where rows are too long for the model, or --init_checkpoint is missing."""
    length = settings.data.max_seq_length
    if length > config.max_position_embeddings:
        raise UserError(
            f"--max_seq_length={length}, but the model of {settings.model.albert_config_file} has "
            f"{config.max_position_embeddings} positions. Lower --max_seq_length."
        )
    if settings.model.init_checkpoint and not checkpoint_files.exists(settings.model.init_checkpoint):
        raise UserError(
            f"--init_checkpoint={settings.model.init_checkpoint}: no such checkpoint. Give the prefix, without .index; "
            "./download_pretrained_models.sh fetches Google's models."
        )


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


def log_devices(settings: Settings, strategy: tf.distribute.Strategy) -> None:
    """Says once what runs where, and how."""
    compiled = ", compiled by XLA" if settings.speed.use_xla else ""
    logging.info("Running on %s in %s%s.", distribution.describe(strategy), settings.model.dtype, compiled)


def count_steps(task: Task, caches: Mapping[Split, RecordCache], settings: Settings, replicas: int) -> Settings:
    """`settings` with epochs turned into steps."""
    if not settings.do_train:
        return settings
    examples = caches["train"].count // task.sequences_per_example
    train = settings.train.in_steps(examples, replicas)
    log_batch(train, examples, replicas)
    return dataclasses.replace(settings, train=train)


def log_batch(train: TrainSettings, examples: int, replicas: int) -> None:
    """Says once how `examples` examples, batches and steps relate, with units."""
    accumulated = train.gradient_accumulation_steps
    logging.info(
        "Batch: %d examples/replica%s x %d replicas = %d examples/step; %d steps = %d examples = %.3g epochs of %d.",
        train.per_replica_batch_size, f" x {accumulated} micro-batches" if accumulated > 1 else "",
        replicas, train.global_batch_size(replicas), train.train_steps,
        train.train_steps * train.global_batch_size(replicas),
        train.train_steps * train.global_batch_size(replicas) / max(1, examples), examples,
    )  # fmt: skip


def identity_of_run(
    task: Task,
    config: AlbertConfig,
    tokenizer: Tokenizer,
    settings: Settings,
    replicas: int,
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
            **identity_of_training(settings, replicas),
            "discard_classifier_weights": settings.model.discard_classifier_weights,
            "data_sha256": digests["train"],
            "head": {name: value for name, value in vars(task.head(config)).items() if name != "config"},
        }
    if settings.do_eval:
        identity["evaluation"] = {"data_sha256": digests["dev"]}
    return identity


def identity_of_training(settings: Settings, replicas: int) -> dict[str, object]:
    """The optimisation, by its global batch, and what it starts from."""
    train = dataclasses.asdict(settings.train)
    for how_often in ("save_checkpoints_steps", "keep_checkpoint_max", "log_steps", "skip_nonfinite_steps"):
        del train[how_often]
    for factor in ("per_replica_batch_size", "gradient_accumulation_steps"):
        del train[factor]
    return {
        **train,
        "global_batch_size": settings.train.global_batch_size(replicas),
        "init_checkpoint": str(settings.model.init_checkpoint and settings.model.init_checkpoint.resolve()),
    }


def build_cache(
    task: Task, split: Split, tokenizer: Tokenizer, settings: Settings, sources: SourceFiles
) -> RecordCache:
    """The tokenised records of one split, read from `sources`, from `cached_dir` if they are there."""
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
            "data": sources.digest,
            "tokenizer": tokenizer.digest,
            "max_seq_length": data.max_seq_length,
        },
        items=lambda: task.read(split, data.data_dir),
        sources=sources,
        featurize=functools.partial(task.featurize, tokenizer=tokenizer, settings=data),
        feature_spec=task.feature_spec,
    )


def write_left_file(path: Path, task: Task, cache: Path) -> None:
    """What the predecessor pickled beside a cache is now in columns of its own in it; this says so, in JSON."""
    columns = [name for name, column in task.feature_spec.items() if column.kind == "host"]
    write_text(path, json.dumps({"features": str(cache), "columns": columns}, indent=2) + "\n")


def build_estimator(
    config: AlbertConfig,
    head: Head,
    strategy: tf.distribute.Strategy,
    settings: Settings,
    schedule: LearningRateSchedule,
    num_of_group: int = 0,
) -> Estimator:
    """The engine with this model's weights on every replica; `num_of_group` as for `checkpoint_files.load_weights`."""
    train = settings.train
    return Estimator(
        model_fn=build_model_fn(
            config,
            head,
            train.seed,
            Computation(tf.as_dtype(settings.model.dtype), settings.speed.recompute_activations),
        ),
        create_weights=lambda: AlbertModel(config, head.variable_specs, train.seed).weights,
        optimizer=create_optimizer(train.optimizer),
        learning_rate=schedule,
        strategy=strategy,
        config=RunConfig(
            model_dir=settings.output_dir,
            global_batch_size=train.global_batch_size(strategy.num_replicas_in_sync),
            save_checkpoints_steps=train.save_checkpoints_steps,
            keep_checkpoint_max=train.keep_checkpoint_max,
            log_steps=train.log_steps,
            micro_batches=train.gradient_accumulation_steps,
            use_xla=bool(settings.speed.use_xla),
            profile_steps=settings.speed.profile_steps,
            skip_nonfinite_steps=train.skip_nonfinite_steps,
        ),
        warm_start=lambda weights: start_from_checkpoint(weights, settings, num_of_group),
    )


def start_from_checkpoint(weights: Mapping[str, tf.Variable], settings: Settings, num_of_group: int = 0) -> None:
    """Assigns --init_checkpoint, or says that training starts from random weights."""
    prefix = settings.model.init_checkpoint
    if prefix is None:
        logging.warning("No --init_checkpoint: starting from random weights.")
        return
    discards = settings.model.discard_classifier_weights
    checkpoint_files.load_weights(prefix, weights, discards, num_of_group).log(prefix)


@dataclasses.dataclass(frozen=True)
class InputFunctions:
    """The engine's three input functions, over the caches of the wanted splits."""

    task: Task
    caches: Mapping[Split, RecordCache]
    settings: Settings
    num_replicas: int

    def train(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """Shards of the batches of steps first_step..last_step - 1."""
        train = self.settings.train
        shape = BatchShape(train.per_replica_batch_size, self.num_replicas, train.gradient_accumulation_steps)
        return input_pipeline.train_dataset(self._source("train"), shape, train.seed, first_step, last_step)

    def once(self, split: Split, per_replica_batch_size: int) -> tf.data.Dataset:
        """Every example of `split` once."""
        return input_pipeline.eval_dataset(self._source(split), BatchShape(per_replica_batch_size, self.num_replicas))

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


def evaluate(estimator: Estimator, eval_spec: EvalSpec, settings: Settings) -> dict[str, float]:
    """Dev metrics of the best checkpoint: those of this training, otherwise from evaluating what is there."""
    if settings.do_train and estimator.evaluations.best:
        return dict(estimator.evaluations.best.metrics)
    estimator.evaluate_checkpoints(eval_spec)
    restore_best(estimator, settings)
    return estimator.evaluate(eval_spec.input_fn, eval_spec.score_fn, eval_spec.has_labels)


def restore_best(estimator: Estimator, settings: Settings) -> None:
    """Takes the weights of `model.ckpt-best`, or of the checkpoint it is a copy of; where nothing was judged those of
    the newest checkpoint; where there is none those of --init_checkpoint.

    Raises UserError when there is none, when it is damaged, or when --init_checkpoint lacks some of the weights.
    """
    if estimator.restore_best():
        return
    prefix = settings.model.init_checkpoint
    if prefix is None:
        raise UserError(f"--output_dir={settings.output_dir} has no checkpoint: train first, or give --init_checkpoint")
    report = checkpoint_files.load_weights(prefix, estimator.weights)
    if report.fresh:
        raise UserError(
            f"--output_dir={settings.output_dir} has no checkpoint, and {prefix} lacks {', '.join(report.fresh)}: "
            "it is not a model of this kind. Train first (--do_train)."
        )
