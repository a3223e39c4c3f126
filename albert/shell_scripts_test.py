"""The shell scripts, run in a copy of the checkout where set-up does nothing and Python only notes how it is called."""

import contextlib
import fcntl
import functools
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from albert.cli import fine_tuning
from albert.cli.sweep import parse_sweep_flags
from albert.settings import Settings
from albert.tasks.recipes import MODEL_SIZES

ROOT = Path(__file__).parent.parent
FINE_TUNING_SCRIPTS = sorted(path.name for path in ROOT.glob("multi_run_albert_*.sh"))
OWN = "multi_run_albert_own.sh"
GLUE = "multi_run_albert_glue.sh"
SWEEPING_SCRIPTS = (GLUE, OWN)

# What it says of the package's own code is true: the recipe of a run is read from there.
STUB_PYTHON = f"""#!/usr/bin/env bash
if [[ $1 == */scripts/*.py ]]; then exec {shlex.quote(sys.executable)} "$@"; fi
"""
STUB_PYTHON += """printf '%s' "$PYTHONPATH" >"$STUB_CALL.path"
printf '%s' "$ALBERT_FLAG_VARIABLES" >"$STUB_CALL.variables"
printf '%s\\n' "$@" >"$STUB_CALL"
echo "stub output"
for argument in "$@"; do
  if [[ $argument == --output_dir=* && ${STUB_EXIT_CODE:-0} != 2 ]]; then
    mkdir -p -- "${argument#*=}"
    echo "eval_accuracy = 0.95" >"${argument#*=}/eval_results.txt"
  fi
done
exit "${STUB_EXIT_CODE:-0}"
"""


PARSERS = {
    "run_multigpus_classifier": fine_tuning.parse_classifier_flags,
    "run_multigpus_squad_v1": functools.partial(fine_tuning.parse_squad_flags, version="1.1"),
    "run_multigpus_squad_v2": functools.partial(fine_tuning.parse_squad_flags, version="2.0"),
    "run_multigpus_race": fine_tuning.parse_race_flags,
}


def write_executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Checkout:
    """A copy of the scripts in a folder with a space in its name, with data and a model to find."""

    def __init__(self, folder: Path):
        self.root = folder / "check out"
        self.bin = folder / "bin"
        self.call_file = folder / "call"
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        for name in (*FINE_TUNING_SCRIPTS, "demo_albert", "run_tests"):
            shutil.copy(ROOT / name, self.root / name)
        (self.root / "albert").symlink_to(ROOT / "albert")
        write_executable(self.root / ".venv" / "bin" / "python", STUB_PYTHON)
        write_executable(self.root / "scripts" / "setup.sh", "#!/bin/sh\n")
        for task in ("CoLA", "MRPC", "MNLI", "QQP"):
            (self.root / "glue_data" / task).mkdir(parents=True)
        (self.root / "tickets.csv").write_text("text,label\na,x\nb,y\nc,x\nd,y\n")
        (self.root / "RACE").mkdir()
        (self.root / "SQuAD").mkdir()
        for name in ("train-v1.1", "dev-v1.1", "train-v2.0", "dev-v2.0"):
            (self.root / "SQuAD" / f"{name}.json").touch()
        self.model = self.root / "pretrained_model" / "albert_base_v2"
        self.model.mkdir(parents=True)
        for name in ("model.ckpt-best.index", "30k-clean.model"):
            (self.model / name).touch()
        self.set_hidden_size(MODEL_SIZES["base"])
        self.set_gpus(0)

    def set_hidden_size(self, hidden_size: int) -> None:
        config = json.loads((ROOT / "sample_data" / "albert_tiny" / "albert_config.json").read_text())
        (self.model / "albert_config.json").write_text(json.dumps({**config, "hidden_size": hidden_size}))

    def set_gpus(self, count: int) -> None:
        """Makes `nvidia-smi -L` list this many."""
        lines = "".join(f"echo 'GPU {index}: NVIDIA H200 (UUID: GPU-{index})'\n" for index in range(count))
        write_executable(self.bin / "nvidia-smi", f"#!/bin/sh\n{lines}")

    def run(
        self, script: str, *arguments: str, cwd: Path | None = None, command: Sequence[str] = (), **variables: str
    ) -> subprocess.CompletedProcess:
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "STUB_CALL": str(self.call_file),
            **({"TRAIN_FILE": str(self.root / "tickets.csv")} if script == OWN else {}),
            **variables,
        }
        return subprocess.run(
            [*(command or [self.root / script]), *arguments],
            cwd=cwd or self.root.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def call(self) -> tuple[str, list[str]]:
        """The program that the stub was called as last, after `-m albert.`, and its arguments."""
        module_flag, module, *arguments = self.call_file.read_text().splitlines()
        assert module_flag == "-m"
        return module.removeprefix("albert."), arguments

    def flags(self) -> dict[str, str]:
        return dict(argument.removeprefix("--").split("=", 1) for argument in self.call()[1] if "=" in argument)

    def variables(self) -> dict[str, str]:
        """The variable for each flag, as the program that was called is told."""
        pairs = Path(f"{self.call_file}.variables").read_text().split()
        return dict(pair.split("=") for pair in pairs)

    def settings(self) -> Settings:
        """What the program that was called makes of its arguments."""
        program, arguments = self.call()
        parsed = PARSERS[program]([program, *arguments])
        return parsed if isinstance(parsed, Settings) else parsed[1]


def said_in(log: Path) -> str:
    """What the log of one run has below the line that begins it."""
    begins, _, said = log.read_text().partition("\n")
    assert begins.startswith("=== ")
    return said


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


# What all fine-tuning scripts share -----------------------------------------------------------------------------------


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_shared_settings_can_be_overridden_in_every_script(checkout, tmp_path, script):
    settings = {
        "BS": ("train_batch_size", "5"),
        "EBS": ("eval_batch_size", "7"),
        "MSL": ("max_seq_length", "130"),
        "LR": ("learning_rate", "3e-4"),
        "ALBERT_DP": ("albert_dropout_prob", "0.2"),
        "SAVE": ("save_checkpoints_steps", "4"),
        "KEEP": ("keep_checkpoint_max", "3"),
        "SEED": ("seed", "11"),
        "DTYPE": ("dtype", "bfloat16"),
        "DEVICE": ("device", "cpu"),
        "OPTIMIZER": ("optimizer", "lamb"),
        "WEIGHT_DECAY": ("weight_decay", "0"),
        "STRATEGY": ("strategy_type", "one"),
        "ACCUM": ("gradient_accumulation_steps", "2"),
        "PACK": ("pack_sequences", "false"),
        "RECOMPUTE": ("recompute_activations", "true"),
        "DO_TRAIN": ("do_train", "false"),
        "CACHED_DIR": ("cached_dir", "a cache"),
        "OUTPUT_DIR": ("output_dir", str(tmp_path / "an output")),
    }
    values = {variable: value for variable, (_, value) in settings.items()}
    result = checkout.run(script, "--log_steps=2", NUM_GPUS="3", **values)
    assert result.returncode == 0, result.stderr
    flags = checkout.flags()
    assert {flag: flags[flag] for flag, _ in settings.values()} == dict(settings.values())
    assert (flags["predict_batch_size"], flags["log_steps"]) == ("7", "2")
    # STRATEGY=one is one replica on any number of GPUs.
    assert "examples/step" not in result.stdout  # nothing is trained
    assert said_in(tmp_path / "an output.log") == "stub output\n"


@pytest.mark.slow
@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
@pytest.mark.parametrize(
    # The launcher's flags, and GPUs of each worker.
    ("gpus", "variables", "expected", "num_gpus"),
    [
        (0, {"NUM_WORKERS": "2"}, ["--num_workers=2"], "1"),
        (0, {"NUM_WORKERS": "2", "DEVICE": "cpu"}, ["--num_workers=2"], "1"),
        (4, {"NUM_WORKERS": "3", "DEVICE": "cpu"}, ["--num_workers=3"], "1"),
        (8, {"NUM_WORKERS": "3"}, ["--num_workers=3", "--gpus_per_worker=2"], "2"),
        (8, {"NUM_WORKERS": "2", "NUM_GPUS": "1"}, ["--num_workers=2", "--gpus_per_worker=1"], "1"),
        (2, {"NUM_WORKERS": "2", "STRATEGY": "multi_worker"}, ["--num_workers=2", "--gpus_per_worker=1"], "1"),
    ],
)
def test_several_workers_are_started_by_the_launcher(checkout, script, gpus, variables, expected, num_gpus):
    checkout.set_gpus(gpus)
    result = checkout.run(script, "--log_steps=2", BS="5", **variables)
    assert result.returncode == 0, result.stderr
    replicas = int(variables["NUM_WORKERS"]) * int(num_gpus)
    assert f"5 examples/replica x {replicas} replicas = {5 * replicas} examples/step" in result.stdout
    program, arguments = checkout.call()
    assert program == "launch_workers"
    place = arguments.index("--")
    assert arguments[:place] == expected
    module, *flags = arguments[place + 1 :]
    assert module.removeprefix("albert.") in PARSERS
    assert {"--strategy_type=multi_worker", f"--num_gpu_cores={num_gpus}", "--log_steps=2"} <= set(flags)


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_more_workers_than_gpus_are_refused(checkout, script):
    checkout.set_gpus(2)
    result = checkout.run(script, NUM_WORKERS="3")
    _assert_one_line_of_error(checkout, result, ["NUM_WORKERS=3", "only 2 GPUs", "DEVICE=cpu"])


@pytest.mark.parametrize(("listed", "replicas"), [("", 1), ("pp", 1), ("p", 1), ("..", 3), (".pp.", 2), ("pp..", 2)])
def test_a_divided_gpu_is_no_whole_one(checkout, listed, replicas):
    """`listed`: what nvidia-smi lists behind a first GPU, GPUs as dots and parts of the one in front as p."""
    lines = {".": "GPU 1: NVIDIA A100 (UUID: GPU-1)", "p": "  MIG 3g.20gb     Device  0: (UUID: MIG-1)"}
    shown = "\n".join(lines[letter] for letter in f".{listed}")
    write_executable(checkout.bin / "nvidia-smi", f"#!/bin/sh\ncat <<END\n{shown}\nEND\n")
    assert checkout.run(OWN).returncode == 0
    assert checkout.flags()["num_gpu_cores"] == str(replicas)


@pytest.mark.slow
@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_one_worker_is_no_worker(checkout, script):
    calls = []
    for variables in ({}, {"NUM_WORKERS": "1"}, {"NUM_WORKERS": ""}):
        assert checkout.run(script, **variables).returncode == 0
        calls.append(checkout.call())
    assert calls[0][0] in PARSERS
    assert calls == calls[:1] * 3


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_defaults_of_what_is_shared(checkout, script):
    checkout.run(script)
    flags = checkout.flags()
    names = ("dtype", "pack_sequences", "recompute_activations", "num_gpu_cores")
    assert [flags[name] for name in names] == ["auto", "true", "false", "1"]
    assert flags["model_dir"] == str(checkout.model)
    assert "init_checkpoint" not in flags
    assert checkout.settings().model.init_checkpoint == checkout.model


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_a_tilde_that_the_shell_left_alone_is_the_home_folder(checkout, tmp_path, script):
    # As between quotes, or from a file of variables: a folder called ~ is easily deleted with what is at home.
    home, here = tmp_path / "at home", tmp_path / "here"
    here.mkdir()
    shutil.copytree(checkout.model, home / "model")
    variables = {"HOME": str(home), "MODEL_DIR": "~/model", "OUTPUT_DIR": "~/out", "CACHED_DIR": "~", "TASK": "MRPC"}
    assert checkout.run(script, cwd=here, **variables).returncode == 0
    flags = checkout.flags()
    expected = {"model_dir": f"{home}/model", "output_dir": f"{home}/out", "cached_dir": str(home)}
    assert {name: flags[name] for name in expected} == expected
    assert (home / "out.log").is_file()
    assert not list(here.iterdir())


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_a_models_folder_is_enough_and_names_the_output(checkout, tmp_path, script):
    folder = tmp_path / "my model"
    shutil.copytree(ROOT / "sample_data/albert_tiny", folder)
    result = checkout.run(script, MODEL_DIR=str(folder), SEED="7")
    assert result.returncode == 0, result.stderr
    settings = checkout.settings()
    assert settings.data.spm_model_file == folder / "7k.model"
    assert settings.model.init_checkpoint == folder
    assert "_my model_" in settings.output_dir.name
    assert settings.output_dir.name.endswith("_seed7")
    # Caches under names of one's own would be another vocabulary's.
    assert settings.data.feature_files == {}


@pytest.mark.slow
@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
@pytest.mark.parametrize("start", [None, ""])
def test_a_run_in_a_default_folder_of_before_is_continued_there_if_it_is_the_same(checkout, script, start):
    variables = {} if start is None else {"INIT_CHECKPOINT": start}
    checkout.run(script, SEED="7", **variables)
    new = checkout.settings().output_dir
    shutil.rmtree(new)
    old = new.with_name(new.name.removesuffix("_seed7"))
    old.mkdir()
    init_checkpoint = "None" if start == "" else str(checkout.model / "model.ckpt-best")
    training = {"seed": 7, "steps": 1, "init_checkpoint": init_checkpoint}
    text = json.dumps({"training": training}, indent=2, sort_keys=True)
    (old / "run_settings.json").write_text(text)
    checkout.run(script, SEED="7", **variables)
    assert checkout.settings().output_dir == old
    for other in ({"SEED": "8"}, {"SEED": "7", "INIT_CHECKPOINT": "elsewhere"}):
        checkout.run(script, **other)
        assert checkout.settings().output_dir != old


# What a recipe sets, and the variables for it.
FLAGS_OF_RECIPE = {
    "train_batch_size",
    "gradient_accumulation_steps",
    "max_seq_length",
    "learning_rate",
    "save_checkpoints_steps",
    "albert_dropout_prob",
    "train_step",
    "warmup_step",
    "num_train_epochs",
    "warmup_proportion",
}


@pytest.mark.slow
@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_what_no_variable_sets_is_left_to_the_recipe(checkout, script):
    assert checkout.run(script, LR="", NUM_GPUS="2").returncode == 0
    assert "--recipe" in checkout.call()[1]
    assert not FLAGS_OF_RECIPE & checkout.flags().keys()
    checkout.run(script, LR="3e-4")
    assert FLAGS_OF_RECIPE & checkout.flags().keys() == {"learning_rate"}
    # With BS, the recipe does not divide the batch either.
    checkout.run(script, BS="3")
    assert FLAGS_OF_RECIPE & checkout.flags().keys() == {"train_batch_size", "gradient_accumulation_steps"}


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_a_flag_wins_over_a_variable(checkout, script):
    checkout.run(script, "--learning_rate=0.5", LR="3e-4")
    assert checkout.flags()["learning_rate"] == "0.5"


@pytest.mark.slow
@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_messages_name_the_variables_that_set_flags(checkout, script):
    shared = ["scripts/run_common.sh", *(["scripts/sweep.sh"] if script in SWEEPING_SCRIPTS else [])]
    texts = "".join((ROOT / name).read_text() for name in (*shared, script))
    lines = [line.partition(" # ")[0] for line in texts.splitlines() if not line.startswith("#")]
    set_by = set(re.findall(r'--([a-z_]+)="\$\{?([A-Z_]+)', "\n".join(lines)))
    assert {("learning_rate", "LR"), ("max_seq_length", "MSL"), ("do_train", "DO_TRAIN")} < set_by
    checkout.run(script)
    assert set_by <= checkout.variables().items()
    # What is on the command line was written as a flag.
    checkout.run(script, "--learning_rate=0.5", "--max_seq_length", "64")
    assert {"learning_rate", "max_seq_length"} & checkout.variables().keys() == set()
    assert "train_batch_size" in checkout.variables()
    checkout.run(script, "--nodo_train", "-nodo_eval", "-learning_rate=0.5", "-max_seq_length", "64", LR="1e-5")
    assert {"learning_rate", "max_seq_length", "do_train", "do_eval"} & checkout.variables().keys() == set()
    assert {"do_predict", "train_batch_size"} <= checkout.variables().keys()


def test_flags_in_a_file_were_written_as_flags(checkout, tmp_path):
    (tmp_path / "flags").write_text("# mine\n--learning_rate=0.5\n--nodo_train\n")
    checkout.run(OWN, f"--flagfile={tmp_path / 'flags'}")
    assert {"learning_rate", "do_train"} & checkout.variables().keys() == set()
    assert "do_eval" in checkout.variables()


def test_messages_name_the_options_of_the_demo_that_set_variables(checkout):
    options = {"ALBERT_DEMO_OPTIONS": "MSL=-l TASK=-t BS=-b:2", "MSL": "64", "TASK": "MRPC", "BS": "4"}
    _assert_one_line_of_error(
        checkout,
        checkout.run("multi_run_albert_glue.sh", **options | {"MSL": "9" * 7}),
        ["-l 9999999 is not a number of tokens"],
    )
    checkout.run("multi_run_albert_glue.sh", **options)
    named = {"max_seq_length": "-l", "task_name": "-t", "train_batch_size": "-b:2", "seed": "SEED"}
    assert named.items() <= checkout.variables().items()


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ALBERT_DIR": "large"}, ["albert_large_v2", "./download_pretrained_models.sh"]),
        ({"SPM_MODEL": "no.model"}, ["no.model", "SPM_MODEL"]),
        ({"MODEL_DIR": "/usr"}, ["MODEL_DIR=/usr", "albert_config.json"]),
        ({"NUM_GPUS": "many"}, ["NUM_GPUS=many"]),
        ({"BS": "-1"}, ["BS=-1"]),
        ({"EBS": "x"}, ["EBS=x"]),
        ({"ACCUM": "0"}, ["ACCUM=0"]),
        ({"BS": "9" * 20}, ["BS=9", "from 1 to 999999"]),
        ({"EBS": "9" * 20}, ["EBS=9"]),
        ({"NUM_GPUS": "1e3"}, ["NUM_GPUS=1e3"]),
        ({"LR": "../../x"}, ["LR=../../x"]),
        ({"LR": "-1e-5"}, ["LR=-1e-5"]),
        ({"ALBERT_DP": "x"}, ["ALBERT_DP=x"]),
        ({"ALBERT_DIR": "../x"}, ["ALBERT_DIR=../x", "xxlarge"]),
        ({"VERSION": "1/2"}, ["VERSION=1/2"]),
        ({"MSL": "0"}, ["MSL=0"]),
        ({"MSL": "0x10"}, ["MSL=0x10"]),
        ({"SAVE": "a[$(touch here)]"}, ["SAVE=a["]),
        ({"KEEP": "-1"}, ["KEEP=-1"]),
        ({"SEED": "x"}, ["SEED=x"]),
        ({"DTYPE": "fp32"}, ["DTYPE=fp32", "float32"]),
        ({"DEVICE": "tpu"}, ["DEVICE=tpu", "auto gpu cpu"]),
        ({"OPTIMIZER": "sgd"}, ["OPTIMIZER=sgd", "adamw lamb"]),
        ({"STRATEGY": "two"}, ["STRATEGY=two", "one mirror"]),
        ({"STRATEGY": "multi_worker"}, ["STRATEGY=multi_worker", "NUM_WORKERS=2"]),
        ({"NUM_WORKERS": "0"}, ["NUM_WORKERS=0", "from 1 to 64"]),
        ({"NUM_WORKERS": "65"}, ["NUM_WORKERS=65"]),
        ({"NUM_WORKERS": "two"}, ["NUM_WORKERS=two"]),
        ({"NUM_WORKERS": "2", "STRATEGY": "mirror"}, ["STRATEGY=mirror", "multi_worker", "NUM_WORKERS=2"]),
        ({"NUM_WORKERS": "2", "NUM_GPUS": "0x1"}, ["NUM_GPUS=0x1"]),
        ({"PACK": "yes"}, ["PACK=yes", "true or false"]),
        ({"DO_TRAIN": "x"}, ["DO_TRAIN=x"]),
        ({"OUTPUT_DIR": "/proc/none"}, ["OUTPUT_DIR=/proc/none", "No such file or directory"]),
        ({"LOG": "/"}, ["LOG=/", "Is a directory"]),
    ],
)
def test_every_script_says_in_one_line_what_is_wrong(checkout, script, variables, words):
    _assert_one_line_of_error(checkout, checkout.run(script, **variables), words)


@pytest.mark.parametrize(
    ("script", "variables"),
    [
        ("multi_run_albert_glue.sh", {"TSP": "0"}),
        ("multi_run_albert_glue.sh", {"WPSP": "x"}),
        ("multi_run_albert_race.sh", {"TSP": "1.5"}),
        ("multi_run_albert_race.sh", {"WPSP": "-1"}),
        ("multi_run_albert_race.sh", {"MQL": "0"}),
        ("multi_run_albert_squad.sh", {"EPOCH": "three"}),
        ("multi_run_albert_squad.sh", {"WPP": "."}),
        ("multi_run_albert_squad.sh", {"MQL": "0"}),
        ("multi_run_albert_squad.sh", {"DOC_STRIDE": "x"}),
        (OWN, {"EPOCH": "three"}),
        (OWN, {"WPP": "."}),
    ],
)
def test_variables_of_one_script_are_checked_too(checkout, script, variables):
    ((variable, value),) = variables.items()
    _assert_one_line_of_error(checkout, checkout.run(script, **variables), [f"{variable}={value} "])


@pytest.mark.parametrize(
    ("script", "variables", "said"),
    [
        (
            GLUE,
            {"LR": "abc", "BS": "-1", "TASK": "SQuAD", "TSP": "0", "ALBERT_DIR": "../x", "CONFIG": "no.json"},
            ["ALBERT_DIR=../x ", "BS=-1 ", "LR=abc ", "TSP=0 ", "TASK=SQuAD ", "no file no.json"],
        ),
        # What the value of one decides is no problem of its own.
        (
            GLUE,
            {"NUM_WORKERS": "two", "STRATEGY": "multi_worker", "DO_TRAIN": "x"},
            ["NUM_WORKERS=two ", "DO_TRAIN=x "],
        ),
        (
            GLUE,
            {"SEEDS": "1,2", "GPUS_PER_RUN": "0", "DO_TRAIN": "false", "DO_EVAL": "x", "LOG": "x.log", "SEED": "1,2"},
            ["DO_EVAL=x ", "SEED=1,2 ", "GPUS_PER_RUN=0 ", "DO_TRAIN=false: ", "LOG=x.log: "],
        ),
        (
            "multi_run_albert_squad.sh",
            {"SQUAD_VERSION": "3", "EPOCH": "x", "TSP": "5", "EBS": "0"},
            ["SQUAD_VERSION=3 ", "EPOCH=x ", "TSP=5 has no effect", "EBS=0 "],
        ),
        (
            "multi_run_albert_squad.sh",
            {"TRAIN_FILE": "a.json", "PREDICT_FILE": "b.json", "MODEL_DIR": "none"},
            ["no file a.json", "no file b.json", "no folder none"],
        ),
        ("multi_run_albert_race.sh", {"DATA_DIR": "/none", "MQL": "0"}, ["MQL=0 ", "no folder /none/RACE"]),
        (
            OWN,
            {"VALIDATION_FILE": "a.csv", "TEST_FILE": "b.csv", "PACK": "2"},
            ["PACK=2 ", "no file a.csv", "no file b.csv"],
        ),
    ],
)
def test_everything_that_is_wrong_is_said_at_once(checkout, script, variables, said):
    result = checkout.run(script, **variables)
    lines = result.stderr.splitlines()
    assert [line[: len(f"{script}: {text}")] for line, text in zip(lines, said, strict=True)] == [
        f"{script}: {text}" for text in said
    ], result.stderr
    assert result.returncode == 2
    assert not checkout.call_file.exists()


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_a_config_that_cannot_be_read_is_named_before_anything_is_made(checkout, script):
    (checkout.model / "albert_config.json").write_text("{")
    _assert_one_line_of_error(checkout, checkout.run(script), [str(checkout.model / "albert_config.json")])


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_names_that_look_like_options_are_names(checkout, script):
    result = checkout.run(script, OUTPUT_DIR="-rf", LOG="--version")
    assert result.returncode == 0, result.stderr
    assert checkout.flags()["output_dir"] == "-rf"
    assert (checkout.root.parent / "-rf").is_dir()
    assert said_in(checkout.root.parent / "--version") == "stub output\n"


@pytest.mark.parametrize("script", [*FINE_TUNING_SCRIPTS, "demo_albert"])
def test_our_own_package_comes_first_from_any_folder_and_through_links(checkout, tmp_path, script):
    other = tmp_path / "other"
    (other / "albert").mkdir(parents=True)
    (other / "albert" / "__init__.py").write_text("raise SystemExit('another albert')")
    (other / "scripts").mkdir()
    link = tmp_path / "links" / "link"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(checkout.root / script, link.parent))
    for path in (checkout.root / script, link):
        checkout.call_file.unlink(missing_ok=True)
        variables = {"PYTHONPATH": str(other), "CDPATH": f"{other}:{checkout.root}"}
        # CDPATH matters for relative names only.
        name = os.path.relpath(path, other)
        result = checkout.run(script, command=["bash", name], cwd=other, **variables)
        assert result.returncode == 0, result.stderr
        assert Path(f"{checkout.call_file}.path").read_text() == f"{checkout.root}:{other}"
        if script != "demo_albert":
            assert checkout.flags()["model_dir"] == str(checkout.model)


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_no_script_hides_a_failure_behind_the_log(checkout, script):
    assert checkout.run(script, STUB_EXIT_CODE="2").returncode == 2


def test_a_reader_that_stops_reading_does_not_end_the_log(checkout):
    program = checkout.root / ".venv" / "bin" / "python"
    write_executable(
        program, program.read_text().replace('echo "stub output"', "echo one; sleep 0.2; echo two; echo three")
    )
    command = ["bash", "-c", f"./{OWN} | head -n 2 >/dev/null; exit ${{PIPESTATUS[0]}}"]
    result = checkout.run(OWN, command=command, cwd=checkout.root, LOG="log", OUTPUT_DIR="out")
    assert (result.returncode, result.stderr) == (0, "")
    assert said_in(checkout.root / "log") == "one\ntwo\nthree\n"


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_a_run_that_never_began_leaves_nothing_and_one_that_did_everything(checkout, script):
    output, log = checkout.root / "run", checkout.root / "run.log"
    named = {"OUTPUT_DIR": str(output), "STUB_EXIT_CODE": "2"}
    assert checkout.run(script, **named).returncode == 2
    assert not output.exists()
    assert not log.exists()
    # What was there stays: a log of before, and a folder with anything in it.
    log.write_text("of before\n")
    assert checkout.run(script, **named).returncode == 2
    assert not output.exists()
    assert log.read_text().startswith("of before\n")
    output.mkdir()
    assert checkout.run(script, **named).returncode == 2
    assert output.exists()
    begun = {"OUTPUT_DIR": f"{checkout.root / 'begun'}/", "STUB_EXIT_CODE": "1"}  # as a shell completes it
    assert checkout.run(script, **begun).returncode == 1
    assert (checkout.root / "begun.log").read_text().endswith("stub output\n")
    assert any((checkout.root / "begun").iterdir())


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ((), {"OUTPUT_DIR": "new/folder/of it", "LOG": "logs/new/a.log"}),
        (("--output_dir=new/folder",), {}),
        ((), {"OUTPUT_DIR": "./-new", "LOG": "./-new/a.log"}),
        ((), {}),
        ((), {"OUTPUT_DIR": "a", "LOG": "a file/a.log"}),  # which cannot be made
    ],
)
def test_a_run_that_never_began_leaves_no_folder_around_its_own_either(checkout, arguments, variables):
    (checkout.root / "a file").touch()
    before = sorted(checkout.root.rglob("*"))
    result = checkout.run(OWN, *arguments, cwd=checkout.root, STUB_EXIT_CODE="2", **variables)
    assert result.returncode == 2
    assert sorted(checkout.root.rglob("*")) == before


def test_a_run_that_never_began_leaves_the_part_that_another_run_of_its_folder_has_in_the_log(checkout):
    log = checkout.root / "run.log"
    program = checkout.root / ".venv" / "bin" / "python"
    other = f"echo '=== of another run' >>'{log}'"
    write_executable(program, program.read_text().replace('echo "stub output"', other))
    assert checkout.run(OWN, OUTPUT_DIR=str(checkout.root / "run"), STUB_EXIT_CODE="2").returncode == 2
    assert log.read_text().endswith("=== of another run\n")


def test_a_file_that_is_no_log_is_never_added_to(checkout):
    table = checkout.root / "tickets.csv"
    before = table.read_text()
    result = checkout.run(OWN, LOG=str(table), OUTPUT_DIR=str(checkout.root / "out"))
    _assert_one_line_of_error(checkout, result, [f"LOG={table} is there and is no log of a run"])
    assert table.read_text() == before
    assert not (checkout.root / "out").exists()
    log = checkout.root / "run.log"
    log.write_text("12:00:00 of an earlier version\n")
    assert checkout.run(OWN, LOG=str(log)).returncode == 0
    assert log.read_text().endswith("stub output\n")


@pytest.mark.parametrize("way", ["variable", "flag"])
@pytest.mark.parametrize(("output", "log"), [(".", "here.log"), ("sub/..", "here.log"), ("..", "out.log")])
def test_the_log_of_a_folder_without_a_name_is_beside_it(checkout, way, output, log):
    here = checkout.root / "out" / "here"
    (here / "sub").mkdir(parents=True)
    arguments, variables = ((), {"OUTPUT_DIR": output}) if way == "variable" else ((f"--output_dir={output}",), {})
    result = checkout.run(OWN, *arguments, cwd=here, **variables)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0].endswith(f"; log in {(here / output).resolve()}.log")
    assert (here / output).resolve().with_suffix(".log").name == log
    assert not any(path.name.startswith(".") for path in checkout.root.rglob("*.log"))


@pytest.mark.parametrize("output", ["/", "///", "/tmp/.."])
def test_the_root_is_no_folder_for_results(checkout, output):
    for arguments, variables, name in (
        ((), {"OUTPUT_DIR": output}, "OUTPUT_DIR"),
        ((f"--output_dir={output}",), {}, "--output_dir"),
    ):
        result = checkout.run(OWN, *arguments, **variables)
        _assert_one_line_of_error(checkout, result, [f"{name}={output.rstrip('/') or '/'} ", "root of all folders"])


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_each_runs_part_of_a_log_begins_with_its_time_and_its_command(checkout, script):
    log = checkout.root / "of two runs.log"
    named = {"LOG": str(log), "OUTPUT_DIR": "it's new", "LR": "1e-4", "LANG": "C"}
    for argument in ("--log_steps=2", "--class_weights=a=1 b=2"):
        assert checkout.run(script, argument, command=[f"./{script}"], cwd=checkout.root, **named).returncode == 0
    parts = log.read_text().split("\n\n")
    for part, argument in zip(parts, ("--log_steps=2", "--class_weights=a=1 b=2"), strict=True):
        begins, said = part.splitlines()
        found = re.fullmatch(r"=== \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} (.*)", begins)
        of_data = [f"TRAIN_FILE={checkout.root}/tickets.csv"] if script == OWN else []
        called = [f"LOG={log}", "LR=1e-4", "OUTPUT_DIR=it's new", *of_data, f"./{script}", argument]
        assert shlex.split(found[1]) == called
        assert said == "stub output"


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_a_program_that_was_killed_is_told_with_the_usual_reason_on_the_terminal_and_in_the_log(checkout, script):
    result = checkout.run(script, STUB_EXIT_CODE="137", LOG=str(checkout.root / "log"))
    assert result.returncode == 137
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{script}: the program was killed, mostly because memory ran out: set a smaller BS")
    assert (checkout.root / "log").read_text().splitlines()[-1] == line
    # The launcher of several workers says it itself.
    assert checkout.run(script, STUB_EXIT_CODE="137", NUM_WORKERS="2", DEVICE="cpu").stderr == ""


# Help and names of variables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
@pytest.mark.parametrize("word", ["--help", "-h", "-help", "help"])
def test_help_lists_every_variable_and_sets_nothing_up(checkout, script, word):
    setup = checkout.root / "scripts" / "setup.sh"
    write_executable(setup, "#!/bin/sh\nexit 1\n")
    result = checkout.run(script, word, TRAIN_FILE="", BS="x")
    assert (result.returncode, result.stderr) == (0, "")
    assert not checkout.call_file.exists()
    assert f"./{script} [more flags of albert." in result.stdout
    assert "--flag=value behind it" in result.stdout
    listed = re.findall(r"^  ([A-Z_]+)(?:=\S+)?  +\w", result.stdout, re.M)
    assert len(listed) == len(set(listed)) > 30
    lines = (ROOT / "scripts/run_common.sh").read_text() + (ROOT / script).read_text()
    # As `NAME=${NAME:-default}`: what the environment overrides.
    read = {name for name, same in re.findall(r"^([A-Z_]+)=\$\{([A-Z_]+):?-", lines, re.M) if name == same}
    assert {"OPTIMIZER", "EBS"} < read
    write_executable(setup, "#!/bin/sh\n")
    checkout.run(script)
    named = set(checkout.variables().values()) - {"set:learning_rate", "set:weight_decay"}
    assert (read | named) - set(listed) == {"MODEL_NAME"}


@pytest.mark.parametrize("script", FINE_TUNING_SCRIPTS)
def test_help_has_defaults(checkout, script):
    said = checkout.run(script, "--help").stdout
    assert re.search(r"^  KEEP=5 +checkpoints that stay", said, re.M)
    assert re.search(r"^  BS +examples per GPU", said, re.M)


RACE = "multi_run_albert_race.sh"
SQUAD = "multi_run_albert_squad.sh"


@pytest.mark.parametrize(
    ("script", "variables", "said"),
    [
        (OWN, {"EPOCHS": "1"}, ["EPOCHS is not a variable of this script: did you mean EPOCH? (how often each row"]),
        (OWN, {"EPCOH": "1"}, ["EPCOH is not a variable of this script: did you mean EPOCH? ("]),
        (OWN, {"epoch": "1"}, ["epoch is not a variable of this script: did you mean EPOCH? ("]),
        (GLUE, {"EPOCHS": "1"}, ["EPOCHS is not a variable of this script: did you mean TSP? (training steps)"]),
        (GLUE, {"TASKS": "MRPC"}, ["TASKS is not a variable of this script: did you mean TASK? (a task"]),
        (GLUE, {"SEEDS": "1,2", "OUTPTU_DIR": "x"}, ["OUTPTU_DIR is not a variable of this script: did you mean OUT"]),
        (RACE, {"SEEDS": "1"}, ["SEEDS is not a variable of this script: did you mean SEED? ("]),
        (OWN, {"VALID_FILE": "a"}, ["VALID_FILE is not a variable of this script: did you mean VALIDATION_FILE?"]),
        (OWN, {"PATIENCE": "3"}, ["PATIENCE is not a variable of this script: write --early_stopping_patience=3 beh"]),
        (GLUE, {"MAX_GRAD_NORM": "0"}, ["MAX_GRAD_NORM is not a variable of this script: write --max_grad_norm=0 "]),
        (
            SQUAD,
            {"BATCH_SIZE": "8", "LEARNING_RATE": "1", "MODEL_DIR": "nowhere"},
            [
                "BATCH_SIZE is not a variable of this script: did you mean BS?",
                "LEARNING_RATE is not a variable of this script: did you mean LR?",
                "no folder nowhere: ",
            ],
        ),
    ],
)
def test_a_misspelt_variable_stops_a_script_with_the_right_one(checkout, script, variables, said):
    result = checkout.run(script, **variables)
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(f"{script}: {part}") for line, part in zip(lines, said, strict=True)), lines
    names = [name for name in variables if lines[0].startswith(f"{script}: {name} ")]
    assert lines[0].endswith(f" If it is another program's, unset it here: env -u {names[0]} {checkout.root / script}")


@pytest.mark.parametrize(
    ("script", "variables", "said"),
    [
        (OWN, {"METRIC": "f1"}, ["METRIC is ignored: write --metric_for_best_model=f1 behind the name of the script."]),
        (OWN, {"TASK": "MRPC"}, ["TASK has no effect on this script."]),
        (GLUE, {"WD": "0"}, ["WD is ignored: did you mean WEIGHT_DECAY? ("]),
        (GLUE, {"TRAIN_FILE": "a"}, ["TRAIN_FILE has no effect on this script."]),
        (SQUAD, {"CACHE_DIR": "a", "N_GPUS": "1"}, ["CACHE_DIR is ignored: did you mean CACHED_DIR?", "N_GPUS is ig"]),
    ],
)
def test_a_variable_that_may_be_another_programs_is_told_on_the_terminal_and_in_the_log(
    checkout, tmp_path, script, variables, said
):
    result = checkout.run(script, OUTPUT_DIR=str(tmp_path / "out"), **variables)
    assert result.returncode == 0
    lines = result.stderr.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(f"{script}: {part}") for line, part in zip(lines, said, strict=True)), lines
    assert said_in(tmp_path / "out.log").splitlines() == [*lines, "stub output"]


@pytest.mark.parametrize(
    ("script", "arguments", "variables"),
    [
        (OWN, (), {"SEEDS": "1"}),
        (GLUE, (), {"SEEDS": "1", "METRIC": "f1", "GLUE_DIR": ""}),
        # Somebody else's, then.
        (OWN, (), {"EPOCHS": "1", "EPOCH": "2"}),
        (OWN, ("--num_train_epochs=2", "--class_weights", "balanced"), {"EPOCHS": "1", "CLASS_WEIGHTS": "x"}),
        (OWN, (), {"TASKS": "MRPC", "GPUS": "", "USER": "me", "LANG": "C", "LOGNAME": "me", "CI": "true"}),
    ],
)
def test_a_variable_whose_setting_is_given_or_that_means_none_is_nobodys_business(
    checkout, script, arguments, variables
):
    result = checkout.run(script, *arguments, **variables)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        (
            OWN,
            ["TRAIN_FILE=a b"],
            "TRAIN_FILE=a b stands behind the script's name, where a variable has no effect: put",
        ),
        (GLUE, ["--recipe", "BS=8"], "BS=8 stands behind the script's name, where a variable has no effect: put it in"),
        (OWN, ["--", "EPOCHS=1"], "EPOCHS=1 is not a flag: did you mean EPOCH, in front of the script's name? (how o"),
        (OWN, ["CLASS_WEIGHTS=balanced"], "CLASS_WEIGHTS=balanced is not a flag: write --class_weights=balanced"),
        (RACE, ["learning_rate=1"], "learning_rate=1 is not a flag: write --learning_rate=1"),
        (OWN, ["--log_steps=2", "{root}/tickets.csv"], "/tickets.csv' in front of the script's name?"),
        (GLUE, ["MRPC"], "MRPC is not a flag: did you mean TASK=MRPC in front of the script's name?"),
        (SQUAD, ["{model}"], "/albert_base_v2' in front of the script's name?"),
        (SQUAD, ["x"], "x is not a flag: behind the script's name are flags, --flag=value, in front of it variables"),
    ],
)
def test_a_word_behind_a_scripts_name_that_is_no_flag_is_refused_with_what_is_meant(checkout, script, arguments, said):
    arguments = [word.format(root=checkout.root, model=checkout.model) for word in arguments]
    result = checkout.run(script, *arguments, TRAIN_FILE="")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert said in result.stderr
    assert not checkout.call_file.exists()


def test_a_value_behind_its_flag_is_no_word_on_its_own(checkout):
    result = checkout.run(OWN, "--log_steps", "2", "--text_column_names", "a=b")
    assert (result.returncode, result.stderr) == (0, "")


def test_variables_behind_run_tests_are_refused(checkout):
    result = checkout.run("run_tests", "--quick", "ALBERT_TEST_DATA=x")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "ALBERT_TEST_DATA=x stands behind the name" in result.stderr


def test_what_only_some_scripts_read_is_named_as_such():
    (names,) = re.findall(r"^readonly of_some_scripts=\((.*?)\)", (ROOT / "scripts/help.sh").read_text(), re.M)
    texts = [(ROOT / script).read_text() for script in FINE_TUNING_SCRIPTS]
    read = [set(re.findall(r"^([A-Z_]+)=\$\{\1:?-", text, re.M)) for text in texts]
    assert set(names.split()) <= set.union(*read) - set.intersection(*read)


def test_other_names_are_no_variables_and_mean_some(checkout):
    (names,) = re.findall(r"^other_names=\((.*?)\)", (ROOT / "scripts/help.sh").read_text(), re.M | re.S)
    pairs = dict(pair.split("=") for pair in names.split())
    helps = [checkout.run(script, "--help").stdout for script in FINE_TUNING_SCRIPTS]
    listed = [set(re.findall(r"^  ([A-Z_]+)(?:=\S+)?  +\w", text, re.M)) for text in helps]
    meant = {name for names in pairs.values() for name in names.split("/")}
    flags = {name for name in meant if name.startswith("--")}
    assert {name.removeprefix("--") for name in flags} <= {flag.name for flag in fine_tuning.CLASSIFIER.flags}
    assert meant - flags <= set().union(*listed)
    assert pairs.keys() & set.intersection(*listed) == set()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("albert-base-v2", "./download_pretrained_models.sh --version=2 base and set ALBERT_DIR=base in its place.\n"),
        ("albert/albert-xlarge-v1", "--version=1 xlarge and set ALBERT_DIR=xlarge VERSION=1 in its place.\n"),
        (
            "nowhere",
            "no folder nowhere: set MODEL_DIR to the folder of a model. To fetch one, run "
            "./download_pretrained_models.sh base, or ./download_pretrained_models.sh --source=huggingface "
            "OWNER/NAME.\n",
        ),
    ],
)
def test_a_model_by_its_name_is_answered_with_the_command_that_fetches_it(checkout, model, said):
    result = checkout.run(OWN, MODEL_DIR=model)
    assert result.returncode == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"ALBERT_DIR": "albert-base-v1"},
            "ALBERT_DIR=albert-base-v1 is the name of a model: use ALBERT_DIR=base VERSION=1.",
        ),
        (
            {"ALBERT_DIR": "albert/albert-large-v2", "VERSION": "1"},
            "ALBERT_DIR=albert/albert-large-v2 is the name of a model: use ALBERT_DIR=large VERSION=2.",
        ),
        ({"ALBERT_DIR": "/usr"}, "ALBERT_DIR=/usr is a folder: use MODEL_DIR=/usr, or base, large, xlarge or xxlarge."),
        (
            {"ALBERT_DIR": "large"},
            "_large_v2: run ./download_pretrained_models.sh --version=2 large, or set MODEL_DIR to the folder of a "
            "model.",
        ),
        (
            {"ALBERT_DIR": "huge"},
            "ALBERT_DIR=huge is not a size of Google's models: use base, large, xlarge or xxlarge, or set MODEL_DIR "
            "to the folder of a model.",
        ),
        (
            {"VERSION": "3"},
            "VERSION=3 is not a version of Google's models: use 1 or 2, or set MODEL_DIR to the folder of a model.",
        ),
        ({"EPOCH": "three"}, "EPOCH=three is not a number of epochs: use a number such as 3 or 0.5."),
    ],
)
def test_what_is_wrong_is_answered_with_what_is_meant(checkout, variables, said):
    result = checkout.run(OWN, **variables)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.endswith(f"{said}\n")


def test_a_version_that_another_program_exports_stops_no_script_whose_model_is_named(checkout):
    said = "VERSION=22.04.5 LTS (Jammy Jellyfish) is not a version: use 1 or 2."
    for variables, problem in (({}, said), ({"MODEL_DIR": str(checkout.model)}, "")):
        result = checkout.run(OWN, VERSION="22.04.5 LTS (Jammy Jellyfish)", **variables)
        assert (result.returncode, problem in result.stderr) == (2 if problem else 0, True), result.stderr


def test_several_seeds_have_a_variable_of_their_own(checkout):
    for script in SWEEPING_SCRIPTS:
        said = checkout.run(script, SEED="1,2").stderr
        assert said == f"{script}: SEED=1,2 is not a seed: use a whole number, or SEEDS=1,2 for a run with each.\n"


# Signals --------------------------------------------------------------------------------------------------------------

# Notes each signal; ends, when it is told to go on, with 128 + the first one.
SIGNALLED = f"""#!{sys.executable}
import os, signal, sys, time
if "/scripts/" in sys.argv[1]:
    os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])
got = []
numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ignored = [number.name for number in numbers if signal.getsignal(number) == signal.SIG_IGN]
for number in numbers:
    if number.name not in ignored:
        signal.signal(number, lambda number, _: got.append(number))
call = os.environ["STUB_CALL"]
with open(call + ".pid.new", "w") as file:
    file.write(f"{{os.getpid()}} {{' '.join(ignored)}}")
os.rename(call + ".pid.new", call + ".pid")
deadline = time.monotonic() + 60
while not (got and os.path.exists(call + ".end")) and time.monotonic() < deadline:
    time.sleep(0.01)
print("saved after", *got, flush=True)
sys.exit(128 + got[0])
"""


class SignalledRun:
    """A script whose program waits for a signal, as the leader of a process group of its own; killed at the end."""

    def __init__(self, checkout: Checkout, script: str, prefix: Sequence[str] = (), **variables: str):
        self.call = Path(checkout.call_file)
        write_executable(checkout.root / ".venv" / "bin" / "python", self.program())
        environment = {
            "PATH": f"{checkout.bin}:{os.environ['PATH']}",
            "HOME": "/",
            "STUB_CALL": str(self.call),
            **({"TRAIN_FILE": str(checkout.root / "tickets.csv")} if script == OWN else {}),
            "OUTPUT_DIR": str(checkout.root / "out"),
            **variables,
        }
        self.script = self.popen(
            [*prefix, checkout.root / script], cwd=checkout.root.parent, env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.pid = 0

    def popen(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen:
        return subprocess.Popen(command, **options)

    def program(self) -> str:
        return SIGNALLED

    def __enter__(self) -> "SignalledRun":
        pid_file = Path(f"{self.call}.pid")
        self.wait_for(lambda: pid_file.exists() or self.script.poll() is not None)
        assert pid_file.exists(), self.script.communicate(timeout=5)
        pid, *self.ignored = pid_file.read_text().split()
        self.pid = int(pid)
        return self

    def __exit__(self, *_: object) -> None:
        for pid in {self.script.pid, self.pid} - {0}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.script.communicate(timeout=20)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert condition()

    def is_running(self) -> bool:
        """The program; one that has ended and that nobody has asked about is not running."""
        try:
            return " Z " not in Path(f"/proc/{self.pid}/stat").read_text()
        except FileNotFoundError:
            return False

    def end(self) -> tuple[int, str]:
        """Lets the program end: the script's exit code, and what was said."""
        Path(f"{self.call}.end").touch()
        said, _ = self.script.communicate(timeout=30)
        return self.script.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("whom", [os.kill, os.killpg], ids=["script", "group"])
@pytest.mark.parametrize(
    ("script", "variables"),
    [(OWN, {}), (OWN, {"NUM_WORKERS": "2", "DEVICE": "cpu"}), (GLUE, {"SEEDS": "1,2"})],
    ids=["run", "launcher", "sweep"],
)
def test_a_signal_reaches_the_program_once_and_the_script_ends_as_it_does(checkout, script, variables, whom, number):
    with SignalledRun(checkout, script, **variables) as run:
        whom(run.script.pid, number)
        time.sleep(0.3)  # the program is still saving
        assert run.script.poll() is None
        assert run.is_running()
        code, said = run.end()
        assert (code, said.splitlines()[-1]) == (128 + number, f"saved after {number:d}")
        assert not run.is_running()
        if "SEEDS" not in variables:
            assert said_in(checkout.root / "out.log") == f"saved after {number:d}\n"


@pytest.mark.slow
def test_a_second_signal_reaches_the_program_too(checkout):
    with SignalledRun(checkout, OWN) as run:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(run.script.pid, number)
            time.sleep(0.3)
        assert run.end()[1].endswith("saved after 2 15\n")


@pytest.mark.slow
def test_a_run_under_nohup_outlives_its_terminal(checkout):
    with SignalledRun(checkout, OWN, ["nohup"]) as run:
        assert run.ignored == ["SIGHUP"]
        os.killpg(run.script.pid, signal.SIGHUP)
        time.sleep(0.3)
        os.kill(run.script.pid, signal.SIGTERM)
        code, said = run.end()
        assert (code, said.splitlines()[-1]) == (143, "saved after 15")


@pytest.mark.slow
def test_a_program_stops_and_goes_on_with_its_script(checkout):
    def state() -> str:
        return Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()[0]

    with SignalledRun(checkout, OWN) as run:
        os.kill(run.script.pid, signal.SIGTSTP)
        run.wait_for(lambda: state() == "T")
        os.kill(run.script.pid, signal.SIGCONT)
        run.wait_for(lambda: state() != "T")
        os.kill(run.script.pid, signal.SIGTERM)
        assert run.end()[0] == 143


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_a_program_whose_script_was_killed_is_asked_to_save(checkout):
    with SignalledRun(checkout, OWN) as run:
        run.script.kill()
        Path(f"{run.call}.end").touch()
        run.wait_for(lambda: not run.is_running())
        run.wait_for(lambda: said_in(checkout.root / "out.log") == "saved after 15\n")


@pytest.mark.training
def test_a_run_that_a_supervisor_stopped_is_saved_and_continued(tmp_path):
    output, table = tmp_path / "my output", tmp_path / "rows.csv"
    table.write_text("text,label\n" + "".join(f"row {index},{'ab'[index % 2]}\n" for index in range(96)))
    quick = {"DEVICE": "cpu", "EPOCH": "2", "BS": "2", "MSL": "16", "SAVE": "4", "STRATEGY": "one", "PACK": "false"}
    variables = {
        **quick,
        "TRAIN_FILE": str(table),
        "VALIDATION_FILE": str(table),
        "MODEL_DIR": str(ROOT / "sample_data/albert_tiny"),
        "OUTPUT_DIR": str(output),
        "CACHED_DIR": str(tmp_path),
    }
    log = output / "training_log.jsonl"
    first = subprocess.Popen([ROOT / OWN], env=os.environ | variables, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 240
        while first.poll() is None and not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        first.terminate()
        said, _ = first.communicate(timeout=120)
    finally:
        first.kill()
    assert first.returncode == 143, said
    assert re.search(r"stopped after step \d+ of 96, which is saved; the same command", said.splitlines()[-1])
    done = subprocess.run(
        [ROOT / OWN], env=os.environ | variables, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(1, 97))
    command = shlex.split(done.stdout.splitlines()[-1].partition("Use the model: ")[2])
    assert command[-2:] == [f"--model_dir={output}", "TEXT"]


# What is seen of a run on a terminal, and in its log ------------------------------------------------------------------

# Says a line, draws a bar, says another one above it; then waits for a signal as SIGNALLED does.
WITH_BAR = SIGNALLED.replace(
    "deadline =",
    """
from albert.system.progress import progress_bar
print("before", flush=True)
bar = progress_bar(desc="train", total=4, disable=None)
for step in range(4):
    bar.update(1)
    bar.refresh()
    print("step", step + 1, file=sys.stderr, flush=True)
deadline =""",
)


class TerminalRun(SignalledRun):
    """The same with a terminal of its own, on which somebody sees what the streams that are not given show."""

    def __init__(self, checkout: Checkout, script: str, prefix: Sequence[str] = (), **variables: str):
        self.own, self._other = pty.openpty()
        self._seen = b""
        fcntl.ioctl(self._other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        super().__init__(checkout, script, prefix, **variables)

    def popen(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self._other)
        become = functools.partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0)
        process = subprocess.Popen(command, **(options | streams), preexec_fn=become)
        os.close(self._other)
        return process

    def program(self) -> str:
        return WITH_BAR

    def end(self) -> tuple[int, str]:
        """Lets the program end: the script's exit code, and what was on the screen."""
        Path(f"{self.call}.end").touch()
        with contextlib.suppress(OSError):  # how a terminal ends
            while data := os.read(self.own, 1 << 16):
                self._seen += data
        os.close(self.own)
        return self.script.wait(30), self._seen.decode().replace("\r\n", "\n")

    def has_shown(self, text: str) -> bool:
        """Whether it is on the screen. A terminal discards what is on its way there when Ctrl-C is pressed."""
        while select.select([self.own], [], [], 0)[0]:
            self._seen += os.read(self.own, 1 << 16)
        return text in self._seen.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("script", [OWN, GLUE])
def test_a_terminal_has_a_bar_below_the_lines_and_the_log_the_lines(checkout, script):
    with TerminalRun(checkout, script) as run:
        run.wait_for(lambda: "step 4\n" in (checkout.root / "out.log").read_text() and run.has_shown("step 4"))
        os.write(run.own, b"\x03")  # Ctrl-C
        code, screen = run.end()
    assert code == 130
    lines = ["before", *(f"step {number}" for number in range(1, 5)), "saved after 2"]
    assert said_in(checkout.root / "out.log").splitlines() == lines
    # Each state of the bar and each line begins where another bar was. The terminal echoes Ctrl-C.
    seen = re.split(r"\r\x1b\[K|\n", screen.replace("^C", ""))
    assert [part for part in seen if part in lines] == lines
    bars = [part for part in seen if part.startswith("train: ")]
    assert bars
    assert bars[-1].startswith("train: 100%|")
    assert all(len(bar) < 60 for bar in bars)
    assert screen.endswith("\r\x1b[K")  # nothing of it is left


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_on_a_terminal_as_elsewhere(checkout, number):
    with TerminalRun(checkout, OWN) as run:
        os.kill(run.script.pid, number)
        assert run.end()[0] == 128 + number
    assert (checkout.root / "out.log").read_text().endswith(f"saved after {number:d}\n")


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_run_whose_terminal_was_closed_is_saved_and_logged(checkout):
    with TerminalRun(checkout, OWN) as run:
        os.close(run.own)  # sends SIGHUP
        Path(f"{run.call}.end").touch()
        assert run.script.wait(30) == 129
    assert (checkout.root / "out.log").read_text().endswith("saved after 1\n")


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_lines_that_go_into_a_pipe_leave_the_terminal_alone(checkout):
    # As with ./multi_run_albert_own.sh | tee mine.log
    with TerminalRun(checkout, OWN, ["bash", "-c", '"$0" | cat']) as run:
        run.wait_for(lambda: "step 4\n" in (checkout.root / "out.log").read_text())
        os.kill(run.pid, signal.SIGTERM)
        screen = run.end()[1]
    assert "step 4" in screen
    assert "\r" not in screen
    assert "train: " not in screen


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_without_a_terminal_there_is_no_bar_anywhere(checkout):
    class Run(SignalledRun):
        def program(self) -> str:
            return WITH_BAR

    with Run(checkout, OWN, ALBERT_PROGRESS_BAR="1:80") as run:
        os.kill(run.script.pid, signal.SIGTERM)
        code, said = run.end()
    log = said_in(checkout.root / "out.log")
    assert code == 143
    assert said.endswith(log)
    assert log == "before\nstep 1\nstep 2\nstep 3\nstep 4\nsaved after 15\n"


def _assert_one_line_of_error(checkout: Checkout, result: subprocess.CompletedProcess, words: list[str]) -> None:
    """And nothing was begun."""
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr
    assert not (checkout.root / "albert_output").exists()
    assert not checkout.call_file.exists()


# GLUE -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    # Global batches of the ALBERT authors' run_glue.sh: CoLA 16, MRPC 32, MNLI and QQP 128.
    ("task", "num_gpus", "per_gpu", "rate", "steps", "warmup"),
    [
        ("MRPC", "8", "4", "2e-5", "800", "200"),
        ("CoLA", "1", "16", "1e-5", "5336", "320"),
        ("CoLA", "3", "6", "1e-5", "5336", "320"),  # 16 is not a multiple of 3: the next one, 18
        ("misMNLI", "8", "16", "3e-5", "10000", "1000"),
    ],
)
def test_glue_script_takes_the_tasks_recipe(checkout, task, num_gpus, per_gpu, rate, steps, warmup):
    result = checkout.run("multi_run_albert_glue.sh", TASK=task, NUM_GPUS=num_gpus)
    assert result.returncode == 0, result.stderr
    assert (checkout.flags()["task_name"], checkout.flags()["num_gpu_cores"]) == (task, num_gpus)
    train = checkout.settings().train
    assert (train.per_replica_batch_size, train.gradient_accumulation_steps) == (int(per_gpu), 1)
    assert (train.learning_rate, train.train_steps, train.warmup_steps) == (float(rate), int(steps), int(warmup))
    total = int(per_gpu) * int(num_gpus)
    assert f"{per_gpu} examples/replica x {num_gpus} replica" in result.stdout
    assert f" = {total} examples/step, {steps} steps" in result.stdout


def test_the_recipe_is_that_of_the_models_size(checkout):
    checkout.set_hidden_size(MODEL_SIZES["tiny"])
    assert "MRPC: 16 examples/replica x 2 replicas = 32 examples/step, 344 steps" in (
        checkout.run("multi_run_albert_glue.sh", TASK="MRPC", NUM_GPUS="2").stdout
    )
    train = checkout.settings().train
    assert (train.learning_rate, train.train_steps, train.warmup_steps) == (1e-4, 344, 34)


def test_one_device_has_the_whole_batch_of_the_recipe(checkout):
    said = checkout.run("multi_run_albert_glue.sh", TASK="MRPC", NUM_GPUS="2", STRATEGY="one").stdout
    assert "32 examples/replica x 1 replica = 32 examples/step" in said
    assert checkout.settings().train.per_replica_batch_size == 32


def test_glue_scripts_recipe_counts_micro_batches_too(checkout):
    checkout.run("multi_run_albert_glue.sh", TASK="MRPC", NUM_GPUS="2", ACCUM="2")
    assert checkout.settings().train.per_replica_batch_size == 8  # x 2 x 2 = 32
    assert "MRPC_base_v2_32_2e-5" in checkout.flags()["output_dir"]


def test_glue_script_finds_data_and_model_from_any_directory(checkout):
    result = checkout.run("multi_run_albert_glue.sh", cwd=Path("/"))
    assert result.returncode == 0, result.stderr
    flags = checkout.flags()
    assert flags["data_dir"] == str(checkout.root / "glue_data")
    assert flags["model_dir"] == str(checkout.model)
    assert flags["output_dir"] == str(checkout.root / "albert_output" / "CoLA_base_v2_16_1e-5_seed42")


def test_glue_scripts_steps_can_be_overridden(checkout):
    assert checkout.run("multi_run_albert_glue.sh", WPSP="3", TSP="9").returncode == 0
    flags = checkout.flags()
    assert (flags["warmup_step"], flags["train_step"]) == ("3", "9")


@pytest.mark.parametrize("variable", ["DATA_DIR", "GLUE_DIR"])
def test_glue_script_takes_the_data_folder_under_its_old_name_too(checkout, tmp_path, variable):
    (tmp_path / "elsewhere" / "CoLA").mkdir(parents=True)
    checkout.run("multi_run_albert_glue.sh", **{variable: "elsewhere"})
    assert checkout.flags()["data_dir"] == "elsewhere"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TASK": "RTE"}, ["/glue_data/RTE", "./download_glue_data.py --tasks=RTE,"]),
        ({"TASK": "SQuAD"}, ["TASK=SQuAD", "CoLA"]),
        ({"TASK": "Agreement"}, ["TASK=Agreement", "./multi_run_albert_own.sh, as TRAIN_FILE="]),
    ],
)
def test_glue_script_says_in_one_line_what_is_missing(checkout, variables, words):
    _assert_one_line_of_error(checkout, checkout.run("multi_run_albert_glue.sh", **variables), words)


# Several tasks, seeds, rates ------------------------------------------------------------------------------------------


def test_several_tasks_seeds_and_rates_are_a_sweep(checkout, tmp_path):
    checkout.set_gpus(8)
    variables = {"TASK": "all", "SEEDS": "1,2,3", "LR": "1e-5,2e-5", "NUM_GPUS": "8", "TSP": "9"}
    assert checkout.run("multi_run_albert_glue.sh", **variables).returncode == 0
    program, arguments = checkout.call()
    request = parse_sweep_flags([program, *arguments])
    assert (request.task_name, request.seeds, request.grid) == ("all", "1,2,3", ("learning_rate=1e-05,2e-05",))
    assert (request.gpus, request.gpus_per_run, request.do_predict) == (8, 1, True)
    assert request.output_dir == checkout.root / "albert_output" / "sweep_all_base_v2"
    assert request.run_flags["model_dir"] == str(checkout.model)
    assert request.run_flags["data_dir"] == str(checkout.root / "glue_data")
    assert request.run_flags["train_step"] == "9"
    assert checkout.variables()["set:learning_rate"] == "LR"
    checkout.run("multi_run_albert_glue.sh", "--set", "learning_rate=1e-6", "--", **variables)
    assert "set:learning_rate" not in checkout.variables()
    checkout.run("multi_run_albert_glue.sh", **variables)
    # What it leaves to each run's recipe, it does not set.
    assert not FLAGS_OF_RECIPE & request.run_flags.keys() - {"train_step"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TASK": "MRPC,RTE"}, {"task_name": "MRPC,RTE", "seeds": "42", "gpus": None, "grid": ()}),
        ({"TASK": "MRPC", "SEEDS": "5"}, {"task_name": "MRPC", "seeds": "5"}),
        ({"LR": "1e-5,3e-5", "SEED": "7"}, {"task_name": "CoLA", "seeds": "7", "grid": ("learning_rate=1e-05,3e-05",)}),
        ({"WEIGHT_DECAY": "0,0.1", "TASK": "RTE"}, {"task_name": "RTE", "grid": ("weight_decay=0.0,0.1",)}),
        ({"SEEDS": "1,2", "DEVICE": "cpu", "NUM_GPUS": "2"}, {"gpus": 0}),
        ({"SEEDS": "1", "GPUS_PER_RUN": "2", "DO_PREDICT": "false"}, {"gpus_per_run": 2, "do_predict": False}),
        ({"SEEDS": "1", "OUTPUT_DIR": "/tmp/s"}, {"output_dir": Path("/tmp/s")}),
    ],
)
def test_any_of_them_makes_a_sweep(checkout, variables, expected):
    assert checkout.run("multi_run_albert_glue.sh", **variables).returncode == 0
    program, arguments = checkout.call()
    request = parse_sweep_flags([program, *arguments])
    assert {name: getattr(request, name) for name in expected} == expected


def test_flags_of_a_sweep_come_in_front_of_those_of_its_runs(checkout):
    checkout.run("multi_run_albert_glue.sh", "--from_mnli", "--report=median", "--", "--log_steps=2", SEEDS="1,2")
    request = parse_sweep_flags(["sweep", *checkout.call()[1]])
    assert (request.from_mnli, request.report, request.run_flags["log_steps"]) == (True, "median", "2")
    checkout.run("multi_run_albert_glue.sh", "--log_steps=2", SEEDS="1,2", LR="3e-5", BS="4")
    request = parse_sweep_flags(["sweep", *checkout.call()[1]])
    names = ("log_steps", "learning_rate", "train_batch_size", "gradient_accumulation_steps")
    assert [request.run_flags[name] for name in names] == ["2", "3e-5", "4", "1"]
    assert not {"device", "keep_checkpoint_max"} & request.run_flags.keys()
    checkout.run("multi_run_albert_glue.sh", SEEDS="1,2", KEEP="3", DEVICE="gpu")
    request = parse_sweep_flags(["sweep", *checkout.call()[1]])
    assert (request.run_flags["keep_checkpoint_max"], request.run_flags["device"]) == ("3", "gpu")


@pytest.mark.parametrize(
    ("arguments", "expected", "of_runs"),
    [
        (["--dry_run"], {"dry_run": True}, {}),
        (["--report=median", "--log_steps=2", "--dry_run"], {"dry_run": True, "report": "median"}, {"log_steps": "2"}),
        (
            ["--set", "label_smoothing_factor=0,0.1", "--log_steps", "2"],
            {"grid": ("label_smoothing_factor=0.0,0.1",)},
            {"log_steps": "2"},
        ),
        (
            ["--nodo_predict", "--seeds=5", "--nopack_sequences"],
            {"do_predict": False, "seeds": "5"},
            {"pack_sequences": "false"},
        ),
        (["--flagfile={file}"], {"from_mnli": True}, {"log_steps": "3"}),
        # As written, where somebody wrote it.
        (["--", "--log_steps=2"], {"dry_run": False}, {"log_steps": "2"}),
    ],
)
def test_a_flag_behind_the_scripts_name_belongs_to_the_sweep_or_its_runs(
    checkout, tmp_path, arguments, expected, of_runs
):
    (tmp_path / "flags of mine").write_text("# mine\n--from_mnli\n--log_steps=3\n")
    words = [word.format(file=tmp_path / "flags of mine") for word in arguments]
    result = checkout.run(GLUE, *words, SEEDS="1,2", TASK="CoLA,WNLI")
    assert result.returncode == 0, result.stderr
    request = parse_sweep_flags(["sweep", *checkout.call()[1]])
    assert {name: getattr(request, name) for name in expected} == expected
    assert of_runs.items() <= request.run_flags.items()


def test_a_file_of_flags_that_is_not_there_is_told_in_one_line(checkout):
    result = checkout.run(GLUE, "--flagfile=none", SEEDS="1,2")
    _assert_one_line_of_error(checkout, result, ["--flagfile=none", "No such file"])


def test_several_seeds_and_rates_of_own_data_are_a_sweep(checkout):
    checkout.set_gpus(4)
    variables = {"SEEDS": "1,2", "LR": "1e-5,2e-5", "NUM_GPUS": "4", "GPUS_PER_RUN": "2", "EPOCH": "3", "WPP": "0.1"}
    result = checkout.run(OWN, "--dry_run", "--label_column_name=label", **variables)
    assert result.returncode == 0, result.stderr
    program, arguments = checkout.call()
    request = parse_sweep_flags([program, *arguments])
    assert (program, request.task_name, request.seeds, request.dry_run) == ("sweep", None, "1,2", True)
    assert (request.grid, request.gpus, request.gpus_per_run) == (("learning_rate=1e-05,2e-05",), 4, 2)
    assert request.output_dir == checkout.root / "albert_output" / "sweep_own_tickets_base_v2"
    table = str(checkout.root / "tickets.csv")
    expected = {"train_file": table, "label_column_name": "label", "num_train_epochs": "3", "warmup_proportion": "0.1"}
    assert expected.items() <= request.run_flags.items()
    assert not request.do_predict
    assert not FLAGS_OF_RECIPE & request.run_flags.keys() - {"num_train_epochs", "warmup_proportion"}
    assert {"seeds": "SEEDS", "set:learning_rate": "LR", "train_file": "TRAIN_FILE"}.items() <= (
        checkout.variables().items()
    )
    checkout.run(OWN, SEEDS="3", TEST_FILE=table, VALIDATION_FILE=table)
    request = parse_sweep_flags([*checkout.call()[:1], *checkout.call()[1]])
    assert (request.seeds, request.do_predict, request.grid) == ("3", True, ())
    assert (request.run_flags["validation_file"], request.run_flags["test_file"]) == (table, table)


def test_a_sweep_of_own_data_needs_rows_to_train_on(checkout):
    result = checkout.run(OWN, SEEDS="1,2", TRAIN_FILE="", VALIDATION_FILE=str(checkout.root / "tickets.csv"))
    _assert_one_line_of_error(checkout, result, ["TRAIN_FILE is not set", "trains"])


def test_a_comma_in_a_rate_is_a_mistake_where_nothing_sweeps(checkout):
    for script in set(FINE_TUNING_SCRIPTS) - set(SWEEPING_SCRIPTS):
        _assert_one_line_of_error(checkout, checkout.run(script, LR="1e-5,2e-5"), ["LR=1e-5,2e-5"])


@pytest.mark.parametrize("script", SWEEPING_SCRIPTS)
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SEEDS": "1", "GPUS_PER_RUN": "0"}, ["GPUS_PER_RUN=0 "]),
        ({"SEEDS": "1", "NUM_WORKERS": "2", "DEVICE": "cpu"}, ["NUM_WORKERS=2", "one process"]),
        ({"SEEDS": "1", "EBS": "x"}, ["EBS=x"]),
        ({"SEEDS": "1", "BS": "x"}, ["BS=x"]),
        ({"SEEDS": "1", "DO_TRAIN": "false"}, ["DO_TRAIN=false", "leave it out"]),
        ({"SEEDS": "1", "DO_EVAL": "false"}, ["DO_EVAL=false", "leave it out"]),
        ({"SEEDS": "1", "LOG": "x.log"}, ["LOG=x.log", "beside its folder"]),
    ],
)
def test_variables_of_a_sweep_are_checked(checkout, script, variables, words):
    _assert_one_line_of_error(checkout, checkout.run(script, **variables), words)


# SQuAD ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_squad_script_names_the_files_and_caches_of_the_version(checkout, version):
    result = checkout.run("multi_run_albert_squad.sh", SQUAD_VERSION=version, NUM_GPUS="8")
    assert result.returncode == 0, result.stderr
    assert checkout.call()[0] == f"run_multigpus_squad_v{version[0]}"
    flags = checkout.flags()
    caches = checkout.root / "cached_albert_tfrecord"
    assert {name: path for name, path in flags.items() if name.endswith("_file")} == {
        "train_file": str(checkout.root / "SQuAD" / f"train-v{version}.json"),
        "predict_file": str(checkout.root / "SQuAD" / f"dev-v{version}.json"),
        "train_feature_file": str(caches / f"SQuAD{version}_train_512.tf_record"),
        "predict_feature_file": str(caches / f"SQuAD{version}_dev_512.tf_record"),
        "predict_feature_left_file": str(caches / f"SQuAD{version}_dev_left_512.json"),
        "albert_config_file": "",
        "spm_model_file": "",
    }
    assert flags["output_dir"] == str(checkout.root / "albert_output" / f"SQuAD{version}_base_v2_128_5e-05_seed42")
    assert f"SQuAD{version}: 16 examples/replica x 8 replicas = 128 examples/step, 3.0 epochs" in result.stdout
    settings = checkout.settings()
    assert settings.model.albert_dropout_prob is None  # the rates of the model's configuration
    train = settings.train
    assert (train.learning_rate, train.num_train_epochs, train.warmup_proportion) == (5e-5, 3.0, 0.1)
    assert (settings.data.max_seq_length, train.save_checkpoints_steps) == (512, 1000)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("multi_run_albert_squad.sh", "16 examples/replica x 8 micro-batches x 1 replica = 128 examples/step"),
        ("multi_run_albert_race.sh", "4 examples/replica x 8 micro-batches x 1 replica = 32 examples/step"),
    ],
)
def test_one_gpu_has_the_same_step_in_micro_batches_that_fit(checkout, script, said):
    assert said in checkout.run(script, NUM_GPUS="1").stdout
    train = checkout.settings().train
    assert f"{train.per_replica_batch_size} examples/replica x {train.gradient_accumulation_steps} micro" in said


def test_squad_scripts_settings_can_be_overridden(checkout):
    settings = {
        "DOC_STRIDE": ("doc_stride", "32"),
        "MQL": ("max_query_length", "16"),
        "EPOCH": ("num_train_epochs", "2.5"),
        "WPP": ("warmup_proportion", "0.2"),
        "TRAIN_FEATURE_FILE": ("train_feature_file", ""),
        "PREDICT_FEATURE_FILE": ("predict_feature_file", "a cache"),
        "PREDICT_FEATURE_LEFT_FILE": ("predict_feature_left_file", ""),
    }
    checkout.run("multi_run_albert_squad.sh", **{variable: value for variable, (_, value) in settings.items()})
    flags = checkout.flags()
    assert {flag: flags[flag] for flag, _ in settings.values()} == dict(settings.values())


@pytest.mark.parametrize(
    ("script", "variables", "arguments"),
    [
        ("multi_run_albert_squad.sh", {"TRAIN_FILE": "mine.json"}, ()),
        ("multi_run_albert_squad.sh", {"DOC_STRIDE": "64"}, ()),
        ("multi_run_albert_squad.sh", {"MQL": "32"}, ()),
        ("multi_run_albert_squad.sh", {}, ("--doc_stride=64",)),
        ("multi_run_albert_race.sh", {"MSL": "128"}, ()),
        ("multi_run_albert_race.sh", {"MQL": "64"}, ()),
        ("multi_run_albert_race.sh", {"DATA_DIR": "."}, ()),
    ],
)
def test_caches_of_other_data_and_lengths_are_found_by_what_they_are_made_of(checkout, script, variables, arguments):
    (checkout.root / "mine.json").touch()
    result = checkout.run(script, *arguments, cwd=checkout.root, **variables)
    assert result.returncode == 0, result.stderr
    named = {name: value for name, value in checkout.flags().items() if name.endswith(("_feature_file", "_left_file"))}
    assert len(named) >= 2
    assert set(named.values()) == {""}


def test_squad_script_needs_only_the_files_it_will_read(checkout, tmp_path):
    (tmp_path / "questions.json").touch()
    given = {"SQUAD_DIR": "elsewhere", "PREDICT_FILE": "questions.json"}
    result = checkout.run("multi_run_albert_squad.sh", DO_TRAIN="False", **given)
    assert result.returncode == 0, result.stderr
    assert checkout.flags()["predict_file"] == "questions.json"
    result = checkout.run("multi_run_albert_squad.sh", **given)
    assert (result.returncode, "elsewhere/train-v2.0.json" in result.stderr) == (2, True)
    result = checkout.run("multi_run_albert_squad.sh", DO_EVAL="false", DO_PREDICT="false", PREDICT_FILE="none.json")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SQUAD_VERSION": "2"}, ["SQUAD_VERSION=2 ", "1.1 or 2.0"]),
        ({"SQUAD_DIR": "none"}, ["none/train-v2.0.json", "SQUAD_DIR", "TRAIN_FILE"]),
        ({"PREDICT_FILE": "none.json"}, ["none.json", "SQUAD_DIR", "PREDICT_FILE"]),
    ],
)
def test_squad_script_says_in_one_line_what_is_wrong(checkout, variables, words):
    _assert_one_line_of_error(checkout, checkout.run("multi_run_albert_squad.sh", **variables), words)


# RACE -----------------------------------------------------------------------------------------------------------------


def test_race_script_has_the_predecessors_settings(checkout):
    result = checkout.run("multi_run_albert_race.sh", NUM_GPUS="8")
    assert result.returncode == 0, result.stderr
    assert "RACE: 4 examples/replica x 8 replicas = 32 examples/step, 12000 steps" in result.stdout
    flags = checkout.flags()
    expected = {
        "data_dir": str(checkout.root),
        "train_feature_file": str(checkout.root / "cached_albert_tfrecord" / "RACE_train.tf_record"),
        "eval_feature_file": str(checkout.root / "cached_albert_tfrecord" / "RACE_eval.tf_record"),
        "output_dir": str(checkout.root / "albert_output" / "RACE_base_v2_32_2e-05_seed42"),
        "eval_batch_size": "4",
        "max_qa_length": "128",
    }
    assert {name: flags[name] for name in expected} == expected
    settings = checkout.settings()
    assert (settings.data.max_seq_length, settings.model.albert_dropout_prob) == (512, 0)
    train = settings.train
    assert (train.learning_rate, train.train_steps, train.warmup_steps) == (2e-5, 12000, 1000)
    assert (train.per_replica_batch_size, train.save_checkpoints_steps) == (4, 1000)


@pytest.mark.parametrize("variable", ["DATA_DIR", "RACE_DIR"])
def test_race_script_takes_races_own_folder_or_the_one_above(checkout, tmp_path, variable):
    (tmp_path / "unpacked" / "train").mkdir(parents=True)
    for folder in ("unpacked", str(checkout.root)):
        assert (
            checkout.run("multi_run_albert_race.sh", MQL="64", TSP="9", WPSP="3", **{variable: folder}).returncode == 0
        )
        flags = checkout.flags()
        names = ("data_dir", "max_qa_length", "train_step", "warmup_step")
        assert [flags[name] for name in names] == [folder, "64", "9", "3"]


def test_race_script_says_in_one_line_what_is_missing(checkout):
    result = checkout.run("multi_run_albert_race.sh", DATA_DIR="none")
    _assert_one_line_of_error(checkout, result, ["none/RACE", "./download_glue_data.py", "DATA_DIR"])


# Own data -------------------------------------------------------------------------------------------------------------


def test_own_script_takes_the_recipe_and_is_called_after_its_file(checkout):
    result = checkout.run(OWN, NUM_GPUS="8")
    assert result.returncode == 0, result.stderr
    assert "own_tickets: 4 examples/replica x 8 replicas = 32 examples/step, 3.0 epochs" in result.stdout
    flags = checkout.flags()
    assert flags["output_dir"] == str(checkout.root / "albert_output" / "own_tickets_base_v2_32_2e-05_seed42")
    assert (flags["do_predict"], flags.keys() & {"task_name", "data_dir", "test_file"}) == ("false", set())
    settings = checkout.settings()
    train = settings.train
    assert (train.learning_rate, train.num_train_epochs, train.warmup_proportion) == (2e-5, 3.0, 0.1)
    assert (settings.data.max_seq_length, train.save_checkpoints_steps) == (128, 100)


@pytest.mark.parametrize(
    ("script", "arguments", "variables", "said"),
    [
        (OWN, [], {"EPOCH": "1", "BS": "1"}, "own_tickets: 1 example/replica x 1 replica = 1 example/step, 1 epoch"),
        (
            OWN,
            [],
            {"BS": "5", "ACCUM": "2", "NUM_GPUS": "3", "EPOCH": "2", "STRATEGY": "one"},
            "own_tickets: 5 examples/replica x 2 micro-batches x 1 replica = 10 examples/step, 2 epochs",
        ),
        (GLUE, [], {"TASK": "MRPC", "TSP": "1"}, "MRPC: 32 examples/replica x 1 replica = 32 examples/step, 1 step"),
        (GLUE, [], {"TASK": "MRPC", "TSP": "2"}, "MRPC: 32 examples/replica x 1 replica = 32 examples/step, 2 steps"),
        # What a flag behind the script's name may change is not said.
        (OWN, ["--num_train_epochs=9"], {}, "own_tickets"),
        (OWN, ["--train_batch_size", "2"], {}, "own_tickets"),
        (OWN, ["--norecipe"], {}, "own_tickets"),
        (OWN, ["--early_stopping_patience=2"], {"EPOCH": "50"}, "own_tickets"),
        (GLUE, ["-train_step=9"], {"TASK": "MRPC"}, "MRPC"),
        (
            GLUE,
            ["--task_name=CoLA"],
            {"TASK": "MRPC", "TSP": "9"},
            "CoLA: 16 examples/replica x 1 replica = 16 examples/step, 9 steps",
        ),
        # Nothing is trained.
        (OWN, [], {"DO_TRAIN": "false"}, "own_tickets"),
        (OWN, ["--nodo_train"], {}, "own_tickets"),
        (OWN, ["--seed=3"], {}, "own_tickets: 32 examples/replica x 1 replica = 32 examples/step, 3.0 epochs"),
    ],
)
def test_the_first_line_says_of_a_run_what_is_true(checkout, script, arguments, variables, said):
    result = checkout.run(script, *arguments, OUTPUT_DIR="out", **variables)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == f"{said}; log in out.log"


@pytest.mark.parametrize("way", ["--{}={}", "-{} {}", "--flagfile"])
def test_a_flag_that_says_where_or_of_what_a_run_is_names_its_folder_and_log(checkout, way):
    (checkout.root / "b.csv").write_text("text,label\na,x\nb,y\n")
    (checkout.root / "other").mkdir()
    for file in checkout.model.iterdir():
        shutil.copy(file, checkout.root / "other")
    named = {
        "train_file": "b.csv", "test_file": "tickets.csv", "seed": "7", "learning_rate": "1e-3", "model_dir": "other"
    }  # fmt: skip
    if way == "--flagfile":
        (checkout.root / "my flags").write_text("".join(f"--{name}={value}\n" for name, value in named.items()))
        arguments = ["--flagfile=my flags"]
    else:
        arguments = [word for pair in named.items() for word in way.format(*pair).split()]
    result = checkout.run(OWN, *arguments, cwd=checkout.root, TRAIN_FILE="", SEED="1", LR="2e-5")
    output = f"{checkout.root}/albert_output/own_b_other_32_1e-3_seed7"
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0].endswith(f"; log in {output}.log")
    assert Path(output).is_dir()
    assert checkout.flags()["do_predict"] == "true"
    result = checkout.run(OWN, "--output_dir=here", cwd=checkout.root, OUTPUT_DIR="there")
    assert result.stdout.splitlines()[0].endswith("; log in here.log")
    assert not list(checkout.root.glob("there*"))


def test_what_is_wrong_with_a_followed_flag_names_the_flag(checkout):
    result = checkout.run(OWN, "--seed=x", "--learning_rate=1,2", SEED="1")
    assert result.stderr == f"{OWN}: --seed=x is not a seed: use a whole number.\n"
    assert result.returncode == 2


def test_own_scripts_files_and_epochs_can_be_given(checkout, tmp_path):
    for name in ("my $(rows).csv", "dev.tsv", "test.jsonl"):
        (tmp_path / name).touch()
    variables = {"TRAIN_FILE": "my $(rows).csv", "VALIDATION_FILE": "dev.tsv", "TEST_FILE": "test.jsonl"}
    assert checkout.run(OWN, "--text_column_names=a,b", EPOCH="2.5", WPP="0.2", **variables).returncode == 0
    flags = checkout.flags()
    expected = {variable.lower(): value for variable, value in variables.items()}
    expected |= {
        "num_train_epochs": "2.5",
        "warmup_proportion": "0.2",
        "do_predict": "true",
        "text_column_names": "a,b",
    }
    assert {flag: flags[flag] for flag in expected} == expected
    assert "/own_my___rows__base_v2_32_2e-05" in flags["output_dir"]


# The line is that of albert/tasks/own/build.py; test_the_log_names_the_file_of_each_split is of it.
@pytest.mark.parametrize(
    ("logged", "variable", "file", "name"),
    [
        ("train: 5 of 5 rows of /data/my.rows.csv: a 2, b 3", "TRAIN_FILE", "my.rows.csv", "own_my.rows"),
        ("train: 1 of 1 row of my.rows.csv", "TRAIN_FILE", "my.rows.csv", "own_my.rows"),
        ("train: 1,805 of 2,000 rows of data/my.rows.csv: a 2", "TRAIN_FILE", "my.rows.jsonl", "own_my.rows.jsonl"),
        # A run that was refused in the folder of another one, and a role that is another.
        ("train: 5 of 5 rows of my.rows.jsonl\n1 train: 5 of 5 rows of my.rows.csv", "TRAIN_FILE", "my.rows.csv",
         "own_my.rows.csv"),
        ("train: 5 of 5 rows of my.rows.csv\n1 test: 5 of 5 rows of my.rows.jsonl", "TRAIN_FILE", "my.rows.csv",
         "own_my.rows"),
        ("test: 5 of 5 rows of my.rows.csv", "TEST_FILE", "my.rows.jsonl", "own_my.rows.jsonl"),
        ("dev: 5 of 5 rows of my.rows.csv", "VALIDATION_FILE", "my.rows.jsonl", "own_my.rows.jsonl"),
        ("a run that was stopped before", "TRAIN_FILE", "my.rows.csv", "own_my.rows"),
        ("", "TRAIN_FILE", "my.rows.csv", "own_my.rows"),
    ],
)  # fmt: skip
def test_files_that_differ_in_their_endings_alone_have_a_folder_each(checkout, tmp_path, logged, variable, file, name):
    end = "_base_v2_32_2e-05_seed42"
    folder = checkout.root / "albert_output"
    folder.mkdir(exist_ok=True)
    if logged:
        (folder / f"own_my.rows{end}.log").write_text(f"17:00:00 {logged}\n17:00:01 more\n")
    (tmp_path / file).touch()
    variables = {"TRAIN_FILE": "", variable: file, "DO_TRAIN": str(variable == "TRAIN_FILE").lower()}
    result = checkout.run(OWN, **variables)
    assert result.returncode == 0, result.stderr
    assert checkout.flags()["output_dir"] == str(folder / f"{name}{end}")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TRAIN_FILE": ""}, ["TRAIN_FILE is not set", ".csv"]),
        ({"TRAIN_FILE": "none.csv"}, ["no file none.csv", "TRAIN_FILE"]),
        ({"TEST_FILE": "none.csv"}, ["no file none.csv", "TEST_FILE"]),
    ],
)
def test_own_script_says_in_one_line_what_is_missing(checkout, variables, words):
    _assert_one_line_of_error(checkout, checkout.run(OWN, **variables), words)


# Demo and set-up ------------------------------------------------------------------------------------------------------


def test_demo_hands_its_arguments_on_and_ends_with_the_programs_exit_code(checkout):
    assert checkout.run("demo_albert", "pretraining", "-s", "3", STUB_EXIT_CODE="2").returncode == 2
    assert checkout.call() == ("demo", ["pretraining", "-s", "3"])


@pytest.mark.parametrize("words", [["help"], ["-help"], ["--help"], ["finetuning", "-h"], ["pretraining", "--help"]])
def test_demos_help_installs_nothing(checkout, words):
    shutil.rmtree(checkout.root / ".venv")
    write_executable(checkout.root / "scripts" / "setup.sh", "#!/bin/sh\nexit 1\n")
    result = checkout.run("demo_albert", *words, PYTHON=sys.executable)
    assert (result.returncode, result.stderr) == (0, "")
    assert "pretraining" in result.stdout or "-l N" in result.stdout
    assert not (checkout.root / ".venv").exists()
    # Anything else does.
    assert checkout.run("demo_albert", "-m", "tiny").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["--devel"], {}, ["--devel", "--dev, --serving and --help"]),
        ([], {"ALBERT_BUILD": "tpu"}, ["ALBERT_BUILD=tpu", "cpu", "cuda"]),
        ([], {"PYTHON": "no-such-python"}, ["no-such-python", "3.11"]),
        ([], {"PYTHON": "python-too-old"}, ["Python 3.8.1", "3.11"]),
    ],
)
def test_setup_says_in_one_line_what_is_wrong(checkout, arguments, variables, words):
    _prepare_setup(checkout)
    write_executable(
        checkout.bin / "python-too-old", '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1 || exit 1\n'
    )
    result = checkout.run("scripts/setup.sh", *arguments, **variables)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr
    assert not (checkout.root / ".venv").exists()


def test_setup_takes_an_interpreter_in_a_folder_with_a_blank(checkout):
    _prepare_setup(checkout)
    python = checkout.root / "my tools/python"
    python.parent.mkdir()
    write_executable(python, '#!/bin/sh\n[ "$1" != -m ]\n')  # with which no environment can be made
    result = checkout.run("scripts/setup.sh", PYTHON=str(python))
    assert (result.returncode, "could not make" in result.stderr) == (2, True), result.stderr


def _prepare_setup(checkout: Checkout) -> None:
    """The set-up itself, in a checkout where it has made nothing yet."""
    shutil.copy(ROOT / "scripts" / "setup.sh", checkout.root / "scripts" / "setup.sh")
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, checkout.root / name)
    shutil.rmtree(checkout.root / ".venv")


@pytest.mark.parametrize("arguments", [["--help"], ["--dev", "-h"]])
def test_setups_help_installs_nothing(checkout, arguments):
    shutil.copy(ROOT / "scripts" / "setup.sh", checkout.root / "scripts" / "setup.sh")
    shutil.rmtree(checkout.root / ".venv")
    result = checkout.run("scripts/setup.sh", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert all(word in result.stdout for word in ("--dev ", "--serving ", "PYTHON=", "ALBERT_BUILD="))
    assert not (checkout.root / ".venv").exists()


def test_setup_finds_what_serving_is():
    # A line of sed reads it: one requirement on the line of its name.
    text = (ROOT / "pyproject.toml").read_text()
    (requirement,) = tomllib.loads(text)["project"]["optional-dependencies"]["serving"]
    assert f'\nserving = ["{requirement}"]\n' in text


def test_run_tests_hands_its_arguments_to_pytest(checkout):
    words = ["--quick", "albert/tasks/metrics_test.py", "-k", "f1 or accuracy"]
    assert checkout.run("run_tests", *words).returncode == 0
    program, arguments = checkout.call()
    assert program == "pytest"
    assert arguments[-len(words) :] == words


def test_run_tests_alone_runs_the_quick_tests_last_and_ends_as_pytest_does(checkout):
    assert checkout.run("run_tests").returncode == 0
    assert checkout.call()[1][-1] == "--quick"
    # The first part failed: the others run, and all are not well. It was interrupted: there is no second.
    for exit_code, last in ((1, "--quick"), (2, "--memory=much")):
        assert checkout.run("run_tests", STUB_EXIT_CODE=str(exit_code)).returncode == exit_code
        assert checkout.call()[1][-1] == last


@pytest.mark.parametrize(
    ("script", "variables", "expected_program"),
    [
        ("multi_run_albert_glue.sh", {"TASK": "MRPC"}, "run_multigpus_classifier"),
        ("multi_run_albert_squad.sh", {}, "run_multigpus_squad_v2"),
        ("multi_run_albert_squad.sh", {"SQUAD_VERSION": "1.1"}, "run_multigpus_squad_v1"),
        ("multi_run_albert_race.sh", {"ALBERT_DP": "0.1"}, "run_multigpus_race"),
    ],
)
def test_flags_in_scripts_parse(checkout, script, variables, expected_program):
    assert checkout.run(script, **variables).returncode == 0
    assert checkout.call()[0] == expected_program
    assert checkout.settings().do_train


@pytest.mark.parametrize(
    ("script", "variable", "way_out"),
    [
        (OWN, "TSP", "EPOCH, a number of epochs"),
        ("multi_run_albert_squad.sh", "WPSP", "WPP, a share of the steps"),
        ("multi_run_albert_glue.sh", "EPOCH", "TSP, a number of steps, or add --num_train_epochs=N"),
        ("multi_run_albert_race.sh", "WPP", "WPSP, a number of steps"),
    ],
)
def test_another_scripts_measure_of_the_training_is_refused(checkout, script, variable, way_out):
    result = checkout.run(script, **{variable: "2"})
    assert result.returncode == 2
    assert f"{variable}=2 has no effect on this script: set {way_out}." in result.stderr
