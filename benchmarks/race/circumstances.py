"""Around every race: how it ends, and for its report the machine, and what its processor can do."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from albert.errors import UserError
from benchmarks.results_file import processor

# What decides how fast both libraries' matrix products are, as Linux names it.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
AVX512 = "avx512f"
BEYOND_AVX2 = ("avx512f", "avx512_bf16", "amx_bf16")
# Keeps both libraries, and what XLA and PyTorch compile, from more than AVX2. MKL, which multiplies PyTorch's float32
# matrices, uses no more than that on AMD's processors anyway.
WITHOUT_AVX512 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}


def leave_out_avx512() -> None:
    """Sets WITHOUT_AVX512 for the contenders that start from now on; flags of XLA that are set already stay."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ.update(WITHOUT_AVX512)
    os.environ["XLA_FLAGS"] = f"{flags} {WITHOUT_AVX512['XLA_FLAGS']}".strip()


def _is_limited() -> bool:
    return os.environ.get("ONEDNN_MAX_CPU_ISA") == WITHOUT_AVX512["ONEDNN_MAX_CPU_ISA"]


def cores() -> int:
    """Processor cores that this process, and with it every contender, may use; `taskset` sets them."""
    return len(os.sched_getaffinity(0))


def features() -> list[str]:
    """Those of FEATURES that the contenders may use; [] where the system does not say what the processor has."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split()
    except OSError:
        flags = []
    return [f for f in FEATURES if f in flags and not (f in BEYOND_AVX2 and _is_limited())]


def machine() -> str:
    """Processor, cores in use, and which vector and matrix units it has."""
    found = features()
    known = ", ".join(f"{feature}: {'yes' if feature in found else 'no'}" for feature in FEATURES)
    limit = "; AVX-512 left out by --without_avx512" if _is_limited() else ""
    return f"{cores()} core(s) of {processor()} ({known}{limit})"


def exit_code(race: Callable[[], None], parts: str) -> int:
    """Races; 0, 2 after a mistake of the user's, reported in one line, 130 when stopped with some `parts` finished."""
    try:
        race()
    except UserError as error:
        # Which the tasks call the folder that --glue_dir names.
        text = str(error).replace("`data_dir`", "--glue_dir")
        print(f"error: {' '.join(text.split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; the report has the {parts} that were finished.", file=sys.stderr)
        return 130
    return 0
