"""`training_log.jsonl`: what each training step reports, in a line of JSON."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import NoneType

from albert.engine.evaluations import Evaluation
from albert.engine.throughput import StepRecord
from albert.errors import UserError
from albert.system.files import append_text, write_text
from albert.system.json_text import finite_or_null, parse_json
from albert.system.printing import counted
from albert.system.text_encoding import read_regular

TRAINING_LOG = "training_log.jsonl"


class TrainingLog:
    """One JSON object per training step in `training_log.jsonl`; rows of steps that are recomputed are dropped.

    Each row also says how many steps the run takes, which its settings do not say where they count epochs.
    """

    def __init__(self, output_dir: Path, training_steps: int):
        self._path = output_dir / TRAINING_LOG
        self._training_steps = training_steps

    def on_start(self, first_step: int) -> None:
        """Keeps the rows up to `first_step`, where training resumes."""
        kept = [row for row in read_training_log(self._path) if row["step"] <= first_step]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def on_steps(self, records: Sequence[StepRecord]) -> None:
        """Appends; a line cut by a kill or a full disk is dropped at the next start."""
        rows = [finite_or_null(record.figures()) | {"training_steps": self._training_steps} for record in records]
        append_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Evaluations have a file of their own."""


def read_training_log(path: Path) -> list[dict[str, float]]:
    """The rows of a training log, those with a step and a loss; nothing if it is missing.

    A cut last line is left out, and so is, with a warning, every other line that is not a row. Raises UserError if the
    file cannot be read.
    """
    try:
        *lines, last = read_regular(path).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Move it away to begin a new one.") from error
    rows = [_row(line) for line in lines if line.strip()]
    num_left_out = rows.count(None)
    if num_left_out:
        logging.warning("%s: left out, not rows of a training log: %s", path, counted(num_left_out, "line"))
    return [row for row in (*rows, _row(last)) if row is not None]


def _row(line: bytes) -> dict[str, float] | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    is_row = isinstance(row, dict) and type(row.get("step")) is int and type(row.get("loss")) in (int, float, NoneType)
    return row if is_row and "loss" in row else None
