"""The batch script, with commands in place of Slurm's that note how they are called."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from albert.cli.pretraining import RUN_PRETRAINING

SCRIPT = Path(__file__).parent / "slurm" / "albert.sbatch"
ARGUMENTS = ("albert.run_pretraining", "--input_file=a b", "--output_dir=out")
DIRECTIVES = dict(
    line.removeprefix("#SBATCH --").partition("=")[::2]
    for line in SCRIPT.read_text().splitlines()
    if line.startswith("#SBATCH")
)
# Ends with $CODE; with $WAITS, after a SIGTERM alone.
SRUN = f"""#!{sys.executable}
import os, signal, sys, time
from pathlib import Path
Path("srun").write_text("\\n".join(sys.argv[1:]))
def stop(*_):
    Path("stopped").touch()
    sys.exit(int(os.environ["CODE"]))
signal.signal(signal.SIGTERM, stop)
Path("started").touch()
if os.environ.get("WAITS"):
    time.sleep(60)
sys.exit(int(os.environ["CODE"]))
"""


class Queue:
    """A folder from which a job was submitted, and what the job does in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        for name, text in {"srun": SRUN, "scontrol": '#!/bin/sh\necho "$@" >>requeued\n'}.items():
            (bin_folder / name).write_text(text)
            (bin_folder / name).chmod(0o755)
        # Slurm runs a copy, elsewhere.
        self.script = shutil.copy(SCRIPT, bin_folder / "slurm_script")

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen:
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(self.folder),
            "SLURM_JOB_ID": "77",
            "SLURM_GPUS_ON_NODE": "8",
            "SLURM_CPUS_PER_TASK": "16",
            **variables,
        }
        return subprocess.Popen(
            ["bash", self.script, *arguments], env=environment, stderr=subprocess.PIPE, text=True, cwd="/"
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """The job's exit code, and what it says."""
        process = self.start(*(arguments or ARGUMENTS), **variables)
        said = process.communicate(timeout=30)[1]
        return process.returncode, said

    def requeued(self) -> bool:
        """Whether the job asked to be put into the queue again since the last call."""
        file = self.folder / "requeued"
        if not file.exists():
            return False
        assert file.read_text() == "requeue 77\n"
        file.unlink()
        return True


@pytest.fixture
def queue(tmp_path) -> Queue:
    return Queue(tmp_path)


def test_srun_starts_one_worker_a_node_with_its_gpus(queue):
    assert queue.run(CODE="0") == (0, "")
    python = str(queue.folder / ".venv/bin/python")
    options = ["--kill-on-bad-exit=0", "--wait=300", "--cpus-per-task=16"]
    command = [python, "-m", *ARGUMENTS, "--strategy_type=multi_worker", "--num_gpu_cores=8"]
    assert (queue.folder / "srun").read_text().splitlines() == options + command
    assert {"strategy_type", "num_gpu_cores", "input_file", "output_dir"} <= RUN_PRETRAINING.flag_of.keys()
    assert not queue.requeued()


def test_directives_ask_for_one_task_a_node_a_warning_and_a_place_in_the_queue_again():
    assert {"nodes": "2", "ntasks-per-node": "1", "gpus-per-node": "8"}.items() <= DIRECTIVES.items()
    # The shell alone (B:) gets it, long enough before the end to save; logs of all starts are kept.
    assert {"signal": "B:USR1@180", "requeue": "", "open-mode": "append"}.items() <= DIRECTIVES.items()


@pytest.mark.parametrize("code", [2, 130, 143])
def test_what_would_end_again_or_was_stopped_does_not_come_back(queue, code):
    assert queue.run(CODE=str(code))[0] == code
    assert not queue.requeued()


@pytest.mark.parametrize("code", [75, 137, 138, 139, 1])  # 138: by USR1, as a signal to the script
def test_a_lost_worker_restarts_all_at_most_so_many_times(queue, code):
    for count in (1, 2):
        exit_code, said = queue.run(CODE=str(code), MAX_RESTARTS="2")
        assert (exit_code, queue.requeued()) == (code, True)
        assert f"(exit code {code}), loss {count} of 2" in said
    exit_code, said = queue.run(CODE=str(code), MAX_RESTARTS="2")
    assert (exit_code, queue.requeued(), "more than 2 times" in said) == (code, False, True)


def test_where_slurm_refuses_the_job_says_what_to_do(queue):
    (queue.folder / "bin" / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    code, said = queue.run(CODE="75")
    assert (code, "submit the same command again" in said) == (75, True)


def test_losses_are_forgotten_when_the_training_is_done(queue):
    queue.run(CODE="75")
    assert len(list(queue.folder.glob(".albert-*"))) == 1
    queue.run(CODE="0")
    assert list(queue.folder.glob(".albert-*")) == []


@pytest.mark.parametrize("code", ["143", "0"])
def test_the_time_limit_stops_the_workers_and_requeues_what_is_not_done(queue, code):
    process = queue.start(*ARGUMENTS, CODE=code, WAITS="1")
    deadline = time.monotonic() + 30
    while not (queue.folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    said = process.communicate(timeout=30)[1]
    assert (queue.folder / "stopped").exists()
    assert (process.returncode, queue.requeued()) == (int(code), code == "143")
    assert "the time limit is near" in said


@pytest.mark.parametrize("flag", ["--overwrite_output_dir", "--overwrite_output_dir=true", "-overwrite_output_dir"])
def test_what_would_begin_again_at_every_restart_is_refused(queue, flag):
    code, said = queue.run(*ARGUMENTS, flag, CODE="0")
    assert (code, len(said.splitlines()), "--overwrite_output_dir" in said) == (2, 1, True)
    assert not (queue.folder / "srun").exists()


def test_a_call_without_a_module_is_refused(queue):
    process = queue.start(CODE="0")
    said = process.communicate(timeout=30)[1]
    assert (process.returncode, len(said.splitlines()), "give a module" in said) == (2, 1, True)


@pytest.mark.parametrize("value", ["", "-1", "ten"])
def test_a_number_of_restarts_that_is_none_is_refused(queue, value):
    code, said = queue.run(MAX_RESTARTS=value, CODE="0")
    assert code == (2 if value else 0)
    assert (f"MAX_RESTARTS={value} is not" in said) == bool(value)


def test_outside_slurm_the_script_says_how_it_is_started(queue):
    code, said = queue.run(SLURM_JOB_ID="", CODE="0")
    assert (code, len(said.splitlines()), "sbatch cloud/slurm/albert.sbatch" in said) == (2, 1, True)
