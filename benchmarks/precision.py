"""Whether bfloat16 learns what float32 learns: the same fine-tuning in both precisions from several seeds.

Runs `albert.run_multigpus_classifier` for each precision and seed, alternating, and compares the best dev metric. The
seed decides fresh weights, order of rows and dropout, so its spread is what precision has to stay within. What no
flag sets is as in the task's recipe.

    python3 -m benchmarks.precision --seeds 1 2 3 -- --task_name=SST-2 --data_dir=... --albert_config_file=... \\
        --spm_model_file=... --train_step=600 ...
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from benchmarks.results_file import append_result

DTYPES = ("float32", "bfloat16")


def fine_tune(flags: list[str], dtype: str, seed: int) -> tuple[str, float, float, float]:
    """The task's metric, its best value on the dev set, that checkpoint's dev loss, and examples/s."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-m", "albert.run_multigpus_classifier", "--recipe", "--do_train", "--do_eval"]
        own = [f"--dtype={dtype}", f"--seed={seed}", f"--output_dir={folder}"]
        subprocess.run([*program, *flags, *own], check=True, stderr=subprocess.DEVNULL)
        results = json.loads((Path(folder) / "eval_results.json").read_text(encoding="utf-8"))
    best, metric = results["best"], results["best_metric"]
    return metric, best[metric], best["eval_loss"], results["hyperparameters"]["Speed"]


def main() -> None:
    """Measures, prints and appends to benchmarks/results/precision.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("flags", nargs="+", help="flags of the classifier, after --")
    arguments = parser.parse_args()
    runs = [(dtype, seed) for seed in arguments.seeds for dtype in DTYPES]
    found = {run: fine_tune(arguments.flags, *run) for run in tqdm(runs, unit="run")}
    metric = next(iter(found.values()))[0]
    seeds = " | ".join(f"seed {seed}" for seed in arguments.seeds)
    lines = [
        f"| dtype | {seeds} | mean {metric} | mean dev loss | examples/s |",
        "| --- |" + " ---: |" * (len(arguments.seeds) + 3),
    ]
    for dtype in DTYPES:
        values, losses, speeds = zip(*(found[dtype, seed][1:] for seed in arguments.seeds), strict=True)
        row = [f"{value:.4f}" for value in (*values, statistics.mean(values), statistics.mean(losses))]
        lines.append(f"| {dtype} | " + " | ".join(row) + f" | {statistics.median(speeds):.1f} |")
    append_result("precision", "\n".join(lines))


if __name__ == "__main__":
    main()
