import gc
import os
import sys

import pytest

from albert.system.imports import importing_tensorflow, importing_tensorflow_for_others


@pytest.fixture(autouse=True)
def _thawed():
    yield
    gc.enable()
    gc.unfreeze()


def test_what_is_imported_is_not_looked_through_again(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    before = gc.get_freeze_count()
    with importing_tensorflow():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


def test_collection_goes_on_after_an_error(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with pytest.raises(ImportError), importing_tensorflow():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.parametrize("is_enabled", [True, False])
def test_nothing_changes_where_it_is_imported_already_or_collection_is_off(monkeypatch, is_enabled):
    monkeypatch.setitem(sys.modules, "tensorflow", gc)
    if not is_enabled:
        monkeypatch.delitem(sys.modules, "tensorflow")
        gc.disable()
    before = gc.get_freeze_count()
    with importing_tensorflow():
        assert gc.isenabled() == is_enabled
    assert gc.isenabled() == is_enabled
    assert gc.get_freeze_count() == before


def test_in_another_programs_process_nothing_changes_for_longer(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    frozen = gc.get_freeze_count()
    with importing_tensorflow_for_others():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "1"
        assert gc.isenabled()
    assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    assert gc.get_freeze_count() == frozen


def test_a_level_of_the_log_that_a_process_sets_stays(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with importing_tensorflow_for_others():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
