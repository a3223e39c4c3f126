"""What XLA must not do in any process of ours. No TensorFlow."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_FLAGS = "XLA_FLAGS"
_NO_REDUCTIONS = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE"


def compiler_options() -> str:
    """The options that XLA shall read: it compiles a CPU's reductions itself; then those of the user's XLA_FLAGS.

    TensorFlow 2.21 leaves larger ones to YNNPACK, and has it prepare them when they are first executed, without a
    lock. Two threads that execute the same compiled code for the first time, such as two replicas on one processor,
    then write to one vector of constants, which sometimes ends the process with a segmentation fault. XLA's own loops
    are as fast. What the user says of YNNPACK comes later and so prevails.
    """
    flags = os.environ.get(_FLAGS, "")
    if flags.strip() and not flags.lstrip().startswith("-"):  # XLA takes it for the name of a file of options
        try:
            flags = Path(flags).read_text(errors="surrogateescape")
        except OSError:
            return flags  # XLA ends the process, and says why
    # In front, because XLA reads no further than to the first word that is no option.
    return f"{_NO_REDUCTIONS} {flags}".strip()


@contextlib.contextmanager
def compiling_reductions() -> Iterator[None]:
    """Puts `compiler_options` into XLA_FLAGS, and what was there back.

    XLA reads them once, when a process first compiles. What reads them later may be another XLA, of JAX or of a program
    that this process starts, which may not know the option, and then ends its process.
    """
    before = os.environ.get(_FLAGS)
    os.environ[_FLAGS] = compiler_options()
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FLAGS]
        else:
            os.environ[_FLAGS] = before
