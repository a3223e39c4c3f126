import contextlib
import io
import os
import re
import sys
import types
import warnings
from collections.abc import Iterator

import pytest
from tqdm import tqdm

from albert.system.progress import PROGRESS_BAR, Channel, above_bars, channel_of, clear_bars, in_notebook, progress_bar


@contextlib.contextmanager
def _pipe(monkeypatch, columns: int = 60) -> Iterator[int]:
    """The reading end of a pipe that bars are told to."""
    reading_end, writing_end = os.pipe()
    os.set_blocking(reading_end, False)
    monkeypatch.setenv(PROGRESS_BAR, f"{writing_end}:{columns}")
    channel_of.cache_clear()
    try:
        yield reading_end
    finally:
        channel_of.cache_clear()
        os.close(reading_end)
        os.close(writing_end)


def _states(reading_end: int) -> list[str]:
    return os.read(reading_end, 1 << 16).decode().split("\n")[:-1]


def test_a_pipe_gets_each_state_of_a_bar_as_a_line_and_an_empty_one_at_its_end(monkeypatch, capfd):
    with _pipe(monkeypatch) as reading_end, progress_bar(desc="train", total=2, disable=None, mininterval=0) as bar:
        bar.update(1)
        *_, last = _states(reading_end)
        assert last.startswith("train:  50%|")
        assert len(last) <= 60
        for _ in progress_bar([1], "eval", disable=None, leave=False):
            assert any(state.startswith("eval:   0%|") for state in _states(reading_end))
        assert _states(reading_end)[-1] == ""
        bar.update(1)
        assert _states(reading_end)[-1].startswith("train: 100%|")
        bar.close()
        assert _states(reading_end)[-1] == ""
    assert capfd.readouterr() == ("", "")


def test_a_bar_that_is_hidden_is_told_to_nobody(monkeypatch):
    with _pipe(monkeypatch) as reading_end:
        list(progress_bar([1, 2], disable=True))
        with pytest.raises(BlockingIOError):
            os.read(reading_end, 1)


def test_a_bar_never_waits_for_who_does_not_read(monkeypatch):
    with _pipe(monkeypatch), progress_bar(total=10_000, disable=None, mininterval=0, miniters=1) as bar:
        for _ in range(10_000):
            bar.update(1)


def test_what_names_no_pipe_of_this_process_is_left_alone(monkeypatch, tmp_path, capfd):
    with (tmp_path / "file").open("wb") as file:
        for value in ("", "x", ":", "3", "99999:80", f"{10**30}:80", f"{file.fileno()}:80"):
            assert channel_of(value) is None, value
            monkeypatch.setenv(PROGRESS_BAR, value)
            assert list(progress_bar([1, 2], disable=None)) == [1, 2]
        assert file.tell() == 0
    assert capfd.readouterr() == ("", "")


def test_a_terminal_of_unknown_width_has_the_usual_one():
    reading_end, writing_end = os.pipe()
    assert Channel(writing_end, 80).columns == 80
    channel = channel_of(f"{writing_end}:0")
    channel_of.cache_clear()
    assert channel
    assert channel.columns == 80
    os.close(reading_end)
    os.close(writing_end)


@pytest.mark.parametrize("total", [4000, None])
@pytest.mark.parametrize("columns", [20, 30, 40, 60, 80, 100, 0])
@pytest.mark.parametrize("name", ["train", "own_messages_of_customers_train_128"])
@pytest.mark.parametrize("is_told", [False, True])
def test_a_bar_fits_the_terminal_and_nothing_of_it_is_cut_off(monkeypatch, total, columns, name, is_told):
    monkeypatch.setattr(os, "get_terminal_size", lambda *descriptor: os.terminal_size((columns, 24)))
    monkeypatch.delenv(PROGRESS_BAR, raising=False)
    options = {"disable": False, "mininterval": 0, "unit": " rows", "postfix": "loss 0.1234, 0.41 s/step"}
    with _pipe(monkeypatch, columns) if is_told else contextlib.nullcontext():
        stream = {} if is_told else {"file": types.SimpleNamespace(fileno=lambda: 2, write=len, flush=int)}
        bar = progress_bar(desc=name, total=total, initial=1200, **stream, **options)
        state = str(bar)
        bar.close()
    assert len(state) < (columns or 80)
    if columns >= 40 and (name == "train" or columns > 60):
        assert state.startswith(f"{name}: ")
    whole = r"\]|\d+/4000|[\d.]+k? rows|%|\.\.\.: +30%"
    assert re.search(rf"(?:{whole})$", state), state


def test_a_bar_is_drawn_on_a_terminal_that_does_not_say_how_large_it_is(monkeypatch):
    monkeypatch.setattr(os, "get_terminal_size", lambda *descriptor: os.terminal_size((0, 0)))
    monkeypatch.delenv(PROGRESS_BAR, raising=False)
    written: list[str] = []
    terminal = types.SimpleNamespace(fileno=lambda: 2, write=written.append, flush=int, isatty=lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(desc="train", total=2, disable=None, mininterval=0) as bar:
        bar.update(1)
        drawn = "".join(written)
    assert "train:  50%|" in drawn


def test_a_line_of_a_log_is_written_above_the_bar_on_the_same_terminal():
    out = io.StringIO()
    with tqdm(desc="train", total=2, file=out, ncols=40) as bar:
        bar.refresh()
        out.seek(0)
        out.truncate()
        with above_bars(out):
            print("a line", file=out)
        cleared, line, drawn = out.getvalue().partition("a line\n")
        assert line
        assert not cleared.strip()
        assert cleared.endswith("\r")
        assert drawn.startswith("\rtrain:   0%|")


def test_where_standard_error_was_closed_no_bar_is_drawn(monkeypatch):
    monkeypatch.delenv(PROGRESS_BAR, raising=False)
    monkeypatch.setattr("sys.stderr", None)
    with progress_bar(range(3), disable=None) as bar:
        assert list(bar) == [0, 1, 2]
        assert bar.disable


class ZMQInteractiveShell:
    """What a kernel's shell is called."""


class ColabShell(ZMQInteractiveShell):
    """Colab's is derived from it."""


class TerminalInteractiveShell:
    """What that of `ipython` in a terminal is called."""


class OutStream(io.StringIO):
    """What a kernel's standard error is called: no terminal."""


def _in_kernel(monkeypatch, shell: object, stream: io.StringIO) -> None:
    monkeypatch.delenv(PROGRESS_BAR, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr("sys.stderr", stream)


def test_only_the_output_of_a_cell_is_a_notebook(monkeypatch):
    for shell, stream, expected in (
        (ZMQInteractiveShell(), OutStream(), True),
        (ColabShell(), OutStream(), True),
        (ZMQInteractiveShell(), io.StringIO(), False),  # captured
        (TerminalInteractiveShell(), io.StringIO(), False),
        (None, OutStream(), False),  # IPython is imported, but does not run
    ):
        _in_kernel(monkeypatch, shell, stream)
        assert in_notebook() == expected
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))  # while it is imported
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
    assert "IPython" not in sys.modules


def test_a_notebook_without_widgets_gets_lines_that_are_written_over(monkeypatch):
    cell = OutStream()
    _in_kernel(monkeypatch, ZMQInteractiveShell(), cell)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with progress_bar(desc="train", total=2, disable=None) as bar:
            bar.update(1)
            for _ in progress_bar([1], "eval", disable=None, leave=False):
                pass
            with above_bars(sys.stderr):
                print("a line", file=sys.stderr)
            bar.update(1)
    written = cell.getvalue()
    assert "\x1b" not in written  # a cell moves no cursor up
    shown = [line.rpartition("\r")[2].strip() for line in written.split("\n") if line.rpartition("\r")[2]]
    assert shown[0] == "a line"
    assert shown[1].startswith("train: 100%|")
    assert len(shown) == 2
    assert "eval:   0%|" in written
    assert max(map(len, written.replace("\n", "\r").split("\r"))) == 100


def test_a_notebook_shows_a_hidden_bar_no_more_than_a_terminal(monkeypatch):
    cell = OutStream()
    _in_kernel(monkeypatch, ZMQInteractiveShell(), cell)
    list(progress_bar([1, 2], disable=True))
    assert cell.getvalue() == ""


def test_where_tqdm_has_widgets_the_bar_is_one(monkeypatch):
    class tqdm_notebook(tqdm):  # noqa: N801
        pass

    _in_kernel(monkeypatch, ZMQInteractiveShell(), OutStream())
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=tqdm_notebook))
    with progress_bar(total=2, disable=None) as bar:
        assert type(bar) is tqdm_notebook
        assert bar.ncols != 100  # the widget is as wide as the cell


def test_a_line_that_another_writes_begins_where_the_bar_was():
    out = io.StringIO()
    with tqdm(desc="train", total=2, file=out, ncols=40) as bar:
        bar.refresh()
        clear_bars(io.StringIO())  # another file: the bar stays
        assert out.getvalue().endswith("[00:00<?, ?it/s]")
        clear_bars(out)
        print("a line", file=out)
    assert out.getvalue().partition("a line\n")[0].endswith(" \r")
