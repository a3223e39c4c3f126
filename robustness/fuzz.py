"""Feeds damaged files to every reader of outside bytes and looks for broken promises.

    python3 -m robustness.fuzz [--cases=10000] [--seed=0] [--reader=NAME]

A reader accepts a file or refuses it with one line that names it. Anything else is a fault: another exception, a crash
of a library, a case that takes longer than 20 s or more than 2 GiB, rows that are neither read nor reported, a file
changed that is not the reader's. Cases run in a process of their own, which is started again when it dies. A case
depends on (reader, seed, number) alone; for each fault the command is printed that repeats it:

    python3 -m robustness.fuzz --reader=NAME --seed=0 --case=1234 [--keep=FOLDER]

Prints a table and appends it, with the date and the command, to benchmarks/results/fuzz.md. Exits with 1 after faults.
"""

import argparse
import collections
import dataclasses
import faulthandler
import importlib
import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import tqdm

from benchmarks.results_file import RESULTS, append_result
from robustness.fuzz_cases import Reader, Verdict, judge, make_case, write_case

READER_NAMES = (
    *("flags", "glue", "squad", "race", "mrpc", "config", "vocab", "sentencepiece", "zip", "tar", "cache", "records"),
    *("checkpoint", "own_table", "own_json", "own_tags", "model_json", "part_of_model"),
    *("run_settings", "evaluations", "training_log", "eval_results"),
    *("safetensors", "pytorch", "object_graph", "keras_hub", "keras_metadata", "tokenizer_json"),
)
CASE_SECONDS = 20
_MEMORY_BYTES = 2 << 30  # beyond what the process has when it begins
_SHOWN_FAULTS = 20  # of each reader
_CONTEXT = multiprocessing.get_context("forkserver")


@dataclasses.dataclass
class Counts:
    """What became of the cases of one reader."""

    kinds: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    faults: list[tuple[int, Verdict]] = dataclasses.field(default_factory=list)

    def add(self, number: int, verdict: Verdict) -> None:
        """Counts the verdict on a case."""
        self.kinds["fault" if verdict.is_fault else verdict.kind] += 1
        if verdict.is_fault:
            self.faults.append((number, verdict))


def reader_named(name: str) -> Reader:
    """The row of the table, or the `Reader` that "package.module:NAME" is. Imports TensorFlow."""
    from robustness import fuzz_readers, fuzz_run_files, fuzz_weights

    module, _, attribute = name.partition(":")
    if attribute:
        return getattr(importlib.import_module(module), attribute)
    readers = (*fuzz_readers.READERS, *fuzz_run_files.READERS, *fuzz_weights.READERS)
    return next(reader for reader in readers if reader.name == name)


# --- In the process of the cases --------------------------------------------------------------------------------------


def serve(name: str, seed: int, numbers: range, case_seconds: float, sandbox: Path, results: Connection) -> None:
    """Judges cases one after the other and sends (number, verdict) of each."""
    errors = (sandbox / "stderr").open("w")
    os.dup2(errors.fileno(), 2)  # what a library says when it dies
    faulthandler.enable(errors)
    (sandbox / "cwd").mkdir(exist_ok=True)
    reader = reader_named(name)
    os.chdir(sandbox / "cwd")  # a file written to a relative path is found here
    seeds = reader.seeds()
    _limit_memory()
    results.send("ready")
    for number in numbers:
        errors.seek(errors.truncate(0))
        faulthandler.dump_traceback_later(case_seconds, exit=True, file=errors)
        verdict = judge(reader, make_case(reader, seeds, seed, number), sandbox)
        faulthandler.cancel_dump_traceback_later()
        results.send((number, verdict))
    results.close()


def _limit_memory() -> None:
    # Of data, not of addresses: TensorFlow maps far more than it uses.
    status = Path("/proc/self/status").read_text()
    (now,) = (int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (now + _MEMORY_BYTES, hard))


# --- In the process that watches --------------------------------------------------------------------------------------


def verdicts(name: str, seed: int, numbers: range, case_seconds: float = CASE_SECONDS) -> Iterator[tuple[int, Verdict]]:
    """(number, verdict) of every case, whatever happens to the process they run in."""
    _CONTEXT.set_forkserver_preload(
        ["robustness.fuzz_run_files", "robustness.fuzz_weights"]
    )  # so that a process is there at once after a crash
    next_number = numbers.start
    while next_number < numbers.stop:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as sandbox:
            receiving, sending = _CONTEXT.Pipe(duplex=False)
            left = range(next_number, numbers.stop)
            arguments = (name, seed, left, case_seconds, Path(sandbox), sending)
            process = _CONTEXT.Process(target=serve, args=arguments, daemon=True)
            process.start()
            sending.close()
            try:
                assert receiving.recv() == "ready", "the process of the cases did not begin"
                while next_number < numbers.stop:
                    # The process ends itself after `case_seconds`. This is for one that cannot.
                    if not receiving.poll(3 * case_seconds):
                        process.kill()
                    number, verdict = receiving.recv()
                    next_number = number + 1
                    yield number, verdict
            except (EOFError, ConnectionError):
                process.join()
                yield next_number, _verdict_on_death(process.exitcode, Path(sandbox) / "stderr")
                next_number += 1
            finally:
                process.kill()
                process.join()
                receiving.close()


def _verdict_on_death(exit_code: int | None, stderr: Path) -> Verdict:
    text = stderr.read_text(errors="replace").replace("\0", "") if stderr.exists() else ""
    if "Timeout (" in text:
        return Verdict("hangs", text[-3000:])
    how = f"signal {-exit_code}" if exit_code and exit_code < 0 else f"exit code {exit_code}"
    # The message of the library comes first, the names of many modules last.
    return Verdict("dies", f"{how}\n{text[:3000]}")


def run(name: str, seed: int, numbers: range) -> Counts:
    """All cases of a reader, with a progress bar, printing the faults."""
    counts = Counts()
    with tqdm.tqdm(verdicts(name, seed, numbers), desc=name, total=len(numbers), unit=" cases", disable=None) as cases:
        for number, verdict in cases:
            counts.add(number, verdict)
            if verdict.is_fault and len(counts.faults) <= _SHOWN_FAULTS:
                command = f"python3 -m robustness.fuzz --reader={name} --seed={seed} --case={number}"
                tqdm.tqdm.write(f"{name} {verdict.kind}: {verdict.detail.strip()}\n  again: {command}\n")
    return counts


def table(counts: dict[str, Counts]) -> str:
    """In Markdown, with a line for all of them."""
    total = collections.Counter()
    lines = ["| reader | cases | accepted | refused | faults |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, row in counts.items():
        total += row.kinds
        lines.append(_row(name, row.kinds))
    return "\n".join([*lines, _row("all", total)])


def _row(name: str, kinds: collections.Counter[str]) -> str:
    return f"| {name} | {kinds.total()} | {kinds['accepted']} | {kinds['refused']} | {kinds['fault']} |"


def main() -> int:
    """Runs the cases, prints and appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=READER_NAMES, help="only this one")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for fuzz.md")
    parser.add_argument("--case", type=int, help="repeat this case of --reader and append nothing")
    parser.add_argument("--keep", type=Path, help="write the files of --case into this folder")
    arguments = parser.parse_args()
    if arguments.case is not None:
        if not arguments.reader:
            parser.error("--case needs --reader")
        return _repeat(arguments.reader, arguments.seed, arguments.case, arguments.keep)
    names = (arguments.reader,) if arguments.reader else READER_NAMES
    cases_each = -(-arguments.cases // len(names))
    counts = {name: run(name, arguments.seed, range(cases_each)) for name in names}
    append_result("fuzz", table(counts), arguments.results, package="robustness")
    return int(any(row.faults for row in counts.values()))


def _repeat(name: str, seed: int, number: int, keep: Path | None) -> int:
    if keep:
        reader = reader_named(name)
        write_case(make_case(reader, reader.seeds(), seed, number), keep)
    ((_, verdict),) = verdicts(name, seed, range(number, number + 1))
    print(f"{verdict.kind}\n{verdict.detail}")
    return int(verdict.is_fault)


if __name__ == "__main__":
    sys.exit(main())
