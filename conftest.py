"""What every test may use: where test data lies, and which tests `--quick` leaves out."""

import collections
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from albert.system import compilation_cache

ROOT = Path(__file__).parent
COMPILED = ROOT / ".pytest_cache" / "compiled"

# Until all tests are collected, nothing becomes garbage: modules and tests are a million objects that live to the end.
gc.disable()
# Before anything imports TensorFlow: its start-up notes (level 0 and 1) would bury a failing test's output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As the programs have it.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# The tests' processes and the programs that they start load what any of them compiled, now or the last time: half of
# what training a tiny model takes. It is compiled again after a month, so that it does not pile up. Storing
# it fails where a test lets the disk be full: such a test has what it needs compiled before.
for entry in COMPILED.glob("*/*.pb"):
    if time.time() - entry.stat().st_mtime > 30 * 24 * 3600:
        entry.unlink(missing_ok=True)
compilation_cache.use(COMPILED)
# A script's `&` starts processes that ignore Ctrl-C, `nohup` those that ignore SIGHUP, and so would the programs that
# tests interrupt.
if threading.current_thread() is threading.main_thread():
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


# Fixtures that train, each once for all tests of a file.
TRAINING_FIXTURES = {"finished", "trained", "padded"}
# Those that run a program for every kind of model.
SLOW_FIXTURES = {"models"}
# What these files compile stays in memory, and is most of what tests hold: a part of its own, and where there are no
# parts they come first, each to another process.
FIRST_FILES = (
    "albert/engine/training_step_test.py",
    "albert/engine/compiled_step_test.py",
    "albert/engine/estimator_test.py",
    "albert/runs/pretraining_test.py",
)
MUCH_MEMORY = (
    *FIRST_FILES,
    "albert/cli/from_python_test.py",
    "albert/cli/python_page_test.py",
    "albert/modeling_test.py",
    "albert/runs/own_data_test.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --quick` runs what takes little time, `pytest --long` the rest."""
    parser.addoption("--quick", action="store_true", help="leave out the tests that train a model or take a second")
    parser.addoption("--long", action="store_true", help="only the tests that --quick leaves out")
    parser.addoption("--memory", choices=("much", "little"), help="only the files that keep so much of it")
    parser.addoption("--workers", action="store_true", help="also test what takes minutes with several workers")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks tests by the fixtures that they use, deselects some, and orders files."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "shared_data" in fixtures:
            item.add_marker("shared_data")
        if fixtures & TRAINING_FIXTURES:
            item.add_marker("training")
        if fixtures & SLOW_FIXTURES:
            item.add_marker("slow")
    if config.getoption("quick"):
        _deselect(config, items, lambda item: _has_marker(item, "training", "slow"))
    if config.getoption("long"):
        _deselect(config, items, lambda item: not _has_marker(item, "training", "slow"))
    if config.getoption("memory"):
        is_much = config.getoption("memory") == "much"
        _deselect(config, items, lambda item: (item.path in {ROOT / name for name in MUCH_MEMORY}) != is_much)
    if not config.getoption("workers"):
        _deselect(config, items, lambda item: _has_marker(item, "workers"))
    if hasattr(config, "workerinput"):
        # The processes share the files: with the longest first, none waits long for another at the end.
        sizes = collections.Counter(item.path for item in items)
        first_files = [{ROOT / name for name in FIRST_FILES}]
        first_files += [{item.path for item in items if _has_marker(item, name)} for name in ("training", "slow")]
        items.sort(key=lambda item: [*(item.path not in paths for paths in first_files), -sizes[item.path]])


def pytest_collection_finish() -> None:
    """Keeps every later collection from looking at what is there: 0.1 s for each test that builds a graph."""
    gc.freeze()
    gc.enable()


def _has_marker(item: pytest.Item, *names: str) -> bool:
    return any(map(item.get_closest_marker, names))


def _deselect(config: pytest.Config, items: list[pytest.Item], is_left_out: Callable[[pytest.Item], bool]) -> None:
    left_out = [item for item in items if is_left_out(item)]
    items[:] = [item for item in items if not is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The golden files in the repository (albert/testdata/README.md)."""
    return ROOT / "albert" / "testdata"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The larger evaluation data: the folder ALBERT_TEST_DATA, or shared/data beside the checkout."""
    named = os.environ.get("ALBERT_TEST_DATA")
    if named:
        # Named but not there is a mistake, not a reason to skip.
        assert Path(named).is_dir(), f"ALBERT_TEST_DATA={named} is not a folder"
        return Path(named)
    beside = ROOT.parent / "shared" / "data"
    if not beside.is_dir():
        pytest.skip(f"needs the larger evaluation data: set ALBERT_TEST_DATA to its folder ({beside} is not there)")
    return beside
