"""The arithmetic of the tables, against numpy, on scores that are given."""

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from albert.runs.sweep.jobs import Job
from albert.runs.sweep.picture import beside, draw
from albert.runs.sweep.plan import Trained
from albert.runs.sweep.request import MEAN, MEDIAN
from albert.runs.sweep.results import FINISHED, MISSING, Row, results_csv, row_of
from albert.runs.sweep.table import as_json, average_of, compare, markdown, optimism
from albert.tasks.registry import get_task

LOW, HIGH = (("learning_rate", "1e-05"),), (("learning_rate", "2e-05"),)
# By the mean the first setting is better, by the median the second.
SCORES = {
    ("CoLA", LOW): [0.60, 0.61, 0.71],
    ("CoLA", HIGH): [0.62, 0.63, 0.64],
    ("WNLI", LOW): [0.5, 0.4, 0.3],
    ("WNLI", HIGH): [0.2, 0.3, 0.4],
    ("RTE", LOW): [0.7, 0.8, 0.75],
    ("RTE", HIGH): [0.7, 0.72, 0.65],
}


def row(task: str, setting: tuple, seed: int, score: float | None, **others: object) -> Row:
    of = others.pop("of", None) or get_task("CoLA" if task == "own" else task)
    plan = SimpleNamespace(name=task, task=of, lower_is_better=of.lower_is_better)
    job = Job(f"{task} {seed}", Path(f"sweep/{task}/{setting}/seed{seed}"), "module", {})
    state = MISSING if score is None else FINISHED
    return Row(Trained(plan, setting, seed, job), state, "accuracy", score, {} if score is None else {"a": score})


def rows_of(scores: dict) -> list[Row]:
    return [row(*where, seed, score) for where, found in scores.items() for seed, score in enumerate(found, start=1)]


@pytest.mark.parametrize("report", [MEAN, MEDIAN])
def test_figures_are_numpys(report):
    found = json.loads(as_json(compare(rows_of(SCORES), report), report))
    chosen = {}
    for task in found["tasks"]:
        for cell in task["settings"]:
            scores = np.array(SCORES[task["task"], tuple(cell["setting"].items())])
            assert cell["mean"] == pytest.approx(np.mean(scores), abs=1e-15)
            assert cell["standard_deviation"] == pytest.approx(np.std(scores, ddof=1), abs=1e-15)
            assert cell["median"] == np.median(scores)
            assert (cell["best"], cell["best_seed"]) == (scores.max(), int(scores.argmax()) + 1)
            assert cell["runs"] == len(scores)
            assert list(cell["scores"].values()) == scores.tolist()
        value = np.mean if report == MEAN else np.median
        by_setting = {s: value(found) for (name, s), found in SCORES.items() if name == task["task"]}
        best = max(by_setting, key=by_setting.get)
        assert task["chosen"] == dict(best)
        chosen[task["task"]] = by_setting[best]
    assert found["tasks"][0]["chosen"] == dict(LOW if report == MEAN else HIGH)
    # WNLI is in no average.
    assert found["average"]["tasks"] == ["CoLA", "RTE"]
    assert found["average"]["value"] == pytest.approx(np.mean([chosen["CoLA"], chosen["RTE"]]), abs=1e-15)


def test_markdown_rounds_and_names_what_is_averaged():
    text = markdown(compare(rows_of(SCORES), MEAN), MEAN)
    assert "| CoLA | accuracy | learning_rate=1e-05 | 0.6400 ± 0.0608 | 0.6100 | 0.7100 (seed 3) | 3 |" in text
    assert "| CoLA | **0.6400 ± 0.0608 (3)** | 0.6300 ± 0.0100 (3) |" in text
    assert "Average of the chosen means of CoLA, RTE; without WNLI: 0.6950." in text
    assert "best of 2 by its dev scores" in text
    assert "chosen medians of CoLA, RTE; without WNLI: 0.6900." in markdown(compare(rows_of(SCORES), MEDIAN), MEDIAN)


def test_the_setting_is_chosen_among_those_with_most_runs_and_what_is_not_finished_counts_nowhere():
    rows = rows_of({("CoLA", LOW): [0.9, None, None], ("CoLA", HIGH): [0.5, 0.6, None], ("RTE", LOW): [None] * 3})
    cola, rte = compare(rows, MEAN)
    assert cola.chosen.setting == HIGH
    assert rte.chosen is None
    text = markdown([cola, rte], MEAN)
    assert "| CoLA | 0.9000 (1) | **0.5500 ± 0.0707 (2)** |" in text
    assert "| RTE | accuracy | none is finished | | | | 0 |" in text
    assert average_of([cola, rte], MEAN) is None


def test_of_settings_that_are_equal_the_first_is_taken_and_the_table_says_so():
    other = (("learning_rate", "3e-05"),)
    scores = {("CoLA", HIGH): [0.25], ("CoLA", LOW): [0.91], ("CoLA", other): [0.91], ("RTE", LOW): [0.7]}
    results = compare(rows_of(scores), MEAN)
    assert results[0].chosen.setting == LOW
    said = "\n\nCoLA: 2 settings tie at 0.9100; the first is taken, learning_rate=1e-05.\n\n"
    assert said in markdown(results, MEAN)
    assert [task["tied"] for task in json.loads(as_json(results, MEAN))["tasks"]] == [[dict(other)], []]
    assert "tie" not in markdown(compare(rows_of(SCORES), MEAN), MEAN)
    # The same three scores in another order have another sum.
    last_bit = {("CoLA", LOW): [0.3, 0.2, 0.1], ("CoLA", HIGH): [0.1, 0.2, 0.3]}
    assert len(compare(rows_of(last_bit), MEAN)[0].tied) == 1


def test_where_smaller_scores_are_better_the_smallest_is_the_best():
    task = get_task("sts-b").with_best_metric("rmse")
    rows = [row("own", setting, 1, score, of=task) for setting, score in ((LOW, 0.5), (HIGH, 0.7))]
    (result,) = compare(rows, MEAN)
    assert (result.chosen.setting, result.chosen.best.score) == (LOW, 0.5)


def test_one_run_of_each_task_has_no_deviation_and_was_not_chosen():
    results = compare(rows_of({("CoLA", ()): [0.5], ("RTE", ()): [0.7]}), MEAN)
    assert optimism(results) is None
    assert "| CoLA | accuracy | recipe | 0.5000 | 0.5000 | 0.5000 (seed 1) | 1 |" in markdown(results, MEAN)
    assert json.loads(as_json(results, MEAN))["tasks"][0]["settings"][0]["standard_deviation"] is None


def test_scores_on_a_labelled_test_file_have_a_column_where_there_are_any():
    rows = [
        dataclasses.replace(found, test_score=score)
        for found, score in zip(rows_of({("own", LOW): [0.5, 0.6, 0.7]}), (0.25, 0.75, None), strict=True)
    ]
    results = compare([*rows, *rows_of({("RTE", LOW): [0.7]})], MEAN)
    lines = markdown(results, MEAN).splitlines()
    assert lines[0].endswith(" runs | test, mean ± sd |")
    assert lines[1].count("|") == lines[0].count("|") == lines[2].count("|") == lines[3].count("|")
    assert lines[2].endswith("| 3 | 0.5000 ± 0.3536 |")
    assert lines[3].endswith("| 1 | — |")
    (setting,) = json.loads(as_json(results, MEAN))["tasks"][0]["settings"]
    assert setting["test_scores"] == {"1": 0.25, "2": 0.75}
    assert "test" not in markdown(compare(rows_of(SCORES), MEAN), MEAN).splitlines()[0]


@pytest.mark.parametrize(
    ("text", "score", "metrics"),
    [
        (
            '{"rows": 9, "metrics": {"matthews_correlation": 0.5, "other": null}}',
            0.5,
            {"matthews_correlation", "other"},
        ),
        ('{"rows": 0, "metrics": {}}', None, set()),
        ("{", None, set()),
    ],
)
def test_a_run_says_itself_what_it_scores_on_the_test_file(tmp_path, text, score, metrics):
    best = {"matthews_correlation": 0.75, "global_step": 4}
    outcome = {"best_metric": "matthews_correlation", "best": best, "evaluations": [best], "hyperparameters": {}}
    (tmp_path / "eval_results.json").write_text(json.dumps(outcome))
    (tmp_path / "test_scores.json").write_text(text)
    job = Job("own", tmp_path, "module", {})
    job.begin()
    plan = SimpleNamespace(name="own", score_metrics=("matthews_correlation",))
    found = row_of(Trained(plan, LOW, 1, job))
    assert (found.score, found.test_score) == (0.75, score)
    assert {name for name in found.metrics if name.startswith("test ")} == {f"test {name}" for name in metrics}


def test_many_settings_are_rows_the_best_first():
    scores = {("CoLA", (("learning_rate", f"{n}e-05"),)): [n / 10] for n in range(1, 9)}
    text = markdown(compare(rows_of(scores), MEAN), MEAN)
    lines = [line for line in text.splitlines() if line.startswith("| CoLA | learning_rate")]
    assert lines[0] == "| CoLA | learning_rate=8e-05 | **0.8000 (1)** |"
    assert len(lines) == 8


def test_results_have_a_column_for_everything_that_was_set_or_scored():
    rows = [*rows_of({("CoLA", LOW): [0.5, None]}), row("RTE", (("dtype", "float32"),), 1, 0.25)]
    found = list(csv.DictReader(io.StringIO(results_csv(rows))))
    assert [(each["learning_rate"], each["dtype"], each["score"], each["a"]) for each in found] == [
        ("1e-05", "", "0.5", "0.5"), ("1e-05", "", "", ""), ("", "float32", "0.25", "0.25"),
    ]  # fmt: skip
    assert [each["state"] for each in found] == [FINISHED, MISSING, FINISHED]


@pytest.mark.parametrize("settings", [(LOW, HIGH), ((), HIGH), ((("dtype", "float32"),), (("dtype", "bfloat16"),))])
def test_every_kind_of_setting_can_be_drawn(settings):
    rows = rows_of({(task, setting): [0.5, 0.6] for task in ("CoLA", "RTE") for setting in settings})
    assert draw(compare(rows, MEAN)).startswith(b"\x89PNG")


def test_dots_of_equal_scores_stand_side_by_side():
    assert beside([0.5, 0.9, 0.5, 0.5], 0.01) == [-1, 0, 0, 1]
    assert beside([0.5, 0.505], 0.01) == [-0.5, 0.5]
    assert beside([0.1, 0.2], 0.01) == [0, 0]
    found = beside([0.5] * 40, 0.01)
    assert len(set(found)) == 40
    assert max(found) == -min(found) == 1


def test_nothing_is_drawn_of_nothing():
    assert draw(compare(rows_of({("CoLA", LOW): [None]}), MEAN)) is None


def test_a_score_that_is_no_number_is_no_best():
    (result,) = compare(rows_of({("CoLA", LOW): [math.nan], ("CoLA", HIGH): [0.1]}), MEAN)
    assert result.chosen.setting == HIGH


def test_what_is_set_cannot_end_a_cell():
    text = markdown(compare(rows_of({("CoLA", (("label_delimiter", "|"),)): [0.5]}), MEAN), MEAN)
    assert "| label_delimiter=\\| | 0.5000 |" in text
