"""Where benchmarks put what they measured: `benchmarks/results/<name>.md`, with date, machine and command."""

import datetime
import os
import shlex
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def append_result(name: str, table: str) -> None:
    """Prints `table` (Markdown) and appends it to the results of `benchmarks.<name>` under this process's command."""
    print(table)
    command = shlex.join(["python3", "-m", f"benchmarks.{name}", *sys.argv[1:]])
    heading = f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} CPU cores"
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.md").open("a", encoding="utf-8") as results:
        results.write(f"## {heading}\n\n`{command}`\n\n{table}\n\n")
