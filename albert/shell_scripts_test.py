"""The shell scripts, run in a copy of the checkout where set-up does nothing and Python only notes how it is called."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from albert import flags

ROOT = Path(__file__).parent.parent

STUB_PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "$@" >"$STUB_CALL"
echo "stub output"
for argument in "$@"; do
  if [[ $argument == --output_dir=* ]]; then
    mkdir -p "${argument#*=}"
    echo "eval_accuracy = 0.95" >"${argument#*=}/eval_results.txt"
  fi
done
exit "${STUB_EXIT_CODE:-0}"
"""


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
        for name in ("multi_run_albert_glue.sh", "demo_albert"):
            shutil.copy(ROOT / name, self.root / name)
        write_executable(self.root / ".venv" / "bin" / "python", STUB_PYTHON)
        write_executable(self.root / "scripts" / "setup.sh", "#!/bin/sh\n")
        for task in ("CoLA", "MRPC", "MNLI", "QQP"):
            (self.root / "glue_data" / task).mkdir(parents=True)
        self.model = self.root / "pretrained_model" / "albert_base_v2"
        self.model.mkdir(parents=True)
        for name in ("albert_config.json", "model.ckpt-best.index", "30k-clean.model"):
            (self.model / name).touch()
        self.set_gpus(0)

    def set_gpus(self, count: int) -> None:
        """Makes `nvidia-smi -L` list this many."""
        lines = "".join(f"echo 'GPU {index}: NVIDIA H200 (UUID: GPU-{index})'\n" for index in range(count))
        write_executable(self.bin / "nvidia-smi", f"#!/bin/sh\n{lines}")

    def run(
        self, script: str, *arguments: str, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess:
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "STUB_CALL": str(self.call_file),
            **variables,
        }
        return subprocess.run(
            [self.root / script, *arguments],
            cwd=cwd or self.root.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def call(self) -> list[str]:
        """The arguments the stub was called with last, after `-m albert.run_multigpus_classifier`."""
        module_flag, module, *arguments = self.call_file.read_text().splitlines()
        assert (module_flag, module) == ("-m", "albert.run_multigpus_classifier")
        return arguments

    def flags(self) -> dict[str, str]:
        return dict(argument.removeprefix("--").split("=", 1) for argument in self.call() if "=" in argument)


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize(
    # Global batches of the ALBERT authors' run_glue.sh: CoLA 16, MRPC 32, MNLI and QQP 128.
    ("task", "num_gpus", "per_gpu", "rate", "steps", "warmup"),
    [
        ("MRPC", "8", "4", "2e-5", "800", "200"),
        ("CoLA", "1", "16", "1e-5", "5336", "320"),
        ("CoLA", "3", "6", "1e-5", "5336", "320"),  # 16 is no multiple of 3: the next one, 18
        ("misMNLI", "8", "16", "3e-5", "10000", "1000"),
    ],
)
def test_glue_script_takes_the_tasks_recipe(checkout, task, num_gpus, per_gpu, rate, steps, warmup):
    result = checkout.run("multi_run_albert_glue.sh", TASK=task, NUM_GPUS=num_gpus)
    assert result.returncode == 0, result.stderr
    flags = checkout.flags()
    names = ("task_name", "num_gpu_cores", "train_batch_size", "learning_rate", "train_step", "warmup_step")
    assert [flags[name] for name in names] == [task, num_gpus, per_gpu, rate, steps, warmup]
    assert (
        f"{per_gpu} examples/replica x {num_gpus} replicas = {int(per_gpu) * int(num_gpus)} examples/step"
        in result.stdout
    )


def test_glue_script_finds_data_and_model_from_any_directory(checkout):
    result = checkout.run("multi_run_albert_glue.sh", cwd=Path("/"))
    assert result.returncode == 0, result.stderr
    flags = checkout.flags()
    assert flags["data_dir"] == str(checkout.root / "glue_data")
    assert flags["init_checkpoint"] == str(checkout.model / "model.ckpt-best")
    assert flags["output_dir"] == str(checkout.root / "albert_output" / "CoLA_base_v2_16_1e-5")


def test_glue_scripts_settings_can_be_overridden(checkout, tmp_path):
    settings = {
        "BS": ("train_batch_size", "5"),
        "EBS": ("eval_batch_size", "7"),
        "MSL": ("max_seq_length", "64"),
        "LR": ("learning_rate", "3e-4"),
        "ALBERT_DP": ("albert_dropout_prob", "0.2"),
        "WPSP": ("warmup_step", "3"),
        "TSP": ("train_step", "9"),
        "SAVE": ("save_checkpoints_steps", "4"),
        "KEEP": ("keep_checkpoint_max", "3"),
        "SEED": ("seed", "11"),
        "DTYPE": ("dtype", "bfloat16"),
        "DEVICE": ("device", "cpu"),
        "OPTIMIZER": ("optimizer", "lamb"),
        "STRATEGY": ("strategy_type", "one"),
        "DO_TRAIN": ("do_train", "false"),
        "CACHED_DIR": ("cached_dir", "a cache"),
        "OUTPUT_DIR": ("output_dir", str(tmp_path / "an output")),
    }
    values = {variable: value for variable, (_, value) in settings.items()}
    result = checkout.run("multi_run_albert_glue.sh", "--log_steps=2", **values)
    assert result.returncode == 0, result.stderr
    flags = checkout.flags()
    assert {flag: flags[flag] for flag, _ in settings.values()} == dict(settings.values())
    assert flags["log_steps"] == "2"
    log = tmp_path / "an output.log"
    assert log.read_text() == "stub output\n"


@pytest.mark.parametrize("variable", ["DATA_DIR", "GLUE_DIR"])
def test_glue_script_takes_the_data_folder_under_its_old_name_too(checkout, tmp_path, variable):
    (tmp_path / "elsewhere" / "CoLA").mkdir(parents=True)
    checkout.run("multi_run_albert_glue.sh", **{variable: "elsewhere"})
    assert checkout.flags()["data_dir"] == "elsewhere"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TASK": "RTE"}, ["/glue_data/RTE", "./download_glue_data.py"]),
        ({"ALBERT_DIR": "large"}, ["albert_large_v2/albert_config.json", "./download_pretrained_models.sh"]),
        ({"SPM_MODEL": "no.model"}, ["no.model", "./download_pretrained_models.sh"]),
        ({"TASK": "SQuAD"}, ["TASK=SQuAD", "CoLA"]),
        ({"NUM_GPUS": "many"}, ["NUM_GPUS=many"]),
        ({"BS": "-1"}, ["BS=-1"]),
    ],
)
def test_glue_script_says_in_one_line_what_is_missing(checkout, variables, words):
    result = checkout.run("multi_run_albert_glue.sh", **variables)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr
    assert not (checkout.root / "albert_output").exists()
    assert not checkout.call_file.exists()


def test_glue_script_does_not_hide_a_failure_behind_the_log(checkout):
    assert checkout.run("multi_run_albert_glue.sh", STUB_EXIT_CODE="2").returncode == 2


@pytest.mark.parametrize(
    ("gpus", "visible", "expected"),
    [
        (0, {}, ("cpu", "2", "16")),
        (1, {}, ("gpu", "1", "32")),
        (4, {}, ("gpu", "2", "16")),
        (4, {"CUDA_VISIBLE_DEVICES": "3"}, ("gpu", "1", "32")),
        (4, {"CUDA_VISIBLE_DEVICES": ""}, ("cpu", "2", "16")),
        (4, {"CUDA_VISIBLE_DEVICES": "1,-1,2"}, ("gpu", "1", "32")),
    ],
)
def test_demo_uses_two_replicas_of_what_is_there(checkout, gpus, visible, expected):
    checkout.set_gpus(gpus)
    result = checkout.run("demo_albert", **visible)
    assert result.returncode == 0, result.stderr
    flags = checkout.flags()
    assert (flags["device"], flags["num_gpu_cores"], flags["train_batch_size"]) == expected


def test_demo_says_where_the_results_are(checkout):
    result = checkout.run("demo_albert")
    output_dir = checkout.flags()["output_dir"]
    assert output_dir.startswith(str(checkout.root / "demo_output"))
    assert "eval_accuracy = 0.95" in result.stdout
    assert f"{output_dir}/training_curve.png" in result.stdout


def test_demo_ends_with_the_programs_exit_code(checkout):
    assert checkout.run("demo_albert", STUB_EXIT_CODE="2").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["--devel"], {}, ["--devel", "--dev"]),
        ([], {"ALBERT_BUILD": "tpu"}, ["ALBERT_BUILD=tpu", "cpu", "cuda"]),
        ([], {"PYTHON": "no-such-python"}, ["no-such-python", "3.11"]),
        ([], {"PYTHON": "python-too-old"}, ["Python 3.8.1", "3.11"]),
    ],
)
def test_setup_says_in_one_line_what_is_wrong(checkout, arguments, variables, words):
    shutil.copy(ROOT / "scripts" / "setup.sh", checkout.root / "scripts" / "setup.sh")
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, checkout.root / name)
    shutil.rmtree(checkout.root / ".venv")
    write_executable(
        checkout.bin / "python-too-old", '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1 || exit 1\n'
    )
    result = checkout.run("scripts/setup.sh", *arguments, **variables)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("script", ["multi_run_albert_glue.sh", "demo_albert"])
def test_flags_in_scripts_parse(checkout, script):
    checkout.run(script, TASK="MRPC")
    flags.parse_classifier_flags(["run_multigpus_classifier", *checkout.call()])


def test_flags_in_the_readme_exist():
    readme = ROOT / "README.md"
    # Commands that run a module of the package, with their continued lines.
    commands = re.findall(r"-m albert\.\w+(?:[^\n]*\\\n)*[^\n]*", readme.read_text())
    named = {name for command in commands for name in re.findall(r"(?<!\S)--(\w+)", command)}
    assert named
    assert named <= flags.all_flag_names()
