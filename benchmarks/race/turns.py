"""Contenders take turns, so that what else the machine does falls on all of them. Knows not what they compute."""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from benchmarks.race.processes import ContenderError, Process


class Turns:
    """Contenders that are ready, the figures of all, and the rounds they go through."""

    def __init__(self, labels: Sequence[str], bar: tqdm):
        self.figures: dict[str, dict] = {label: {} for label in labels}
        self._bar = bar
        self._ready: dict[str, tuple[Process, str]] = {}  # label -> process, variant
        self.versions: dict[str, str] = {}

    def start(self, process: Process, labels: dict[str, str]) -> None:
        """Waits until a process has warmed up; one that fails is noted under each of its labels."""
        self._bar.set_postfix_str(f"starting {', '.join(labels.values())}")
        try:
            info = process.wait_until_ready()
        except ContenderError as error:
            self._fail(labels.values(), error)
        else:
            self.versions |= info["versions"]
            self._ready |= {label: (process, variant) for variant, label in labels.items()}
        self._bar.update()

    def run(self, rounds: int, warm_up_rounds: int, steps: int) -> None:
        """All rounds; in each every contender has its turn, beginning with another one each time."""
        for number in range(warm_up_rounds + rounds):
            order = [label for label in self.figures if label in self._ready]
            shift = number % max(1, len(order))
            for label in order[shift:] + order[:shift]:
                self._turn(label, {"run": steps, "first_batch": number * steps}, number >= warm_up_rounds)
            self._bar.update(len(self.figures) - len(order))  # the turns of those that failed

    def ask(self, label: str, request: dict) -> dict | None:
        """One more reply of a contender; None if it is not there any more."""
        if label not in self._ready:
            return None
        process, variant = self._ready[label]
        try:
            return process.ask({**request, "variant": variant})
        except ContenderError as error:
            self._fail([label for label, (other, _) in self._ready.items() if other is process], error)
            return None

    def _turn(self, label: str, request: dict, counts: bool) -> None:
        self._bar.set_postfix_str(label)
        reply = self.ask(label, request)
        self._bar.update()
        if not reply or not counts:
            return
        figures = self.figures[label]
        per_step = sum(reply["seconds"]) / len(reply["seconds"])
        figures.setdefault("step_seconds", []).append(per_step)
        for name in ("examples", "real_tokens", "computed_tokens"):
            figures[name] = figures.get(name, 0) + reply.get(name, 0)

    def _fail(self, labels: Sequence[str], error: ContenderError) -> None:
        for label in list(labels):
            self._ready.pop(label, None)
            # What was measured before is no longer comparable round by round.
            self.figures[label] = {"error": str(error)}
            tqdm.write(f"{label}: {error}", file=sys.stderr)
