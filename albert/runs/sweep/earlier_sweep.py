"""Refuses, once and before anything runs, a sweep into the folder of a sweep with other settings. No TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

from albert.errors import UserError
from albert.runs.output_dir import recorded_training
from albert.runs.preflight import differences_from_earlier
from albert.runs.sweep.jobs import Job
from albert.runs.sweep.plan import Parse, Trained
from albert.system.printing import part_of


def check_earlier_sweep(folder: Path, runs: Sequence[Trained], parse: Parse) -> None:
    """Raises UserError where runs that are still to be done find runs with other settings in their folders.

    Each of them would refuse that itself, with the same words.
    """
    refused = [differing for trained in runs if (differing := _differences(trained.job, parse))]
    if refused:
        phrases = dict.fromkeys(phrase for differing in refused for phrase in differing)
        raise UserError(
            f"`output_dir`={folder} holds a sweep with other settings, in {part_of(len(refused), len(runs), 'run')}: "
            f"{'; '.join(phrases)}. Choose another `output_dir`, or repeat those settings."
        )


def _differences(job: Job, parse: Parse) -> list[str]:
    # Of other data is said where that run is begun, and the others run.
    if job.is_finished() or "learning_rate" not in recorded_training(job.folder):
        return []
    parsed = parse(job.module, {**job.flags, "output_dir": str(job.folder)})
    return differences_from_earlier(parsed.task, parsed.settings)
