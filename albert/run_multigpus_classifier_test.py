"""The command as a person meets it: its exit codes and its one line for every mistake."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert.engine import checkpoint_files
from albert.run_multigpus_classifier import cli
from albert.system.testing import start_program
from albert.testing import AGREEMENT, full_disk, sample_command, write_sample_data

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Has `data`; `sample_command` puts caches and results beside it."""
    write_sample_data(tmp_path / "data")
    return tmp_path


def _error(capsys, folder: Path, *actions: str, **flags: object) -> str:
    """The one line on which the command ends with code 2; nothing half-written is left."""
    assert cli(sample_command(folder, *(actions or ("train", "eval", "predict")), **flags)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    # Progress bars and TensorFlow's own notices may stand before it.
    lines = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, output.err
    assert "Traceback" not in output.err
    _assert_nothing_half_written(folder)
    return lines[0]


def _assert_nothing_half_written(folder: Path) -> None:
    """Every cache has its manifest and every checkpoint both its files; no temporary file is left."""
    left = [path.name for place in ("cache", "out") for path in (folder / place).glob("**/*")]
    assert not [name for name in left if "tmp" in name or "partial" in name or "tempstate" in name]
    for name in left:
        if name.endswith(".tf_record"):
            assert f"{name}.json" in left
        if name.startswith("model.ckpt-"):
            prefix = name.removesuffix(".index").removesuffix(".data-00000-of-00001")
            assert {f"{prefix}.index", f"{prefix}.data-00000-of-00001"} <= set(left)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "content", "message"),
    [
        ("train", b"sentence\tlabel\nfine\t1\nshort\n", "line 3: 1 column between"),
        ("train", b"sentence\tlabel\nfine\t1\nbad\t2\n", "line 3: label '2' is not one of 0, 1"),
        ("dev", b"sentence\tlabel\nfine\t1\ncaf\xe9\t1\n", "line 3: not UTF-8"),
        ("dev", b"", "is empty"),
        ("test", b"index\tsentence\n", "is empty or has only a header"),
        ("test", b"index\tsentence\n0\tfine\n1\n", "line 3: 1 column between"),
        ("test", None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_fault_in_a_data_file_is_reported_with_file_and_line(capsys, folder, split, content, message):
    path = folder / "data/Agreement" / f"{split}.tsv"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    error = _error(capsys, folder)
    assert str(path) in error
    assert message in error
    assert not list((folder / "cache").glob(f"agreement_{split}_*.tf_record*[!k]"))  # only the lock, at most
    assert not list((folder / "out").glob("model.ckpt*"))


def test_a_score_that_is_not_a_number_is_reported_with_file_and_line(capsys, folder):
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    path = folder / "data/STS-B/train.tsv"
    path.parent.mkdir()
    path.write_text(header + "0\tg\tf\ty\to\ts\ts\tone\ttwo\thigh\n")
    assert f"{path}, line 2: score 'high' is not a number" in _error(capsys, folder, "train", task_name="STS-B")


@pytest.mark.training  # a batch that is too large is reported when training begins
def test_what_is_missing_or_damaged_is_named(capsys, folder):
    wrong_type, wrong_model = folder / "config.json", folder / "broken.model"
    wrong_type.write_text(json.dumps({"vocab_size": 124, "hidden_size": "large"}))
    wrong_model.write_bytes(b"not a model")
    damaged = folder / "model.ckpt-1"
    for suffix in checkpoint_files.SUFFIXES:
        Path(f"{damaged}{suffix}").write_bytes(b"damaged")
    small_vocabulary = folder / "small.json"
    config = json.loads((AGREEMENT / "albert_config.json").read_text())
    small_vocabulary.write_text(json.dumps({**config, "vocab_size": 100}))
    for flags, parts in (
        ({"data_dir": folder / "none"}, ["none/Agreement/train.tsv cannot be read", "make_agreement_data.py"]),
        ({"task_name": "SNLI"}, ["--task_name=SNLI is not a task", "mrpc"]),
        ({"albert_config_file": folder / "none.json"}, ["--albert_config_file=", "none.json cannot be read"]),
        ({"albert_config_file": wrong_type}, [str(wrong_type), "hidden_size is 'large', but must be an integer"]),
        ({"spm_model_file": folder / "none.model"}, ["--spm_model_file=", "none.model", "No such file"]),
        ({"spm_model_file": wrong_model}, [f"--spm_model_file={wrong_model}"]),
        ({"init_checkpoint": folder / "model.ckpt-none"}, ["--init_checkpoint=", "model.ckpt-none: no such"]),
        ({"init_checkpoint": damaged}, [f"checkpoint {damaged} cannot be read"]),
        ({"max_seq_length": 65}, ["--max_seq_length=65", "has 64 positions"]),
        ({"albert_config_file": small_vocabulary}, ["agreement.model has 124 pieces", "vocab_size in", "is 100"]),
        ({"train_batch_size": 21}, ["--train_batch_size=21", "on 2 replicas", "42 examples", "has 40"]),
        ({"device": "gpu", "num_gpu_cores": 64}, ["but TensorFlow finds ", "nvidia-smi lists"]),
        ({"trian_step": 3}, ["trian_step"]),
        ({"output_dir": "/proc/none"}, ["/proc/none"]),
    ):
        error = _error(capsys, folder, **flags)
        for part in parts:
            assert part in error, (flags, error)


@pytest.mark.training
def test_a_vocabulary_that_does_not_fit_the_checkpoint_is_reported_with_both_shapes(capsys, folder):
    larger = folder / "larger.json"
    config = json.loads((AGREEMENT / "albert_config.json").read_text())
    larger.write_text(json.dumps({**config, "vocab_size": 200}))
    assert cli(sample_command(folder, "train", train_step=1)) == 0
    flags = {"output_dir": folder / "other", "init_checkpoint": folder / "out/model.ckpt-1"}
    error = _error(capsys, folder, "train", albert_config_file=larger, **flags)
    assert "word_embeddings has shape [124, 32], but the model needs [200, 32]" in error
    assert "vocab_size" in error


# A full disk ----------------------------------------------------------------------------------------------------------

# With 40 rows a cache has 5,336 bytes, run_settings.json 1,019, a line of the training log about 140, the vocabulary
# 242,016 and a checkpoint 750,368: a limit between two of these stops at the larger.
FULL = {"cache": 4_000, "log": 9_000, "vocabulary": 100_000, "checkpoint": 400_000}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What the run below compiles is there: it is stored for the next tests, which a full disk would prevent too."""
    folder = tmp_path_factory.mktemp("compiled")
    write_sample_data(folder / "data")
    assert cli(sample_command(folder, "train", train_step=100, save_checkpoints_steps=100)) == 0


@pytest.mark.training
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("at", FULL)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(capsys, folder, at):
    if at == "log":  # what is there already is not written
        (folder / "out").mkdir()
        shutil.copy(AGREEMENT / "agreement.model", folder / "out/spiece.model")
    with full_disk(FULL[at]):
        error = _error(capsys, folder, "train", train_step=100, save_checkpoints_steps=2 if at == "checkpoint" else 100)
    places = {"cache": "cache/agreement_train", "log": "training_log", "vocabulary": "out/spiece.model"}
    assert places.get(at, "model.ckpt-2") in error
    assert "Free " in error


# As processes ---------------------------------------------------------------------------------------------------------


def _start(folder: Path, out: str, prefix: tuple[str, ...] = (), **more_flags: object) -> subprocess.Popen:
    # Signals are seen between calls of the compiled loop, which end at checkpoints: 50 steps at most.
    flags = {"output_dir": folder / out, "train_step": 300, "save_checkpoints_steps": 50, "keep_checkpoint_max": 1}
    flags |= {"num_gpu_cores": 1, "train_batch_size": 8, **more_flags}
    module, words = "albert.run_multigpus_classifier", sample_command(folder, "train", **flags)[1:]
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    if prefix:
        return subprocess.Popen([*prefix, sys.executable, "-m", module, *words], cwd=ROOT, **streams)
    return start_program(module, words, cwd=ROOT, **streams)


def _end(process: subprocess.Popen) -> tuple[int, str]:
    """The exit code and the last line of standard error."""
    _, errors = process.communicate(timeout=300)
    assert "Traceback" not in errors
    return process.returncode, errors.splitlines()[-1]


def _signal_while_training(process: subprocess.Popen, log: Path, number: int) -> tuple[int, str]:
    """Sends `number` as soon as `log` has grown."""
    size = log.stat().st_size if log.exists() else 0
    while process.poll() is None and (not log.exists() or log.stat().st_size <= size):
        time.sleep(0.02)
    os.kill(process.pid, number)
    return _end(process)


@pytest.mark.training
def test_a_run_killed_softly_twice_ends_bitwise_as_one_left_alone(folder):
    # Its later starts load what the first one compiled; the run that is left alone compiles for itself.
    compiled = {"compilation_cache": folder / "compiled"}
    alone = _start(folder, "alone")
    log = folder / "stopped/training_log.jsonl"
    steps, entries = [0], []
    for number in (signal.SIGINT, signal.SIGTERM):
        code, line = _signal_while_training(_start(folder, "stopped", **compiled), log, number)
        entries.append({(path, path.stat().st_mtime_ns) for path in (folder / "compiled").glob("*/*.pb")})
        assert code == 128 + number
        assert "of 300, which is saved; the same command" in line
        steps.append(int(line.split()[3]))
    assert steps == sorted(set(steps))
    assert entries[0]
    assert entries[0] <= entries[1], "what is there is compiled again"
    for process in (alone, _start(folder, "stopped", **compiled)):
        assert _end(process)[0] == 0
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(1, 301))
    expected, found = (checkpoint_files.load_tensors(folder / out / "model.ckpt-300") for out in ("alone", "stopped"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_a_full_disk_ends_the_process_with_one_line(folder):
    # In blocks of 1,024 bytes: room for run_settings.json, but not for a cache.
    code, line = _end(_start(folder, "out", prefix=("bash", "-c", 'ulimit -f 4; exec "$@"', "bash")))
    assert code == 2
    assert line.startswith(f"error: Cannot write the cache {folder}/cache/agreement_train")
    _assert_nothing_half_written(folder)
