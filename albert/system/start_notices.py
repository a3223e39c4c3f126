"""TensorFlow's notices of its start, kept off standard error."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

STANDARD_ERROR = 2

# Since TensorFlow writes them before its log is set up, TF_CPP_MIN_LOG_LEVEL does not silence them.
_NOTICES = ("^WARNING: All log messages before absl::InitializeLog() is called", "oneDNN custom operations are on")


@contextlib.contextmanager
def hiding_start_notices() -> Iterator[None]:
    """For a block that imports TensorFlow: hides two notices that say nothing about the run. Other lines pass.

    The lines go through a process of its own, so that what the libraries write last still arrives when they abort this
    one. Without sed, or without a standard error, nothing is hidden.
    """
    try:
        standard_error = os.dup(STANDARD_ERROR)
    except OSError:
        yield
        return
    try:
        with _filter_into(standard_error) as written:
            if written is not None:
                os.dup2(written, STANDARD_ERROR)
                os.close(written)  # sed ends when nobody can write to it any more
            try:
                yield
            finally:
                os.dup2(standard_error, STANDARD_ERROR)
    finally:
        os.close(standard_error)


@contextlib.contextmanager
def _filter_into(standard_error: int) -> Iterator[int | None]:
    """The writing end of a pipe to sed, which writes to `standard_error`; None where sed cannot be started."""
    reading, writing = os.pipe()
    try:
        command = ["sed", "-u", *(word for notice in _NOTICES for word in ("-e", f"/{notice}/d"))]
        # In a session of its own, Ctrl-C does not end it before its last line.
        process = subprocess.Popen(command, stdin=reading, stdout=standard_error, start_new_session=True)
    except OSError:
        os.close(writing)
        yield None
        return
    finally:
        os.close(reading)
    yield writing
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)  # not for a process that the block started and that goes on
