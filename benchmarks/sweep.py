"""What a sweep costs beyond its runs, and what runs that are pinned to a core each get through.

Sweeps of the bundled task and model, `--runs` runs of the same steps, alternating `--rounds` times: one run after the
other on all cores, and side by side on a core each. Each run's process is timed by itself. What a sweep takes beyond
these is its own: its start, the plan, the gaps between runs, tables and pictures. The cache of the data is there
before.

    python3 -m benchmarks.sweep --runs=2 --rounds=3

Appends to benchmarks/results/sweep.md, with the load of the machine.
"""

import argparse
import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from albert.cli.sweep import command_of, parse_sweep_flags, parsed_run
from albert.runs.sweep.conduct import Sweep
from benchmarks.results_file import append_result

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "sample_data" / "albert_tiny"
DATA = ROOT / "sample_data" / "glue_data"
# Adds the seconds that a program took to a file.
_TIMED = 'began=$EPOCHREALTIME; "$@"; code=$?; echo "$began $EPOCHREALTIME" >>"$0"; exit $code'


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of the clock: of a whole sweep with the start of its program, and of its runs' processes together."""

    sweep: float
    runs: float


def start_of_program() -> float:
    """Seconds that `albert.sweep` takes before it does anything."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "albert.sweep", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def swept(folder: Path, cache: Path, runs: int, steps: int, cores_of_run: int) -> Cost:
    """A sweep with as many runs side by side as there are cores for."""
    folder.mkdir(parents=True)
    times = folder / "times"

    def timed(module: str, flags: Mapping[str, str]) -> list[str]:
        return ["bash", "-c", _TIMED, str(times), *command_of(module, flags)]

    seeds = ",".join(str(seed) for seed in range(1, runs + 1))
    argv = ["sweep", f"--output_dir={folder / 'sweep'}", "--gpus=0", f"--cpus_per_run={cores_of_run}"]
    argv += ["--task_name=agreement", f"--seeds={seeds}", "--", f"--data_dir={DATA}", f"--model_dir={MODEL}"]
    argv += [f"--cached_dir={cache}", f"--train_step={steps}", "--warmup_step=0", f"--save_checkpoints_steps={steps}"]
    began = time.monotonic()
    with contextlib.redirect_stdout(None):  # its table is not that of the measurement
        if Sweep(parse_sweep_flags(argv), parsed_run, timed).run():
            raise SystemExit(1)
    took = time.monotonic() - began
    spans = [[float(number) for number in line.split()] for line in times.read_text(encoding="utf-8").splitlines()]
    return Cost(took + start_of_program(), sum(end - start for start, end in spans))


def main() -> None:
    """Measures, prints and appends to benchmarks/results/sweep.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    alone, beside = [], []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        swept(work / "first", work / "cache", 1, 1, cores)
        for number in range(arguments.rounds):
            place = work / str(number)
            alone.append(swept(place / "alone", work / "cache", arguments.runs, arguments.steps, cores))
            beside.append(swept(place / "beside", work / "cache", arguments.runs, arguments.steps, 1))
    append_result("sweep", table(alone, beside, arguments.runs, cores, load))


def table(alone: list[Cost], beside: list[Cost], runs: int, cores: int, load: float) -> str:
    """Markdown, with medians of the rounds."""
    lines = [
        f"| {runs} runs by a sweep | seconds in each round | of which the runs' processes, together |",
        "| --- | --- | --- |",
    ]
    named = {f"one after the other, each on {cores} cores": alone, "side by side, on a core each": beside}
    for name, costs in named.items():
        sweeps, of_runs = (", ".join(f"{getattr(cost, kind):.1f}" for cost in costs) for kind in ("sweep", "runs"))
        lines.append(f"| {name} | {sweeps} | {of_runs} |")
    overhead = statistics.median(cost.sweep - cost.runs for cost in alone)
    share = statistics.median(cost.sweep / cost.runs - 1 for cost in alone)
    gain = statistics.median(one.sweep / other.sweep for one, other in zip(alone, beside, strict=True))
    lines += ["", f"A sweep takes {overhead:.1f} s beyond its runs, here {share:.1%}."]
    lines += [f"Pinned runs get through {gain:.2f} x as much as one run at a time on all cores."]
    return "\n".join([*lines, f"Load of the machine before: {load:.1f}."])


if __name__ == "__main__":
    main()
