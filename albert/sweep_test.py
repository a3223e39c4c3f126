"""A sweep of the project's own programs, killed and resumed: it ends with the table of one that nothing disturbed."""

import csv
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.cli.sweep import command_of, parse_sweep_flags, parsed_run
from albert.runs import fine_tuning
from albert.runs.sweep.conduct import Sweep
from albert.runs.sweep.plan import Planner, find_tasks, seeds_of
from albert.runs.sweep.search import settings_of
from albert.runs.sweep.testing import sweep_command, write_toy_glue
from albert.system.locks import LOCK

ROOT = Path(__file__).parent.parent
SWEEP = ("--task_name=CoLA,RTE", "--seeds=1,2", "--set", "learning_rate=1e-3", "--nodo_predict")
RUNS = (
    *(
        "--train_step=12",
        "--warmup_step=0",
        "--save_checkpoints_steps=4",
        "--train_batch_size=4",
        "--max_seq_length=24",
    ),
    "--max_unknown_share=1",
)
LIMIT_SECONDS = 400


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "a program hangs"
        time.sleep(0.05)


@pytest.fixture
def started() -> Iterator[Callable[[list[str]], subprocess.Popen]]:
    processes = []

    def start(argv: list[str]) -> subprocess.Popen:
        command = [sys.executable, "-m", "albert.sweep", *argv[1:]]
        processes.append(
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()  # its runs end with it
        process.communicate()


def undisturbed(argv: list[str]) -> None:
    """Does the runs of a sweep that are not finished in this process, one after the other, and compares them all."""
    request = parse_sweep_flags([*argv[:1], "--launcher=none", *argv[1:]])
    planner = Planner(request, find_tasks(request, parsed_run), parsed_run)
    for trained in planner.runs(settings_of(request), seeds_of(request.seeds)):
        job = trained.job
        if not job.is_finished():
            job.begin()
            fine_tuning.run(*parse_classifier_flags(command_of(job.module, job.all_flags({"device": "cpu"}))[2:]))
    Sweep(request, parsed_run, command_of).run()


def finished(folder: Path) -> list[Path]:
    return list((folder / "sweep").glob("*/*/seed*/eval_results.json"))


def scores(folder: Path) -> list[tuple[str, ...]]:
    with (folder / "sweep/results.csv").open() as file:
        names = ("task", "learning_rate", "seed", "state", "best_step", "score")
        return [tuple(row[name] for name in names) for row in csv.DictReader(file)]


@pytest.mark.training
def test_a_sweep_that_is_killed_and_one_of_its_runs_too_resumes_to_the_same_table(tmp_path, started):
    killed, reference = tmp_path / "killed", tmp_path / "reference"
    for folder in (killed, reference):
        write_toy_glue(folder / "data")
    argv = sweep_command(killed, *SWEEP, runs=(*RUNS, f"--cached_dir={tmp_path / 'cache'}"))
    first = started(argv)
    # One run is killed after its first checkpoint, and the sweep, when another one is finished.
    wait_for(lambda: list((killed / "sweep").rglob("model.ckpt-4.index")))
    victim = next((killed / "sweep").rglob("model.ckpt-4.index")).parent
    process = int(re.search(r"process (\d+)", (victim / LOCK).read_text())[1])
    subprocess.run(["kill", f"-{signal.SIGKILL}", str(process)], check=True)
    wait_for(lambda: finished(killed))
    begun = [path.parent for path in (killed / "sweep").glob("*/*/seed*/sweep_run.json")]
    done = {path: path.stat().st_mtime_ns for path in finished(killed)}
    first.kill()
    first.communicate(timeout=LIMIT_SECONDS)
    assert not (victim / "eval_results.json").exists()
    second = started(argv)
    _, said = second.communicate(timeout=LIMIT_SECONDS)
    assert second.returncode == 0, said
    assert all(path.stat().st_mtime_ns == written for path, written in done.items()), "a finished run was run again"
    # Only what was disturbed can differ: in the reference those runs are done again, from their beginning to their end.
    shutil.copytree(killed / "sweep", reference / "sweep")
    disturbed = [run for run in begun if run / "eval_results.json" not in done]
    assert victim in disturbed
    for run in disturbed:
        shutil.rmtree(reference / run.relative_to(killed))
    undisturbed(sweep_command(reference, *SWEEP, runs=(*RUNS, f"--cached_dir={tmp_path / 'cache'}")))
    assert (killed / "sweep/table.md").read_text() == (reference / "sweep/table.md").read_text()
    assert scores(killed) == scores(reference)
    assert len(finished(killed)) == len(finished(reference)) == 4
