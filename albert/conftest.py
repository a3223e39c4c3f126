"""Gives every test process four logical CPU devices, the stand-ins for GPUs, and frees what a test leaves behind."""

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from albert.cli.fine_tuning import parse_classifier_flags, parse_race_flags, parse_squad_flags
from albert.engine.distribution import create_replicas
from albert.engine.estimator import Estimator
from albert.engine.shared_process import free_graphs, trim_memory
from albert.runs import fine_tuning
from albert.serving.testing import write_random_models
from albert.settings import Settings
from albert.tasks.base import Task
from albert.testing import SQUAD_TO_ANSWER, TESTDATA, sample_command, write_model, write_sample_data

# Before TensorFlow computes anything.
create_replicas("mirror", 4, "cpu")
# Without this, tests that compare bitwise would depend on the machine's number of threads.
tf.config.experimental.enable_op_determinism()
tf.random.set_seed(0)
# How much a process held when freed memory was last given back, and how much more it may hold until the next time.
_trimmed_bytes, _MOST_KEPT = 0, 20_000_000


@pytest.fixture(autouse=True)
def _free_graphs() -> Iterator[None]:
    """Frees the graphs that a test built."""
    yield
    had_graphs = free_graphs()
    global _trimmed_bytes
    if had_graphs or _resident_bytes() > _trimmed_bytes + _MOST_KEPT:
        # The engine makes glibc keep freed memory, which helps one run, not many different ones after each other.
        trim_memory()
        _trimmed_bytes = _resident_bytes()


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders "agreement", "sts-b", "race", "squad" (2.0) and "squad1.1" of models with random weights, to be read.

    The folder `out` in each has what `do_predict` wrote of the data in "data", or for SQuAD of `SQUAD_TO_ANSWER`.
    """
    folder = tmp_path_factory.mktemp("models")
    write_sample_data(folder / "data")
    shutil.copytree(TESTDATA / "glue_data/STS-B", folder / "data/STS-B")
    shutil.copytree(TESTDATA / "race/RACE/dev", folder / "data/RACE/test")
    squad = {"task_name": None, "predict_file": SQUAD_TO_ANSWER, "max_seq_length": 40, "max_query_length": 8}
    squad |= {"doc_stride": 16}
    # Two of three questions are below the threshold.
    squad2 = {**squad, "null_score_diff_threshold": 1.36}
    race = {"task_name": None, "do_train": False, "do_eval": False, "max_qa_length": 20}
    parsers: dict[str, tuple[Callable[..., tuple[Task, Settings]], dict[str, object]]] = {
        "agreement": (parse_classifier_flags, {}),
        "sts-b": (parse_classifier_flags, {"task_name": "sts-b"}),
        "race": (parse_race_flags, race),
        "squad": (functools.partial(parse_squad_flags, version="2.0"), squad2),
        "squad1.1": (functools.partial(parse_squad_flags, version="1.1"), squad),
    }
    for name, (parse, flags) in parsers.items():
        for_training = dict.fromkeys(("train_step", "train_batch_size", "learning_rate"))
        own = {"albert_config_file": SQUAD_TO_ANSWER.parent / "albert_config.json", "init_checkpoint": folder / name}
        shared = {"num_gpu_cores": 1, "output_dir": folder / name / "out", **own, **for_training}
        task, settings = parse(sample_command(folder, "predict", **{**shared, **flags}))
        write_model(folder / name, task, settings)
        fine_tuning.run(task, settings)
    return folder


@pytest.fixture(scope="session")
def exportable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of all `albert.serving.testing.MODELS` by their names, to be read."""
    folder = tmp_path_factory.mktemp("exportable")
    write_random_models(folder)
    return folder


_train = Estimator.train
_current_test: pytest.Item | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Notes whose fixtures are made next."""
    global _current_test
    _current_test = item


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Tests of other folders, which come next, are not this one."""
    global _current_test
    _current_test = None


def _train_if_marked(*arguments: object, **names: object) -> None:
    """`Estimator.train` for the tests that `--quick` leaves out; fails the others, so that quick stays quick."""
    if _current_test is not None and _current_test.get_closest_marker("training") is None:
        pytest.fail(
            f"{_current_test.nodeid} trains a model: mark it with @pytest.mark.training, which --quick leaves out"
        )
    _train(*arguments, **names)


Estimator.train = _train_if_marked
