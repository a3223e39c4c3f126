"""Tasks whose examples are one or two texts with a label: from an `Example` to a record, scores and result files.

Where the rows come from is a subclass's matter.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from albert.data.schema import Column, HostRecord, Record
from albert.settings import DataSettings
from albert.tasks.base import Example, Labels, Score, Task
from albert.tasks.metrics import Metric
from albert.tasks.pair_features import build_pair_features
from albert.tokenization import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTask(Task):
    """One or two texts with one of several labels, or with a score.

    `metrics` are functions of labels and predictions [N] by name; `best_metric` is one of these names.
    """

    name: str
    output: Labels | Score
    metrics: tuple[tuple[str, Metric], ...]
    best_metric: str
    submission_file: str

    @property
    def feature_spec(self) -> Mapping[str, Column]:
        """Token ids and segments, and the label."""
        tokens = Column("tokens", "int32")
        return {"input_ids": tokens, "segment_ids": tokens, "label_ids": Column("scalar", self.output.dtype)}

    def featurize(self, example: Example, tokenizer: Tokenizer, settings: DataSettings) -> list[Record]:
        """The one record of an example; an example without label gets label 0."""
        tokens_a = tokenizer.encode(example.text_a)
        tokens_b = None if example.text_b is None else tokenizer.encode(example.text_b)
        input_ids, segment_ids = build_pair_features(tokens_a, tokens_b, settings.max_seq_length, tokenizer)
        return [{"input_ids": input_ids, "segment_ids": segment_ids, "label_ids": [example.label or 0]}]

    def score(
        self,
        items: Sequence[Example],
        predictions: Mapping[str, np.ndarray],
        records: Sequence[HostRecord] = (),
    ) -> dict[str, float]:
        """The task's metrics, by name, of `predictions["predictions"]` [N]."""
        labels = np.array([example.label for example in items])
        predicted = np.asarray(predictions["predictions"])
        assert labels.shape == predicted.shape, f"{labels.shape} labels, {predicted.shape} predictions"
        return {name: metric(labels, predicted) for name, metric in self.metrics}

    def result_files(
        self,
        items: Sequence[Example],
        predictions: Mapping[str, np.ndarray],
        records: Sequence[HostRecord] = (),
    ) -> dict[str, str]:
        """`test_results.tsv`, `submit_results.tsv` and the leaderboard's file.

        test_results.tsv has one line of tab-separated class probabilities per example (for a regression its score),
        without a header; the other two have `index` and `prediction` columns, the leaderboard's under its own name.
        """
        written = self.output.format(np.asarray(predictions["predictions"]))
        assert len(written) == len(items), f"{len(items)} examples, {len(written)} predictions"
        probabilities = np.asarray(predictions["probabilities"]).reshape(len(items), -1)
        rows = zip(items, written, strict=True)
        table = "index\tprediction\n" + "".join(f"{example.guid}\t{text}\n" for example, text in rows)
        return {
            "test_results.tsv": "".join("\t".join(map(str, row)) + "\n" for row in probabilities.tolist()),
            "submit_results.tsv": table,
            self.submission_file: table,
        }
