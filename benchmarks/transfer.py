"""What pretraining is worth: the bundled small ALBERT against the same architecture from random weights, on real tasks.

Runs `albert.run_multigpus_classifier` for each task, start and seed with the same budget, and compares the best dev
score. The seed decides fresh weights, order of rows and dropout. QNLI's training file is large and may not be at hand,
so `QNLI*` divides the questions of QNLI's dev file: four fifths to train on, one fifth to score.

    python3 -m benchmarks.transfer --data_dir=glue_data --model_dir=sample_data/albert_tiny --work_dir=<any folder>

Runs that are in the work folder already are not repeated, so an interrupted comparison goes on. Writes
benchmarks/transfer.md and transfer.png.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from albert.files import write_bytes
from benchmarks.results_file import append_result, png

HERE = Path(__file__).parent
STARTS = ("scratch", "pretrained")
# A run that trains on a part of QNLI's dev file; see `divide_qnli`.
DIVIDED_QNLI = "QNLI*"


@dataclasses.dataclass(frozen=True)
class Budget:
    """What both starts may use on a task."""

    steps: int
    examples_per_step: int = 32
    # At 3e-4 some runs from random weights stay at chance.
    learning_rate: float = 1e-4
    evaluations: int = 5


BUDGETS = {
    "CoLA": Budget(steps=800),
    "SST-2": Budget(steps=1200),
    "MRPC": Budget(steps=500),
    "STS-B": Budget(steps=700),
    DIVIDED_QNLI: Budget(steps=500),
}
Scores = Mapping[tuple[str, str, int], float]


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


def fine_tune(arguments: argparse.Namespace, task: str, start: str, seed: int) -> tuple[str, float]:
    """The task's metric and its best value on the dev set."""
    budget, output = BUDGETS[task], arguments.work_dir / f"{task.replace('*', '')}_{start}_{seed}"
    is_divided = task == DIVIDED_QNLI
    flags = {
        "task_name": task.removesuffix("*"),
        "data_dir": arguments.work_dir / "divided" if is_divided else arguments.data_dir,
        "cached_dir": arguments.work_dir / "cache",
        "output_dir": output,
        "albert_config_file": arguments.model_dir / "albert_config.json",
        "spm_model_file": next(iter(arguments.model_dir.glob("*.model"))),
        "max_seq_length": 128,
        "dtype": "bfloat16",
        "train_batch_size": budget.examples_per_step,
        "eval_batch_size": 32,
        "learning_rate": budget.learning_rate,
        "train_step": budget.steps,
        "warmup_step": budget.steps // 10,
        "save_checkpoints_steps": budget.steps // budget.evaluations,
        "keep_checkpoint_max": 1,
        "seed": seed,
    }
    if start == "pretrained":
        flags["init_checkpoint"] = arguments.model_dir / "model.ckpt-best"
    results = output / "eval_results.json"
    if not results.exists():
        command = [sys.executable, "-m", "albert.run_multigpus_classifier", "--do_train", "--do_eval"]
        command += [f"--{name}={value}" for name, value in flags.items()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        for checkpoint in output.glob("model.ckpt-*"):
            checkpoint.unlink()
    found = json.loads(results.read_text(encoding="utf-8"))
    return found["best_metric"], found["best"][found["best_metric"]]


def table(scores: Scores, metrics: Mapping[str, str], seeds: Sequence[int]) -> str:
    """Markdown. The gain counts as one where it is more than both starts' range over the seeds."""
    each = " | ".join(f"seed {seed}" for seed in seeds)
    lines = [
        f"| task, dev metric | start | {each} | mean | gain | more than both ranges over seeds |",
        "| --- | --- |" + " ---: |" * (len(seeds) + 2) + " --- |",
    ]
    for task, metric in metrics.items():
        values = {start: [scores[task, start, seed] for seed in seeds] for start in STARTS}
        gain = statistics.mean(values["pretrained"]) - statistics.mean(values["scratch"])
        spread = max(max(found) - min(found) for found in values.values())
        for start in STARTS:
            row = " | ".join(f"{value:.3f}" for value in (*values[start], statistics.mean(values[start])))
            verdict = f"{gain:+.3f} | {'yes' if gain > spread else 'no'} ({spread:.3f})" if start == STARTS[-1] else "|"
            lines.append(f"| {task}, {metric} | {start} | {row} | {verdict} |")
    return "\n".join(lines)


def picture(scores: Scores, metrics: Mapping[str, str], seeds: Sequence[int]) -> bytes:
    """PNG: one dot a seed, one column a task."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for offset, start, color in zip((-0.12, 0.12), STARTS, ("tab:gray", "tab:blue"), strict=True):
        points = [(i + offset, scores[task, start, seed]) for i, task in enumerate(metrics) for seed in seeds]
        axes.plot(*zip(*points, strict=True), "o", color=color, alpha=0.7, label=start)
    axes.set_xticks(range(len(metrics)), [f"{task}\n{metric}" for task, metric in metrics.items()])
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
    parser.add_argument("--tasks", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS, help="without both, nothing is written")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    arguments = parser.parse_args()
    divide_qnli(arguments.data_dir, arguments.work_dir / "divided")
    runs = [(task, start, seed) for seed in arguments.seeds for task in arguments.tasks for start in arguments.starts]
    scores, metrics = {}, {}
    for task, start, seed in tqdm(runs, unit="run"):
        metric, scores[task, start, seed] = fine_tune(arguments, task, start, seed)
        metrics[task] = metric
        tqdm.write(f"{task} {start} seed {seed}: {metric} {scores[task, start, seed]:.4f}")
    if set(arguments.starts) == set(STARTS):
        append_result("transfer", table(scores, metrics, arguments.seeds), HERE)
        write_bytes(HERE / "transfer.png", picture(scores, metrics, arguments.seeds))


if __name__ == "__main__":
    main()
