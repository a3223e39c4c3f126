"""What XLA must not do in any process of ours. No TensorFlow."""

import os

_YNNPACK = "--xla_cpu_experimental_ynn_fusion_type="
_NO_REDUCTIONS = f"{_YNNPACK}-LIBRARY_FUSION_TYPE_REDUCE"


def compile_reductions() -> None:
    """Makes XLA compile a CPU's reductions itself; it reads the option when it first compiles.

    TensorFlow 2.21 leaves larger ones to YNNPACK, and has it prepare them when they are first executed, without a
    lock. Two threads that execute the same compiled code for the first time, such as two replicas on one processor,
    then write to one vector of constants, which sometimes ends the process with a segmentation fault. XLA's own loops
    are as fast. What the user says of YNNPACK in XLA_FLAGS stays.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _YNNPACK not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_NO_REDUCTIONS}".strip()
