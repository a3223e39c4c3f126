import numpy as np
import pytest

from albert.serving.results import answer_results, choice_results, label_results
from albert.tasks.base import Labels, MultiLabels, Score
from albert.tasks.squad.predictions import NBestEntry, Predictions

PROBABILITIES = np.array([[0.25, 0.5, 0.25], [0.0, 0.125, 0.875]])


@pytest.mark.parametrize(
    ("top_k", "expected"), [(1, ["b"]), (2, ["b", "a"]), (0, ["b", "a", "c"]), (9, ["b", "a", "c"])]
)
def test_labels_come_by_falling_score_the_first_of_equals_first(top_k, expected):
    (first, second) = label_results(Labels(("a", "b", "c")), PROBABILITIES, top_k, threshold=0.5)
    assert [result["label"] for result in first] == expected
    assert second[0] == {"label": "c", "score": 0.875}


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.5, [["b"], ["c"]]), (0.6, [[], ["c"]]), (0.0, [list("bac"), list("cba")])]
)
def test_several_labels_are_those_that_reach_the_threshold(threshold, expected):
    found = label_results(MultiLabels(("a", "b", "c")), PROBABILITIES, 1, threshold)
    assert [[result["label"] for result in row] for row in found] == expected


def test_a_regression_has_the_label_that_transformers_gives_and_is_not_clipped():
    found = label_results(Score(0.0, 5.0), np.array([[5.5], [-1.0]]), 1, 0.5)
    assert found == [[{"label": "LABEL_0", "score": 5.5}], [{"label": "LABEL_0", "score": -1.0}]]


def test_options_have_letters():
    found = choice_results(["x", "y", "z"], PROBABILITIES[1], top_k=2)
    assert found == [{"label": "C", "score": 0.875, "option": "z"}, {"label": "B", "score": 0.125, "option": "y"}]


def _predictions(odds=None, entries=(("cat", 0.75, 4), ("a cat", 0.25, 2))):
    nbest = [NBestEntry(text, probability, 0.0, 0.0) for text, probability, _ in entries]
    return Predictions(
        {"q": nbest[0].text}, {"q": nbest}, {} if odds is None else {"q": odds}, {"q": [e[2] for e in entries]}
    )


CAT, A_CAT = (
    {"score": 0.75, "start": 4, "end": 7, "answer": "cat"},
    {"score": 0.25, "start": 2, "end": 7, "answer": "a cat"},
)


@pytest.mark.parametrize(
    ("odds", "threshold", "top_k", "expected"),
    [
        (None, 0.0, 1, [CAT]),
        (None, 0.0, 0, [CAT, A_CAT]),
        (-0.5, 0.0, 2, [CAT, A_CAT]),
        (0.0, 0.0, 2, [{"score": 0.5, "start": 0, "end": 0, "answer": ""}, CAT]),
        (0.0, 0.1, 1, [CAT]),
        (1e6, 0.0, 1, [{"score": 1.0, "start": 0, "end": 0, "answer": ""}]),
    ],
)
def test_no_answer_comes_first_where_the_null_odds_reach_the_threshold(odds, threshold, top_k, expected):
    assert answer_results(_predictions(odds), "q", threshold, top_k) == expected


def test_white_space_is_no_answer_and_not_that_there_is_none():
    entries = [("", 0.5, 3), ("cat", 0.25, 4), ("a cat", 0.25, 2)]
    assert answer_results(_predictions(None, entries), "q", 0.0, 1) == [CAT | {"score": 0.25}]
    assert answer_results(_predictions(1e6, entries), "q", 0.0, 2) == [
        {"score": 1.0, "start": 0, "end": 0, "answer": ""},
        CAT | {"score": 0.25},
    ]


@pytest.mark.parametrize(("odds", "score"), [(None, 0.0), (-1e6, 0.0), (1e6, 1.0)])
def test_a_question_without_spans_has_no_answer(odds, score):
    found = answer_results(_predictions(odds, [("empty", 1.0, -1)]), "q", 0.0, 1)
    assert found == [{"score": score, "start": 0, "end": 0, "answer": ""}]
