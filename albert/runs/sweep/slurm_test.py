"""The script for sbatch: what shellcheck says of it, and what it does where Slurm's own programs are stand-ins."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from albert.runs.sweep.testing import conduct, starts_of, sweep_command, write_toy_glue

SHELLCHECK = Path(sys.executable).with_name("shellcheck")


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "a folder"
    root.mkdir()
    write_toy_glue(root / "data")
    return root


def write_script(folder: Path, *flags: str, behaviour: dict[str, str] | None = None) -> Path:
    assert conduct(folder, sweep_command(folder, "--launcher=slurm", *flags), behaviour) == []
    return folder / "sweep/sweep.sbatch"


def commands_of(script: Path) -> str:
    """The list that the script reads."""
    (path,) = (path for path in script.parent.glob("sweep*.commands") if path.name in script.read_text())
    return path.read_text()


def run(script: Path, number: int, folder: Path) -> subprocess.Popen:
    requeue = folder / "bin/scontrol"
    requeue.parent.mkdir(exist_ok=True)
    requeue.write_text(f'#!/bin/sh\necho "$@" >>"{folder}/requeued"\n')
    requeue.chmod(0o755)
    slurm = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_JOB_ID": "77"}
    environment = {**os.environ, **slurm, "PATH": f"{requeue.parent}:{os.environ['PATH']}"}
    return subprocess.Popen(["bash", script], env=environment, stderr=subprocess.PIPE, text=True)


def test_shellcheck_finds_nothing(folder):
    program = SHELLCHECK if SHELLCHECK.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    script = write_script(folder, "--task_name=MRPC", "--seeds=1,2")
    done = subprocess.run([program, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_each_element_of_the_array_is_a_run_and_what_uses_its_model(folder):
    script = write_script(folder, "--task_name=MNLI,RTE,CoLA", "--from_mnli", "--seeds=1,2", "--max_parallel=3")
    text = script.read_text()
    assert "#SBATCH --array=1-4%3\n" in text
    assert "#SBATCH --cpus-per-task=1\n" in text
    lines = commands_of(script).splitlines()
    assert [line.count("pretend.py") for line in lines] == [4, 4, 1, 1]
    for number in (1, 2, 3, 4):
        process = run(script, number, folder)
        assert process.wait(timeout=60) == 0, process.stderr.read()
    argv = sweep_command(folder, "--task_name=MNLI,RTE,CoLA", "--from_mnli", "--seeds=1,2", "--launcher=none")
    assert conduct(folder, argv) == []
    assert (folder / "sweep/results.csv").read_text().count(",finished,") == 6
    # What is finished is in no further script.
    script = write_script(folder, "--task_name=MNLI,RTE,CoLA", "--from_mnli", "--seeds=1,2,3")
    assert "1-0" not in script.read_text()
    assert len(commands_of(script).splitlines()) == 2


@pytest.mark.slow
def test_an_element_that_waits_while_another_script_is_written_does_the_run_of_its_own(folder):
    # Slurm keeps a copy of the script that was submitted.
    submitted = shutil.copy(write_script(folder, "--task_name=MRPC", "--seeds=1,2"), folder / "copy")
    assert run(submitted, 1, folder).wait(timeout=60) == 0
    write_script(folder, "--task_name=MRPC", "--seeds=1,2,3")  # of which seed 1 is finished
    assert run(submitted, 2, folder).wait(timeout=60) == 0
    done = {path.name: len(starts_of(path)) for path in (folder / "sweep/MRPC/recipe").glob("seed?")}
    assert done == {"seed1": 1, "seed2": 1, "seed3": 0}
    assert conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1,2,3")) == []
    write_script(folder, "--task_name=MRPC", "--seeds=1,2,3")
    assert run(submitted, 2, folder).wait(timeout=60) == 0
    assert {len(starts_of(path)) for path in (folder / "sweep/MRPC/recipe").glob("seed?")} == {1}


@pytest.mark.slow
def test_a_run_that_slurm_does_again_for_other_data_is_finished_then(folder):
    argv = sweep_command(folder, "--task_name=MNLI", "--seeds=1")
    assert conduct(folder, argv) == []
    write_toy_glue(folder / "data", {"test": 6})
    submitted = shutil.copy(write_script(folder, "--task_name=MNLI", "--seeds=1"), folder / "copy")
    write_toy_glue(folder / "data", {"test": 7})
    script = write_script(folder, "--task_name=MNLI", "--seeds=1")
    # What was submitted before does not pass for what is written now; here it reads the data of now all the same.
    assert run(submitted, 1, folder).wait(timeout=60) == 0
    assert commands_of(write_script(folder, "--task_name=MNLI", "--seeds=1")).count("pretend.py") == 3
    assert run(script, 1, folder).wait(timeout=60) == 0
    write_script(folder, "--task_name=MNLI", "--seeds=1")
    assert not script.exists()  # nothing is left
    assert {len(starts_of(path)) for path in folder.glob("sweep/*/recipe/seed1")} == {3}


@pytest.mark.parametrize("behaviour", ["wait", "helped"])  # "helped": as while other processes prepare its data
def test_a_run_that_slurm_stops_saves_and_is_queued_again(folder, behaviour):
    script = write_script(folder, "--task_name=MRPC", "--seeds=1", behaviour={"": behaviour})
    process = run(script, 1, folder)
    run_folder = folder / "sweep/MRPC/recipe/seed1"
    deadline = time.monotonic() + 60
    while not (run_folder / "waits").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # to the script alone, as --signal=B: does
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert (run_folder / "saved").exists()
    assert (folder / "requeued").read_text() == "requeue 77\n"
    assert len(starts_of(run_folder)) == 1


def test_gpus_are_asked_for(folder):
    script = write_script(folder, "--gpus=4", "--gpus_per_run=2", "--task_name=MRPC", "--seeds=1")
    assert "#SBATCH --gres=gpu:2\n" in script.read_text()
    assert "--device=gpu" in commands_of(script)
    assert "--num_gpu_cores=2" in commands_of(script)


def test_where_all_runs_are_finished_no_script_is_left(folder):
    script = write_script(folder, "--task_name=MRPC", "--seeds=1")
    assert conduct(folder, sweep_command(folder, "--task_name=MRPC", "--seeds=1")) == []
    assert script.exists()
    write_script(folder, "--task_name=MRPC", "--seeds=1")
    assert not script.exists()
    assert list((folder / "sweep").glob("*.commands")) == []


def test_sbatch_reads_the_name_of_the_log_as_one_word(folder):
    root = folder / "100%"
    write_toy_glue(root / "data")
    text = write_script(root, "--task_name=MRPC", "--seeds=1").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("#SBATCH --output="))
    expected = f"{folder}/100%%/sweep/slurm-%A_%a.log"
    assert shlex.split(line, comments=False)[1:] == [f"--output={expected}"]
