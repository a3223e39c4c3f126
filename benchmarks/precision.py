"""Whether bfloat16 learns what float32 learns: the same fine-tuning in both precisions from several seeds.

A sweep (`albert.sweep`) over both precisions, one run at a time, compared by the best dev metric. The seed decides
fresh weights, order of rows and dropout, so its spread is what precision has to stay within. What no flag sets is as in
the task's recipe.

    python3 -m benchmarks.precision --seeds 1 2 3 --task_name=SST-2 -- --data_dir=... --albert_config_file=... \\
        --spm_model_file=... --train_step=600 ...
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.results_file import append_result
from benchmarks.sweeps import run_sweep

DTYPES = ("float32", "bfloat16")


def main() -> None:
    """Measures, prints and appends to benchmarks/results/precision.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--task_name", required=True)
    parser.add_argument("flags", nargs="+", help="flags of the classifier, after --")
    arguments = parser.parse_args()
    flags = [f"--task_name={arguments.task_name}", f"--seeds={','.join(map(str, arguments.seeds))}", "--nodo_predict"]
    flags += [f"--set=dtype={','.join(DTYPES)}", f"--cpus_per_run={len(os.sched_getaffinity(0))}"]
    with tempfile.TemporaryDirectory() as folder:
        rows = run_sweep(Path(folder), flags, arguments.flags)
    found = {(row["dtype"], int(row["seed"])): row for row in rows}
    seeds = " | ".join(f"seed {seed}" for seed in arguments.seeds)
    lines = [
        f"| dtype | {seeds} | mean {rows[0]['metric']} | mean dev loss | examples/s |",
        "| --- |" + " ---: |" * (len(arguments.seeds) + 3),
    ]
    for dtype in DTYPES:
        of_dtype = [found[dtype, seed] for seed in arguments.seeds]
        values, losses, speeds = (
            [float(row[name]) for row in of_dtype] for name in ("score", "eval_loss", "examples_per_second")
        )
        shown = [f"{value:.4f}" for value in (*values, statistics.mean(values), statistics.mean(losses))]
        lines.append(f"| {dtype} | " + " | ".join(shown) + f" | {statistics.median(speeds):.1f} |")
    append_result("precision", "\n".join(lines))


if __name__ == "__main__":
    main()
