"""How benchmarks call `albert.sweep`: they are comparisons of runs, and a sweep does the runs."""

import csv
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path


def run_sweep(folder: Path, flags: Sequence[str], flags_of_runs: Sequence[str]) -> list[dict[str, str]]:
    """Runs a sweep on the CPU into `folder`, where finished runs are not repeated; the rows of its `results.csv`.

    Ends this program where a run fails.
    """
    command = [sys.executable, "-m", "albert.sweep", f"--output_dir={folder}", "--gpus=0", *flags, "--", *flags_of_runs]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def divide_qnli(source: Path, target: Path) -> None:
    """Writes QNLI/train.tsv and dev.tsv from the dev file; rows of one question stay together."""
    data = (source / "QNLI" / "dev.tsv").read_bytes()
    # Only at line feeds, as the reader of the task: a sentence may have other characters that end lines.
    header, *rows = data.decode().removesuffix("\n").split("\n")
    parts: dict[str, list[str]] = {"train": [], "dev": []}
    for row in rows:
        is_dev = zlib.crc32(row.split("\t")[1].encode()) % 5 == 0
        parts["dev" if is_dev else "train"].append(row)
    (target / "QNLI").mkdir(parents=True, exist_ok=True)
    for split, found in parts.items():
        (target / "QNLI" / f"{split}.tsv").write_text("\n".join([header, *found]) + "\n", encoding="utf-8")


# Three epochs of the four fifths of QNLI's dev file, a tenth of them warm-up, four evaluations.
DIVIDED_QNLI_FLAGS = (
    *("--norecipe", "--train_step=204", "--warmup_step=20", "--save_checkpoints_steps=51", "--train_batch_size=32"),
    "--max_seq_length=128",
)
