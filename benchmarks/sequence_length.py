"""How soon pretraining begins to work, by the length of its sequences: the same model, text and tokens a step.

One run a length, each on records of its own from the same text, each with as many sequences a step as give the same
number of tokens. What is compared is the loss of masked tokens on held-out text, which is made into records of the
same length, so that short sequences have less context to predict a token from. Rate and warm-up are the recipe's.

    python3 -m benchmarks.sequence_length --text=<corpus.txt> --held_out=<held_out.txt> --work_dir=<any folder>

Runs that are in the work folder already resume. Writes benchmarks/results/sequence_length.md and sequence_length.png.
"""

import argparse
import logging
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from albert.cli.sweep import command_of
from albert.runs.sweep.jobs import Job, read_evaluated_metrics
from albert.runs.sweep.progress import Display
from albert.runs.sweep.scheduler import LongestFirst, Scheduler
from albert.runs.sweep.slots import Slot
from albert.system.files import write_bytes
from albert.tasks.recipes import recipe_for
from benchmarks.results_file import RESULTS, append_result, png

MODEL = Path(__file__).parents[1] / "sample_data" / "albert_tiny"
METRIC = "masked_lm_loss"


def records_of(arguments: argparse.Namespace, length: int) -> dict[str, Path]:
    """The records of both texts, written where they are not there."""
    records = {}
    for name, text in (("train", arguments.text), ("held_out", arguments.held_out)):
        records[name] = arguments.work_dir / f"{name}_{length}.tf_record"
        if not records[name].exists():
            flags = {"input_file": text, "output_file": records[name], "spm_model_file": arguments.spm_model_file}
            flags |= {"ngram": 1, "dupe_factor": 1, **shape_of(length)}
            command = command_of("create_pretraining_data", flags)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return records


def shape_of(length: int) -> dict[str, int]:
    """Tokens and masked tokens of a sequence."""
    return {"max_seq_length": length, "max_predictions_per_seq": max(1, length * 5 // 32)}


def job_of(arguments: argparse.Namespace, length: int) -> Job:
    """The run on sequences of a length."""
    records, recipe = records_of(arguments, length), recipe_for("pretraining", "tiny")
    flags = {
        "do_eval": "true",
        "input_file": records["train"],
        "eval_input_file": records["held_out"],
        "albert_config_file": arguments.albert_config_file,
        "dtype": "bfloat16",
        "optimizer": "adamw",
        "learning_rate": recipe.learning_rate,
        "train_batch_size": arguments.tokens_per_step // length,
        "eval_batch_size": arguments.tokens_per_step // length,
        "num_train_steps": arguments.steps,
        "num_warmup_steps": int(arguments.steps * recipe.warmup_proportion),
        "save_checkpoints_steps": arguments.steps // 10,
        "keep_checkpoint_max": 1,
        **shape_of(length),
    }
    texts = {name: str(value) for name, value in flags.items()}
    return Job(f"length {length}", arguments.work_dir / f"length_{length}", "run_pretraining", texts, texts)


def losses(arguments: argparse.Namespace) -> dict[int, dict[int, float]]:
    """For each length the held-out loss by step. Ends this program where a run fails."""
    jobs = {length: job_of(arguments, length) for length in arguments.lengths}
    waiting = [job for job in jobs.values() if not job.is_finished()]
    slots = [Slot(cores=tuple(sorted(os.sched_getaffinity(0))))]  # one run at a time
    failures = Scheduler(slots, Display(), command_of).run(LongestFirst(waiting))
    if failures:
        raise SystemExit("; ".join(f"{failure.job.name}: {failure.reason}" for failure in failures))
    found = {}
    for length, job in jobs.items():
        evaluated = read_evaluated_metrics(job.folder)
        found[length] = {int(metrics["global_step"]): metrics[METRIC] for metrics in evaluated}
    return found


def table(found: Mapping[int, Mapping[int, float]], tokens_per_step: int) -> str:
    """Markdown, a row a length."""
    steps = next(iter(found.values()))
    lines = [
        "| sequences x tokens | " + " | ".join(f"step {step}" for step in steps) + " |",
        "| ---: |" + " ---: |" * len(steps),
    ]
    for length, values in found.items():
        cells = " | ".join(f"{value:.2f}" for value in values.values())
        lines.append(f"| {tokens_per_step // length} x {length} | {cells} |")
    return "\n".join(lines)


def picture(found: Mapping[int, Mapping[int, float]], tokens_per_step: int) -> bytes:
    """PNG: one curve a length."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for length, values in found.items():
        axes.plot(values.keys(), values.values(), "o-", label=f"{tokens_per_step // length} x {length} tokens a step")
    axes.set_xlabel("training steps")
    axes.set_ylabel("held-out loss of a masked token, nats")
    axes.grid(alpha=0.3)
    axes.legend()
    return png(figure)


def main() -> None:
    """Runs what is missing, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="a sentence a line, documents apart by blank lines")
    parser.add_argument("--held_out", type=Path, required=True, help="other text of the same kind")
    parser.add_argument("--work_dir", type=Path, required=True, help="where records and runs go, and are found again")
    parser.add_argument("--albert_config_file", type=Path, default=MODEL / "albert_config.json")
    parser.add_argument("--spm_model_file", type=Path, default=MODEL / "7k.model")
    parser.add_argument("--lengths", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--tokens_per_step", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args()
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    found = losses(arguments)
    append_result("sequence_length", table(found, arguments.tokens_per_step))
    write_bytes(RESULTS / "sequence_length.png", picture(found, arguments.tokens_per_step))


if __name__ == "__main__":
    main()
