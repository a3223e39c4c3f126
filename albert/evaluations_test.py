"""Which evaluation counts as best, and the file that remembers them all."""

import json
import math

import pytest

from albert.evaluations import Evaluation, EvaluationLog
from albert.settings import UserError


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


def test_the_summary_leaves_out_the_step():
    evaluation = Evaluation(7, {"f1": 0.5, "eval_loss": 0.12345, "global_step": 7}, "f1", True)
    assert evaluation.summary() == "eval_loss = 0.1235, f1 = 0.5000"


@pytest.mark.parametrize("contents", ["", "[", "5", "{}x", '{"step": 1}', '[{"step": 1}]', '[{"step": 1, "x": 2}]'])
def test_a_damaged_file_is_named(tmp_path, contents):
    (tmp_path / "evaluations.json").write_text(contents)
    with pytest.raises(UserError, match=r"evaluations\.json is damaged .*Move it away"):
        EvaluationLog(tmp_path)


def test_the_file_is_plain_json(tmp_path):
    _append(EvaluationLog(tmp_path), 3, 0.5)
    (entry,) = json.loads((tmp_path / "evaluations.json").read_text())
    assert entry == {"step": 3, "metrics": {"f1": 0.5, "global_step": 3}, "best_metric": "f1", "is_best": True}
