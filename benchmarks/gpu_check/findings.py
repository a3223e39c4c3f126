"""What a part of the check finds, as lines of JSON in a file: what is written survives the process that wrote it.

A finding is a dictionary with "kind" and what belongs to it:

    check: a number and the bound that it must keep ("name", "difference", "bound", "is_met")
    figure: a number with its unit ("name", "value", "unit")
    step: a training step that was timed; see `speed.time_steps`
    note: a sentence on what was not done, and why ("text")
    refused, failed: how a part ended that found no more ("text")
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

Finding = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Request:
    """What a process of the check is to do; travels as JSON in its first argument.

    Attributes:
      part: one of `plan.PARTS`.
      findings: the file to write to.
      device: "gpu" or "cpu".
      num_replicas: devices to use; 0 for all GPUs, or two logical CPUs.
      is_tiny: the smallest models, and few steps: for trying the program itself.
      seconds: the time that there is.
      peers_python: the interpreter of an environment with torch and transformers; "" for none.
    """

    part: str
    findings: str
    device: str = "gpu"
    num_replicas: int = 0
    is_tiny: bool = False
    seconds: float = 600.0
    peers_python: str = ""


class Findings:
    """Appends to the file of a request."""

    def __init__(self, path: Path):
        self._path = path

    def add(self, kind: str, **values: object) -> None:
        """Writes one finding."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **values}) + "\n")

    def check(self, name: str, difference: float, bound: float) -> None:
        """A difference that must be at most `bound`; one that is not a number is not."""
        difference = float(difference)
        shown = difference if math.isfinite(difference) else str(difference)
        self.add("check", name=name, difference=shown, bound=bound, is_met=difference <= bound)

    def figure(self, name: str, value: object, unit: str = "") -> None:
        """A number with its unit, or a word."""
        self.add("figure", name=name, value=value, unit=unit)

    def note(self, text: str) -> None:
        """What was not done, and why."""
        self.add("note", text=one_line(text))

    def ended(self, kind: str, error: Exception) -> None:
        """The error that ended the part: "refused" for one that the user can fix, otherwise "failed"."""
        name = "" if kind == "refused" else f"{type(error).__name__}: "
        self.add(kind, text=one_line(f"{name}{error}"))


def read_findings(path: Path) -> list[dict]:
    """The complete lines of a file that a process may still be writing, or may have left in the middle of one."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def one_line(text: str, length: int = 400) -> str:
    """`text` without line breaks, cut after `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"
