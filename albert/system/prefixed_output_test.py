import fcntl
import io
import os
import re
import struct
import termios

import pytest

from albert.system.held_lines import Repetition
from albert.system.prefixed_output import BarSource, PrefixedSource, Screen


class _Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"one\ntwo\n"], b"[0] one\n[0] two\n"),
        ([b"o", b"ne\nt", b"wo"], b"[0] one\n[0] two\n"),
        ([b"\n\n"], b"[0] \n[0] \n"),
        ([b"windows\r\n"], b"[0] windows\n"),
        # Of a bar the last state is a line.
        ([b"\r 10%", b"\r 20%", b"\r100%\n", b"after\n"], b"[0] 100%\n[0] after\n"),
        ([b"\r 10%", b"\r     \r"], b""),
        ([b"\xff\x00\n"], b"[0] \xff\x00\n"),
    ],
)
def test_lines_are_prefixed_and_bars_leave_their_last_state(pieces, expected):
    out = io.BytesIO()
    source = PrefixedSource(Screen(out), b"[0] ")
    for piece in pieces:
        source.feed(piece)
    source.end()
    assert out.getvalue() == expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (b"error: lost\n", b"[0] error: lost\n"),
        (b"error: lost", b"[0] error: lost\n"),
        (b"other", b"[0] other\n[0] E lost\n[0]  why\n"),
    ],
)
def test_lines_that_repeat_another_are_left_out(last, expected):
    out = io.BytesIO()
    repetition = Repetition(re.compile(rb"^E lost"), re.compile(rb"^ why"), re.compile(rb"^error: lost"))
    source = PrefixedSource(Screen(out), b"[0] ", repetition=repetition)
    for piece in (b"E lo", b"st\n why\n", last):
        source.feed(piece)
    source.end()
    assert out.getvalue() == expected


def test_what_never_ends_its_line_takes_no_memory():
    out = io.BytesIO()
    source = PrefixedSource(Screen(out), b"")
    for _ in range(40):
        source.feed(b"x" * 10_000)
        assert len(source._rest) <= 1 << 16
    for _ in range(1000):
        source.feed(b"\r" + b"y" * 1000)
    assert len(source._rest) <= 1001 + (1 << 16)
    source.end()
    assert out.getvalue().count(b"x") == 400_000 - len(b"x" * (400_000 % (1 << 16)))


def test_on_a_terminal_lines_appear_above_the_bar():
    out = _Terminal()
    screen = Screen(out)
    bar, other = PrefixedSource(screen, b"[0] ", has_bar=True), PrefixedSource(screen, b"[1] ")
    bar.feed(b"\r 10%")
    other.feed(b"line\n\r 99%")  # this one's bar is not shown
    bar.feed(b"\r 20%")
    bar.feed(b"\r   \r")
    clear = b"\r\x1b[K"
    assert out.getvalue() == b"".join([clear + b"[0]  10%", clear + b"[1] line\n[0]  10%", clear + b"[0]  20%", clear])


def test_above_a_bar_there_are_whole_lines_only():
    out = _Terminal()
    screen = Screen(out)
    bar = BarSource(screen, b"[0] ")
    bar.feed(b"10%\n20%\n30")
    screen.text(b"half of")
    bar.feed(b"%\n")
    screen.text(b" a line\n")
    bar.feed(b"\n")
    bar.end()
    clear = b"\r\x1b[K"
    assert out.getvalue() == clear + b"[0] 20%" + clear + b"half of a line\n[0] 30%" + clear


def test_where_no_terminal_is_nothing_but_the_text_is_written():
    out = io.BytesIO()
    screen = Screen(out)
    BarSource(screen).feed(b"10%\n")
    screen.text(b"one\nt")
    screen.text(b"wo\n")
    assert out.getvalue() == b"one\ntwo\n"


def test_a_bar_is_cut_to_the_width_of_the_terminal():
    own, other = os.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 8, 0, 0))
    with os.fdopen(other, "wb", buffering=0) as terminal:
        Screen(terminal).bar("10% ████████".encode())
        assert os.read(own, 100) == b"\r\x1b[K" + "10% ███".encode()
    os.close(own)


def test_a_screen_that_nobody_looks_at_any_more_raises_nothing():
    class Closed(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            raise OSError

    screen = Screen(Closed())
    screen.line(b"one")
    screen.line(b"two")
