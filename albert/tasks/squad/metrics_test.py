"""Expected numbers by hand, from `squad/scores.json` (the original's scores of small pairs), or as properties.

The scores of whole runs are compared with the original's in squad_predictions_test.py.
"""

import json
import logging
import re
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert.errors import UserError
from albert.tasks.squad.metrics import (
    Question,
    apply_threshold,
    exact_match,
    f1_v1,
    f1_v2,
    normalize_answer,
    score_v1,
    score_v2,
    scores_v1,
    scores_v2,
)


def question(id_, *answers):
    return Question(id_, "", answers)


def test_scores_of_pairs_equal_the_original(testdata):
    pairs = json.loads((testdata / "squad" / "scores.json").read_text())["scores"]
    assert len(pairs) == 12
    for pair in pairs:
        prediction, gold = pair["prediction"], pair["ground_truth"]
        assert normalize_answer(prediction) == pair["normalized_v1"] == pair["normalized_v2"], pair
        assert exact_match(prediction, gold) == pair["exact_v1"] == pair["exact_v2"], pair
        assert f1_v1(prediction, gold) == pytest.approx(pair["f1_v1"], rel=1e-15), pair
        assert f1_v2(prediction, gold) == pytest.approx(pair["f1_v2"], rel=1e-15), pair


def test_the_best_of_the_answers_counts_for_each_score():
    many = question("q", "red dog", "red")
    assert scores_v1(many, "the red") == (1.0, 1.0)
    assert scores_v1(many, "big red dog") == (0.0, pytest.approx(0.8))  # precision 2/3, recall 1
    assert scores_v2(many, "big red dog") == (0.0, pytest.approx(0.8))


def test_only_version_2_accepts_no_answer():
    assert scores_v2(question("q"), "") == (1.0, 1.0)
    assert scores_v2(question("q"), "red") == (0.0, 0.0)
    # An answer of articles only is none; beside another it does not count.
    assert scores_v2(question("q", "the"), "") == (1.0, 1.0)
    assert scores_v2(question("q", "the", "red"), "") == (0.0, 0.0)
    assert scores_v1(question("q", "the"), "") == (1.0, 0.0)


def test_version_1_by_hand():
    questions = [question("a", "red dog"), question("b", "cat"), question("c", "x")]
    scores = score_v1(questions, {"a": "the red dog", "b": "a big cat", "c": "y"})
    assert scores == {"exact_match": pytest.approx(100 / 3), "f1": pytest.approx(100 * (1 + 2 / 3) / 3)}


def test_version_2_by_hand():
    questions = [question("a", "red dog"), question("b"), question("c", "cat"), question("d")]
    texts = {"a": "red", "b": "x", "c": "cat", "d": "y"}
    null_odds = {"c": -3.0, "a": -2.0, "b": 1.0, "d": 5.0}
    # Exact: none 2, c 3, c+a 3, then less. F1: none 2, c 3, c+a 3 2/3, then less.
    assert score_v2(questions, texts, null_odds) == pytest.approx(
        {
            "exact": 75.0,
            "f1": 100 * (3 + 2 / 3) / 4,
            "total": 4,
            "HasAns_exact": 50.0,
            "HasAns_f1": 100 * (1 + 2 / 3) / 2,
            "HasAns_total": 2,
            "NoAns_exact": 100.0,
            "NoAns_f1": 100.0,
            "NoAns_total": 2,
            "best_exact": 75.0,
            "best_exact_thresh": -2.5,
            "best_f1": 100 * (3 + 2 / 3) / 4,
            "best_f1_thresh": -1.0,
            "null_score_diff_threshold": -1.0,
        }
    )
    given_threshold = score_v2(questions, texts, null_odds, threshold=2.0)
    assert given_threshold["null_score_diff_threshold"] == 2.0
    assert given_threshold["NoAns_exact"] == 50.0
    assert given_threshold["best_f1"] == pytest.approx(100 * (3 + 2 / 3) / 4)


def test_questions_of_one_kind_have_no_scores_of_the_other():
    only_answerable = score_v2([question("a", "x")], {"a": "x"}, {"a": 0.0})
    assert only_answerable["HasAns_total"] == 1
    assert not [key for key in only_answerable if key.startswith("NoAns")]
    assert only_answerable["exact"] == 100.0  # the threshold is above the only null odds
    only_unanswerable = score_v2([question("a")], {"a": "x"}, {"a": 0.0})
    assert only_unanswerable["NoAns_exact"] == 100.0  # and here below


def test_the_original_threshold_leaves_its_own_question_out():
    questions, texts = [question("a", "x"), question("b")], {"a": "x", "b": "y"}
    scores = score_v2(questions, texts, {"a": -1.0, "b": 1.0}, original_thresholds=True)
    assert (scores["best_exact"], scores["best_exact_thresh"], scores["exact"]) == (100.0, -1.0, 50.0)
    # Where it is best to answer nothing it names 0, below which a question may well be.
    scores = score_v2([question("a")], {"a": "x"}, {"a": -1.0}, original_thresholds=True)
    assert (scores["best_exact"], scores["best_exact_thresh"], scores["exact"]) == (100.0, 0.0, 0.0)


# Answers of few words, so that they often share some, and odds from a few values, so that they are often equal.
WORDS = st.lists(st.sampled_from(["red", "dog", "the", "cat."]), max_size=3).map(" ".join)
ODDS = st.sampled_from([-3e38, -1.0, float(np.nextafter(-1.0, 0)), -0.5, 0.0, 0.25, 2.0, 1e6, 3e38])
ROWS = st.lists(
    st.tuples(st.lists(WORDS, max_size=2), WORDS, ODDS | st.floats(-9, 9, width=32)), min_size=1, max_size=9
)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(ROWS)
def test_applying_the_threshold_gives_exactly_the_best_score(rows):
    questions = [question(str(number), *answers) for number, (answers, _, _) in enumerate(rows)]
    texts = {str(number): text for number, (_, text, _) in enumerate(rows)}
    null_odds = {str(number): odds for number, (_, _, odds) in enumerate(rows)}
    scores = score_v2(questions, texts, null_odds)
    assert scores["f1"] == scores["best_f1"]
    assert scores["null_score_diff_threshold"] == scores["best_f1_thresh"]

    def rescored(threshold):
        """Scores of the predictions that would be written, without any use of null odds."""
        final = apply_threshold(texts, null_odds, threshold)
        return score_v2(questions, final, null_odds, threshold=np.inf)

    for name in ("exact", "f1"):
        best, threshold = scores[f"best_{name}"], scores[f"best_{name}_thresh"]
        assert np.isfinite(threshold)
        assert rescored(threshold)[name] == best
        for other in [*null_odds.values(), np.inf]:
            assert rescored(other)[name] <= best + 1e-7
            if other < threshold:  # the lowest threshold with that score
                assert rescored(other)[name] < best
        # The official script answers at the threshold, too: no null odds lie there, if a number fits between.
        neighbours = {float(np.nextafter(odds, np.inf)) for odds in null_odds.values()}
        assert threshold not in null_odds.values() or threshold in neighbours


def test_questions_without_known_answers_are_not_scored(caplog):
    unknown = Question("u", "", None)
    with caplog.at_level(logging.WARNING):
        assert score_v1([unknown], {"u": "x"}) == {}
        assert score_v2([unknown], {"u": "x"}, {"u": 0.0}) == {}
    assert caplog.messages == ["1 of 1 question without known answers: predicted but not scored"] * 2
    assert score_v1([unknown, question("a", "x")], {"u": "x", "a": "x"}) == {"exact_match": 100.0, "f1": 100.0}
    assert score_v2([unknown, question("a", "x")], {"u": "x", "a": "x"}, {"u": 0, "a": 0})["total"] == 1
    # In 1.1 every question has an answer: a list without any only means that it is not given.
    assert score_v1([question("a")], {"a": "x"}) == {}


def test_a_question_without_prediction_counts_0(caplog):
    questions = [question(name, "x") for name in "abcde"] + [question("n")]
    with caplog.at_level(logging.WARNING):
        assert score_v1(questions[:5], {"e": "x"})["f1"] == 20.0
    assert caplog.messages == ["4 of 5 questions without a prediction, which count 0: a, b, c, ..."]
    scores = score_v2(questions, {"e": "x"}, {"e": 0.0})
    assert (scores["exact"], scores["NoAns_exact"]) == (pytest.approx(100 / 6), 0.0)
    assert score_v2(questions, {}, {})["best_f1"] == 0.0
    original = score_v2(questions, {"e": "x"}, {"e": 0.0}, original_thresholds=True)
    assert (original["best_f1"], original["best_f1_thresh"]) == (pytest.approx(100 / 6), 0.0)


def test_predictions_for_other_questions_are_left_out(caplog):
    with caplog.at_level(logging.WARNING):
        assert score_v1([question("a", "x")], {"a": "x", "z": "x"})["f1"] == 100.0
    assert caplog.messages == ["1 prediction for other questions, left out: z"]
    assert score_v2([question("a", "x")], {"a": "x", "z": ""}, {"a": 0.0, "z": 9.0})["total"] == 1


def test_null_odds_for_other_questions_are_refused():
    with pytest.raises(UserError, match=r"2 are in one of them only \(a, b\)"):
        score_v2([question("a", "x")], {"a": "x"}, {"b": 0.0})
    with pytest.raises(UserError, match="take both from the same evaluation"):
        apply_threshold({"a": "x"}, {}, 0.0)


def plain_words(text):
    """The official normalisation in other words: character by character, no shared code."""
    kept = "".join(char for char in text.lower() if char not in string.punctuation)
    return [word for word in re.sub(r"(?<!\w)(?:the|an|a)(?!\w)", " ", kept).split() if word]


def plain_f1(prediction, gold):
    left, right = plain_words(prediction), plain_words(gold)
    unmatched, shared = list(right), 0
    for word in left:
        if word in unmatched:
            unmatched.remove(word)
            shared += 1
    if not left and not right:
        return 1.0
    return 2 * shared / (len(left) + len(right))


def plain_scores(questions, texts):
    """(exact, F1) in percent by the rules of version 2, by hand."""
    exact = f1 = 0.0
    for item in questions:
        golds = [gold for gold in item.answers if plain_words(gold)] or [""]
        exact += any(plain_words(texts[item.id]) == plain_words(gold) for gold in golds)
        f1 += max(plain_f1(texts[item.id], gold) for gold in golds)
    return 100 * exact / len(questions), 100 * f1 / len(questions)


def questions_with_sentences(path):
    """Every question of a file, and a text to predict for it: a run of words around or beside its first answer."""
    random = np.random.default_rng(0)
    questions, texts = [], {}
    for article in json.loads(path.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            words = paragraph["context"].split()
            for item in paragraph["qas"]:
                answers = tuple(answer["text"] for answer in item["answers"])
                questions.append(Question(item["id"], paragraph["context"], answers))
                first = int(random.integers(len(words)))
                run = " ".join(words[first : first + int(random.integers(1, 5))])
                texts[item["id"]] = random.choice([run, f"{run} {answers[-1]}", answers[-1]]) if answers else run
    return questions, texts


@pytest.mark.parametrize("file_name", ["dev-v1.1.json", "train-v1.1.json", "train-v1.1-extra.json"])
def test_real_version_1_answers_score_as_by_hand(shared_data, file_name):
    questions, texts = questions_with_sentences(shared_data / "squad" / file_name)
    assert score_v1(questions, {item.id: item.answers[0] for item in questions}) == {"exact_match": 100.0, "f1": 100.0}
    assert score_v1(questions, dict.fromkeys(texts, "")) == {"exact_match": 0.0, "f1": 0.0}
    exact, f1 = plain_scores(questions, texts)
    assert 20 < exact < f1 < 80
    assert score_v1(questions, texts) == pytest.approx({"exact_match": exact, "f1": f1}, rel=1e-12)


@pytest.mark.parametrize("file_name", ["dev-v2.0.json", "train-v2.0.json"])
def test_real_version_2_answers_score_as_by_hand(shared_data, file_name):
    questions, texts = questions_with_sentences(shared_data / "squad" / file_name)
    odds = dict.fromkeys(texts, 0.0)
    perfect = {item.id: item.answers[0] if item.answers else "" for item in questions}
    scores = score_v2(questions, perfect, odds, threshold=1.0)
    assert (scores["exact"], scores["f1"], scores["best_exact"]) == (100.0, 100.0, 100.0)
    unanswerable = 100 * sum(not item.answers for item in questions) / len(questions)
    assert 45 < unanswerable < 55
    nothing = score_v2(questions, dict.fromkeys(texts, ""), odds, threshold=1.0)
    assert (nothing["exact"], nothing["f1"]) == pytest.approx((unanswerable, unanswerable))
    assert (nothing["HasAns_exact"], nothing["NoAns_exact"]) == (0.0, 100.0)

    random = np.random.default_rng(1)
    odds = {item.id: float(random.normal(0.0 if item.answers else 2.0)) for item in questions}
    scores = score_v2(questions, texts, odds)
    final = apply_threshold(texts, odds, scores["null_score_diff_threshold"])
    assert plain_scores(questions, final) == pytest.approx((scores["exact"], scores["f1"]), rel=1e-12)
    assert scores["f1"] == scores["best_f1"] > unanswerable
