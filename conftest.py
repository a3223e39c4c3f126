"""Fixtures that every test may use: where test data lies."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

# Before anything imports TensorFlow: its start-up notes (level 0 and 1) would bury a failing test's output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that use `shared_data`, so that `-m "not shared_data"` leaves them out."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker("shared_data")


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
