"""What the tests of sweeps share: a toy GLUE with all its tasks, and a program that pretends to train."""

import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.cli.program import main
from albert.cli.sweep import SWEEP, command_of, parse_sweep_flags, parsed_run
from albert.runs.sweep.conduct import Sweep
from albert.runs.sweep.request import SweepRequest
from albert.runs.sweep.scheduler import Failure
from albert.tasks.base import Labels
from albert.tasks.glue import GlueTask
from albert.tasks.leaderboard import submission_tasks
from albert.tasks.registry import get_task

TRAIN_ROWS, DEV_ROWS, TEST_ROWS = 12, 6, 5
_WORDS = "the cat sees dogs and they run far away from it".split()


def write_toy_glue(data_dir: Path, rows: Mapping[str, int] | None = None) -> Path:
    """Writes every task of GLUE with the official headers and a few rows a split; returns `data_dir`."""
    counts = {"train": TRAIN_ROWS, "dev": DEV_ROWS, "test": TEST_ROWS, **(rows or {})}
    for task in submission_tasks():
        assert isinstance(task, GlueTask)
        for split in task.splits:
            file = {"train": task.train_file, "dev": task.dev_file, "test": task.test_file}[split]
            header = task.test_header if split == "test" else task.header
            lines = ["\t".join(header)] if split == "test" or task.has_header else []
            lines += [_row(task, split, header, number) for number in range(counts[split])]
            (data_dir / task.folder).mkdir(parents=True, exist_ok=True)
            (data_dir / task.folder / str(file)).write_text("\n".join(lines) + "\n")
    return data_dir


def _row(task: GlueTask, split: str, header: tuple[str, ...], number: int) -> str:
    cells = [str(number) for _ in header]
    for place, column in enumerate(task.test_text if split == "test" else task.text):
        # Another text in every split: rows that are in two would be reported.
        words = [_WORDS[(number * 3 + place + each) % len(_WORDS)] for each in range(5)]
        cells[column] = " ".join([*words, split, str(number)])
    if split != "test":
        cells[task.label] = label_of_row(task, number)
    return "\t".join(cells)


def label_of_row(task: GlueTask, number: int) -> str:
    """A label of the task, in turn."""
    if isinstance(task.output, Labels):
        return task.output.names[number % len(task.output.names)]
    return f"{number % 6}.000"


# --- A sweep of such programs ----------------------------------------------------------------------------------------

AGREEMENT = Path(__file__).parents[2] / "testdata" / "agreement"
MODEL_FLAGS = (
    f"--albert_config_file={AGREEMENT / 'albert_config.json'}",
    f"--spm_model_file={AGREEMENT / 'agreement.model'}",
)


def sweep_command(folder: Path, *flags: str, runs: Sequence[str] = ()) -> list[str]:
    """A command line of the program on `folder / "data"`, into `folder / "sweep"`, on the CPU."""
    own = [f"--output_dir={folder / 'sweep'}", "--gpus=0", *flags]
    return ["sweep", *own, "--", *MODEL_FLAGS, f"--data_dir={folder / 'data'}", *runs]


def conduct(folder: Path, argv: Sequence[str], behaviour: Mapping[str, str] | None = None) -> list[Failure]:
    """Runs a sweep of programs that pretend."""
    command = pretending_command(folder, behaviour)
    return Sweep(parse_sweep_flags(argv), parsed_run, command, use=lambda task, run: f"use {task.name} in {run}").run()


def drive(argv: Sequence[str]) -> int:
    """A program that does what `albert.sweep` does, with programs that pretend: folder, behaviour in JSON, flags."""
    folder, behaviour, *flags = argv

    def work(request: SweepRequest) -> None:
        if Sweep(request, parsed_run, pretending_command(Path(folder), json.loads(behaviour))).run():
            sys.exit(1)

    return main(["sweep", *flags], parse_sweep_flags, work, SWEEP)


def driving_command(folder: Path, argv: Sequence[str], behaviour: Mapping[str, str] | None = None) -> list[str]:
    """The command line of `drive`."""
    code = "import sys; from albert.runs.sweep.testing import drive; sys.exit(drive(sys.argv[1:]))"
    return [sys.executable, "-c", code, str(folder), json.dumps(dict(behaviour or {})), *argv[1:]]


def starts_of(folder: Path) -> list[dict[str, Any]]:
    """What each start of the pretending program in the folder of a run saw."""
    path = folder / "starts"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# --- A program that pretends to train --------------------------------------------------------------------------------

STEPS = 4


def pretending_command(folder: Path, behaviour: Mapping[str, str] | None = None) -> "PretendingCommand":
    """Writes `pretend.py` to `folder`; see `PretendingCommand`."""
    script = folder / "pretend.py"
    # Without the package, whose import would take longer than all else.
    imports = "import json, os, signal, sys, time\nfrom pathlib import Path\n"
    parts = (pretend, write_run, stopped)
    script.write_text(f"{imports}\n{''.join(map(inspect.getsource, parts))}\npretend(sys.argv[1:])\n")
    return PretendingCommand(script, dict(behaviour or {}))


class PretendingCommand:
    """The command line of a program that writes what a run leaves, after `STEPS` steps of no time.

    `behaviour` says by the name of a run's folder (MRPC/recipe/seed1) or a part of it what it does instead: "fail",
    "mistaken" (as by its user), "killed" (by SIGKILL; "killed 40" by signal 40), "wait" (until a signal, on which it
    saves and exits), "helped" (the same, and fails where a process that it has started ends), "predicting" (which a
    signal simply ends) or "slow".
    """

    def __init__(self, script: Path, behaviour: Mapping[str, str]):
        self._script = script
        self.behaviour = dict(behaviour)

    def __call__(self, module: str, flags: Mapping[str, str]) -> list[str]:
        """A command line."""
        found = [what for part, what in self.behaviour.items() if part in flags["output_dir"]]
        content = json.dumps(contents_of_run(flags))
        return [sys.executable, "-S", str(self._script), *found[:1], content, *command_of(module, flags)[3:]]


def score_in_pretence(flags: Mapping[str, str], step: int = STEPS) -> float:
    """Best at a rate of 2e-5."""
    distance = abs(float(flags.get("learning_rate", 1e-5)) - 2e-5) * 1e4
    return 0.9 - distance - 0.01 * int(flags.get("seed", 0)) - 0.02 * (STEPS - step)


def contents_of_run(flags: Mapping[str, str]) -> dict[str, str]:
    """What a finished run leaves, as far as a sweep looks at it: file name -> text."""
    task = get_task(flags["task_name"])
    assert isinstance(task, GlueTask)
    names = [name for name, _ in task.metrics]
    steps = range(1, STEPS + 1)
    evaluations = [{"global_step": step, **dict.fromkeys(names, score_in_pretence(flags, step))} for step in steps]
    found = {}
    if flags["do_eval"] == "true":
        trained = {"Training steps": STEPS, "Total time": 1.0, "Speed": 10.0} if flags["do_train"] == "true" else {}
        results = {"best_metric": task.best_metric, "best": evaluations[-1], "evaluations": evaluations}
        entries = [
            {"step": entry["global_step"], "metrics": entry, "best_metric": task.best_metric, "is_best": True}
            for entry in evaluations
        ]
        found |= {"evaluations.json": json.dumps(entries)}
        found |= {"eval_results.json": json.dumps({**results, "hyperparameters": trained})}
    if flags.get("do_predict") == "true":
        examples = enumerate(task.read("test", Path(flags["data_dir"])))
        rows = [f"{example.guid}\t{label_of_row(task, number)}" for number, example in examples]
        found |= {task.submission_file: "\n".join(["index\tprediction", *rows]) + "\n"}
        found |= {"test_results.tsv": "0.5\n" * len(rows)}
    return found


def pretend(arguments: list[str]) -> None:
    """What `pretend.py` does."""
    behaviour = arguments.pop(0) if not arguments[0].startswith("{") else ""
    contents = json.loads(arguments.pop(0))
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    folder = Path(flags["output_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    seen = {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS") if name in os.environ}
    with (folder / "starts").open("a") as starts:
        starts.write(json.dumps({"cpus": sorted(os.sched_getaffinity(0)), **seen, **flags}) + "\n")
    print("pretending\n", flush=True)
    if behaviour == "mistaken":
        print("error: --data_dir is wrong", flush=True)
        sys.exit(2)
    if behaviour == "fail":
        print("ValueError: a bug\n", flush=True)
        sys.exit(1)
    if behaviour.startswith("killed"):
        os.kill(os.getpid(), int(behaviour.removeprefix("killed") or signal.SIGKILL))
    if behaviour == "slow":
        time.sleep(1)
    if behaviour == "predicting":
        (folder / "waits").touch()
        time.sleep(60)
    if behaviour in ("wait", "helped", "bad"):
        helper = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60") if behaviour == "helped" else None
        signal.signal(signal.SIGTERM, lambda number, frame: stopped(folder, number, helper))
        if behaviour == "bad":
            write_run(folder, {"evaluations.json": contents["evaluations.json"].replace("0.", "0.0")})
        (folder / "waits").touch()
        if helper:
            os.waitpid(helper, 0)
        else:
            time.sleep(60)
        sys.exit(3)
    write_run(folder, contents)


def stopped(folder: Path, number: int, helper: "int | None") -> None:
    """Saves, and ends as a run does."""
    (folder / "saved").touch()
    if helper:
        os.kill(helper, signal.SIGKILL)
    sys.exit(128 + number)


def write_run(folder: Path, contents: dict) -> None:
    """Writes files."""
    for name, text in contents.items():
        (folder / name).write_text(text)
