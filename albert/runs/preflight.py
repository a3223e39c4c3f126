"""What stops a run and can be told before TensorFlow is imported, which takes seconds. No TensorFlow.

The runs themselves check all of it again, when they have the rest: contents of files, devices, other workers.
"""

import dataclasses
import logging

from albert.albert_config import AlbertConfig, read_config
from albert.data.source_files import SourceFiles
from albert.errors import UserError
from albert.runs.left_model import check_records_of_training
from albert.runs.output_dir import check_known, known_differences
from albert.settings import ONCE_CONSTANT, DataSettings, PretrainingSettings, Settings, TrainSettings
from albert.tasks.base import Split, Task
from albert.tokenization import Tokenizer, load_tokenizer

# What may differ when a run continues: how often something is done, and when it stops.
_NOT_OF_IDENTITY = (
    *("save_checkpoints_steps", "keep_checkpoint_max", "log_steps", "skip_nonfinite_steps"),
    *("early_stopping_patience", "early_stopping_threshold"),
    # The product of these and the replicas is part of it.
    *("per_replica_batch_size", "gradient_accumulation_steps"),
)
_NOTHING = object()


def check_fine_tuning(task: Task, settings: Settings) -> None:
    """Raises UserError where rows are too long for the model, data are missing, the vocabulary has more pieces than the
    model, or the folder holds another run.
    """
    config = _checked_config(settings)
    check_records_of_training(task, settings)
    if settings.strategy_type == "multi_worker":
        return  # these wait for each other, and hear what one of them lacks
    for split in wanted_splits(task, settings):
        missing = [path for path in task.source_files(split, settings.data.data_dir) if not path.exists()]
        SourceFiles.read(missing[:1])  # says what is wrong with it
    check_vocabulary(config, _tokenizer(settings.data), settings)
    _check_folder(config, settings, task.name)


def check_pretraining(settings: PretrainingSettings) -> None:
    """Raises UserError where rows are too long for the model, or the folder holds another run."""
    config = _checked_config(settings)
    if settings.strategy_type != "multi_worker":
        _check_folder(config, settings, settings.data.task_name)


def check_positions(config: AlbertConfig, settings: Settings) -> None:
    """Raises UserError where rows are longer than the model reads."""
    length = settings.data.max_seq_length
    if length > config.max_position_embeddings:
        raise UserError(
            f"`max_seq_length`={length}, but the model of {settings.model.albert_config_file} has "
            f"{config.max_position_embeddings} positions. Lower `max_seq_length`."
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
    wanted: tuple[tuple[Split, bool], ...] = (
        ("train", settings.do_train),
        ("dev", settings.do_eval),
        (task.predict_split, settings.do_predict),
    )
    return list(dict.fromkeys(split for split, is_wanted in wanted if is_wanted))


def identity_of_optimisation(train: TrainSettings) -> dict[str, object]:
    """What decides the course of a training that begins with the same weights, data and batches."""
    found = {name: value for name, value in dataclasses.asdict(train).items() if name not in _NOT_OF_IDENTITY}
    # Runs from before there was a choice have no such entry.
    return {name: value for name, value in found.items() if ONCE_CONSTANT.get(name, _NOTHING) != value}


def _tokenizer(data: DataSettings) -> Tokenizer:
    """That of the run, which says itself what is odd about it."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return load_tokenizer(data.spm_model_file, data.vocab_file, data.do_lower_case, data.keep_accents)
    finally:
        logging.disable(previous)


def _checked_config(settings: Settings) -> AlbertConfig:
    config = _config(settings)
    check_positions(config, settings)
    return config


def _config(settings: Settings) -> AlbertConfig:
    config, _ = read_config(settings.model.albert_config_file)
    rate = settings.model.albert_dropout_prob
    return config if rate is None else config.with_dropout(rate)


def _check_folder(config: AlbertConfig, settings: Settings, task_name: str) -> None:
    if not settings.overwrite_output_dir:
        check_known(settings.output_dir, _known(config, settings, task_name))


def differences_from_earlier(task: Task, settings: Settings) -> list[str]:
    """In what a run of one process differs from the one in its folder, as far as that is known; each as one phrase."""
    return known_differences(settings.output_dir, known_of(task, settings))


def known_of(task: Task, settings: Settings) -> dict[str, dict[str, object]]:
    """What is known of the identity of a run of one process before TensorFlow is imported and files are read."""
    known = _known(_config(settings), settings, task.name)
    if settings.do_train:
        replicas = 1 if settings.strategy_type == "one" else settings.num_replicas
        batch = settings.train.global_batch_size(replicas)
        known["training"]["global_batch_size"] = batch
    return known


def _known(config: AlbertConfig, settings: Settings, task_name: str) -> dict[str, dict[str, object]]:
    """What is known of a run's identity before TensorFlow is imported and files are read."""
    model = {"task": task_name, "albert_config": config.to_dict(), "max_seq_length": settings.data.max_seq_length}
    known: dict[str, dict[str, object]] = {"model": model}
    if settings.do_train:
        known["training"] = identity_of_optimisation(settings.train)
    return known
