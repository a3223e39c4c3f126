"""What pretraining is worth: the bundled small ALBERT against the same architecture from random weights, on real tasks.

A sweep (`albert.sweep`) over tasks, starts and seeds, each run with the same budget, compared by the best dev score.
The seed decides fresh weights, order of rows and dropout. The budget is the recipe of the bundled model: three epochs,
and of SST-2 a third of one, at a learning rate at which both starts learn. QNLI's training file is large and may not be
at hand, so `QNLI*` divides the questions of QNLI's dev file: four fifths to train on, one fifth to score.

    python3 -m benchmarks.transfer --data_dir=glue_data --model_dir=sample_data/albert_tiny --work_dir=<any folder>

Runs that are in the work folder already are not repeated, so an interrupted comparison resumes. Writes
benchmarks/transfer.md and transfer.png.
"""

import argparse
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from albert.runs.sweep.jobs import read_evaluated_metrics
from albert.system.files import write_bytes
from benchmarks.results_file import append_result, png
from benchmarks.sweeps import DIVIDED_QNLI_FLAGS, divide_qnli, run_sweep

HERE = Path(__file__).parent
STARTS = ("scratch", "pretrained")
# A run that trains on a part of QNLI's dev file; see `benchmarks.sweeps.divide_qnli`.
DIVIDED_QNLI = "QNLI*"


# The official metrics of GLUE; a picture shows the first. For MRPC, F1 alone would say little: a model that
# always answers "paraphrase" has 0.812.
METRICS = {
    "CoLA": ("matthew_corr",),
    "SST-2": ("eval_accuracy",),
    "MRPC": ("eval_accuracy", "f1"),
    "STS-B": ("pearson",),
    DIVIDED_QNLI: ("eval_accuracy",),
}
# Of each run (task, start, seed) the best value of each of the task's metrics.
Scores = Mapping[tuple[str, str, int], Mapping[str, float]]


def fine_tune_all(arguments: argparse.Namespace) -> Scores:
    """The scores of all runs, --jobs at a time on cores of their own: one sweep, and one of the divided QNLI."""
    checkpoint = {"scratch": "", "pretrained": str(arguments.model_dir / "model.ckpt-best")}
    starts = ",".join(checkpoint[start] for start in arguments.starts)
    cores = len(os.sched_getaffinity(0))
    flags = [f"--seeds={','.join(map(str, arguments.seeds))}", f"--set=init_checkpoint={starts}", "--nodo_predict"]
    flags += [f"--cpus_per_run={max(1, cores // arguments.jobs)}", f"--max_parallel={arguments.jobs}"]
    of_runs = [f"--model_dir={arguments.model_dir}", f"--cached_dir={arguments.work_dir / 'cache'}"]
    of_runs += ["--eval_batch_size=32"]
    rows = []
    official = [task for task in arguments.tasks if task != DIVIDED_QNLI]
    if official:
        folder = arguments.work_dir / "sweep"
        tasks = f"--task_name={','.join(official)}"
        rows += run_sweep(folder, [*flags, tasks], [*of_runs, f"--data_dir={arguments.data_dir}"])
    if DIVIDED_QNLI in arguments.tasks:
        divided, folder = arguments.work_dir / "divided", arguments.work_dir / "sweep_of_divided_qnli"
        divide_qnli(arguments.data_dir, divided)
        more = [*of_runs, f"--data_dir={divided}", *DIVIDED_QNLI_FLAGS, "--learning_rate=1e-4"]
        found = run_sweep(folder, [*flags, "--task_name=QNLI"], more)
        rows += [{**row, "task": DIVIDED_QNLI} for row in found]
    start_of = {path: start for start, path in checkpoint.items()}
    scores = {}
    for row in rows:
        task, evaluated = row["task"], read_evaluated_metrics(Path(row["folder"]))
        where = task, start_of[row["init_checkpoint"]], int(row["seed"])
        scores[where] = {metric: max(metrics[metric] for metrics in evaluated) for metric in METRICS[task]}
    return scores


def table(scores: Scores, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Markdown. The gain counts as one where it is more than both starts' range over the seeds."""
    each = " | ".join(f"seed {seed}" for seed in seeds)
    lines = [
        f"| task, dev metric | start | {each} | mean | gain | more than both ranges over seeds |",
        "| --- | --- |" + " ---: |" * (len(seeds) + 2) + " --- |",
    ]
    for task, metric in [(name, metric) for name in tasks for metric in METRICS[name]]:
        values = {start: [scores[task, start, seed][metric] for seed in seeds] for start in STARTS}
        gain = statistics.mean(values["pretrained"]) - statistics.mean(values["scratch"])
        spread = max(max(found) - min(found) for found in values.values())
        for start in STARTS:
            row = " | ".join(f"{value:.3f}" for value in (*values[start], statistics.mean(values[start])))
            verdict = f"{gain:+.3f} | {'yes' if gain > spread else 'no'} ({spread:.3f})" if start == STARTS[-1] else "|"
            lines.append(f"| {task}, {metric} | {start} | {row} | {verdict} |")
    return "\n".join(lines)


def picture(scores: Scores, tasks: Sequence[str], seeds: Sequence[int]) -> bytes:
    """PNG: one dot a seed, one column a task."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for offset, start, color in zip((-0.12, 0.12), STARTS, ("tab:gray", "tab:blue"), strict=True):
        points = [
            (i + offset, scores[task, start, seed][METRICS[task][0]]) for i, task in enumerate(tasks) for seed in seeds
        ]
        axes.plot(*zip(*points, strict=True), "o", color=color, alpha=0.7, label=start)
    axes.set_xticks(range(len(tasks)), [f"{task}\n{METRICS[task][0]}" for task in tasks])
    axes.set_ylabel("best dev score, one dot a seed")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    return png(figure)


def main() -> None:
    """Runs what is missing, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with one sub-folder per GLUE task")
    parser.add_argument("--model_dir", type=Path, required=True, help="albert_config.json, *.model, model.ckpt-best")
    parser.add_argument("--work_dir", type=Path, required=True, help="where runs go, and are found again")
    parser.add_argument("--tasks", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS, help="without both, nothing is written")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time, each on its share of the cores")
    arguments = parser.parse_args()
    scores = fine_tune_all(arguments)
    if set(arguments.starts) == set(STARTS):
        append_result("transfer", table(scores, arguments.tasks, arguments.seeds), HERE)
        write_bytes(HERE / "transfer.png", picture(scores, arguments.tasks, arguments.seeds))


if __name__ == "__main__":
    main()
