"""What is seen of a run while it runs."""

import io
import json
import math

import pytest

from albert.runs.sweep import progress
from albert.runs.sweep.jobs import Job, read_evaluations, read_outcome
from albert.runs.sweep.progress import Display, Progress, duration, last_step, last_words
from albert.system.logged_output import part_line


def log_steps(folder, *steps: int) -> None:
    with (folder / "training_log.jsonl").open("a") as file:
        file.writelines(json.dumps({"step": step, "loss": 0.5, "training_steps": 100}) + "\n" for step in steps)


def test_a_line_has_step_best_score_and_the_time_that_is_left(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = Progress(Job("MRPC seed 1", tmp_path, "module", {}))
    assert str(line) == "MRPC seed 1: starting"
    log_steps(tmp_path, 9, 10)
    assert str(line) == "MRPC seed 1: step 10/100"
    found = ((1, math.nan), (5, 0.75), (10, 0.5))  # a correlation may be undefined at first
    scores = [{"step": step, "metrics": {"f1": f1}, "best_metric": "f1"} for step, f1 in found]
    (tmp_path / "evaluations.json").write_text(json.dumps(scores))
    log_steps(tmp_path, 20)
    now[0] += 30
    # 10 steps in 30 seconds, 80 to come.
    assert str(line) == "MRPC seed 1: step 20/100, best 0.7500, 4 min left"
    lower = Progress(Job("own", tmp_path, "module", {}), lower_is_better=True)
    assert "best 0.5000" in str(lower)


@pytest.mark.parametrize("text", ["", "\n", "{", '{"step": 1, "lo', "[]\n", '{"loss": 1}\n'])
def test_a_log_without_a_whole_row_has_no_step(tmp_path, text):
    assert last_step(tmp_path) is None
    (tmp_path / "training_log.jsonl").write_text(text)
    assert last_step(tmp_path) is None


def test_a_row_that_is_being_written_does_not_count(tmp_path):
    log_steps(tmp_path, *range(1, 500))
    with (tmp_path / "training_log.jsonl").open("a") as file:
        file.write('{"step": 500')
    assert last_step(tmp_path) == (499, 100)


def test_a_log_of_an_earlier_version_has_a_step_without_the_number_of_all(tmp_path):
    (tmp_path / "training_log.jsonl").write_text('{"step": 7, "loss": 0.5}\n')
    assert str(Progress(Job("MRPC seed 1", tmp_path, "module", {}))) == "MRPC seed 1: step 7"


def test_the_last_words_are_the_last_line_that_is_not_blank(tmp_path):
    log = tmp_path / "log"
    assert last_words(log) == "it wrote no log"
    log.write_bytes(b"one\n" * 5000 + b" error: \xff\n \n")
    assert last_words(log) == "error: \ufffd"
    log.write_text("\n")
    assert last_words(log) == "it said nothing"
    log.write_bytes(b"of an earlier run\n" + part_line(["python", "-m", "it"], is_first=False))
    assert last_words(log) == "it said nothing"


def test_on_a_terminal_lines_are_drawn_over(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    display = Display(terminal)
    lines = [Progress(Job(name, tmp_path, "module", {})) for name in ("first", "a name that is long")]
    display.show(lines, waiting=3)
    display.show(lines[:1], waiting=0)
    display.close()
    drawn = "first: starting\na name that is long\n3 waiting\n"
    assert terminal.getvalue() == f"{drawn}\r\x1b[3A\x1b[Jfirst: starting\n\r\x1b[1A\x1b[J"


def test_durations_are_for_people():
    assert [duration(seconds) for seconds in (3.4, 89, 600, 7200)] == ["3 s", "89 s", "10 min", "2.0 h"]


@pytest.mark.parametrize(
    "damage",
    [
        {"evaluations": [{"global_step": math.inf}]},
        {"best": {"f1": 0.5, "global_step": math.inf}},
        {"best": {"f1": 0.5, "global_step": None}},
        {"best": []},
        {"evaluations": 5},
        {"best_metric": ["f1"]},
    ],
)
def test_a_damaged_file_of_results_is_no_outcome(tmp_path, damage):
    whole = {"best_metric": "f1", "best": {"f1": 0.5}, "evaluations": [{"global_step": 1}], "hyperparameters": {}}
    (tmp_path / "eval_results.json").write_text(json.dumps(whole))
    assert read_outcome(tmp_path).best == {"f1": 0.5}
    (tmp_path / "eval_results.json").write_text(json.dumps(whole | damage).replace("Infinity", "1e999"))
    assert read_outcome(tmp_path) is None


def test_a_run_is_at_its_end_where_an_older_checkpoint_was_evaluated_later(tmp_path):
    whole = {"best_metric": "f1", "best": {"f1": 0.5, "global_step": 4}, "hyperparameters": {"Training steps": 12}}
    for evaluated, is_at_end in (([12, 4], True), ([4, 8], False), ([], False)):
        evaluations = [{"global_step": step} for step in evaluated]
        (tmp_path / "eval_results.json").write_text(json.dumps({**whole, "evaluations": evaluations}))
        assert read_outcome(tmp_path).has_trained_to_the_end is is_at_end


def test_evaluations_are_read_by_their_best_metric_or_the_mean_of_several(tmp_path):
    entry = {"step": 7, "metrics": {"f1": 0.5, "accuracy": 0.7, "loss": 1.0}, "best_metric": "loss"}
    (tmp_path / "evaluations.json").write_text(json.dumps([entry]))
    assert read_evaluations(tmp_path) == [(7, 1.0)]
    assert read_evaluations(tmp_path, ("f1", "accuracy")) == [(7, pytest.approx(0.6))]
