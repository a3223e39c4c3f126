"""What a function of the caller hears of a training, and how what it raises is passed on."""

import contextlib
import os
import types
from pathlib import Path

import pytest

from albert.cli.on_log import OnLog
from albert.system.signals import AskedToStop


def _records(*steps: int) -> list:
    return [
        types.SimpleNamespace(step=step, loss=1 / step, gradient_norm=2.0, learning_rate=1e-3 * step, speed=None)
        for step in steps
    ]


def _evaluation(step: int) -> types.SimpleNamespace:
    return types.SimpleNamespace(step=step, metrics={"accuracy": 0.5, "global_step": step, "eval_loss": 2})


@pytest.mark.parametrize("calls", [[range(1, 6)], [[1], [2], [3, 4], [5]]])
def test_the_same_steps_are_told_however_many_are_made_at_a_time(calls):
    told: list[dict[str, float]] = []
    observer = OnLog(told.append, 2)
    observer.on_start(0)
    for steps in calls:
        observer.on_steps(_records(*steps))
    assert told == [
        {"step": 2, "loss": 0.5, "gradient_norm": 2.0, "learning_rate": 2e-3},
        {"step": 4, "loss": 0.25, "gradient_norm": 2.0, "learning_rate": 4e-3},
    ]


def test_an_evaluation_is_told_with_its_metrics():
    told: list[dict[str, float]] = []
    OnLog(told.append, 100).on_evaluation(_evaluation(7))
    assert told == [{"step": 7, "accuracy": 0.5, "eval_loss": 2.0}]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_it_raises_asks_to_stop(kind):
    raised = kind("enough")

    def function(_values: dict[str, float]) -> None:
        raise raised

    observer = OnLog(function, 1)
    for tell in (lambda: observer.on_steps(_records(1)), lambda: observer.on_evaluation(_evaluation(1))):
        with pytest.raises(AskedToStop) as found:
            tell()
        assert found.value.__cause__ is raised


@pytest.mark.parametrize("raises", [False, True])
def test_a_working_directory_that_it_changes_is_put_back(tmp_path, monkeypatch, raises):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    seen = []

    def function(_values: dict[str, float]) -> None:
        os.chdir(tmp_path)
        (tmp_path / "here").rename(tmp_path / "moved")
        seen.append(Path.cwd())
        if raises:
            raise ValueError

    with contextlib.suppress(AskedToStop):
        OnLog(function, 1).on_steps(_records(1))
    assert (seen, Path.cwd()) == ([tmp_path], tmp_path / "moved")
