"""What `albert.sweep` is asked for. No TensorFlow."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from albert.settings.fields import (
    DATA,
    DEVICES,
    LIMITS,
    OUTPUT,
    SEED,
    TRAINING,
    WHAT,
    at_least,
    problems_of,
    setting,
)

GRID, RANDOM, TPE = "grid", "random", "tpe"
LOCAL, SLURM, NONE = "local", "slurm", "none"
MEAN, MEDIAN = "mean", "median"
ALL = "all"
_MOST = 100_000


@dataclasses.dataclass(frozen=True)
class SweepRequest:
    """One call of the program. `run_flags` are those of every run, by name."""

    run_flags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    task_name: str | None = setting(
        "Tasks, with commas: tasks of GLUE, or all of them; SQuAD1.1, SQuAD2.0, RACE. Without: own data, which the "
        "flags of every run name.",
        DATA,
        default=None,
    )
    seeds: str = setting("Seeds, with commas; each is a run of every task with every setting.", TRAINING, default="42")
    grid: tuple[str, ...] = setting(
        "Values of a flag of the runs, as learning_rate=1e-5,2e-5; may be given for several flags, which are combined.",
        TRAINING,
        default=(),
        flag="set",
    )
    search: str = setting(
        "Where settings come from: the grid of all `grid`, `trials` drawn at random from `space`, or by Optuna's TPE.",
        TRAINING,
        default=GRID,
        choices=(GRID, RANDOM, TPE),
    )
    space: tuple[str, ...] = setting(
        "Where `search` draws a flag of the runs from: name=log:LOW:HIGH, name=lin:LOW:HIGH, name=int:LOW:HIGH or "
        "name=VALUE,VALUE; may be given for several flags.",
        TRAINING,
        default=(),
    )
    trials: int = setting("Settings that `search` tries.", TRAINING, default=20, bounds=at_least(1, _MOST))
    search_seed: int = setting("Seed of `search`.", TRAINING, default=0, bounds=SEED)
    prune: bool = setting(
        "End a run early where `search`=tpe expects nothing of it: its score is below the median at that step.",
        TRAINING,
        default=True,
    )
    from_mnli: bool = setting(
        "Start RTE, MRPC and STS-B from the MNLI run of the same setting and seed.", TRAINING, default=False
    )
    do_predict: bool = setting("Predict the test set, where a task has one.", WHAT, default=True)
    dry_run: bool = setting("Print the commands and run none.", WHAT, default=False)
    launcher: str = setting(
        "local: run here. slurm: write a script for sbatch instead. none: only compare the runs that are there.",
        WHAT,
        default=LOCAL,
        choices=(LOCAL, SLURM, NONE),
    )
    gpus: int | None = setting(
        "GPUs of this machine to use; 0: the CPU. Without: all that are visible.",
        DEVICES,
        default=None,
        bounds=at_least(0, 4096),
    )
    gpus_per_run: int = setting("GPUs of one run.", DEVICES, default=1, bounds=at_least(1, 256))
    cpus_per_run: int = setting(
        "Cores of one run without GPUs, which has them for itself; 0: as many as let eight runs go side by side.",
        DEVICES,
        default=0,
        bounds=at_least(0, 4096),
    )
    max_parallel: int = setting(
        "Runs side by side at most; 0: as many as there are GPUs or cores for.",
        DEVICES,
        default=0,
        bounds=at_least(0, 4096),
    )
    fail_fast: bool = setting("Stop all runs when one fails, with their state saved.", LIMITS, default=False)
    max_runs: int = setting("Refuse a sweep of more runs.", LIMITS, default=500, bounds=at_least(1, _MOST))
    output_dir: Path = setting("Folder of the sweep; each run has a folder in it.", OUTPUT, default=Path("sweep"))
    report: str = setting(
        "What settings are compared by, over the seeds: the mean, or the median (the ALBERT paper's is of five).",
        OUTPUT,
        default=MEAN,
        choices=(MEAN, MEDIAN),
    )
    partial_submission: bool = setting(
        "Write submission.zip even where tasks are missing in it.", OUTPUT, default=False
    )

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = problems_of(self)
        if self.gpus and self.gpus_per_run > self.gpus:
            found.append(f"`gpus_per_run`={self.gpus_per_run} is more than `gpus`={self.gpus}")
        if self.search == GRID and self.space:
            found.append("`space` is for `search`=random or `search`=tpe; the values of a grid are `grid`")
        if self.search != GRID:
            if not self.space:
                found.append(f"`search`={self.search} needs `space`, for example learning_rate=log:1e-5:1e-4")
            if any("," in values for values in self.grid):
                found.append(f"`search`={self.search} draws from `space`: give several values there, and one in `grid`")
        if self.search == TPE and self.from_mnli:
            found.append("`from_mnli` is not for `search`=tpe, which tries other settings for each task")
        if self.search == TPE and self.dry_run:
            found.append("`search`=tpe decides by the runs before, of which `dry_run` has none")
        if self.search == TPE and self.launcher == SLURM:
            found.append("`search`=tpe decides by the runs before, which `launcher`=slurm does not wait for")
        return found
