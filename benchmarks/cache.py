"""Measures building and reopening the cache of SST-2's training rows: seconds, and peak memory against rows.

    python3 -m benchmarks.cache --data_dir=<glue_data> --spm_model_file=<30k-clean.model>

Builds caches of 10 %, 50 % and 100 % of the rows in temporary folders, each in a fresh process, reopens each in
another, prints a table and appends it, with the date and the command, to benchmarks/results/cache.md. Importing
TensorFlow is not part of the seconds; loading the tokenizer and hashing the source file are.
"""

import argparse
import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from albert.data.source_files import SourceFiles
from albert.data.tfrecord_cache import RecordCache, open_or_build
from albert.settings import DataSettings
from albert.tasks.registry import get_task
from albert.tokenization import load_tokenizer
from benchmarks.results_file import append_result

TASK = "sst-2"
MAX_SEQ_LENGTH = 128
FRACTIONS = (0.1, 0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class Build:
    """One build: seconds, and the largest resident memory of the process itself and of any one of its workers."""

    seconds: float
    own_mib_before: float
    own_mib: float
    worker_mib: float


def open_cache(settings: DataSettings, num_rows: int, num_workers: int | None) -> RecordCache:
    """What a run does at its start to have its training data."""
    task = get_task(settings.task_name)
    tokenizer = load_tokenizer(settings.spm_model_file, settings.vocab_file, settings.do_lower_case)
    sources = task.source_files("train", settings.data_dir)
    return open_or_build(
        directory=settings.cached_dir,
        stem=f"{task.name}_train_{settings.max_seq_length}",
        identity={"sources": SourceFiles.read(sources).digest, "tokenizer": tokenizer.digest, "rows": num_rows},
        items=lambda: itertools.islice(task.read("train", settings.data_dir), num_rows),
        featurize=functools.partial(task.featurize, tokenizer=tokenizer, settings=settings),
        feature_spec=task.feature_spec,
        num_workers=num_workers,
    )


def measure_build(settings: DataSettings, num_rows: int, num_workers: int | None) -> Build:
    """Builds in this process, which should be a fresh one."""
    import tensorflow  # noqa: F401 - before the clock starts

    own_mib_before = peak_mib("self")
    with WorkerMemory() as workers:
        started = time.perf_counter()
        cache = open_cache(settings, num_rows, num_workers)
        seconds = time.perf_counter() - started
    assert cache.count == num_rows, f"{cache.count} records from {num_rows} rows"
    return Build(seconds, own_mib_before, peak_mib("self"), workers.peak_mib)


def measure_reopening(settings: DataSettings, num_rows: int) -> float:
    """Seconds to open a cache that is there, in this process, which should be a fresh one."""
    started = time.perf_counter()
    open_cache(settings, num_rows, None)
    seconds = time.perf_counter() - started
    assert "tensorflow" not in sys.modules, "reopening a cache imported TensorFlow"
    return seconds


def peak_mib(process: int | str) -> float:
    """The largest resident memory a process ever had; unlike getrusage's, not counting what it was forked from."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


class WorkerMemory(threading.Thread):
    """Watches the processes that come from this one while the block runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(0.1):
            self._look_below("self")

    def _look_below(self, process: str) -> None:
        # All generations: workers are the children of a child, the server that forks them.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may have ended since
            for children in Path("/proc", process, "task").glob("*/children"):
                for child in children.read_text().split():
                    self.peak_mib = max(self.peak_mib, peak_mib(child))
                    self._look_below(child)

    def __enter__(self) -> "WorkerMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self.join()


def measure(settings: DataSettings, num_workers: int | None) -> str:
    """The table of results, in Markdown."""
    total = sum(1 for _ in get_task(TASK).read("train", settings.data_dir))
    lines = [
        "| rows | building, s | reopening, s | peak MiB before building | peak MiB after | peak MiB of a worker |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    context = multiprocessing.get_context("spawn")
    for fraction in FRACTIONS:
        num_rows = int(total * fraction)
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(1, context, max_tasks_per_child=1) as fresh_process,
        ):
            settings = dataclasses.replace(settings, cached_dir=Path(folder))
            build = fresh_process.submit(measure_build, settings, num_rows, num_workers).result()
            reopening = fresh_process.submit(measure_reopening, settings, num_rows).result()
        lines.append(
            f"| {num_rows} | {build.seconds:.2f} | {reopening:.2f} | {build.own_mib_before:.0f} | {build.own_mib:.0f} "
            f"| {build.worker_mib:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="the GLUE folder, with SST-2 in it")
    parser.add_argument("--spm_model_file", type=Path, required=True)
    parser.add_argument("--num_workers", type=int, help="worker processes; by default as a run chooses")
    arguments = parser.parse_args()
    settings = DataSettings(TASK, arguments.data_dir, Path(), MAX_SEQ_LENGTH, arguments.spm_model_file)
    append_result("cache", measure(settings, arguments.num_workers))


if __name__ == "__main__":
    main()
