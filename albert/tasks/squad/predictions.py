"""From the model's scores of spans to answers: n-best lists, the best answer and null odds of every question.

A paragraph too long for one input is cut into overlapping windows, so that a question has several records. Here the
spans they propose are gathered, those that cannot be answers are taken out, and the rest is turned back into text of
the paragraph. Knows no files, no tokenizer and no TensorFlow; what the answers are worth is squad_metrics.py's matter.
"""

import dataclasses
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from albert.system.printing import part_of
from albert.tasks.squad.metrics import Question

_LOG = logging.getLogger(__name__)

# What the original writes for a question of SQuAD 1.1 whose windows hold no span that can be an answer.
NO_SPAN_V1 = "empty"
# Null odds of a question without windows, and a span's log probability where there is none.
CERTAINLY_UNANSWERABLE = 1e6
NO_SPAN_LOG_PROB = -1e6


class NBestEntry(NamedTuple):
    """One answer of an n-best list; `probability` is among the entries of the list, the logs are the model's."""

    text: str
    probability: float
    start_log_prob: float
    end_log_prob: float


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What is predicted for every question, by its id and in the order of the questions.

    `texts`: the best answer whatever the null odds. `nbest`: at least one entry each. `null_odds`: larger means "no
    answer"; {} in SQuAD 1.1. `first_characters`: where in the context the texts of `nbest` begin; -1: nowhere.
    """

    texts: dict[str, str]
    nbest: dict[str, list[NBestEntry]]
    null_odds: dict[str, float]
    first_characters: dict[str, list[int]]


class _Spans(NamedTuple):
    """Spans one window proposes, [P] each: first and last position in the input, and their log probabilities."""

    starts: np.ndarray
    ends: np.ndarray
    start_log_probs: np.ndarray
    end_log_probs: np.ndarray


class _Document(NamedTuple):
    """The part of the paragraph in one window, by its n tokens: characters of the context, and whether no other window
    shows the token in more context. `offset`: the position of its first token in the input."""

    offset: int
    first_char: np.ndarray
    last_char: np.ndarray
    is_max_context: np.ndarray


def predict_v1(
    questions: Sequence[Question],
    windows: Sequence[Sequence[int]],
    records: Sequence[Mapping[str, np.ndarray]],
    output: Mapping[str, np.ndarray],
    n_best_size: int = 20,
    max_answer_length: int = 30,
) -> Predictions:
    """SQuAD 1.1: the best spans among the n best starts and n best ends of each window.

    Args:
        questions: what to answer; ids are unique.
        windows: for each question the numbers of its records, in order; may be empty.
        records: [N], each with `token_is_max_context`: for positions in the input 1, 0, or -1 where there is no token
            of the paragraph; `tok_start_to_orig_index`, `tok_end_to_orig_index`: first and last character in the
            context of each of the paragraph's tokens, at least as long as there are such.
        output: of the model: `start_log_prob`, `end_log_prob` [N, S], of any scale.
        n_best_size: starts and ends looked at in each window, and the length of the n-best lists.
        max_answer_length: in tokens.
    """

    _warn_of_not_numbers(output)

    def propose(row: int) -> _Spans:
        start, end = output["start_log_prob"][row], output["end_log_prob"][row]
        starts, ends = _best(start, n_best_size), _best(end, n_best_size)
        starts, ends = np.repeat(starts, len(ends)), np.tile(ends, len(starts))
        return _Spans(starts, ends, start[starts], end[ends])

    found = _find_answers(questions, windows, records, propose, n_best_size, max_answer_length)
    nothing = [NBestEntry(NO_SPAN_V1 if len(rows) else "", 1.0, 0.0, 0.0) for rows in windows]
    return _predictions(questions, found, nothing, null_odds={})


def predict_v2(
    questions: Sequence[Question],
    windows: Sequence[Sequence[int]],
    records: Sequence[Mapping[str, np.ndarray]],
    output: Mapping[str, np.ndarray],
    n_best_size: int = 20,
    max_answer_length: int = 30,
) -> Predictions:
    """SQuAD 2.0: the best spans of each window's beam, and null odds: the lowest logit of any window.

    Arguments as for `predict_v1`, except `output`: `start_top_log_probs`, `start_top_index` [N, K];
    `end_top_log_probs`, `end_top_index` [N, K * M], the M ends of the first start first; `cls_logits` [N], larger means
    "no answer".
    """

    _warn_of_not_numbers(output)

    def propose(row: int) -> _Spans:
        ends = output["end_top_index"][row]
        ends_per_start = len(ends) // len(output["start_top_index"][row])
        starts = np.repeat(output["start_top_index"][row], ends_per_start)
        start_log_probs = np.repeat(output["start_top_log_probs"][row], ends_per_start)
        return _Spans(starts, ends, start_log_probs, output["end_top_log_probs"][row])

    found = _find_answers(questions, windows, records, propose, n_best_size, max_answer_length)
    nothing = NBestEntry("", 1.0, NO_SPAN_LOG_PROB, NO_SPAN_LOG_PROB)
    null_odds = {}
    for question, rows in zip(questions, windows, strict=True):
        # fmin: a logit that is not a number is no reason to answer.
        null_odds[question.id] = float(np.fmin.reduce(output["cls_logits"][list(rows)], initial=CERTAINLY_UNANSWERABLE))
    return _predictions(questions, found, [nothing] * len(questions), null_odds)


def prediction_files(predictions: Predictions, final_texts: Mapping[str, str]) -> dict[str, str]:
    """File name -> JSON: the answers, the n-best lists and, in SQuAD 2.0, the null odds, by question id.

    `final_texts` are the answers to write: in SQuAD 2.0 those after the threshold.
    """
    contents: dict[str, object] = {
        "predictions.json": final_texts,
        "nbest_predictions.json": {
            id_: [entry._asdict() for entry in entries] for id_, entries in predictions.nbest.items()
        },
    }
    if predictions.null_odds:
        contents["null_odds.json"] = predictions.null_odds
    return {name: json.dumps(content, indent=4) + "\n" for name, content in contents.items()}


def _predictions(
    questions: Sequence[Question],
    found: Sequence[list[tuple[NBestEntry, int]]],
    nothing: Sequence[NBestEntry],
    null_odds: dict[str, float],
) -> Predictions:
    """`nothing` is the entry of each question for which nothing was found."""
    nbest, firsts = {}, {}
    for question, answers, alone in zip(questions, found, nothing, strict=True):
        nbest[question.id] = [entry for entry, _ in answers] or [alone]
        firsts[question.id] = [first for _, first in answers] or [-1]
    assert len(nbest) == len(questions), f"{len(questions)} questions have only {len(nbest)} different ids"
    return Predictions({id_: entries[0].text for id_, entries in nbest.items()}, nbest, null_odds, firsts)


def _find_answers(
    questions: Sequence[Question],
    windows: Sequence[Sequence[int]],
    records: Sequence[Mapping[str, np.ndarray]],
    propose: Callable[[int], _Spans],
    n_best_size: int,
    max_answer_length: int,
) -> list[list[tuple[NBestEntry, int]]]:
    """The n-best list of each question, best first, with the first character of each entry in the context.

    Empty where no window proposes a possible answer.
    """
    found = []
    for question, rows in zip(questions, windows, strict=True):
        documents = [_document(records[row]) for row in rows]
        # (window, start, end) -> the log probabilities of start and end. Among equal sums the first is better: the
        # earlier window, then the order in which the model proposes.
        spans: dict[tuple[int, int, int], tuple[float, float]] = {}
        for window, (row, document) in enumerate(zip(rows, documents, strict=True)):
            for start, end, *log_probs in _possible(propose(row), document, max_answer_length):
                spans.setdefault((window, start, end), (log_probs[0], log_probs[1]))
        found.append(_n_best(question.context, documents, spans, n_best_size))
    return found


def _warn_of_not_numbers(output: Mapping[str, np.ndarray]) -> None:
    floats = [values for values in output.values() if np.issubdtype(values.dtype, np.floating)]
    rows = sum(np.isnan(values).any(axis=tuple(range(1, values.ndim))) for values in floats)
    if np.any(rows):
        _LOG.warning(
            "the model's scores are not numbers in %s; spans without a number are left out",
            part_of(int(np.count_nonzero(rows)), len(rows), "window"),
        )


def _document(record: Mapping[str, np.ndarray]) -> _Document:
    max_context = np.asarray(record["token_is_max_context"])
    positions = np.flatnonzero(max_context != -1)
    count = len(positions)
    return _Document(
        offset=int(positions[0]) if count else 0,
        first_char=np.asarray(record["tok_start_to_orig_index"])[:count],
        last_char=np.asarray(record["tok_end_to_orig_index"])[:count],
        is_max_context=max_context[positions] == 1,
    )


def _possible(spans: _Spans, document: _Document, max_answer_length: int) -> list[tuple[int, int, float, float]]:
    """The spans that can be answers, as (first token, last token, ...) of the document.

    An answer lies in the paragraph, is not too long, and starts at a token that no other window shows in more context.
    """
    starts, ends = spans.starts - document.offset, spans.ends - document.offset
    count = len(document.first_char)
    possible = (starts >= 0) & (starts < count) & (ends < count)
    possible &= (ends >= starts) & (ends - starts < max_answer_length)
    possible[possible] = document.is_max_context[starts[possible]]
    possible &= ~np.isnan(spans.start_log_probs + spans.end_log_probs)
    columns = (starts, ends, spans.start_log_probs, spans.end_log_probs)
    return list(zip(*(column[possible].tolist() for column in columns), strict=True))


def _n_best(
    context: str,
    documents: Sequence[_Document],
    spans: Mapping[tuple[int, int, int], tuple[float, float]],
    n_best_size: int,
) -> list[tuple[NBestEntry, int]]:
    """The best spans with different texts, and where in the context each begins."""
    entries: dict[str, tuple[float, float]] = {}
    firsts: dict[str, int] = {}
    for (window, start, end), log_probs in sorted(spans.items(), key=lambda item: sum(item[1]), reverse=True):
        if len(entries) == n_best_size:
            break
        document = documents[window]
        covered = context[document.first_char[start] : document.last_char[end] + 1]
        text = covered.strip()
        entries.setdefault(text, log_probs)
        firsts.setdefault(text, int(document.first_char[start]) + len(covered) - len(covered.lstrip()))
    probabilities = _softmax([sum(log_probs) for log_probs in entries.values()])
    return [
        (NBestEntry(text, probability, *log_probs), firsts[text])
        for (text, log_probs), probability in zip(entries.items(), probabilities, strict=True)
    ]


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` highest of [S] scores, highest first, the lower position first among equals."""
    return np.argsort(-scores, kind="stable")[:count]


def _softmax(scores: Sequence[float]) -> list[float]:
    if not scores:
        return []
    highest = max(scores)
    exponentials = [math.exp(score - highest) for score in scores]
    total = math.fsum(exponentials)
    return [exponential / total for exponential in exponentials]
