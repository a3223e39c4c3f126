"""A trained model as a Python object: `albert.load(folder)` makes one, without flags or an output directory."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from albert.data.schema import Record, take_cuts
from albert.engine.devices import have_bfloat16
from albert.engine.outputs import count_not_numbers
from albert.errors import UserError
from albert.heads.span import IMPOSSIBLE
from albert.modeling import Computation
from albert.ops.fused import FUSED_FORWARD
from albert.serving.description import DESCRIPTION, ModelDescription
from albert.serving.forward import PREDICTIONS, Arrays, Forward, device_name
from albert.serving.loading import load_model
from albert.serving.request import DEFAULT_THRESHOLD, POOLED, POOLINGS
from albert.serving.results import Result, answer_results, choice_results, label_results
from albert.serving.sentences import Words, as_sentences, tag_results
from albert.serving.shapes import Batch, Shapes, lay_out
from albert.serving.texts import as_list, as_text
from albert.serving.uses import ANSWERS, CHOICES, LABELS, TAGS, check_choice_of_results, check_use
from albert.settings import DTYPES, DataSettings
from albert.system.keywords import answering_keywords
from albert.system.printing import counted, part_of
from albert.system.progress import in_notebook, progress_bar
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span, Tags
from albert.tasks.cuts import CutTexts
from albert.tasks.race import RaceExample, RaceTask
from albert.tasks.squad import metrics
from albert.tasks.squad.files import Paragraph, Question
from albert.tasks.squad.predictions import predict_v1, predict_v2
from albert.tasks.squad.task import SquadTask, windows_by_question
from albert.tasks.tags.words import NO_PIECE, Row, windows_of
from albert.tasks.text import pair_features
from albert.vocabulary_fit import UnknownPieces

if TYPE_CHECKING:
    from tqdm import tqdm

# How many examples are features and outputs at the same time, so that memory does not grow with their number.
_EXAMPLES_AT_A_TIME = 2048


class Predictor:
    """Predicts with the model of a folder, or embeds with it; see docs/predicting.md.

    Several threads may call one predictor, and a process may have several. Every method raises UserError, in one line,
    for what the model cannot do.

    Args:
      folder: as a training run leaves it, or as a model is downloaded, which only embeds.
      batch_size: rows that are computed at once; packed, they hold as many texts as go in there.
      device: "gpu", "cpu", or "auto", which is a GPU if there is one.
      dtype: of activations, as in settings; None for that of the training.
      pack_sequences: whether several texts may share a row.

    Attributes:
      unknown: how many pieces of all texts so far the vocabulary does not know: `unknown.count` of `unknown.total`.
      cuts: by the name of a limit, how many texts so far were cut to it: `cuts["max_seq_length"].count` of `.total`, of
        which the longest had `.longest` tokens. Contexts of SQuAD are read in windows and never cut, but questions are
        ("max_query_length"); RACE's questions with their options have "max_qa_length". Texts whose words get tags are
        read in windows, and only a word that is longer than one is cut.
    """

    def __init__(
        self,
        folder: Path | str,
        batch_size: int = 32,
        device: str = "auto",
        dtype: str | None = None,
        pack_sequences: bool = True,
    ):
        if folder == "":  # which would be the working directory
            raise UserError("`model_dir` is empty; give the folder of a model.")
        _check_whole("batch_size", batch_size, 1)
        if dtype not in (None, *DTYPES):
            raise UserError(f"`dtype`={dtype} is unknown; known are {', '.join(DTYPES)}")
        self._device = device_name(device)
        self._model = model = load_model(Path(folder), self._device)
        self._settings = DataSettings("", Path(), max_seq_length=model.max_seq_length)
        self.unknown = UnknownPieces(model.tokenizer)
        self.cuts = self._counters()
        self.dtype = self._resolved(dtype)
        computation = Computation(tf.as_dtype(self.dtype), element_wise=FUSED_FORWARD)
        self._forward = Forward(model.config, model.head, model.weights, computation, self._device)
        output = self.output
        group = output.count if isinstance(output, Choice) else 1
        # What is said of each token of a row is as long as the row.
        longest = 0 if isinstance(output, Span | Tags) else model.config.max_position_embeddings
        self._single = Shapes.choose(model.max_seq_length, batch_size, 1, pack_sequences, longest)
        self._grouped = Shapes.choose(model.max_seq_length, batch_size, group, pack_sequences, longest)
        self._may_suit = True
        self._extra = ("p_mask",) if isinstance(output, Span) and output.version == "2.0" else ()
        if isinstance(output, Span) and output.version == "2.0" and self._threshold is None:
            logging.warning(
                "%s has no null_score_diff_threshold, because no gold answers were there to tune it: 0 is used.",
                model.folder / DESCRIPTION,
            )

    def __repr__(self) -> str:
        return f"<Predictor of {self._model.folder}>"

    @property
    def output(self) -> Output | None:
        """What the model predicts; None where it only embeds."""
        return self._model.description.output if self._model.description else None

    @property
    def description(self) -> ModelDescription | None:
        """What `model.json` says of the model."""
        return self._model.description

    @property
    def hidden_size(self) -> int:
        """The length of an embedding."""
        return self._model.config.hidden_size

    @property
    def max_seq_length(self) -> int:
        """The longest row in tokens."""
        return self._model.max_seq_length

    @property
    def num_compiled(self) -> int:
        """How many functions were compiled for the shapes that came."""
        return self._forward.num_compiled

    def warm_up(self, pooling: str | None = None, is_whole: bool = False) -> None:
        """Compiles what a few texts need, for predictions or `pooling`: no later call of a few texts waits for it.

        `is_whole`: and what any number of texts needs, from now on none in shapes of their own.
        """
        if pooling is not None:
            self._check_pooling(pooling)
        self._may_suit = not is_whole
        shapes = self._single if pooling else self._grouped
        num_sequences = 1 if pooling or not isinstance(self.output, Choice) else self.output.count
        tokenizer = self._model.tokenizer
        for shape in (*shapes.small, *((*shapes.middle, *shapes.large) if is_whole else ())):
            ids = [tokenizer.cls_id] * shape.length
            record: Record = {name: ids if name == "input_ids" else [0] * len(ids) for name in self._columns(pooling)}
            batch = Batch(shape, np.arange(1), np.arange(num_sequences, dtype=np.int32) * shape.length)
            arrays = lay_out(batch, [record] * num_sequences, self._columns(pooling))
            self._forward(pooling or PREDICTIONS, arrays)

    def _counters(self) -> dict[str, CutTexts]:
        """What counts the texts that are cut, by the limit."""
        is_choice, is_span = isinstance(self.output, Choice), isinstance(self.output, Span)
        limits = {"max_seq_length": self._model.max_seq_length}
        if is_choice:
            limits["max_qa_length"] = self._options.get("max_qa_length", RaceTask.max_qa_length)
        if is_span:
            limits["max_query_length"] = self._options.get("max_query_length", SquadTask.max_query_length)
        nouns = {"max_seq_length": "question" if is_choice else "text"}
        return {name: CutTexts(name, limit, nouns.get(name, "question")) for name, limit in limits.items()}

    def _count_cuts(self, items: Sequence[list[Record]]) -> None:
        """Counts the texts of items that were cut, and takes the marks out of their records."""
        found = [take_cuts(records) for records in items]
        for name, counter in self.cuts.items():
            counter.add(cuts.get(name) for cuts in found)

    # Texts ------------------------------------------------------------------------------------------------------------

    @answering_keywords
    def __call__(
        self,
        texts: str | Iterable[str],
        text_pairs: str | Iterable[str] | None = None,
        top_k: int | None = 1,
        threshold: float | None = None,
    ) -> list[Any]:
        """{"label", "score"} of each text, or pair of texts, in their order, as transformers' pipelines give.

        Texts are a list, a column of a table (a Series of pandas), an array of NumPy, or what else gives one by one.

        With `top_k` other than 1, a list of such for each text, the best first; 0 or None, as there,
        gives all. For a model of several labels a text always has that list, of the labels with at least `threshold`,
        0.5 if that is None; no other model takes one. A regression's label is "LABEL_0". A model of tags gives what
        `tag` gives.
        """
        if isinstance(self.output, Tags):
            given = {"text_pairs": text_pairs is not None, "top_k": top_k != 1, "threshold": threshold is not None}
            if what := next((name for name, is_given in given.items() if is_given), ""):
                raise UserError(f"the model of {self._model.folder} gives words tags: it has no use for `{what}`.")
            return self.tag(texts)
        check_use(self._model.folder, self.description, LABELS)
        top_k = _as_count(top_k)
        if threshold is not None:
            _check_share("threshold", threshold)
        output = self.output
        assert isinstance(output, Labels | MultiLabels | Score), "what gives labels"
        assert self.description, "check_use demands one"
        # 0 is all, which is what such models give anyway.
        check_choice_of_results(
            f"the model of {self._model.folder}", self.description, top_k if top_k > 1 else None, threshold
        )
        least = DEFAULT_THRESHOLD if threshold is None else threshold
        firsts, seconds = as_list(texts, "texts"), None if text_pairs is None else as_list(text_pairs, "text_pairs")
        self._check_pairs(firsts, seconds)
        found: list[Any] = []
        with _bar(len(firsts)) as bar:
            for examples in self._text_records(firsts, seconds):
                probabilities = self._compute(PREDICTIONS, self._grouped, examples, bar)["probabilities"]
                found += label_results(output, probabilities.reshape(len(examples), -1), top_k, least)
        return found if top_k != 1 or isinstance(output, MultiLabels) else [results[0] for results in found]

    @answering_keywords
    def encode(
        self, texts: str | Iterable[str], text_pairs: str | Iterable[str] | None = None, pooling: str = POOLED
    ) -> np.ndarray:
        """Embeddings float32 [n, H] of texts, or pairs: the pooled output, or the mean of a text's token vectors."""
        self._check_pooling(pooling)
        firsts, seconds = as_list(texts, "texts"), None if text_pairs is None else as_list(text_pairs, "text_pairs")
        if seconds is not None:
            _check_as_many(firsts, seconds)
        parts = [np.zeros((0, self.hidden_size), np.float32)]
        with _bar(len(firsts)) as bar:
            for examples in self._text_records(firsts, seconds):
                parts.append(self._compute(pooling, self._single, examples, bar)[pooling])
        return np.concatenate(parts)

    def _check_pooling(self, pooling: str) -> None:
        if pooling not in POOLINGS:
            raise UserError(f"pooling={pooling} is unknown; known are {', '.join(POOLINGS)}")
        if pooling == POOLED and not self._model.has_pooler:
            raise UserError(f"the checkpoint in {self._model.folder} has no pooler: take the mean over tokens instead.")

    def _text_records(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[list[list[Record]]]:
        """The records of some examples at a time."""
        encode = self._model.tokenizer.encode
        for begin in range(0, len(texts), _EXAMPLES_AT_A_TIME):
            examples: list[list[Record]] = []
            for number in range(begin, min(begin + _EXAMPLES_AT_A_TIME, len(texts))):
                second = None if pairs is None else encode(pairs[number])
                record = pair_features(encode(texts[number]), second, self._model.max_seq_length, self._model.tokenizer)
                examples.append([record])
                self.unknown.add([record["input_ids"]], (texts[number], pairs and pairs[number]))
            self._count_cuts(examples)
            yield examples

    def _check_pairs(self, texts: Sequence[str], pairs: Sequence[str] | None) -> None:
        columns = self._model.description.text_columns if self._model.description else ()
        named = f"{counted(len(columns), 'text')} ({', '.join(columns)})"
        if columns and (pairs is not None) != (len(columns) == 2):
            given = "one text is" if pairs is None else "two are"
            raise UserError(f"the model of {self._model.folder} reads {named}, but {given} given.")
        if pairs is not None:
            _check_as_many(texts, pairs)

    # Tags -------------------------------------------------------------------------------------------------------------

    @answering_keywords
    def tag(self, texts: str | Iterable[str | Iterable[str]]) -> list[Result]:
        """{"entities", "words"} of each text, a string or a list of words, in their order; see `tag_results`.

        A string is cut into words as `tasks.tags.words.words_of` says. A text of more than `max_seq_length` tokens is
        read in windows (`windows_of`).
        """
        check_use(self._model.folder, self.description, TAGS)
        output = self.output
        assert isinstance(output, Tags), "what gives tags"
        sentences = as_sentences(texts, output.sets_punctuation_apart)
        found: list[Result] = []
        with _bar(len(sentences)) as bar:
            for rows in self._word_records(sentences):
                examples = [[row.record] for of_text in rows for row in of_text]
                bar.total = (bar.total or 0) + len(examples) - len(rows)
                outputs = self._compute(PREDICTIONS, self._grouped, examples, bar)
                first = 0
                for of_text in rows:
                    windows = slice(first, first + len(of_text))
                    tags, probabilities = (outputs[name][windows] for name in ("tags", "tag_probabilities"))
                    places = _places(of_text, tags.shape[1])
                    values = tags.ravel(), probabilities.ravel()
                    found.append(tag_results(output, sentences[len(found)], places, *values))
                    first = windows.stop
        return found

    def _word_records(self, sentences: Sequence[Words]) -> Iterator[list[list[Row]]]:
        """The rows of each text, of some texts at a time."""
        rows: list[list[Row]] = []
        num_rows = 0
        for number, sentence in enumerate(sentences, start=1):
            words = [word.text for word in sentence.words]
            rows.append(windows_of(words, self._model.tokenizer, self._model.max_seq_length))
            self.unknown.add([row.record["input_ids"] for row in rows[-1]], words)
            num_rows += len(rows[-1])
            if number == len(sentences) or num_rows >= _EXAMPLES_AT_A_TIME:
                self._count_cuts([[row.record for row in of_text] for of_text in rows])
                yield rows
                rows, num_rows = [], 0

    # Questions --------------------------------------------------------------------------------------------------------

    @answering_keywords
    def answer(self, question: str, context: str, top_k: int | None = 1) -> Any:
        """{"score", "start", "end", "answer"}, or with another `top_k` than 1 a list of such, the best first.

        `start` and `end` are characters of `context`; "" is no answer.
        """
        asked = Question("", as_text(question, "question"), (), False)
        ((results),) = self.answer_all([Paragraph(as_text(context, "context"), (asked,), "", 0, False)], top_k)
        return results if top_k != 1 else results[0]

    @answering_keywords
    def answer_all(self, paragraphs: Sequence[Paragraph], top_k: int | None = 1) -> list[list[Result]]:
        """The `top_k` best answers to every question of `paragraphs`, in their order, whatever their ids."""
        check_use(self._model.folder, self.description, ANSWERS)
        top_k = _as_count(top_k)
        output, task = self.output, self._squad_task()
        assert isinstance(output, Span), "what gives answers"
        questions: list[metrics.Question] = []
        records: list[Record] = []
        for paragraph in paragraphs:
            numbered = dataclasses.replace(paragraph, first_question=len(questions))
            made = task.featurize(numbered, self._model.tokenizer, self._settings)
            texts = (paragraph.context, [asked.text for asked in paragraph.questions])
            self.unknown.add([record["input_ids"] for record in made], texts)
            records += made
            # Called by their numbers: what a caller names alike would otherwise get one answer for all.
            numbers = range(len(questions), len(questions) + len(paragraph.questions))
            questions += [metrics.Question(str(number), paragraph.context, None) for number in numbers]
        cuts = self.cuts["max_query_length"]
        lengths = dict.fromkeys(range(len(questions)), 0)
        lengths |= {int(record["question_index"][0]): int(record["query_len"][0]) for record in records}
        cuts.add(length if length > cuts.limit else None for length in lengths.values())
        outputs = {}
        if records:
            with _bar(len(records)) as bar:
                outputs = self._compute(PREDICTIONS, self._grouped, [[record] for record in records], bar)
        columns = ("question_index", "token_is_max_context", "tok_start_to_orig_index", "tok_end_to_orig_index")
        host = [{name: np.array(record[name]) for name in columns} for record in records]
        windows = windows_by_question(len(questions), host)
        predict = predict_v1 if output.version == "1.1" else predict_v2
        outputs = outputs or {"cls_logits": np.zeros(0, np.float32)}
        found = predict(questions, windows, host, outputs, task.n_best_size, task.max_answer_length)
        threshold = metrics.UNTUNED_THRESHOLD if self._threshold is None else self._threshold
        return [answer_results(found, question.id, threshold, top_k) for question in questions]

    @property
    def _options(self) -> dict[str, Any]:
        return dict(self._model.description.options) if self._model.description else {}

    @property
    def _threshold(self) -> float | None:
        return self._options.get("null_score_diff_threshold")

    def _squad_task(self) -> SquadTask:
        output, options = self.output, self._options
        assert isinstance(output, Span), "what gives answers"
        return SquadTask(version=output.version, start_n_top=output.start_n_top, end_n_top=output.end_n_top, **options)

    # Choices ----------------------------------------------------------------------------------------------------------

    @answering_keywords
    def choose(self, context: str, question: str, options: Sequence[str], top_k: int | None = 1) -> Any:
        """{"label", "score", "option"} of the best option, whose label is its letter; a list for other `top_k` than 1.

        A "_" in the question is where the options belong.
        """
        texts = [as_text(text, name) for text, name in ((context, "context"), (question, "question"))]
        example = RaceExample("", texts[0], texts[1], tuple(as_list(options, "options")), None, "")
        (results,) = self.choose_all([example], top_k)
        return results if top_k != 1 else results[0]

    @answering_keywords
    def choose_all(self, examples: Sequence[RaceExample], top_k: int | None = 1) -> list[list[Result]]:
        """The `top_k` best options of every question."""
        check_use(self._model.folder, self.description, CHOICES)
        top_k = _as_count(top_k)
        output = self.output
        assert isinstance(output, Choice), "what gives choices"
        for example in examples:
            if len(example.options) != output.count:
                raise UserError(
                    f"the model of {self._model.folder} chooses among {output.count} options, but "
                    f"a question has {len(example.options)}."
                )
        task = RaceTask(num_options=output.count, **self._options)
        records = [task.featurize(example, self._model.tokenizer, self._settings) for example in examples]
        for options, example in zip(records, examples, strict=True):
            self.unknown.add([record["input_ids"] for record in options], example)
        self._count_cuts(records)
        if not records:
            return []
        with _bar(len(records)) as bar:
            probabilities = self._compute(PREDICTIONS, self._grouped, records, bar)["probabilities"]
        rows = zip(examples, probabilities, strict=True)
        return [choice_results(example.options, row, top_k) for example, row in rows]

    # Computing --------------------------------------------------------------------------------------------------------

    def _compute(self, what: str, shapes: Shapes, examples: Sequence[Sequence[Record]], bar: "tqdm") -> Arrays:
        """The outputs of N examples of k records each, by name: [N, ...] in their order; `bar` counts the examples."""
        lengths = np.array([[len(record["input_ids"]) for record in records] for records in examples])
        columns = self._columns(None if what == PREDICTIONS else what)
        merged: Arrays = {}
        for batch in shapes.plan(lengths, self._may_suit):
            records = [record for number in batch.examples for record in examples[number]]
            outputs = self._forward(what, lay_out(batch, records, columns))
            for name, values in outputs.items():
                _put(merged, name, values[: len(batch.examples)], batch.examples, len(examples), shapes.widest)
            bar.update(len(batch.examples))
        if count := count_not_numbers(merged):
            raise UserError(
                f"the model in {self._model.folder} computes no numbers (NaN) for "
                f"{part_of(count, len(examples), 'row')}: its weights are too large, or damaged. Train it again with a "
                "smaller learning rate, or fetch it again."
            )
        return merged

    def _columns(self, pooling: str | None) -> tuple[str, ...]:
        return ("input_ids", "segment_ids", *(() if pooling else self._extra))

    def _resolved(self, dtype: str | None) -> str:
        """What "auto" is on the device, and None for the model."""
        if dtype == "auto":
            if "gpu" not in self._device:
                return "float32"
            return "bfloat16" if have_bfloat16(tf.config.get_visible_devices("GPU")[:1]) else "float32"
        return dtype or (self._model.description.dtype if self._model.description else "float32")


def _put(merged: Arrays, name: str, values: np.ndarray, examples: np.ndarray, total: int, widest: int) -> None:
    """Puts the rows of `examples` into the array of all. What is as wide as a row of tokens is padded to `widest`."""
    if name not in merged:
        trailing = (widest,) if name in _AS_WIDE_AS_ROWS else values.shape[1:]
        merged[name] = np.full((total, *trailing), _AS_WIDE_AS_ROWS.get(name, 0), values.dtype)
    if name in _AS_WIDE_AS_ROWS:
        merged[name][examples, : values.shape[1]] = values
    else:
        merged[name][examples] = values


# Outputs of `heads.span.SpanHead` and `heads.tags.TagHead`, and what stands where no token is.
_AS_WIDE_AS_ROWS = {"start_log_prob": IMPOSSIBLE, "end_log_prob": IMPOSSIBLE, "tags": 0, "tag_probabilities": 0}


def _places(rows: Sequence[Row], width: int) -> list[int]:
    """Where the first pieces of a text's words are in its rows, which lie one after the other and have `width`."""
    places = [(number * width, place) for number, row in enumerate(rows) for place in row.first_pieces]
    return [NO_PIECE if place == NO_PIECE else first + place for first, place in places]


def _bar(total: int) -> "tqdm":
    """Counts the examples of a call, where it takes longer than a second. In a notebook: programs have their own."""
    hidden = None if in_notebook() else True
    return progress_bar(desc="predict", total=total, unit=" texts", delay=1, disable=hidden, leave=False)


def _as_count(top_k: int | None) -> int:
    """0 for None, which means all, as in transformers' pipelines."""
    if top_k is None:
        return 0
    _check_whole("top_k", top_k, 0, ", which means all")
    return top_k


def _check_whole(name: str, number: int, least: int, meaning: str = "") -> None:
    if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < least:
        raise UserError(f"`{name}`={number!r} must be a whole number of at least {least}{meaning}")


def _check_share(name: str, number: float) -> None:
    is_number = isinstance(number, int | float | np.integer | np.floating) and not isinstance(number, bool)
    if not is_number or not 0 <= number <= 1:  # also true of NaN
        raise UserError(f"`{name}`={number!r} must be a number from 0 to 1")


def _check_as_many(texts: Sequence[str], pairs: Sequence[str]) -> None:
    if len(texts) != len(pairs):
        raise UserError(
            f"{counted(len(texts), 'text')}, but {counted(len(pairs), 'second text')}: they must be equally many."
        )
