"""Training recipes, one per task and model size: the one table of --recipe, the scripts, the demo and the benchmarks.

Batches count examples over all replicas, so a recipe means the same on one GPU and on eight. No flags, no TensorFlow.
"""

import dataclasses
import math
from collections.abc import Mapping

from albert.errors import UserError

# The published sizes and the bundled model, which differ in their hidden size.
MODEL_SIZES: Mapping[str, int] = {"tiny": 256, "base": 768, "large": 1024, "xlarge": 2048, "xxlarge": 4096}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Hyperparameters that learn one task. None: the recipe does not set it.

    Training lasts `train_steps` with `warmup_steps` of warm-up, or `num_train_epochs` with `warmup_proportion`.

    Attributes:
      learning_rate: the peak.
      global_batch_size: examples per step over all replicas and micro-batches.
      albert_dropout_prob: dropout in the encoder; None keeps the rates of albert_config.json.
      dropout_prob: dropout of what the head reads.
      save_checkpoints_steps: steps between two checkpoints, each with an evaluation.
      max_replica_batch_size: examples of `max_seq_length` per replica and micro-batch that the published sizes were
        trained with; a larger share of the batch is divided into micro-batches. None: the share is never divided.
    """

    learning_rate: float
    global_batch_size: int
    max_seq_length: int
    train_steps: int | None = None
    num_train_epochs: float | None = None
    warmup_steps: int | None = None
    warmup_proportion: float | None = None
    albert_dropout_prob: float | None = None
    dropout_prob: float | None = None
    save_checkpoints_steps: int | None = None
    max_replica_batch_size: int | None = None

    def batch_on(self, num_replicas: int, accumulation_steps: int | None = None) -> tuple[int, int]:
        """Examples per replica and micro-batch, and micro-batches per step (`accumulation_steps` if given).

        Their product with `num_replicas` is `global_batch_size`, or the next number that the replicas can share.
        """
        per_replica = math.ceil(self.global_batch_size / num_replicas)
        if accumulation_steps is None:
            accumulation_steps = math.ceil(per_replica / (self.max_replica_batch_size or per_replica))
        return math.ceil(per_replica / accumulation_steps), accumulation_steps


def _glue(
    warmup: int, rate: float, steps: int, save: int, batch: int, dropout: float | None = None, length: int = 128
) -> Recipe:
    return Recipe(
        learning_rate=rate,
        train_steps=steps,
        warmup_steps=warmup,
        global_batch_size=batch,
        albert_dropout_prob=dropout,
        max_seq_length=length,
        save_checkpoints_steps=save,
    )


# Table 14 of the ALBERT paper and the authors' run_glue.sh, with rows of 128 tokens instead of 512: GLUE's texts are
# short. Their script has no WNLI.
_MNLI = _glue(1000, 3e-5, 10000, 100, 128, 0.0)
_SQUAD = Recipe(
    learning_rate=5e-5,
    num_train_epochs=3.0,
    warmup_proportion=0.1,
    global_batch_size=128,
    max_seq_length=512,
    save_checkpoints_steps=1000,
    max_replica_batch_size=16,
)
_PUBLISHED = {
    # warm-up, rate, steps, steps between two checkpoints, batch, dropout of the encoder
    "cola": _glue(320, 1e-5, 5336, 100, 16, 0.0),
    "sst-2": _glue(1256, 1e-5, 20935, 100, 32, 0.0),
    "mrpc": _glue(200, 2e-5, 800, 100, 32, 0.0),
    "sts-b": _glue(214, 2e-5, 3598, 100, 16, 0.0),
    "qqp": _glue(1000, 5e-5, 14000, 100, 128, 0.1),
    "mnli": _MNLI,
    "mismnli": _MNLI,
    "qnli": _glue(1986, 1e-5, 33112, 200, 32, 0.0),
    "rte": _glue(200, 3e-5, 800, 100, 32, 0.1),
    "wnli": _glue(250, 2e-5, 2000, 100, 16, 0.1),
    # Own data: Google's usual rate and batch for small tasks.
    "own": Recipe(
        learning_rate=2e-5,
        num_train_epochs=3.0,
        warmup_proportion=0.1,
        global_batch_size=32,
        max_seq_length=128,
        save_checkpoints_steps=100,
    ),
    "squad1.1": _SQUAD,
    "squad2.0": dataclasses.replace(_SQUAD, dropout_prob=0.1),
    "race": Recipe(
        learning_rate=2e-5,
        train_steps=12000,
        warmup_steps=1000,
        global_batch_size=32,
        albert_dropout_prob=0.0,
        dropout_prob=0.1,
        max_seq_length=512,
        save_checkpoints_steps=1000,
        max_replica_batch_size=4,
    ),
}

# A small model needs a larger rate. At 3e-4 some runs from random weights stay at chance on SST-2, and one from
# pretrained weights did on STS-B.
_TINY_RATE = 1e-4
_TINY = {name: dataclasses.replace(recipe, learning_rate=_TINY_RATE) for name, recipe in _PUBLISHED.items()} | {
    # Three epochs (a third of one for SST-2), a tenth of them warm-up, four evaluations: benchmarks/transfer.md.
    "cola": _glue(80, _TINY_RATE, 800, 200, 32),
    "sst-2": _glue(70, _TINY_RATE, 700, 175, 32),
    "mrpc": _glue(34, _TINY_RATE, 344, 86, 32),
    "sts-b": _glue(54, _TINY_RATE, 540, 135, 32),
}

_ANY_SIZE = {
    # The bundled task: six thousand generated sentences. No word says anything about the label, so gradients are noise
    # until attention finds the verb's subject. Meanwhile Adam's first updates, large without bias correction (after 50
    # steps 4.5 times the rate), saturate the pooled output until it is nearly the same for all sentences. Hence large
    # batches and a long warm-up: with batches of 32, some seeds do not recover within as many examples.
    "agreement": _glue(200, 1e-4, 350, 50, 64, length=32),
    # Pretraining from scratch with AdamW: LAMB and its rate belong to batches of thousands. A model learns much sooner
    # from short sequences than from as many tokens in long ones (docs/pretraining.md). "overfit" learns the bundled
    # text by heart.
    "pretraining": Recipe(
        learning_rate=5e-4, train_steps=2000, warmup_proportion=0.2, global_batch_size=64, max_seq_length=32
    ),
    "overfit": Recipe(
        learning_rate=5e-4, train_steps=500, warmup_proportion=0.2, global_batch_size=16, max_seq_length=128
    ),
}

# What recipes were in earlier versions: runs that began with them continue with them.
_EARLIER: Mapping[str, tuple[Recipe, ...]] = {"agreement": (_glue(50, 1e-4, 600, 100, 32, length=32),)}


def recipe_for(task_name: str, model_size: str | None) -> Recipe:
    """The recipe of a task, in any capitals ("mrpc", "squad2.0", "race"), for a model size.

    A model of a size of its own (None) gets the recipes of the published sizes. Raises UserError for an unknown task or
    size.
    """
    if model_size is not None and model_size not in MODEL_SIZES:
        raise UserError(f"model size {model_size} is unknown; use one of: {', '.join(MODEL_SIZES)}.")
    recipes = (_TINY if model_size == "tiny" else _PUBLISHED) | _ANY_SIZE
    for name, recipe in recipes.items():
        if _spelling(name) == _spelling(task_name):
            return recipe
    raise UserError(
        f"there is no recipe for task {task_name}, only for {', '.join(recipes)}. For another task set the learning "
        "rate, steps, warm-up and batch size."
    )


def earlier_recipes(task_name: str) -> tuple[Recipe, ...]:
    """What the task's recipe was in earlier versions."""
    return _EARLIER.get(task_name, ())


def model_size_of(hidden_size: int) -> str | None:
    """The name of the model size with this `hidden_size` (albert_config.json); None for a size of its own."""
    return next((name for name, hidden in MODEL_SIZES.items() if hidden == hidden_size), None)


def _spelling(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
