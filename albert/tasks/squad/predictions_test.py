"""Expected numbers: `squad/predictions_*.json`, what the original made of the random scores in `squad/raw_results.npz`.

The small cases at the end are by hand.
"""

import json
import logging

import numpy as np
import pytest

from albert.tasks.squad import metrics
from albert.tasks.squad.metrics import Question
from albert.tasks.squad.predictions import NBestEntry, predict_v1, predict_v2, prediction_files

GOLDEN_V1 = [
    "v1_384_128_nbest20_len30_1checkpoint",
    "v1_96_32_nbest5_len8_1checkpoint",
]
GOLDEN_V2 = [
    "v2_384_128_nbest20_len30_1checkpoint",
    "v2_96_32_nbest5_len8_1checkpoint",
]
HOST_COLUMNS = ("tok_start_to_orig_index", "tok_end_to_orig_index", "token_is_max_context")


def read_questions(path):
    """Every question of a SQuAD file, by its own few lines: this is not the reader's test."""
    return [
        Question(question["id"], paragraph["context"], tuple(answer["text"] for answer in question["answers"]))
        for article in json.loads(path.read_text())["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def load_golden(testdata, name):
    """(the original's results, questions, what `predict_v1` or `predict_v2` take after them)."""
    golden = json.loads((testdata / "squad" / f"predictions_{name}.json").read_text())
    version, length, stride = golden["version"], golden["max_seq_length"], golden["doc_stride"]
    questions = read_questions(testdata / "squad" / f"dev_v{version}.json")
    with np.load(testdata / "squad" / f"features_dev_v{version}_{length}_{stride}.npz") as arrays:
        features = dict(arrays)
    windows = [np.flatnonzero(features["example_index"] == index).tolist() for index in range(len(questions))]
    records = [
        {column: features[column][row] for column in HOST_COLUMNS} for row in range(len(features["example_index"]))
    ]
    with np.load(testdata / "squad" / "raw_results.npz") as raw:
        (run,) = golden["raw_results"]
        output = {key[len(run) + 1 :]: raw[key] for key in raw.files if key.startswith(run + "/")}
    np.testing.assert_array_equal(output.pop("unique_id"), features["unique_id"])
    options = {"n_best_size": golden["n_best_size"], "max_answer_length": golden["max_answer_length"]}
    return golden, questions, (windows, records, output), options


def assert_same_nbest(nbest, expected):
    assert list(nbest) == list(expected)
    for id_, entries in nbest.items():
        # The original adds up probabilities in another way, which moves the last digit.
        probabilities = [entry.pop("probability") for entry in expected[id_]]
        assert [entry.probability for entry in entries] == pytest.approx(probabilities, rel=1e-13, abs=1e-300)
        assert [(entry.text, entry.start_log_prob, entry.end_log_prob) for entry in entries] == [
            (entry["text"], entry["start_log_prob"], entry["end_log_prob"]) for entry in expected[id_]
        ]


@pytest.mark.parametrize("name", GOLDEN_V1)
def test_version_1_equals_the_original(testdata, name):
    golden, questions, inputs, options = load_golden(testdata, name)
    predictions = predict_v1(questions, *inputs, **options)
    # The original gives questions that it could not align the text "empty", like all without a possible span.
    skipped = [questions[index].id for index in golden["skipped_examples"]]
    assert all(golden["predictions"][id_] == "empty" for id_ in skipped)
    assert predictions.texts == golden["predictions"] | dict.fromkeys(skipped, "")
    assert_same_nbest(
        predictions.nbest | {id_: [NBestEntry("empty", 1.0, 0.0, 0.0)] for id_ in skipped}, golden["nbest"]
    )
    assert predictions.null_odds == {}
    scores = metrics.score_v1(questions, predictions.texts | dict.fromkeys(skipped, "empty"))
    assert scores == pytest.approx(golden["eval"], rel=1e-13)


def test_version_1_answers_nothing_where_there_is_no_window(testdata):
    golden, questions, inputs, options = load_golden(testdata, GOLDEN_V1[1])
    skipped = [questions[index].id for index in golden["skipped_examples"]]
    assert len(skipped) == 1
    predictions = predict_v1(questions, *inputs, **options)
    assert predictions.texts == golden["predictions"] | dict.fromkeys(skipped, "")


@pytest.mark.parametrize("name", GOLDEN_V2)
def test_version_2_equals_the_original(testdata, name):
    golden, questions, inputs, options = load_golden(testdata, name)
    predictions = predict_v2(questions, *inputs, **options)
    assert predictions.texts == golden["predictions_threshold_None"]
    assert_same_nbest(predictions.nbest, golden["nbest"])
    assert predictions.null_odds == golden["null_odds"]
    for threshold in (0.0, -1.0):
        thresholded = metrics.apply_threshold(predictions.texts, predictions.null_odds, threshold)
        assert thresholded == golden[f"predictions_threshold_{threshold}"]

    scores = [metrics.scores_v2(question, predictions.texts[question.id]) for question in questions]
    assert [exact for exact, _ in scores] == list(golden["first_pass_exact_raw"].values())
    assert [f1 for _, f1 in scores] == pytest.approx(list(golden["first_pass_f1_raw"].values()), rel=1e-13)


@pytest.mark.parametrize("name", GOLDEN_V2)
def test_version_2_scores_equal_the_original(testdata, name):
    golden, questions, inputs, options = load_golden(testdata, name)
    predictions = predict_v2(questions, *inputs, **options)
    texts, null_odds = predictions.texts, predictions.null_odds

    # The first pass takes null odds up to and including 1.0 for "answered"; our rule is "below".
    first = metrics.score_v2(questions, texts, null_odds, threshold=np.nextafter(1.0, 2.0), original_thresholds=True)
    expected = golden["first_pass_eval"]
    assert {key: first[key] for key in expected} == pytest.approx(expected, rel=1e-13)
    # The second pass predicts again, with the threshold that had the best F1.
    second = metrics.score_v2(questions, texts, null_odds, original_thresholds=True)
    expected = golden["eval"]
    assert {key: second[key] for key in expected} == pytest.approx(expected, rel=1e-13)
    threshold = second["null_score_diff_threshold"]
    assert metrics.apply_threshold(texts, null_odds, threshold) == golden["predictions"]

    # In each of these runs the original loses one question at its own threshold. Ours loses none.
    ours = metrics.score_v2(questions, texts, null_odds)
    assert second["exact"] < second["best_exact"]
    assert ours["exact"] == ours["best_exact"]
    assert ours["f1"] == ours["best_f1"]
    if name == "v2_96_32_nbest5_len8_1checkpoint":
        # Here it also takes "the" and ".", predicted where there is no answer, for wrong; scored, they count as right.
        assert ours["best_exact"] == pytest.approx(second["best_exact"] + 100 / len(questions), rel=1e-13)
    else:
        assert ours["best_exact"] == pytest.approx(second["best_exact"], rel=1e-13)
        assert ours["best_f1"] == pytest.approx(second["best_f1"], rel=1e-13)


# Five positions: [CLS] query [SEP] and the tokens "big", "red" (and "dog" in the first window) from position 3 on.
CONTEXT = " big red dog "
WINDOW = {
    "token_is_max_context": np.array([-1, -1, -1, 1, 1, 0]),
    "tok_start_to_orig_index": np.array([0, 4, 8]),
    "tok_end_to_orig_index": np.array([3, 7, 11]),
}
QUESTION = Question("q", CONTEXT, None)


def scores(**positions):
    """[1, 6] scores: 0 but for `p<position>=score`."""
    row = np.zeros((1, 6), np.float32)
    for name, score in positions.items():
        row[0, int(name[1:])] = score
    return row


def answers(start, end, records=(WINDOW,), **options):
    outputs = {"start_log_prob": start, "end_log_prob": end}
    result = predict_v1([QUESTION], [list(range(len(records)))], list(records), outputs, **options)
    return [entry.text for entry in result.nbest["q"]]


def test_a_span_starts_inside_the_paragraph_and_at_its_best_window():
    # Best start: the query (1), then "dog" (5), which another window shows better, then "big" (3).
    start, end = scores(p1=9, p5=8, p3=7), scores(p5=9)
    assert answers(start, end, n_best_size=1) == ["empty"]
    assert answers(start, end, n_best_size=2) == ["empty"]
    assert answers(start, end, n_best_size=3)[0] == "big red dog"


def test_a_span_is_not_too_long_and_not_backwards():
    start, end = scores(p3=9, p4=8), scores(p5=9, p4=6)
    assert answers(start, end, n_best_size=2) == ["big red dog", "red dog"]
    assert answers(start, end, n_best_size=2, max_answer_length=2) == ["red dog", "big red"]
    assert answers(scores(p4=9), scores(p3=9), n_best_size=1) == ["empty"]


def test_a_text_is_listed_once_with_its_best_span():
    outputs = {
        "start_log_prob": np.concatenate([scores(p3=1), scores(p3=5)]),
        "end_log_prob": scores(p3=2).repeat(2, 0),
    }
    result = predict_v1([QUESTION], [[0, 1]], [WINDOW, WINDOW], outputs, n_best_size=1)
    assert result.nbest["q"] == [NBestEntry("big", 1.0, 5.0, 2.0)]


def test_of_equal_spans_the_first_window_wins():
    other = WINDOW | {"tok_start_to_orig_index": np.array([4, 8]), "tok_end_to_orig_index": np.array([7, 11])}
    other["token_is_max_context"] = np.array([-1, -1, -1, 1, 1])
    start, end = scores(p3=5).repeat(2, 0), scores(p3=5).repeat(2, 0)
    assert answers(start, end, [WINDOW, other], n_best_size=1) == ["big"]
    assert answers(start, end, [other, WINDOW], n_best_size=1) == ["red"]


def test_of_equal_scores_the_first_positions_are_looked_at():
    # 400 tokens of one character. Every second one has the same high score: starts 1, 3, 5 with ends 1, 3, 5.
    window = {"token_is_max_context": np.ones(400, np.int8)}
    window |= {"tok_start_to_orig_index": np.arange(400), "tok_end_to_orig_index": np.arange(400)}
    alternating = (np.arange(400) % 2).astype(np.float32)[np.newaxis]
    context = "".join(chr(0x4E00 + number) for number in range(400))
    outputs = {"start_log_prob": alternating, "end_log_prob": alternating}
    entries = predict_v1([Question("q", context, None)], [[0]], [window], outputs, n_best_size=3).nbest["q"]
    assert [entry.text for entry in entries] == [context[1:2], context[1:4], context[1:6]]


def test_null_odds_are_the_lowest_of_the_windows():
    beam = {"start_top_log_probs": -np.ones((2, 1)), "start_top_index": np.full((2, 1), 3)}
    beam |= {"end_top_log_probs": -np.ones((2, 2)), "end_top_index": np.array([[3, 4], [4, 3]])}
    outputs = beam | {"cls_logits": np.array([0.5, -1.0])}
    questions = [QUESTION, Question("unaligned", "", None)]
    result = predict_v2(questions, [[0, 1], []], [WINDOW, WINDOW], outputs)
    assert result.null_odds == {"q": -1.0, "unaligned": 1e6}
    assert result.texts == {"q": "big", "unaligned": ""}
    assert [entry.text for entry in result.nbest["q"]] == ["big", "big red"]


def test_scores_that_are_not_numbers_are_reported_and_never_answers(caplog):
    with caplog.at_level(logging.WARNING):
        assert answers(scores(p3=np.nan, p4=1), scores(p5=1), n_best_size=6)[0] == "red dog"
    assert "not numbers in 1 of 1 window;" in caplog.text
    beam = {"start_top_log_probs": np.full((1, 1), np.nan), "start_top_index": np.full((1, 1), 3)}
    beam |= {
        "end_top_log_probs": np.zeros((1, 1)),
        "end_top_index": np.full((1, 1), 3),
        "cls_logits": np.array([np.nan]),
    }
    result = predict_v2([QUESTION], [[0]], [WINDOW], beam)
    assert result.texts == {"q": ""}
    assert result.null_odds == {"q": 1e6}


def test_result_files_hold_what_the_original_wrote(testdata):
    golden, questions, inputs, options = load_golden(testdata, GOLDEN_V2[1])
    predictions = predict_v2(questions, *inputs, **options)
    final = metrics.apply_threshold(predictions.texts, predictions.null_odds, -1.0)
    files = prediction_files(predictions, final)
    assert list(files) == ["predictions.json", "nbest_predictions.json", "null_odds.json"]
    assert json.loads(files["predictions.json"]) == golden["predictions_threshold_-1.0"]
    assert json.loads(files["null_odds.json"]) == golden["null_odds"]
    nbest = json.loads(files["nbest_predictions.json"])
    assert_same_nbest(
        {id_: [NBestEntry(**entry) for entry in entries] for id_, entries in nbest.items()}, golden["nbest"]
    )
    assert files["predictions.json"].startswith('{\n    "')
    version_1 = predict_v1([QUESTION], [[]], [], {})
    assert list(prediction_files(version_1, version_1.texts)) == [
        "predictions.json",
        "nbest_predictions.json",
    ]
