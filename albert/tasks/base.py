"""The contract every fine-tuning task signs, and the plain data that passes through it.

Owns no behaviour. The runner, the cache and the input pipeline know a task only through what stands here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from albert.data.schema import Column, HostRecord, Record
from albert.settings import DataSettings
from albert.tokenization import Tokenizer

if TYPE_CHECKING:  # these import TensorFlow, which reading and featurising must not
    from albert.albert_config import AlbertConfig
    from albert.heads.pooled import Head

Split = Literal["train", "dev", "test"]


@dataclasses.dataclass(frozen=True)
class Example:
    """One row of a data file, its texts as they stand there. `label` is None where the file has none (test rows)."""

    guid: str
    text_a: str
    text_b: str | None
    label: str | float | None


class Task(Protocol):
    """A task: where its rows are, how they become records, which head learns them and what counts as good.

    Predictions are arrays over all N examples of a split, in the order of `read`. Classification with C labels:
    "logits" and "probabilities" [N, C] float32, "predictions" [N] int32. Regression: "logits" and "predictions" [N]
    float32.
    """

    name: str
    predict_split: Split  # what is predicted when training is done
    has_dev_labels: bool  # dev records have labels for a loss, and not only items that can be scored
    reported_columns: tuple[str, ...]  # the "host" columns that `report` reads
    best_metric: str  # the key of `score` by which the best checkpoint is chosen; larger is better
    splits: tuple[Split, ...]
    feature_spec: Mapping[str, Column]
    sequences_per_example: int  # records that make up an example that is trained on: the choices of a question, or 1

    def source_files(self, split: Split, data_dir: Path) -> tuple[Path, ...]:
        """The files `read` reads, all there. Raises UserError where one is missing or there is no such split."""

    def read(self, split: Split, data_dir: Path) -> Iterator[Example]:
        """The rows one by one, never all in memory. Raises UserError naming file and line for a row it cannot use."""

    def featurize(self, example: Example, tokenizer: Tokenizer, settings: DataSettings) -> list[Record]:
        """The records of one example. Can be pickled as a bound method; imports no TensorFlow."""

    def identity(self) -> dict[str, Any]:
        """What of the task decides the records made from given files, as JSON-able data: part of a cache's digest."""

    def head(self, config: AlbertConfig) -> Head:
        """What stands on top of the encoder, with its loss and its predictions."""

    def score(
        self, items: Sequence[Any], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord] = ()
    ) -> dict[str, float]:
        """The task's metrics, without the loss, over what has a gold answer; {} where nothing has.

        `items` are all that `read` gave, `records` the "host" columns of all records.
        """

    def result_files(
        self, items: Sequence[Any], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord] = ()
    ) -> dict[str, str]:
        """File name -> text of everything that is written of predictions."""

    def can_score(self, items: Sequence[Any]) -> bool:
        """Whether any item has a gold answer."""

    def report(self, source: Path, items: Sequence[Any], records: Sequence[HostRecord]) -> None:
        """Logs what of the items of a file did not become records, or not whole."""
