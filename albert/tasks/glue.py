"""The GLUE tasks as rows of one table, and the reading of GLUE's files.

No task's name is compared with anything: what differs between tasks is data in its row.
"""

import dataclasses
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from albert.errors import UserError
from albert.system.json_text import short_repr
from albert.system.printing import counted
from albert.system.text_encoding import open_regular
from albert.tasks.base import Example, Labels, Score, Split
from albert.tasks.metrics import Metric, accuracy, f1, matthews_correlation, mean_squared_error, pearson, spearman
from albert.tasks.rows import Layout, RowTally, read_rows
from albert.tasks.text import TextTask, is_blank
from albert.tasks.trained_on import warn_of_training_rows

_BINARY = Labels(("0", "1"))
_DOWNLOAD = "python3 download_glue_data.py --data_dir={data_dir} fetches it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlueTask(TextTask):
    """One row of the table: files and columns (counted from 0), labels, metrics, and the leaderboard's file.

    Files are UTF-8 with one row a line and tabs between columns; quotes are letters like any other. The headers are
    those of the official files, by which the columns that are read are recognised (`rows.OTHER_NAMES` has their other
    names). Where train and dev have no header, `header` says what their columns hold.
    """

    output: Labels | Score = _BINARY
    metrics: tuple[tuple[str, Metric], ...] = (("eval_accuracy", accuracy),)
    best_metric: str = "eval_accuracy"
    folder: str
    text: tuple[int, ...]  # columns of text_a and, for pairs, text_b in train and dev
    test_text: tuple[int, ...]  # the same in test, whose column 0 is the leaderboard's index
    label: int = -1  # column in train and dev; -1 is the last
    guid: int | None = 0  # column in train and dev; None: the rows have no id, they are numbered "dev-1", "dev-2", ...
    train_file: str | None = "train.tsv"
    dev_file: str | None = "dev.tsv"
    test_file: str | None = "test.tsv"
    has_header: bool = True  # train and dev; every test file has one
    skips_short_rows: bool = False  # skip (and report) rows with too few columns in train and dev instead of stopping
    origin: str = _DOWNLOAD
    header: tuple[str, ...] = ("index", "sentence1", "sentence2", "label")  # train and dev
    test_header: tuple[str, ...] = ("index", "sentence1", "sentence2")

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits this task has files for."""
        splits: tuple[Split, ...] = ("train", "dev", "test")
        return tuple(split for split in splits if self._file_name(split))

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The names of its texts in the header of train and dev."""
        return tuple(self.header[place] for place in self.text)

    def source_files(self, split: Split, data_dir: Path) -> tuple[Path, ...]:
        """The one file of a split. Raises UserError if there is no such split or the file cannot be opened."""
        file_name = self._file_name(split)
        if file_name is None:
            raise UserError(f"Task {self.name} has no {split} split, only {', '.join(self.splits)}.")
        path = Path(data_dir) / self.folder / file_name
        try:
            open_regular(path).close()
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): task {self.name} reads {self.folder}/{file_name} in "
                f"`data_dir`={data_dir}; {self.origin.format(data_dir=shlex.quote(str(data_dir)))}."
            ) from error
        return (path,)

    def read(self, split: Split, data_dir: Path) -> Iterator[Example]:
        """The rows of a split, read as they are asked for. Raises UserError naming file and line."""
        (path,) = self.source_files(split, data_dir)
        return self._read(path, split, Path(data_dir))

    def identity(self) -> dict[str, Any]:
        """The files' layout and the labels: nothing else decides what records a file becomes.

        Caches that exist were named by a digest of this dictionary: another key would have them all built again.
        """
        kept = ("name", "folder", "text", "test_text", "label", "guid", "train_file", "dev_file", "test_file")
        row = {name: getattr(self, name) for name in (*kept, "has_header", "skips_short_rows")}
        if isinstance(self.output, Labels):
            return row | {"labels": self.output.names}
        return row | {"low": self.output.low, "high": self.output.high}

    def _file_name(self, split: Split) -> str | None:
        return {"train": self.train_file, "dev": self.dev_file, "test": self.test_file}[split]

    def _read(self, path: Path, split: Split, data_dir: Path) -> Iterator[Example]:
        tally, num_rows, num_blank = RowTally(path), 0, 0
        for line, example in self._examples(path, split, tally):
            num_rows += 1
            if is_blank(example.text_a) or (example.text_b is not None and is_blank(example.text_b)):
                num_blank += 1
                tally.add("{rows} with an empty text, used all the same", line, example.text_a)
            yield example
        if num_blank == num_rows:
            raise UserError(f"{path}: an empty text in all of its {counted(num_rows, 'row')}; fetch or write it again.")
        tally.log()
        if split == "dev" and self.train_file:
            train_path = data_dir / self.folder / self.train_file
            warn_of_training_rows(path, self._contents(path, "dev"), train_path, self._contents(train_path, "train"))

    def _contents(self, path: Path, split: Split) -> Iterator[tuple[Any, ...]]:
        """What a row is, whatever its number."""
        for _, example in self._examples(path, split, RowTally(path)):
            yield example.text_a, example.text_b, example.label

    def _examples(self, path: Path, split: Split, tally: RowTally) -> Iterator[tuple[int, Example]]:
        return self._test_examples(path, tally) if split == "test" else self._labelled_examples(path, split, tally)

    def _test_examples(self, path: Path, tally: RowTally) -> Iterator[tuple[int, Example]]:
        layout = Layout(self.test_header, read=(0, *self.test_text), codes=(0,))
        lines: dict[str, int] = {}  # by index
        for line, columns in read_rows(path, layout, tally):
            index = columns[0].strip()
            if not index or not index.isprintable():
                raise UserError(f"{path}, line {line}: index {short_repr(columns[0])} is none; number the row.")
            if (first := lines.setdefault(index, line)) != line:
                raise UserError(
                    f"{path}, line {line}: index {short_repr(index)} is also on line {first}; number every row."
                )
            yield line, Example(index, *_texts(columns, self.test_text), label=None)

    def _labelled_examples(self, path: Path, split: Split, tally: RowTally) -> Iterator[tuple[int, Example]]:
        # Without header only the places tell a sentence from the code of its source and the mark of a linguist.
        codes = () if self.has_header else tuple({*range(len(self.header))} - {*self.text, self.label})
        layout = Layout(self.header, (*self.text, self.label), codes, self.has_header, self.skips_short_rows)
        for line, columns in read_rows(path, layout, tally):
            try:
                label = self.output.parse(columns[self.label].strip())
            except ValueError as error:
                hint = "" if line > 1 else " (this file has no header)"
                raise UserError(f"{path}, line {line}: {error}{hint}; correct or remove the row.") from None
            guid = f"{split}-{line - 1}" if self.guid is None else columns[self.guid]
            yield line, Example(guid, *_texts(columns, self.text), label)


def _texts(columns: list[str], indices: tuple[int, ...]) -> tuple[str, str | None]:
    return columns[indices[0]], columns[indices[1]] if len(indices) > 1 else None


_ACCURACY_AND_F1 = (("eval_accuracy", accuracy), ("f1", f1))
_NLI_LABELS = Labels(("contradiction", "entailment", "neutral"))
_ENTAILMENT_LABELS = Labels(("entailment", "not_entailment"))

_SENTENCE_HEADER = ("sentence", "label")
_MRPC_HEADER = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
_STS_HEADER = (*("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2"),)
_MNLI_HEADER = (
    *("index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse"),
    *("sentence1_parse", "sentence2_parse", "sentence1", "sentence2"),
)

TASKS: tuple[GlueTask, ...] = (
    GlueTask(
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
        header=("source", "label", "mark", "sentence"),
        test_header=("index", "sentence"),
    ),
    GlueTask(
        name="sst-2",
        folder="SST-2",
        submission_file="SST-2.tsv",
        text=(0,),
        test_text=(1,),
        label=1,
        guid=None,
        header=_SENTENCE_HEADER,
        test_header=("index", "sentence"),
    ),
    # MRPC and QQP choose by F1, of the two figures GLUE reports for them the one it gives first: most rows of MRPC and
    # only a third of QQP are paraphrases, so that accuracy rewards always answering the same.
    GlueTask(
        name="mrpc",
        folder="MRPC",
        submission_file="MRPC.tsv",
        text=(3, 4),
        test_text=(3, 4),
        label=0,
        guid=None,
        metrics=_ACCURACY_AND_F1,
        best_metric="f1",
        header=_MRPC_HEADER,
        test_header=("index", *_MRPC_HEADER[1:]),
    ),
    # The official train.tsv has some rows that were torn apart at line ends inside questions.
    GlueTask(
        name="qqp",
        folder="QQP",
        submission_file="QQP.tsv",
        text=(3, 4),
        test_text=(1, 2),
        label=5,
        skips_short_rows=True,
        metrics=_ACCURACY_AND_F1,
        best_metric="f1",
        header=("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
        test_header=("id", "question1", "question2"),
    ),
    GlueTask(
        name="sts-b",
        folder="STS-B",
        submission_file="STS-B.tsv",
        text=(7, 8),
        test_text=(7, 8),
        output=Score(0.0, 5.0),
        metrics=(("pearson", pearson), ("spearman", spearman), ("MSE", mean_squared_error)),
        best_metric="pearson",
        header=(*_STS_HEADER, "score"),
        test_header=_STS_HEADER,
    ),
    GlueTask(
        name="mnli",
        folder="MNLI",
        submission_file="MNLI-m.tsv",
        dev_file="dev_matched.tsv",
        test_file="test_matched.tsv",
        text=(8, 9),
        test_text=(8, 9),
        output=_NLI_LABELS,
        header=(*_MNLI_HEADER, "label1", "gold_label"),
        test_header=_MNLI_HEADER,
    ),
    GlueTask(
        name="mismnli",
        folder="MNLI",
        submission_file="MNLI-mm.tsv",
        dev_file="dev_mismatched.tsv",
        test_file="test_mismatched.tsv",
        text=(8, 9),
        test_text=(8, 9),
        output=_NLI_LABELS,
        header=(*_MNLI_HEADER, "label1", "gold_label"),
        test_header=_MNLI_HEADER,
    ),
    GlueTask(
        name="qnli",
        folder="QNLI",
        submission_file="QNLI.tsv",
        text=(1, 2),
        test_text=(1, 2),
        output=_ENTAILMENT_LABELS,
        header=("index", "question", "sentence", "label"),
        test_header=("index", "question", "sentence"),
    ),
    GlueTask(
        name="rte",
        folder="RTE",
        submission_file="RTE.tsv",
        text=(1, 2),
        test_text=(1, 2),
        output=_ENTAILMENT_LABELS,
    ),
    GlueTask(name="wnli", folder="WNLI", submission_file="WNLI.tsv", text=(1, 2), test_text=(1, 2)),
    # GLUE's diagnostic rows are predicted by a model trained on MNLI.
    GlueTask(
        name="ax",
        folder="diagnostic",
        submission_file="AX.tsv",
        train_file=None,
        dev_file=None,
        test_file="diagnostic.tsv",
        text=(1, 2),
        test_text=(1, 2),
        output=_NLI_LABELS,
    ),
    # The small task that comes with the project.
    GlueTask(
        name="agreement",
        folder="Agreement",
        submission_file="Agreement.tsv",
        text=(0,),
        test_text=(1,),
        label=1,
        guid=None,
        origin="python3 sample_data/make_agreement_data.py writes it to sample_data/glue_data",
        header=_SENTENCE_HEADER,
        test_header=("index", "sentence"),
    ),
)
