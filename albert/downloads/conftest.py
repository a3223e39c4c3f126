"""Fixtures of the download tests."""

import os
from collections.abc import Iterator

import pytest

from albert.downloads.testing import FileServer


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    """A proxy of the machine would not know the test server."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server that misbehaves on demand."""
    with FileServer().running() as running:
        yield running
