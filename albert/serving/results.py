"""From a model's outputs to what a user reads: the records that transformers' pipelines give. No TensorFlow."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from albert.tasks.base import Labels, MultiLabels, Score
from albert.tasks.race import LETTERS
from albert.tasks.squad.predictions import Predictions

Result = dict[str, Any]

# What transformers calls the one number of a regression.
SCORE_LABEL = "LABEL_0"


def label_results(
    output: Labels | MultiLabels | Score, probabilities: np.ndarray, top_k: int, threshold: float
) -> list[list[Result]]:
    """{"label", "score"} of N texts, the best first, from `probabilities` [N, C].

    Of one label the `top_k` best, 0 for all; of several labels those with at least `threshold`, perhaps none. A
    regression has one score, which is not clipped.
    """
    if isinstance(output, Score):
        return [[{"label": SCORE_LABEL, "score": row[0]}] for row in probabilities.tolist()]
    count = len(output.names) if isinstance(output, MultiLabels) else top_k or len(output.names)
    orders = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    found = []
    for order, row in zip(orders.tolist(), probabilities.tolist(), strict=True):
        ranked = [{"label": output.names[number], "score": row[number]} for number in order]
        if isinstance(output, MultiLabels):
            ranked = [result for result in ranked if result["score"] >= threshold]
        found.append(ranked)
    return found


def choice_results(options: Sequence[str], probabilities: np.ndarray, top_k: int) -> list[Result]:
    """{"label", "score", "option"} of one question, the best option first; `probabilities` [C]."""
    order = np.argsort(-probabilities, kind="stable")[: top_k or len(options)].tolist()
    return [{"label": LETTERS[i], "score": float(probabilities[i]), "option": options[i]} for i in order]


def answer_results(found: Predictions, question_id: str, threshold: float, top_k: int) -> list[Result]:
    """{"score", "start", "end", "answer"} of one question, the best first.

    `start` and `end` are characters of the context. An answer's score is its probability among the n best, that of "",
    which means no answer, the probability that there is none. SQuAD 2.0 has it first where the null odds reach
    `threshold`.
    """
    results = [
        {"score": entry.probability, "start": first, "end": first + len(entry.text), "answer": entry.text}
        for entry, first in zip(found.nbest[question_id], found.first_characters[question_id], strict=True)
        # The white space between two words can be a span of its own: it answers nothing, and is not "no answer".
        if first >= 0 and entry.text
    ]
    odds = found.null_odds.get(question_id)
    if odds is not None and not odds < threshold:
        results.insert(0, _no_answer(_sigmoid(odds)))
    return (results or [_no_answer(0.0 if odds is None else _sigmoid(odds))])[: top_k or None]


def _no_answer(score: float) -> Result:
    return {"score": score, "start": 0, "end": 0, "answer": ""}


def _sigmoid(logit: float) -> float:
    small = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else small) / (1.0 + small)
