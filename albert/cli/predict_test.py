"""The command that a run names at its end. Needs no TensorFlow."""

import logging
import shlex
import sys
import types
from pathlib import Path

import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.cli.predict import command_for, parse_predict_flags
from albert.cli.program import fine_tune
from albert.errors import UserError
from albert.runs import preflight
from albert.tasks.race import RaceTask
from albert.tasks.registry import get_task
from albert.tasks.squad.task import SquadTask

TINY = Path(__file__).parents[2] / "sample_data/albert_tiny"


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (get_task("CoLA"), ["TEXT"]),
        (get_task("MRPC"), ["TEXT", "SECOND_TEXT"]),
        (SquadTask(version="2.0"), ["--question=QUESTION", "--context_file=TEXT.txt"]),
        (RaceTask(), ["--input_file=QUESTIONS.json"]),
    ],
)
def test_the_command_is_one_of_the_program(tmp_path, monkeypatch, task, words):
    monkeypatch.chdir(tmp_path)
    for folder, named in ((tmp_path / "my run", "my run"), (Path("run"), "run"), (Path("/a/run"), "/a/run")):
        python, *arguments = shlex.split(command_for(task, folder))
        assert python == sys.executable
        assert arguments == ["-m", "albert.predict", f"--model_dir={named}", *words]
        assert parse_predict_flags(arguments[1:]).model_dir == Path(named)


@pytest.mark.parametrize(("flag", "count"), [("--do_train", 1), ("--do_eval", 0)])
def test_a_run_that_trained_names_it_once(monkeypatch, caplog, flag, count):
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "albert.runs.fine_tuning", types.SimpleNamespace(run=lambda *job: None))
    monkeypatch.setattr(preflight, "check_fine_tuning", lambda *job: None)  # there are no data
    flags = [flag, "--task_name=MRPC", "--data_dir=d", "--output_dir=/out", f"--model_dir={TINY}"]
    fine_tune(parse_classifier_flags(["program", *flags]))
    assert caplog.text.count("-m albert.predict --model_dir=/out TEXT SECOND_TEXT") == count


def test_only_the_chief_of_several_workers_names_it(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "albert.runs.fine_tuning", types.SimpleNamespace(run=lambda *job: None))
    monkeypatch.setattr(preflight, "check_fine_tuning", lambda *job: None)  # there are no data
    flags = ["--do_train", "--task_name=MRPC", "--data_dir=d", "--output_dir=/out", f"--model_dir={TINY}"]
    for index in (1, 0):
        cluster = f'{{"cluster": {{"worker": ["a:1", "b:1"]}}, "task": {{"type": "worker", "index": {index}}}}}'
        monkeypatch.setenv("TF_CONFIG", cluster)
        fine_tune(parse_classifier_flags(["program", *flags, "--strategy_type=multi_worker"]))
        assert ("albert.predict" in caplog.text) == (index == 0)


def test_a_text_that_is_no_truth_value_is_a_text_behind_a_boolean_flag():
    base = ["predict", "--model_dir=x"]
    assert parse_predict_flags([*base, "--pack_sequences", "no"]).texts == ("no",)
    with pytest.raises(UserError, match=r"^--pack_sequences false: .*--pack_sequences=false or --nopack_sequences$"):
        parse_predict_flags([*base, "--pack_sequences", "false"])
