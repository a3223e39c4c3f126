import os
import subprocess
import sys

import pytest

from albert.system import start_notices
from albert.system.start_notices import hiding_start_notices

_NOTICE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1.2  3 port.cc:153] oneDNN custom operations are on. You may see slightly different results\n"
)


def _said(program: str) -> str:
    """What a program that writes to the file descriptor 2 says on its standard error."""
    head = "import os\nfrom albert.system.start_notices import hiding_start_notices\n"
    ended = subprocess.run(
        [sys.executable, "-c", head + program], stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    return ended.stderr


def test_notices_are_hidden_and_other_lines_pass():
    program = f"""
with hiding_start_notices():
    os.write(2, {(_NOTICE + "E0000 no such device" + chr(10)).encode()!r})
os.write(2, b"oneDNN custom operations are on, behind it\\n")
"""
    assert _said(program) == "E0000 no such device\noneDNN custom operations are on, behind it\n"


def test_what_a_process_writes_last_arrives_when_it_aborts():
    program = """
with hiding_start_notices():
    os.write(2, b"F0000 this processor has no AVX\\n")
    os.abort()
"""
    assert "F0000 this processor has no AVX\n" in _said(program)


def test_a_process_that_the_block_leaves_behind_does_not_hold_it_up():
    program = """
import subprocess
with hiding_start_notices():
    process = subprocess.Popen(["sleep", "20"])
os.write(2, b"goes on\\n")
process.kill()
"""
    assert _said(program) == "goes on\n"


def test_an_error_leaves_standard_error_as_it_was(capfd):
    with pytest.raises(ImportError), hiding_start_notices():
        raise ImportError
    os.write(start_notices.STANDARD_ERROR, b"still here\n")
    assert capfd.readouterr().err == "still here\n"


def test_without_sed_nothing_is_hidden(monkeypatch, capfd):
    monkeypatch.setenv("PATH", "")
    with hiding_start_notices():
        os.write(start_notices.STANDARD_ERROR, _NOTICE.encode())
    assert capfd.readouterr().err == _NOTICE
