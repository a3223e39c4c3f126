"""Whole runs that meet damaged files, full disks, a second process and lost numbers. In this process where possible."""

import json
import logging
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.engine import checkpoint_files
from albert.errors import UserError
from albert.run_multigpus_classifier import cli
from albert.runs import fine_tuning
from albert.runs.output_dir import StillClaimed
from albert.system.locks import LOCK, OutputLock
from albert.system.testing import start_program
from albert.testing import resize_disk, sample_command, tiny_disk, unwritable, write_sample_data

ROOT = Path(__file__).parents[2]
# What must be the same after a run that met a fault, beside the log and the results, which also hold times.
SAME = ("evaluations.json", "checkpoint", "test_results.tsv", "submit_results.tsv", "Agreement.tsv")
SAME += tuple(f"model.ckpt-{step}{suffix}" for step in (8, 12, "best") for suffix in checkpoint_files.SUFFIXES)
ALL = ("train", "eval", "predict")


def _run(folder: Path, *actions: str, **flags: object) -> dict[str, float]:
    task, settings = parse_classifier_flags(
        sample_command(folder, *actions, **{"num_gpu_cores": 1, "train_batch_size": 8, **flags})
    )
    return fine_tuning.run(task, settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with data, caches and, in `out`, a finished run of 12 steps. Not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    write_sample_data(folder / "data")
    _run(folder, *ALL, keep_checkpoint_max=2)
    return folder


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """The same, to be changed. As in the original, `model.ckpt-best` shares its files with what it is a copy of."""
    folder = shutil.copytree(finished, tmp_path / "copy")
    best = json.loads((folder / "out/eval_results.json").read_text())["best"]["global_step"]
    if best in (8, 12):
        checkpoint_files.copy(folder / f"out/model.ckpt-{best}", folder / "out/model.ckpt-best")
    return folder


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _losses(out: Path) -> list[tuple[int, float, float]]:
    rows = [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["gradient_norm"]) for row in rows]


def _assert_same_results(found: Path, expected: Path) -> None:
    for name in SAME:
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    assert _losses(found) == _losses(expected)
    ours, theirs = (json.loads((out / "eval_results.json").read_text()) for out in (found, expected))
    for part in ("best", "evaluations", "best_metric", "task"):
        assert ours[part] == theirs[part]
    assert {path.name for path in found.iterdir() if "events" not in path.name} == {
        path.name for path in expected.iterdir() if "events" not in path.name
    }


# Damaged checkpoints --------------------------------------------------------------------------------------------------


def test_after_damage_to_the_newest_state_the_same_command_ends_as_if_undisturbed(copied, finished, caplog):
    _flip(copied / "out/model.ckpt-12.data-00000-of-00001")
    for name in ("test_results.tsv", "submit_results.tsv", "Agreement.tsv", "eval_results.txt"):
        (copied / "out" / name).unlink()
    _run(copied, *ALL, keep_checkpoint_max=2)
    assert "out/model.ckpt-12 cannot be read, it may be damaged" in caplog.text
    assert "model.ckpt-8; the steps after it are recomputed" in caplog.text
    _assert_same_results(copied / "out", finished / "out")


def test_when_all_is_damaged_nothing_is_trained_or_changed(copied):
    for path in (copied / "out").glob("model.ckpt-*.index"):
        path.write_bytes(path.read_bytes()[:-20])
    before = {path.name: path.read_bytes() for path in (copied / "out").iterdir()}
    for actions in (ALL, ("eval", "predict"), ("predict",)):
        with pytest.raises(UserError, match=r"model\.ckpt-best is damaged"):
            _run(copied, *actions, keep_checkpoint_max=2)
        after = {path.name: path.read_bytes() for path in (copied / "out").iterdir()}
        assert {name: after[name] for name in before} == before
        assert {name for name in after if "events" not in name} == {name for name in before if "events" not in name}


# One process at a time ------------------------------------------------------------------------------------------------


def test_a_directory_in_use_is_refused_before_anything_happens_there(copied):
    before = {path.name: path.read_bytes() for path in (copied / "out").iterdir()}
    with OutputLock(copied / "out"):
        for flags in ({}, {"overwrite_output_dir": True}):
            with pytest.raises(UserError, match=rf"out is in use by .*process {os.getpid()} on "):
                _run(copied, *ALL, **flags)
        assert {p.name: p.read_bytes() for p in (copied / "out").iterdir() if p.name != LOCK} == before
    assert sorted(path.name for path in copied.iterdir()) == ["cache", "data", "out"]


def _start(folder: Path, **flags: object) -> subprocess.Popen:
    arguments = sample_command(
        folder, "train", **{"num_gpu_cores": 1, "train_step": 300, "save_checkpoints_steps": 50, **flags}
    )
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return start_program("albert.run_multigpus_classifier", arguments[1:], cwd=ROOT, **streams)


def _wait_for_training(process: subprocess.Popen, out: Path) -> None:
    log = out / "training_log.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.05)


def test_a_second_process_is_refused_until_the_first_is_killed_and_a_second_signal_stops_at_once(copied):
    # All on the caches that are there. The holder is killed by signal 9, which leaves it no time to clean up.
    flags = {"output_dir": copied / "busy"}
    with _start(copied, **flags) as holder:
        _wait_for_training(holder, copied / "busy")
        holder.send_signal(signal.SIGSTOP)  # not done before the second process has even begun
        with _start(copied, **flags) as second:
            _, errors = second.communicate(timeout=300)
        assert second.returncode == 2
        (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert f"in use by run_multigpus_classifier (process {holder.pid} on " in line
        assert "Traceback" not in errors
        holder.kill()
        holder.communicate()
    with _start(copied, **flags) as stopped:
        _wait_for_training(stopped, copied / "busy")
        stopped.send_signal(signal.SIGTERM)
        time.sleep(0.01)  # two signals at the same moment are one
        stopped.send_signal(signal.SIGTERM)
        _, errors = stopped.communicate(timeout=300)
    # Ended by the second signal, or by the first if that was quicker.
    assert stopped.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert "Traceback" not in errors
    with _start(copied, **flags) as last, _start(copied, output_dir=copied / "alone") as alone:
        for process in (last, alone):
            process.communicate(timeout=300)
            assert process.returncode == 0
    for name in ("model.ckpt-300.index", "model.ckpt-300.data-00000-of-00001"):
        assert (copied / "busy" / name).read_bytes() == (copied / "alone" / name).read_bytes()
    assert _losses(copied / "busy") == _losses(copied / "alone")
    assert not [path for path in (copied / "busy").iterdir() if path.name == LOCK or "tmp" in path.name]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("replaced", r"out2 was moved, deleted or replaced while this run worked there: it has no run_settings\.json"),
        ("taken", r"out2 is in use by \S+ \(process \d+ .*, too: run\.lock was removed from it while this run went on"),
    ],
)
def test_a_run_ends_where_its_directory_is_taken_from_it(copied, monkeypatch, fault, message):
    """It would write on, in another's directory or into what another process writes."""
    out, locks = copied / "out2", []

    def break_in(first_step):
        if fault == "replaced":
            out.rename(copied / "moved")
            out.mkdir()
        else:
            (out / LOCK).unlink()
            locks.append(OutputLock(out))
            (out / LOCK).write_text("another (process 7 on there, since now)\n")  # as of another process

    monkeypatch.setattr(StillClaimed, "on_start", lambda watch, first_step: break_in(first_step))
    with pytest.raises(UserError, match=message):
        _run(copied, *ALL, output_dir=out)
    for lock in locks:
        lock.release()
    assert not list(out.glob("model.ckpt-*"))
    if fault == "replaced":
        shutil.rmtree(out)  # with the beginning of a log
        (copied / "moved").rename(out)
    monkeypatch.undo()
    _run(copied, *ALL, output_dir=out)
    assert _losses(out) == _losses(copied / "out")


# Full disks and places that cannot be written -------------------------------------------------------------------------


def _error(capsys, folder: Path, *actions: str, **flags: object) -> str:
    """The one line with which the command ends with code 2."""
    capsys.readouterr()
    flags = {"num_gpu_cores": 1, "train_batch_size": 8, "keep_checkpoint_max": 2, **flags}
    assert cli(sample_command(folder, *actions, **flags)) == 2
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize(
    "name", ["eval_results.txt", "eval_results.json", "training_curve.png", "test_results.tsv", "Agreement.tsv", LOCK]
)
def test_a_result_that_cannot_be_written_is_one_line_and_the_rest_stays(capsys, copied, name):
    # A folder where the file should be: as permanent as a wrong permission, which root does not mind.
    (copied / "out" / name).unlink(missing_ok=True)
    (copied / "out" / name).mkdir()
    before = {path.name for path in (copied / "out").iterdir() if "events" not in path.name}
    line = _error(capsys, copied, *ALL)
    assert f"cannot write {copied}/out/{name}: Is a directory" in line
    assert {path.name for path in (copied / "out").iterdir() if "events" not in path.name} == before


@pytest.mark.parametrize("name", ["training_log.jsonl", "checkpoint", "model.ckpt-4.data-00000-of-00001"])
def test_what_training_cannot_write_is_one_line(capsys, copied, name):
    (copied / "new" / name / "x").mkdir(parents=True)
    line = _error(capsys, copied, *ALL, output_dir=copied / "new", train_step=4)
    assert f"{copied}/new/{name.removesuffix(checkpoint_files.SUFFIXES[0])}" in line
    assert not [path for path in (copied / "new").iterdir() if path.name == LOCK or "tmp" in path.name]


def test_an_unwritable_directory_is_one_line(capsys, copied):
    with unwritable(copied / "out"):
        assert f"cannot write {copied}/out/run.lock: Operation not permitted" in _error(capsys, copied, *ALL)


# A new run has about 4 kB of settings and 750 kB a checkpoint; three exist when the last is being written.
@pytest.mark.parametrize("size", ["4k", "32k", "1000k", "1700k"])
def test_after_a_disk_was_full_the_same_command_ends_as_if_it_had_not_been(capsys, copied, finished, size):
    with tiny_disk(copied / "full", size) as out:
        line = _error(capsys, copied, *ALL, output_dir=out)
        assert "No space left on device" in line
        assert not [path for path in out.iterdir() if path.name == LOCK or "tmp" in path.name]
        resize_disk(out, "64m")
        _run(copied, *ALL, output_dir=out, keep_checkpoint_max=2)
        _assert_same_results(out, finished / "out")


def test_a_cache_on_a_full_disk_is_one_line(capsys, copied):
    with tiny_disk(copied / "full", "4k") as disk:
        (disk / "file").write_bytes(b"x" * 4096)
        line = _error(capsys, copied, *ALL, cached_dir=disk / "cache", output_dir=copied / "new")
        assert f"Cannot write the cache {disk}/cache/agreement_" in line


# Lost numbers and caches ----------------------------------------------------------------------------------------------


def test_steps_that_are_left_out_stand_in_the_log_as_null(copied, caplog):
    # The first update at this rate throws the weights to 1e30; no step after it is finite.
    out = copied / "wild"
    caplog.set_level(logging.INFO)
    with pytest.raises(UserError, match=r"step 4: .* `skip_nonfinite_steps`=3 or more"):
        _run(copied, "train", output_dir=out, learning_rate=1e30, skip_nonfinite_steps=2, save_checkpoints_steps=1)
    assert "step 3: loss nan" in caplog.text
    # The batches of steps 2, 3 and 4 were read again to name their examples; what the log says once stays said once.
    said = [message for message in caplog.messages if not message.startswith("step ")]
    assert sorted(set(said)) == sorted(said)
    assert len([message for message in said if message.startswith("Packing: ")]) == 1
    # The flag is not part of the run: the same directory continues with another value.
    _run(copied, "train", output_dir=out, learning_rate=1e30, skip_nonfinite_steps=99, save_checkpoints_steps=100)
    losses = _losses(out)
    assert [step for step, *_ in losses] == list(range(1, 13))
    assert [loss is None for _, loss, _ in losses] == [False] + [True] * 11
    assert "11 of 12 steps changed nothing, because the loss or its gradient was not finite" in caplog.text
    assert "`learning_rate`=1e+30 is far above the usual" in caplog.text
    first, last = (
        checkpoint_files.load_tensors(out / "model.ckpt-12")[name] for name in ("output_bias", "global_step")
    )
    assert last == 12
    assert (out / "training_curve.png").exists()
    assert first.shape == (2,)


def test_a_best_checkpoint_that_lost_its_numbers_is_said_to_be_of_no_use(copied, caplog):
    # The only update is finite, and throws the weights to 1e30.
    _run(copied, "train", "eval", output_dir=copied / "wild", learning_rate=1e30, train_step=1, warmup_step=0)
    assert "The best checkpoint, of step 1, is of no use: its eval_loss is nan" in caplog.text


def test_a_cache_cut_short_while_in_use_is_one_line(capsys, copied, monkeypatch):
    (cache,) = (copied / "cache").glob("agreement_train_*.tf_record")
    train_dataset = fine_tuning.input_pipeline.train_dataset

    def cut_and_read(*arguments):
        cache.write_bytes(cache.read_bytes()[:100])  # in place, after it was opened and checked
        return train_dataset(*arguments)

    monkeypatch.setattr(fine_tuning.input_pipeline, "train_dataset", cut_and_read)
    line = _error(capsys, copied, "train", output_dir=copied / "new")
    assert line.startswith(f"error: {cache} was cut short while it was in use: record ")
    assert line.endswith(" is gone. Start again to have it rebuilt.")
