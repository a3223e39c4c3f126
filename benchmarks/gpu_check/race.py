"""The race's contenders on the check's rows: our step against that of transformers, in turns on the same device."""

import contextlib
import dataclasses
import importlib.util
import logging
import os
import statistics
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.gpu_check.batches import MRPC, SST2, Batch, Workshop
from benchmarks.gpu_check.findings import Findings, Request
from benchmarks.race.common import GROUPED
from benchmarks.race.processes import PEERS, Process, own_python
from benchmarks.race.report import OURS
from benchmarks.race.turns import Turns

ROUNDS, STEPS = 5, 10
# What the peers' processes import.
PEER_PACKAGES = ("torch", "transformers", "sentencepiece")
# Of the part's time: the longest that a contender may take until it is ready, once those before it are, or for a turn.
# The rest is enough for the others to take their turns, so that one that hangs costs itself alone.
_SHARE_OF_A_WAIT = 0.45


class Entrant(NamedTuple):
    """A process of the race, and the name in the report of each way in which it makes batches."""

    python: Path
    module: str
    labels: dict[str, str]
    compiled: str | None = None


def race(request: Request, findings: Findings) -> None:
    """Seconds per step of every contender, or why it has none; a note where there are no peers."""
    python = find_peers(request.peers_python)
    if python is None:
        findings.note(
            f"no race: {', '.join(PEER_PACKAGES)} are not in this environment, and neither is benchmarks/.peers; "
            "--peers_python names the Python of one that has them"
        )
        return
    # Padded rows have the same shape in every task, and with the compiler they are the slowest to get ready: once.
    heats = ((MRPC, not request.is_tiny), (SST2, False))
    for batch, with_compiler in heats[: 1 if request.is_tiny else None]:
        _heat(batch, entrants(python, with_compiler), request, findings)


def find_peers(named: str) -> Path | None:
    """The interpreter named, or this one if it has the packages, or that of the race's own environment."""
    if named:
        return Path(named)
    if all(importlib.util.find_spec(name) for name in PEER_PACKAGES):
        return own_python()
    python = PEERS / "bin" / "python"
    return python if os.access(python, os.X_OK) else None


def entrants(python: Path, with_compiler: bool) -> list[Entrant]:
    """Ours first; `python` is the peers' interpreter."""
    ways = {"padded": "padded to the full length", "dynamic": "padded to the longest", GROUPED: "grouped by length"}
    eager = {variant: f"transformers, {way}" for variant, way in ways.items()}
    compiled = {"padded": f"transformers, torch.compile, {ways['padded']}"}
    found = [
        Entrant(own_python(), "benchmarks.race.ours", {"packed": OURS}),
        Entrant(python, "benchmarks.race.peers", eager),
    ]
    return [*found, Entrant(python, "benchmarks.race.peers", compiled, "static")] if with_compiler else found


def _heat(batch: Batch, field: list[Entrant], request: Request, findings: Findings) -> None:
    dtype, rounds, steps = ("float32", 1, 1) if request.is_tiny else ("bfloat16", ROUNDS, STEPS)
    title = f"{batch.title}, {dtype}"
    # One batch again and again: each of its shapes is compiled once, and a run meets few.
    with Workshop(request, batch, copies=(rounds + 1) * steps) as workshop, contextlib.ExitStack() as processes:

        def start(entrant: Entrant) -> Process:
            job = workshop.job(
                dtype=dtype,
                variants=tuple(entrant.labels),
                compiled=entrant.compiled,
                warm_up_rounds=1,
                timed_rounds=rounds,
                steps_per_round=steps,
            )
            limit = _SHARE_OF_A_WAIT * request.seconds
            process = Process(
                entrant.python, entrant.module, dataclasses.asdict(job), job.threads, limit, workshop.path
            )
            return processes.enter_context(process)

        turns = Turns([label for entrant in field for label in entrant.labels.values()], tqdm(disable=True))
        logging.info("%s: starting %d processes", title, len(field))
        # All at once: they import and compile side by side.
        for process, entrant in [(start(entrant), entrant) for entrant in field]:
            logging.info("%s: waiting for %s", title, ", ".join(entrant.labels.values()))
            turns.start(process, entrant.labels)
        logging.info("%s: %d rounds of turns", title, rounds + 1)
        turns.run(rounds, 1, steps)
    logging.info("%s: done", title)
    _report(title, turns, findings)


def _report(title: str, turns: Turns, findings: Findings) -> None:
    for name, version in turns.versions.items():
        findings.figure(f"{name} of the race", version)
    for label, figures in turns.figures.items():
        if "error" in figures:
            findings.note(f"{title}, {label}: {figures['error']}")
        elif figures:
            median = statistics.median(figures["step_seconds"])
            padding = 1 - figures["real_tokens"] / figures["computed_tokens"]
            findings.add("contender", rows=title, name=label, step_seconds=median, padding=padding)
