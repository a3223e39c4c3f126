"""RACE: which of some options, mostly four, answers a question on an article. Reads, featurises and scores it.

Owns the layout of RACE's files, their faults, and how question, option and article become token sequences, one an
option. Knows nothing of caches, batches or devices.
"""

import dataclasses
import functools
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from albert.data.schema import Column, Record, cut_marks
from albert.errors import UserError
from albert.settings import DataSettings
from albert.settings.fields import DATA, DROPOUT, MODEL, at_least, problems_of, setting
from albert.system.json_text import parse_json, short_repr
from albert.system.printing import counted
from albert.system.text_encoding import HALF_SURROGATE, half_surrogate, with_file
from albert.tasks.base import Choice, Split, Task
from albert.tasks.metrics import accuracy
from albert.tasks.race_files import (
    MERGED,
    compare_with_single_files,
    documents,
    race_folder,
    remedy,
    text_files,
    warn_of_unread,
)
from albert.tasks.scoring import scores_of_labelled
from albert.tasks.trained_on import warn_of_training_rows
from albert.tokenization import Tokenizer

_LOG = logging.getLogger(__name__)

LETTERS = "ABCDEFGH"  # of the options, as many as there can be
_DEFAULT_OPTIONS = 4
_LEVELS = ("middle", "high")
_FURTHER_LEVELS = ("college",)  # RACE-C's, read where it lies beside the others or alone
_SPECIAL_TOKENS = 3  # [CLS] article [SEP] question and option [SEP]
_TOKENS = Column("tokens", "int32")


@dataclasses.dataclass(frozen=True)
class RaceExample:
    """One question, its texts as the file has them. `label` numbers the right option from 0, None if unknown.

    `guid` is the article's id and the question's number in it, from 0: "middle1.txt-0". `level` is the folder's name.
    """

    guid: str
    article: str
    question: str
    options: tuple[str, ...]
    label: int | None
    level: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RaceTask(Task):
    """Multiple choice among `num_options`; an example is a question, and as many token sequences.

    Each level's folder holds one article a file, or `all.txt` with one article a line, which then is read instead.
    Raises UserError when it is made with options that exclude each other.
    """

    name: str = "race"
    max_qa_length: int = setting(
        "Longest question with option in tokens; the last ones are kept.", DATA, default=128, bounds=at_least(1)
    )
    high_only: bool = setting("Only the articles for high schools.", DATA, default=False)
    middle_only: bool = setting("Only the articles for middle schools.", DATA, default=False)
    dropout_prob: float = setting("Dropout of the pooled output.", MODEL, default=0.1, bounds=DROPOUT)
    num_options: int = _DEFAULT_OPTIONS  # of every question; `options_in` has those of given data

    best_metric = "accuracy"
    splits: ClassVar[tuple[Split, ...]] = ("train", "dev", "test")
    feature_spec: ClassVar[Mapping[str, Column]] = {
        "input_ids": _TOKENS,
        "segment_ids": _TOKENS,
        "label_ids": Column("scalar", "int32"),
    }

    def __post_init__(self):
        problems = []
        if self.high_only and self.middle_only:
            problems.append("`high_only` and `middle_only` exclude each other; give one, or neither for both levels")
        problems += problems_of(self)
        if not 2 <= self.num_options <= len(LETTERS):
            problems.append(f"num_options={self.num_options} must be in [2, {len(LETTERS)}]")
        if problems:
            raise UserError.of(problems)

    @property
    def sequences_per_example(self) -> int:
        """One an option."""
        return self.num_options

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that have to be there, in the order in which they are read."""
        wanted = {"middle": not self.high_only, "high": not self.middle_only}
        return tuple(level for level in _LEVELS if wanted[level])

    def source_files(self, split: Split, data_dir: Path) -> tuple[Path, ...]:
        """The files of a split: middle before high, 2.txt before 10.txt. Raises UserError where a level has none."""
        return tuple(path for paths in self._files(split, Path(data_dir)).values() for path in paths)

    def read(self, split: Split, data_dir: Path) -> Iterator[RaceExample]:
        """The questions of a split, read as they are asked for.

        Raises UserError naming file, line (of all.txt) and place in the article. Only test files may lack answers.
        """
        files = self._files(split, Path(data_dir))
        warn_of_unread(race_folder(Path(data_dir), split) / split, files)
        return self._read(files, split, Path(data_dir))

    def featurize(self, example: RaceExample, tokenizer: Tokenizer, settings: DataSettings) -> list[Record]:
        """Records, one an option: `[CLS] article [SEP] question and option [SEP]`, segments 0 and 1.

        The article gives way from its end. An example without label gets label 0.
        Raises UserError if `max_qa_length` leaves no room for the special tokens.
        """
        budget = settings.max_seq_length - _SPECIAL_TOKENS
        if self.max_qa_length > budget:
            raise UserError(
                f"`max_qa_length`={self.max_qa_length} with `max_seq_length`={settings.max_seq_length} leaves no room "
                f"for [CLS] article [SEP] question and option [SEP]; choose at most {max(budget, 0)}."
            )
        article_ids = _article_ids(example.article, tokenizer)
        label = 0 if example.label is None else example.label
        records: list[Record] = []
        for text in answered_questions(example, tokenizer):
            # Encoding normalises once more, which changes nothing but repeated spaces, and those make no tokens.
            whole_ids = tokenizer.encode(text)
            answer_ids = whole_ids[-self.max_qa_length :]
            kept_ids = article_ids[: budget - len(answer_ids)]
            input_ids = [tokenizer.cls_id, *kept_ids, tokenizer.sep_id, *answer_ids, tokenizer.sep_id]
            segment_ids = [0] * (len(kept_ids) + 2) + [1] * (len(answer_ids) + 1)
            marks = cut_marks(
                max_qa_length=(len(whole_ids), self.max_qa_length),
                max_seq_length=(len(article_ids) + len(answer_ids) + _SPECIAL_TOKENS, settings.max_seq_length),
            )
            records.append({"input_ids": input_ids, "segment_ids": segment_ids, "label_ids": [label], **marks})
        return records

    def identity(self) -> dict[str, Any]:
        """Every option but dropout: all of them decide what records the files become.

        Existing caches were named without the number of options, which was always four.
        """
        options = dataclasses.asdict(self)
        del options["dropout_prob"]
        if self.num_options == _DEFAULT_OPTIONS:
            del options["num_options"]
        return options

    @property
    def output(self) -> Choice:
        """One of the options of a question."""
        return Choice(self.sequences_per_example, self.dropout_prob)

    def options(self, scores: Mapping[str, float]) -> dict[str, int | float | None]:
        """The length of question and option."""
        return {"max_qa_length": self.max_qa_length}

    def score(
        self, items: Sequence[RaceExample], predictions: Mapping[str, np.ndarray], records: Sequence[Any] = ()
    ) -> dict[str, float]:
        """Accuracy of `predictions["predictions"]` [N] over all questions with a label, and over each level's.

        What has no such questions has no figure. `records` is not needed.
        """
        predicted = np.asarray(predictions["predictions"])
        assert predicted.shape == (len(items),), f"{len(items)} questions, predictions of shape {predicted.shape}"
        labels = np.array([-1 if item.label is None else item.label for item in items], np.int64)
        levels = np.array([item.level for item in items], str)
        scored = {"accuracy": labels >= 0} | {
            f"{level}_accuracy": (labels >= 0) & (levels == level) for level in (*_LEVELS, *_FURTHER_LEVELS)
        }
        return {name: accuracy(labels[rows], predicted[rows]) for name, rows in scored.items() if rows.any()}

    def result_files(
        self, items: Sequence[RaceExample], predictions: Mapping[str, np.ndarray], records: Sequence[Any] = ()
    ) -> dict[str, str]:
        """File name -> text: probabilities of a question's options, the chosen one's letter, `test_scores.json`."""
        probabilities, chosen = np.asarray(predictions["probabilities"]), np.asarray(predictions["predictions"])
        expected = (len(items), self.num_options)
        assert probabilities.shape == expected, f"{probabilities.shape} probabilities, expected {expected}"
        rows = zip((item.guid for item in items), chosen.tolist(), strict=True)
        labelled = [number for number, item in enumerate(items) if item.label is not None]
        return {
            "test_results.tsv": "".join("\t".join(map(str, row)) + "\n" for row in probabilities.tolist()),
            "submit_results.tsv": "index\tprediction\n" + "".join(f"{guid}\t{LETTERS[i]}\n" for guid, i in rows),
            **scores_of_labelled(self, items, predictions, labelled, "question"),
        }

    def _files(self, split: Split, data_dir: Path) -> dict[str, tuple[Path, ...]]:
        """Level -> its files, for every level that is read."""
        folder = race_folder(data_dir, split) / split
        levels = self.levels
        if not self.high_only and not self.middle_only:
            further = tuple(level for level in _FURTHER_LEVELS if any(text_files(folder / level)))
            is_alone = further and not any((folder / level).exists() for level in levels)
            levels = further if is_alone else levels + further
        return {level: self._level_files(split, data_dir, level) for level in levels}

    def _level_files(self, split: Split, data_dir: Path, level: str) -> tuple[Path, ...]:
        if split not in self.splits:
            raise UserError(f"Task {self.name} has no {split} split, only {', '.join(self.splits)}.")
        folder = race_folder(Path(data_dir), split) / split / level
        singles, merged = text_files(folder)
        if merged or singles:
            return (merged,) if merged else singles
        problem = f"has neither {MERGED} nor files such as 1.txt" if folder.is_dir() else "is not there"
        command = f"python3 download_glue_data.py --data_dir={shlex.quote(str(data_dir))} --tasks RACE"
        raise UserError(
            f"{folder} {problem}: task {self.name} reads RACE/{{train,dev,test}}/{{middle,high}}/*.txt in "
            f"`data_dir`={data_dir}; {command} fetches it."
        )

    def _read(self, files: Mapping[str, tuple[Path, ...]], split: Split, data_dir: Path) -> Iterator[RaceExample]:
        faults = _Faults()
        for level, paths in files.items():
            num_articles = num_questions = 0
            for where, data in documents(paths):
                num_articles += 1
                try:
                    article = _parse_article(data, self.num_options, needs_answers=split != "test")
                    faults.look_at(article, where)
                except ValueError as error:
                    raise UserError(f"{where}: {error}; {remedy(paths[0])}.") from None
                num_questions += len(article.questions)
                yield from article.examples(level)
            if not num_questions:
                what = "question" if num_articles else "article"
                raise UserError(f"{paths[0]} holds no {what}; {remedy(paths[0])}.")
            compare_with_single_files(paths[0], num_articles)
        faults.log()
        if split != "train":
            folder = race_folder(data_dir, split)
            rows, train_rows = self._contents(split, data_dir), self._contents("train", data_dir)
            warn_of_training_rows(folder / split, rows, folder / "train", train_rows)

    def _contents(self, split: Split, data_dir: Path) -> Iterator[tuple[Any, ...]]:
        """What the articles of a split are, whatever their names."""
        for paths in self._files(split, data_dir).values():
            for _, data in documents(paths):
                article = _parse_article(data, self.num_options, needs_answers=False)
                yield article.text, article.questions, article.options


def read_questions(path: Path, num_options: int) -> Iterator[RaceExample]:
    """The questions of one file, which may lack answers: an article, or one a line in `all.txt` and `*.jsonl`.

    Raises UserError, naming file and place, for what is not an article or has another number of options.
    """
    for where, data in documents([path]):
        try:
            article = _parse_article(data, num_options, needs_answers=False, counted_by="the model has")
        except ValueError as error:
            raise UserError(f"{where}: {with_file(error, path)}; {remedy(path)}.") from None
        yield from article.examples("")


def options_in(data_dir: Path) -> int:
    """How many options the first question in `data_dir` has; 4 where none can be read, which `read` then reports."""
    task = RaceTask()
    for split in task.splits:
        try:
            paths = (path for level_paths in task._files(split, Path(data_dir)).values() for path in level_paths)
            for _, data in documents(paths):
                for options in parse_json(data)["options"]:
                    return len(options) if 2 <= len(options) <= len(LETTERS) else _DEFAULT_OPTIONS
        except (ValueError, TypeError, KeyError):
            continue
    return _DEFAULT_OPTIONS


def answered_questions(example: RaceExample, tokenizer: Tokenizer) -> list[str]:
    """The question with each option in its place: of every "_" if it has any, otherwise after it. Preprocessed text.

    A blank of several underscores so takes the option several times, as in the original.
    """
    question = tokenizer.preprocess(example.question)
    options = map(tokenizer.preprocess, example.options)
    if "_" in question:
        return [question.replace("_", option) for option in options]
    return [f"{question} {option}" for option in options]


@functools.lru_cache(maxsize=1)  # the questions on an article follow each other
def _article_ids(article: str, tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode(article)


# --- One article -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Article:
    id: str
    text: str
    questions: list[str]
    options: list[list[str]]
    labels: list[int | None]

    def examples(self, level: str) -> Iterator[RaceExample]:
        rows = zip(self.questions, self.options, self.labels, strict=True)
        for number, (question, options, label) in enumerate(rows):
            yield RaceExample(f"{self.id}-{number}", self.text, question, tuple(options), label, level)


def _parse_article(
    data: bytes, num_options: int, needs_answers: bool, counted_by: str = "the first question of all"
) -> _Article:
    """Raises ValueError saying what is wrong, and with what inside the article; `counted_by` has `num_options`."""
    document = parse_json(data)
    if not isinstance(document, dict):
        raise ValueError("not an article, which is a JSON object")
    needed = ["id", "article", "questions", "options", *["answers"] * needs_answers]
    missing = [key for key in needed if key not in document]
    if missing:
        raise ValueError(f"has no {', '.join(missing)}; an article has {', '.join(needed)}")
    number = document["id"]
    identifier = str(number) if type(number) is int else _checked_text(number, "id")
    text = _checked_text(document["article"], "article")
    if not identifier.strip():
        raise ValueError("id is empty, by which its questions are told apart")
    if not identifier.isprintable():
        raise ValueError(f"id {short_repr(identifier)} has characters that a table of results cannot hold")
    questions = _checked_texts(document["questions"], "questions")
    options = [
        _checked_options(texts, f"options[{i}]", num_options, counted_by)
        for i, texts in enumerate(_list(document["options"], "options"))
    ]
    labels: list[int | None] = [None] * len(questions)
    unknown = () if needs_answers else (None, "")
    if needs_answers or document.get("answers") not in (None, []):
        answers = enumerate(_list(document["answers"], "answers"))
        labels = [None if a in unknown else _label(a, f"answers[{i}]", num_options) for i, a in answers]
    if not len(questions) == len(options) == len(labels):
        raise ValueError(
            f"{counted(len(questions), 'question')}, {counted(len(options), 'list')} of options and "
            f"{counted(len(labels), 'answer')}, which must be equally many"
        )
    return _Article(identifier, text, questions, options, labels)


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{place} is not a list")
    return value


def _checked_text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{place} is not a text")
    if half_surrogate(value) is not None:
        raise ValueError(f"{place} has {HALF_SURROGATE}")
    return value


def _checked_texts(value: object, place: str) -> list[str]:
    return [_checked_text(text, f"{place}[{i}]") for i, text in enumerate(_list(value, place))]


def _checked_options(value: object, place: str, num_options: int, counted_by: str) -> list[str]:
    texts = _checked_texts(value, place)
    if len(texts) != num_options:
        raise ValueError(f"{place} has {counted(len(texts), 'option')}, not {num_options} as {counted_by}")
    return texts


def _label(answer: object, place: str, num_options: int) -> int:
    letters = LETTERS[:num_options]
    if not isinstance(answer, str) or len(answer) != 1 or answer not in letters:
        raise ValueError(f"{place} is {short_repr(answer)}, which is not one of {', '.join(letters)}")
    return LETTERS.index(answer)


class _Faults:
    """What is suspicious in the articles of one reading: counted by kind, reported at its end."""

    def __init__(self):
        self._first_places: dict[int, str] = {}
        self._ids: set[str] = set()
        self._num_questions = 0
        self._repeated_ids: list[str] = []
        self._empty_count = 0
        self._first_empty = ""

    def look_at(self, article: _Article, where: str) -> None:
        """Raises ValueError for an article that was read before, as an all.txt holds that was merged into itself."""
        key = hash((article.id, article.text, *article.questions))
        first = self._first_places.setdefault(key, where)
        if first is not where:
            raise ValueError(f"article {short_repr(article.id)} is in {first} already")
        if article.id in self._ids:
            self._repeated_ids.append(f"{short_repr(article.id)} in {where}")
        self._ids.add(article.id)
        self._num_questions += len(article.questions)
        for question, options in zip(article.questions, article.options, strict=True):
            if not all(text.strip() for text in (article.text, question, *options)):
                self._empty_count += 1
                self._first_empty = self._first_empty or where

    def log(self) -> None:
        """Logs what was counted. Raises UserError where no question has all its texts."""
        if self._empty_count == self._num_questions:
            raise UserError(
                f"{self._first_empty}: this and all other questions have an empty article, question or option; "
                "correct them or fetch them again."
            )
        if self._repeated_ids:
            _LOG.warning(
                "articles with the id of another, so that results do not tell them apart: %d, the first %s",
                *(len(self._repeated_ids), self._repeated_ids[0]),
            )
        if self._empty_count:
            _LOG.warning(
                "questions with an empty article, question or option, used all the same: %d, the first in %s",
                *(self._empty_count, self._first_empty),
            )
