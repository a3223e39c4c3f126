"""Tasks whose examples are one or two texts with a label: from an `Example` to a record, scores and result files.

Where the rows come from is a subclass's matter. The layout `[CLS] A [SEP] B [SEP]` is decided here: truncation, special
tokens and segments, as ALBERT was trained on them; padding is added when batches are made.
"""

import dataclasses
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from albert.data.schema import Column, HostRecord, Record, cut_marks
from albert.errors import UserError
from albert.settings import DataSettings
from albert.system.files import ROWS_OF_A_PIECE, Pieces, Text
from albert.tasks.base import Example, Labels, MultiLabels, Score, Task
from albert.tasks.examples import Examples, labels_of
from albert.tasks.metrics import (
    EVAL_LOSS,
    READS_PROBABILITIES,
    Metric,
    accuracy,
    auroc,
    f1,
    f1_macro,
    f1_micro,
    f1_weighted,
    matthews_correlation,
    pearson,
    rmse,
    spearman,
)
from albert.tokenization import Tokenizer

_PAIR_SPECIAL_TOKENS = 3  # [CLS] A [SEP] B [SEP]
_SINGLE_SPECIAL_TOKENS = 2  # [CLS] A [SEP]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTask(Task):
    """One or two texts with one of several labels, with any number of them, or with a score.

    `metrics` are functions of labels and predictions by name, of the shapes that `Task` says; `best_metric` is one of
    these names.
    """

    name: str
    output: Labels | MultiLabels | Score
    metrics: tuple[tuple[str, Metric], ...]
    best_metric: str
    submission_file: str

    @property
    def feature_spec(self) -> Mapping[str, Column]:
        """Token ids and segments, and the label."""
        tokens, label = Column("tokens", "int32"), Column("scalar", self.output.dtype)
        if isinstance(self.output, MultiLabels):
            label = Column("vector", self.output.dtype, len(self.output.names))
        return {"input_ids": tokens, "segment_ids": tokens, "label_ids": label}

    def empty_items(self, folder: Path | None = None) -> Examples:
        """Takes little memory."""
        return Examples(folder=folder)

    def featurize(self, example: Example, tokenizer: Tokenizer, settings: DataSettings) -> list[Record]:
        """The one record of an example; an example without label gets label 0, or none of several."""
        tokens_a = tokenizer.encode(example.text_a)
        tokens_b = None if example.text_b is None else tokenizer.encode(example.text_b)
        features = pair_features(tokens_a, tokens_b, settings.max_seq_length, tokenizer)
        width = self.feature_spec["label_ids"].length
        labels = list(example.label) if isinstance(example.label, tuple) else [example.label or 0] * width
        return [{**features, "label_ids": labels}]

    def score(
        self,
        items: Sequence[Example],
        predictions: Mapping[str, np.ndarray],
        records: Sequence[HostRecord] = (),
    ) -> dict[str, float]:
        """The task's metrics, by name, of `predictions["predictions"]` [N]."""
        labels = labels_of(items)
        predicted = np.asarray(predictions["predictions"])
        assert labels.shape == predicted.shape, f"{labels.shape} labels, {predicted.shape} predictions"
        read = {
            metric: np.asarray(predictions["probabilities"])[:, 1] if metric in READS_PROBABILITIES else predicted
            for _, metric in self.metrics
        }
        return {name: metric(labels, read[metric]) for name, metric in self.metrics}

    def with_best_metric(self, name: str) -> Self:
        """The same with `name` among its metrics and as `best_metric`; a metric that it has keeps its own name.

        Raises UserError, listing what fits, where `name` does not fit what the task predicts.
        """
        fitting = {**metrics_for(self.output), **dict(self.metrics)}
        if name == EVAL_LOSS:
            return dataclasses.replace(self, best_metric=name)
        if name not in fitting:
            names = ", ".join([*fitting, EVAL_LOSS])
            raise UserError(f"`metric_for_best_model`={name} does not fit task {self.name}: use one of {names}.")
        for known, metric in self.metrics:
            if metric is fitting[name]:
                return dataclasses.replace(self, best_metric=known)
        return dataclasses.replace(self, metrics=(*self.metrics, (name, fitting[name])), best_metric=name)

    def result_files(
        self,
        items: Sequence[Example],
        predictions: Mapping[str, np.ndarray],
        records: Sequence[HostRecord] = (),
    ) -> dict[str, Text]:
        """`test_results.tsv`, `submit_results.tsv` and the leaderboard's file.

        test_results.tsv has one line of tab-separated class probabilities per example (for a regression its score),
        without a header; the other two have `index` and `prediction` columns, the leaderboard's under its own name.
        """
        written = self.output.format(np.asarray(predictions["predictions"]))
        assert len(written) == len(items), f"{len(items)} examples, {len(written)} predictions"
        rows = zip(items, written, strict=True)
        table = "index\tprediction\n" + "".join(f"{example.guid}\t{text}\n" for example, text in rows)
        return {
            "test_results.tsv": probabilities_table(predictions),
            "submit_results.tsv": table,
            self.submission_file: table,
        }


def probabilities_table(predictions: Mapping[str, np.ndarray]) -> Pieces:
    """One line of tab-separated class probabilities per example; for a regression its score."""
    probabilities = np.asarray(predictions["probabilities"])

    def pieces() -> Iterator[str]:
        for begin in range(0, len(probabilities), ROWS_OF_A_PIECE):
            rows = probabilities[begin : begin + ROWS_OF_A_PIECE]
            yield "".join("\t".join(map(str, np.ravel(row).tolist())) + "\n" for row in rows)

    return Pieces(pieces)


def metrics_for(output: Labels | MultiLabels | Score) -> dict[str, Metric]:
    """The metrics that fit what a task predicts, by the name that a user gives."""
    if isinstance(output, Score):
        return {"pearson": pearson, "spearman": spearman, "rmse": rmse}
    fitting: dict[str, Metric] = {
        "accuracy": accuracy,
        "f1_macro": f1_macro,
        "f1_weighted": f1_weighted,
        "f1_micro": f1_micro,
    }
    if isinstance(output, Labels):
        fitting["matthews_correlation"] = matthews_correlation
        if len(output.names) == 2:
            fitting |= {"f1": f1, "auroc": auroc}
    return fitting


def is_blank(text: str) -> bool:
    """Whether nothing of `text` can be seen: white space, controls and what only joins or directs letters."""
    if text[:1].isalnum():  # as nearly all do, so that rows are looked at quickly
        return False
    return all(character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in text)


def truncated_pair_lengths(length_a: int, length_b: int, budget: int) -> tuple[int, int]:
    """How much of each text is kept when both together may have `budget` tokens.

    The same as taking one token at a time from the end of the longer text, and from B when they are equally long.
    """
    excess = length_a + length_b - budget
    if excess <= 0:
        return length_a, length_b
    # The longer text first shrinks to the length of the other; from there on they take turns, beginning with B.
    difference = min(abs(length_a - length_b), excess)
    if length_a > length_b:
        length_a -= difference
    else:
        length_b -= difference
    excess -= difference
    return length_a - excess // 2, length_b - (excess + 1) // 2


def pair_features(tokens_a: list[int], tokens_b: list[int] | None, max_seq_length: int, tokenizer: Tokenizer) -> Record:
    """The columns that `build_pair_features` makes, and a mark where texts were cut."""
    input_ids, segment_ids = build_pair_features(tokens_a, tokens_b, max_seq_length, tokenizer)
    length = len(tokens_a) + len(tokens_b or ()) + (_PAIR_SPECIAL_TOKENS if tokens_b else _SINGLE_SPECIAL_TOKENS)
    return {
        "input_ids": input_ids,
        "segment_ids": segment_ids,
        **cut_marks(max_seq_length=(length, max_seq_length)),
    }


def build_pair_features(
    tokens_a: list[int], tokens_b: list[int] | None, max_seq_length: int, tokenizer: Tokenizer
) -> tuple[list[int], list[int]]:
    """`(input_ids, segment_ids)` of at most `max_seq_length` tokens, unpadded.

    A second text without tokens makes a single-text example, as in the original. Segments are 0 up to and including the
    first [SEP], 1 after it.
    Raises UserError if `max_seq_length` has no room for the special tokens.
    """
    if max_seq_length < _PAIR_SPECIAL_TOKENS:
        raise UserError(
            f"`max_seq_length`={max_seq_length} has no room for [CLS] A [SEP] B [SEP]; at least 3 is needed."
        )
    if not tokens_b:
        kept = tokens_a[: max_seq_length - _SINGLE_SPECIAL_TOKENS]
        input_ids = [tokenizer.cls_id, *kept, tokenizer.sep_id]
        return input_ids, [0] * len(input_ids)
    kept_a, kept_b = truncated_pair_lengths(len(tokens_a), len(tokens_b), max_seq_length - _PAIR_SPECIAL_TOKENS)
    input_ids = [tokenizer.cls_id, *tokens_a[:kept_a], tokenizer.sep_id, *tokens_b[:kept_b], tokenizer.sep_id]
    return input_ids, [0] * (kept_a + 2) + [1] * (kept_b + 1)
