"""Keyword arguments as the flags of a command line, and messages in Python's words. No TensorFlow."""

import inspect
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import pytest

import albert
from albert.cli.fine_tuning import FINE_TUNING_PROGRAMS, parse_classifier_flags, parse_race_flags, parse_squad_flags
from albert.cli.flags import Flag
from albert.cli.keyword_types import FineTuningKeywords, Name, Table, Weights
from albert.cli.keywords import OWN_FILES, call_of
from albert.errors import UserError
from albert.settings.fields import GROUPS
from albert.tasks.base import Task
from albert.testing import SAMPLE_DATA, TESTDATA

TINY = SAMPLE_DATA / "albert_tiny"
GLUE = {"task_name": "MRPC", "data_dir": "d", "model_dir": TINY, "output_dir": "o"}
SQUAD = {"task_name": "squad2.0", "model_dir": TINY, "output_dir": "o"}
MODEL = [f"--model_dir={TINY}", "--output_dir=o"]


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("text,label\n" + "".join(f"row {i},{i % 2}\n" for i in range(40)))
    return path


def _flags() -> dict[str, list[Flag]]:
    """Every flag, as each program has it."""
    found: dict[str, list[Flag]] = {}
    for program in FINE_TUNING_PROGRAMS:
        for flag in program.flags:
            found.setdefault(flag.name, []).append(flag)
    return found


def _hint(flag: Flag) -> object:
    """The type of a keyword whose flag this is."""
    if flag.choices:
        return Literal[flag.choices] | None
    others = {Path: Name, tuple: str | Sequence[int]}
    of_names = {"text_column_names": str | Sequence[str], "task_name": str | Task, "class_weights": Weights}
    of_names |= dict.fromkeys(OWN_FILES, Table)
    return of_names.get(flag.name, others.get(flag.kind, flag.kind)) | None


# What there is -------------------------------------------------------------------------------------------------------


def test_a_positional_value_is_answered_with_keywords():
    with pytest.raises(TypeError, match=r"keywords alone, not fine_tune\('t\.csv', list\): .* such as train_file="):
        albert.fine_tune("t.csv", [])


def test_the_keywords_that_editors_know_are_the_flags_with_their_types():
    expected = {name: _hint(flags[0]) for name, flags in _flags().items()}
    assert get_type_hints(FineTuningKeywords) == expected
    for name, flags in _flags().items():
        assert {_hint(flag) for flag in flags} == {expected[name]}, name


def test_a_notebook_shows_every_keyword_and_what_it_means():
    signature = inspect.signature(albert.fine_tune)
    assert signature.parameters.keys() == _flags().keys() | {"on_log"}
    listed = [line.strip().partition(":")[0] for line in albert.fine_tune.__doc__.splitlines() if line[:6].isspace()]
    assert set(listed) >= {*_flags()}
    assert {f"{group}:" for group in GROUPS if f"\n    {group}:\n" in albert.fine_tune.__doc__} == {
        f"{flag.group}:" for flags in _flags().values() for flag in flags
    }
    assert "--" not in albert.fine_tune.__doc__


def test_the_package_offers_its_two_functions():
    assert {"fine_tune", "load"} <= {*dir(albert)}
    assert albert.__all__ == ["fine_tune", "load"]
    with pytest.raises(AttributeError, match="module 'albert' has no attribute 'finetune'"):
        albert.finetune  # noqa: B018


def test_asking_for_the_function_imports_no_tensorflow():
    code = "import albert, sys; albert.fine_tune; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


# The same as on the command line -------------------------------------------------------------------------------------


def _arguments(**keywords: Any) -> list[str]:
    return sorted(call_of(keywords).arguments)


def test_values_are_written_as_the_command_line_reads_them():
    given = {
        "learning_rate": np.float64(2e-5), "seed": np.int64(7), "keep_accents": np.bool_(True), "use_xla": None,
        "profile_steps": (10, 20), "do_lower_case": False, "cached_dir": Path("c d"), "train_step": 50,
    }  # fmt: skip
    task, settings = call_of({**GLUE, **given}).parse()
    assert task.name == "mrpc"
    assert (settings.train.learning_rate, settings.train.seed, settings.train.train_steps) == (2e-5, 7, 50)
    assert (settings.data.keep_accents, settings.data.do_lower_case, settings.speed.use_xla) == (True, False, None)
    assert (settings.speed.profile_steps, settings.data.cached_dir) == ((10, 20), Path("c d"))
    others = call_of({**GLUE, "weight_decay": 0, "max_grad_norm": 0.5, "lr_scheduler_type": "cosine"}).parse()[1].train
    assert (others.weight_decay, others.max_grad_norm, others.lr_scheduler_type) == (0.0, 0.5, "cosine")
    assert "--train_batch_size=0.1" in _arguments(**GLUE, train_batch_size=0.1)


def test_a_number_arrives_as_it_is():
    for rate in (0.1 + 0.2, 1e-5, 3e-4):
        assert call_of({**GLUE, "learning_rate": rate}).parse()[1].train.learning_rate == rate


def test_a_call_is_the_command_line_that_its_program_would_get(table):
    own = call_of({"train_file": table, "text_column_names": ["text"], "model_dir": TINY, "output_dir": "o"})
    flags = [f"--train_file={table}", "--text_column_names=text", "--recipe", "--do_train", "--do_eval"]
    assert own.parse() == parse_classifier_flags(["program", *MODEL, *flags])
    assert own.argv[0] == "albert.run_multigpus_classifier"
    glue = ["program", *MODEL, "--data_dir=d", "--task_name=MRPC", "--do_train", "--do_eval"]
    assert call_of(GLUE).parse() == parse_classifier_flags([*glue, "--recipe"])
    assert call_of({**GLUE, "recipe": False}).parse() == parse_classifier_flags(glue)
    squad = ["program", *MODEL, "--recipe", "--do_train", "--do_predict", "--train_file=t", "--predict_file=p"]
    for name, version in (("squad", "1.1"), ("SQuAD-v2.0", "2.0")):
        found = call_of({**SQUAD, "task_name": name, "train_file": "t", "predict_file": "p"}).parse()
        assert found == parse_squad_flags(squad, version)
    race = {"task_name": "RACE", "data_dir": TESTDATA / "race", "model_dir": TINY, "output_dir": "o"}
    expected = parse_race_flags(["program", *MODEL, f"--data_dir={TESTDATA / 'race'}", "--recipe"])
    assert call_of(race).parse() == expected


@pytest.mark.parametrize(
    ("keywords", "done"),
    [
        ({"task_name": "MRPC"}, "train eval"),
        ({"task_name": "MRPC", "do_predict": True}, "train eval predict"),
        ({"task_name": "MRPC", "do_train": False}, "eval"),
        ({"task_name": "ax"}, "predict"),  # the diagnostic set: nothing to train on, and no recipe
        ({"train_file": "t.csv"}, "train eval"),
        ({"train_file": "t.csv", "test_file": "u.csv"}, "train eval predict"),
        ({"train_file": "t.csv", "test_file": "u.csv", "do_predict": False}, "train eval"),
        ({"validation_file": "v.csv"}, "eval"),
        ({"test_file": "u.csv"}, "predict"),
        ({"task_name": "squad", "train_file": "t"}, "train"),
        ({"task_name": "squad", "predict_file": "p"}, "eval"),
        ({"task_name": "squad", "predict_file": "p", "do_predict": False}, ""),
        ({"task_name": "race"}, "train eval"),
        ({}, "train eval"),
    ],
)
def test_what_is_done_follows_from_what_there_is(keywords, done):
    arguments = _arguments(**keywords)
    assert [name for name in ("train", "eval", "predict") if f"--do_{name}=true" in arguments] == done.split()
    assert ("--recipe=true" in arguments) == (keywords.get("task_name") != "ax")


def test_none_is_a_keyword_that_is_not_given():
    assert _arguments(**GLUE, do_eval=None, seed=None, recipe=None) == _arguments(**GLUE)


# What is wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({**GLUE, "lr": 1e-5}, r"unknown keyword lr: did you mean learning_rate\? \(help\(albert.fine_tune\) lists"),
        ({**GLUE, "epochs": 3}, r"unknown keyword epochs: did you mean num_train_epochs\?"),
        ({**GLUE, "fp16": True}, r"unknown keyword fp16: did you mean dtype='bfloat16'\?"),
        ({**GLUE, "max_seq_lenght": 9}, r"unknown keyword max_seq_lenght: did you mean max_seq_length"),
        ({**GLUE, "learning-rate": 9}, "unknown keyword learning-rate"),
        ({**GLUE, "help": True}, "^unknown keyword help "),
        ({**GLUE, "callbacks": [print]}, r"^unknown keyword callbacks: did you mean on_log\?"),
        ({**GLUE, "train_dataset": []}, r"^unknown keyword train_dataset: did you mean train_file\?"),
        ({**GLUE, "on_log": True}, "^on_log must be a function of one dictionary, not bool$"),
        ({**GLUE, "flagfile": "x"}, "^unknown keyword flagfile "),
        ({**GLUE, "nodo_eval": True}, "^unknown keyword nodo_eval: write do_eval=False$"),
        ({**GLUE, "train_batch_size": 0}, "^train_batch_size=0 must be at least 1$"),
        ({**GLUE, "seed": True}, "^seed=True must be a whole number, not True or False$"),
        ({**GLUE, "learning_rate": -1}, "^learning_rate=-1 must be above 0$"),
        ({**GLUE, "train_step": 8.5}, "^train_step=8.5 is not a whole number$"),
        ({**GLUE, "learning_rate": "fast"}, "^learning_rate='fast' is not a number$"),
        ({**GLUE, "learning_rate": [1e-5, 2e-5]}, r"^learning_rate=\[1e-05, 2e-05\] must be one value, not several$"),
        ({**GLUE, "cached_dir": {"a": 2}}, "^cached_dir must be a text or a path, not dict$"),
        ({"train_file": np.zeros([2, 2])}, "^train_file must be a text or a path, a DataFrame, .*, not ndarray$"),
        ({**GLUE, "epochs": {}}, r"^unknown keyword epochs: did you mean num_train_epochs\?"),
        ({**GLUE, "fp16": False}, r"^unknown keyword fp16: did you mean dtype='float32'\?"),
        ({**GLUE, "nosuch": None}, r"^unknown keyword nosuch \(help"),
        (
            {**GLUE, "lr": 3, "x\x1by": [], "seed": []},
            r"^unknown keyword lr: did you mean .*; unknown keyword x.x1by .*; seed=\[\] must",
        ),
        ({**GLUE, "cached_dir": "a\0"}, "holds a character with the number 0$"),
        ({**GLUE, "cached_dir": "\ud800"}, "holds half a character$"),
        ({**GLUE, "seed": 10**5000}, "is too long$"),
        (
            {},
            "^give train_file for your own data, or task_name; model_dir must be given: .*; output_dir must be given$",
        ),
        ({**SQUAD, "train_file": None}, "^give train_file, predict_file, or both$"),
        ({**GLUE, "dtype": "float16"}, "^dtype='float16' is unknown; known are float32, bfloat16, auto$"),
        ({**GLUE, "train_step": 9, "num_train_epochs": 3}, "^train_step and num_train_epochs exclude each other"),
        ({**GLUE, "task_name": "MRCP"}, "^task_name='MRCP' is not a task. Choose one of: cola, .*, squad2.0, race.$"),
        ({**GLUE, "doc_stride": 9}, "^doc_stride is for squad1.1 and squad2.0, not for GLUE and own data: leave it"),
        ({**SQUAD, "validation_file": "v"}, "^validation_file is for GLUE and own data, not for squad2.0: leave it"),
        ({**SQUAD, "do_train": True}, "^do_train needs train_file, in SQuAD's JSON format$"),
        ({**GLUE, "do_train": False, "do_eval": False}, "^nothing to do: add do_train, do_eval or do_predict$"),
        ({**GLUE, "model_dir": "no where"}, "^model_dir='no where' is not there"),
        ({**GLUE, "model_dir": None}, "^model_dir must be given: the folder of the model to begin with$"),
        ({**GLUE, "text_column_names": []}, "^text_column_names=.. is empty; give a value, or leave the keyword out$"),
        ({**GLUE, "text_column_names": ["a,b", "c"]}, "has a comma in a name, which would part it in two$"),
        ({**GLUE, "train_file": "t.csv"}, "^train_file takes the place of task_name and data_dir: leave these out$"),
        ({**GLUE, "seed": True, "dtype": []}, r"^seed=True .*; dtype=\[\] must be one value, not several$"),
    ],
)
def test_a_mistake_is_one_line_in_pythons_words(keywords, said):
    with pytest.raises(UserError, match=said) as raised:
        albert.fine_tune(**keywords)
    assert "\n" not in str(raised.value)
    assert "--" not in str(raised.value)
    assert raised.value.__context__ is None  # which would be a second traceback, and hold the run in memory


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("`per_replica_batch_size`=4 is much", "train_batch_size=4 is much"),
        ("`device`=cpu, or --device=gpu.", "device='cpu', or device='gpu'."),
        ("add `do_eval`; --keep_accents=false", "add do_eval; keep_accents=False"),
        ("`init_checkpoint`=x/y is read", "init_checkpoint='x/y' is read"),
        ("`output_dir`=o: the same command continues", "output_dir='o': the same call continues"),
        ("run python3 -m albert.predict --model_dir=o TEXT", "run python3 -m albert.predict --model_dir=o TEXT"),
        ("-- and --- are no flags", "-- and --- are no flags"),
    ],
)
def test_messages_of_a_run_name_keywords(text, said):
    assert call_of({**GLUE, "init_checkpoint": Path("x/y")}).worded(text) == said


def test_a_message_names_the_folder_where_nobody_named_what_is_in_it():
    call = call_of(GLUE)
    assert call.worded(f"`spm_model_file`={TINY}/7k.model is damaged") == f"{TINY}/7k.model is damaged"


def test_the_home_directory_may_be_written_as_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", os.fspath(SAMPLE_DATA))
    assert call_of({**GLUE, "model_dir": "~/albert_tiny"}).parse()[1].model.init_checkpoint == TINY
