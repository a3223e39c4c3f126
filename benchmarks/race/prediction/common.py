"""What the processes of the race of trained models share. Needs nothing but NumPy, for both environments.

A process is asked for all rows at once, by the way in which it is to predict them:

    {"run": 1, "first_batch": 0, "variant": "sorted 32"}
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from benchmarks.race.common import Rows

PADDED, DYNAMIC, SORTED = "padded", "dynamic", "sorted"


@dataclasses.dataclass(frozen=True)
class PredictionJob:
    """What a contender process predicts with; travels as JSON in its first argument.

    Attributes:
      rows: the file with the rows.
      spm_model_file: the vocabulary that they were tokenised with.
      model: key of MODELS.
      num_labels: classes.
      dtype: "float32" or "bfloat16", of the computation.
      max_seq_length: what padded rows are padded to.
      variants: the ways to predict that this process is asked for; the peers' are "WAY BATCH_SIZE".
      threads: processor cores to use.
      device: "cpu" or "gpu".
      compiled: peers only: None, "static" or "dynamic" shapes of torch.compile.
    """

    rows: str
    spm_model_file: str
    model: str
    num_labels: int
    dtype: str
    max_seq_length: int
    variants: Sequence[str]
    threads: int
    device: str = "cpu"
    compiled: str | None = None


def reply(rows: Rows, predict: Callable[[], int], clock: Callable[[], float]) -> Mapping[str, object]:
    """The reply to one request: how long `predict` takes, which returns how many tokens the model computed."""
    begin = clock()
    computed = predict()
    seconds = clock() - begin
    real = int(rows.lengths.sum())
    return {"seconds": [seconds], "examples": rows.count, "real_tokens": real, "computed_tokens": computed}
