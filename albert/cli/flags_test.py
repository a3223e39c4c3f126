"""The command lines as the predecessor had them, parsed strictly. Needs no TensorFlow."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from albert.cli.fine_tuning import FINE_TUNING_PROGRAMS, parse_classifier_flags, parse_race_flags, parse_squad_flags
from albert.cli.flags import HelpRequested, flag_names, help_text, parse
from albert.cli.pretraining import PRETRAINING_PROGRAMS
from albert.errors import UserError
from albert.settings import Settings
from albert.settings.fields import GROUPS
from albert.tasks.base import Task
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.registry import task_names

TINY = Path(__file__).parents[2] / "sample_data/albert_tiny"
MODEL = ["--output_dir=o", "--albert_config_file=c", "--spm_model_file=s"]
SQUAD_FILES = ["--train_file=t", "--predict_file=p"]

Job = tuple[Task | None, Settings]

# Program -> what parses its flags, and flags that it cannot do without.
PROGRAMS = {
    "run_multigpus_classifier": (
        parse_classifier_flags,
        [*MODEL, "--data_dir=d", "--task_name=MRPC"],
    ),
    "run_multigpus_squad_v1": (lambda argv: parse_squad_flags(argv, "1.1"), [*MODEL, *SQUAD_FILES]),
    "run_multigpus_squad_v2": (lambda argv: parse_squad_flags(argv, "2.0"), [*MODEL, *SQUAD_FILES]),
    "run_multigpus_race": (parse_race_flags, [*MODEL, "--data_dir=d"]),
}
CLASSIFIER, SQUAD_V1, SQUAD_V2, RACE = PROGRAMS
SQUAD = (SQUAD_V1, SQUAD_V2)

# Programs, flag, a value that is not any program's default, where it ends up in task or settings, and as what.
VALUES = (
    (PROGRAMS, "strategy_type", "one", "strategy_type", "one"),
    (PROGRAMS, "meeting_seconds", "20", "meeting_seconds", 20.0),
    (PROGRAMS, "stuck_seconds", "0", "stuck_seconds", 0.0),
    (PROGRAMS, "num_gpu_cores", "8", "num_replicas", 8),
    (PROGRAMS, "device", "cpu", "device", "cpu"),
    (PROGRAMS, "data_dir", "other", "data.data_dir", Path("other")),
    (PROGRAMS, "cached_dir", "other", "data.cached_dir", Path("other")),
    (PROGRAMS, "output_dir", "other", "output_dir", Path("other")),
    (PROGRAMS, "max_seq_length", "256", "data.max_seq_length", 256),
    (PROGRAMS, "train_batch_size", "2", "train.per_replica_batch_size", 2),
    (PROGRAMS, "eval_batch_size", "3", "per_replica_eval_batch_size", 3),
    (PROGRAMS, "predict_batch_size", "4", "per_replica_predict_batch_size", 4),
    (PROGRAMS, "learning_rate", "3e-4", "train.learning_rate", 3e-4),
    (PROGRAMS, "optimizer", "lamb", "train.optimizer", "lamb"),
    (PROGRAMS, "lr_scheduler_type", "cosine", "train.lr_scheduler_type", "cosine"),
    (PROGRAMS, "weight_decay", "0", "train.weight_decay", 0.0),
    (PROGRAMS, "max_grad_norm", "0", "train.max_grad_norm", 0.0),
    (PROGRAMS, "adam_beta1", "0.8", "train.adam_beta1", 0.8),
    (PROGRAMS, "adam_beta2", "0.98", "train.adam_beta2", 0.98),
    (PROGRAMS, "adam_epsilon", "1e-8", "train.adam_epsilon", 1e-8),
    (PROGRAMS, "albert_dropout_prob", "0.1", "model.albert_dropout_prob", 0.1),
    (PROGRAMS, "albert_config_file", "other", "model.albert_config_file", Path("other")),
    (PROGRAMS, "init_checkpoint", "m/model.ckpt-best", "model.init_checkpoint", Path("m/model.ckpt-best")),
    (PROGRAMS, "model_dir", str(TINY), "model.init_checkpoint", TINY),
    (PROGRAMS, "vocab_file", "v.txt", "data.vocab_file", Path("v.txt")),
    (PROGRAMS, "spm_model_file", "other", "data.spm_model_file", Path("other")),
    (PROGRAMS, "save_checkpoints_steps", "250", "train.save_checkpoints_steps", 250),
    (PROGRAMS, "keep_checkpoint_max", "0", "train.keep_checkpoint_max", 0),
    (PROGRAMS, "log_steps", "7", "train.log_steps", 7),
    (PROGRAMS, "skip_nonfinite_steps", "3", "train.skip_nonfinite_steps", 3),
    (PROGRAMS, "early_stopping_patience", "3", "train.early_stopping_patience", 3),
    ((CLASSIFIER,), "metric_for_best_model", "f1_macro", "objective.metric_for_best_model", "f1_macro"),
    ((CLASSIFIER,), "class_weights", "balanced", "objective.class_weights", "balanced"),
    ((CLASSIFIER,), "label_smoothing_factor", "0.1", "objective.label_smoothing_factor", 0.1),
    (PROGRAMS, "max_unknown_share", "0.5", "data.max_unknown_share", 0.5),
    (PROGRAMS, "seed", "-1", "train.seed", -1),
    (PROGRAMS, "dtype", "bfloat16", "model.dtype", "bfloat16"),
    (PROGRAMS, "gradient_accumulation_steps", "4", "train.gradient_accumulation_steps", 4),
    (PROGRAMS, "compilation_cache", "compiled", "speed.compilation_cache", Path("compiled")),
    (PROGRAMS, "profile_steps", "10,20", "speed.profile_steps", (10, 20)),
    ((CLASSIFIER,), "task_name", "RTE", "data.task_name", "RTE"),
    ((CLASSIFIER, RACE), "train_step", "5336", "train.train_steps", 5336),
    ((CLASSIFIER, RACE), "warmup_step", "320", "train.warmup_steps", 320),
    (SQUAD, "train_file", "d/t.json", "task.train_file", Path("d/t.json")),
    (SQUAD, "predict_file", "d/p.json", "task.predict_file", Path("d/p.json")),
    ((CLASSIFIER, *SQUAD), "num_train_epochs", "0.5", "train.num_train_epochs", 0.5),
    ((CLASSIFIER, *SQUAD), "warmup_proportion", "0.25", "train.warmup_proportion", 0.25),
    (SQUAD, "train_feature_file", "f", "data.feature_files", {"train": Path("f")}),
    (SQUAD, "predict_feature_file", "f", "data.feature_files", {"dev": Path("f")}),
    (SQUAD, "predict_feature_left_file", "f", "data.left_file", Path("f")),
    (SQUAD, "doc_stride", "32", "task.doc_stride", 32),
    (SQUAD, "max_query_length", "16", "task.max_query_length", 16),
    (SQUAD, "n_best_size", "3", "task.n_best_size", 3),
    (SQUAD, "max_answer_length", "10", "task.max_answer_length", 10),
    (SQUAD, "score_language", "zh", "task.score_language", "zh"),
    ((SQUAD_V2,), "start_n_top", "2", "task.start_n_top", 2),
    ((SQUAD_V2,), "end_n_top", "3", "task.end_n_top", 3),
    ((SQUAD_V2,), "null_score_diff_threshold", "-1.5", "task.null_score_diff_threshold", -1.5),
    ((SQUAD_V2, RACE), "dropout_prob", "0.2", "task.dropout_prob", 0.2),
    ((RACE,), "max_qa_length", "32", "task.max_qa_length", 32),
    ((RACE,), "train_feature_file", "f", "data.feature_files", {"train": Path("f")}),
    ((RACE,), "eval_feature_file", "f", "data.feature_files", {"dev": Path("f")}),
    ((RACE,), "predict_file", "f", "data.feature_files", {"test": Path("f")}),
    ((RACE,), "num_keep_checkpoint", "0", "train.keep_checkpoint_max", 0),
)
BOOLEANS = (
    (PROGRAMS, "do_train", "do_train"),
    ((CLASSIFIER, RACE), "do_eval", "do_eval"),
    ((CLASSIFIER, RACE), "do_predict", "do_predict"),
    (PROGRAMS, "do_lower_case", "data.do_lower_case"),
    (PROGRAMS, "keep_accents", "data.keep_accents"),
    (PROGRAMS, "discard_classifier_weights", "model.discard_classifier_weights"),
    (PROGRAMS, "overwrite_output_dir", "overwrite_output_dir"),
    (PROGRAMS, "pack_sequences", "speed.pack_sequences"),
    (PROGRAMS, "use_xla", "speed.use_xla"),
    (PROGRAMS, "recompute_activations", "speed.recompute_activations"),
    (PROGRAMS, "deterministic", "speed.deterministic"),
    ((SQUAD_V2,), "original_thresholds", "task.original_thresholds"),
    ((RACE,), "high_only", "task.high_only"),
    ((RACE,), "middle_only", "task.middle_only"),
)
# Tested in own_data_test.py.
OWN_DATA = {field.name for field in dataclasses.fields(OwnDataSettings)}
# Tested below, each by itself.
OTHERS = {
    CLASSIFIER: {"recipe", "early_stopping_threshold", *OWN_DATA},
    SQUAD_V1: {"recipe", "do_eval", "do_predict", "early_stopping_threshold"},
    SQUAD_V2: {"recipe", "do_eval", "do_predict", "early_stopping_threshold"},
    RACE: {"recipe", "task_name", "early_stopping_threshold"},
}


def _flags_of(program: str) -> set[str]:
    return {flag for programs, flag, *_ in VALUES + BOOLEANS if program in programs} | OTHERS[program]


def _parse(program: str, *arguments: str) -> Job:
    parse, required = PROGRAMS[program]
    return parse(["program", *required, "--do_eval", *arguments])


def _classifier(*arguments: str) -> Settings:
    return _parse(CLASSIFIER, *arguments)[1]


def _at(job: Job, place: str) -> object:
    task, value = job
    if place.startswith("task."):
        return getattr(task, place.removeprefix("task."))
    for name in place.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(
    ("program", "flag", "text", "place", "value"),
    [(program, *row) for programs, *row in VALUES for program in programs],
)
def test_a_flag_takes_its_value_after_an_equals_sign_or_a_space(program, flag, text, place, value):
    assert _at(_parse(program, f"--{flag}={text}"), place) == value
    assert _at(_parse(program, f"--{flag}", text), place) == value
    assert _at(_parse(program), place) != value


@pytest.mark.parametrize(
    ("program", "flag", "place"), [(program, *row) for programs, *row in BOOLEANS for program in programs]
)
def test_a_boolean_is_set_by_its_name_and_cleared_by_no(program, flag, place):
    for argument, expected in (("{}", True), ("no{}", False), ("{}=true", True), ("{}=False", False), ("{}=1", True)):
        job = _parse(program, "--do_train", "--do_predict", f"--{argument.format(flag)}")
        assert _at(job, place) is expected, argument


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_is_tested_here(program):
    names = flag_names(FINE_TUNING_PROGRAMS)[program]
    booleans = {name for name in names if f"no{name}" in names}
    negations = {f"no{name}" for name in booleans}
    assert names - negations - {"help", "h", "flagfile", "undefok"} == _flags_of(program)
    assert {"nodo_train", "nohelp"} <= names
    assert flag_names(FINE_TUNING_PROGRAMS).keys() == PROGRAMS.keys()


def test_the_last_of_two_values_counts():
    # The run scripts rely on it: flags after their own replace them.
    assert _classifier("--seed=1", "--seed=2").train.seed == 2
    assert _parse(RACE, "--num_keep_checkpoint=1", "--keep_checkpoint_max=2")[1].train.keep_checkpoint_max == 2


def test_the_home_directory_may_be_written_as_a_tilde():
    assert _classifier("--data_dir=~/glue_data").data.data_dir == Path.home() / "glue_data"
    assert _parse(SQUAD_V1, "--train_file=~/t.json")[0].train_file == Path.home() / "t.json"
    with pytest.raises(UserError, match=r"--data_dir=~no-such-user/x begins with ~no-such-user, but that home folder"):
        _classifier("--data_dir=~no-such-user/x")


# Defaults, as the predecessor's programs had them ---------------------------------------------------------------------


def test_what_is_not_given_has_the_default_that_the_help_promises():
    settings = _classifier()
    assert settings.data.cached_dir == Path("cached_albert_tfrecord")
    assert (settings.train.train_steps, settings.train.warmup_steps, settings.train.optimizer) == (1000, 0, "adamw")
    assert settings.model.albert_dropout_prob is None  # the configuration file's rates
    assert (settings.num_replicas, settings.strategy_type, settings.device) == (1, "mirror", "auto")
    assert settings.data.feature_files == {}


@pytest.mark.parametrize("program", SQUAD)
def test_defaults_of_squad(program):
    task, settings = _parse(program)
    assert f"run_multigpus_squad_v{task.version[0]}" == program
    assert (settings.data.task_name, settings.data.data_dir, settings.data.max_seq_length) == (task.name, Path(), 384)
    assert (settings.train.train_steps, settings.train.num_train_epochs) == (None, 3.0)
    assert (settings.train.warmup_steps, settings.train.warmup_proportion) == (0, 0.1)
    assert (settings.train.learning_rate, settings.train.save_checkpoints_steps) == (5e-5, 1000)
    assert (task.doc_stride, task.max_query_length, task.n_best_size, task.max_answer_length) == (128, 64, 20, 30)
    assert (task.start_n_top, task.end_n_top, task.dropout_prob) == (5, 5, 0.1)
    assert (task.null_score_diff_threshold, task.original_thresholds) == (None, False)
    assert (settings.data.feature_files, settings.data.left_file) == ({}, None)
    assert settings.do_train is False


def test_defaults_of_race():
    task, settings = PROGRAMS[RACE][0](["program", *PROGRAMS[RACE][1]])
    assert (settings.do_train, settings.do_eval, settings.do_predict) == (True, True, False)
    assert (settings.data.task_name, settings.data.max_seq_length, settings.data.feature_files) == ("race", 512, {})
    assert (settings.train.train_steps, settings.train.warmup_steps, settings.train.learning_rate) == (
        12000,
        1000,
        1e-5,
    )
    assert (settings.train.save_checkpoints_steps, settings.train.num_train_epochs) == (100, None)
    assert (task.max_qa_length, task.dropout_prob, task.levels) == (128, 0.1, ("middle", "high"))


# What is particular to SQuAD and RACE ---------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["do_eval", "do_predict"])
def test_to_predict_squad_is_to_evaluate_it(flag):
    for value in (True, False):
        argv = ["program", *PROGRAMS[SQUAD_V2][1], "--do_train", f"--{flag}={value}"]
        _, settings = parse_squad_flags(argv, "2.0")
        assert (settings.do_eval, settings.do_predict) == (value, value)


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["--do_train", "--predict_file=p"], "--do_train needs --train_file"),
        (["--do_predict", "--train_file=t"], "--do_predict needs --predict_file"),
        (["--do_train", "--predict_file=p", "--train_file="], "--do_train needs --train_file"),
    ],
)
def test_squad_needs_the_files_it_reads_and_no_others(arguments, missing):
    with pytest.raises(UserError, match=missing) as raised:
        parse_squad_flags(["program", *MODEL, *arguments], "1.1")
    assert ";" not in str(raised.value)
    needed = missing.split("--")[-1]
    parse_squad_flags(["program", *MODEL, *arguments, f"--{needed}=x"], "1.1")


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("doc_stride", 0, "--doc_stride=0 must be at least 1"),
        ("n_best_size", 0, "--n_best_size=0 must be at least 1"),
        ("max_answer_length", -1, "--max_answer_length=-1 must be at least 1"),
        ("start_n_top", 0, "--start_n_top=0 must be at least 1"),
        ("end_n_top", 0, "--end_n_top=0 must be at least 1"),
        ("dropout_prob", 1, r"--dropout_prob=1.0 must be in \[0, 1\)"),
        ("max_query_length", 381, "--max_seq_length=384 leaves no room"),
        ("num_train_epochs", 0, "--num_train_epochs=0.0 must be above 0"),
        ("warmup_proportion", 1.5, r"--warmup_proportion=1.5 must be in \[0, 1\]"),
    ],
)
def test_numbers_that_squad_cannot_work_with_are_named(flag, value, message):
    with pytest.raises(UserError, match=message) as raised:
        _parse(SQUAD_V2, f"--{flag}={value}")
    assert "; --" not in str(raised.value)


def test_squads_problems_are_reported_together():
    with pytest.raises(UserError) as raised:
        parse_squad_flags(["program", "--do_train", "--doc_stride=0", "--train_batch_size=0"], "2.0")
    for part in (
        "--output_dir, --albert_config_file must be given",
        "--spm_model_file",
        "--train_batch_size=0 must be at least 1",
        "--doc_stride=0 must be at least 1",
        "--do_train needs --train_file",
    ):
        assert part in str(raised.value)


def test_races_problems_are_reported_together():
    with pytest.raises(UserError) as raised:
        parse_race_flags(["program", "--high_only", "--middle_only", "--max_qa_length=0", "--task_name=mrpc"])
    for part in (
        "--data_dir, --output_dir, --albert_config_file must be given",
        "--high_only and --middle_only exclude each other",
        "--max_qa_length=0 must be at least 1",
        "--task_name=mrpc is not race, the only task of this program; albert.run_multigpus_classifier has",
    ):
        assert part in str(raised.value)


def test_race_may_be_named_in_capitals():
    assert _parse(RACE, "--task_name=RACE")[1].data.task_name == "race"


@pytest.mark.parametrize(
    ("program", "argument"),
    [
        (CLASSIFIER, "--predict_file=t"),
        (RACE, "--class_weights=balanced"),
        (SQUAD_V1, "--start_n_top=5"),
        (SQUAD_V1, "--dropout_prob=0.1"),
        (SQUAD_V2, "--train_step=5"),
        (SQUAD_V2, "--task_name=squad"),
        (SQUAD_V2, "--max_qa_length=5"),
        (RACE, "--num_train_epochs=3"),
        (RACE, "--doc_stride=128"),
    ],
)
def test_a_flag_of_another_program_stops_this_one(program, argument):
    with pytest.raises(UserError, match=argument[2:].split("=")[0]):
        _parse(program, argument)


# Mistakes and help ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--trian_step=5", "trian_step"),
        ("--notrain_step", "notrain_step"),
        ("--train_ste=5", "train_ste"),
        ("--train_step=many", "train_step.*many"),
        ("--train_step=1.5", r"train_step.*1\.5"),
        ("--learning_rate=fast", "learning_rate.*fast"),
        ("--do_train=maybe", "do_train.*maybe"),
        ("--optimizer=sgd", "optimizer.*sgd.*adamw.*lamb"),
        ("--dtype=float16", "dtype.*float16.*float32.*bfloat16"),
        ("--profile_steps=10", "--profile_steps=10 must be two step numbers, as 10,20"),
        ("--profile_steps=a,b", "--profile_steps=a,b must be two step numbers"),
        (f"--profile_steps=0,{2**64}", f"--profile_steps=0,{2**64} must be two step numbers"),
        ("--" + "x" * 5000, r"unknown flag --x{100}\.\.\. \(--help lists all\)"),
        ("--seed=" + "9" * 5000, "--seed=9{200}"),
        ("--seed=" + "a b " * 5000, "--seed=(a b ){50}... is not a whole number"),
        ("--optimizer=" + "x" * 5000, "optimizer=x+... "),
        ("x" * 5000, "unexpected argument 'x+..."),
        ("--nodo_train=1", "--nodo_train=1 does not take an argument"),
        ("--nodo_train=", "--nodo_train= does not take an argument"),
        ("--flagfile=/", "/"),
        ("--strategy_type=tpu", "strategy_type.*tpu.*one.*mirror"),
        ("--seed", "seed"),
        ("word", "unexpected argument 'word'"),
        ("--flagfile=/nowhere/flags", "/nowhere/flags"),
        (
            "--model_dir=" + "x" * 256,
            r"^--model_dir=x{200}\.\.\. is too long: a name has at most 255 bytes, a path 4095",
        ),
        ("--train_file=" + "\u00e9" * 128, "--train_file=\u00e9{128} is too long: a name"),
        ("--cached_dir=" + "x/" * 2049, "--cached_dir=(x/){100}... is too long: a name"),
        ("--output_dir=caf\udce9", "--output_dir=caf.* is not UTF-8; set the terminal to it"),
        ("--label_delimiter=\udce9", "--label_delimiter=.* is not UTF-8"),
    ],
)
def test_what_cannot_be_parsed_is_named_in_one_line(argument, message):
    with pytest.raises(UserError, match=message) as raised:
        _classifier(argument)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("word", "fix"),
    [
        ("true", "--do_eval=true or --do_eval"),
        ("FALSE", "--do_eval=false or --nodo_eval"),
        ("1", "--do_eval=true or --do_eval"),
        ("no", "--do_eval=false or --nodo_eval"),
    ],
)
def test_a_value_behind_a_boolean_flag_is_told_how_to_be_written_and_nothing_runs(program, word, fix):
    said = f"--do_eval {word}: a boolean flag has its value behind =. Write {fix}"
    for others in ([], ["--output_dir=x"]):
        with pytest.raises(UserError) as raised:
            PROGRAMS[program][0](["program", "--do_eval", word, *others])
        assert str(raised.value) == said


def test_all_values_behind_boolean_flags_are_told_at_once():
    with pytest.raises(UserError, match=r"^--do_train False: .*--nodo_train; -do_eval true: .*--do_eval=true"):
        _classifier("--do_train", "False", "-do_eval", "true")


def test_all_problems_are_reported_together():
    with pytest.raises(UserError) as raised:
        parse_classifier_flags(
            ["program", "--task_name=foo", "--train_step=0", "--learning_rate=nan", "--seed=x", "--optimizer=sgd"]
        )
    assert str(raised.value).count("train_step") == 1
    for part in (
        "--task_name=foo is not a task. Choose one of: cola, ",
        "--seed=x is not a whole number",
        "--optimizer=sgd is unknown; known are adamw, lamb",
        "--data_dir, --output_dir, --albert_config_file must be given",
        "nothing to do: add --do_train, --do_eval or --do_predict",
        "--spm_model_file",
        "--train_step=0 must be at least 1",
        "--learning_rate=nan must be above 0",
    ):
        assert part in str(raised.value)


NUMBERS = [
    (program.module, flag)
    for program in (*FINE_TUNING_PROGRAMS, *PRETRAINING_PROGRAMS)
    for flag in program.flags
    if flag.kind in (int, float)
]
BY_MODULE = {program.module: program for program in (*FINE_TUNING_PROGRAMS, *PRETRAINING_PROGRAMS)}


@pytest.mark.parametrize(("module", "flag"), [pytest.param(*row, id=f"{row[0]}-{row[1].name}") for row in NUMBERS])
def test_every_number_has_bounds(module, flag):
    program = BY_MODULE[module]

    def problem(text: str) -> str:
        found = [line for line in parse(program, ["program", f"--{flag.name}={text}"]).problems if flag.name in line]
        return " ".join(found).removeprefix(f"--{flag.name}=")

    if flag.name == "masked_lm_budget":  # only 0 is allowed, see pretraining_test
        return
    assert problem("") == " is empty; give a value, or leave the flag out"
    if flag.kind is float:
        for text in ("nan", "inf", "-inf", "1e39", "-1e39"):
            assert "must be" in problem(text), text
        assert problem("x") == "x is not a number"
    else:
        assert "must be" in problem("99999999999999999999")
        assert "must be" in problem("-99999999999999999999")
        assert problem("1.5") == "1.5 is not a whole number"
        assert problem("1" * 5000).endswith("is not a whole number")  # more digits than Python reads


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("flag", ["cached_dir", "profile_steps", "train_batch_size", "dtype"])
def test_an_empty_value_is_refused(program, flag):
    for arguments in ([f"--{flag}="], [f"--{flag}", ""]):
        with pytest.raises(UserError, match=rf"^--{flag}= is empty; give a value, or leave the flag out$"):
            _parse(program, *arguments)
    with pytest.raises(UserError, match=r"^--do_train= is neither true nor false$"):
        _parse(program, "--do_train=")
    with pytest.raises(UserError, match=r"^--output_dir must be given"):
        _parse(program, "--output_dir", "")


def test_an_empty_path_is_a_missing_one():
    # As a script passes it when a variable is empty.
    assert _classifier("--init_checkpoint=").model.init_checkpoint is None
    for program in PROGRAMS:
        with pytest.raises(UserError, match="--data_dir must be given"):
            _parse(program, "--data_dir=")


@pytest.mark.parametrize("spelling", ["--help", "-h", "-help", "help"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_lists_every_flag_of_the_program_whatever_else_is_missing(program, spelling):
    with pytest.raises(HelpRequested) as raised:
        PROGRAMS[program][0](["program", spelling])
    text = str(raised.value)
    assert f"python3 -m albert.{program} " in text
    for flag in set().union(*map(_flags_of, PROGRAMS)):
        is_listed = f" --{flag}:" in text or f"--[no]{flag}:" in text
        assert is_listed == (flag in _flags_of(program)), flag


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_has_required_flags_first_then_groups_and_an_example_that_works(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("pretrained_model/albert_base_v2")  # as a download leaves it
    folder.mkdir(parents=True)
    for name in ("albert_config.json", "30k-clean.model"):
        (folder / name).touch()
    text = help_text(BY_MODULE[program])
    headings = ["Required:", *(f"{group}:" for group in GROUPS), "Example:"]
    there = [line for line in text.splitlines() if line in headings]
    assert there == [heading for heading in headings if heading not in ("Masks:", "Limits:")]
    required = text.split("Required:")[1].split("What to do:")[0]
    listed = re.findall(r"^  --(\w+):", required, re.M)
    flags = {flag.name: flag for flag in BY_MODULE[program].flags}
    assert sorted(listed) == sorted(name for name in BY_MODULE[program].required if flags[name].default is None)
    assert len(re.findall(r"^  --(?:\[no\])?(\w+):", text, re.M)) >= len(flags)  # what has a default is in its group
    assert "`" not in text
    assert max(map(len, text.splitlines())) <= 120
    _, settings = PROGRAMS[program][0](["program", *shlex.split(" ".join(BY_MODULE[program].example))])
    assert settings.problems() == []


def test_help_lists_the_tasks():
    text = help_text(BY_MODULE[CLASSIFIER])
    assert all(f" {name}" in text.split("Tasks (--task_name):")[1] for name in task_names())


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_neither_imports_tensorflow_nor_minds_a_reader_that_stops(program):
    code = (
        f"import sys; from albert.{program} import cli; code = cli(['program', '--help']); "
        "sys.exit(99 if 'tensorflow' in sys.modules else code)"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False, cwd=root)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (0, b"")
