"""Workers as real processes: what they make is what one process makes, and they stop, fail and continue together.

What costs minutes is left out unless `--workers` is given.
"""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from albert.engine import checkpoint_files
from albert.engine.evaluations import EvaluationLog
from albert.runs.testing import Ended, Group, Job, command, run, write_inputs

pytestmark = pytest.mark.training

TOLERANCE = 1e-6
WORKERS = {"strategy_type": "multi_worker", "meeting_seconds": 60}
LAMB = {"optimizer": "lamb", "gradient_accumulation_steps": 2, "pack_sequences": "false", "do_predict": None}
DROPOUT = {"albert_dropout_prob": 0.1}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Has what the commands read, and is where they run."""
    monkeypatch.chdir(tmp_path)
    return write_inputs(tmp_path)


def difference(ours: Path, theirs: Path, step: int | str) -> float:
    """The largest between two checkpoints, weights and slots."""
    found = [checkpoint_files.load_tensors(out / f"model.ckpt-{step}") for out in (ours, theirs)]
    assert found[0].keys() == found[1].keys()
    return max(float(np.abs(np.asarray(v, np.float64) - found[1][name]).max()) for name, v in found[0].items())


def assert_same_predictions(ours: Path, theirs: Path) -> None:
    """Each example once, in its order, and as probable."""
    rows = [
        [line.split("\t") for line in (out / "test_results.tsv").read_text().splitlines()] for out in (ours, theirs)
    ]
    assert len(rows[0]) == len(rows[1]) > 0
    np.testing.assert_allclose(np.array(rows[0], float), np.array(rows[1], float), atol=TOLERANCE)


def assert_all_say(ends: list[Ended], number: int, text: str) -> None:
    """Every worker's run `number` ended with the same message, which has `text`."""
    said = {next(iter(end.results[number].values())) for end in ends}
    assert len(said) == 1, said
    assert text in said.pop()


def test_two_workers_of_two_replicas_train_stop_fail_and_continue_as_one_process_does(folder):
    adamw = {**DROPOUT, "train_step": 20, "save_checkpoints_steps": 10, "keep_checkpoint_max": 5}
    lamb = {**adamw, **LAMB, "save_checkpoints_steps": 4}
    jobs = [
        Job(command("mrpc", "adamw", train_batch_size=2, **adamw, **WORKERS)),
        Job(command("mrpc", "adamw", train_batch_size=2, **{**adamw, "learning_rate": 1}, **WORKERS)),
        Job(command("mrpc", "lamb", train_batch_size=1, **lamb, **WORKERS), "SIGTERM", worker=1, step=14),
        Job(
            command("mrpc", "lamb", train_batch_size=1, **lamb, **WORKERS),
            truncated=("lamb/model.ckpt-14.data-00000-of-00001",),
        ),
    ]
    with Group(folder, jobs, replicas=2) as group:
        ends = group.ended()
    assert [end.code for end in ends] == [0, 0], ends[0].log[-3000:] + ends[1].log[-3000:]

    metrics = run(command("mrpc", "one_adamw", train_batch_size=8, **adamw))
    assert difference(folder / "adamw", folder / "one_adamw", 20) < TOLERANCE
    assert_same_predictions(folder / "adamw", folder / "one_adamw")
    for end in ends:
        assert end.results[0]["done"] == pytest.approx(metrics, abs=TOLERANCE)
    assert "2 examples/replica x 2 replicas x 2 workers = 8 examples/step" in ends[0].log
    assert "examples/step" not in ends[1].log  # the chief alone says what is no warning

    assert_all_say(ends, 1, "holds another run: learning_rate is 0.003 there and 1.0 here")

    assert [end.results[2]["signal"] for end in ends] == [signal.SIGTERM] * 2
    assert_all_say(ends, 2, "stopped after step 14 of 20, which is saved")
    run(command("mrpc", "one_lamb", train_batch_size=4, **lamb))
    # The stopped run's newest checkpoint was damaged: all of them went back to the one before.
    assert "Continuing from" in ends[0].log
    assert difference(folder / "lamb", folder / "one_lamb", 20) < TOLERANCE
    assert [e.step for e in EvaluationLog(folder / "lamb")] == [4, 8, 12, 16, 20]


def test_a_worker_that_is_killed_ends_the_others_and_all_continue_together(folder):
    flags = {**DROPOUT, "train_step": 16, "save_checkpoints_steps": 8, "do_eval": None, "do_predict": None}
    job = command("mrpc", "out", **flags, **WORKERS)
    with Group(folder, [Job(job, "SIGKILL", worker=1, step=11, is_program=True)]) as group:
        chief, killed = group.ended()
    assert (chief.code, killed.code) == (75, -signal.SIGKILL), chief.log[-3000:]
    line = chief.log.splitlines()[-1]
    assert line.startswith("error: worker 0 (127.0.0.1:")
    assert "worker 1 (127.0.0.1:" in line
    assert chief.seconds - killed.seconds < 60
    shutil.copytree(folder / "out", folder / "left")
    with Group(folder, [Job(job), Job(command("mrpc", "undisturbed", **flags, **WORKERS))]) as group:
        assert [end.code for end in group.ended()] == [0, 0]
    assert difference(folder / "out", folder / "undisturbed", 16) == 0
    assert not list((folder / "left").glob("*.tmp-*"))
