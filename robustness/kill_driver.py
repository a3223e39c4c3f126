"""Runs the classifier's entry point in this process and sends it a signal just before a chosen change of a file.

    python3 -m robustness.kill_driver '<JSON of Trap>' --task_name=... (the classifier's flags)

Python announces every opening for writing, renaming, linking and removing to audit hooks before it happens; no line of
the program changes. What TensorFlow's C++ writes is not announced: those moments are for kills from outside.
"""

import dataclasses
import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

ENTRY_POINT = "albert.run_multigpus_classifier"
_EVENTS = {"open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


@dataclasses.dataclass(frozen=True)
class Trap:
    """Signal `number` comes before change number `nth` (from 1) of `phase` to files in `cached_dir` or `output_dir`.

    `nth` 0 is never. Each change that was begun adds a line to the file `log`: phase, event, file name.
    """

    cached_dir: str
    output_dir: str
    log: str
    phase: str = ""
    nth: int = 0
    number: int = 9


def phase_of(path: Path, cached_dir: Path, output_dir: Path) -> str | None:
    """Which phase of a run changes the file at `path`; None where it is not a file of the run."""
    if path.is_relative_to(cached_dir):
        return "writing caches"
    if path == output_dir or output_dir in path.parents:
        name = path.name
        if path == output_dir or name.startswith("run_settings.json") or "lock" in name:
            return "claiming the directory"
        if name.startswith(("evaluations.json", "model.ckpt-best")):
            return "evaluating"
        if name.startswith(("model.ckpt-", "checkpoint")):
            return "saving"
        return "training" if name.startswith("training_log") else "writing results"
    return None


def changed_path(event: str, arguments: tuple[object, ...]) -> Path | None:
    """The path that an audit event is about to change; None if it changes none."""
    if event not in _EVENTS or not isinstance(arguments[0], str | bytes | os.PathLike):
        return None
    if event == "open" and not arguments[2] & _WRITING:
        return None
    path = Path(os.fsdecode(arguments[event == "os.link"]))
    return None if event == "os.mkdir" and path.exists() else path


def hook_of(trap: Trap) -> Callable[[str, tuple[object, ...]], None]:
    """The audit hook that springs `trap`."""
    log = os.open(trap.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    cached_dir, output_dir = Path(trap.cached_dir), Path(trap.output_dir)
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        path = changed_path(event, arguments)
        phase = path and phase_of(path, cached_dir, output_dir)
        if phase:
            os.write(log, f"{phase}\t{event}\t{path.name}\n".encode())
            seen += phase == trap.phase
            if phase == trap.phase and seen == trap.nth:
                os.kill(os.getpid(), trap.number)

    return hook


def main() -> None:
    """Installs the hook and becomes the entry point."""
    _, trap, *flags = sys.argv
    sys.addaudithook(hook_of(Trap(**json.loads(trap))))
    sys.argv = [ENTRY_POINT, *flags]
    runpy.run_module(ENTRY_POINT, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
