"""Fine-tuning: from settings and a task to a trained, evaluated model and its result files.

Puts the parts together and decides nothing about any of them; the loop over steps is the engine's.
"""

import contextlib
import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.albert_config import AlbertConfig
from albert.data import input_pipeline
from albert.data.columns import read_integers
from albert.data.input_pipeline import BatchShape, Source
from albert.data.row_shapes import NEWEST_PACKING, RowShapes, shape_cost
from albert.data.source_files import SourceFiles
from albert.engine.distribution import Replicas
from albert.engine.estimator import Estimator, EvalSpec, TrainingObserver
from albert.errors import UserError
from albert.heads import head_for
from albert.heads.base import Head
from albert.heads.weighted_loss import WeightedCrossEntropy, with_loss
from albert.runs.assembly import (
    build_estimator,
    check_model,
    identity_of_training,
    join_replicas,
    load_config,
    log_batch,
    log_devices,
    resolve,
    restore_best,
    train_and_evaluate,
)
from albert.runs.dev_reports import DevReports
from albert.runs.divergence import warn_of_rate
from albert.runs.left_model import LeftModel, check_lengths, may_have_other_scores
from albert.runs.output_dir import (
    PACKING_VERSION,
    ROWS,
    SHAPE_COST,
    claim_output_dir,
    counts_steps_exactly,
    record_windows,
    recorded_cuts,
    recorded_packing,
    still_claimed,
)
from albert.runs.preflight import check_vocabulary, wanted_splits
from albert.runs.run_differences import SCORING
from albert.runs.split_data import SplitData
from albert.serving import imported
from albert.serving.description import DESCRIPTION, ModelDescription, read_description
from albert.settings import DataSettings, Settings, TrainSettings
from albert.system.files import Text, write_texts
from albert.system.printing import counted
from albert.tasks.base import Labels, Split, Tags, Task
from albert.tasks.objective import LossChoice, with_metric
from albert.tasks.own.files import list_names
from albert.tasks.own.settings import for_people
from albert.tasks.scoring import TEST_SCORES
from albert.tokenization import Tokenizer, load_tokenizer
from albert.vocabulary_fit import warn_of_vocabulary
from albert.weights.paths import HUGGING_FACE, KERAS_HUB, checkpoint_prefix, format_of


def run(task: Task, settings: Settings, followers: Sequence[TrainingObserver] = ()) -> dict[str, float]:
    """Does what `settings` ask for and returns the dev metrics of the best checkpoint (empty without --do_eval).

    Raises UserError for every error the user can fix, Interrupted after a signal, AskedToStop from one of `followers`.
    """
    config = load_config(settings)
    tokenizer = read_tokenizer(settings.data)
    check_model(config, settings)
    check_labels_of_checkpoint(task, settings)
    check_lengths(task, settings)
    check_vocabulary(config, tokenizer, settings)
    replicas = join_replicas(settings)
    workers = replicas.workers
    settings = resolve(settings, replicas)
    log_devices(settings, replicas)
    sources = workers.together(lambda: read_sources(task, settings))
    digests = {split: source.digest for split, source in sources.items()}
    workers.compare(lambda: contents(config, tokenizer, digests))
    identity = identity_of_run(task, config, tokenizer, settings, replicas, digests)
    task = with_metric(task, settings.objective)
    paths = [path for source in sources.values() for path in source.paths]
    begun_with_cuts = workers.agree(lambda: [] if settings.overwrite_output_dir else recorded_cuts(settings.output_dir))
    with workers.on_chief(lambda: claim_output_dir(settings, identity, paths)) or contextlib.nullcontext() as lock:
        packing = NEWEST_PACKING, 0.0
        if settings.do_train:
            packing = workers.agree(lambda: recorded_packing(settings.output_dir))
        splits = workers.together(lambda: load_splits(task, tokenizer, settings, sources, begun_with_cuts))
        workers.on_chief(lambda: record_splitting(splits, settings, begun_with_cuts))
        settings = count_steps(task, splits, settings, replicas)

        head, is_new = head_for(task.output, config), expects_new_head(task, settings)
        weighted = workers.together(lambda: head_of_training(head, task, settings, splits))
        estimator = build_estimator(config, head, replicas, settings, training_head=weighted, expects_new_head=is_new)
        inputs = InputFunctions(task, splits, settings, replicas, *packing, longest_row(config, head))
        dev_reports = eval_spec = None
        if settings.do_eval and splits["dev"].can_be_scored:
            dev_reports = build_dev_reports(inputs, estimator)
            eval_spec = build_eval_spec(inputs, dev_reports.score)
        check_early_stopping(settings, eval_spec)
        left_model = LeftModel(task, config, tokenizer, settings)
        leave_model(estimator, left_model)
        metrics = train_and_evaluate(
            estimator,
            inputs.train,
            eval_spec,
            settings,
            task.best_metric,
            [*still_claimed(lock), left_model],
            dev_reports,
            {split: splits[split].num_examples for split in ("train", "dev") if split in splits},
            followers,
            workers.agree(lambda: may_have_other_scores(task, settings)),
        )
        if metrics:
            leave_model(estimator, left_model, metrics)  # what evaluating without training tuned
        if settings.do_predict:
            predict(estimator, inputs)
    workers.part()
    return metrics


def read_tokenizer(data: DataSettings) -> Tokenizer:
    """The tokenizer of the vocabulary that is named; warns where texts do not fit it."""
    tokenizer = load_tokenizer(data.spm_model_file, data.vocab_file, data.do_lower_case, data.keep_accents)
    warn_of_vocabulary(tokenizer)
    return tokenizer


def read_sources(task: Task, settings: Settings) -> dict[Split, SourceFiles]:
    """The files of every split that is needed."""
    data_dir = settings.data.data_dir
    return {split: SourceFiles.read(task.source_files(split, data_dir)) for split in wanted_splits(task, settings)}


def contents(config: AlbertConfig, tokenizer: Tokenizer, digests: Mapping[Split, str]) -> dict[str, str]:
    """What workers read, whatever its paths are, as texts by names for a message."""
    return {
        "the configuration of the model": json.dumps(config.to_dict(), sort_keys=True),
        "the vocabulary (its digest)": tokenizer.digest[:16],
    } | {f"the data of the {split} split (their digest)": digest[:16] for split, digest in digests.items()}


def load_splits(
    task: Task,
    tokenizer: Tokenizer,
    settings: Settings,
    sources: Mapping[Split, SourceFiles],
    begun_with_cuts: Collection[str] = (),
) -> dict[Split, SplitData]:
    """The records of every split, from caches that are made where they are missing.

    Long texts of splits that are `begun_with_cuts` are cut where training goes on: it ends as it would have ended then.
    """
    cut = begun_with_cuts if settings.do_train else ()
    found = {
        split: SplitData.load(task, split, tokenizer, settings.data, source, split in cut)
        for split, source in sources.items()
    }
    if any(found[split].cache.cuts and task.with_long_texts_split() != task for split in found.keys() & set(cut)):
        logging.warning(
            "%s is of a run that cuts long texts, as it did when it began; with another `output_dir` they are read in "
            "windows.", settings.output_dir,
        )  # fmt: skip
    return found


def record_splitting(splits: Mapping[Split, SplitData], settings: Settings, begun_with_cuts: Collection[str]) -> None:
    """Records of which splits long texts are read in windows, but not of those that a run began to cut."""
    split = [name for name, data in splits.items() if data.task.splits_long_texts and name not in begun_with_cuts]
    if split:
        record_windows(settings.output_dir, split)


def leave_model(estimator: Estimator, left_model: LeftModel, scores: Mapping[str, float] | None = None) -> None:
    """Writes what makes the output directory a model, where there is a checkpoint or will be one.

    `scores` are the best evaluation's; None: those of the best one so far.
    """
    best = estimator.evaluations.best
    known = scores if scores is not None else best.metrics if best else {}

    def write() -> None:
        if left_model.settings.do_train or estimator.checkpoint_steps:
            left_model.write(known)

    estimator.replicas.workers.on_chief(write)


def predict(estimator: Estimator, inputs: "InputFunctions") -> None:
    """Writes the predictions of the best checkpoint."""
    task, settings = inputs.task, inputs.settings
    restore_best(estimator, settings)
    split = task.predict_split
    data = inputs.splits[split]
    logging.info("Predicting %s of the %s split.", counted(data.num_examples, data.noun), split)
    predictions = estimator.predict(functools.partial(inputs.once, split, settings.per_replica_predict_batch_size))

    def write() -> None:
        files = inputs.splits[split].result_files(predictions)
        write_results(settings.output_dir, files)
        logging.info("Wrote the predictions: %s.", ", ".join(str(settings.output_dir / name) for name in files))

    estimator.replicas.workers.on_chief(write)


def write_results(output_dir: Path, files: Mapping[str, Text]) -> None:
    """Writes the texts of a split's predictions; scores of earlier ones go where these have none."""
    if TEST_SCORES not in files:
        (output_dir / TEST_SCORES).unlink(missing_ok=True)
    write_texts(output_dir, files)


def check_labels_of_checkpoint(task: Task, settings: Settings) -> None:
    """Raises UserError where the head in `init_checkpoint` would be read, but says that its classes are others.

    One of a run is trained further all the same, and only warned of.
    """
    model = settings.model
    prefix = model.init_checkpoint and checkpoint_prefix(model.init_checkpoint)
    if not prefix:
        return
    is_trained = any(settings.output_dir.glob("model.ckpt-*.index"))
    is_unread = model.discard_classifier_weights if settings.do_train else is_trained
    if format_of(prefix) in (HUGGING_FACE, KERAS_HUB):
        imported.check_labels(prefix.with_name("config.json"), task.output, is_unread)
    elif not is_unread and not is_trained:
        _check_labels_of_run(prefix, task, settings.do_train)


def expects_new_head(task: Task, settings: Settings) -> bool:
    """Whether `init_checkpoint` need not hold a head for the task: it is discarded, or of no model of this kind."""
    prefix = settings.model.init_checkpoint and checkpoint_prefix(settings.model.init_checkpoint)
    if not prefix or settings.model.discard_classifier_weights:
        return True
    description = _description_beside(prefix)
    return description is None or type(description.output) is not type(task.output)


def _description_beside(prefix: Path) -> ModelDescription | None:
    config_file = prefix.with_name("config.json")
    try:
        if format_of(prefix) not in (HUGGING_FACE, KERAS_HUB):
            return read_description(prefix.parent)
        return imported.describe(config_file) if config_file.is_file() else None
    except UserError:  # a file of that name that nothing here needs
        return None


def _check_labels_of_run(prefix: Path, task: Task, is_trained_further: bool) -> None:
    description = _description_beside(prefix)
    if description is None:
        return
    path, is_of_this_kind = prefix.with_name(DESCRIPTION), type(description.output) is type(task.output)
    if not is_of_this_kind and not is_trained_further:
        theirs, ours = for_people(description.task_name), for_people(task.name)
        raise UserError(f"{path} is of a model of {theirs}, not of {ours}. Name one of this task.")
    here, there = (getattr(output, "names", ()) for output in (task.output, description.output))
    if len(here) != len(there) or [name.casefold() for name in here] == [name.casefold() for name in there]:
        return  # other numbers are told when the weights are read
    said = f"{path}: the classes are {list_names(there)}, but here they are {list_names(here)}"
    if not is_trained_further:
        raise UserError(f"{said}. Name a model of this task.")
    logging.warning("%s: training continues with its head; `discard_classifier_weights` starts with a new one.", said)


def check_early_stopping(settings: Settings, eval_spec: EvalSpec | None) -> None:
    """Raises UserError where training is to stop by scores that there are none of."""
    if settings.do_train and settings.train.early_stopping_patience and eval_spec is None:
        raise UserError(
            f"`early_stopping_patience`={settings.train.early_stopping_patience} needs scores of checkpoints, but the "
            "dev split has no gold answers. Leave it out, or give a dev split with answers."
        )


def count_steps(task: Task, splits: Mapping[Split, SplitData], settings: Settings, replicas: Replicas) -> Settings:
    """`settings` with epochs turned into steps. Raises UserError where a step has more examples than there are."""
    if not settings.do_train:
        return settings
    examples = splits["train"].num_examples
    train = settings.train.in_steps(
        examples, replicas.count, lambda: replicas.workers.agree(lambda: counts_steps_exactly(settings.output_dir))
    )
    input_pipeline.check_batch(shape_of_step(train, replicas), examples)
    warn_of_rate(train.learning_rate)
    log_batch(train, examples, replicas.count, replicas.workers.count, splits["train"].noun)
    return dataclasses.replace(settings, train=train)


def shape_of_step(train: TrainSettings, replicas: Replicas) -> BatchShape:
    """The examples of one step."""
    return BatchShape(train.per_replica_batch_size, replicas.count, train.gradient_accumulation_steps)


def identity_of_run(
    task: Task,
    config: AlbertConfig,
    tokenizer: Tokenizer,
    settings: Settings,
    replicas: Replicas,
    digests: Mapping[Split, str],
) -> dict[str, dict[str, object]]:
    """What must be equal for an output_dir to be continued: the model, and how it is trained and evaluated if it is.

    `task` selects by its own metric; one that the settings name in its place is part of the evaluation.
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
            **identity_of_training(settings, replicas.count),
            "discard_classifier_weights": settings.model.discard_classifier_weights,
            "data_sha256": digests["train"],
            PACKING_VERSION: NEWEST_PACKING,
            SHAPE_COST: shape_cost(config.hidden_size, replicas.is_on_gpus, bool(settings.speed.use_xla)),
            "head": {name: value for name, value in vars(head_for(task.output, config)).items() if name != "config"}
            | LossChoice.of(task, settings.objective).identity(),
            **({SCORING: scoring} if (scoring := task.scoring()) else {}),
        }
    if settings.do_eval:
        identity["evaluation"] = {"data_sha256": digests["dev"]}
        chosen = with_metric(task, settings.objective).best_metric
        if chosen != task.best_metric:  # runs from before there was a choice have no such entry
            identity["evaluation"]["metric_for_best_model"] = chosen
    if rows := task.identity_of_rows():
        identity[ROWS] = rows
    return identity


def head_of_training(head: Head, task: Task, settings: Settings, splits: Mapping[Split, SplitData]) -> Head | None:
    """The head to train with where the settings ask for another loss than that of `head`."""
    choice, output = LossChoice.of(task, settings.objective), task.output
    if not settings.do_train or not isinstance(output, Labels | Tags) or choice == LossChoice():
        return None
    if isinstance(output, Tags):
        tag_ids = read_integers(splits["train"].cache, "tag_ids")  # 0 where no word begins
        label_ids = tag_ids[tag_ids > 0] - 1
    else:
        label_ids = read_integers(splits["train"].cache, "label_ids")
    return with_loss(head, WeightedCrossEntropy(choice.weights_for(output.names, label_ids), choice.label_smoothing))


def evaluated_at_once(max_seq_length: int, sequences_per_example: int = 1) -> int:
    """How many examples per replica a batch has that is not trained on, where the settings do not say."""
    # On a CPU the bundled model predicts a fifth faster by 4,096 tokens than by 1,024.
    return max(8, 4096 // (max_seq_length * sequences_per_example))


def longest_row(config: AlbertConfig, head: Head) -> int:
    """How long rows may be that are evaluated; 0 where they may not exceed a sequence."""
    # What a head that reads tokens says of a row is as long as the row.
    return 0 if head.reads_tokens else config.max_position_embeddings


@dataclasses.dataclass(frozen=True)
class InputFunctions:
    """The engine's three input functions, over the records of the wanted splits."""

    task: Task
    splits: Mapping[Split, SplitData]
    settings: Settings
    replicas: Replicas
    packing_version: int
    shape_cost: float  # in positions of a replica
    max_positions: int = 0  # of a row that is only evaluated

    def train(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """The batches of steps first_step..last_step - 1, one shard for each replica of this process."""
        source, shape, seed = self._train_data
        return input_pipeline.train_dataset(
            source, shape, seed, first_step, last_step, self.replicas.local_ids, self._train_shapes
        )

    @functools.cached_property
    def _train_data(self) -> tuple[Source, BatchShape, int]:
        return self._source("train"), shape_of_step(self.settings.train, self.replicas), self.settings.train.seed

    @functools.cached_property
    def _train_shapes(self) -> RowShapes:
        # Once for a run: the batch of a step that is not finite is read again, and the shapes would be logged again.
        return input_pipeline.train_shapes(*self._train_data)

    def once(self, split: Split, per_replica_batch_size: int | None) -> tf.data.Dataset:
        """Every example of `split` once."""
        longest, k = self.settings.data.max_seq_length, self.task.sequences_per_example
        shape = BatchShape(per_replica_batch_size or evaluated_at_once(longest, k), self.replicas.count)
        return input_pipeline.eval_dataset(self._source(split), shape, self.replicas.local_ids)

    def _source(self, split: Split) -> Source:
        train = self.settings.train
        return Source(
            self.splits[split].cache,
            self.task.feature_spec,
            self.settings.data.max_seq_length,
            self.task.sequences_per_example,
            self.settings.speed.pack_sequences,
            self.packing_version,
            self.shape_cost / ((train.train_steps or 1) * train.gradient_accumulation_steps),
            self.max_positions,
        )


def build_dev_reports(inputs: InputFunctions, estimator: Estimator) -> DevReports:
    """Scores and reports of the dev split, over checkpoints of `estimator`."""

    def predict_best() -> Mapping[str, np.ndarray]:
        restore_best(estimator, inputs.settings)
        return estimator.predict(lambda: inputs.once("dev", inputs.settings.per_replica_eval_batch_size))

    return DevReports(inputs.splits["dev"], lambda: estimator.global_step, predict_best)


def build_eval_spec(inputs: InputFunctions, score: Callable[[Mapping[str, np.ndarray]], dict[str, float]]) -> EvalSpec:
    """Scoring on the dev split, whose batches are described once."""
    dataset = inputs.once("dev", inputs.settings.per_replica_eval_batch_size)
    task = inputs.task
    num_examples = inputs.splits["dev"].num_examples
    return EvalSpec(lambda: dataset, score, task.best_metric, task.has_dev_labels, task.lower_is_better, num_examples)
