"""What a trained model costs to use: rows a second against `--do_predict`, memory, and the time that one line takes.

All on the bundled model with a head of two labels, on the first texts of SST-2's train.tsv. `--do_predict` and
`albert.load` alternate in one process, so that what else the machine does falls on both; memory and single lines are
those of `albert.predict` in a process of its own.

    python3 -m benchmarks.prediction --data_dir=glue_data
"""

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import albert
from albert.albert_config import AlbertConfig
from albert.cli.fine_tuning import parse_classifier_flags
from albert.engine import checkpoint_files
from albert.heads import head_for
from albert.modeling import AlbertModel
from albert.runs import fine_tuning
from albert.runs.left_model import LeftModel
from albert.settings import Settings
from albert.tasks.base import Task
from albert.tokenization import load_tokenizer
from albert.weights.loading import load_weights
from benchmarks.results_file import append_result

ROOT = Path(__file__).parent.parent
TINY = ROOT / "sample_data/albert_tiny"
SHARES = (0.1, 1.0)


def read_texts(data_dir: Path, count: int) -> list[str]:
    """The first texts of SST-2's train.tsv."""
    lines = (data_dir / "SST-2/train.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines[1 : count + 1]]


def prepare(folder: Path, texts: list[str]) -> tuple[Task, Settings]:
    """The task of predicting `texts`; the model, whose head has random weights, is in `folder`/model."""
    (folder / "data/SST-2").mkdir(parents=True)
    rows = (f"{index}\t{text}\n" for index, text in enumerate(texts))
    (folder / "data/SST-2/test.tsv").write_text("index\tsentence\n" + "".join(rows), encoding="utf-8")
    task, settings = parse_classifier_flags(
        [
            *("prediction", "--task_name=SST-2", "--do_predict", "--max_seq_length=128", "--device=cpu"),
            *(f"--data_dir={folder / 'data'}", f"--cached_dir={folder / 'cache'}", f"--output_dir={folder / 'out'}"),
            *(f"--init_checkpoint={folder / 'model'}", f"--albert_config_file={TINY / 'albert_config.json'}"),
            f"--spm_model_file={TINY / '7k.model'}",
        ]
    )
    config = AlbertConfig.from_json_file(TINY / "albert_config.json")
    weights = AlbertModel(config, head_for(task.output, config).variable_specs).weights
    load_weights(TINY / "model.ckpt-best", weights)
    checkpoint_files.save(folder / "model/model.ckpt-1", {**weights, checkpoint_files.GLOBAL_STEP: np.int64(1)})
    tokenizer = load_tokenizer(settings.data.spm_model_file, None, True, False)
    LeftModel(task, config, tokenizer, dataclasses.replace(settings, output_dir=folder / "model")).write({})
    return task, settings


def rows_per_second(folder: Path, texts: list[str], rounds: int) -> str:
    """A table of both ways, and how far their probabilities are apart."""
    task, settings = prepare(folder, texts)
    begin = time.perf_counter()
    predictor = albert.load(folder / "model", device="cpu")
    predictor(texts[:5000])
    predictor.warm_up()
    compiling = time.perf_counter() - begin
    fine_tuning.run(task, settings)  # builds the cache
    seconds: dict[str, list[tuple[float, float]]] = {"--do_predict": [], "albert.load": []}
    for _ in range(rounds):
        with _timed(seconds["--do_predict"]):
            fine_tuning.run(task, settings)
        with _timed(seconds["albert.load"]):
            found = predictor(texts, top_k=0)
    expected = np.loadtxt(folder / "out/test_results.tsv", delimiter="\t")
    scores = np.array([[label["score"] for label in sorted(row, key=lambda label: label["label"])] for row in found])
    lines = ["| | rows/s | rows/s of processor time |", "|---|---:|---:|"]
    for name, times in seconds.items():
        wall, processor = (len(texts) / statistics.median(column) for column in zip(*times, strict=True))
        lines.append(f"| `{name}` | {wall:,.0f} | {processor:,.0f} |")
    return "\n".join(
        [
            f"{len(texts):,} texts, medians of {rounds} rounds. `--do_predict` has its cache of token ids and compiles "
            f"one shape each time; `albert.load` tokenises, and compiled {predictor.num_compiled} shapes before, "
            f"in {compiling:.0f} s. Probabilities differ by at most {np.abs(scores - expected).max():.1e}.",
            "",
            *lines,
        ]
    )


@contextlib.contextmanager
def _timed(seconds: list[tuple[float, float]]) -> Iterator[None]:
    begin, processor = time.perf_counter(), time.process_time()
    yield
    seconds.append((time.perf_counter() - begin, time.process_time() - processor))


def memory(folder: Path, texts: list[str]) -> str:
    """A table of the program's largest memory by the number of rows."""
    lines = ["| rows | largest resident memory |", "|---:|---:|"]
    for share in SHARES:
        count = int(len(texts) * share)
        path = folder / f"{count}.txt"
        path.write_text("\n".join(texts[:count]) + "\n", encoding="utf-8")
        flags = [f"--model_dir={folder / 'model'}", f"--input_file={path}", f"--output_file={folder / 'out.csv'}"]
        process = subprocess.Popen(_command(*flags), cwd=ROOT, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, f"albert.predict ended with status {status}"
        lines.append(f"| {count:,} | {usage.ru_maxrss / 1024:,.0f} MiB |")
    return "\n".join(lines)


def one_line(folder: Path, texts: list[str], count: int = 200) -> str:
    """How long the program takes for a line of standard input."""
    flags = (f"--model_dir={folder / 'model'}", "--input_file=-")
    process = subprocess.Popen(
        _command(*flags), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin and process.stdout  # noqa: PT018 # both are pipes
    milliseconds = []
    for text in texts[: count + 1]:
        begin = time.perf_counter()
        process.stdin.write(f"{text}\n".encode())
        process.stdin.flush()
        json.loads(process.stdout.readline())
        milliseconds.append(1000 * (time.perf_counter() - begin))
    process.communicate()
    first, *rest = milliseconds
    return (
        f"A line of standard input, `--input_file=-`: median {statistics.median(rest):.1f} ms, slowest "
        f"{max(rest):.1f} ms of {len(rest)} lines of {min(map(len, texts[:count]))} to {max(map(len, texts[:count]))} "
        f"characters. The first one waits {first / 1000:.0f} s for TensorFlow and the compiler."
    )


def _command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "albert.predict", "--device=cpu", *flags]


def main() -> None:
    """Measures, prints and appends to results/prediction.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", type=Path, default=ROOT / "glue_data", help="folder that has SST-2")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    texts = read_texts(arguments.data_dir, arguments.rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [rows_per_second(folder, texts, arguments.rounds), memory(folder, texts), one_line(folder, texts)]
    append_result("prediction", "\n\n".join(parts))


if __name__ == "__main__":
    main()
