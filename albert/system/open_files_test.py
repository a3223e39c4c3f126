"""More files than the system lets a process open unasked."""

import contextlib
import resource
from collections.abc import Iterator

import pytest

from albert.errors import UserError
from albert.system.open_files import make_room_for_files
from albert.testing import few_open_files


@contextlib.contextmanager
def _opened(path, count: int) -> Iterator[None]:
    with contextlib.ExitStack() as files:
        for number in range(count):
            files.enter_context((path / str(number)).open("w"))
        yield


def test_room_is_made_for_files_where_the_system_lets_it(tmp_path):
    with few_open_files():
        with pytest.raises(OSError, match="Too many open files"), _opened(tmp_path, 100):
            pass
        make_room_for_files(100, "100 files")
        with _opened(tmp_path, 100):
            pass


def test_a_limit_that_is_high_enough_stays():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    make_room_for_files(1, "1 file")
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_a_limit_that_a_process_cannot_raise_is_told(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: None)
    with pytest.raises(UserError, match=r"^These are 500 files, which .* may open only 100\. Raise .*ulimit -n \d+"):
        make_room_for_files(500, "These are 500 files")
