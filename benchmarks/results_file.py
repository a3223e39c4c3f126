"""Where benchmarks put what they measured: `benchmarks/results/<name>.md`, with date, machine and command."""

import contextlib
import datetime
import io
import os
import platform
import shlex
import sys
from pathlib import Path

from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    """The name of the first processor, where the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def png(figure: Figure) -> bytes:
    """The picture as results have it."""
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format="png")
    return image.getvalue()


def append_result(name: str, table: str, folder: Path = RESULTS, package: str = "benchmarks") -> None:
    """Prints `table` (Markdown) and appends it to `<folder>/<name>.md` under the command of `<package>.<name>`."""
    print(table)
    command = shlex.join(["python3", "-m", f"{package}.{name}", *sys.argv[1:]])
    heading = f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores of {processor()}"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.md").open("a", encoding="utf-8") as results:
        results.write(f"## {heading}\n\n`{command}`\n\n{table}\n\n")
