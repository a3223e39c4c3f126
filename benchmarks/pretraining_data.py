"""Measures creating pretraining data: records per second of a core, against the original's algorithm, and memory.

    python3 -m benchmarks.pretraining_data --corpus='<corpus>/*.txt' --spm_model_file=<30k-clean.model>

Both read text, tokenise it, make and mask sequences and write TFRecords, with upstream's flags, each in a process of
its own. The original's algorithm (`benchmarks.pretraining_data_original`) gets every 50th file. Memory is measured on
a tenth of the files and on all, with fewer passes. Appends a table to benchmarks/results/pretraining_data.md.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert.cli.flags import parse
from albert.cli.pretraining import CREATE_PRETRAINING_DATA
from albert.pretraining_data.text_files import expand_patterns
from benchmarks.results_file import append_result

SAMPLE_EVERY = 50
_SECONDS_BETWEEN_LOOKS = 0.05
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_NOTES = """\
A record is a sequence of {max_seq_length} tokens with at most {max_predictions_per_seq} predictions. Core seconds are
the processor time of all processes of a run: start and imports are included for ours, and left out for the original's
algorithm, whose writer needs TensorFlow. Memory is the largest sum of what all processes had resident at a time, pages
that they share counted once for each.

**{ratio:.1f} times** the original algorithm's records per core second, on the same text."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run did and took."""

    records: int
    wall_seconds: float
    core_seconds: float
    peak_mib: float

    @property
    def records_per_core_second(self) -> float:
        """The throughput of one core."""
        return self.records / self.core_seconds


class Watch(threading.Thread):
    """Looks at a process and all that come from it while the block runs: processor time, and memory at a time."""

    def __init__(self, process_id: int):
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self._root = process_id
        self._core_seconds: dict[int, float] = {}  # of each process, as of the last look at it
        self._finished = threading.Event()

    @property
    def core_seconds(self) -> float:
        """Of all processes together."""
        return sum(self._core_seconds.values())

    def run(self) -> None:
        while not self._finished.wait(_SECONDS_BETWEEN_LOOKS):
            self.peak_mib = max(self.peak_mib, self._look(self._root))

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self.join()

    def _look(self, process: int) -> float:
        """Resident MiB of `process` and all below it; notes their processor time."""
        mib = 0.0
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, TypeError):  # it may have ended since
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            self._core_seconds[process] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
            mib = int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024
            for children in Path("/proc", str(process), "task").glob("*/children"):
                mib += sum(self._look(int(child)) for child in children.read_text().split())
        return mib


def run_ours(flags: Mapping[str, Any], files: list[Path], num_workers: int, folder: str) -> Run:
    """The program on `files`."""
    own = {"input_file": ",".join(map(str, files)), "output_file": f"{folder}/records", "num_workers": num_workers}
    command = [f"--{name}={value}" for name, value in (flags | own).items() if value is not None]
    command = [sys.executable, "-m", "albert.create_pretraining_data", *command]
    started = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, Watch(process.pid) as watch:
        log = process.communicate()[1]
    wall_seconds = time.perf_counter() - started
    assert process.returncode == 0, log
    Path(own["output_file"]).unlink()
    return Run(int(re.search(r"-> (\d+) records", log)[1]), wall_seconds, watch.core_seconds, watch.peak_mib)


def run_original(flags: Mapping[str, Any], files: list[Path], folder: str) -> Run:
    """The original's algorithm on `files`."""
    job = {**flags, "input_files": [*map(str, files)], "output_file": f"{folder}/records"}
    command = [sys.executable, "-m", "benchmarks.pretraining_data_original", json.dumps(job)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, Watch(process.pid) as watch:
        printed = process.communicate()[0]
    assert process.returncode == 0, "the original's algorithm failed"
    Path(job["output_file"]).unlink()
    return Run(**json.loads(printed), peak_mib=watch.peak_mib)


def row(what: str, files: list[Path], passes: int, run: Run) -> str:
    """One line of the table."""
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    return (
        f"| {what} | {megabytes:.1f} | {passes} | {run.records} | {run.wall_seconds:.1f} | {run.core_seconds:.1f} | "
        f"{run.records_per_core_second:.0f} | {run.peak_mib:.0f} |"
    )


def measure(flags: dict[str, Any], files: list[Path], passes_for_memory: int, scratch: Path | None) -> str:
    """The table of results, in Markdown."""
    sample, tenth = files[::SAMPLE_EVERY], files[::10]
    passes = flags["dupe_factor"]
    lines = [
        "| run | text, MB | passes | records | s | core s | records a core s | peak MiB |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        original = run_original(flags, sample, folder)
        lines.append(row("the original's algorithm", sample, passes, original))
        ours = run_ours(flags, sample, 1, folder)
        lines.append(row("ours, 1 process", sample, passes, ours))
        flags = flags | {"dupe_factor": passes_for_memory}
        for some in (tenth, files):
            lines.append(row("ours, 2 processes", some, passes_for_memory, run_ours(flags, some, 2, folder)))
    ratio = ours.records_per_core_second / original.records_per_core_second
    return "\n".join(lines) + "\n\n" + _NOTES.format(**flags, ratio=ratio)


def main() -> None:
    """Measures, prints and appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help="file names or patterns, comma-separated")
    parser.add_argument("--spm_model_file", required=True)
    parser.add_argument("--max_seq_length", type=int, default=512)
    parser.add_argument("--dupe_factor", type=int, default=40)
    parser.add_argument("--passes_for_memory", type=int, default=5, help="dupe_factor of the runs on more text")
    parser.add_argument("--scratch", type=Path, help="folder for what is written; the system's by default")
    arguments = parser.parse_args()
    values = parse(CREATE_PRETRAINING_DATA, ["create_pretraining_data"])
    flags = dict(values.by_flag)
    flags |= {name: getattr(arguments, name) for name in ("spm_model_file", "max_seq_length", "dupe_factor")}
    files = expand_patterns(arguments.corpus, "corpus")
    append_result("pretraining_data", measure(flags, files, arguments.passes_for_memory, arguments.scratch))


if __name__ == "__main__":
    main()
