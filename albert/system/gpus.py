"""Which GPUs this process may use, by the names that CUDA has for them. No TensorFlow."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from albert.errors import UserError

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 60.0
_PART = "MIG-"


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use: those that nvidia-smi lists, or of them the named."""
    devices = _listed_devices()
    named = named_gpus(environment)
    return devices if named is None else named[: len(devices)]


def is_gpu_expected(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> bool:
    """Whether this machine seems to have an NVIDIA GPU, or whoever called wants one.

    By its driver's devices or program, or what CUDA_VISIBLE_DEVICES or NUM_GPUS, which scripts read, say.
    """
    wanted = environment.get("NUM_GPUS", "") not in ("", "0") or bool(named_gpus(environment))
    return wanted or bool(shutil.which("nvidia-smi")) or any(devices.glob("nvidia*"))


def named_gpus(environment: Mapping[str, str]) -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES names, whether it is there or not; None where that is not set."""
    if _VARIABLE not in environment:
        return None
    names = []
    for name in (part.strip() for part in environment[_VARIABLE].split(",")):
        if not name or name.startswith("-"):
            break  # CUDA ignores everything from the first invalid one on
        names.append(name)
    return names


def check_parts(names: Sequence[str], setting: str, count: int) -> None:
    """Raises UserError where a process is to have `count` of `names`, by `setting`, and one is a part of a GPU."""
    if count > 1 and any(name.startswith(_PART) for name in names):
        raise UserError(
            f"`{setting}`={count}, but GPUs are divided here (MIG), and a process can use one part: leave it out."
        )


def _listed_devices() -> list[str]:
    """What `nvidia-smi -L` lists: GPUs by their numbers; of a GPU that is divided (MIG) its parts, by their names."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    devices, number = [], 0
    for line in done.stdout.splitlines():
        if line.startswith("GPU "):
            devices.append(str(number))
            number += 1
        elif part := re.match(rf"\s+MIG .*\(UUID: ({_PART}[^)]+)\)", line):
            if devices[-1:] == [str(number - 1)]:
                devices.pop()  # no process can use it as a whole
            devices.append(part[1])
    return devices
