"""Scores of answers by the official SQuAD rules, and the threshold below which an answer of SQuAD 2.0 counts.

Everything here works on plain texts by question id. Knows no model, no window and no TensorFlow.

Null odds say how unanswerable a model thinks a question is: a logit, larger means "no answer". There is one rule for
using them, here and in the files that are written: a question is answered if its null odds are *below* the threshold.
"""

import collections
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from albert.errors import UserError
from albert.system.printing import counted, part_of
from albert.tasks.squad.languages import DEFAULT_LANGUAGE, LANGUAGES

_LOG = logging.getLogger(__name__)

# What to compare null odds with when no answers are known that could say: they are logits, 0 is a probability of 1/2.
UNTUNED_THRESHOLD = 0.0


@dataclasses.dataclass(frozen=True)
class Question:
    """A question with the paragraph that may answer it.

    `answers` are the texts a person would accept: () for a question that the paragraph does not answer (SQuAD 2.0),
    None where the file does not say, as in a test set.
    """

    id: str
    context: str
    answers: tuple[str, ...] | None


def normalize_answer(text: str, language: str = DEFAULT_LANGUAGE) -> str:
    """The words of an answer with single spaces: English lower-cased, without ASCII punctuation and articles."""
    return " ".join(LANGUAGES[language].words(text))


def exact_match(prediction: str, gold: str, language: str = DEFAULT_LANGUAGE) -> float:
    """1 if both are the same after normalisation, else 0."""
    return float(normalize_answer(prediction, language) == normalize_answer(gold, language))


def f1_v1(prediction: str, gold: str, language: str = DEFAULT_LANGUAGE) -> float:
    """F1 of the words after normalisation; 0 where they share none, also where neither has one."""
    predicted, expected = LANGUAGES[language].words(prediction), LANGUAGES[language].words(gold)
    shared = (collections.Counter(predicted) & collections.Counter(expected)).total()
    if not shared:
        return 0.0
    precision, recall = shared / len(predicted), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


def f1_v2(prediction: str, gold: str, language: str = DEFAULT_LANGUAGE) -> float:
    """The same, but 1 where neither has a word: in SQuAD 2.0 no answer can be the right answer."""
    if not normalize_answer(prediction, language) and not normalize_answer(gold, language):
        return 1.0
    return f1_v1(prediction, gold, language)


def scores_v1(question: Question, prediction: str, language: str = DEFAULT_LANGUAGE) -> tuple[float, float]:
    """(exact, F1) in [0, 1] of one prediction: each the best over the question's answers."""
    return (
        max(exact_match(prediction, gold, language) for gold in question.answers or ()),
        max(f1_v1(prediction, gold, language) for gold in question.answers or ()),
    )


def scores_v2(question: Question, prediction: str, language: str = DEFAULT_LANGUAGE) -> tuple[float, float]:
    """The same by the rules of SQuAD 2.0: without an answer that has a word, "" is the answer."""
    golds = [gold for gold in question.answers or () if normalize_answer(gold, language)] or [""]
    return (
        max(exact_match(prediction, gold, language) for gold in golds),
        max(f1_v2(prediction, gold, language) for gold in golds),
    )


def score_v1(
    questions: Sequence[Question], texts: Mapping[str, str], language: str = DEFAULT_LANGUAGE
) -> dict[str, float]:
    """`exact_match` and `f1` in percent of `texts`, the answer to each question by its id.

    Only questions with answers are scored, each once; without any the result is {}: then nothing can be claimed. A
    question without prediction counts 0, a prediction without question is left out; both are logged.
    """
    known = _scored(questions, texts, lambda question: bool(question.answers))
    if not known:
        return {}
    scores = [
        scores_v1(question, texts[question.id], language) if question.id in texts else (0.0, 0.0) for question in known
    ]
    return {"exact_match": _percent(np.array(scores)[:, 0]), "f1": _percent(np.array(scores)[:, 1])}


def apply_threshold(texts: Mapping[str, str], null_odds: Mapping[str, float], threshold: float) -> dict[str, str]:
    """The final predictions of SQuAD 2.0: `texts` where the null odds are below the threshold, else ""."""
    _check_same_ids(texts, null_odds)
    return {id_: text if null_odds[id_] < threshold else "" for id_, text in texts.items()}


def score_v2(
    questions: Sequence[Question],
    texts: Mapping[str, str],
    null_odds: Mapping[str, float],
    threshold: float | None = None,
    original_thresholds: bool = False,
    language: str = DEFAULT_LANGUAGE,
) -> dict[str, float]:
    """The measures of the official script for SQuAD 2.0, in percent, and the threshold they were taken at.

    Args:
        questions: those without known answers (None) are not scored; without any other the result is {}.
        texts: by question id, the best answer whatever the null odds.
        null_odds: by question id, for the same ids.
        threshold: what to compare the null odds with; None takes the one with the best F1 on these very questions.
        original_thresholds: choose thresholds as the original code does: the null odds of the last question to be
            answered, which `apply_threshold` then leaves unanswered, and 0 where it is best to answer none. It also
            counts any text as wrong where there is no answer, even one without a word ("the"), which scores as right.
        language: says what a word is; one of LANGUAGES.

    Returns:
        `exact`, `f1`, `total`: of the predictions that `apply_threshold` makes with `null_score_diff_threshold`;
        `HasAns_*`, `NoAns_*`: the same for the questions with and without an answer, where there are any;
        `best_exact`, `best_exact_thresh`, `best_f1`, `best_f1_thresh`: the highest score that a threshold can reach
        and the lowest such threshold. Applying it gives exactly that score, unless `original_thresholds`.

    A question without prediction counts 0, a prediction without question is left out; both are logged. Raises
    UserError if `texts` and `null_odds` are not for the same questions.
    """
    _check_same_ids(texts, null_odds)
    known = _scored(questions, texts, lambda question: question.answers is not None)
    if not known:
        return {}
    predicted = np.array([question.id in texts for question in known])
    odds = np.array([null_odds.get(question.id, np.inf) for question in known], np.float64)
    answered = _scores_v2(known, texts, language) * predicted[:, None]
    unanswered = _scores_v2(known, {}, language) * predicted[:, None]

    has_answer = np.array([bool(question.answers) for question in known])
    # The original takes any text for wrong where there is no answer.
    has_text = np.array([bool(texts.get(question.id)) for question in known])
    original_gains = np.where(has_answer[:, None], answered, -1.0 * has_text[:, None])
    gains = original_gains if original_thresholds else answered - unanswered
    best: dict[str, float] = {}
    for column, name in enumerate(("exact", "f1")):
        if original_thresholds:
            score, cut = _original_threshold(gains[:, column], int(np.count_nonzero(predicted & ~has_answer)), odds)
        else:
            cut = _best_threshold(gains[:, column], odds)
            score = _percent(np.where(odds < cut, answered[:, column], unanswered[:, column]))
        best |= {f"best_{name}": score, f"best_{name}_thresh": cut}
    threshold = best["best_f1_thresh"] if threshold is None else threshold
    scores = np.where((odds < threshold)[:, None], answered, unanswered)
    return {
        **_means("", scores),
        **_means("HasAns_", scores[has_answer]),
        **_means("NoAns_", scores[~has_answer]),
        **best,
        "null_score_diff_threshold": float(threshold),
    }


def score_without_answers(metrics: Mapping[str, float], name: str) -> float | None:
    """What "exact" or "f1" in `metrics` would be if no question were answered: the share of those without an answer.

    None where there is no such question, as in version 1, and for another metric.
    """
    if name not in ("exact", "f1") or "NoAns_total" not in metrics:
        return None
    return 100.0 * metrics["NoAns_total"] / metrics["total"]


def _scores_v2(questions: Sequence[Question], texts: Mapping[str, str], language: str) -> np.ndarray:
    """[N, 2]: exact and F1 of every question, which is left unanswered if it has no text."""
    return np.array([scores_v2(question, texts.get(question.id, ""), language) for question in questions])


def _means(prefix: str, scores: np.ndarray) -> dict[str, float]:
    """Percentages of (exact, F1) rows [N, 2], and N; {} if there are none."""
    if not len(scores):
        return {}
    exact, f1 = _percent(scores[:, 0]), _percent(scores[:, 1])
    return {f"{prefix}exact": exact, f"{prefix}f1": f1, f"{prefix}total": len(scores)}


def _percent(scores: np.ndarray) -> float:
    """100 times the mean [N]. The one way to sum scores: sums in another order differ in the last digits."""
    return 100.0 * float(np.ascontiguousarray(scores).sum()) / len(scores)


def _best_threshold(gains: np.ndarray, odds: np.ndarray) -> float:
    """The lowest threshold with the best score, from what answering adds to the score of each question [N].

    Only cuts between different odds are tried: questions with equal odds are answered together or not at all. The
    threshold lies between the two odds beside the cut, so that it does not matter whether a reader of the results
    answers below it or, as the official script does, also at it.
    """
    finite = np.isfinite(odds)
    values, group = np.unique(odds[finite], return_inverse=True)
    if not len(values):
        return UNTUNED_THRESHOLD
    totals = np.cumsum(np.bincount(group, weights=gains[finite]))
    # The first `cut` values are answered; argmax takes the first of equals. Rounded, so that gains that cancel out but
    # for the last digit are equal.
    cut = int(np.argmax(np.round(np.concatenate([[0.0], totals]), 9)))
    return _between(values[cut - 1] if cut else None, values[cut] if cut < len(values) else None)


def _between(below: float | None, above: float | None) -> float:
    """A number > below and <= above (also < above, unless no number lies between), at most 1 away from one of them."""
    if below is None:
        assert above is not None, "a number is between others"
        return float(min(above - 1.0, np.nextafter(above, -np.inf)))
    middle = below + 1.0 if above is None else min(below + 1.0, (below + above) / 2)
    return float(max(middle, np.nextafter(below, np.inf)))


def _original_threshold(gains: np.ndarray, score: float, odds: np.ndarray) -> tuple[float, float]:
    """(best score in percent, threshold) by the original's rule, starting from the `score` of answering nothing.

    Questions come one by one, those with equal odds in the order of the file, and each may be the last to be answered.
    """
    best, threshold = score, 0.0
    for index in np.argsort(odds, kind="stable"):
        score += gains[index]
        if score > best:
            best, threshold = score, float(odds[index])
    return 100.0 * float(best) / len(odds), threshold


def _scored(
    questions: Sequence[Question], texts: Mapping[str, str], is_known: Callable[[Question], bool]
) -> list[Question]:
    """The questions whose answers are known, and a line in the log for everything that this leaves out or adds."""
    known = [question for question in questions if is_known(question)]
    if len(known) < len(questions):
        _LOG.warning(
            "%s without known answers: predicted but not scored",
            part_of(len(questions) - len(known), len(questions), "question"),
        )
    ids = {question.id for question in questions}
    missing = [question.id for question in known if question.id not in texts]
    if missing:
        found = part_of(len(missing), len(known), "question")
        _LOG.warning("%s without a prediction, which count 0: %s", found, _some(missing))
    extra = [id_ for id_ in texts if id_ not in ids]
    if extra:
        _LOG.warning("%s for other questions, left out: %s", counted(len(extra), "prediction"), _some(extra))
    return known


def _check_same_ids(texts: Mapping[str, str], null_odds: Mapping[str, float]) -> None:
    different = texts.keys() ^ null_odds.keys()
    if different:
        raise UserError(
            f"Predictions and null odds are not for the same questions: {len(different)} are in one of them only "
            f"({_some(sorted(different))}); take both from the same evaluation."
        )


def _some(ids: Iterable[str]) -> str:
    """The first three ids, and whether there are more."""
    ids = list(ids)
    return ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
