"""How much of a training step the matrix products of its layers take at least, and what that leaves to be won.

    python3 -m benchmarks.matrix_products --race=benchmarks/results/race_20_batches.json

Times the products of ALBERT-base's layers alone, by TensorFlow and by PyTorch in turns, for as many tokens as the
race's steps computed, and sets them against these steps: a step cannot be faster than its products. Both should be
measured on the same machine in the same hour.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from albert.errors import UserError
from benchmarks.race.circumstances import cores, exit_code, leave_out_avx512
from benchmarks.race.processes import ROOT, environment, own_python, peers_python
from benchmarks.race.products import flops
from benchmarks.race.report import OURS, throughput_ratio
from benchmarks.results_file import RESULTS, append_result

GROUPED = "HF eager grouped"
HEADER = (
    "| task | precision | GFLOP/s of products: TensorFlow | PyTorch | s of products, of the step: ours packed "
    "| HF grouped | ours is faster by | at most |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|"
)
NOTE = (
    '"Faster by" compares real tokens per second of all timed steps; "at most" is what it would be if our step were '
    "nothing but its products."
)


def measure(library: str, dtype: str, tokens: list[int], python: Path) -> dict[int, float]:
    """Seconds of a step's products for each number of tokens, by `library` in a process of `python`."""
    command = [python, "-m", "benchmarks.race.products", library, dtype, *map(str, tokens)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(cores()), capture_output=True, text=True, check=False, timeout=1200
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["nothing"]
        raise UserError(f"the products by {library} ended with {done.returncode}; its last words: {lines[-1]}")
    return {int(count): seconds for count, seconds in json.loads(done.stdout.splitlines()[-1]).items()}


def mean_of(section: dict, label: str) -> tuple[float, int]:
    """Seconds of the contender's mean step, and the tokens, padding included, that it computed."""
    contender = section["contenders"][label]
    tokens = round(section["batch_size"] * contender["computed_tokens"] / contender["examples"])
    return statistics.mean(contender["step_seconds"]), tokens


def row(section: dict, products: dict[str, float]) -> str:
    """A line of the table; `products` are the seconds of a mean step's, by library."""
    ours, tokens = mean_of(section, OURS)
    grouped, grouped_tokens = mean_of(section, GROUPED)
    ratio = throughput_ratio(section, OURS, GROUPED)
    shown = [
        section["title"].partition(",")[0],
        section["dtype"],
        f"{flops(tokens) / products['tensorflow'] / 1e9:,.0f}",
        f"{flops(grouped_tokens) / products['torch'] / 1e9:,.0f}",
        f"{products['tensorflow']:.3f} of {ours:.3f}",
        f"{products['torch']:.3f} of {grouped:.3f}",
        f"{ratio:.2f}",
        f"{ratio * ours / products['tensorflow']:.2f}",
    ]
    return "| " + " | ".join(shown) + " |"


def run(arguments: argparse.Namespace) -> None:
    """Measures, prints and appends to benchmarks/results/matrix_products.md."""
    if arguments.without_avx512:
        leave_out_avx512()
    sections = [s for s in json.loads(arguments.race.read_text("utf-8"))["sections"] if GROUPED in s["contenders"]]
    if not sections:
        raise UserError(f"--race={arguments.race}: no task in it was raced against {GROUPED}")
    pythons = {"tensorflow": own_python(), "torch": peers_python(arguments.peers_python)}
    labels = {"tensorflow": OURS, "torch": GROUPED}
    found: dict[tuple[str, str], list[dict[int, float]]] = {}
    for _ in range(arguments.rounds):
        for dtype in sorted({section["dtype"] for section in sections}):
            for library, python in pythons.items():
                tokens = [mean_of(s, labels[library])[1] for s in sections if s["dtype"] == dtype]
                found.setdefault((library, dtype), []).append(measure(library, dtype, tokens, python))
    lines = [HEADER]
    for section in sections:
        products = {
            library: statistics.median(times[mean_of(section, label)[1]] for times in found[library, section["dtype"]])
            for library, label in labels.items()
        }
        lines.append(row(section, products))
    append_result("matrix_products", "\n".join([*lines, "", NOTE]))


def main() -> int:
    """Returns the exit code: 2 after a mistake of the user's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--race", type=Path, default=RESULTS / "race_20_batches.json", help="figures of a race")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each library")
    parser.add_argument("--without_avx512", action="store_true", help="as in the race")
    parser.add_argument("--peers_python", type=Path, help="the peers' Python, as in the race")
    arguments = parser.parse_args()
    return exit_code(lambda: run(arguments), "rounds")


if __name__ == "__main__":
    sys.exit(main())
