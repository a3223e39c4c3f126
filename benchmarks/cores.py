"""What a second core is worth to a small model: steps of the bundled one on one core, on both, and on both as replicas.

Each is a process of its own with the cores that it may use; they take turns. The last one is two processes at once, a
core each, as the sweep runs them.

    python3 -m benchmarks.cores [--rows=32] [--length=64] [--rounds=3] [--seconds=8]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from benchmarks.results_file import append_result

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "sample_data/albert_tiny/albert_config.json"
WARM_UP_STEPS, EXAMPLES, SEED = 5, 2000, 0


def main() -> None:
    """Measures, prints and appends to benchmarks/results/cores.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32, help="of a step, without padding")
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="that a process makes steps in each of its turns")
    parser.add_argument("--replicas", type=int, help="make steps in this process, on the cores that it has")
    arguments = parser.parse_args()
    if arguments.replicas:
        print(*steps(arguments))
        return
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("error: this process may use one core; two are compared")
    first, second = sorted(os.sched_getaffinity(0))[:2]
    both = {first, second}
    ways: dict[str, list[tuple[set[int], int]]] = {
        "one core": [({first}, 1)],
        "both cores": [(both, 1)],
        "both cores, two replicas": [(both, 2)],
        "two processes, a core each": [({first}, 1), ({second}, 1)],
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    turns = [way for _ in range(arguments.rounds) for way in ways]
    for way in tqdm(turns, unit="turn", disable=None):
        processes = [start(arguments, cores, replicas) for cores, replicas in ways[way]]
        ends = [[float(word) for word in process.communicate()[0].split()] for process in processes]
        if any(process.returncode for process in processes):
            sys.exit(f"{way}: a process failed")
        found[way].append((sum(1 / seconds for seconds, _ in ends), statistics.mean(used for _, used in ends)))
    base = statistics.median(speed for speed, _ in found["one core"])
    lines = [
        f"Steps of the bundled model, {arguments.rows} rows of {arguments.length} tokens, on two cores; medians of "
        f"{arguments.rounds} rounds of {arguments.seconds:g} s.\n",
        "| | steps/s | relative to one core | processor time of a step, ms |",
        "|---|---:|---:|---:|",
    ]
    for way, turns_of_way in found.items():
        speed, used = (statistics.median(column) for column in zip(*turns_of_way, strict=True))
        lines.append(f"| {way} | {speed:.2f} | {speed / base:.2f} | {used * 1e3:.0f} |")
    append_result("cores", "\n".join(lines))


def start(arguments: argparse.Namespace, cores: set[int], replicas: int) -> subprocess.Popen[str]:
    """A process that makes steps on `cores`."""
    command = [sys.executable, "-m", "benchmarks.cores", f"--replicas={replicas}", f"--seconds={arguments.seconds}"]
    command += [f"--rows={arguments.rows}", f"--length={arguments.length}"]
    return subprocess.Popen(
        ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def steps(arguments: argparse.Namespace) -> tuple[float, float]:
    """Seconds and processor seconds of a step."""
    import numpy as np

    from albert.albert_config import AlbertConfig
    from albert.data.input_pipeline import BatchShape, Source, train_dataset
    from albert.data.tfrecord_cache import open_or_build
    from albert.engine.distribution import create_replicas
    from albert.heads import head_for
    from albert.tasks.registry import get_task
    from benchmarks.estimators import started_estimator

    config, task = AlbertConfig.from_json_file(CONFIG), get_task("mrpc")
    count, length = arguments.replicas, arguments.length
    replicas = create_replicas("mirror", count, "cpu") if count > 1 else create_replicas("one", 1)
    pieces = np.random.default_rng(SEED).integers(5, config.vocab_size, (EXAMPLES, length)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        cache = open_or_build(
            directory=Path(folder),
            stem="rows",
            identity={},
            items=lambda: iter(pieces),
            featurize=lambda row: [{"input_ids": row, "segment_ids": [0] * length, "label_ids": [row[0] % 2]}],
            feature_spec=task.feature_spec,
            num_workers=1,
        )
        source, shape = Source(cache, task.feature_spec, length), BatchShape(arguments.rows // count, count)
        estimator = started_estimator(config, head_for(task.output, config), replicas, Path(folder) / "run")
        batches = replicas.iterate(train_dataset(source, shape, SEED, 0, 1_000_000))
        estimator._run_steps(batches, WARM_UP_STEPS)
        number, begin, used = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - begin < arguments.seconds:
            estimator._run_steps(batches, 1)
            number += 1
        return (time.perf_counter() - begin) / number, (time.process_time() - used) / number


if __name__ == "__main__":
    main()
