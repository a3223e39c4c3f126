"""What `albert.predict` does: rows from where they are, through the model, to where results go, piece by piece.

What is wrong with the model's description, the input's columns and the output's place is told before TensorFlow is
imported, which takes seconds.
"""

import contextlib
import dataclasses
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from albert.albert_config import AlbertConfig
from albert.errors import UserError
from albert.serving.description import ModelDescription
from albert.serving.inputs import Texts, lines_as_they_come, names_of_columns, read_texts
from albert.serving.model_folder import find_model
from albert.serving.outputs import (
    JsonLines,
    LabelsTable,
    PlainLines,
    ReaderGone,
    Rows,
    Sink,
    Table,
    TagLines,
    VectorFile,
    check_beside,
    is_array,
    is_table,
    opened,
    vector_lines,
)
from albert.serving.request import JSON_LINES, STDIN, PredictRequest, of_words
from albert.serving.results import Result
from albert.serving.uses import ANSWERS, CHOICES, GIVES, LABELS, TAGS, check_choice_of_results, use_of
from albert.system.files import WholeFile
from albert.system.imports import importing_tensorflow
from albert.system.printing import counted
from albert.system.progress import progress_bar
from albert.system.signals import exit_on_termination
from albert.system.text_encoding import half_surrogate, read_whole_text
from albert.tasks.base import Choice, Labels, MultiLabels, Score, Span, Tags
from albert.tasks.race import RaceExample, read_questions
from albert.tasks.rows import RowTally
from albert.tasks.squad.files import Paragraph, Question, read_paragraphs
from albert.tasks.squad.task import SquadTask
from albert.tasks.tags.files import MAYBE_CONLL, TagFile, TagRow, choose_tag_columns, holds_words, looks_like_conll
from albert.tasks.text import is_blank

if TYPE_CHECKING:
    from albert.serving.predictor import Predictor

T = TypeVar("T")
# What is read at once: rows of the input, or what has several rows.
Piece = list[Any]
Predict = Callable[["Predictor", Piece], list[list[Result]]]

_ROWS_AT_A_TIME = 2048
_PARAGRAPHS_AT_A_TIME = 64


def run(request: PredictRequest) -> None:
    """Predicts. Raises UserError for every error the user can fix; ends quietly where nobody reads the output."""
    model = find_model(request.model_dir)
    AlbertConfig.from_json_file(model.config_file)  # or it is another library's model, and no ALBERT
    description = model.description
    progress = _Progress()
    read = _embeddings if request.embeddings else _records
    pieces, write_all = read(request, description, progress)
    with exit_on_termination(), opened(request.output_file) as sink, contextlib.suppress(ReaderGone):
        with importing_tensorflow():  # not at the top: that takes seconds
            from albert.serving.forward import take_process
            from albert.serving.predictor import Predictor

        take_process(request.device)
        predictor = Predictor(
            request.model_dir, request.batch_size, request.device, request.dtype, request.pack_sequences
        )
        if request.input_file == STDIN:
            predictor.warm_up(request.embeddings)
            logging.info("Reading lines from standard input.")
        elif request.input_file is not None:
            logging.info("Predicting %s.", request.input_file)
        begin = time.perf_counter()
        num_rows = write_all(sink, predictor, _with_bar(pieces, request, progress))
        predictor.unknown.warn(_where(request))
        for cuts in predictor.cuts.values():
            cuts.warn(_where(request))
        if request.input_file not in (None, STDIN):
            seconds = time.perf_counter() - begin
            rate = num_rows / max(seconds, 1e-9)
            logging.info("%s in %.1f s (%.0f a second).", counted(num_rows, "row"), seconds, rate)


@dataclasses.dataclass
class _Progress:
    """How much of a file was read: bytes, or the parts of JSON that is read at once, where `total` is their number."""

    total: int | None = None
    num_bytes: int = 0

    def on_read(self, num_bytes: int) -> None:
        """More was read."""
        self.num_bytes += num_bytes

    def listed(self, parts: Iterable[T]) -> list[T]:
        """All of them, which are counted."""
        found = list(parts)
        self.total = len(found)
        return found


def _with_bar(pieces: Iterator[Piece], request: PredictRequest, progress: _Progress) -> Iterator[Piece]:
    """`pieces`; where the results do not go to the terminal themselves, a bar shows how much of a file is done."""
    is_shown = request.output_file is not None or not sys.stdout.isatty()
    path = request.input_file
    if not is_shown or path is None or path == STDIN:
        yield from pieces
        return
    options: dict[str, Any] = {"desc": "predict", "delay": 1, "disable": None, "leave": False}
    if progress.total is None:
        options |= {"total": path.stat().st_size, "unit": "B", "unit_scale": True}
    else:
        options |= {"total": progress.total, "unit": " read"}
    with progress_bar(**options) as bar:
        for piece in pieces:
            num_bytes = progress.num_bytes
            yield piece
            bar.update(len(piece) if progress.total is not None else num_bytes - bar.n)


def _where(request: PredictRequest) -> str:
    """What is read, for messages."""
    if request.input_file is None:
        return "the texts given" if request.texts else f"{request.context_file} and the question"
    return "standard input" if request.input_file == STDIN else str(request.input_file)


WriteAll = Callable[[Sink, "Predictor", Iterator[Piece]], int]


# --- Records ----------------------------------------------------------------------------------------------------------


def _records(
    request: PredictRequest, description: ModelDescription | None, progress: _Progress
) -> tuple[Iterator[Piece], WriteAll]:
    """What is predicted, and what writes the records of all of it."""
    use = use_of(request.model_dir, description)
    assert description, "use_of demands one"
    check_choice_of_results(f"the model in {request.model_dir}", description, request.top_k, request.threshold)
    top_k = 1 if request.top_k is None else request.top_k
    pieces, predict = {LABELS: _labels, ANSWERS: _answers, CHOICES: _choices, TAGS: _tags}[use](
        request, description, top_k, progress
    )
    rows = _rows(request, description, top_k)

    def write_all(sink: Sink, predictor: "Predictor", pieces: Iterator[Piece]) -> int:
        sink.write(rows.form([]))
        num_rows = 0
        for piece in pieces:
            results = predict(predictor, piece)
            sink.write(rows.form(results, [texts.row for texts in piece] if request.with_inputs else ()))
            num_rows += len(results)
        return num_rows

    return pieces, write_all


def _rows(request: PredictRequest, description: ModelDescription, top_k: int) -> Rows:
    """The form of the results."""
    output = description.output
    has_one = top_k == 1 and not isinstance(output, MultiLabels)
    if request.with_inputs:
        return _rows_beside(request, description, top_k)
    if isinstance(output, Tags):
        _check_form_of_tags(request)
        return TagLines(has_one) if request.output_file is None and request.input_file is None else JsonLines(has_one)
    if is_table(request.output_file):
        if isinstance(output, MultiLabels):
            return LabelsTable(output)
        ids = ("id",) if request.input_file else ()
        if isinstance(output, Span):
            return Table((*ids, "score", "start", "end", "answer"), has_one, top_k or SquadTask.n_best_size + 1)
        if isinstance(output, Choice):
            return Table((*ids, "label", "score", "option"), has_one, min(top_k or output.count, output.count))
        return Table(("label", "score"), has_one, _num_labels(output, top_k))
    if request.output_file is None and request.input_file is None:
        return PlainLines(has_one)
    return JsonLines(has_one)


def _rows_beside(request: PredictRequest, description: ModelDescription, top_k: int) -> Rows:
    """The form of the results beside the rows of the input's table."""
    output, path = description.output, request.input_file
    assert path, "what the request demands"
    if isinstance(output, Tags):
        _check_form_of_tags(request)
        names = names_of_columns(path, request.text_column_names, description.text_columns)
        beside = JsonLines(True, path)
        beside.added = ("predicted_entities", "predicted_words")
        check_beside(str(path), names, beside.added)
        return beside
    if isinstance(output, Span | Choice):
        raise UserError(f"`with_inputs` is for labels of texts, but the model in {request.model_dir} gives others.")
    has_one = top_k == 1 and not isinstance(output, MultiLabels)
    names = names_of_columns(path, request.text_column_names, description.text_columns)
    rows: JsonLines | Table
    if not is_table(request.output_file):
        rows = JsonLines(has_one, path)
    elif isinstance(output, MultiLabels):
        rows = LabelsTable(output, names)
    else:
        rows = Table(("label", "score"), has_one, _num_labels(output, top_k), names)
    check_beside(str(path), names, rows.added)
    return rows


def _num_labels(output: Labels | Score, top_k: int) -> int:
    """The most labels of a row."""
    num_labels = len(output.names) if isinstance(output, Labels) else 1
    return min(top_k or num_labels, num_labels)


def _labels(
    request: PredictRequest, description: ModelDescription, top_k: int, progress: _Progress
) -> tuple[Iterator[Piece], Predict]:
    if request.question is not None:
        raise UserError(f"a question is given, but the model in {request.model_dir} {GIVES[LABELS]}.")

    def predict(predictor: "Predictor", piece: Piece) -> list[list[Result]]:
        found = predictor(*_columns(piece), top_k, request.threshold)
        return [row if isinstance(row, list) else [row] for row in found]

    return _texts(request, description.num_texts, description.text_columns, progress), predict


def _check_form_of_tags(request: PredictRequest) -> None:
    if is_table(request.output_file):
        raise UserError(
            f"`output_file`={request.output_file}: tags are lists, which a table cannot hold; name a file that ends in "
            f"{JSON_LINES}."
        )


def _tags(
    request: PredictRequest, description: ModelDescription, top_k: int, progress: _Progress
) -> tuple[Iterator[Piece], Predict]:
    if request.question is not None:
        raise UserError(f"a question is given, but the model in {request.model_dir} {GIVES[TAGS]}.")

    def predict(predictor: "Predictor", piece: Piece) -> list[list[Result]]:
        texts = [item.first if isinstance(item, Texts) else item.words for item in piece]
        return [[found] for found in predictor.tag(texts)]

    path = request.input_file
    if path is None or path == STDIN or not holds_words(path):
        assert isinstance(description.output, Tags), "what gives tags"
        if path and path.suffix.lower() in MAYBE_CONLL and looks_like_conll(path, description.output.names):
            raise UserError(
                f"`input_file`={path}: its lines are words with tags, but a {path.suffix} is read as texts; rename it "
                f"to {path.stem}.conll."
            )
        # Another library's model does not say how many.
        return _texts(request, 1, description.text_columns, progress), predict
    if request.with_inputs:
        raise UserError(f"{of_words(path)}.")
    try:
        columns = choose_tag_columns(path, request.text_column_names, None, needs_tags=False)
        return _in_pieces(_tag_rows(TagFile(path, columns, needs_tags=False), progress), _ROWS_AT_A_TIME), predict
    except OSError as error:
        raise UserError(f"`input_file`={path} cannot be read: {error.strerror}.") from error


def _tag_rows(file: TagFile, progress: _Progress) -> Iterator[TagRow]:
    tally = RowTally(file.path, progress.on_read)
    yield from file.rows(tally)
    tally.log()


def _answers(
    request: PredictRequest, description: ModelDescription, top_k: int, progress: _Progress
) -> tuple[Iterator[Piece], Predict]:
    assert isinstance(description.output, Span), "what gives answers"
    if request.question is not None and request.context_file is not None:
        context = _whole_text(request.context_file)
        asked = Question("", request.question, (), False)
        paragraphs: Iterable[Paragraph] = [Paragraph(context, (asked,), "", 0, False)]
    else:
        file = _json_file(request, ANSWERS)
        paragraphs = progress.listed(read_paragraphs(file, description.output.version, for_training=False))

    def predict(predictor: "Predictor", piece: list[Paragraph]) -> list[list[Result]]:
        found = predictor.answer_all(piece, top_k)
        ids = [question.id for paragraph in piece for question in paragraph.questions]
        return [_with_id(row, id_) for row, id_ in zip(found, ids, strict=True)]

    return _in_pieces(paragraphs, _PARAGRAPHS_AT_A_TIME), predict


def _choices(
    request: PredictRequest, description: ModelDescription, top_k: int, progress: _Progress
) -> tuple[Iterator[Piece], Predict]:
    assert isinstance(description.output, Choice), "what gives choices"
    examples = progress.listed(read_questions(_json_file(request, CHOICES), description.output.count))

    def predict(predictor: "Predictor", piece: list[RaceExample]) -> list[list[Result]]:
        found = predictor.choose_all(piece, top_k)
        return [_with_id(row, example.guid) for row, example in zip(found, piece, strict=True)]

    return _in_pieces(examples, _PARAGRAPHS_AT_A_TIME), predict


def _with_id(row: list[Result], id_: str) -> list[Result]:
    return [{"id": id_, **result} for result in row] if id_ else row


# --- Embeddings -------------------------------------------------------------------------------------------------------


def _embeddings(
    request: PredictRequest, description: ModelDescription | None, progress: _Progress
) -> tuple[Iterator[Piece], WriteAll]:
    """The texts, and what writes the vectors of all of them."""
    pooling = request.embeddings
    assert pooling, "what is asked for"
    known = description.text_columns if description else ()

    def vectors(predictor: "Predictor", piece: Piece) -> np.ndarray:
        return predictor.encode(*_columns(piece), pooling)

    def write_all(sink: Sink, predictor: "Predictor", pieces: Iterator[Piece]) -> int:
        num_rows = 0
        array = None
        if is_array(request.output_file):
            assert isinstance(sink, WholeFile), "an array goes to a file"
            array = VectorFile(sink, predictor.hidden_size)
        for piece in pieces:
            found = vectors(predictor, piece)
            num_rows += len(found)
            if array:
                array.write(found)
            else:
                sink.write(vector_lines(found))
        if array:
            array.finish()
        return num_rows

    return _texts(request, None, known, progress), write_all


# --- What is read -----------------------------------------------------------------------------------------------------


def _texts(
    request: PredictRequest, num_texts: int | None, known: tuple[str, ...], progress: _Progress
) -> Iterator[Piece]:
    """Texts piece by piece; `known` are the columns that the model was trained on."""
    if request.input_file == STDIN:
        return lines_as_they_come(num_texts)
    if request.input_file is not None:
        rows = read_texts(
            request.input_file, num_texts, request.text_column_names, known, request.with_inputs, progress.on_read
        )
        return _in_pieces(rows, _ROWS_AT_A_TIME)
    return iter([_arguments(request.texts, num_texts)])


def _arguments(texts: tuple[str, ...], num_texts: int | None) -> list[Texts]:
    """The texts of the command line: two of them are a pair where the model reads such.

    Raises UserError for what is no text, or not as many as the model reads.
    """
    found = []
    for number, text in enumerate(texts, start=1):
        if half_surrogate(text) is not None:
            raise UserError(f"text {number} is not UTF-8; set the terminal to it.")
        first, tab, second = text.partition("\t")
        if "\t" in second:
            raise UserError(f"text {number} has {text.count(tab)} tabs in it; one stands between the two of a pair.")
        found.append(Texts(first, second if tab else None))
    if num_texts == 2 and [pair.second for pair in found] == [None, None]:
        return [Texts(texts[0], texts[1])]
    if num_texts is None and [pair.second for pair in found] == [None, None]:
        logging.info("Two texts are two rows: this model does not say how many it reads. A tab between makes a pair.")
    for number, pair in enumerate(found, start=1):
        if num_texts is not None and (num_texts == 2) != (pair.second is not None):
            needs = "two texts: give two, or a tab between them for many pairs" if num_texts == 2 else "one text a row"
            has = "no tab" if pair.second is None else "a tab"
            raise UserError(f"text {number} has {has} in it, but the model reads {needs}.")
    return found


def _columns(piece: list[Texts]) -> tuple[list[str], list[str] | None]:
    """The first texts, and the second ones if any row has one."""
    has_pairs = any(texts.second is not None for texts in piece)
    return [texts.first for texts in piece], [texts.second or "" for texts in piece] if has_pairs else None


def _json_file(request: PredictRequest, use: str) -> Path:
    """`input_file`, where that is what is given. Raises UserError for texts, and for what its JSON has not."""
    if request.input_file is None or request.input_file == STDIN:
        given = (
            "standard input is" if request.input_file == STDIN else "texts are" if request.texts else "a question is"
        )
        raise UserError(f"{given} given, but the model in {request.model_dir} {GIVES[use]}.")
    if request.text_column_names:
        raise UserError(
            f"`text_column_names`={request.text_column_names} is for tables of texts, but the model in "
            f"{request.model_dir} {GIVES[use]}: leave it out."
        )
    return request.input_file


def _whole_text(path: Path) -> str:
    text = read_whole_text(path, f"`context_file`={path}")
    if is_blank(text):
        raise UserError(f"`context_file`={path} holds no text; name the one that answers the question.")
    return text


def _in_pieces(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(rows)
    while piece := list(itertools.islice(iterator, size)):
        yield piece
