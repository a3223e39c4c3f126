"""What a sweep costs beyond its runs, and what runs that are pinned to a core each get through.

The bundled task and model, `--runs` runs of the same steps, alternating `--rounds` times: the runs by themselves, one
after the other, pinned to one core; the same by `albert.sweep`, one at a time; the runs one after the other on all
cores; and by `albert.sweep`, side by side on a core each. The cache of the data is there before.

    python3 -m benchmarks.sweep --runs=2 --rounds=3

Appends to benchmarks/results/sweep.md, with the load of the machine.
"""

import argparse
import dataclasses
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
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
        "keep_checkpoint_max": 1,
    }


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of some runs: seconds of the clock, and of all processors."""

    wall: float
    cpu: float


def cost_of(work: Callable[[], object]) -> Cost:
    """What the processes cost that `work` starts and waits for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.monotonic() - began, cpu)


def bare(folder: Path, flags: dict[str, object], seeds: Sequence[int], cores: Sequence[int]) -> Cost:
    """Runs one after the other on `cores`, as somebody would call them."""
    threads = {"OMP_NUM_THREADS": str(len(cores)), "CUDA_VISIBLE_DEVICES": "-1"}

    def work() -> None:
        for seed in seeds:
            own = {"recipe": "true", "do_train": "true", "do_eval": "true", "do_predict": "true"}
            of_run = {"task_name": "agreement", "device": "cpu", "seed": seed, "output_dir": folder / f"{seed}"}
            command = command_of("run_multigpus_classifier", {**own, **flags, **of_run})
            pinned = ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]
            subprocess.run(pinned, check=True, env={**os.environ, **threads}, stderr=subprocess.DEVNULL)

    return cost_of(work)


def swept(folder: Path, flags: dict[str, object], seeds: Sequence[int], parallel: int) -> Cost:
    """The same runs in a sweep, `parallel` at a time on a core each."""
    own = ["--task_name=agreement", f"--seeds={','.join(map(str, seeds))}", "--cpus_per_run=1"]
    of_runs = [f"--{name}={value}" for name, value in flags.items()]
    return cost_of(lambda: run_sweep(folder, [*own, f"--max_parallel={parallel}"], of_runs))


def main() -> None:
    """Measures, prints and appends to benchmarks/results/sweep.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    seeds, cores = range(1, arguments.runs + 1), sorted(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    costs: dict[str, list[Cost]] = {"bare": [], "swept": [], "side by side": [], "all cores": []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        flags = flags_of(arguments.steps, work / "cache")
        bare(work / "first", flags, seeds[:1], cores)
        for number in range(arguments.rounds):
            place = work / str(number)
            costs["bare"].append(bare(place / "bare", flags, seeds, cores[:1]))
            costs["swept"].append(swept(place / "swept", flags, seeds, 1))
            costs["all cores"].append(bare(place / "all", flags, seeds, cores))
            costs["side by side"].append(swept(place / "side", flags, seeds, len(cores)))
    append_result("sweep", table(costs, arguments.runs, len(cores), load))


def table(costs: dict[str, list[Cost]], runs: int, num_cores: int, load: float) -> str:
    """Markdown, with the median of the rounds and of their ratios."""
    names = {
        "bare": f"{runs} runs by themselves, one after the other, on one core",
        "swept": "the same by a sweep",
        "all cores": f"{runs} runs one after the other, each on {num_cores} cores",
        "side by side": f"by a sweep, {num_cores} side by side on a core each",
    }
    lines = ["| what | seconds | in each round | seconds of all processors |", "| --- | ---: | --- | ---: |"]
    for name, text in names.items():
        rounds = ", ".join(f"{cost.wall:.1f}" for cost in costs[name])
        medians = (statistics.median(getattr(cost, kind) for cost in costs[name]) for kind in ("wall", "cpu"))
        wall, cpu = medians
        lines.append(f"| {text} | {wall:.1f} | {rounds} | {cpu:.1f} |")

    def ratio(kind: str, first: str, second: str) -> float:
        pairs = zip(costs[first], costs[second], strict=True)
        return statistics.median(getattr(a, kind) / getattr(b, kind) for a, b in pairs)

    clock, processors = (ratio(kind, "swept", "bare") for kind in ("wall", "cpu"))
    lines += ["", f"A sweep takes {clock:.3f} x the time of its runs, and {processors:.3f} x that of the processors."]
    lines += [f"Pinned runs get through {ratio('wall', 'all cores', 'side by side'):.2f} x as much."]
    return "\n".join([*lines, f"Medians of the rounds. Load of the machine before: {load:.1f}."])


if __name__ == "__main__":
    main()
