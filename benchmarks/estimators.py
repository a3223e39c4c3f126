"""The engine with a model of random weights, ready to make steps: for benchmarks of the engine itself."""

from pathlib import Path

from albert.albert_config import AlbertConfig
from albert.custom_optimization import LearningRateSchedule, create_optimizer
from albert.engine.distribution import Replicas
from albert.engine.estimator import Estimator, RunConfig
from albert.heads.base import Head
from albert.modeling import AlbertModel
from albert.runs.model_fn import build_model_fn

SCHEDULE = LearningRateSchedule(2e-5, num_train_steps=100_000, num_warmup_steps=100)


def started_estimator(config: AlbertConfig, head: Head, replicas: Replicas, model_dir: Path) -> Estimator:
    """AdamW, with its slots made."""
    estimator = Estimator(
        model_fn=build_model_fn(config, head),
        create_weights=lambda: AlbertModel(config, head.variable_specs).weights,
        optimizer=create_optimizer("adamw"),
        learning_rate=SCHEDULE,
        replicas=replicas,
        config=RunConfig(model_dir, global_batch_size=1),
    )
    estimator._start_or_resume()
    return estimator
