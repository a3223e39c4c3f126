"""What a large table of one's own costs, from the file to the first step and from the model to its predictions.

Generates texts of about 60 words with ten labels, and runs the programs on them, each as a process of its own: what a
first start reads, tokenises and caches; what a second one needs until its first step; what evaluating and predicting a
file takes. Prints for each processor seconds and the largest memory of all its processes together, both less those of
the same program on a thousand rows, which are TensorFlow's and the model's; and the processor seconds as a multiple of
what the tokenizer alone needs for these texts. Appends the table to benchmarks/results/own_data.md.

    python3 -m benchmarks.own_data_size [--rows=100000,1000000] [--kinds=csv,jsonl,pairs] [--peer=PYTHON]

With the interpreter of an environment that has `datasets` and `transformers` (scripts/peer_environments.sh), it also
times reading and tokenising the same file there.
"""

import argparse
import csv
import dataclasses
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from albert.tokenization import load_tokenizer
from benchmarks.results_file import RESULTS, append_result

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "sample_data" / "albert_tiny"
KINDS = ("csv", "jsonl", "pairs")
LABELS = tuple("billing delivery login praise returns sizes colours visits jobs other".split())
_FEW_ROWS = 1000
_WORDS = 60
_TOKENIZED_ROWS = 50_000
_CLOCK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds, processor seconds, and the largest memory, of a program and all processes that come from it."""

    seconds: float
    processor_seconds: float
    mib: float

    def beyond(self, other: "Cost") -> "Cost":
        """What this takes more."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Cost(*(mine - theirs for mine, theirs in pairs))


# --- Texts ------------------------------------------------------------------------------------------------------------


def texts(count: int, seed: int = 1) -> Iterator[str]:
    """Sentences of the bundled vocabulary's words, the frequent ones more often; no two texts are the same."""
    tokenizer = load_tokenizer(MODEL / "7k.model", None, do_lower_case=True)
    words = [piece[1:] for piece in tokenizer.pieces() if piece[0] == "\u2581" and piece[1:].isalpha()]
    weights = list(itertools.accumulate(1 / rank for rank in range(5, 5 + len(words))))
    source = random.Random(seed)
    for number in range(count):
        drawn = source.choices(words, cum_weights=weights, k=_WORDS)
        drawn[0] = drawn[0].capitalize()
        drawn[20] += ". " + drawn[21].capitalize()
        drawn[40] += ","
        yield f"{' '.join(drawn)}, no. {number}."


def write_table(path: Path, count: int, kind: str) -> Path:
    """A table of so many rows."""
    labels = itertools.cycle(LABELS)
    with path.open("w", encoding="utf-8", newline="") as file:
        if kind == "jsonl":
            file.writelines(
                json.dumps({"text": t, "label": label}) + "\n" for t, label in zip(texts(count), labels, strict=False)
            )
        else:
            names = ("question", "answer", "label") if kind == "pairs" else ("text", "label")
            table = csv.writer(file)
            table.writerow(names)
            for text, label in zip(texts(count), labels, strict=False):
                half = text.index(". ") + 1
                table.writerow((text[:half], text[half + 1 :], label) if kind == "pairs" else (text, label))
    return path


# --- Costs ------------------------------------------------------------------------------------------------------------


class _Watch(threading.Thread):
    """Looks at a process and those that come from it, ten times a second, until it ends."""

    def __init__(self, number: int):
        super().__init__(daemon=True)
        self._number = number
        self._ended = threading.Event()
        self._ticks: dict[int, int] = {}
        self.mib = 0.0

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self.mib = max(self.mib, self._look(self._number))

    def _look(self, number: int) -> float:
        """MiB of the process and all below it; a page that several share counts once, as a part in each."""
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            self._ticks[number] = int(fields[11]) + int(fields[12])
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
            found = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
            children = [
                child for path in Path(f"/proc/{number}/task").glob("*/children") for child in path.read_text().split()
            ]
        except (OSError, StopIteration):  # it has ended
            return 0.0
        return found + sum(self._look(int(child)) for child in children)

    def finish(self) -> float:
        """Processor seconds of all processes."""
        self._ended.set()
        self.join()
        return sum(self._ticks.values()) / _CLOCK


def cost_of(command: list[str], folder: Path, checkout: Path) -> Cost:
    """Runs a command, which must succeed, with the package of `checkout`."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TOKENIZERS_PARALLELISM": "true"}
    log = folder / "log"
    started = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
        watch = _Watch(process.pid)
        watch.start()
        code = process.wait()
    seconds = time.perf_counter() - started
    assert code == 0, log.read_text(errors="replace")[-3000:]
    return Cost(seconds, watch.finish(), watch.mib)


def tokenizer_seconds(count: int) -> float:
    """Processor seconds that the tokenizer alone takes for so many texts."""
    tokenizer = load_tokenizer(MODEL / "7k.model", None, do_lower_case=True)
    some = list(texts(count))
    started = time.process_time()
    for text in some:
        tokenizer.encode(text)
    return time.process_time() - started


# --- Programs ---------------------------------------------------------------------------------------------------------


# So small that computing with it takes next to nothing: what is measured is all else.
_CONFIG = {
    "vocab_size": 7000,
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 16,
    "max_position_embeddings": 128,
    "hidden_act": "gelu",
}


def programs(folder: Path, kind: str, path: Path) -> dict[str, list[str]]:
    """What is run on a table, in this order."""
    (folder / "albert_config.json").write_text(json.dumps(_CONFIG))
    start = [f"--albert_config_file={folder / 'albert_config.json'}", f"--spm_model_file={MODEL / '7k.model'}"]
    columns = ["--text_column_names=question,answer"] if kind == "pairs" else []
    shared = [f"--cached_dir={folder / 'cache'}", "--max_seq_length=128", *columns]
    train = [sys.executable, "-m", "albert.run_multigpus_classifier", "--device=cpu", *shared]
    few = [
        "--train_batch_size=8",
        "--save_checkpoints_steps=1",
        "--learning_rate=1e-4",
        "--nouse_xla",
        "--eval_batch_size=64",
    ]
    first = [*train, f"--train_file={path}", *start, "--do_train", "--train_step=1", "--do_eval", *few]
    model = f"--model_dir={folder / 'first'}"
    return {
        "first start, to step 1": [*first, f"--output_dir={folder / 'first'}"],
        "second start, to step 1": [*first, f"--output_dir={folder / 'second'}"],
        "evaluation of all rows": [
            *train,
            *(f"--validation_file={path}", "--do_eval", "--eval_batch_size=64"),
            model,
            f"--output_dir={folder / 'eval'}",
        ],
        "prediction of all rows": [
            *(sys.executable, "-m", "albert.predict", "--device=cpu", model, *columns),
            *(f"--input_file={path}", f"--output_file={folder / 'predictions.csv'}"),
        ],
    }


_PEER = """
import sys
from datasets import load_dataset
from transformers import AlbertTokenizer
path, model, columns = sys.argv[1:]
tokenizer = AlbertTokenizer.from_pretrained(model)
assert tokenizer.is_fast
rows = load_dataset("json" if path.endswith("jsonl") else "csv", data_files=path, cache_dir="datasets_cache")["train"]
def features(batch):
    return tokenizer(*(batch[name] for name in columns.split(",")), truncation=True, max_length=128)
rows = rows.train_test_split(0.1, seed=1)
rows.map(features, batched=True, num_proc=2)
"""


def peer(python: str, folder: Path, kind: str, path: Path) -> list[str]:
    """Reads, tokenises and caches the table with `datasets` and the fast tokenizer of `transformers`."""
    columns = "question,answer" if kind == "pairs" else "text"
    (folder / "tokenizer").mkdir()
    shutil.copyfile(MODEL / "7k.model", folder / "tokenizer/spiece.model")
    return [python, "-c", _PEER, str(path), str(folder / "tokenizer"), columns]


def measure(kind: str, counts: list[int], arguments: argparse.Namespace) -> list[str]:
    """The rows of the results' table."""
    skipped = set(filter(None, arguments.skipped.split(",")))
    found: dict[tuple[str, int], Cost] = {}
    for count in (_FEW_ROWS, *counts):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = write_table(folder / ("rows.jsonl" if kind == "jsonl" else "rows.csv"), count, kind)
            commands = programs(folder, kind, path)
            if arguments.peer:
                commands["datasets and transformers"] = peer(arguments.peer, folder, kind, path)
            for what, command in commands.items():
                if what.partition(" ")[0] not in skipped:
                    found[what, count] = cost_of(command, folder, arguments.checkout)
                    print(kind, what, count, found[what, count], flush=True)
    lines, alone_each = [], tokenizer_seconds(_TOKENIZED_ROWS) / _TOKENIZED_ROWS
    for (what, count), cost in found.items():
        if count != _FEW_ROWS:
            more, alone = cost.beyond(found[what, _FEW_ROWS]), alone_each * count
            lines.append(
                f"| {kind} | {count:,} | {what} | {more.seconds:.0f} | {more.processor_seconds:.0f} "
                f"| {more.processor_seconds / alone:.2f} | {more.mib:.0f} |"
            )
    return lines


def main() -> None:
    """Measures, prints and appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="100000,1000000", help="of the tables")
    parser.add_argument("--kinds", default="csv", help=f"some of {','.join(KINDS)}")
    parser.add_argument("--skipped", default="", help="first words of what is not measured, with commas between")
    parser.add_argument("--peer", help="an interpreter with datasets and transformers")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose programs are measured")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.rows.split(",")]
    lines = [
        "Beyond the same program on 1,000 rows:",
        "",
        "| table | rows | what | s | processor s | of the tokenizer's | memory, + MiB |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for kind in arguments.kinds.split(","):
        lines += measure(kind, counts, arguments)
    append_result("own_data", "\n".join(lines), arguments.results, module="own_data_size")


if __name__ == "__main__":
    main()
