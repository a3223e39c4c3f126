"""The parts of a run that fine-tuning and pretraining have in common, from the settings to an evaluated estimator."""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import tensorflow as tf

from albert.albert_config import AlbertConfig, read_config
from albert.custom_optimization import AdamWeightDecayOptimizer, LearningRateSchedule, create_optimizer
from albert.engine.cluster import alone_among
from albert.engine.devices import make_deterministic
from albert.engine.distribution import Replicas, create_replicas
from albert.engine.estimator import Estimator, EvalSpec, RunConfig, TrainingObserver
from albert.engine.joining import Joining
from albert.errors import UserError
from albert.heads.base import Head
from albert.modeling import AlbertModel, Computation
from albert.ops.embedding import gather_repeatably
from albert.ops.fenced import FENCED
from albert.ops.fused import FUSED
from albert.runs.curve_picture import draw_curve
from albert.runs.dev_reports import DevReports
from albert.runs.divergence import warn_of_divergence
from albert.runs.model_fn import build_model_fn
from albert.runs.output_dir import INIT_WEIGHTS
from albert.runs.preflight import check_positions, identity_of_optimisation
from albert.runs.result_files import Results
from albert.runs.tensorboard_events import TensorBoard, hyperparameters
from albert.runs.training_log import TrainingLog
from albert.settings import PretrainingTrainSettings, Settings, TrainSettings
from albert.system.printing import counted
from albert.weights.loading import load_weights
from albert.weights.paths import checkpoint_prefix, digest_of, open_weights

S = TypeVar("S", bound=Settings)
# In models of this hidden size and larger ones, a gradient of the shared matrices for each layer takes more memory than
# anything else in a plain graph.
_WIDE = 1024


def load_config(settings: Settings) -> AlbertConfig:
    """The configuration file's model, with `albert_dropout_prob` in place of its rates if given."""
    path = settings.model.albert_config_file
    config, remarks = read_config(path)
    for remark in remarks:
        logging.log(logging.WARNING if remark.is_warning else logging.INFO, "%s: %s.", path, remark.text)
    rate = settings.model.albert_dropout_prob
    return config if rate is None else config.with_dropout(rate)


def check_model(config: AlbertConfig, settings: Settings) -> None:
    """Raises UserError where rows are too long for the model, or `init_checkpoint` is not a checkpoint, or damaged."""
    check_positions(config, settings)
    if settings.model.init_checkpoint:
        with open_weights(checkpoint_prefix(settings.model.init_checkpoint)):
            pass  # a damaged one is reported before any data are read


def resolve(settings: S, replicas: Replicas) -> S:
    """`settings` with what depends on the devices decided, and `init_checkpoint` the prefix that it means."""
    dtype = replicas.resolve_dtype(settings.model.dtype)
    use_xla = replicas.is_on_gpus if settings.speed.use_xla is None else settings.speed.use_xla
    path = settings.model.init_checkpoint
    prefix = path and checkpoint_prefix(path)
    replicas.workers.compare(lambda: {"`dtype`": dtype, "`use_xla`": str(use_xla)})  # decided by each one's devices
    return dataclasses.replace(
        settings,
        model=dataclasses.replace(settings.model, dtype=dtype, init_checkpoint=prefix),
        speed=dataclasses.replace(settings.speed, use_xla=use_xla),
    )


def join_replicas(settings: Settings) -> Replicas:
    """The replicas that `settings` ask for. Of several workers all must have the same settings, but for paths."""
    if settings.strategy_type != "multi_worker" and (warning := alone_among(os.environ)):
        logging.warning(warning)
    facts = {f"`{name}`": value for name, value in _plain_settings(settings).items()}
    if settings.speed.deterministic:
        make_deterministic()
    joining = Joining(facts, settings.meeting_seconds, settings.stuck_seconds)
    return create_replicas(settings.strategy_type, settings.num_replicas, settings.device, joining)


def _plain_settings(settings: Any) -> dict[str, str]:
    """The values of all fields by name, of the parts too, without paths: each machine has its own, or none."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name == "compilation_cache":
            continue
        parts = value if isinstance(value, tuple) else (value,)
        if dataclasses.is_dataclass(value):
            found |= _plain_settings(value)
        elif not any(isinstance(part, Path | Mapping) for part in parts):
            found[field.name] = str(value)
    return found


def log_devices(settings: Settings, replicas: Replicas) -> None:
    """Says once what runs where, and how."""
    compiled = ", compiled by XLA" if settings.speed.use_xla else ""
    repeatable = ", deterministic" if settings.speed.deterministic else ""
    logging.info("Running on %s in %s%s%s.", replicas.describe(), settings.model.dtype, compiled, repeatable)
    if settings.speed.use_xla:
        kept = settings.speed.compilation_cache
        again = f"Code is kept in {kept}." if kept else "`compilation_cache` keeps the code for the next run."
        logging.info("Each shape of batches is compiled when it first comes, and steps wait for it. %s", again)


def log_batch(
    train: TrainSettings, examples: int, num_replicas: int, num_workers: int = 1, noun: str = "example"
) -> None:
    """Says once how `examples` examples, batches and steps relate, with units.

    `num_replicas` is over all `num_workers`. `noun` is what an example is: one, or a window of a longer text.
    """
    factors = [f"{counted(train.per_replica_batch_size, noun)}/replica"]
    if train.gradient_accumulation_steps > 1:
        factors.append(f"{train.gradient_accumulation_steps} micro-batches")
    factors.append(counted(num_replicas // num_workers, "replica"))
    if num_workers > 1:
        factors.append(f"{num_workers} workers")
    batch = train.global_batch_size(num_replicas)
    seen = train.num_steps * batch
    logging.info(
        "Batch: %s = %s/step; %s = %s = %.3g epoch%s of %s.",
        " x ".join(factors), counted(batch, noun), counted(train.num_steps, "step"), counted(seen, noun),
        seen / max(1, examples), "" if seen == examples else "s", f"{examples:,}",
    )  # fmt: skip


def identity_of_training(settings: Settings, num_replicas: int) -> dict[str, object]:
    """The optimisation, by its global batch, and what it starts from."""
    start = settings.model.init_checkpoint
    return {
        **identity_of_optimisation(settings.train),
        "global_batch_size": settings.train.global_batch_size(num_replicas),
        "init_checkpoint": str(start and start.resolve()),
        **({INIT_WEIGHTS: digest_of(start)} if start else {}),
    }


def build_estimator(
    config: AlbertConfig,
    head: Head,
    replicas: Replicas,
    settings: Settings,
    num_of_group: int = 0,
    training_head: Head | None = None,
    expects_new_head: bool = False,
) -> Estimator:
    """The engine with this model's weights on every replica; `num_of_group` as for `load_weights`.

    `training_head` as for `build_model_fn`, `expects_new_head` as for `LoadReport.log`.
    """
    train = settings.train
    return Estimator(
        model_fn=build_model_fn(
            config,
            head,
            train.seed,
            training_computation(
                config,
                settings.model.dtype,
                recompute=settings.speed.recompute_activations,
                use_xla=bool(settings.speed.use_xla),
                deterministic=settings.speed.deterministic,
            ),
            training_head,
        ),
        create_weights=lambda: AlbertModel(config, head.variable_specs, train.seed).weights,
        optimizer=optimizer_of(train),
        learning_rate=schedule_of(train),
        replicas=replicas,
        config=RunConfig(
            model_dir=settings.output_dir,
            global_batch_size=train.global_batch_size(replicas.count),
            save_checkpoints_steps=train.save_checkpoints_steps,
            keep_checkpoint_max=train.keep_checkpoint_max,
            log_steps=train.log_steps,
            micro_batches=train.gradient_accumulation_steps,
            use_xla=bool(settings.speed.use_xla),
            profile_steps=settings.speed.profile_steps,
            skip_nonfinite_steps=train.skip_nonfinite_steps,
            early_stopping_patience=train.early_stopping_patience,
            early_stopping_threshold=train.early_stopping_threshold,
        ),
        warm_start=lambda weights: start_from_checkpoint(weights, settings, num_of_group, expects_new_head),
    )


def optimizer_of(train: TrainSettings) -> AdamWeightDecayOptimizer:
    """The update rule that `train` asks for."""
    return create_optimizer(
        train.optimizer,
        weight_decay_rate=train.weight_decay,
        beta_1=train.adam_beta1,
        beta_2=train.adam_beta2,
        epsilon=train.adam_epsilon,
        max_grad_norm=train.max_grad_norm,
    )


def schedule_of(train: TrainSettings) -> LearningRateSchedule:
    """The learning rate that `train` asks for; 1 step in all where nothing is trained."""
    steps, kind = train.train_steps or 1, train.lr_scheduler_type
    schedule = LearningRateSchedule(train.learning_rate, steps, train.warmup_steps, kind=kind)
    if not isinstance(train, PretrainingTrainSettings):
        return schedule
    return dataclasses.replace(schedule, poly_power=train.poly_power, start_warmup_step=train.start_warmup_step)


def training_computation(
    config: AlbertConfig, dtype: str, *, recompute: bool, use_xla: bool, deterministic: bool
) -> Computation:
    """How a run computes whose settings have these values."""
    return Computation(
        tf.as_dtype(dtype),
        recompute,
        FENCED if use_xla else FUSED,
        gather_repeatably if deterministic else tf.gather,
        # In a compiled step activations decide how much memory it takes, unless they are recomputed.
        sums_by_layer=recompute or (not use_xla and config.hidden_size >= _WIDE),
    )


def start_from_checkpoint(
    weights: Mapping[str, tf.Variable], settings: Settings, num_of_group: int = 0, expects_new_head: bool = False
) -> None:
    """Assigns `init_checkpoint`, or says that training starts from random weights."""
    prefix = settings.model.init_checkpoint
    if prefix is None:
        logging.warning("No `init_checkpoint`: starting from random weights.")
        return
    discards = settings.model.discard_classifier_weights
    load_weights(prefix, weights, discards, num_of_group).log(prefix, expects_new_head)


def train_and_evaluate(
    estimator: Estimator,
    train_input_fn: Callable[[int, int], tf.data.Dataset] | None,
    eval_spec: EvalSpec | None,
    settings: Settings,
    best_metric: str,
    observers: Sequence[TrainingObserver] = (),
    dev_reports: DevReports | None = None,
    examples: Mapping[str, int] = MappingProxyType({}),
    followers: Sequence[TrainingObserver] = (),
    scores_anew: bool = False,
) -> dict[str, float]:
    """Trains if asked to, writes results, log and curve; metrics of the best checkpoint, {} without an `eval_spec`.

    `observers` follow the training, before those that write its log and its events, `followers` after them, since they
    may stop it. `dev_reports` are written with the results, as are the numbers of `examples` of the splits.
    `scores_anew` as for `evaluate`.
    """
    replicas = estimator.replicas
    workers = replicas.workers
    # Those of an earlier process, from before this one writes any.
    results = workers.on_chief(lambda: Results(settings, best_metric, replicas.count, examples))
    if settings.do_train:
        assert train_input_fn, "training needs batches"

        def open_logs() -> list[TrainingObserver]:
            board = TensorBoard(settings.output_dir, hyperparameters(settings, replicas.count))
            log = TrainingLog(settings.output_dir, settings.train.num_steps)
            return [*observers, log, board, *([dev_reports] if dev_reports else []), *followers]

        estimator.train(train_input_fn, settings.train.num_steps, eval_spec, workers.on_chief(open_logs) or ())
    trained_to = estimator.global_step  # before the best checkpoint is taken
    metrics = evaluate(estimator, eval_spec, settings, scores_anew) if eval_spec else {}
    predictions = dev_reports.predictions(metrics, workers.agree) if eval_spec and dev_reports else {}

    def write_reports() -> None:
        assert results, "the chief writes"
        if settings.do_train:
            is_early = trained_to < settings.train.num_steps
            results.trained(estimator.throughput, trained_to if is_early else None, estimator.is_resumed)
        if eval_spec and dev_reports:
            results.evaluated(estimator.evaluations, metrics, dev_reports.labels, dev_reports.files(predictions))
            dev_reports.warn_where_nothing_is_learnt(metrics)
        elif eval_spec:
            results.evaluated(estimator.evaluations, metrics)
        warn_of_divergence(settings, metrics)
        if best_metric in metrics:
            step = metrics["global_step"]
            what = f"Best checkpoint: step {step:.0f}" if step else f"Evaluated {settings.model.init_checkpoint}"
            logging.info(
                "%s, %s = %.4f. Results: %s", what, best_metric, metrics[best_metric], settings.output_dir
            )  # fmt: skip
        draw_curve(settings.output_dir, estimator.evaluations, best_metric)

    workers.on_chief(write_reports)
    return metrics


def evaluate(
    estimator: Estimator, eval_spec: EvalSpec, settings: Settings, scores_anew: bool = False
) -> dict[str, float]:
    """Dev metrics of the best checkpoint: those of this training, otherwise from evaluating the checkpoints on disk.

    `scores_anew`: also after a training, whose scores may be of another kind.
    """
    if settings.do_train and estimator.evaluations.best and not scores_anew:
        return dict(estimator.evaluations.best.metrics)
    estimator.evaluate_checkpoints(eval_spec)
    restore_best(estimator, settings)
    return estimator.evaluate(eval_spec)


def restore_best(estimator: Estimator, settings: Settings) -> None:
    """Loads the weights of, in order: `model.ckpt-best`, or the checkpoint it is a copy of; the newest checkpoint if
    none was evaluated; `init_checkpoint` if there is none.

    Raises UserError when there is none, when it is damaged, or when `init_checkpoint` lacks some of the weights.
    """
    if estimator.restore_best():
        return
    prefix = settings.model.init_checkpoint
    if prefix is None:
        raise UserError(f"`output_dir`={settings.output_dir} has no checkpoint: train first, or give `init_checkpoint`")
    report = estimator.take_weights(lambda weights: load_weights(prefix, weights))
    if report.fresh:
        raise UserError(
            f"`output_dir`={settings.output_dir} has no checkpoint, and {prefix} lacks {', '.join(report.fresh)}: "
            "it is not a model of this kind. Train first (`do_train`)."
        )
