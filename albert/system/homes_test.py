from pathlib import Path

import pytest

from albert.errors import UserError
from albert.system.homes import expanded


def test_a_tilde_is_the_home_folder_and_nothing_else_changes(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/a") == Path("/home/me/a")
    assert [str(expanded(text)) for text in ("a/~", "./~b", "")] == ["a/~", "~b", "."]


def test_a_home_that_nobody_knows_is_told(monkeypatch):
    with pytest.raises(UserError, match=r"^begins with ~nobody-of-that-name, but that home folder is not known here"):
        expanded("~nobody-of-that-name/a")
    with pytest.raises(UserError, match=r"^`input_file`=~nobody-of-that-name begins with ~nobody-of-that-name, but"):
        expanded("~nobody-of-that-name", "`input_file`")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError()))  # a container's user
    with pytest.raises(UserError, match=r"^begins with ~, but that"):
        expanded("~/a")
