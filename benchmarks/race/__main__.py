"""The race: this project's training step against those of its peers, on the same real rows, alternating.

    python3 -m benchmarks.race --glue_dir=<glue_data> --squad_dir=<squad_data> --spm_model_file=<30k-clean.model>

Tokenises the rows once and gives them to the contenders' processes, one of which works at a time; the peers
(Hugging Face transformers on PyTorch) live in an environment of their own, which the first race creates. Writes
benchmarks/results/race.md, a bar chart race.png and the figures race.json beside it.
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
from albert.system.files import write_bytes, write_text
from albert.tokenization import Tokenizer, load_tokenizer
from benchmarks.race import report
from benchmarks.race.circumstances import cores, exit_code, features, leave_out_avx512, machine
from benchmarks.race.common import BUNDLED, FLATTENED, GROUPED, MODELS, Job, Rows
from benchmarks.race.processes import ROOT, Process, own_python, peers_python
from benchmarks.race.rows import DENSE, SQUAD, Sample, dense_sample, glue_sample, squad_sample
from benchmarks.race.turns import Turns
from benchmarks.results_file import RESULTS, shown_command

GLUE_TASKS = ("mrpc", "cola", "sst-2", "rte", "sts-b")
DTYPES = ("bfloat16", "float32")
TITLES = {"cola": "CoLA", SQUAD: "SQuAD", DENSE: "Dense rows"}
PEER_VARIANTS = ("padded", "dynamic", GROUPED, FLATTENED)
TOKENIZER_TASK = "sst-2"
# transformers sorts within 50 batches, and within fewer where these are not a quarter of the rows; more rows change
# nothing any more.
BATCHES_FOR_GROUPING = 200
SEED = 0


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One process, which is as many contenders as it has ways to make batches."""

    side: str  # "ours", "other" (ours, of another checkout) or "peers"
    labels: dict[str, str]  # way to make batches -> the contender's name in the report
    options: dict[str, object] = dataclasses.field(default_factory=dict)  # fields of its Job


def entrants(task: str, arguments: argparse.Namespace) -> list[Entrant]:
    """Who takes part in the race of a task. Dense rows have no padding to save, so one way of batching is enough."""
    found = [Entrant("ours", {"packed": report.OURS})]
    if task != DENSE:
        found.append(Entrant("ours", {"padded": report.OURS_PADDED}))
    if arguments.other:
        found.append(Entrant("other", {"packed": report.OURS_OTHER}))
    if arguments.two_replicas:
        found.append(Entrant("ours", {"packed": report.OURS_TWO_REPLICAS}, {"replicas": 2}))
    variants = [v for v in arguments.peers if task != DENSE or v == "padded"]
    if variants:
        found.append(Entrant("peers", {v: f"HF eager {v}" for v in variants}))
    if arguments.compile == "all" or (arguments.compile == "dense" and task == DENSE):
        for shapes, some in (("static", ("padded",)), ("dynamic", ("dynamic", GROUPED, FLATTENED))):
            chosen = [v for v in variants if v in some]
            if chosen:
                found.append(Entrant("peers", {v: f"HF compiled {v}" for v in chosen}, {"compiled": shapes}))
    return found


@dataclasses.dataclass(frozen=True)
class Heat:
    """The race of one task in one precision."""

    task: str
    dtype: str
    entrants: list[Entrant]

    @property
    def title(self) -> str:
        """As a heading."""
        return f"{TITLES.get(self.task, self.task.upper())}, {self.dtype}"

    @property
    def labels(self) -> list[str]:
        """Every contender."""
        return [label for entrant in self.entrants for label in entrant.labels.values()]


def heats(arguments: argparse.Namespace) -> list[Heat]:
    """The first precision for every task, the others for dense rows only."""
    return [
        Heat(task, dtype, entrants(task, arguments))
        for task in arguments.tasks
        for dtype in (arguments.dtypes if task == DENSE else arguments.dtypes[:1])
    ]


# --- One heat ---------------------------------------------------------------------------------------------------------


def shape_of(task: str, arguments: argparse.Namespace) -> tuple[int, int]:
    """Examples per step, and the length of a row."""
    if task == SQUAD:
        return arguments.squad_batch_size, arguments.squad_max_seq_length
    return arguments.batch_size, arguments.max_seq_length


def make_sample(task: str, tokenizer: Tokenizer, arguments: argparse.Namespace) -> Sample:
    """As many rows as the race needs, drawn from all."""
    batch_size, length = shape_of(task, arguments)
    batches = arguments.steps * (arguments.warm_up_rounds + arguments.rounds)
    wanted = max(batches, BATCHES_FOR_GROUPING) * batch_size
    if task == DENSE:
        return dense_sample(wanted, length, SEED)
    if task == SQUAD:
        sample = squad_sample(arguments.squad_dir, tokenizer, length, wanted, SEED)
    else:
        sample = glue_sample(task, arguments.glue_dir, tokenizer, length, wanted, SEED)
    if sample.rows.count < batches * batch_size:
        raise UserError(
            f"--rounds={arguments.rounds} of --steps={arguments.steps} with {batch_size} examples a step, and "
            f"{arguments.warm_up_rounds} warm-up round(s), need {batches * batch_size} rows, but {task} has "
            f"{sample.rows.count}. Lower --rounds, --steps or the batch size."
        )
    return sample


def job_of(heat: Heat, entrant: Entrant, sample: Sample, path: Path, arguments: argparse.Namespace) -> Job:
    """What a process trains."""
    batch_size, length = shape_of(heat.task, arguments)
    return Job(
        rows=str(path),
        model=arguments.model,
        kind=sample.kind,
        num_labels=sample.num_labels,
        dtype=heat.dtype,
        batch_size=batch_size,
        max_seq_length=length,
        variants=tuple(entrant.labels),
        warm_up_rounds=arguments.warm_up_rounds,
        timed_rounds=arguments.rounds,
        steps_per_round=arguments.steps,
        threads=cores(),
        device=arguments.device,
        **entrant.options,
    )


def run_heat(heat: Heat, sample: Sample, arguments: argparse.Namespace, folder: Path, bar: tqdm) -> dict:
    """Starts the contenders one by one, lets them take turns, stops them. Returns the heat's section of the report."""
    batch_size, length = shape_of(heat.task, arguments)
    bar.set_description(heat.title)
    path = folder / f"{heat.task}.npz"
    sample.rows.save(path)
    turns = Turns(heat.labels, bar)
    with contextlib.ExitStack() as processes:
        for entrant in heat.entrants:
            job = job_of(heat, entrant, sample, path, arguments)
            process = start_process(entrant.side, config_of(job), arguments, folder)
            turns.start(processes.enter_context(process), entrant.labels)
        turns.run(arguments.rounds, arguments.warm_up_rounds, arguments.steps)
        batches = {"input": sample.rows.count // batch_size, "first_batch": 0}
        input_reply = turns.ask(report.OURS, batches)
    rows = f"{sample.rows.count} rows {sample.source}, {sample.rows.lengths.mean():.1f} tokens a row on average; "
    rows += f"B={batch_size}, S={length}; {arguments.steps} step(s) a round"
    return {
        **circumstances(arguments, heat.title, rows, turns),
        "task": heat.task,
        "dtype": heat.dtype,
        "model": arguments.model,
        "device": arguments.device,
        "batch_size": batch_size,
        "max_seq_length": length,
        "input_seconds": input_reply and sum(input_reply["seconds"]) / len(input_reply["seconds"]),
    }


def config_of(job: Job) -> dict[str, object]:
    """The job without what is as usual, of which another checkout may not know."""
    usual = {field.name: field.default for field in dataclasses.fields(job)}
    return {name: value for name, value in dataclasses.asdict(job).items() if value != usual[name]}


def start_process(side: str, config: dict, arguments: argparse.Namespace, folder: Path) -> Process:
    """A contender's process, with the same environment for all."""
    module = "benchmarks.race.peers" if side == "peers" else "benchmarks.race.ours"
    python = arguments.peers_python if side == "peers" else own_python()
    root = arguments.other if side == "other" else ROOT
    return Process(python, module, config, cores(), arguments.minutes * 60, folder, root)


def circumstances(arguments: argparse.Namespace, title: str, rows: str, turns: Turns) -> dict:
    """What every section says of how it came about, with its figures."""
    return {
        "title": title if arguments.model == "base" else f"{title}, {arguments.model} model",
        "date": str(datetime.date.today()),
        "machine": machine(),
        "features": features(),
        "command": shown_command("benchmarks.race", sys.argv[1:]),
        "rows": f"{rows}; {arguments.rounds} round(s), {arguments.warm_up_rounds} before",
        "versions": turns.versions,
        "contenders": turns.figures,
    }


# --- Tokenising -------------------------------------------------------------------------------------------------------


def race_tokenizers(arguments: argparse.Namespace, folder: Path, bar: tqdm) -> dict:
    """Reads, tokenises and writes SST-2's training rows: ours into its cache, theirs into an Arrow file and an .npz."""
    bar.set_description("tokenizers")
    shared = {"scratch": str(folder), "spm_model_file": str(arguments.spm_model_file)}
    shared["max_seq_length"] = arguments.max_seq_length
    ours = {**shared, "task": TOKENIZER_TASK, "glue_dir": str(arguments.glue_dir)}
    source = arguments.glue_dir / "SST-2" / "train.tsv"
    theirs = {**shared, "source": str(source), "columns": (0, 1)}
    names = {"arrow": "HF fast tokenizer, datasets.map to Arrow", "numpy": "HF fast tokenizer to one .npz"}
    turns = Turns(["ours", *names.values()], bar)
    with contextlib.ExitStack() as processes:
        for side, config, labels in (("ours", ours, {"cache": "ours"}), ("peers", theirs, names)):
            turns.start(processes.enter_context(start_process(side, config, arguments, folder)), labels)
        turns.run(arguments.rounds, arguments.warm_up_rounds, steps=1)
        kept = [turns.ask(label, {"keep": True}) for label in ("ours", names["numpy"])]
    note = "Each run reads the file, tokenises all rows and writes their input ids, segment ids and labels: ours as "
    note += "verified TFRecords with a manifest, the peers' as an Arrow file or two plain arrays. "
    note += compare_rows(*(Rows.load(Path(reply["rows"])) for reply in kept)) if all(kept) else ""
    count = next((reply["examples"] for reply in kept if reply), 0)
    rows = f"{count} rows of {TOKENIZER_TASK} train, cut at {arguments.max_seq_length} tokens"
    return {**circumstances(arguments, "Tokenise and write", rows, turns), "note": note, "batch_size": count}


def compare_rows(ours: Rows, theirs: Rows) -> str:
    """How many rows have other ids, in a sentence."""
    if ours.count != theirs.count:
        return f"The peers read {theirs.count} rows, we {ours.count}."
    differing = [n for n in range(ours.count) if ours.row(n)[0].tolist() != theirs.row(n)[0].tolist()]
    return f"{len(differing)} of {ours.count} rows got other ids from the peers than from us."


# --- The program ------------------------------------------------------------------------------------------------------


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked. Raises UserError."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--glue_dir", type=Path, help="the GLUE folder; any with the tasks' training files")
    add("--squad_dir", type=Path, help="the folder with train-v1.1.json")
    add("--spm_model_file", type=Path, required=True, help="30k-clean.model")
    add("--tasks", type=_names, help=f"of {', '.join((*GLUE_TASKS, SQUAD, DENSE))} or 'none'; by default all with data")
    add("--dtypes", type=_names, default=list(DTYPES), help="the first for all tasks, all for dense rows")
    add("--model", choices=[model for model in MODELS if model != BUNDLED], default="base")
    add("--batch_size", type=int, default=32)
    add("--max_seq_length", type=int, default=128)
    add("--squad_batch_size", type=int, default=16)
    add("--squad_max_seq_length", type=int, default=384)
    add("--rounds", type=int, default=5)
    add("--warm_up_rounds", type=int, default=1)
    add("--steps", type=int, default=2, help="steps of a contender in each of its turns")
    add("--peers", type=_names, default=list(PEER_VARIANTS), help=f"of {', '.join(PEER_VARIANTS)}, or 'none'")
    add("--compile", choices=("none", "dense", "all"), default="dense", help="where torch.compile takes part too")
    add("--two_replicas", action="store_true", help="adds our engine with two replicas to every task")
    add("--other", type=Path, help="adds the engine of another checkout of this project to every task")
    add("--tokenizer", action="store_true", help="also races the tokenizers")
    add("--device", choices=("cpu", "gpu"), default="cpu")
    add("--without_avx512", action="store_true", help="all contenders use AVX2 alone; for --dtypes=float32")
    add("--minutes", type=float, default=15, help="the longest a contender may take to warm up, or for one turn")
    add("--peers_python", type=Path, help="the peers' Python; by default that of benchmarks/.peers, made if need be")
    add("--keep", action="store_true", help="keep in the report what it has of other tasks, from this machine")
    add("--output", type=Path, default=RESULTS / "race.md")
    arguments = parser.parse_args(argv)
    if arguments.tasks is None:
        glue, squad = GLUE_TASKS if arguments.glue_dir else (), (SQUAD,) if arguments.squad_dir else ()
        arguments.tasks = [*glue, *squad, DENSE]
    problems = list(_problems(arguments))
    if problems:
        raise UserError("; ".join(problems))
    return arguments


def _names(text: str) -> list[str]:
    return [] if text == "none" else [name.strip().lower() for name in text.split(",")]


def _problems(arguments: argparse.Namespace) -> Iterator[str]:
    for flag, values, known in (
        ("tasks", arguments.tasks, (*GLUE_TASKS, SQUAD, DENSE)),
        ("dtypes", arguments.dtypes, DTYPES),
        ("peers", arguments.peers, PEER_VARIANTS),
    ):
        for value in values:
            if value not in known:
                yield f"--{flag}: {value!r} is unknown; known are {', '.join(known)}"
    if arguments.without_avx512 and arguments.dtypes != ["float32"]:
        yield "--without_avx512 needs --dtypes=float32: AVX2 multiplies no bfloat16 matrices"
    if not arguments.dtypes:
        yield "--dtypes is empty; name at least one"
    if not (arguments.tasks or arguments.tokenizer):
        yield "nothing to race: name --tasks or add --tokenizer"
    for flag in "batch_size squad_batch_size rounds steps minutes".split():
        if getattr(arguments, flag) <= 0:
            yield f"--{flag}={getattr(arguments, flag)} must be above 0"
    if arguments.warm_up_rounds < 0:
        yield f"--warm_up_rounds={arguments.warm_up_rounds} must be 0 or more"
    for flag in ("max_seq_length", "squad_max_seq_length"):
        if not 8 <= getattr(arguments, flag) <= 512:
            yield f"--{flag}={getattr(arguments, flag)} must be from 8 to 512"
    if arguments.two_replicas and (arguments.batch_size % 2 or arguments.squad_batch_size % 2):
        yield "--two_replicas needs even batch sizes"
    needs_glue = arguments.tokenizer or any(task in GLUE_TASKS for task in arguments.tasks)
    if needs_glue and not arguments.glue_dir:
        yield "--glue_dir is missing: name the GLUE folder"
    if arguments.other and not (arguments.other / "benchmarks" / "race" / "ours.py").is_file():
        yield f"--other={arguments.other} is not a checkout of this project: it has no benchmarks/race/ours.py"
    if SQUAD in arguments.tasks and not arguments.squad_dir:
        yield "--squad_dir is missing: name the folder with train-v1.1.json"


def kept_results(arguments: argparse.Namespace, path: Path) -> dict:
    """What the figures' file has from this machine, with --keep."""
    empty = {"sections": [], "tokenizers": None}
    if not arguments.keep or not path.exists():
        return empty
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        here = machine()
        sections = [section for section in results["sections"] if section["machine"] == here]
        tokenizers = results["tokenizers"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--keep: {path} is not what a race wrote; remove it or leave --keep out") from error
    return {"sections": sections, "tokenizers": tokenizers if tokenizers and tokenizers["machine"] == here else None}


def write_report(results: dict, output: Path) -> None:
    """The figures, the chart and the report, each whole."""
    write_text(output.with_suffix(".json"), json.dumps(results, indent=1) + "\n")
    chart = report.draw(results["sections"])
    if chart:
        write_bytes(output.with_suffix(".png"), chart)
    name = output.with_suffix(".png").name if chart else None
    write_text(output, report.render(results["sections"], results["tokenizers"], name))


def race(arguments: argparse.Namespace) -> None:
    """Runs all heats; the report is rewritten after each, so that a stop loses only the current heat."""
    if arguments.without_avx512:
        leave_out_avx512()
    results = kept_results(arguments, arguments.output.with_suffix(".json"))
    tokenizer = load_tokenizer(arguments.spm_model_file, None, do_lower_case=True)
    planned = heats(arguments)
    # Before anything long begins, so that faults in the data are reported at once.
    samples = {task: make_sample(task, tokenizer, arguments) for task in arguments.tasks}
    if arguments.tokenizer or any(entrant.side == "peers" for heat in planned for entrant in heat.entrants):
        arguments.peers_python = peers_python(arguments.peers_python)
    rounds = arguments.rounds + arguments.warm_up_rounds
    total = sum(len(heat.entrants) + rounds * len(heat.labels) for heat in planned)
    total += (2 + 3 * rounds) * arguments.tokenizer
    with tqdm(total=total, unit="turn", disable=None) as bar:
        for heat in planned:
            with tempfile.TemporaryDirectory() as folder:
                section = run_heat(heat, samples[heat.task], arguments, Path(folder), bar)
            same = [s for s in results["sections"] if s["title"] == section["title"]]
            results["sections"] = [s for s in results["sections"] if s not in same] + [section]
            write_report(results, arguments.output)
        if arguments.tokenizer:
            with tempfile.TemporaryDirectory() as folder:
                results["tokenizers"] = race_tokenizers(arguments, Path(folder), bar)
            write_report(results, arguments.output)
    print(arguments.output.read_text(encoding="utf-8"))


def main() -> int:
    """Returns the exit code: 2 after a mistake of the user's, reported in one line."""
    return exit_code(lambda: race(parse(sys.argv[1:])), "tasks")


if __name__ == "__main__":
    sys.exit(main())
