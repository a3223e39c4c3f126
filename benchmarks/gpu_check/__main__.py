"""Checks and measures this project on the GPUs of a machine, in about ten minutes, into one report.

    python3 -m benchmarks.gpu_check --output=gpu_report

Needs no data. Each part is a process with a time limit of its own; when one fails, crashes or hangs, what it found is
kept, and the next begins. Parts that measure no time run side by side. Writes gpu_check.md, gpu_check.json and
gpu_check.png to the output folder, after each part, and the parts' logs. The exit code is 0 if every part came to its
end with its numbers within their bounds, otherwise 1; 2 if nothing could be run.
"""

import argparse
import contextlib
import datetime
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from albert.errors import UserError
from albert.system.files import write_bytes, write_text
from benchmarks.gpu_check import report
from benchmarks.gpu_check.findings import Finding, Request
from benchmarks.gpu_check.plan import BY_NAME, PARTS, Part, groups
from benchmarks.gpu_check.processes import LEAST_SECONDS, NO_TIME, Outcome, run_part
from benchmarks.results_file import shown_command

# A compiling process keeps about so many cores busy.
_CORES_OF_A_PART = 3


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked. Raises UserError."""
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks.gpu_check", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--output", type=Path, default=Path("gpu_report"), help="folder of the report; must be new")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="cpu: to try the program itself")
    parser.add_argument("--num_gpu_cores", type=int, default=0, help="devices to use; by default all GPUs, or two CPUs")
    parser.add_argument("--minutes", type=float, default=10.0, help="the most that all parts take together")
    parser.add_argument("--parts", help=f"of {','.join(BY_NAME)}; by default all")
    at_once = max(1, len(os.sched_getaffinity(0)) // _CORES_OF_A_PART)
    parser.add_argument(
        "--side_by_side", type=int, default=at_once, help="parts at once, of those that measure no time"
    )
    parser.add_argument("--tiny", action="store_true", help="the smallest models and few steps: the program itself")
    parser.add_argument("--peers_python", type=Path, help="the Python of an environment with torch and transformers")
    arguments = parser.parse_args(argv)
    names = arguments.parts.split(",") if arguments.parts else list(BY_NAME)
    problems = list(_problems(arguments, names))
    if problems:
        raise UserError("; ".join(problems))
    arguments.parts = [part for part in PARTS if part.name in names]
    return arguments


def _problems(arguments: argparse.Namespace, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in BY_NAME:
            yield f"--parts: {name!r} is unknown; known are {', '.join(BY_NAME)}"
    if not 0 < arguments.minutes <= 24 * 60:
        yield f"--minutes={arguments.minutes} must be above 0 and at most 1440"
    if not 0 <= arguments.num_gpu_cores <= 256:
        yield f"--num_gpu_cores={arguments.num_gpu_cores} must be from 1 to 256, or 0 for all"
    if not 1 <= arguments.side_by_side <= 64:
        yield f"--side_by_side={arguments.side_by_side} must be from 1 to 64"
    if arguments.output.exists() and (not arguments.output.is_dir() or any(arguments.output.iterdir())):
        yield f"--output={arguments.output} is not an empty folder; name a new one"
    if arguments.peers_python and not arguments.peers_python.is_file():
        yield f"--peers_python={arguments.peers_python} is not a program"


def check(arguments: argparse.Namespace, run: Callable[..., Outcome] = run_part) -> bool:
    """Runs the parts by `run`, and rewrites the report after each; whether all was good.

    Raises UserError, and leaves nothing, where the first part is refused: every other part would be.
    """
    is_new = not arguments.output.exists()
    logs = arguments.output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    deadline, stopped = time.monotonic() + 60 * arguments.minutes, threading.Event()
    outcomes: list[Outcome] = []

    def run_one(part: Part) -> Outcome:
        left = deadline - time.monotonic()
        if left < LEAST_SECONDS:
            return Outcome(part.name, part.what, NO_TIME, 0.0, [])
        request = _request(part, arguments, Path(folder), min(left, part.seconds))
        return run(part, request, logs, functools.partial(_tell, part.name), stopped)

    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(total=len(arguments.parts), unit="part", disable=None) as bar,
        contextlib.closing(_in_turn(arguments, run_one, stopped, bar)) as ended,
    ):
        for outcome in ended:
            outcomes.append(outcome)
            if len(outcomes) == 1 and [finding["kind"] for finding in outcome.findings] == ["refused"]:
                ended.close()  # the parts beside it have files in there
                shutil.rmtree(arguments.output if is_new else logs)
                raise UserError(outcome.error)
            _tell_outcome(outcome)
            _write(arguments, outcomes)
            bar.update()
    return all(outcome.is_good for outcome in outcomes)


def _in_turn(
    arguments: argparse.Namespace, run_one: Callable[[Part], Outcome], stopped: threading.Event, bar: tqdm
) -> Iterator[Outcome]:
    """The outcomes in the order of the parts. Sets `stopped` where it is left before the last."""
    for group in groups(arguments.parts, arguments.side_by_side):
        bar.set_description(", ".join(part.name for part in group))
        if len(group) == 1:
            yield run_one(group[0])  # in the main thread, where a training can listen to signals
            continue
        with ThreadPoolExecutor(len(group)) as pool:
            try:
                yield from pool.map(run_one, group)
            except BaseException:
                # Or leaving the pool would wait for the other parts.
                stopped.set()
                raise


def _request(part: Part, arguments: argparse.Namespace, folder: Path, seconds: float) -> Request:
    python = arguments.peers_python
    return Request(
        part=part.name,
        findings=str(folder / f"{part.name}.jsonl"),
        device=arguments.device,
        num_replicas=arguments.num_gpu_cores,
        is_tiny=arguments.tiny,
        seconds=seconds,
        peers_python=str(python.absolute()) if python else "",
    )


def _tell(part: str, finding: Finding) -> None:
    """One line as it is found; what ends a part is told with it."""
    if finding["kind"] not in {"refused", "failed"}:
        tqdm.write(f"  {part}: {report.in_words(finding)}", file=sys.stderr)


def _tell_outcome(outcome: Outcome) -> None:
    error = f": {outcome.error}" if outcome.error else ""
    tqdm.write(f"{outcome.part}: {outcome.state} ({outcome.seconds:.0f} s){error}", file=sys.stderr)


def _write(arguments: argparse.Namespace, outcomes: Sequence[Outcome]) -> None:
    """The report as far as it is known, each file whole."""
    head = {
        "date": str(datetime.date.today()),
        "command": shown_command("benchmarks.gpu_check", sys.argv[1:]),
        "device": arguments.device,
        "is_tiny": arguments.tiny,
    }
    content = report.content_of(head, outcomes)
    write_text(arguments.output / "gpu_check.json", json.dumps(content, indent=1) + "\n")
    write_bytes(arguments.output / "gpu_check.png", report.draw(content))
    write_text(arguments.output / "gpu_check.md", report.render(content))


def main(argv: Sequence[str]) -> int:
    """Returns the exit code."""
    # As Ctrl-C: the processes of its parts end with it.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        arguments = parse(argv)
        is_good = check(arguments)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the report, if there is one, has the parts that were finished.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    print((arguments.output / "gpu_check.md").read_text(encoding="utf-8"))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
