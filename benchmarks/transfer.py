"""What pretraining is worth: the bundled small ALBERT against the same architecture from random weights, on real tasks.

Runs `albert.run_multigpus_classifier` for each task, start and seed with the same budget, and compares the best dev
score. The seed decides fresh weights, order of rows and dropout. The budget is the recipe of the bundled model: three
epochs, and of SST-2 a third of one, at a learning rate at which both starts learn. QNLI's training file is large and
may not be at hand, so `QNLI*` divides the questions of QNLI's dev file: four fifths to train on, one fifth to score.

    python3 -m benchmarks.transfer --data_dir=glue_data --model_dir=sample_data/albert_tiny --work_dir=<any folder>

Runs that are in the work folder already are not repeated, so an interrupted comparison resumes. Writes
benchmarks/transfer.md and transfer.png.
"""

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import queue
import statistics
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from albert.system.files import write_bytes
from albert.tasks.recipes import Recipe, recipe_for
from benchmarks.results_file import append_result, png

HERE = Path(__file__).parent
STARTS = ("scratch", "pretrained")
# A run that trains on a part of QNLI's dev file; see `divide_qnli`.
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


def budget_of(task: str) -> Recipe:
    """What both starts may use on a task."""
    recipe = recipe_for(task.removesuffix("*"), "tiny")
    if task != DIVIDED_QNLI:
        return recipe
    steps = 204  # three epochs of the four fifths
    return dataclasses.replace(
        recipe,
        global_batch_size=32,
        train_steps=steps,
        warmup_steps=steps // 10,
        save_checkpoints_steps=steps // 4,
        albert_dropout_prob=None,
    )


def divide_qnli(source: Path, target: Path) -> None:
    """Writes QNLI/train.tsv and dev.tsv from the dev file; rows of one question stay together."""
    header, *rows = (source / "QNLI" / "dev.tsv").read_text(encoding="utf-8").splitlines()
    parts: dict[str, list[str]] = {"train": [], "dev": []}
    for row in rows:
        is_dev = zlib.crc32(row.split("\t")[1].encode()) % 5 == 0
        parts["dev" if is_dev else "train"].append(row)
    (target / "QNLI").mkdir(parents=True, exist_ok=True)
    for split, found in parts.items():
        (target / "QNLI" / f"{split}.tsv").write_text("\n".join([header, *found]) + "\n", encoding="utf-8")


def fingerprint(task: str, start: str, model_dir: Path) -> str:
    """Of what decides a run's result besides task, start and seed, so that no run is taken for another one."""
    digest = hashlib.sha256(repr(budget_of(task)).encode())
    for file in sorted(model_dir.iterdir()):
        if start == "pretrained" or not file.name.startswith("model.ckpt"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def fine_tune(
    arguments: argparse.Namespace, cores: Sequence[int], task: str, start: str, seed: int
) -> dict[str, float]:
    """The best value of each of the task's metrics on the dev set, of a run on `cores`."""
    budget, print_of_run = budget_of(task), fingerprint(task, start, arguments.model_dir)
    output = arguments.work_dir / f"{task.replace('*', '')}_{start}_{seed}_{print_of_run}"
    is_divided = task == DIVIDED_QNLI
    flags = {
        "task_name": task.removesuffix("*"),
        "data_dir": arguments.work_dir / "divided" if is_divided else arguments.data_dir,
        "cached_dir": arguments.work_dir / "cache",
        "output_dir": output,
        "albert_config_file": arguments.model_dir / "albert_config.json",
        "spm_model_file": next(iter(arguments.model_dir.glob("*.model"))),
        "max_seq_length": budget.max_seq_length,
        "train_batch_size": budget.global_batch_size,
        "eval_batch_size": 32,
        "learning_rate": budget.learning_rate,
        "train_step": budget.train_steps,
        "warmup_step": budget.warmup_steps,
        "save_checkpoints_steps": budget.save_checkpoints_steps,
        "keep_checkpoint_max": 1,
        "seed": seed,
    }
    if start == "pretrained":
        flags["init_checkpoint"] = arguments.model_dir / "model.ckpt-best"
    results = output / "eval_results.json"
    if not results.exists():
        command = ["taskset", "--cpu-list", ",".join(map(str, cores)), sys.executable]
        command += ["-m", "albert.run_multigpus_classifier", "--do_train", "--do_eval"]
        command += [f"--{name}={value}" for name, value in flags.items()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        for checkpoint in output.glob("model.ckpt-*"):
            checkpoint.unlink()
    evaluations = json.loads(results.read_text(encoding="utf-8"))["evaluations"]
    return {metric: max(evaluation[metric] for evaluation in evaluations) for metric in METRICS[task]}


def fine_tune_all(arguments: argparse.Namespace) -> Scores:
    """The scores of all runs, --jobs at a time on cores of their own."""
    cores = sorted(os.sched_getaffinity(0))
    free_cores = queue.SimpleQueue()
    for job in range(arguments.jobs):
        free_cores.put(cores[job :: arguments.jobs] or cores)
    runs = [(task, start, seed) for seed in arguments.seeds for task in arguments.tasks for start in arguments.starts]

    def run(task: str, start: str, seed: int) -> dict[str, float]:
        taken = free_cores.get()
        try:
            return fine_tune(arguments, taken, task, start, seed)
        finally:
            free_cores.put(taken)

    scores = {}
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        found = {pool.submit(run, *chosen): chosen for chosen in runs}
        try:
            for future in tqdm(concurrent.futures.as_completed(found), total=len(runs), unit="run"):
                task, start, seed = found[future]
                scores[task, start, seed] = future.result()
                tqdm.write(f"{task} {start} seed {seed}: {scores[task, start, seed]}")
        finally:
            pool.shutdown(cancel_futures=True)  # where one failed, no other begins
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
    divide_qnli(arguments.data_dir, arguments.work_dir / "divided")
    scores = fine_tune_all(arguments)
    if set(arguments.starts) == set(STARTS):
        append_result("transfer", table(scores, arguments.tasks, arguments.seeds), HERE)
        write_bytes(HERE / "transfer.png", picture(scores, arguments.tasks, arguments.seeds))


if __name__ == "__main__":
    main()
