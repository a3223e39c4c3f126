"""Does the bundled model learn tables of every kind? Generated ones, each with the score it must reach.

    python3 -m benchmarks.own_data [--tables=scores,pairs]

Every table goes through the program, with a tenth of it held out. Prints what always giving the same answer would
score, what the model reached, and what it must reach; appends the table to benchmarks/results/own_data.md. Exits with 1
where a table was not learned.
"""

import argparse
import csv
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.results_file import RESULTS, append_result
from sample_data.make_tickets import NAMES, SENTENCES, THINGS

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "sample_data" / "albert_tiny"

_FAULTS = ("is broken", "never arrived", "is wonderful", "is too expensive")
_GRADES = ("terrible", "poor", "fair", "good", "wonderful")

Rows = list[Sequence[object]]


@dataclasses.dataclass(frozen=True)
class Table:
    """A generated table, its first row the header; `flags` beside the shared ones; the `metric` and its least value."""

    make: Callable[[random.Random], Rows]
    metric: str
    constant: float
    least: float
    flags: tuple[str, ...] = ()


def _message(source: random.Random, label: str) -> str:
    sentence = source.choice(SENTENCES[label])
    return sentence.format(thing=source.choice(THINGS), day=f"the day that {source.choice(NAMES)} called")


def several(source: random.Random) -> Rows:
    """Up to three sentences, each about something else: all their labels."""
    rows: Rows = [("text", "label")]
    for _ in range(3000):
        labels = source.sample(sorted(SENTENCES), source.randint(1, 3))
        rows.append((". ".join(_message(source, label) for label in labels), "|".join(labels)))
    return rows


def scores(source: random.Random) -> Rows:
    """The mean of two grades between 1 and 5."""
    rows: Rows = [("text", "score")]
    for _ in range(3000):
        thing, service = source.randrange(5), source.randrange(5)
        said = f"said {source.choice(NAMES)}, service was {_GRADES[service]}"
        rows.append((f"the {source.choice(THINGS)} is {_GRADES[thing]}, {said}", (thing + service) / 2 + 1))
    return rows


def pairs(source: random.Random) -> Rows:
    """Whether a message is about what the question asks; each question has both answers equally often."""
    rows: Rows = [("question", "sentence", "label")]
    for number in range(4000):
        label, asked = source.sample(sorted(SENTENCES), 2)
        asked = label if number % 2 else asked
        rows.append((f"is this about {asked}?", _message(source, label), "yes" if number % 2 else "no"))
    return rows


def forty(source: random.Random) -> Rows:
    """One of ten things with one of four faults: 40 classes."""
    rows: Rows = [("text", "label")]
    for number in range(4000):
        thing, fault = THINGS[number % 10], _FAULTS[number // 10 % 4]
        name, other = source.sample(NAMES, 2)
        rows.append(
            (f"{name} told {other} that the {thing} {fault}, {source.choice(NAMES)} agrees", f"{thing} {fault}")
        )
    return rows


def rare(source: random.Random) -> Rows:
    """One message in 51 wants something back."""
    rows: Rows = [("text", "label")]
    others = sorted(SENTENCES.keys() - {"returns"})
    for number in range(5100):
        label = "returns" if number % 51 == 0 else source.choice(others)
        rows.append(
            (f"{source.choice(NAMES)}: {_message(source, label)}", "returns" if label == "returns" else "other")
        )
    return rows


TABLES = {
    "several": Table(several, "f1_micro", 0.0, 0.95, ("--label_delimiter=|", "--train_step=150")),
    "scores": Table(scores, "pearson", 0.0, 0.95, ("--label_column_name=score", "--train_step=150")),
    "pairs": Table(pairs, "accuracy", 0.5, 0.95, ("--train_step=600", "--learning_rate=1e-4")),
    "forty": Table(forty, "accuracy", 0.025, 0.95, ("--train_step=200",)),
    "rare": Table(
        rare, "f1_macro", 0.495, 0.95,
        ("--class_weights=balanced", "--metric_for_best_model=f1_macro", "--train_step=150"),
    ),
}  # fmt: skip


def reached(name: str, folder: Path) -> float:
    """Trains on the table, and returns the best score on what was held out."""
    table, path = TABLES[name], folder / f"{name}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table.make(random.Random(name)))
    command = [sys.executable, "-m", "albert.run_multigpus_classifier", f"--train_file={path}", f"--model_dir={MODEL}"]
    command += [f"--output_dir={folder / name}", f"--cached_dir={folder / 'cache'}", "--do_train", "--do_eval"]
    command += ["--max_seq_length=64", "--train_batch_size=32", "--learning_rate=3e-4", "--warmup_step=20"]
    command += ["--save_checkpoints_steps=50", "--device=cpu", "--keep_checkpoint_max=1", *table.flags]
    subprocess.run(command, cwd=ROOT, check=True)
    return float(json.loads((folder / name / "eval_results.json").read_text())["best"][table.metric])


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Trains the bundled model on generated tables of every kind.")
    parser.add_argument("--tables", default=",".join(TABLES), help=f"some of {','.join(TABLES)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    lines = ["| table | metric | same answer always | reached | must reach |", "|---|---|---:|---:|---:|"]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.tables.split(","):
            table = TABLES[name]
            score = reached(name, Path(folder))
            failed |= score < table.least
            lines.append(f"| {name} | {table.metric} | {table.constant:.3f} | {score:.3f} | {table.least:.2f} |")
    append_result("own_data", "\n".join(lines), arguments.results)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
