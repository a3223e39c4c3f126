"""SQuAD 1.1 and 2.0 as a task: paragraphs with their questions become records, and predictions become scores."""

import dataclasses
import filecmp
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from albert.data.schema import Column, HostRecord, Record
from albert.errors import UserError
from albert.settings import DataSettings
from albert.settings.fields import DATA, DROPOUT, LARGE, MODEL, OUTPUT, at_least, between, problems_of, setting
from albert.system.printing import counted, part_of
from albert.system.text_encoding import open_regular
from albert.tasks.base import Span, Split, Task
from albert.tasks.squad import metrics
from albert.tasks.squad.files import Paragraph, Question, Tally, all_questions, read_paragraphs
from albert.tasks.squad.languages import DEFAULT_LANGUAGE, LANGUAGES, unspaced_language
from albert.tasks.squad.predictions import Predictions, predict_v1, predict_v2, prediction_files
from albert.tasks.squad.windows import (
    NO_TOKENS,
    SPECIAL_TOKENS,
    UNLABELLED,
    Window,
    answer_tokens,
    split_into_windows,
    tokenize_document,
    window_features,
    window_label,
)
from albert.tokenization import Tokenizer

_TOKENS = Column("tokens", "int32")
_SCALAR = Column("scalar", "int32")
_HOST = Column("host", "int32")
_UNTUNED = metrics.UNTUNED_THRESHOLD


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquadTask(Task):
    """SQuAD of one version, read from `train_file` and `predict_file` (paths from the data directory, or absolute).

    An item is a paragraph, a record one window of its document with one question. Beyond what the model reads, a record
    has what decoding needs (W tokens of the document in the window):

    - "question_index" [1]: the question's number, from 0, among the questions of all items;
    - "doc_span_index" [1]: the window's number, from 0, among those of its question;
    - "paragraph_len" [1]: tokens of the input, despite its name, which is the original's;
    - "query_len" [1]: tokens of the question before it was truncated;
    - "tok_start_to_orig_index", "tok_end_to_orig_index" [W]: first and last character in the context of each token;
    - "token_is_max_context", of the input's length: 1 for tokens of the document that no other window shows with more
      context, 0 for its other tokens, -1 for what is not of the document.

    "p_mask" is 1 for tokens that cannot be an answer: the question and both [SEP]. Padding is to be masked as well.
    "start_positions" and "end_positions" index `input_ids` and are 0, [CLS], in windows without the whole answer, whose
    "is_impossible" is 1. Outside training all three are 0.
    """

    version: Literal["1.1", "2.0"]
    train_file: Path | None = setting("Questions to train on, in SQuAD's JSON format.", DATA, default=None)
    predict_file: Path | None = setting(
        "Questions to answer, in SQuAD's JSON format; scored if it has gold answers.", DATA, default=None
    )
    doc_stride: int = setting(
        "Tokens from the beginning of one window of a long context to that of the next.",
        DATA,
        default=128,
        bounds=at_least(1),
    )
    max_query_length: int = setting(
        "Longest question in tokens; longer ones are cut.", DATA, default=64, bounds=at_least(1)
    )
    n_best_size: int = setting(
        "Answers per question in nbest_predictions.json.", OUTPUT, default=20, bounds=at_least(1, 100_000)
    )
    max_answer_length: int = setting("Longest answer in tokens.", OUTPUT, default=30, bounds=at_least(1))
    score_language: str = setting(
        "Language whose words f1 compares: en as the official scripts, others as MLQA. zh, ja, th, lo, km, my: every "
        "character is a word.",
        OUTPUT,
        default=DEFAULT_LANGUAGE,
        choices=tuple(LANGUAGES),
    )
    # Of 2.0 alone.
    start_n_top: int = setting("Beginnings of an answer that are followed.", MODEL, default=5, bounds=at_least(1, 1000))
    end_n_top: int = setting(
        "Ends of an answer that are followed for each beginning.", MODEL, default=5, bounds=at_least(1, 1000)
    )
    dropout_prob: float = setting(
        "Dropout where the model decides whether there is an answer.", MODEL, default=0.1, bounds=DROPOUT
    )
    null_score_diff_threshold: float | None = setting(
        "Null odds above which a question is left unanswered; without, tuned on the gold answers, or if there are none "
        "that of the model (0 if it has none).",
        OUTPUT,
        default=None,
        bounds=between(-LARGE, LARGE),
    )
    known_threshold: float | None = None  # of the model that answers, tuned when it was trained
    original_thresholds: bool = setting(
        "Apply tuned thresholds as the original did, one question off.", OUTPUT, default=False
    )

    predict_split: ClassVar[Split] = "dev"
    has_dev_labels: ClassVar[bool] = False
    checked_columns: ClassVar[tuple[str, ...]] = ("question_index", "query_len")
    best_metric = "f1"
    feature_spec: ClassVar[Mapping[str, Column]] = {
        "input_ids": _TOKENS,
        "segment_ids": _TOKENS,
        "p_mask": _TOKENS,
        "start_positions": _SCALAR,
        "end_positions": _SCALAR,
        "is_impossible": _SCALAR,
        "question_index": _HOST,
        "doc_span_index": _HOST,
        "paragraph_len": _HOST,
        "query_len": _HOST,
        "tok_start_to_orig_index": _HOST,
        "tok_end_to_orig_index": _HOST,
        "token_is_max_context": _HOST,
    }

    @property
    def name(self) -> str:  # type: ignore[override]  # made of the version
        """ "squad1.1" or "squad2.0"."""
        return f"squad{self.version}"

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have a file."""
        named: tuple[tuple[Split, Path | None], ...] = (("train", self.train_file), ("dev", self.predict_file))
        return tuple(split for split, name in named if name)

    def problems(self, settings: DataSettings) -> list[str]:
        """What cannot work, each as one phrase."""
        found = problems_of(self)
        if settings.max_seq_length <= self.max_query_length + SPECIAL_TOKENS:
            found.append(
                f"`max_seq_length`={settings.max_seq_length} leaves no room for the context beside a question of "
                f"`max_query_length`={self.max_query_length} and {SPECIAL_TOKENS} special tokens; it must be at least "
                f"{self.max_query_length + SPECIAL_TOKENS + 1}"
            )
        return found

    def source_files(self, split: Split, data_dir: Path) -> tuple[Path, ...]:
        """The one file of a split. Raises UserError if none was named or it cannot be opened."""
        flag, name = ("train_file", self.train_file) if split == "train" else ("predict_file", self.predict_file)
        if not name:
            raise UserError(f"`{flag}` is missing; name a file in SQuAD's JSON format.")
        path = Path(data_dir) / name
        try:
            open_regular(path).close()
        except OSError as error:
            raise UserError(
                f"`{flag}`={path} cannot be read ({error.strerror}); name a file in SQuAD's JSON format."
            ) from error
        return (path,)

    def read(self, split: Split, data_dir: Path) -> Iterator[Paragraph]:
        """The paragraphs of a split, in the file's order; `read_paragraphs` says what is refused and what left out."""
        (path,) = self.source_files(split, data_dir)
        if split != "train" and self.train_file and _is_same_file(path, Path(data_dir) / self.train_file):
            logging.warning("%s is also the training file: its scores do not tell how other questions fare.", path)
        return read_paragraphs(path, self.version, for_training=split == "train")

    def featurize(self, item: Paragraph, tokenizer: Tokenizer, settings: DataSettings) -> list[Record]:
        """The windows of all questions of a paragraph, in their order.

        A question has none if the context has no token, or if in training no token stands for its answer
        (`questions_without_windows`). Raises UserError for `problems`.
        """
        if problems := self.problems(settings):
            raise UserError.of(problems)
        document = tokenize_document(item.context, tokenizer)
        if document is None:
            return []

        @functools.cache  # questions of equal length see the same windows
        def windows(room: int) -> list[Window]:
            return split_into_windows(len(document.ids), room, self.doc_stride)

        records: list[Record] = []
        for number, question in enumerate(item.questions, start=item.first_question):
            answer = answer_tokens(question, document) if item.for_training else None
            if answer == NO_TOKENS:
                continue
            query = tokenizer.encode(question.text)
            kept = query[: self.max_query_length]
            room = settings.max_seq_length - len(kept) - SPECIAL_TOKENS
            for index, window in enumerate(windows(room)):
                shown = window_features(kept, document, window, tokenizer)
                label = window_label(answer, window, len(kept) + 2) if item.for_training else UNLABELLED
                place: Record = {"question_index": [number], "doc_span_index": [index], "query_len": [len(query)]}
                records.append(shown | label | place)
        return records

    def identity(self) -> dict[str, Any]:
        """What decides the records beside the file: the windows. Versions differ in the loss only."""
        return {"task": "squad", "doc_stride": self.doc_stride, "max_query_length": self.max_query_length}

    def scoring(self) -> dict[str, Any]:
        """The longest answer, the language, and the threshold that was given or how it is tuned."""
        names = ("max_answer_length", "score_language", "null_score_diff_threshold", "original_thresholds")
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name in names if (value := getattr(self, name)) != usual[name]}

    @property
    def output(self) -> Span:
        """Start and end in 1.1; in 2.0 beams of both, and whether there is an answer at all."""
        return Span(self.version, self.start_n_top, self.end_n_top, self.dropout_prob)

    def options(self, scores: Mapping[str, float]) -> dict[str, int | float | None]:
        """The windows, the longest answer and, in 2.0, the threshold that was given or tuned."""
        names = ("doc_stride", "max_query_length", "max_answer_length")
        found: dict[str, int | float | None] = {name: getattr(self, name) for name in names}
        if self.version == "2.0":
            name = "null_score_diff_threshold"
            found[name] = scores.get(name, self.null_score_diff_threshold)
        return found

    def can_score(self, items: Sequence[Paragraph]) -> bool:
        """Whether any question has gold answers, or is known to have none."""
        if self.version == "1.1":  # which always has an answer
            return any(question.answers for question in all_questions(items))
        return any(question.has_gold for question in all_questions(items))

    def check_records(self, source: Path, items: Sequence[Paragraph], records: Sequence[HostRecord]) -> None:
        """Warns of questions without windows and of truncated ones, and logs how many windows there are.

        Raises UserError where no question has a window.
        """
        log_dropped_and_truncated(source, items, records, self.max_query_length)
        questions = len(all_questions(items))
        if not records:
            raise UserError(
                f"{source}: of its {counted(questions, 'question')} none has features, because the vocabulary drops "
                "every character of their contexts or answers; name another file or vocabulary."
            )
        if not any(item.for_training for item in items):
            self._warn_of_unspaced_answers(source, items)
        sizes = {"paragraph": len(items), "question": questions, "window": len(records)}
        is_scored = not any(item.for_training for item in items) and self.can_score(items)
        unit = "; scores are in percent" * is_scored
        logging.info("%s: %s with %s in %s%s.", source, *(counted(size, noun) for noun, size in sizes.items()), unit)

    def _warn_of_unspaced_answers(self, source: Path, items: Sequence[Paragraph]) -> None:
        if self.score_language != DEFAULT_LANGUAGE:
            return
        answered = [question for question in all_questions(items) if question.answers]
        languages = [unspaced_language(question.answers[0][0]) for question in answered]
        unspaced = [language for language in languages if language]
        if len(unspaced) > len(answered) / 10:
            likely = max(LANGUAGES, key=unspaced.count)
            logging.warning(
                "%s: %s without spaces, so that f1 compares each as one word; `score_language`=%s compares characters.",
                *(source, part_of(len(unspaced), len(answered), "answer"), likely),
            )

    def score(
        self, items: Sequence[Paragraph], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord] = ()
    ) -> dict[str, float]:
        """The official scripts' measures, in percent: `metrics.score_v1` or `score_v2`."""
        questions = _questions_to_score(items)
        return self._scores(questions, self._answers(questions, predictions, records))

    def result_files(
        self, items: Sequence[Paragraph], predictions: Mapping[str, np.ndarray], records: Sequence[HostRecord] = ()
    ) -> dict[str, str]:
        """`predictions.json`, `nbest_predictions.json` and, in 2.0, `null_odds.json`."""
        questions = _questions_to_score(items)
        answers = self._answers(questions, predictions, records)
        texts = answers.texts
        if self.version == "2.0":
            threshold = self._scores(questions, answers).get("null_score_diff_threshold")
            if threshold is None:
                threshold = self._threshold_without_answers()
            texts = metrics.apply_threshold(texts, answers.null_odds, threshold)
        return prediction_files(answers, texts)

    def _threshold_without_answers(self) -> float:
        """What null odds are compared with where no gold answer can say; logs what nobody gave."""
        if self.null_score_diff_threshold is not None:
            return self.null_score_diff_threshold
        if self.known_threshold is not None:
            logging.info("`null_score_diff_threshold`=%g, which was tuned for the model.", self.known_threshold)
            return self.known_threshold
        logging.warning("`null_score_diff_threshold`=%g: no gold answers are there to tune it.", _UNTUNED)
        return _UNTUNED

    def _answers(
        self,
        questions: Sequence[metrics.Question],
        predictions: Mapping[str, np.ndarray],
        records: Sequence[HostRecord],
    ) -> Predictions:
        predict = predict_v1 if self.version == "1.1" else predict_v2
        windows = windows_by_question(len(questions), records)
        return predict(questions, windows, records, predictions, self.n_best_size, self.max_answer_length)

    def _scores(self, questions: Sequence[metrics.Question], answers: Predictions) -> dict[str, float]:
        if self.version == "1.1":
            return metrics.score_v1(questions, answers.texts, self.score_language)
        threshold, original = self.null_score_diff_threshold, self.original_thresholds
        return metrics.score_v2(
            questions, answers.texts, answers.null_odds, threshold, original, language=self.score_language
        )


def _is_same_file(first: Path, second: Path) -> bool:
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:  # what cannot be read is reported where it is needed
        return False


def _questions_to_score(paragraphs: Iterable[Paragraph]) -> list[metrics.Question]:
    """The questions of all paragraphs, as `squad_metrics` wants them."""
    return [
        metrics.Question(q.id, p.context, tuple(text for text, _ in q.answers) if q.has_gold else None)
        for p in paragraphs
        for q in p.questions
    ]


def windows_by_question(
    num_questions: int, records: Iterable[Mapping[str, Sequence[int] | np.ndarray]]
) -> list[list[int]]:
    """For each question, as `all_questions` counts them, the numbers of its records. Needs only "question_index"."""
    windows: list[list[int]] = [[] for _ in range(num_questions)]
    for number, record in enumerate(records):
        windows[_number(record["question_index"])].append(number)
    return windows


def questions_without_windows(
    paragraphs: Iterable[Paragraph], records: Iterable[Mapping[str, Sequence[int] | np.ndarray]]
) -> list[Question]:
    """The questions no record belongs to: no token stands for their context or answer. Needs only "question_index"."""
    questions = all_questions(paragraphs)
    windows = windows_by_question(len(questions), records)
    return [question for question, numbers in zip(questions, windows, strict=True) if not numbers]


def log_dropped_and_truncated(
    source: Path,
    paragraphs: Sequence[Paragraph],
    records: Sequence[Mapping[str, Sequence[int] | np.ndarray]],
    max_query_length: int,
) -> None:
    """Warns of questions in `source` without windows and of truncated ones; needs "question_index" and "query_len"."""
    questions = all_questions(paragraphs)
    tally = Tally(source)
    for question in questions_without_windows(paragraphs, records):
        tally.add("without features because the vocabulary drops every character of the context or answer", question.id)
    query_lengths = {_number(record["question_index"]): _number(record["query_len"]) for record in records}
    for number, length in query_lengths.items():
        if length > max_query_length:
            tally.add(f"cut to max_query_length={max_query_length} tokens", questions[number].id)
    tally.log(len(questions))


def _number(values: Sequence[int] | np.ndarray) -> int:
    return int(np.asarray(values).item())
