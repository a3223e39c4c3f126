"""The race's contenders on the check's rows: our step against that of transformers, in turns on the same device."""

import contextlib
import dataclasses
import importlib.util
import os
import statistics
from pathlib import Path

from tqdm import tqdm

from benchmarks.gpu_check.batches import MRPC, SST2, Batch, Workshop
from benchmarks.gpu_check.findings import Findings, Request
from benchmarks.race.__main__ import Turns
from benchmarks.race.common import GROUPED
from benchmarks.race.processes import PEERS, Process, own_python
from benchmarks.race.report import OURS

ROUNDS, STEPS = 5, 10
# What the peers' processes import.
PEER_PACKAGES = ("torch", "transformers", "datasets", "sentencepiece")


def race(request: Request, findings: Findings) -> None:
    """Seconds per step of every contender, or why it has none; a note where there are no peers."""
    python = find_peers(request.peers_python)
    if python is None:
        findings.note(
            f"no race: {', '.join(PEER_PACKAGES)} are not in this environment, and neither is benchmarks/.peers; "
            "--peers_python names the Python of one that has them"
        )
        return
    for batch in (MRPC,) if request.is_tiny else (MRPC, SST2):
        _heat(batch, python, request, findings)


def find_peers(named: str) -> Path | None:
    """The interpreter named, or this one if it has the packages, or that of the race's own environment."""
    if named:
        return Path(named)
    if all(importlib.util.find_spec(name) for name in PEER_PACKAGES):
        return own_python()
    python = PEERS / "bin" / "python"
    return python if os.access(python, os.X_OK) else None


def _heat(batch: Batch, python: Path, request: Request, findings: Findings) -> None:
    dtype, rounds, steps = ("float32", 1, 1) if request.is_tiny else ("bfloat16", ROUNDS, STEPS)
    # One batch again and again: each of its shapes is compiled once, and a run meets few.
    with Workshop(request, batch, copies=(rounds + 1) * steps) as workshop, contextlib.ExitStack() as processes:

        def start(python: Path, module: str, variants: tuple[str, ...], compiled: str | None = None) -> Process:
            how_long = {"warm_up_rounds": 1, "timed_rounds": rounds, "steps_per_round": steps}
            job = workshop.job(dtype=dtype, variants=variants, compiled=compiled, **how_long)
            process = Process(python, module, dataclasses.asdict(job), job.threads, request.seconds, workshop.path)
            return processes.enter_context(process)

        eager = {
            "padded": "padded to the full length",
            "dynamic": "padded to the longest",
            GROUPED: "grouped by length",
        }
        eager = {variant: f"transformers, {way}" for variant, way in eager.items()}
        compiled = {"padded": "transformers, torch.compile, padded to the full length"}
        turns = Turns([OURS, *eager.values(), *compiled.values()], tqdm(disable=True))
        turns.start(start(own_python(), "benchmarks.race.ours", ("packed",)), {"packed": OURS})
        turns.start(start(python, "benchmarks.race.peers", tuple(eager)), eager)
        if not request.is_tiny:
            turns.start(start(python, "benchmarks.race.peers", tuple(compiled), "static"), compiled)
        turns.run(rounds, 1, steps)
    _report(f"{batch.title}, {dtype}", turns, findings)


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
