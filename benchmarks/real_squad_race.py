"""SQuAD 1.1, SQuAD 2.0 and RACE from their run scripts on real files: a small ALBERT from random weights, two replicas.

Shows that the whole way works: the loss falls, the scores that a run reports are those of the answers it wrote (counted
again here, by other code), and one replica gives the same answers as two. The scores are those of a model that was
never pretrained. Appends a table to benchmarks/results/real_squad_race.md.

    python3 -m benchmarks.real_squad_race --squad_dir=SQuAD --race_dir=<holds RACE> --spm_model=30k-clean.model
"""

import argparse
import collections
import json
import os
import re
import statistics
import string
import subprocess
import tempfile
from pathlib import Path

from tqdm import tqdm

from benchmarks.results_file import append_result

ROOT = Path(__file__).parent.parent
CONFIG = {
    "vocab_size": 30000,
    "embedding_size": 32,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 512,
    "initializer_range": 0.08,
}


def run_script(script: str, output: Path, **variables: object) -> None:
    """Runs a script with settings as variables; shows its log when it fails."""
    environment = os.environ | {"OUTPUT_DIR": str(output)} | {name: str(value) for name, value in variables.items()}
    done = subprocess.run([ROOT / script], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def words(text: str) -> list[str]:
    """An answer as the official scripts compare it: lower case, no punctuation, no articles."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def exact_and_f1(predictions: dict[str, str], data: dict) -> tuple[float, float]:
    """Percentages over all questions, counted by hand from the files."""
    exact, f1 = [], []
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                golds = [words(answer["text"]) for answer in question["answers"]]
                golds = [gold for gold in golds if gold] or [[]]
                found = words(predictions[question["id"]])
                exact.append(max(float(gold == found) for gold in golds))
                f1.append(max(overlap(gold, found) for gold in golds))
    return 100 * statistics.mean(exact), 100 * statistics.mean(f1)


def overlap(gold: list[str], found: list[str]) -> float:
    """F1 of two bags of words; of two empty ones 1."""
    if not gold or not found:
        return float(gold == found)
    common = sum((collections.Counter(gold) & collections.Counter(found)).values())
    return 2 * common / (len(gold) + len(found))


def losses(output: Path) -> str:
    """Mean training loss of the first and the last tenth of the steps."""
    values = [json.loads(line)["loss"] for line in (output / "training_log.jsonl").read_text().splitlines()]
    tenth = max(1, len(values) // 10)
    return f"{statistics.mean(values[:tenth]):.3f} -> {statistics.mean(values[-tenth:]):.3f}"


def results_of(output: Path) -> dict:
    """What a run says of itself."""
    return json.loads((output / "eval_results.json").read_text())


def squad_row(version: str, squad_dir: Path, work: Path, shared: dict[str, object], epochs: float) -> str:
    """Trains and answers with two replicas, answers again with one, and counts the scores again."""
    output, alone = work / f"squad{version}", work / f"squad{version}_alone"
    squad = shared | {"SQUAD_VERSION": version, "MSL": 384, "BS": 8, "EBS": 16, "SAVE": 200}
    run_script("multi_run_albert_squad.sh", output, **squad, NUM_GPUS=2, INIT_CHECKPOINT="", EPOCH=epochs)
    best = output / "model.ckpt-best"
    run_script("multi_run_albert_squad.sh", alone, **squad, NUM_GPUS=1, INIT_CHECKPOINT=best, DO_TRAIN="false")
    predictions, others = (json.loads((path / "predictions.json").read_text()) for path in (output, alone))
    data = json.loads((squad_dir / f"dev-v{version}.json").read_text(encoding="utf-8"))
    counted = exact_and_f1(predictions, data)
    results = results_of(output)
    exact = results["best"]["exact_match" if version == "1.1" else "exact"]
    return (
        f"| SQuAD {version} | {losses(output)} | {exact:.3f} / {results['best']['f1']:.3f} | "
        f"{counted[0]:.3f} / {counted[1]:.3f} | {predictions == others} | {results['hyperparameters']['Speed']} |"
    )


def race_row(race_dir: Path, work: Path, shared: dict[str, object]) -> str:
    """The same for RACE, whose accuracies need no second count."""
    output, alone = work / "race", work / "race_alone"
    race = shared | {"DATA_DIR": race_dir, "BS": 4, "EBS": 8, "SAVE": 100, "DO_PREDICT": "true"}
    run_script("multi_run_albert_race.sh", output, **race, NUM_GPUS=2, INIT_CHECKPOINT="", TSP=200, WPSP=20)
    best = output / "model.ckpt-best"
    run_script("multi_run_albert_race.sh", alone, **race, NUM_GPUS=1, INIT_CHECKPOINT=best, DO_TRAIN="false")
    same = (output / "submit_results.tsv").read_text() == (alone / "submit_results.tsv").read_text()
    results = results_of(output)
    reported = ", ".join(f"{name} {value:.3f}" for name, value in results["best"].items() if "accuracy" in name)
    return f"| RACE | {losses(output)} | {reported} | – | {same} | {results['hyperparameters']['Speed']} |"


def main() -> None:
    """Runs everything, prints and appends the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--squad_dir", type=Path, required=True)
    parser.add_argument("--race_dir", type=Path, required=True)
    parser.add_argument("--spm_model", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=1.0)
    arguments = parser.parse_args()
    lines = [
        "| task | loss | reported | counted again | 1 replica = 2 | examples/s |",
        "| --- | --- | --- | --- | --- | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "albert_config.json").write_text(json.dumps(CONFIG))
        shared = {
            "CONFIG": work / "albert_config.json",
            "SPM_MODEL": arguments.spm_model.resolve(),
            "CACHED_DIR": work / "cache",
            "SQUAD_DIR": arguments.squad_dir.resolve(),
            "DEVICE": "cpu",
            "LR": 1e-3,
        }
        for version in tqdm(("1.1", "2.0"), desc="SQuAD"):
            lines.append(squad_row(version, arguments.squad_dir, work, shared, arguments.epochs))
        lines.append(race_row(arguments.race_dir.resolve(), work, shared))
    append_result("real_squad_race", "\n".join(lines))


if __name__ == "__main__":
    main()
