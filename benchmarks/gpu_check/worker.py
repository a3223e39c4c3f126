"""A process of the check: one part, whose findings go to a file. Started by `benchmarks.gpu_check.processes`."""

import importlib
import json
import logging
import sys
import traceback
from pathlib import Path

from albert.errors import UserError
from benchmarks.gpu_check.findings import Findings, Request
from benchmarks.gpu_check.plan import BY_NAME


def work(request: Request) -> int:
    """Does the part; the exit code: 0 if it came to its end, 2 after what the user can fix, otherwise 1."""
    part, findings = BY_NAME[request.part], Findings(Path(request.findings))
    module, _, function = part.function.partition(":")
    try:
        if part.is_deterministic:
            from albert.engine.devices import make_deterministic

            make_deterministic()
        do = getattr(importlib.import_module(f"benchmarks.gpu_check.{module}"), function)
        do(request, findings, *([part.argument] if part.argument else []))
    except UserError as error:
        findings.ended("refused", error)
        return 2
    except Exception as error:
        traceback.print_exc()
        findings.ended("failed", error)
        return 1
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(work(Request(**json.loads(sys.argv[1]))))
