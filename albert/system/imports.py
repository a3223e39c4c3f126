"""The import of TensorFlow: without Python's search for garbage, and without notices that say nothing."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from albert.system.start_notices import hiding_start_notices

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def importing_tensorflow() -> Iterator[None]:
    """For a block that imports TensorFlow: a third less processor time, and less for a program's whole life.

    Modules are a million objects that live until the end. Python would look through all of them for garbage again and
    again: while they are imported, in each full collection of a run, and once more when the program ends.

    TensorFlow's start-up notices are hidden.
    """
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        with hiding_start_notices():
            yield
    finally:
        gc.freeze()  # from here on no collection looks at what is there
        gc.enable()


@contextlib.contextmanager
def importing_tensorflow_for_others() -> Iterator[None]:
    """For a block that imports TensorFlow in a process that does more than this project's work.

    Hides the start-up notices, and what TensorFlow's C++ code tells later without warning of it. Where the process
    imported TensorFlow before, or says itself what is to be seen, nothing changes.
    """
    if "tensorflow" in sys.modules or _LOG_LEVEL in os.environ:
        yield
        return
    os.environ[_LOG_LEVEL] = "1"  # which is read once, so that programs which the process starts need not inherit it
    try:
        with hiding_start_notices():
            yield
    finally:
        os.environ.pop(_LOG_LEVEL, None)


def tensorflow_computes() -> bool:
    """Whether TensorFlow is at work in this process: what it reads from the environment, it has read."""
    context = sys.modules.get("tensorflow.python.eager.context")
    return context is not None and context.context()._context_handle is not None
