"""What an earlier commit began continues here: runs that it stopped, caches that it made, settings that it recorded.

testdata/earlier_runs was recorded with commit 3357441, before modules moved into folders; README.md there says how.
"""

import functools
import hashlib
import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from albert.data.row_shapes import NEWEST_PACKING
from albert.runs.output_dir import PACKING_VERSION, Claim
from albert.system.testing import run_program

# Steps of every run, and the one after which it was stopped.
STEPS, STOPPED_AT = 8, 4
RUNS = ("mrpc", "sts-b", "squad2.0", "race", "pretraining")
TASKS = (
    *("cola", "sst-2", "mrpc", "qqp", "sts-b", "mnli", "mismnli", "qnli", "rte", "wnli", "ax", "agreement"),
    *("squad1.1", "squad2.0", "race"),
)
# How far a processor of another kind may be from the recorded numbers. What adds the same number to everything in a
# softmax has no gradient but rounding, which Adam divides by its own size: such biases differ most.
TOLERANCE = 1e-5
RANKS_TOLERANCE = 1e-3  # of correlations, where two predictions change places
SECONDS = 600
WITH_YNNPACK = "--xla_cpu_experimental_ynn_fusion_type=+LIBRARY_FUSION_TYPE_REDUCE"
# Files of an output directory that hold times.
WITH_TIMES = ("events.", "training_", "eval_results.")


@pytest.fixture(scope="session")
def earlier(testdata) -> Path:
    """The folder of what was recorded. Not to be changed."""
    return testdata / "earlier_runs"


@pytest.fixture
def folder(earlier, tmp_path) -> Path:
    """What every command reads; all paths in commands count from here."""
    shutil.copytree(earlier / "inputs", tmp_path / "inputs")
    for target, source in _load(earlier / "commands.json")["from_checkout"].items():
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        source = _root(earlier) / source
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, tmp_path / target)
    return tmp_path


def _root(earlier: Path) -> Path:
    return earlier.parents[2]


def _load(path: Path) -> Any:
    return json.loads(path.read_text())


def _run(earlier: Path, folder: Path, kind: str, name: str) -> str:
    """Standard error of a command of commands.json, in `folder`; it must end with 0."""
    module, *flags = shlex.split(_load(earlier / "commands.json")[kind][name])
    done = run_program(f"albert.{module}", flags, SECONDS, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


def _run_with_sums_as_recorded(earlier: Path, folder: Path, kind: str, name: str) -> str:
    """The same as `_run`, with YNNPACK's sums: see `system.compiler_options`. One replica may have them."""
    module, *flags = shlex.split(_load(earlier / "commands.json")[kind][name])
    # A process that loads no compiled code: that of the other tests has other sums.
    environment = os.environ | {"XLA_FLAGS": WITH_YNNPACK, "TF_XLA_FLAGS": ""}
    command = [sys.executable, "-m", f"albert.{module}", *flags]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that holds no times."""
    paths = [path for path in sorted(folder.glob("*")) if not path.name.startswith(WITH_TIMES)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.suffix != ".lock"}


def _times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*")}


@functools.cache
def _machine() -> dict[str, object]:
    """What made_on.json has of this machine."""
    processor = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    rows = (row.partition(":") for row in processor.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in rows}
    flags = fields.get("flags", "").split()
    features = [flag for flag in flags if flag.startswith(("sse4", "avx", "fma", "f16c", "amx"))]
    return {"tensorflow": tf.__version__, "vendor": fields.get("vendor_id"), "features": sorted(features)}


def _assert_ends_as_recorded(out: Path, finished: Path, earlier: Path) -> None:
    """The same files; the same bytes on a processor like a recorded one, otherwise nearly the same numbers."""
    recorded, found = _load(finished / "sha256.json"), _digests(out)
    like_this = [name for name, machine in _load(earlier / "made_on.json").items() if machine == _machine()]
    for processor, files in recorded.items():
        assert files.keys() <= found.keys()
        for name in files if processor in like_this else ("run_settings.json", "checkpoint"):
            assert found[name] == files[name], name
    reader = tf.train.load_checkpoint(str(out / f"model.ckpt-{STEPS}"))
    with np.load(finished / "weights.npz") as weights:
        for name, value in weights.items():
            np.testing.assert_allclose(reader.get_tensor(name), value, rtol=0, atol=TOLERANCE, err_msg=name)
    evaluations, logged = (_load(place / "evaluations.json") for place in (finished, out))
    assert [entry["step"] for entry in logged] == [entry["step"] for entry in evaluations] == [2, 4, 6, 8]
    for before, now in zip(evaluations, logged, strict=True):
        assert now["metrics"] == pytest.approx(before["metrics"], rel=1e-4, abs=RANKS_TOLERANCE)
        assert now["is_best"] == before["is_best"]
    before, now = (_load(place / "eval_results.json") for place in (finished, out))
    assert now["best"] == pytest.approx(before["best"], rel=1e-4, abs=RANKS_TOLERANCE)
    before, now = (_rows(place / "training_log.jsonl") for place in (finished, out))
    assert [row["step"] for row in now] == list(range(1, STEPS + 1))
    for row, same in zip(now, before, strict=True):
        # Not how fast a step was.
        for number in ("loss", "gradient_norm", "learning_rate", "real_tokens", "computed_tokens"):
            assert row[number] == pytest.approx(same[number], rel=1e-4, abs=TOLERANCE), number


def _rows(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.training
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_stopped_continues_to_the_recorded_end(earlier, folder, name):
    recorded = earlier / name
    for kept in ("out", "cache"):
        if (recorded / kept).exists():  # pretraining has no cache
            shutil.copytree(recorded / kept, folder / kept)
    times = _times(folder / "cache"), (folder / "out/run_settings.json").stat().st_mtime_ns
    run = _run_with_sums_as_recorded if name == "race" else _run  # whose rows are long enough for YNNPACK
    said = run(earlier, folder, "runs", name)
    assert f"Continuing from out/model.ckpt-{STOPPED_AT}." in said
    assert " built " not in said
    for cache in (recorded / "cache").glob("*.tf_record"):
        assert f"using cache cache/{cache.name} " in said
    assert (_times(folder / "cache"), (folder / "out/run_settings.json").stat().st_mtime_ns) == times
    assert _digests(folder / "cache") == _digests(recorded / "cache")
    _assert_ends_as_recorded(folder / "out", recorded / "finished", earlier)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.tfrecord", "dev.tfrecord"])
def test_the_records_of_pretraining_are_the_recorded_ones(earlier, folder, name):
    _run(earlier, folder, "records", name)
    assert (folder / name).read_bytes() == (earlier / "inputs" / name).read_bytes()


@pytest.mark.training  # too few examples show when training begins
@pytest.mark.parametrize("name", TASKS)
def test_every_task_makes_the_recorded_caches_and_settings(earlier, folder, monkeypatch, capsys, name):
    recorded = _load(earlier / "identities.json")[name]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(Claim, "withdraw", Claim.release)  # a withdrawal removes the settings of a run that never began
    module, *flags = shlex.split(_load(earlier / "commands.json")["caches"][name])
    # There is no checkpoint, or there are too few examples for a step: after settings and caches, that is all.
    assert importlib.import_module(f"albert.{module}").cli([module, *flags]) == 2
    error = capsys.readouterr().err
    assert "needs 1000 examples a step" in error or "has no checkpoint" in error
    # Names hold digests of identities. Of manifests only the names: newer ones hold one more figure.
    caches, expected = _digests(folder / "cache"), recorded["caches"]
    assert caches.keys() == expected.keys()
    assert all(caches[file] == expected[file] for file in caches if file.endswith(".tf_record"))
    settings = _load(folder / "out/run_settings.json")
    if name != "ax":  # which has no training data
        assert settings["training"]["head"] == recorded["head"]
        assert settings["training"][PACKING_VERSION] == NEWEST_PACKING  # unlike a run that was begun before


def test_every_task_has_the_recorded_identity_and_head(earlier):
    from albert.albert_config import AlbertConfig
    from albert.heads import head_for
    from albert.tasks import glue
    from albert.tasks.race import RaceTask
    from albert.tasks.registry import get_task
    from albert.tasks.squad.task import SquadTask

    config = AlbertConfig.from_json_file(earlier / "inputs/albert_config.json")
    tasks = {name: get_task(name) for name in (task.name for task in glue.TASKS)} | {"race": RaceTask()}
    tasks |= {f"squad{version}": SquadTask(version=version) for version in ("1.1", "2.0")}
    recorded = _load(earlier / "identities.json")
    assert set(tasks) == set(recorded) == set(TASKS)
    for name, task in tasks.items():
        head = {key: value for key, value in vars(head_for(task.output, config)).items() if key != "config"}
        # As JSON, in which they are digested and kept; both sort the keys.
        for found, expected in ((task.identity(), recorded[name]["identity"]), (head, recorded[name]["head"])):
            assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True), name
