"""A script for Slurm that does the runs of a sweep as an array of jobs. No TensorFlow."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from albert.runs.sweep.jobs import RECORD, Job
from albert.runs.sweep.plan import Trained
from albert.runs.sweep.request import SweepRequest
from albert.runs.sweep.scheduler import Command
from albert.runs.sweep.slots import device_flags

SCRIPT = "sweep.sbatch"
# Lists of commands, each under a name of its own: elements that wait, or come back, read the one of their script.
COMMANDS = "sweep*.commands"
# Before Slurm's time limit, for the last checkpoint.
_SECONDS_TO_SAVE = 120

_TEXT = """#!/usr/bin/env bash
#SBATCH --job-name=albert-sweep
#SBATCH --array=1-{count}{limit}
{devices}
#SBATCH --signal=B:TERM@{seconds}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={output}
# One element of the array is one line of {commands}: a run, and those that use its model. Add your cluster's partition,
# account and time limit, or give them to sbatch.
set -euo pipefail
[[ -f {commands_file} ]] || exit 0 # all runs are finished
cd -- {folder}
export PYTHONPATH={root}${{PYTHONPATH:+:$PYTHONPATH}} PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
command=$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {commands_file})
bash -c "$command"$'\\nexit $?' & # a shell that stays: without more to do it would become the program
child=$!
# Slurm's signal reaches this shell alone: it goes on to what that one runs, the program, and not to the processes which
# that has started. The program saves and ends with 128 + the signal's number.
trap 'pkill -TERM -P "$child" || kill -TERM "$child"' TERM
code=0
wait "$child" || code=$?
# The trap ends the first wait; the second one is for the program.
while kill -0 "$child" 2>/dev/null; do
  code=0
  wait "$child" || code=$?
done
if ((code == 130 || code == 143)); then
  scontrol requeue "${{SLURM_JOB_ID}}" # it continues from what was saved
fi
exit "$code"
"""


def files_for(request: SweepRequest, runs: Sequence[Trained], command: Command, root: Path) -> dict[str, str]:
    """The script and its list of commands, for the runs that are not finished. `root` is the folder of the package.

    Nothing where all are finished. Says in the folders of the runs which ones they are.
    """
    chains = _chains(runs)
    if not chains:
        return {}
    folder = request.output_dir.resolve()
    device = device_flags(request)
    lines = [
        " && ".join(shlex.join(words) for job in chain for words in _commands_of(job, command, device))
        for chain in chains
    ]
    text = "".join(f"{line}\n" for line in lines)
    name = COMMANDS.replace("*", f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}")
    gpus = 0 if request.gpus == 0 else request.gpus_per_run
    devices = f"#SBATCH --gres=gpu:{gpus}" if gpus else f"#SBATCH --cpus-per-task={request.cpus_per_run or 1}"
    script = _TEXT.format(
        count=len(chains),
        limit=f"%{request.max_parallel}" if request.max_parallel else "",
        devices=devices,
        seconds=_SECONDS_TO_SAVE,
        output=shlex.quote(f"{str(folder).replace('%', '%%')}/slurm-%A_%a.log"),
        commands=name,
        folder=shlex.quote(str(Path.cwd())),
        root=shlex.quote(str(root)),
        commands_file=shlex.quote(str(folder / name)),
    )
    return {SCRIPT: script, name: text}


def _commands_of(job: Job, command: Command, device: Mapping[str, str]) -> list[list[str]]:
    """The program, and where its folder says that it is another run's, what notes that it is done."""
    program = command(job.module, job.all_flags(device))
    record = job.begin_unattended()
    return [program, ["cp", "--", str(record), str(job.folder / RECORD)]] if record else [program]


def _chains(runs: Sequence[Trained]) -> list[list[Job]]:
    """The jobs that are not finished; what starts from another's model comes after it, in the same element."""
    jobs = [job for trained in runs for job in trained.jobs]
    chains: dict[Job, list[Job]] = {}
    for job in jobs:
        first = job
        while first.after is not None:
            first = first.after
        chains.setdefault(first, []).append(job)
    ordered = sorted(chains.items(), key=lambda item: -item[0].cost)
    in_order = [sorted(chain, key=lambda job: job.depth) for _, chain in ordered]
    unfinished = [[job for job in chain if not job.is_finished()] for chain in in_order]
    return [chain for chain in unfinished if chain]
