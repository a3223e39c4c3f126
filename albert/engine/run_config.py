"""Where a run of the engine lives, and how often it saves, evaluates and reports. No TensorFlow."""

import dataclasses
from pathlib import Path

from albert.errors import UserError


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Where a run lives and how often it reports.

    Attributes:
      model_dir: checkpoints go here.
      global_batch_size: examples per training step over all replicas; for throughput figures.
      save_checkpoints_steps: steps between checkpoints, each of which is evaluated.
      keep_checkpoint_max: newest checkpoints kept; 0 keeps all. `model.ckpt-best` does not count and is never deleted.
      log_steps: steps between lines in the log.
      micro_batches: parts that a replica's batch comes in, one after the other; see `TrainingStep`.
      use_xla: compile the forward and backward pass of each replica.
      profile_steps: the steps (first, last) whose profile is written to `model_dir`; None for none.
      skip_nonfinite_steps: steps whose loss or gradient is not finite that are left out before the next one stops
        training; see `NonfiniteSteps`.
      early_stopping_patience, early_stopping_threshold: see `EvaluationLog.early_stop`; patience 0 never stops.
    """

    model_dir: Path
    global_batch_size: int
    save_checkpoints_steps: int = 1000
    keep_checkpoint_max: int = 5
    log_steps: int = 100
    micro_batches: int = 1
    use_xla: bool = False
    profile_steps: tuple[int, int] | None = None
    skip_nonfinite_steps: int = 0
    early_stopping_patience: int = 0
    early_stopping_threshold: float = 0.0

    def __post_init__(self) -> None:
        lowest = {"save_checkpoints_steps": 1, "keep_checkpoint_max": 0, "log_steps": 1, "skip_nonfinite_steps": 0}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise UserError(f"`{name}`={getattr(self, name)} must be at least {least}")
