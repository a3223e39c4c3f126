"""`albert.fine_tune` in a process that does other things too: what it returns, and what it leaves as it was."""

import asyncio
import contextlib
import csv
import dataclasses
import errno
import gc
import io
import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.python.framework import config, ops
from tensorflow.python.framework.func_graph import FuncGraph
from tqdm import tqdm

import albert
from albert.cli import from_python
from albert.data.input_pipeline import Source
from albert.engine import devices
from albert.errors import UserError
from albert.runs import assembly
from albert.system import compilation_cache
from albert.system.imports import tensorflow_computes
from albert.system.testing import run_program, start_program
from albert.testing import sample_command, send_signals, write_sample_data

MODULE = "albert.run_multigpus_classifier"
LIMIT = pytest.mark.timeout(300)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Has `data`; `_keywords` puts caches and results beside it."""
    write_sample_data(tmp_path / "data")
    return tmp_path


def _keywords(folder: Path, **others: object) -> dict:
    """The run of `sample_command(folder, "train", "eval")` as keywords."""
    flags = [flag.lstrip("-").partition("=") for flag in sample_command(folder)[1:]]
    whole = ("max_seq_length", "num_gpu_cores", "train_batch_size", "train_step", "save_checkpoints_steps")
    found = {name: int(value) if name in whole else value for name, _, value in flags}
    return {**found, "learning_rate": 1e-3, "recipe": False, **others}


# What libraries set when they are imported.
OF_LIBRARIES = ("TF2_BEHAVIOR", "TPU_ML_", "KMP_", "HDF5_PLUGIN_PATH", "ENABLE_RUNTIME_UPTIME_TELEMETRY")


def _environment(found: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if not name.startswith(OF_LIBRARIES)}


def _process() -> dict[str, object]:
    """What a run must leave as it found it."""
    root = logging.getLogger()
    return {
        "handlers": list(root.handlers),
        "filters": [list(filterer.filters) for filterer in (root, logging.getLogger("tensorflow"), *root.handlers)],
        "levels": (root.level, logging.getLogger("tensorflow").level),
        "environment": _environment(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "folder": Path.cwd(),
        "longest field": csv.field_size_limit(),
        "threads that are no daemons": {t for t in threading.enumerate() if not t.daemon},
        "tf32": config.tensor_float_32_execution_enabled(),
        "deterministic": config.is_op_determinism_enabled(),
        "optimizer": devices.context.context()._config.graph_options.rewrite_options.memory_optimization,
        "gradients": {*ops.gradient_registry._registry},
    }


def _sources() -> int:
    """How many sources of batches something still holds."""
    gc.collect()
    return sum(isinstance(found, Source) for found in gc.get_objects())


@contextlib.contextmanager
def _without_handlers() -> Iterator[None]:
    """A process whose log nobody has set up, unlike that of tests."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


# What it returns -----------------------------------------------------------------------------------------------------


@LIMIT
@pytest.mark.training
def test_a_run_says_what_it_left_and_changes_nothing_in_its_process(folder, capsys):
    config.disable_op_determinism()
    with _without_handlers():
        before = _process()
        try:
            run = albert.fine_tune(**_keywords(folder, deterministic=True, do_predict=True))
            assert _process() == before
        finally:
            config.enable_op_determinism()
    results = json.loads((run.output_dir / "eval_results.json").read_text())
    assert {**run.metrics, "global_step": run.best_step} == results["best"]
    assert run.best_step in (4, 8, 12)
    assert run.output_dir == run.model_dir == folder / "out"
    assert {path.name for path in run.files} >= {"model.ckpt-best.index", "eval_results.json", "Agreement.tsv"}
    assert all(path.is_file() for path in run.files)
    assert len(run.load()(["the horse laughs ."])) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.best_step = 0
    assert "files" not in repr(run)
    log = capsys.readouterr().err
    assert f"Use the model: albert.load('{run.model_dir}')" in log
    assert f"/python -m {MODULE} --" in log
    assert "learning_rate" in log
    again = albert.fine_tune(**_keywords(folder, do_predict=True))
    assert (again.metrics, again.best_step) == (run.metrics, run.best_step)
    assert "model.ckpt-best.index" not in {path.name for path in again.files}


@LIMIT
@pytest.mark.training
def test_a_trained_model_is_evaluated_and_predicts_from_another_folder(folder):
    only_train = albert.fine_tune(**_keywords(folder, do_eval=False))
    assert (only_train.metrics, only_train.best_step) == ({}, None)
    table = folder / "texts.csv"
    table.write_text("text,label\n" + "".join(f"the horse laughs {i} .,{i % 2}\n" for i in range(10)))
    model = {"model_dir": only_train.model_dir, "max_seq_length": 32, "device": "cpu", "cached_dir": folder / "cache"}
    predicted = albert.fine_tune(test_file=table, output_dir=folder / "predicted", **model)
    assert (predicted.model_dir, predicted.metrics) == (only_train.model_dir, {})
    assert [path.name for path in predicted.files if "predictions" in path.name] == ["test_predictions.csv"]
    evaluated = albert.fine_tune(validation_file=table, output_dir=folder / "evaluated", **model)
    assert 0 <= evaluated.metrics["accuracy"] <= 1
    assert evaluated.best_step is None  # a step of another folder


@LIMIT
@pytest.mark.training
def test_runs_one_after_the_other_leave_neither_graphs_nor_data(folder):
    """Other data, other sizes, another optimizer; the graphs of compiled updates, one for each optimizer, remain."""
    table = folder / "texts.csv"
    table.write_text("text,label\n" + "".join(f"the horse laughs {i} .,{i % 3}\n" for i in range(60)))
    own = {"task_name": None, "data_dir": None, "train_file": table, "train_batch_size": 8, "num_gpu_cores": 1}
    short = {"train_step": 2, "save_checkpoints_steps": 2}
    runs = [_keywords(folder, **short, **other) for other in ({}, own, {"max_seq_length": 24, "optimizer": "lamb"})]
    graphs, data = [], []
    for number, run in enumerate([*runs, *runs[:2]]):
        albert.fine_tune(**{**run, "output_dir": folder / f"out{number}"})
        data.append(_sources())
        graphs.append(sum(isinstance(found, FuncGraph) for found in gc.get_objects()))
    assert graphs[3:] == [graphs[2]] * 2
    assert data == [data[0]] * 5


@LIMIT
@pytest.mark.training
def test_it_runs_in_the_thread_of_a_loop_and_beside_it(folder):
    """As in a notebook, whose kernel is an asyncio loop; there is one run at a time."""
    before = _process()["signals"]
    seen: list[object] = []

    class Watching(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(signal.getsignal(signal.SIGINT))

    async def notebook() -> tuple:
        run = albert.fine_tune(**_keywords(folder, train_step=4))
        watching = Watching()
        logging.getLogger().addHandler(watching)
        beside = asyncio.create_task(
            asyncio.to_thread(albert.fine_tune, **_keywords(folder, train_step=4, output_dir=folder / "beside"))
        )
        try:
            while not from_python._running.locked():
                await asyncio.sleep(0.01)
            with pytest.raises(UserError, match="this process fine-tunes already"):
                albert.fine_tune(**_keywords(folder))
            return run, await beside
        finally:
            logging.getLogger().removeHandler(watching)

    run, other = asyncio.run(notebook())
    assert run.metrics == other.metrics
    assert _process()["signals"] == before
    # Outside of the main thread none is set; asyncio has one of its own while it runs.
    assert not any("StopOnSignal" in repr(handler) for handler in seen)


@LIMIT
@pytest.mark.training
def test_handlers_of_the_caller_get_lines_in_pythons_words_at_their_level(folder, caplog):
    caplog.set_level(logging.WARNING)
    albert.fine_tune(**_keywords(folder, train_step=2, do_eval=False, max_seq_length=8))
    messages = [record.getMessage() for record in caplog.records]
    assert "No init_checkpoint: starting from random weights." in messages
    assert [message for message in messages if message.endswith("Raise max_seq_length to train on what follows.")]


def test_a_line_of_a_callers_handler_does_not_begin_behind_a_bar():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    with _without_handlers():
        logging.getLogger().addHandler(handler)
        with from_python._logging(str), tqdm(total=2, file=out, ncols=40) as bar:
            bar.refresh()
            logging.warning("a line")
        assert handler.filters == []
    before, line, _ = out.getvalue().partition("a line\n")
    assert line
    assert before.endswith(" \r")


# Stopping ------------------------------------------------------------------------------------------------------------


class _Enough(Exception):
    """What a caller ends a training with."""


@LIMIT
@pytest.mark.training
def test_ctrl_c_and_on_log_stop_a_run_that_the_same_call_continues(folder, monkeypatch):
    told: list[dict[str, float]] = []
    whole = albert.fine_tune(**_keywords(folder, output_dir=folder / "whole", log_steps=6), on_log=told.append)
    assert [(values["step"], "loss" in values) for values in told] == [
        *((4, False), (6, True), (8, False)),
        *((12, True), (12, False)),
    ]
    assert whole.metrics in [{name: value for name, value in values.items() if name != "step"} for values in told]
    before = _process()
    with monkeypatch.context() as patch:
        send_signals(patch, {6: signal.SIGINT})
        with pytest.raises(KeyboardInterrupt, match=r"after step [4-8] of 12, which is saved; the same call") as raised:
            albert.fine_tune(**_keywords(folder))
    assert raised.value.__context__ is None
    assert _process() == before
    assert _steps(folder / "out")[-1] in range(4, 9)  # signals are seen between calls of the compiled loop
    asked, threads = _Enough("of it"), []

    def on_log(values: dict[str, float]) -> None:
        threads.append(threading.current_thread())
        if values["step"] == 9:
            raise asked

    kept = _sources()  # by other tests of this process
    with pytest.raises(_Enough) as enough:
        albert.fine_tune(**_keywords(folder, log_steps=1), on_log=on_log)
    assert enough.value is asked
    assert _sources() == kept  # what was raised holds no data
    assert {*threads} == {threading.current_thread()}
    assert _process() == before
    assert _steps(folder / "out")[-1] in range(9, 13)
    run = albert.fine_tune(**_keywords(folder))
    assert run.metrics == whole.metrics
    assert _bytes(folder / "out") == _bytes(folder / "whole")


@LIMIT
@pytest.mark.training
def test_a_termination_reaches_the_callers_handler_when_the_state_is_saved(folder, monkeypatch):
    received = []
    handler = signal.signal(signal.SIGTERM, lambda number, _: received.append((number, _steps(folder / "out"))))
    try:
        send_signals(monkeypatch, {6: signal.SIGTERM})
        with pytest.raises(KeyboardInterrupt, match=r"after step [4-8] of 12"):
            albert.fine_tune(**_keywords(folder))
    finally:
        signal.signal(signal.SIGTERM, handler)
    [(number, saved)] = received
    assert number == signal.SIGTERM
    assert saved[-1] in range(4, 9)


def _steps(output_dir: Path) -> list[int]:
    """The steps of its checkpoints, without files that are being written."""
    found = (re.fullmatch(r"model\.ckpt-(\d+)\.index", path.name) for path in output_dir.glob("*"))
    return sorted(int(name[1]) for name in found if name)


@LIMIT
@pytest.mark.training
def test_an_interrupt_outside_of_training_is_pythons_own(folder, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(assembly, "draw_curve", interrupted)
    before = _process()
    with pytest.raises(KeyboardInterrupt):
        albert.fine_tune(**_keywords(folder))
    assert _process() == before


# What a process cannot do --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"strategy_type": "multi_worker"}, "^strategy_type='multi_worker': several workers are several processes"),
        ({"num_gpu_cores": 9}, "^num_gpu_cores=9, but TensorFlow computes in this process already, with 4 CPU devices"),
        ({"compilation_cache": "/x"}, "^compilation_cache='/x': TensorFlow computes in this process already"),
        ({"data_dir": "nowhere"}, "^nowhere/Agreement/train.tsv cannot be read"),
        ({"output_dir": "/proc/none"}, "^cannot write /proc/none: No such file"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(folder, others, said):
    assert tensorflow_computes()
    before = _process()
    with pytest.raises(UserError, match=said) as raised:
        albert.fine_tune(**_keywords(folder, **others))
    assert "\n" not in str(raised.value)
    assert raised.value.__context__ is None
    assert _process() == before


@LIMIT
@pytest.mark.training
def test_an_error_of_the_system_names_its_file(folder, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/full/file")

    monkeypatch.setattr(assembly, "draw_curve", full)
    with pytest.raises(UserError, match=r"^/full/file: No space left on device$"):
        albert.fine_tune(**_keywords(folder, train_step=1))


def _refuses(*_: object, **__: object) -> None:
    raise RuntimeError("Visible devices cannot be modified after being initialized")


@pytest.mark.parametrize(
    ("device", "count", "seen", "said"),
    [
        ("cpu", 1, 1, "`device`=cpu, but TensorFlow computes in this process already, on a GPU"),
        ("gpu", 2, 1, "`num_replicas`=2, but TensorFlow computes in this process already, on 1 GPU"),
        ("gpu", 1, 2, None),
    ],
)
def test_gpus_that_tensorflow_computes_on_already(monkeypatch, device, count, seen, said):
    """Settings of memory and visibility come too late; those GPUs can be used all the same."""
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
    listed = {"GPU": gpus, "CPU": tf.config.list_physical_devices("CPU")}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: listed[kind])
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus[:seen])
    monkeypatch.setattr(tf.config, "set_visible_devices", _refuses)
    monkeypatch.setattr(devices, "keep_float32", lambda: None)
    take = devices.gpus if device == "gpu" else devices.logical_cpus
    if said is None:
        assert take(count) == ["/gpu:0"]
        return
    with pytest.raises(UserError, match=f"{said}. Restart the process, in a notebook the kernel"):
        take(count)


def test_a_folder_for_compiled_code_is_taken_before_tensorflow_computes(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "_in_use", None)
    with pytest.raises(UserError, match="takes a folder before it does"):
        compilation_cache.use_if_new(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(compilation_cache, "_in_use", tmp_path / compilation_cache._key(False))
    compilation_cache.use_if_new(tmp_path)


def test_the_function_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(albert.fine_tune)) is albert.fine_tune


# Equal to the command line -------------------------------------------------------------------------------------------


def _bytes(output_dir: Path, last_step: int = 12) -> dict[str, bytes]:
    """What two runs must have in common, whoever started them: checkpoints, identity and the model's folder."""
    names = (f"model.ckpt-{last_step}.*", "model.ckpt-best.*", "run_settings.json", "model.json", "spiece.model")
    found = {path.name: path.read_bytes() for name in names for path in output_dir.glob(name)}
    assert len(found) == 7
    return found


# Each job are the keywords of one run; one with "stop" gets a SIGINT when it has a checkpoint.
FRESH = """
import json, logging, os, pathlib, signal, sys, threading, time
import albert

def interrupt(output_dir):
    while not list(pathlib.Path(output_dir).glob("model.ckpt-*.index")):
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGINT)

before = dict(os.environ)
for job in json.loads(sys.argv[1]):
    if job.pop("stop", False):
        threading.Thread(target=interrupt, args=[job["output_dir"]], daemon=True).start()
    try:
        albert.fine_tune(**job)
        print("done")
    except KeyboardInterrupt as error:
        print(error)
assert logging.getLogger().handlers == []
print(json.dumps({name: value for name, value in os.environ.items() if before.get(name) != value}))
assert before.keys() <= {*os.environ}
"""


@LIMIT
@pytest.mark.training
def test_python_and_the_command_line_write_the_same_bytes_and_continue_each_other(folder):
    longer = {"train_step": 60, "save_checkpoints_steps": 20, "keep_checkpoint_max": 0}
    outs = {name: folder / name for name in ("alone", "begun", "python", "begun in Python")}

    def flags(out: str) -> list[str]:
        return sample_command(folder, "train", "eval", output_dir=outs[out], **longer)[1:]

    assert run_program(MODULE, flags("alone"), timeout=200).returncode == 0
    begun = start_program(MODULE, flags("begun"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while begun.poll() is None and not _steps(outs["begun"]):
        time.sleep(0.002)
    begun.send_signal(signal.SIGINT)
    assert begun.wait(100) == 128 + signal.SIGINT
    # The first run decides where compiled code is kept.
    compiled = {"compilation_cache": str(folder / "compiled")}
    jobs = [
        {**_keywords(folder, **longer), **compiled, "output_dir": str(outs[name]), **others}
        for name, others in (("python", {}), ("begun in Python", {"stop": True}), ("begun", {}))
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(albert.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", FRESH, json.dumps(jobs)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, stopped, last, changed = done.stdout.splitlines()
    assert _environment(json.loads(changed)) == {}
    assert list((folder / "compiled").glob("*/*.pb"))
    assert (first, last) == ("done", "done")
    assert stopped.startswith("stopped after step ")
    assert stopped.endswith("of 60, which is saved; the same call continues from there")
    assert run_program(MODULE, flags("begun in Python"), timeout=200).returncode == 0
    expected = _bytes(outs["alone"], 60)
    for name in outs:
        assert _bytes(outs[name], 60) == expected, name
