import contextlib
import io
import os
from collections.abc import Iterator

import pytest
from tqdm import tqdm

from albert.system.progress import PROGRESS_BAR, Channel, above_bars, channel_of, progress_bar


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
