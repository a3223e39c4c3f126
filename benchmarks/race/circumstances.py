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


def cores() -> int:
    """Processor cores that this process, and with it every contender, may use; `taskset` sets them."""
    return len(os.sched_getaffinity(0))


def features() -> list[str]:
    """Those of FEATURES that the processor has; [] where the system does not say."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split()
    except OSError:
        flags = []
    return [feature for feature in FEATURES if feature in flags]


def machine() -> str:
    """Processor, cores in use, and which vector and matrix units it has."""
    found = features()
    known = ", ".join(f"{feature}: {'yes' if feature in found else 'no'}" for feature in FEATURES)
    return f"{cores()} core(s) of {processor()} ({known})"


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
