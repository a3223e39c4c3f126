"""What all processes of the race share: the rows, which of them make up a batch, and the lines they talk in.

Imported both by the project's environment and by the peers', so it needs nothing but NumPy.

A contender process prints one JSON line {"ready": {...}} when it has warmed up, and then answers each request line with
one reply line; between requests it blocks on its standard input and costs nothing:

    {"run": 2, "first_batch": 6, "variant": "padded"}
    {"seconds": [0.41, 0.43], "examples": 64, "real_tokens": 3771, "computed_tokens": 8192}

What goes wrong is one line {"error": "..."}, and the end of the process.
"""

import dataclasses
import functools
import itertools
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

# Batch k is rows k * B .. k * B + B - 1 for everybody but the peer that groups rows by length.
GROUPED = "grouped"
# Several examples in a row, by the peers.
FLATTENED = "flattened"

_GOOGLE = {"vocab_size": 30000, "embedding_size": 128, "max_position_embeddings": 512}
BUNDLED = "bundled"
# Widths and depths of Google's models; one to try the program with, and the bundled one: also with Google's vocabulary.
MODELS = {
    "tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        **_GOOGLE,
    },
    # As deep as "base", and as narrow as "tiny": as many operations with next to no arithmetic.
    "thin": {
        "hidden_size": 32,
        "num_hidden_layers": 12,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        **_GOOGLE,
    },
    "small": {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        **_GOOGLE,
    },
    BUNDLED: {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "vocab_size": 7000,
        "embedding_size": 64,
        "max_position_embeddings": 512,
    },
    "base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        **_GOOGLE,
    },
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        **_GOOGLE,
    },
    "xlarge": {
        "hidden_size": 2048,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 8192,
        **_GOOGLE,
    },
    "xxlarge": {
        "hidden_size": 4096,
        "num_hidden_layers": 12,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        **_GOOGLE,
    },
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """N tokenised rows without padding.

    Attributes:
      input_ids: int32 [tokens], the rows one after another, each with its [CLS] and [SEP].
      segment_ids: int32 [tokens].
      lengths: int32 [N].
      labels: [N, 1] int32 or float32, or int32 [N, 2] start and end positions.
    """

    input_ids: np.ndarray
    segment_ids: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray

    @classmethod
    def from_lists(
        cls, rows: Sequence[tuple[Sequence[int], Sequence[int], Sequence[float]]], label_dtype: str
    ) -> "Rows":
        """From (input_ids, segment_ids, labels) of each row."""
        ids, segments, labels = zip(*rows, strict=True)
        lengths = np.array([len(row) for row in ids], np.int32)
        return cls(_joined(ids), _joined(segments), lengths, np.array(labels, label_dtype))

    @classmethod
    def load(cls, path: Path) -> "Rows":
        """Reads what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in dataclasses.fields(cls)})

    def save(self, path: Path) -> None:
        """Writes an .npz file."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @property
    def count(self) -> int:
        """N."""
        return len(self.lengths)

    @functools.cached_property
    def _ends(self) -> list[int]:
        return np.cumsum(self.lengths, dtype=np.int64).tolist()

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """`input_ids` and `segment_ids` of one row, int32 [its length]."""
        span = slice(self._ends[number] - int(self.lengths[number]), self._ends[number])
        return self.input_ids[span], self.segment_ids[span]

    def padded(self, numbers: Sequence[int], width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int64 [B, width] ids, mask (1 on tokens) and segment ids of the rows `numbers`, zeros after each row."""
        ids, mask, segments = (np.zeros((len(numbers), width), np.int64) for _ in range(3))
        for place, number in enumerate(numbers):
            length = int(self.lengths[number])
            assert length <= width, f"row {number} has {length} tokens, more than {width}"
            ids[place, :length], segments[place, :length] = self.row(number)
            mask[place, :length] = 1
        return ids, mask, segments


def _joined(rows: Sequence[Sequence[int]]) -> np.ndarray:
    return np.fromiter(itertools.chain.from_iterable(rows), np.int32, sum(map(len, rows)))


@dataclasses.dataclass(frozen=True)
class Job:
    """What a contender process is to train; travels as JSON in its first argument.

    Attributes:
      rows: the file with the rows.
      model: key of MODELS.
      kind: "classification", "regression" or "span".
      num_labels: classes of a classification.
      dtype: "float32" or "bfloat16", of the computation; weights and optimizer are float32.
      batch_size: examples per step, over all replicas.
      max_seq_length: what padded rows are padded to.
      variants: the ways to make batches that this process is asked for; ours has just one, "packed" or "padded".
      warm_up_rounds, timed_rounds, steps_per_round: it is asked for the batches of as many steps, from batch 0 on;
        those of the warm-up do not count.
      threads: processor cores to use.
      device: "cpu" or "gpu".
      compiled: peers only: None, "static" or "dynamic" shapes of torch.compile.
      replicas, recompute, deterministic, dropout: ours only; dropout of the encoder, which Google's models are
        released without.
    """

    rows: str
    model: str
    kind: str
    num_labels: int
    dtype: str
    batch_size: int
    max_seq_length: int
    variants: Sequence[str]
    warm_up_rounds: int
    timed_rounds: int
    steps_per_round: int
    threads: int
    device: str = "cpu"
    compiled: str | None = None
    replicas: int = 1
    recompute: bool = False
    deterministic: bool = False
    dropout: float = 0.0

    @property
    def num_batches(self) -> int:
        """Batches this process is asked for, warm-up included."""
        return (self.warm_up_rounds + self.timed_rounds) * self.steps_per_round

    def plain_batch(self, number: int) -> np.ndarray:
        """int64 [B]: the rows of batch `number` in the order of the file."""
        return np.arange(number * self.batch_size, (number + 1) * self.batch_size)


def grouped_batches(order: Sequence[int], lengths: np.ndarray, job: Job, seed: int) -> list[np.ndarray]:
    """The batches, int64 [B] each, by which a peer is timed that goes through its rows in the length-grouped `order`.

    Such batches differ: some hold only long rows, most only short ones. A few in a row would misrepresent an epoch, so
    those that are timed are spread evenly over all batches sorted by their longest row, and each round gets its share
    of long and short ones. A last batch that is not full is left out.
    """
    full = len(order) // job.batch_size * job.batch_size
    batches = np.asarray(order[:full], np.int64).reshape(-1, job.batch_size)
    longest = lengths[batches].max(axis=1)
    return [
        batches[number]
        for rounds in (job.warm_up_rounds, job.timed_rounds)
        for number in spread(longest, rounds, job.steps_per_round, seed)
    ]


def spread(values: np.ndarray, rounds: int, steps: int, seed: int) -> list[int]:
    """rounds x steps indices of `values`, evenly spaced in its sorted order; each `steps` in a row average it well.

    Round r takes the r-th smallest of the first stratum, the r-th largest of the second, and so on; the rounds come in
    an order drawn from `seed`.
    """
    wanted = rounds * steps
    by_value = np.argsort(values, kind="stable")
    places = ((np.arange(wanted) + 0.5) * len(values) / wanted).astype(np.int64)
    strata = by_value[places].reshape(steps, rounds)
    strata[1::2] = strata[1::2, ::-1]
    return strata[:, np.random.default_rng(seed).permutation(rounds)].T.ravel().tolist()


class Contender(Protocol):
    """What a contender process serves. `info` is sent once; `answer` replies to one request."""

    info: Mapping[str, object]

    def answer(self, request: Mapping[str, object]) -> dict[str, object]: ...


def serve(make: Callable[[dict], Contender]) -> None:
    """The life of a contender process: make it from the JSON in the first argument, then answer until input ends."""
    # Libraries print what they like to standard output; the conversation keeps the original for itself.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        contender = make(json.loads(sys.argv[1]))
        print(json.dumps({"ready": contender.info}), file=replies)
        for line in sys.stdin:
            print(json.dumps(contender.answer(json.loads(line))), file=replies)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        traceback.print_exc()
        message = " ".join(f"{type(error).__name__}: {error}".split())
        print(json.dumps({"error": message}), file=replies)
        sys.exit(1)
