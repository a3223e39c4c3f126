"""The race of trained models: rows a second that are predicted, ours against transformers', in turns on the same rows.

    python3 -m benchmarks.race.prediction --glue_dir=<glue_data> --spm_model_file=<30k-clean.model>

The rows are those of the dev sets. Processes, turns and the peers' environment are those of `benchmarks.race`. Writes
benchmarks/results/prediction_race.md and the figures prediction_race.json beside it.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from albert.errors import UserError
from albert.system.files import write_text
from albert.tokenization import load_tokenizer
from benchmarks.race.circumstances import cores, exit_code, features, machine
from benchmarks.race.common import BUNDLED, FLATTENED, MODELS
from benchmarks.race.prediction import report
from benchmarks.race.prediction.common import DYNAMIC, PADDED, SORTED, PredictionJob
from benchmarks.race.processes import ROOT, Process, own_python, peers_python
from benchmarks.race.rows import Sample, glue_sample
from benchmarks.race.turns import Turns
from benchmarks.results_file import RESULTS, shown_command

TASKS = ("sst-2", "mrpc", "cola", "rte")
DTYPES = ("float32", "bfloat16")
WAYS = (PADDED, DYNAMIC, SORTED, FLATTENED)
COMPILED = {"none": (), SORTED: (SORTED,), "all": WAYS}
BUNDLED_VOCABULARY = ROOT / "sample_data/albert_tiny/7k.model"
OURS = dict(zip(("do_predict", "load"), report.OURS, strict=True))
SEED = 0


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One process, which is as many contenders as it has ways to predict."""

    module: str
    labels: dict[str, str]  # way to predict -> the contender's name in the report
    compiled: str | None = None


def entrants(arguments: argparse.Namespace) -> list[Entrant]:
    """Ours, and transformers' eagerly and compiled; compiled in a process for each kind of shapes."""

    def labels(kind: str, ways: Sequence[str]) -> dict[str, str]:
        chosen = [way for way in arguments.peers if way in ways]
        return {f"{way} {b}": f"HF {kind} {way}, B={b}" for way in chosen for b in arguments.batch_sizes}

    compiled = COMPILED[arguments.compile]
    static, dynamic = [PADDED], [way for way in WAYS if way != PADDED]
    found = [
        Entrant("benchmarks.race.prediction.ours", OURS),
        Entrant("benchmarks.race.prediction.peers", labels("eager", WAYS)),
        *(
            Entrant("benchmarks.race.prediction.peers", labels("compiled", [w for w in ways if w in compiled]), shapes)
            for shapes, ways in (("static", static), ("dynamic", dynamic))
        ),
    ]
    return [entrant for entrant in found if entrant.labels]


def run_heat(model: str, task: str, sample: Sample, arguments: argparse.Namespace, folder: Path, bar: tqdm) -> dict:
    """The contenders on the rows of a task with a model of one size. Returns the heat's section of the report."""
    title = f"{task.upper()}, {model} model, {arguments.dtype}"
    bar.set_description(title)
    path = folder / "rows.npz"
    sample.rows.save(path)
    field = entrants(arguments)
    turns = Turns([label for entrant in field for label in entrant.labels.values()], bar)
    with contextlib.ExitStack() as processes:
        for entrant in field:
            job = PredictionJob(
                rows=str(path),
                spm_model_file=str(vocabulary_of(model, arguments)),
                model=model,
                num_labels=sample.num_labels,
                dtype=arguments.dtype,
                max_seq_length=arguments.max_seq_length,
                variants=tuple(entrant.labels),
                threads=cores(),
                device=arguments.device,
                compiled=entrant.compiled,
            )
            python = own_python() if entrant.labels is OURS else arguments.peers_python
            limit = arguments.minutes * 60
            process = Process(python, entrant.module, dataclasses.asdict(job), cores(), limit, folder)
            turns.start(processes.enter_context(process), entrant.labels)
        turns.run(arguments.rounds, arguments.warm_up_rounds, steps=1)
    rows = sample.rows
    about = f"{rows.count} rows of {task} dev, {rows.lengths.mean():.1f} tokens a row on average; "
    about += f"S={arguments.max_seq_length}; {arguments.rounds} round(s), {arguments.warm_up_rounds} before"
    return {
        "title": title,
        "task": task,
        "model": model,
        "dtype": arguments.dtype,
        "device": arguments.device,
        "batch_size": rows.count,
        "date": str(datetime.date.today()),
        "machine": machine(),
        "features": features(),
        "command": shown_command("benchmarks.race.prediction", sys.argv[1:]),
        "rows": about,
        "versions": turns.versions,
        "contenders": turns.figures,
    }


def vocabulary_of(model: str, arguments: argparse.Namespace) -> Path:
    """The bundled model has its own."""
    return BUNDLED_VOCABULARY if model == BUNDLED else arguments.spm_model_file


def make_sample(model: str, task: str, arguments: argparse.Namespace) -> Sample:
    """All rows of a dev set, or the first that are drawn."""
    tokenizer = load_tokenizer(vocabulary_of(model, arguments), None, do_lower_case=True)
    wanted = arguments.rows or sys.maxsize
    return glue_sample(task, arguments.glue_dir, tokenizer, arguments.max_seq_length, wanted, SEED, "dev")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked. Raises UserError."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--glue_dir", type=Path, required=True, help="the GLUE folder; any with the tasks' dev files")
    add("--spm_model_file", type=Path, help="30k-clean.model; the bundled model has its own")
    add("--models", type=_names, default=[BUNDLED, "base"], help=f"of {', '.join(MODELS)}")
    add("--tasks", type=_names, default=["sst-2", "mrpc"], help=f"of {', '.join(TASKS)}")
    add("--dtype", choices=DTYPES, default="float32")
    add("--max_seq_length", type=int, default=128)
    add("--rows", type=int, help="so many rows of each dev set; by default all")
    add("--rounds", type=int, default=5)
    add("--warm_up_rounds", type=int, default=1)
    add("--peers", type=_names, default=list(WAYS), help=f"of {', '.join(WAYS)}, or 'none'")
    add("--batch_sizes", type=_numbers, default=[32], help="rows of a peer's batch; each size is a contender")
    add("--compile", choices=COMPILED, default="all", help="where torch.compile takes part too")
    add("--device", choices=("cpu", "gpu"), default="cpu")
    add("--minutes", type=float, default=15, help="the longest a contender may take to warm up, or for one turn")
    add("--peers_python", type=Path, help="the peers' Python; by default that of benchmarks/.peers, made if need be")
    add("--output", type=Path, default=RESULTS / "prediction_race.md")
    arguments = parser.parse_args(argv)
    problems = list(_problems(arguments))
    if problems:
        raise UserError("; ".join(problems))
    return arguments


def _names(text: str) -> list[str]:
    return [] if text == "none" else [name.strip().lower() for name in text.split(",")]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _problems(arguments: argparse.Namespace) -> Iterator[str]:
    for flag, values, known in (
        ("models", arguments.models, MODELS),
        ("tasks", arguments.tasks, TASKS),
        ("peers", arguments.peers, WAYS),
    ):
        for value in values:
            if value not in known:
                yield f"--{flag}: {value!r} is unknown; known are {', '.join(known)}"
    for flag in ("models", "tasks"):
        if not getattr(arguments, flag):
            yield f"--{flag} is empty; name at least one"
    if not 8 <= arguments.max_seq_length <= 512:
        yield f"--max_seq_length={arguments.max_seq_length} must be from 8 to 512"
    numbers = [("rows", arguments.rows or 1), *(("batch_sizes", size) for size in arguments.batch_sizes)]
    for flag, value in (*numbers, ("rounds", arguments.rounds), ("minutes", arguments.minutes)):
        if value <= 0:
            yield f"--{flag}={value} must be above 0"
    if arguments.warm_up_rounds < 0:
        yield f"--warm_up_rounds={arguments.warm_up_rounds} must be 0 or more"
    if arguments.spm_model_file is None and any(model != BUNDLED for model in arguments.models):
        yield "--spm_model_file is missing: only the bundled model has its own"


def race(arguments: argparse.Namespace) -> None:
    """Runs all heats; the report is rewritten after each, so that a stop loses only the current heat."""
    planned = [(model, task) for model in arguments.models for task in arguments.tasks]
    # Before anything long begins, so that faults in the data are reported at once.
    samples = {heat: make_sample(*heat, arguments) for heat in planned}
    if arguments.peers:
        arguments.peers_python = peers_python(arguments.peers_python)
    sections: list[dict] = []
    field = entrants(arguments)
    num_turns = sum(len(entrant.labels) for entrant in field) * (arguments.rounds + arguments.warm_up_rounds)
    with tqdm(total=len(planned) * (len(field) + num_turns), unit="turn", disable=None) as bar:
        for heat in planned:
            with tempfile.TemporaryDirectory() as folder:
                sections.append(run_heat(*heat, samples[heat], arguments, Path(folder), bar))
            write_text(arguments.output.with_suffix(".json"), json.dumps({"sections": sections}, indent=1) + "\n")
            write_text(arguments.output, report.render(sections))
    print(arguments.output.read_text(encoding="utf-8"))


def main() -> int:
    """Returns the exit code: 2 after a mistake of the user's, reported in one line."""
    return exit_code(lambda: race(parse(sys.argv[1:])), "models and tasks")


if __name__ == "__main__":
    sys.exit(main())
