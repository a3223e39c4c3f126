"""What a fine-tuning task is, and the plain data that passes through it.

The runs, the caches and the batches know a task only through this module. A new kind of task subclasses `Task`, or
`TextTask` where one or two texts have a label.
"""

import abc
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from albert.data.schema import Column, HostRecord, Record
from albert.errors import UserError
from albert.settings import DataSettings
from albert.system.files import Text
from albert.system.json_text import short_repr
from albert.tasks.metrics import LOWER_IS_BETTER
from albert.tokenization import Tokenizer

Split = Literal["train", "dev", "test"]

# Its square is far from infinity in float32.
_LARGEST_SCORE = 1e15


class Example(NamedTuple):
    """One row of a data file, its texts as they appear there.

    `label` is what the `parse` of the task's output made of the row's label: a class number, a score, or for
    `MultiLabels` a 0 or 1 for each. It is None where the file has none (test rows).
    """

    guid: str
    text_a: str
    text_b: str | None
    label: int | float | tuple[int, ...] | None


# --- What a task predicts: plain data, from which `heads.head_for` makes a head ------------------------------------


@dataclasses.dataclass(frozen=True)
class Labels:
    """One of several classes, numbered in the order of their names."""

    names: tuple[str, ...]

    dtype: ClassVar[Literal["int32", "float32"]] = "int32"

    def parse(self, text: str) -> int:
        """The class called `text`. Raises ValueError listing the names where there is none."""
        if text not in self.names:
            raise ValueError(f"label {short_repr(text)} is not one of {', '.join(self.names)}")
        return self.names.index(text)

    def format(self, predictions: np.ndarray) -> list[str]:
        """The names of the predicted classes [N]."""
        return [self.names[index] for index in predictions]


@dataclasses.dataclass(frozen=True)
class MultiLabels:
    """Any number of several labels, each there or not. Where they are one text, `delimiter` stands between them."""

    names: tuple[str, ...]
    delimiter: str = "|"

    dtype: ClassVar[Literal["int32", "float32"]] = "int32"

    def parse(self, names: Sequence[str]) -> tuple[int, ...]:
        """[C]: 1 for each of the labels `names`. Raises ValueError listing the labels where one is unknown."""
        assert not isinstance(names, str), "a text of several labels must be split first"
        for name in names:
            if name not in self.names:
                raise ValueError(f"label {short_repr(name)} is not one of {', '.join(self.names)}")
        given = frozenset(names)
        return tuple(int(name in given) for name in self.names)

    def format(self, predictions: np.ndarray) -> list[str]:
        """The names of the labels in each row of `predictions` [N, C], joined; JSON lists if a name has the delimiter.

        A row without labels is an empty text.
        """
        rows = [[name for name, is_there in zip(self.names, row, strict=True) if is_there] for row in predictions]
        if any(self.delimiter in name for name in self.names):
            return [json.dumps(row, ensure_ascii=False) if row else "" for row in rows]
        return [self.delimiter.join(row) for row in rows]

    def join_scores(self, scores: Sequence[str]) -> str:
        """The scores of some labels, joined; a JSON list if the delimiter may stand in a number."""
        if any(character in "0123456789.+-e" for character in self.delimiter):
            return f"[{', '.join(scores)}]" if scores else ""
        return self.delimiter.join(scores)


@dataclasses.dataclass(frozen=True)
class Score:
    """A number, between two bounds if it has any. The model may predict beyond them; what is written is clipped."""

    low: float = -math.inf
    high: float = math.inf

    dtype: ClassVar[Literal["int32", "float32"]] = "float32"

    def parse(self, text: str) -> float:
        """The number `text` gives. Raises ValueError saying what is allowed."""
        low, high = max(self.low, -_LARGEST_SCORE), min(self.high, _LARGEST_SCORE)
        try:
            # Python's own reader takes "0_5" for 5, and digits of other scripts.
            score = float(text if text.isascii() and "_" not in text else "")
        except ValueError:
            raise ValueError(f"score {short_repr(text)} is not a number from {low:g} to {high:g}") from None
        if not low <= score <= high:  # also true of NaN
            raise ValueError(f"score {short_repr(text)} is not from {low:g} to {high:g}")
        return score

    def format(self, predictions: np.ndarray) -> list[str]:
        """The predicted scores [N]: with three decimals, clipped; without bounds with seven digits, as float32 has."""
        if math.isinf(self.low) and math.isinf(self.high):
            return [f"{score:.7g}" for score in predictions]
        return [f"{score:.3f}" for score in np.clip(predictions, self.low, self.high)]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of `count` token sequences, which together are an example. `dropout_rate` is that of the pooled output."""

    count: int
    dropout_rate: float = 0.1


@dataclasses.dataclass(frozen=True)
class Span:
    """An answer in a text: its first and last token; in version "2.0" perhaps none.

    The other fields are of 2.0 alone: how many starts and how many ends for each start are followed, and the dropout
    rate where the model decides whether there is an answer.
    """

    version: Literal["1.1", "2.0"]
    start_n_top: int = 5
    end_n_top: int = 5
    dropout_rate: float = 0.1


@dataclasses.dataclass(frozen=True)
class Tags:
    """A tag for each word of a text, numbered in the order of their names.

    `sets_punctuation_apart`: whether marks beside a word are words of their own, as in the texts of training; a text
    whose words nobody gives is cut so.
    """

    names: tuple[str, ...]
    sets_punctuation_apart: bool = True


Output = Labels | Score | Choice | Span | MultiLabels | Tags


# --- The task -------------------------------------------------------------------------------------------------------


class Task(abc.ABC):
    """A task: where its rows are, how they become records, what it predicts and which scores count.

    Predictions are arrays over all N examples of a split, in the order of `read`. For `Labels` with C names and for
    `Choice` with C sequences: "logits" and "probabilities" [N, C] float32, "predictions" [N] int32. For `Score`:
    "logits" and "predictions" [N] float32, "probabilities" [N, 1]. For `MultiLabels` with C names: all three [N, C],
    "predictions" 0 or 1. For `Span`: see `heads.span`; for `Tags`: see `heads.tags`.
    """

    name: str
    best_metric: str  # the key of `score` by which the best checkpoint is chosen

    predict_split: ClassVar[Split] = "test"  # what is predicted after training
    has_dev_labels: ClassVar[bool] = True  # dev records have labels for a loss, and not only items that can be scored
    checked_columns: ClassVar[tuple[str, ...]] = ()  # the "host" columns that `check_records` reads
    # Those that it reads of a training split whose rows are read one by one: all of its records as one, without items.
    columns_of_training: ClassVar[tuple[str, ...]] = ()
    splits_long_texts: bool = False  # what `with_long_texts_split` changes

    @property
    def lower_is_better(self) -> bool:
        """Whether the best checkpoint is the one with the smallest `best_metric`, and not the largest."""
        return self.best_metric in LOWER_IS_BETTER

    def with_best_metric(self, name: str) -> "Task":
        """The same task with another `best_metric`. Raises UserError, listing what fits, where `name` does not fit."""
        if name != self.best_metric:
            raise UserError(f"`metric_for_best_model`={name} does not fit task {self.name}: use {self.best_metric}.")
        return self

    def with_long_texts_split(self) -> "Task":
        """The same with texts that are longer than a row split into several records; the same where it cannot."""
        return self

    @property
    def sequences_per_example(self) -> int:
        """Records that make up an example: the choices of a question, or 1."""
        return 1

    @property
    @abc.abstractmethod
    def splits(self) -> tuple[Split, ...]:
        """The splits this task has files for."""

    @property
    @abc.abstractmethod
    def feature_spec(self) -> Mapping[str, Column]:
        """The columns of its records."""

    @property
    @abc.abstractmethod
    def output(self) -> Output:
        """What the model predicts."""

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The names of the one or two texts of an input; () where an input is made of other things."""
        return ()

    def options(self, scores: Mapping[str, float]) -> dict[str, int | float | None]:
        """What of its settings predicting needs, for `model.json`; `scores` are those of the best checkpoint, or {}."""
        return {}

    @abc.abstractmethod
    def source_files(self, split: Split, data_dir: Path) -> tuple[Path, ...]:
        """The files `read` reads, all there. Raises UserError where one is missing or there is no such split."""

    @abc.abstractmethod
    def read(self, split: Split, data_dir: Path) -> Iterator[Any]:
        """The rows one by one, never all in memory. Raises UserError naming file and line for a row it cannot use."""

    def num_items(self, split: Split) -> int | None:
        """How many `read` gives; None where only reading tells."""
        return None

    def empty_items(self, folder: Path | None = None) -> Any:
        """A list for what `read` gives, or what is used like one, has `append`, and takes less memory.

        It may have temporary files in `folder`.
        """
        return []

    @abc.abstractmethod
    def featurize(self, example: Any, tokenizer: Tokenizer, settings: DataSettings) -> list[Record]:
        """The records of one example. Can be pickled as a bound method; imports no TensorFlow."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What of the task decides the records made from given files, as JSON-able data: part of a cache's digest."""

    def identity_of_rows(self) -> dict[str, Any]:
        """What decides, beside task and files, which rows a run trains and evaluates on: part of its identity.

        JSON-able data; {} where nothing else decides it.
        """
        return {}

    def scoring(self) -> dict[str, Any]:
        """What of its settings decides how predictions are scored, as JSON-able data, where it is not the default."""
        return {}

    @abc.abstractmethod
    def score(
        self, items: Sequence[Any], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord] = ()
    ) -> dict[str, float]:
        """The task's metrics, without the loss, over what has a gold answer; {} where nothing has.

        `items` are all that `read` gave, `records` the "host" columns of all records.
        """

    @abc.abstractmethod
    def result_files(
        self, items: Sequence[Any], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord] = ()
    ) -> Mapping[str, Text]:
        """File name -> text of everything that is written of predictions."""

    def can_score(self, items: Sequence[Any]) -> bool:
        """Whether any item has a gold answer."""
        return any(item.label is not None for item in items)

    def check_records(self, source: Path, items: Sequence[Any], records: Sequence[HostRecord]) -> None:
        """Logs which items of a file were dropped or truncated on the way to its records. Default: none.

        Raises UserError where every item was dropped.
        """
        return
