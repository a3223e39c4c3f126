"""What a sweep costs beyond its runs, and what runs that are pinned to a core each get through.

The bundled task and model, `--runs` runs of the same steps. Measured three ways, alternating `--rounds` times: the runs by
themselves, one after the other, pinned to one core; the same by `albert.sweep`, one at a time; and by `albert.sweep` side
by side on a core each, beside which a run that has all cores is measured. The cache of the data is there before.

    python3 -m benchmarks.sweep --runs=2 --rounds=3

Appends to benchmarks/results/sweep.md, with the load of the machine.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from albert.cli.sweep import command_of
from benchmarks.results_file import append_result
from benchmarks.sweeps import run_sweep

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "sample_data" / "albert_tiny"
DATA = ROOT / "sample_data" / "glue_data"


def flags_of(steps: int, cache: Path) -> dict[str, object]:
    """Of every run, besides where it goes and its seed."""
    return {
        "data_dir": DATA,
        "model_dir": MODEL,
        "cached_dir": cache,
        "train_step": steps,
        "warmup_step": 0,
        "save_checkpoints_steps": steps,
    }


def bare(folder: Path, flags: dict[str, object], seeds: Sequence[int], cores: Sequence[int]) -> float:
    """Seconds of runs one after the other on `cores`, as somebody would call them."""
    began = time.monotonic()
    for seed in seeds:
        own = {"recipe": "true", "do_train": "true", "do_eval": "true", "do_predict": "true", "keep_checkpoint_max": 1}
        of_run = {"task_name": "agreement", "device": "cpu", "seed": seed, "output_dir": folder / f"{seed}"}
        command = command_of("run_multigpus_classifier", {**own, **flags, **of_run})
        pinned = ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]
        threads = {"OMP_NUM_THREADS": str(len(cores)), "CUDA_VISIBLE_DEVICES": "-1"}
        subprocess.run(pinned, check=True, env={**os.environ, **threads}, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def swept(folder: Path, flags: dict[str, object], seeds: Sequence[int], parallel: int) -> float:
    """Seconds of the same runs in a sweep, `parallel` at a time on a core each."""
    began = time.monotonic()
    own = ["--task_name=agreement", f"--seeds={','.join(map(str, seeds))}", "--cpus_per_run=1"]
    of_runs = [f"--{name}={value}" for name, value in flags.items()]
    run_sweep(folder, [*own, f"--max_parallel={parallel}"], of_runs)
    return time.monotonic() - began


def main() -> None:
    """Measures, prints and appends to benchmarks/results/sweep.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    seeds, cores = range(1, arguments.runs + 1), sorted(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    seconds: dict[str, list[float]] = {"bare": [], "swept": [], "side by side": [], "all cores": []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        flags = flags_of(arguments.steps, work / "cache")
        bare(work / "first", flags, seeds[:1], cores)
        for number in range(arguments.rounds):
            place = work / str(number)
            seconds["bare"].append(bare(place / "bare", flags, seeds, cores[:1]))
            seconds["swept"].append(swept(place / "swept", flags, seeds, 1))
            seconds["all cores"].append(bare(place / "all", flags, seeds, cores))
            seconds["side by side"].append(swept(place / "side", flags, seeds, len(cores)))
    append_result("sweep", table(seconds, arguments.runs, len(cores), load))


def table(seconds: dict[str, list[float]], runs: int, num_cores: int, load: float) -> str:
    """Markdown, with the median of the rounds and of their ratios."""
    names = {
        "bare": f"{runs} runs by themselves, one after the other, on one core",
        "swept": "the same by a sweep",
        "all cores": f"{runs} runs one after the other, each on {num_cores} cores",
        "side by side": f"by a sweep, {num_cores} side by side on a core each",
    }
    lines = ["| what | seconds, median of the rounds | in each round |", "| --- | ---: | --- |"]
    for name, text in names.items():
        rounds = ", ".join(f"{value:.1f}" for value in seconds[name])
        lines.append(f"| {text} | {statistics.median(seconds[name]):.1f} | {rounds} |")
    overhead = statistics.median(a / b for a, b in zip(seconds["swept"], seconds["bare"], strict=True))
    gain = statistics.median(a / b for a, b in zip(seconds["all cores"], seconds["side by side"], strict=True))
    lines += ["", f"A sweep takes {overhead:.3f} x the time of its runs. Pinned runs get through {gain:.2f} x as much."]
    return "\n".join([*lines, f"Load of the machine before: {load:.1f}."])


if __name__ == "__main__":
    main()
