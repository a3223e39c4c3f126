"""Fixtures of the tests of the training step."""

from collections.abc import Iterator

import pytest
from tensorflow.python.autograph.impl import api

from albert.data.input_pipeline import Source
from albert.testing import write_step_rows


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """60 rows of 1 to 32 tokens."""
    return write_step_rows(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def nothing_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test in which AutoGraph rewrites functions of a model, which takes as long as all the rest of a start."""
    rewritten = []
    convert = api._convert_actual

    def noted(entity: object, context: object) -> object:
        rewritten.append(f"{getattr(entity, '__module__', '')}.{getattr(entity, '__qualname__', entity)}")
        return convert(entity, context)

    monkeypatch.setattr(api, "_convert_actual", noted)
    yield
    tests = ("_test.", ".testing.")
    ours = [name for name in rewritten if name.startswith("albert.") and not any(part in name for part in tests)]
    assert ours == []
