"""What is seen of a sweep while it runs: a live line a run on a terminal, lines of a log elsewhere. No TensorFlow."""

import logging
import math
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from albert.runs.sweep.jobs import Job, read_evaluations
from albert.system.json_text import parse_json
from albert.system.logged_output import PART

_LOG_EVERY_SECONDS = 60.0
_LAST_BYTES = 4096


class Progress:
    """Where one run is: its step of all, its best score so far, the time that is left."""

    def __init__(self, job: Job, lower_is_better: bool = False):
        self.job = job
        self._lower_is_better = lower_is_better
        self._began: tuple[float, int] | None = None  # when its first step was seen, and which that was

    def __str__(self) -> str:
        at = last_step(self.job.folder)
        if at is None:
            return f"{self.job.name}: starting"
        step, steps = at
        found = [score for _, score in read_evaluations(self.job.folder) if math.isfinite(score)]
        best = f", best {min(found) if self._lower_is_better else max(found):.4f}" if found else ""
        of_all = f"/{steps}" if steps else ""
        return f"{self.job.name}: step {step}{of_all}{best}{self._time_left(step, steps) if steps else ''}"

    def _time_left(self, step: int, steps: int) -> str:
        now = time.monotonic()
        self._began = self._began or (now, step)
        since, first = self._began
        if step <= first:
            return ""
        return f", {duration((now - since) / (step - first) * (steps - step))} left"


class Display:
    """Shows what runs. On a terminal the lines are drawn over, otherwise each run has one now and then."""

    def __init__(self, stream: TextIO = sys.stderr):
        self._stream = stream
        self._is_live = stream.isatty()
        self._drawn = 0
        self._logged_at: dict[str, float] = {}

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Logs a line, above the live ones."""
        self._clear()
        logging.log(level, "%s", text)

    def show(self, running: Sequence[Progress], waiting: int) -> None:
        """Draws the lines of what runs."""
        if not self._is_live:
            self._log(running)
            return
        self._clear()
        lines = [str(each) for each in running] + [f"{waiting} waiting"] * bool(waiting)
        width = shutil.get_terminal_size().columns - 1  # a line that is wrapped would be two
        self._stream.write("".join(f"{line[:width]}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)

    def close(self) -> None:
        """Leaves no line behind that is no longer true."""
        self._clear()

    def _log(self, running: Sequence[Progress]) -> None:
        now = time.monotonic()
        for each in running:
            if now - self._logged_at.setdefault(each.job.name, now) >= _LOG_EVERY_SECONDS:
                self._logged_at[each.job.name] = now
                logging.info("%s", each)

    def _clear(self) -> None:
        if self._drawn:
            # From the first column: a terminal shows ^C where the cursor is.
            self._stream.write(f"\r\x1b[{self._drawn}A\x1b[J")
            self._stream.flush()
            self._drawn = 0


def last_step(folder: Path) -> tuple[int, int | None] | None:
    """(step, all steps) of the last whole line in the training log of the run in `folder`; None before there is one.

    All steps are None in logs from before rows said so.
    """
    try:
        with (folder / "training_log.jsonl").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            lines = file.read().split(b"\n")[:-1]
        row = parse_json(lines[-1])
        return int(row["step"]), int(row["training_steps"]) if "training_steps" in row else None
    except (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError):
        return None


def last_words(log: Path) -> str:
    """The last line that the run which was logged last has said."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "it wrote no log"
    last = next((line.strip() for line in reversed(lines) if line.strip()), PART)
    return "it said nothing" if last.startswith(PART) else last


def duration(seconds: float) -> str:
    """For people: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
