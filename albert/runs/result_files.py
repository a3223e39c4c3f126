"""`eval_results.txt` and `eval_results.json`: how a model was trained, and the scores of its checkpoints."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from albert.engine.evaluations import Evaluation
from albert.engine.throughput import Throughput
from albert.settings import ONCE_CONSTANT, Settings
from albert.system.files import Text, write_texts
from albert.system.json_text import finite_or_null, parse_json
from albert.system.text_encoding import read_regular

_STOPPED = "Stopped early at step"
# Seconds of training steps: of all, or where a run was resumed, of those since then.
_WHOLE_TIME, _LAST_TIME = "Total time", "Time since the last start"
# What a report calls these settings, where they are not what they always were at first.
_TITLES = {
    "lr_scheduler_type": "Learning rate schedule",
    "weight_decay": "Weight decay",
    "max_grad_norm": "Max gradient norm",
    "adam_beta1": "Adam beta 1",
    "adam_beta2": "Adam beta 2",
    "adam_epsilon": "Adam epsilon",
}


class Results:
    """`eval_results.txt` (the predecessor's lines) and `eval_results.json` of one run.

    `examples` are how many examples each split has, for the JSON.
    """

    def __init__(
        self,
        settings: Settings,
        best_metric: str,
        num_replicas: int,
        examples: Mapping[str, int] = MappingProxyType({}),
    ):
        self._settings = settings
        self._best_metric = best_metric
        train = settings.train
        # A run that does not train, or has nothing left to, says how the model was trained before it.
        self._hyperparameters = _hyperparameters_on_disk(settings.output_dir)
        self._examples = _examples_on_disk(settings.output_dir) | dict(examples)
        if not settings.do_train:
            return
        self._hyperparameters |= {
            "Training batch size": train.per_replica_batch_size,
            "Gradient accumulation steps": train.gradient_accumulation_steps,
            "Max sequence length": settings.data.max_seq_length,
            "Learning rate": train.learning_rate,
            "Num of GPU cores": num_replicas,
            "Global batch size": train.global_batch_size(num_replicas),
            "Optimizer": train.optimizer,
            "Seed": train.seed,
            "Training steps": train.train_steps,
            "Warmup steps": train.warmup_steps,
            **{
                title: getattr(train, name)
                for name, title in _TITLES.items()
                if getattr(train, name) != ONCE_CONSTANT[name]
            },
        }

    def trained(self, throughput: Throughput, stopped_at: int | None = None, is_resumed: bool = False) -> None:
        """Adds time and speed of this process's training steps without warm-up, if it made any.

        `stopped_at` is the step at which early stopping ended training. `is_resumed`: an earlier process made the first
        steps, and nothing says exactly how long they took.
        """
        self._hyperparameters.pop(_STOPPED, None)
        if stopped_at is not None:
            self._hyperparameters[_STOPPED] = stopped_at
        if throughput.seconds:
            speed = throughput.speed
            for name in (_WHOLE_TIME, _LAST_TIME):
                self._hyperparameters.pop(name, None)
            self._hyperparameters |= {
                _LAST_TIME if is_resumed else _WHOLE_TIME: round(throughput.seconds, 2),
                "Speed": round(speed.examples_per_second, 2),
                "Seconds per step": round(speed.seconds_per_step, 4),
            }
            if not math.isnan(speed.padding_share):
                self._hyperparameters |= {
                    "Real tokens per second": round(speed.tokens_per_second, 1),
                    "Share of padding": round(speed.padding_share, 4),
                }

    def evaluated(
        self,
        evaluations: Iterable[Evaluation],
        best_metrics: Mapping[str, float],
        labels: Sequence[str] = (),
        others: Mapping[str, Text] | None = None,
    ) -> None:
        """Writes both files: every evaluated checkpoint, the metrics of the best, and the names of the labels, if any.

        `others` are files of the same evaluation by name, which are written together with these two.
        """
        evaluations = list(evaluations)
        lines = ["===== Hyperparameters ====="]
        lines += [f"{name} = {value}" for name, value in self._hyperparameters.items()]
        best = None
        for evaluation in evaluations:
            best = evaluation if evaluation.is_best else best
            lines += ["===== Evaluations ====="]
            lines += [f"{name} = {value}" for name, value in sorted(evaluation.metrics.items())]
            assert best, "the first evaluation is the best so far"
            lines += [f"best = {best.value}"]
            if evaluation.is_best:
                lines += [f"saved model.ckpt-{evaluation.step} to model.ckpt-best"]
            lines += ["=" * 50]
        lines += [f"best {self._best_metric} = {best_metrics[self._best_metric]} at step {best_metrics['global_step']}"]
        summary = {
            "task": self._settings.data.task_name,
            "hyperparameters": self._hyperparameters,
            "best_metric": self._best_metric,
            "examples": self._examples,
            "best": finite_or_null(best_metrics),
            "evaluations": [{"is_best": e.is_best, **finite_or_null(e.metrics)} for e in evaluations],
        }
        if labels:
            summary["labels"] = list(labels)
        texts: dict[str, Text] = {
            "eval_results.txt": "\n".join(lines) + "\n",
            "eval_results.json": json.dumps(summary, indent=2) + "\n",
        }
        write_texts(self._settings.output_dir, {**texts, **(others or {})})


def _hyperparameters_on_disk(output_dir: Path) -> dict[str, object]:
    """What `eval_results.json` says of training; nothing if it is missing or not ours."""
    try:
        found = parse_json(read_regular(output_dir / "eval_results.json"))["hyperparameters"]
        json.dumps(found, ensure_ascii=False).encode()  # ValueError for half a surrogate pair, which cannot be written
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    is_ours = isinstance(found, dict) and all(isinstance(value, str | int | float) for value in found.values())
    return found if is_ours else {}


def _examples_on_disk(output_dir: Path) -> dict[str, int]:
    """How many examples each split had by `eval_results.json`; nothing if it does not say so, or is not ours."""
    try:
        found = parse_json(read_regular(output_dir / "eval_results.json"))["examples"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    is_ours = isinstance(found, dict) and found.keys() <= {"train", "dev"}
    return found if is_ours and all(type(count) is int and 0 < count < 1 << 63 for count in found.values()) else {}
