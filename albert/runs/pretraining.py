"""Pretraining: from settings and record files to a pretrained model; the loop over steps is the engine's."""

import contextlib
import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from albert.albert_config import AlbertConfig
from albert.data import pretraining_batches
from albert.data.input_pipeline import BatchShape
from albert.data.pretraining_records import RecordFiles, RecordFormat, open_records
from albert.engine.distribution import Replicas
from albert.engine.estimator import Estimator, EvalSpec
from albert.errors import UserError
from albert.heads.pretraining import BEST_METRIC, PretrainingHead, metrics_of
from albert.runs.assembly import (
    build_estimator,
    check_model,
    identity_of_training,
    join_replicas,
    load_config,
    log_batch,
    log_devices,
    resolve,
    train_and_evaluate,
)
from albert.runs.divergence import warn_of_rate
from albert.runs.output_dir import Claim, claim_output_dir, still_claimed
from albert.serving.model_folder import write_model_folder
from albert.settings import PretrainingSettings
from albert.system.printing import counted
from albert.tokenization import SentencePieceTokenizer, Tokenizer, WordPieceTokenizer, load_tokenizer


def run(settings: PretrainingSettings) -> dict[str, float]:
    """Does what `settings` ask for and returns the metrics of the best checkpoint (empty without `do_eval`).

    Raises UserError for every error the user can fix, and Interrupted after a signal.
    """
    config = load_config(settings)
    check_model(config, settings)
    replicas = join_replicas(settings)
    workers = replicas.workers
    settings = resolve(settings, replicas)
    log_devices(settings, replicas)
    records = workers.together(lambda: open_wanted_records(config, settings))
    workers.compare(lambda: contents(config, records))
    tokenizer = workers.on_chief(lambda: tokenizer_of_records(settings, records))
    with workers.on_chief(lambda: claim(config, settings, replicas, records)) or contextlib.nullcontext() as lock:
        train = settings.train
        num_of_group = config.num_hidden_groups if settings.init_from_group0 else 0
        estimator = build_estimator(config, PretrainingHead(config), replicas, settings, num_of_group)
        train_input_fn = None
        if settings.do_train:
            warn_of_rate(train.learning_rate)
            log_batch(train, records["train"].count, replicas.count, workers.count)
            shape = BatchShape(train.per_replica_batch_size, replicas.count, train.gradient_accumulation_steps)
            train_input_fn = functools.partial(
                pretraining_batches.train_dataset, records["train"], shape, train.seed, replica_ids=replicas.local_ids
            )
        workers.on_chief(lambda: leave_model(estimator, config, tokenizer, settings))
        eval_spec = build_eval_spec(records["dev"], settings, replicas) if settings.do_eval else None
        metrics = train_and_evaluate(
            estimator,
            train_input_fn,
            eval_spec,
            settings,
            BEST_METRIC,
            still_claimed(lock),
            examples={split: opened.count for split, opened in records.items()},
        )
    workers.part()
    return metrics


def claim(
    config: AlbertConfig, settings: PretrainingSettings, replicas: Replicas, records: dict[str, RecordFiles]
) -> Claim:
    """Claims the output directory, and keeps there which records are checked."""
    lock = claim_output_dir(settings, identity_of_run(config, settings, replicas.count, records))
    try:
        for split, opened in records.items():
            opened.keep_check(checked_records_file(settings, split))
    except BaseException:
        lock.withdraw()
        raise
    return lock


def contents(config: AlbertConfig, records: Mapping[str, RecordFiles]) -> dict[str, str]:
    """What workers read, whatever its paths are, as texts by names for a message."""
    return {"the configuration of the model": json.dumps(config.to_dict(), sort_keys=True)} | {
        f"the {split} records (their digest)": opened.digest[:16] for split, opened in records.items()
    }


def leave_model(
    estimator: Estimator, config: AlbertConfig, tokenizer: Tokenizer | None, settings: PretrainingSettings
) -> None:
    """Writes what makes the output directory a model, where there is a checkpoint or will be one."""
    if settings.do_train or estimator.checkpoint_steps:
        write_model_folder(settings.output_dir, config, tokenizer, None)


def open_wanted_records(config: AlbertConfig, settings: PretrainingSettings) -> dict[str, RecordFiles]:
    """The records to train on ("train") and to evaluate on ("dev"), where that is asked for; all checked."""
    data = settings.data
    record_format = RecordFormat(
        data.max_seq_length, data.max_predictions_per_seq, config.vocab_size, config.type_vocab_size
    )
    wanted = (("train", settings.do_train, data.input_files), ("dev", settings.do_eval, data.eval_input_files))
    records = {
        split: open_records(files, record_format, checked_records_file(settings, split))
        for split, is_wanted, files in wanted
        if is_wanted
    }
    for opened in records.values():
        if opened.without_masks == opened.count:
            raise UserError(
                f"Of the {counted(opened.count, 'record')} none has a masked position, so that there is nothing "
                "to predict. Make them with `masked_lm_prob` above 0."
            )
    if len(records) == 2:
        trained = set(records["train"].digests.values())
        both = [str(path) for path, digest in records["dev"].digests.items() if digest in trained]
        if both:
            logging.warning("Trained on and evaluated: %s. Scores there say little.", ", ".join(sorted(both)))
    check_vocabulary(config, records)
    return records


def checked_records_file(settings: PretrainingSettings, split: str) -> Path:
    """Where a run keeps which records it has checked."""
    return settings.output_dir / f"checked_{split}_records"


def check_vocabulary(config: AlbertConfig, records: Mapping[str, RecordFiles]) -> None:
    """Raises UserError where records were made with different vocabularies, as far as their manifests tell.

    Warns where the model has room for another number of tokens than their vocabulary has.
    """
    vocabularies = frozenset().union(*(opened.vocabularies for opened in records.values()))
    if len(vocabularies) > 1:
        found = ", ".join(f"{digest[:8]} of {size}" for digest, size in sorted(vocabularies))
        raise UserError(
            f"The records to train on and to evaluate on were made with different vocabularies ({found} tokens): an id "
            "would have several meanings. Give records that were made with one."
        )
    for _, size in vocabularies:
        if size != config.vocab_size:
            logging.warning(
                "The records were made with a vocabulary of %d tokens, but vocab_size of the model is %d: "
                "are they made for each other?", size, config.vocab_size,
            )  # fmt: skip


def tokenizer_of_records(settings: PretrainingSettings, records: Mapping[str, RecordFiles]) -> Tokenizer | None:
    """The vocabulary that is named, with the casing that the records were made with; None where none is.

    Raises UserError where their manifests name another one.
    """
    files = settings.spm_model_file, settings.vocab_file
    if not any(files):
        return None
    digests = {digest for opened in records.values() for digest, _ in opened.vocabularies}
    named = load_tokenizer(*files, do_lower_case=True)
    kind = SentencePieceTokenizer if settings.spm_model_file else WordPieceTokenizer
    casings = [(lower, keep) for lower in (True, False) for keep in (False, True)]
    tokenizers = [kind(named.vocabulary_bytes, lower, keep_accents=keep) for lower, keep in casings]
    fitting = [tokenizer for tokenizer in tokenizers if not digests or tokenizer.digest in digests]
    if not fitting:
        name = "spm_model_file" if settings.spm_model_file else "vocab_file"
        raise UserError(
            f"`{name}`={getattr(settings, name)} is not the vocabulary that the records were made with. Name that one, "
            "or leave it out."
        )
    return fitting[0]


def identity_of_run(
    config: AlbertConfig, settings: PretrainingSettings, num_replicas: int, records: dict[str, RecordFiles]
) -> dict[str, dict[str, object]]:
    """What must be equal for an output_dir to be continued; see `albert.runs.fine_tuning.identity_of_run`."""
    identity = {"model": identity_of_model(config, settings)}
    if settings.do_train:
        identity["training"] = {
            **identity_of_training(settings, num_replicas),
            "init_from_group0": settings.init_from_group0,
            "data_sha256": records["train"].digest,
        }
    if settings.do_eval:
        identity["evaluation"] = {
            "data_sha256": records["dev"].digest,
            "max_records": settings.data.max_eval_records,
        }
    return identity


def identity_of_model(config: AlbertConfig, settings: PretrainingSettings) -> dict[str, object]:
    """The part of `identity_of_run` that decides which records fit."""
    data = settings.data
    return {
        "task": data.task_name,
        "albert_config": config.to_dict(),
        "max_seq_length": data.max_seq_length,
        "max_predictions_per_seq": data.max_predictions_per_seq,
        "dtype": settings.model.dtype,
    }


def build_eval_spec(records: RecordFiles, settings: PretrainingSettings, replicas: Replicas) -> EvalSpec:
    """The four metrics on the first records, as many as are evaluated.

    The engine forms no loss, though there are labels: this one is not a mean over sequences, but a quotient of sums.
    """
    assert settings.per_replica_eval_batch_size, "pretraining has its own default"
    shape = BatchShape(settings.per_replica_eval_batch_size, replicas.count)
    dataset = pretraining_batches.eval_dataset(records, shape, settings.data.max_eval_records, replicas.local_ids)
    num_examples = min(records.count, settings.data.max_eval_records)
    return EvalSpec(lambda: dataset, metrics_of, BEST_METRIC, has_labels=False, num_examples=num_examples)
