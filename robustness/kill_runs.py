"""What the kill test does to one run: a folder for it, its processes, signals, and comparing what it leaves.

Knows no plan of kills. No TensorFlow: files are compared byte by byte.
"""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from albert.system.testing import start_program
from robustness.kill_driver import Trap

ROOT = Path(__file__).parent.parent
SAMPLE_DATA = ROOT / "sample_data"
AGREEMENT = ROOT / "albert" / "testdata" / "agreement"
# Small enough that a start costs little more than importing TensorFlow; with dropout, which a resume has to repeat.
MODEL = {
    "embedding_size": 8,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
# At this rate the accuracy changes, so that `model.ckpt-best` is replaced. Two of four checkpoints are deleted.
FLAGS = {"train_step": 12, "save_checkpoints_steps": 3, "keep_checkpoint_max": 2, "learning_rate": 0.05}
POLL_SECONDS = 0.002
PATIENCE_SECONDS = 900
# Figures of a process, not of the run.
_TIMES = ("Total time", "Time since the last start", "Speed", "Seconds per step", "Real tokens per second")
_TIMES += ("Share of padding",)
# Each start adds one of these, as TensorBoard wants it.
_EVENTS = "events.out.tfevents."


class KillTestError(Exception):
    """A run did not do what it must after a kill."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run in `folder`, which has its data, caches and output; started again and again by the same command.

    `extra` are more flags; later ones win. `forked`: processes are forks of one that has imported TensorFlow.
    """

    folder: Path
    num_replicas: int = 1
    extra: tuple[str, ...] = ()
    out: str = "out"
    forked: bool = False

    @property
    def output_dir(self) -> Path:
        """Whether or not it is there yet."""
        return self.folder / self.out

    @property
    def cached_dir(self) -> Path:
        """Whether or not it is there yet."""
        return self.folder / "cache"

    def prepare(self, num_rows: int = 40) -> "Run":
        """Writes `num_rows` rows of each split and the model's configuration."""
        data = self.folder / "data/Agreement"
        data.mkdir(parents=True)
        for split in ("train", "dev", "test"):
            lines = (SAMPLE_DATA / "glue_data/Agreement" / f"{split}.tsv").read_text().splitlines(keepends=True)
            (data / f"{split}.tsv").write_text("".join(lines[: num_rows + 1]))
        config = json.loads((AGREEMENT / "albert_config.json").read_text())
        (self.folder / "albert_config.json").write_text(json.dumps({**config, **MODEL}))
        return self

    def flags(self) -> list[str]:
        """The classifier's flags: training, evaluation and prediction on the bundled task."""
        chosen = {
            "task_name": "agreement",
            "data_dir": self.folder / "data",
            "cached_dir": self.cached_dir,
            "output_dir": self.output_dir,
            "albert_config_file": self.folder / "albert_config.json",
            "spm_model_file": AGREEMENT / "agreement.model",
            "max_seq_length": 32,
            "device": "cpu",
            "num_gpu_cores": self.num_replicas,
            "train_batch_size": 8 // self.num_replicas,
            **{f"do_{action}": True for action in ("train", "eval", "predict")},
            # One shape of batches, so that a step is compiled once.
            "pack_sequences": False,
            **FLAGS,
        }
        return [*(f"--{name}={value}" for name, value in chosen.items()), *self.extra]

    def start(self, phase: str = "", nth: int = 0, number: int = signal.SIGKILL) -> "Started":
        """Starts the program; with `phase` and `nth`, signal `number` comes before that change of a file."""
        changes, errors = (Path(f"{self.output_dir}-{name}.txt") for name in ("changes", "errors"))
        changes.unlink(missing_ok=True)
        trap = Trap(str(self.cached_dir), str(self.output_dir), str(changes), phase, nth, int(number))
        arguments = [json.dumps(dataclasses.asdict(trap)), *self.flags()]
        module = "robustness.kill_driver"
        with errors.open("wb") as stream:
            options: dict[str, Any] = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": stream}
            if self.forked:
                process = start_program(module, arguments, **options)
            else:
                process = subprocess.Popen([sys.executable, "-m", module, *arguments], **options)
        return Started(process, changes, errors)


@dataclasses.dataclass(frozen=True)
class Started:
    """A process of a run, and the files that its changes and its errors go to."""

    process: subprocess.Popen
    _changes: Path
    _errors: Path

    def changes(self) -> list[str]:
        """What it changed up to now: phase, event and file name, separated by tabs."""
        return self._changes.read_text().splitlines() if self._changes.exists() else []

    def errors(self) -> str:
        """What it said up to now."""
        return self._errors.read_text(errors="replace")

    def kill_when(self, is_due: Callable[[], bool], number: int = signal.SIGKILL) -> bool:
        """Sends `number` as soon as `is_due`; whether it came to that before the process ended."""
        while self.process.poll() is None:
            if is_due():
                self.process.send_signal(number)
                return True
            time.sleep(POLL_SECONDS)
        return False

    def wait_until_stopped(self) -> bool:
        """Waits for SIGSTOP; False when the process ended without it."""
        return self._wait_for(lambda: _state_of(self.process.pid) == "T")

    def wait_for_line(self, text: str) -> bool:
        """Waits for `text` in the errors; False when the process ended without it."""
        return self._wait_for(lambda: text in self.errors())

    def _wait_for(self, is_there: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_there():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                raise KillTestError(f"waited {PATIENCE_SECONDS} s for a process; see {self._errors}")
            time.sleep(0.05)
        return True

    def end(self, *allowed: int) -> int:
        """Waits for the end and returns the exit code (negative: by a signal).

        Raises KillTestError unless it is one of `allowed`, or after a traceback.
        """
        code = self.process.wait(PATIENCE_SECONDS)
        errors = self.errors()
        if code not in allowed or "Traceback" in errors:
            raise KillTestError(f"exit code {code}, not {' or '.join(map(str, allowed))}:\n{errors[-2000:]}")
        return code

    def check_saved(self, output_dir: Path) -> None:
        """Raises KillTestError unless the process logged the step it saved, and that checkpoint exists."""
        logged = re.search(r"stopped after step (\d+) of \d+, which is saved", self.errors())
        if not logged or not (output_dir / f"model.ckpt-{logged[1]}.index").exists():
            raise KillTestError(f"the state was not saved:\n{self.errors.read_text(errors='replace')[-2000:]}")


def _state_of(pid: int) -> str:
    """Linux's letter for a process's state: "T" is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# Comparing ------------------------------------------------------------------------------------------------------------


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below `directory` by its name there, without times, and without TensorBoard's events."""
    return {
        path.relative_to(directory).as_posix(): _timeless(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith(_EVENTS)
    }


def _timeless(path: Path) -> bytes:
    if path.name == "eval_results.json":
        summary = json.loads(path.read_text())
        for name in _TIMES:
            summary["hyperparameters"].pop(name, None)
        return json.dumps(summary).encode()
    if path.name == "eval_results.txt":
        lines = path.read_text().splitlines()
        return "\n".join(line for line in lines if line.partition(" = ")[0] not in _TIMES).encode()
    if path.name == "training_log.jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        kept = ("step", "loss", "gradient_norm", "learning_rate", "real_tokens", "computed_tokens")
        return json.dumps([[row[name] for name in kept] for row in rows]).encode()
    return path.read_bytes()


def raw_contents(directory: Path) -> dict[str, bytes]:
    """Every byte of every file below `directory`, but for its lock."""
    # The lock says who works there; one that was killed does so no longer.
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != "run.lock")
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def differences(expected: Run, found: Run) -> list[str]:
    """One line for every file of caches and output that only one of two ended runs has, or that differs."""
    lines = []
    for ours, theirs in ((found.cached_dir, expected.cached_dir), (found.output_dir, expected.output_dir)):
        here, there = contents(ours), contents(theirs)
        lines += [f"{name} is left over" for name in here.keys() - there.keys()]
        lines += [f"{name} is missing" for name in there.keys() - here.keys()]
        lines += [f"{name} differs" for name in here.keys() & there.keys() if here[name] != there[name]]
    return sorted(lines)


def copy_of(run: Run, folder: Path) -> Run:
    """A run in `folder` that continues a copy of all files of `run`: its settings do not name folders."""
    shutil.copytree(run.folder, folder)
    return dataclasses.replace(run, folder=folder)


def is_growing(directory: Path, patterns: Sequence[str]) -> Callable[[], bool]:
    """Whether a file of one of the glob `patterns` in `directory` is new or longer than at this call."""

    def sizes() -> dict[str, int]:
        found = {}
        for pattern in patterns:
            for path in directory.glob(pattern):
                try:
                    found[path.name] = path.stat().st_size
                except FileNotFoundError:  # renamed since
                    found[path.name] = 0
        return found

    before = sizes()
    return lambda: any(size > before.get(name, -1) for name, size in sizes().items())
