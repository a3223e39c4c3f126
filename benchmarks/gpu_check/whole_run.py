"""A run by the command line, as a user starts it: the bundled model on the bundled task."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu_check.batches import num_devices
from benchmarks.gpu_check.findings import Findings, Request
from benchmarks.race.processes import ROOT

# Each of up to six row shapes is compiled when it first comes; so few steps meet two or three.
STEPS, TINY_STEPS = 10, 2
_TITLE = "run by the command line"


def run_program(request: Request, findings: Findings) -> None:
    """Trains on all devices, evaluates and saves. That it ends well and has an accuracy is all that is checked.

    So few steps teach the model nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        code = subprocess.run(command(request, output), cwd=ROOT, check=False).returncode
        findings.check(f"{_TITLE}, exit code", abs(code), 0)
        if code:
            findings.note(f"{_TITLE}: the end of the part's log says why it failed")
            return
        best = json.loads((output / "eval_results.json").read_text(encoding="utf-8"))["best"]
        findings.check(f"{_TITLE}, dev accuracy", best["eval_accuracy"], 1.0)


def command(request: Request, output: Path) -> list[str]:
    """The command line; compiled where the check is of GPUs, in bfloat16 where they have it."""
    sample, count = ROOT / "sample_data", max(1, num_devices(request))
    steps = TINY_STEPS if request.is_tiny else STEPS
    flags = {
        "task_name": "agreement",
        "data_dir": sample / "glue_data",
        "model_dir": sample / "albert_tiny",
        "cached_dir": output.parent / "cache",
        "output_dir": output,
        "do_train": True,
        "do_eval": True,
        "train_step": steps,
        "save_checkpoints_steps": steps,
        "strategy_type": "mirror" if count > 1 else "one",
        "num_gpu_cores": count,
        "device": request.device,
        "dtype": "auto",
    }
    words = [f"--{name}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", "albert.run_multigpus_classifier", *words]
