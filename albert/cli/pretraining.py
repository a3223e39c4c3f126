"""How the command line of `run_pretraining` becomes settings. No TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from albert.cli.flags import missing, parse, path_of, raise_for, run_fields, speed_settings, train_fields
from albert.cli.pretraining_programs import RUN_PRETRAINING
from albert.errors import UserError
from albert.pretraining_data.text_files import expand_patterns
from albert.settings import ModelSettings, PretrainingData, PretrainingSettings, PretrainingTrainSettings


def parse_pretraining_flags(argv: Sequence[str]) -> PretrainingSettings:
    """Settings from `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for unknown or ill-formed flags and for everything that is missing,
    does not exist or does not go together, at once.
    """
    values = parse(RUN_PRETRAINING, argv)
    problems = missing(RUN_PRETRAINING, values)
    files = {}
    for name in ("input_file", "eval_input_file"):
        try:
            files[f"{name}s"] = tuple(expand_patterns(values[name].value, name)) if values[name].value else ()
        except UserError as error:
            files[f"{name}s"] = (Path(values[name].value),)  # told once: it is given, but not there
            problems.append(str(error).rstrip("."))
    data = PretrainingData(
        **files,
        max_seq_length=values.max_seq_length,
        max_predictions_per_seq=values.max_predictions_per_seq,
        max_eval_steps=values.max_eval_steps,
        eval_batch_size=values.eval_batch_size,
    )
    settings = _settings(values, data)
    if values.masked_lm_budget:
        problems.append(
            f"--masked_lm_budget={values.masked_lm_budget:g} is not supported: pieces are masked when records are made"
        )
    raise_for(problems + _batch_problems(values, _num_replicas(values)) + settings.problems())
    return settings


def _num_replicas(values: flags.FlagValues) -> int:
    return 1 if values.strategy_type == "one" else values.num_gpu_cores


def _batch_problems(values: flags.FlagValues, replicas: int) -> list[str]:
    total, micro_batches = values.train_batch_size, values.gradient_accumulation_steps
    if min(total, replicas, micro_batches) < 1 or total % (replicas * micro_batches) == 0:
        return []
    return [
        f"--train_batch_size={total} sequences cannot be divided over {replicas} replicas x {micro_batches} "
        "micro-batches (--num_gpu_cores x --gradient_accumulation_steps): "
        f"give a multiple of {replicas * micro_batches}"
    ]


def _share(total: int, parts: int) -> int:
    """`total` over `parts`, rounded up. What is no number of sequences at all stays, to be told as it was given."""
    return -(-total // max(1, parts)) if total > 0 else total


def _settings(values: flags.FlagValues, data: PretrainingData) -> PretrainingSettings:
    replicas = max(1, _num_replicas(values))
    return PretrainingSettings(
        data=data,
        model=ModelSettings(
            albert_config_file=path_of(values, "albert_config_file"),
            init_checkpoint=path_of(values, "init_checkpoint"),
            dtype=values.dtype,
        ),
        train=PretrainingTrainSettings(
            train_steps=values.num_train_steps,
            warmup_steps=values.num_warmup_steps,
            per_replica_batch_size=_share(values.train_batch_size, replicas * values.gradient_accumulation_steps),
            poly_power=values.poly_power,
            start_warmup_step=values.start_warmup_step,
            **train_fields(values),
        ),
        speed=speed_settings(values, pack_sequences=False),
        # What is evaluated does not depend on how it is dealt: rounded up, any number of replicas will do.
        per_replica_eval_batch_size=_share(values.eval_batch_size, replicas),
        init_from_group0=values.init_from_group0,
        **run_fields(values),
    )
