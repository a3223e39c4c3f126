"""The GLUE tasks as rows of one table, and what reads, featurises and scores them.

Owns the columns of GLUE's files, their faults, the metrics and the leaderboard's format. Knows nothing of caches,
batches or devices. No task's name is compared with anything here: what differs between tasks is data in its row.
"""

import codecs
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from albert.data.schema import Column, HostRecord, Record
from albert.errors import UserError
from albert.settings import DataSettings
from albert.system.json_text import short_repr
from albert.tasks.base import Example, Split
from albert.tasks.metrics import Metric, accuracy, f1, matthews_correlation, mean_squared_error, pearson, spearman
from albert.tasks.pair_features import build_pair_features
from albert.tokenization import Tokenizer

if TYPE_CHECKING:  # these import TensorFlow, which reading and featurising must not
    from albert.albert_config import AlbertConfig
    from albert.heads.pooled import Head

_LOG = logging.getLogger(__name__)

_TOKENS = Column("tokens", "int32")
_CLASSIFICATION_SPEC = {"input_ids": _TOKENS, "segment_ids": _TOKENS, "label_ids": Column("scalar", "int32")}
_REGRESSION_SPEC = {"input_ids": _TOKENS, "segment_ids": _TOKENS, "label_ids": Column("scalar", "float32")}
_DOWNLOAD = "python3 download_glue_data.py --data_dir={data_dir} fetches it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlueTask:
    """One row of the table: files and columns (counted from 0), metrics, and the name of the leaderboard's file.

    Files are UTF-8 with one row a line and tabs between columns; quotes are letters like any other.
    """

    name: str
    folder: str
    submission_file: str
    text: tuple[int, ...]  # columns of text_a and, for pairs, text_b in train and dev
    test_text: tuple[int, ...]  # the same in test, whose column 0 is the leaderboard's index
    label: int = -1  # column in train and dev; -1 is the last
    guid: int | None = 0  # column in train and dev; None: the rows have no id, they are numbered "dev-1", "dev-2", ...
    train_file: str | None = "train.tsv"
    dev_file: str | None = "dev.tsv"
    test_file: str | None = "test.tsv"
    has_header: bool = True  # train and dev; every test file has one
    skips_short_rows: bool = False  # skip (and report) rows with too few columns in train and dev instead of stopping
    metrics: tuple[tuple[str, Metric], ...]
    best_metric: str
    origin: str = _DOWNLOAD

    sequences_per_example: ClassVar[int] = 1
    predict_split: ClassVar[Split] = "test"
    has_dev_labels: ClassVar[bool] = True
    reported_columns: ClassVar[tuple[str, ...]] = ()

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits this task has files for."""
        return tuple(split for split in ("train", "dev", "test") if self._file_name(split))

    def source_files(self, split: Split, data_dir: Path) -> tuple[Path, ...]:
        """The one file of a split. Raises UserError if there is no such split or the file cannot be opened."""
        file_name = self._file_name(split)
        if file_name is None:
            raise UserError(f"Task {self.name} has no {split} split, only {', '.join(self.splits)}.")
        path = Path(data_dir) / self.folder / file_name
        try:
            path.open("rb").close()
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): task {self.name} reads {self.folder}/{file_name} in "
                f"--data_dir={data_dir}; {self.origin.format(data_dir=data_dir)}."
            ) from error
        return (path,)

    def read(self, split: Split, data_dir: Path) -> Iterator[Example]:
        """The rows of a split, read as they are asked for. Raises UserError naming file and line."""
        (path,) = self.source_files(split, data_dir)
        return self._read_test(path) if split == "test" else self._read_labelled(path, split)

    def featurize(self, example: Example, tokenizer: Tokenizer, settings: DataSettings) -> list[Record]:
        """The one record of an example; an example without label gets label 0."""
        tokens_a = tokenizer.encode(example.text_a)
        tokens_b = None if example.text_b is None else tokenizer.encode(example.text_b)
        input_ids, segment_ids = build_pair_features(tokens_a, tokens_b, settings.max_seq_length, tokenizer)
        label = 0 if example.label is None else self._label_number(example.label)
        return [{"input_ids": input_ids, "segment_ids": segment_ids, "label_ids": [label]}]

    def identity(self) -> dict[str, Any]:
        """The row without its metrics: nothing else decides what records a file becomes."""
        row = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("metrics", "best_metric", "submission_file", "origin"):
            del row[name]
        return row

    def score(
        self,
        examples: Sequence[Example],
        predictions: Mapping[str, np.ndarray],
        records: Sequence[HostRecord] = (),
    ) -> dict[str, float]:
        """The row's metrics, by name, of `predictions["predictions"]` [N]."""
        labels = np.array([self._label_number(example.label) for example in examples])
        predicted = np.asarray(predictions["predictions"])
        assert labels.shape == predicted.shape, f"{labels.shape} labels, {predicted.shape} predictions"
        return {name: metric(labels, predicted) for name, metric in self.metrics}

    def result_files(
        self,
        examples: Sequence[Example],
        predictions: Mapping[str, np.ndarray],
        records: Sequence[HostRecord] = (),
    ) -> dict[str, str]:
        """`test_results.tsv`, `submit_results.tsv` and the leaderboard's file.

        test_results.tsv has one line of tab-separated class probabilities per example (for a regression its score),
        without a header; the other two have `index` and `prediction` columns, the leaderboard's under its own name.
        """
        written = self._prediction_strings(np.asarray(predictions["predictions"]))
        assert len(written) == len(examples), f"{len(examples)} examples, {len(written)} predictions"
        probabilities = np.asarray(predictions["probabilities"]).reshape(len(examples), -1)
        rows = zip(examples, written, strict=True)
        table = "index\tprediction\n" + "".join(f"{example.guid}\t{text}\n" for example, text in rows)
        return {
            "test_results.tsv": "".join("\t".join(map(str, row)) + "\n" for row in probabilities.tolist()),
            "submit_results.tsv": table,
            self.submission_file: table,
        }

    def can_score(self, examples: Sequence[Example]) -> bool:
        """Whether any example has a label."""
        return any(example.label is not None for example in examples)

    def report(self, source: Path, examples: Sequence[Example], records: Sequence[HostRecord]) -> None:
        """Nothing: `read` has reported what it skipped, and every example becomes a record."""

    def _parse_label(self, text: str) -> str | float:
        """The label of a row. Raises ValueError saying what is allowed."""
        raise NotImplementedError

    def _label_number(self, label: str | float) -> int | float:
        """The number that stands for a label in records."""
        raise NotImplementedError

    def _prediction_strings(self, predictions: np.ndarray) -> list[str]:
        """What the leaderboard wants to read for each prediction [N]."""
        raise NotImplementedError

    def _file_name(self, split: Split) -> str | None:
        return {"train": self.train_file, "dev": self.dev_file, "test": self.test_file}[split]

    def _read_test(self, path: Path) -> Iterator[Example]:
        for _, columns in _rows(path, max(self.test_text) + 1, is_row=_has_number_first):
            yield Example(columns[0], *_texts(columns, self.test_text), label=None)

    def _read_labelled(self, path: Path, split: Split) -> Iterator[Example]:
        last_text = max(self.text)
        min_columns = max(last_text, self.label) + 1 if self.label >= 0 else last_text + 2
        short_rows = _ShortRows(path) if self.skips_short_rows else None
        for line, columns in _rows(path, min_columns, self._has_label if self.has_header else None, short_rows):
            try:
                label = self._parse_label(columns[self.label].strip())
            except ValueError as error:
                raise UserError(f"{path}, line {line}: {error}; correct or remove the row.") from None
            guid = f"{split}-{line - 1}" if self.guid is None else columns[self.guid]
            yield Example(guid, *_texts(columns, self.text), label)
        if short_rows:
            short_rows.report()

    def _has_label(self, columns: list[str]) -> bool:
        try:
            self._parse_label(columns[self.label].strip())
        except (ValueError, IndexError):
            return False
        return True


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationTask(GlueTask):
    """A task whose label is one of a few strings; their order is the order of the classes."""

    labels: tuple[str, ...] = ("0", "1")
    metrics: tuple[tuple[str, Metric], ...] = (("eval_accuracy", accuracy),)
    best_metric: str = "eval_accuracy"

    feature_spec: ClassVar[Mapping[str, Column]] = _CLASSIFICATION_SPEC

    def head(self, config: "AlbertConfig") -> "Head":
        """A classifier over the row's labels."""
        from albert.heads import (
            pooled,
        )

        return pooled.ClassificationHead(config, num_labels=len(self.labels))

    def _parse_label(self, text: str) -> str:
        if text not in self.labels:
            raise ValueError(f"label {short_repr(text)} is not one of {', '.join(self.labels)}")
        return text

    def _label_number(self, label: str) -> int:
        return self.labels.index(label)

    def _prediction_strings(self, predictions: np.ndarray) -> list[str]:
        return [self.labels[index] for index in predictions]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressionTask(GlueTask):
    """A task whose label is a number between two bounds. The model may predict beyond them; the leaderboard may not."""

    low: float
    high: float

    feature_spec: ClassVar[Mapping[str, Column]] = _REGRESSION_SPEC

    def head(self, config: "AlbertConfig") -> "Head":
        """A regression of one number."""
        from albert.heads import (
            pooled,
        )

        return pooled.RegressionHead(config)

    def _parse_label(self, text: str) -> float:
        try:
            score = float(text)
        except ValueError:
            raise ValueError(f"score {short_repr(text)} is not a number from {self.low:g} to {self.high:g}") from None
        if not self.low <= score <= self.high:  # also true of NaN
            raise ValueError(f"score {short_repr(text)} is not from {self.low:g} to {self.high:g}")
        return score

    def _label_number(self, label: float) -> float:
        return label

    def _prediction_strings(self, predictions: np.ndarray) -> list[str]:
        return [f"{score:.3f}" for score in np.clip(predictions, self.low, self.high)]


class _ShortRows:
    """Counts the rows of one file that have too few columns."""

    def __init__(self, path: Path):
        self._path = path
        self._count = 0
        self._first_line = 0

    def add(self, line: int) -> None:
        self._count += 1
        self._first_line = self._first_line or line

    def report(self) -> None:
        if self._count:
            rows = "1 row" if self._count == 1 else f"{self._count} rows"
            _LOG.warning(
                "%s: skipped %s with too few columns, the first on line %d", self._path, rows, self._first_line
            )


def _texts(columns: list[str], indices: tuple[int, ...]) -> tuple[str, str | None]:
    return columns[indices[0]], columns[indices[1]] if len(indices) > 1 else None


def _has_number_first(columns: list[str]) -> bool:
    return columns[0].isdigit()


def _rows(
    path: Path, min_columns: int, is_row: Callable[[list[str]], bool] | None, short_rows: _ShortRows | None = None
) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, columns) of every row of a file.

    The first line is a header if `is_row`, which recognises a row, is given: a file without its header would otherwise
    lose its first row. Rows with fewer columns than the header or than `min_columns` go to `short_rows`.
    Raises UserError for them if there is no such place, for text that is not UTF-8 and for a file without rows.
    """
    row_count = 0
    for line, text in _lines(path):
        columns = text.split("\t")
        if line == 1 and is_row:
            if is_row(columns):
                raise UserError(f"{path}, line 1: expected a header with the names of the columns, not a row; add one.")
            min_columns = max(min_columns, len(columns))
        elif len(columns) >= min_columns:
            row_count += 1
            yield line, columns
        elif short_rows:
            short_rows.add(line)
        else:
            raise UserError(
                f"{path}, line {line}: {len(columns)} column(s) between tabs, at least {min_columns} are needed; "
                "correct or remove the row."
            )
    if not row_count:
        raise UserError(f"{path} is empty or has only a header; fetch or write it again.")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without line end) of a UTF-8 file, with or without byte order mark.

    Lines end at a line feed only: characters such as U+2028, at which `str.splitlines` also splits, occur in texts.
    """
    try:
        with path.open("rb") as file:
            for line, data in enumerate(file, start=1):
                if line == 1:
                    data = data.removeprefix(codecs.BOM_UTF8)
                yield line, data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {line}: not UTF-8 ({error.reason} at byte {error.start + 1} of the line)."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


_ACCURACY_AND_F1 = (("eval_accuracy", accuracy), ("f1", f1))
_NLI_LABELS = ("contradiction", "entailment", "neutral")
_ENTAILMENT_LABELS = ("entailment", "not_entailment")

TASKS: tuple[GlueTask, ...] = (
    ClassificationTask(
        name="cola",
        folder="CoLA",
        submission_file="CoLA.tsv",
        has_header=False,
        text=(3,),
        test_text=(1,),
        label=1,
        guid=None,
        metrics=(("matthew_corr", matthews_correlation), ("eval_accuracy", accuracy)),
        best_metric="matthew_corr",
    ),
    ClassificationTask(
        name="sst-2", folder="SST-2", submission_file="SST-2.tsv", text=(0,), test_text=(1,), label=1, guid=None
    ),
    # MRPC and QQP choose by F1, of the two figures GLUE reports for them the one it gives first: most rows of MRPC and
    # only a third of QQP are paraphrases, so that accuracy rewards always answering the same.
    ClassificationTask(
        name="mrpc",
        folder="MRPC",
        submission_file="MRPC.tsv",
        text=(3, 4),
        test_text=(3, 4),
        label=0,
        guid=None,
        metrics=_ACCURACY_AND_F1,
        best_metric="f1",
    ),
    # The official train.tsv has some rows that were torn apart at line ends inside questions.
    ClassificationTask(
        name="qqp",
        folder="QQP",
        submission_file="QQP.tsv",
        text=(3, 4),
        test_text=(1, 2),
        label=5,
        skips_short_rows=True,
        metrics=_ACCURACY_AND_F1,
        best_metric="f1",
    ),
    RegressionTask(
        name="sts-b",
        folder="STS-B",
        submission_file="STS-B.tsv",
        text=(7, 8),
        test_text=(7, 8),
        low=0.0,
        high=5.0,
        metrics=(("pearson", pearson), ("spearman", spearman), ("MSE", mean_squared_error)),
        best_metric="pearson",
    ),
    ClassificationTask(
        name="mnli",
        folder="MNLI",
        submission_file="MNLI-m.tsv",
        dev_file="dev_matched.tsv",
        test_file="test_matched.tsv",
        text=(8, 9),
        test_text=(8, 9),
        labels=_NLI_LABELS,
    ),
    ClassificationTask(
        name="mismnli",
        folder="MNLI",
        submission_file="MNLI-mm.tsv",
        dev_file="dev_mismatched.tsv",
        test_file="test_mismatched.tsv",
        text=(8, 9),
        test_text=(8, 9),
        labels=_NLI_LABELS,
    ),
    ClassificationTask(
        name="qnli",
        folder="QNLI",
        submission_file="QNLI.tsv",
        text=(1, 2),
        test_text=(1, 2),
        labels=_ENTAILMENT_LABELS,
    ),
    ClassificationTask(
        name="rte",
        folder="RTE",
        submission_file="RTE.tsv",
        text=(1, 2),
        test_text=(1, 2),
        labels=_ENTAILMENT_LABELS,
    ),
    ClassificationTask(name="wnli", folder="WNLI", submission_file="WNLI.tsv", text=(1, 2), test_text=(1, 2)),
    # GLUE's diagnostic rows are predicted by a model trained on MNLI.
    ClassificationTask(
        name="ax",
        folder="diagnostic",
        submission_file="AX.tsv",
        train_file=None,
        dev_file=None,
        test_file="diagnostic.tsv",
        text=(1, 2),
        test_text=(1, 2),
        labels=_NLI_LABELS,
    ),
    # The small task that comes with the project.
    ClassificationTask(
        name="agreement",
        folder="Agreement",
        submission_file="Agreement.tsv",
        text=(0,),
        test_text=(1,),
        label=1,
        guid=None,
        origin="python3 sample_data/make_agreement_data.py writes it to sample_data/glue_data",
    ),
)
