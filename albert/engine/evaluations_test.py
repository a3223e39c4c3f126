"""Which evaluation counts as best, and the file that remembers them all."""

import json
import math

import pytest

from albert.engine.evaluations import Evaluation, EvaluationLog
from albert.errors import UserError
from albert.testing import unwritable


def _append(log: EvaluationLog, step: int, value: float) -> None:
    log.append(Evaluation(step, {"f1": value, "global_step": step}, "f1", log.improves(value)))


def test_the_best_is_the_first_of_the_highest_and_survives_a_restart(tmp_path):
    log = EvaluationLog(tmp_path)
    assert log.best is None
    for step, value in ((10, 0.5), (20, 0.75), (30, 0.75), (40, 0.25)):
        _append(log, step, value)
    again = EvaluationLog(tmp_path)
    assert list(again) == list(log)
    assert [entry.is_best for entry in again] == [True, True, False, False]
    assert (again.best.step, again.best.value) == (20, 0.75)
    assert again.steps == {10, 20, 30, 40}


def test_a_number_beats_nan_and_nan_beats_nothing_but_no_evaluation(tmp_path):
    log = EvaluationLog(tmp_path)
    for step, value in ((1, math.nan), (2, math.nan), (3, -0.5), (4, math.nan)):
        _append(log, step, value)
    assert [entry.is_best for entry in EvaluationLog(tmp_path)] == [True, False, True, False]


def test_going_back_makes_evaluations_again_in_their_place(tmp_path):
    log = EvaluationLog(tmp_path)
    values = {4: 0.5, 8: 0.25, 12: 0.75, 16: 0.875}
    for step, value in values.items():
        _append(log, step, value)
    undisturbed = (tmp_path / "evaluations.json").read_bytes()
    log = EvaluationLog(tmp_path)
    log.continue_from(8)
    assert log.steps == {4, 8}
    # The best is not forgotten before it is recomputed; until then, comparisons are with what came before.
    assert log.best.step == 16
    assert log.improves(0.6)
    _append(log, 12, values[12])
    assert log.steps == {4, 8, 12}
    assert EvaluationLog(tmp_path).best.step == 16
    assert (tmp_path / "evaluations.json").read_bytes() == undisturbed
    _append(log, 16, values[16])
    assert (tmp_path / "evaluations.json").read_bytes() == undisturbed


def test_going_back_with_other_intervals_leaves_none_of_the_old_ones(tmp_path):
    log = EvaluationLog(tmp_path)
    for step in (4, 8, 12):
        _append(log, step, step / 16)
    log.continue_from(4)
    for step, value in ((6, 0.0), (13, 0.5)):
        _append(log, step, value)
    assert [(entry.step, entry.is_best) for entry in EvaluationLog(tmp_path)] == [(4, True), (6, False), (13, True)]


def test_where_lower_is_better_the_best_is_the_first_of_the_lowest(tmp_path):
    log = EvaluationLog(tmp_path)
    for step, value in ((1, math.nan), (2, 0.5), (3, 0.75), (4, 0.25), (5, 0.25)):
        log.append(Evaluation(step, {"rmse": value}, "rmse", log.improves(value, lower_is_better=True)))
    assert [entry.is_best for entry in EvaluationLog(tmp_path)] == [True, True, False, True, False]


# Values of evaluations 1, 2, ..., patience, threshold, and the number of the evaluation that is the last.
STOPS = (
    ([0.5, 0.6, 0.6, 0.5, 0.7], 2, 0.0, 4),
    ([0.5, 0.6, 0.6, 0.61, 0.6, 0.6], 2, 0.0, 6),
    ([0.5, 0.6, 0.6, 0.61, 0.6, 0.6], 3, 0.0, None),
    ([0.5, 0.5], 1, 0.0, 2),
    ([0.5], 1, 0.0, None),
    ([], 1, 0.0, None),
    # Better by a hair counts as no improvement, but is what the next is compared with.
    ([0.5, 0.55, 0.6, 0.65], 3, 0.1, 4),
    ([0.5, 0.55, 0.7, 0.65], 3, 0.1, None),
    # Exactly the threshold is not more.
    ([0.5, 0.75, 1.0], 1, 0.25, 2),
    ([math.nan, math.nan, 0.1, math.nan, 0.1, 0.1], 2, 0.0, 5),
    ([math.nan] * 3, 2, 0.0, 3),
)


@pytest.mark.parametrize(("values", "patience", "threshold", "last"), STOPS)
@pytest.mark.parametrize("lower_is_better", [False, True])
def test_training_ends_after_evaluations_that_do_not_improve(
    tmp_path, values, patience, threshold, last, lower_is_better
):
    log = EvaluationLog(tmp_path)
    for number, value in enumerate(values, 1):
        _append(log, 10 * number, -value if lower_is_better else value)
        # At the same evaluation, however many follow and wherever they come from.
        for same in (log, EvaluationLog(tmp_path)):
            stop = same.early_stop(patience, threshold, lower_is_better)
            assert (stop and stop.step) == (10 * last if last and number >= last else None)


def test_evaluations_that_are_made_again_do_not_end_training(tmp_path):
    log = EvaluationLog(tmp_path)
    for step, value in ((4, 0.5), (8, 0.5), (12, 0.5)):
        _append(log, step, value)
    assert log.early_stop(2, 0.0).step == 12
    log.continue_from(8)
    assert log.early_stop(2, 0.0) is None


def test_a_file_that_cannot_be_written_is_named_and_keeps_what_it_had(tmp_path):
    log = EvaluationLog(tmp_path)
    _append(log, 4, 0.5)
    with unwritable(tmp_path), pytest.raises(UserError, match=r"cannot write .*/evaluations\.json: Operation not perm"):
        _append(log, 8, 0.75)
    assert [entry.step for entry in EvaluationLog(tmp_path)] == [4]


def test_the_summary_leaves_out_the_step():
    evaluation = Evaluation(7, {"f1": 0.5, "eval_loss": 0.12345, "global_step": 7}, "f1", True)
    assert evaluation.summary() == "eval_loss = 0.1235, f1 = 0.5000"
    counted = Evaluation(10, {"HasAns_total": 88.0, "f1": 0.5}, "f1", True)
    assert counted.summary() == "HasAns_total = 88, f1 = 0.5000"


@pytest.mark.parametrize("contents", ["", "[", "5", "{}x", '{"step": 1}', '[{"step": 1}]', '[{"step": 1, "x": 2}]'])
def test_a_damaged_file_is_named(tmp_path, contents):
    (tmp_path / "evaluations.json").write_text(contents)
    with pytest.raises(UserError, match=r"evaluations\.json is damaged .*Move it away"):
        EvaluationLog(tmp_path)


def test_the_file_is_plain_json(tmp_path):
    _append(EvaluationLog(tmp_path), 3, 0.5)
    (entry,) = json.loads((tmp_path / "evaluations.json").read_text())
    assert entry == {"step": 3, "metrics": {"f1": 0.5, "global_step": 3}, "best_metric": "f1", "is_best": True}


ENTRY = {"step": 4, "metrics": {"f1": 0.5, "global_step": 4}, "best_metric": "f1", "is_best": True}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([{**ENTRY, "step": "4"}]),
        json.dumps([{**ENTRY, "metrics": ["f1"]}]),
        json.dumps([{**ENTRY, "metrics": {"f1": [0.5]}}]),
        json.dumps([{**ENTRY, "best_metric": "accuracy"}]),
        json.dumps([{**ENTRY, "best_metric": []}]),
        json.dumps([{**ENTRY, "is_best": 1}]),
        json.dumps([{**ENTRY, "is_best": False}, ENTRY]),
        json.dumps([{**ENTRY, "x" * 9999: 1}]),
        json.dumps([[1, 2]]),
        json.dumps(ENTRY),
        "[" * 100_000,
        json.dumps([ENTRY])[:-2] + ', "step": 8}]',
    ],
)
def test_what_was_never_written_is_refused_when_it_is_read_and_not_later(tmp_path, content):
    (tmp_path / "evaluations.json").write_text(content)
    with pytest.raises(UserError, match=r"evaluations\.json is damaged") as error:
        EvaluationLog(tmp_path)
    assert len(str(error.value)) < 500
