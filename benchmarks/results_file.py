"""Where benchmarks put what they measured: `benchmarks/results/<name>.md`, with date, machine and command."""

import contextlib
import datetime
import io
import os
import platform
import shlex
import sys
from collections.abc import Sequence
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


def shown_command(module: str, arguments: Sequence[str]) -> str:
    """The command as it can be shown to others: with the flag's name in place of a path of this machine."""
    shown: list[str] = []
    for word, before in zip(arguments, ["", *arguments], strict=False):
        flag, has_value, value = word.partition("=")
        if has_value and "/" in value:
            word = f"{flag}=<{flag.lstrip('-')}>"
        elif "/" in word and before.startswith("--") and "=" not in before:
            word = f"<{before.lstrip('-')}>"
        shown.append(word if "<" in word else shlex.quote(word))
    return " ".join(["python3 -m", module, *shown])


def append_result(
    name: str, table: str, folder: Path = RESULTS, package: str = "benchmarks", module: str | None = None
) -> None:
    """Prints `table` (Markdown) and appends it to `<folder>/<name>.md` under the command of `<package>.<module>`.

    `module` None: the one that is called as the results.
    """
    print(table)
    command = shown_command(f"{package}.{module or name}", sys.argv[1:])
    heading = f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores of {processor()}"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.md").open("a", encoding="utf-8") as results:
        results.write(f"## {heading}\n\n`{command}`\n\n{table}\n\n")
