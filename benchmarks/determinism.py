"""What the setting `deterministic` costs on this machine, and what it changes: the same steps with and without it.

Both engines are in one process and take turns; TensorFlow's switch is turned before each. Counted is processor time,
which a busy machine disturbs less than the clock. After the turns both have made the same steps, so that their weights
can be compared; a third engine shows that the setting repeats bits.

    python3 -m benchmarks.determinism [--models small base] [--rounds 6] [--steps 3]
"""

import argparse
import statistics
import time

import tensorflow as tf
from tensorflow.python.framework import config as framework_config

from benchmarks.gpu_check.agreement import apart, weights_of
from benchmarks.gpu_check.batches import MRPC, Workshop, replicas_of
from benchmarks.gpu_check.findings import Request
from benchmarks.results_file import append_result

LEARNING_RATE = 1e-4
WAYS = {"without": False, "with": True, "with, again": True}


def switch(is_deterministic: bool) -> None:
    """Turns TensorFlow's own part of the setting on or off, which its public interface cannot."""
    if is_deterministic:
        tf.config.experimental.enable_op_determinism()
    else:
        framework_config.disable_op_determinism()


def measure(model: str, rounds: int, steps: int) -> str:
    """One line of the table."""
    request = Request("", "", "cpu", num_replicas=1)
    with Workshop(request, MRPC, copies=1 + rounds * steps) as workshop:
        replicas = replicas_of(request)
        runs, seconds = {}, {way: [] for way in WAYS}
        for way, is_deterministic in WAYS.items():
            switch(is_deterministic)
            job = workshop.job(model=model, dropout=0.1, deterministic=is_deterministic)
            estimator = workshop.estimator(job, way, replicas, LEARNING_RATE)
            dataset = workshop.dataset(job, 0, 1 + rounds * steps)
            runs[way] = estimator, estimator.replicas.iterate(dataset)
            start = weights_of(estimator)
            estimator._run_steps(runs[way][1], 1)  # traces and compiles
        for number in range(rounds):
            for way in list(WAYS)[number % 3 :] + list(WAYS)[: number % 3]:
                switch(WAYS[way])
                begin = time.process_time()
                runs[way][0]._run_steps(runs[way][1], steps)
                seconds[way].append((time.process_time() - begin) / steps)
    without, repeatable, again = (weights_of(runs[way][0]) for way in WAYS)
    ratios = [one / other for one, other in zip(seconds["with"], seconds["without"], strict=True)]
    medians = (statistics.median(seconds[way]) for way in ("without", "with"))
    same_bits = all((repeatable[name] == again[name]).all() for name in repeatable)
    cells = [model, *(f"{median:.3f}" for median in medians), f"{statistics.median(ratios):.3f}"]
    cells += [f"{min(ratios):.3f}-{max(ratios):.3f}", f"{apart(repeatable, without, start):.1e}"]
    return f"| {' | '.join(cells)} | {'yes' if same_bits else '**no**'} |"


def main() -> None:
    """Measures, prints and appends to benchmarks/results/determinism.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["small", "base"])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    lines = [
        f"{MRPC.size} rows as long as MRPC's, packed, float32, dropout 0.1. Processor seconds a step, since others use",
        f"the machine too: medians of {arguments.rounds} turns of {arguments.steps} steps. Apart: norm of the",
        "difference of the weights at the end by the way that they went.",
        "`small` is as wide and deep as the bundled model, with Google's vocabulary.\n",
        "| model | without | with | ratio | from-to | apart | two runs with it have the same bits |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *(measure(model, arguments.rounds, arguments.steps) for model in arguments.models),
    ]
    append_result("determinism", "\n".join(lines))


if __name__ == "__main__":
    main()
