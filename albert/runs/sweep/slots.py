"""Which GPUs or cores a run has for itself. No TensorFlow."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from albert.errors import UserError
from albert.runs.sweep.request import SLURM, SweepRequest
from albert.system.gpus import check_parts, visible_gpus
from albert.system.printing import counted

# Side by side on cores by default: more runs than this fill the memory before they fill the cores.
_RUNS_ON_CORES = 8


@dataclasses.dataclass(frozen=True)
class Slot:
    """The devices of one run: GPUs by their names for CUDA, or cores by their numbers."""

    gpus: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()

    @property
    def flags(self) -> dict[str, str]:
        """For the program that runs here."""
        return {"device": "gpu" if self.gpus else "cpu"}

    @property
    def environment(self) -> dict[str, str]:
        """Hides the GPUs of others; the libraries that count cores by themselves count those of the slot."""
        if self.gpus:
            return {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}
        return {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": str(len(self.cores) or 1)}

    def __str__(self) -> str:
        devices = ("GPU", self.gpus) if self.gpus else ("core", self.cores)
        return f"{devices[0]} {','.join(map(str, devices[1]))}"


def device_flags(request: SweepRequest) -> dict[str, str]:
    """Those of a run on another machine, or another day: what is asked for need not be here."""
    is_on_gpus = bool(request.gpus) or (request.gpus is None and (request.launcher == SLURM or visible_gpus()))
    return {"device": "gpu" if is_on_gpus else "cpu"}


def slots_for(request: SweepRequest, environment: Mapping[str, str] = os.environ) -> list[Slot]:
    """The slots of this machine. Raises UserError where it has not what is asked for."""
    names = visible_gpus(environment) if request.gpus != 0 else []
    if request.gpus is not None:
        if request.gpus > len(names):
            raise UserError(f"`gpus`={request.gpus}, but {len(names)} are visible here. Give fewer; 0 is the CPU.")
        names = names[: request.gpus]
    if not names and request.run_flags.get("device") == "gpu":
        raise UserError("`device`=gpu, but no GPU is visible here, or `gpus` is 0: leave it out.")
    if not names and request.gpus_per_run > 1:
        raise UserError(f"`gpus_per_run`={request.gpus_per_run}, but no GPU is used: leave it out.")
    slots = _of_gpus(names, request.gpus_per_run) if names else _of_cores(request.cpus_per_run)
    return slots[: request.max_parallel or None]


def _of_gpus(names: Sequence[str], per_run: int) -> list[Slot]:
    if per_run > len(names):
        raise UserError(
            f"`gpus_per_run`={per_run}, but only {counted(len(names), 'GPU')} may be used. Give at most that many."
        )
    check_parts(names, "gpus_per_run", per_run)
    return [Slot(gpus=tuple(names[first : first + per_run])) for first in range(0, len(names) - per_run + 1, per_run)]


def _of_cores(per_run: int) -> list[Slot]:
    cores = sorted(os.sched_getaffinity(0))
    if per_run > len(cores):
        raise UserError(
            f"`cpus_per_run`={per_run}, but this process may use {len(cores)} cores. Give at most that many."
        )
    per_run = per_run or max(1, len(cores) // _RUNS_ON_CORES)
    return [Slot(cores=tuple(cores[first : first + per_run])) for first in range(0, len(cores) - per_run + 1, per_run)]
