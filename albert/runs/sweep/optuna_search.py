"""Settings by Optuna's TPE, one study a task, kept in the folder of the sweep. Optuna is an extra: `hpo`.

No TensorFlow.
"""

import dataclasses
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from albert.errors import UserError
from albert.runs.sweep.jobs import CLASS_WEIGHTS, Job, read_evaluations
from albert.runs.sweep.plan import Planner, Setting, TaskOfSweep, Trained, digest_of_weights
from albert.runs.sweep.request import SweepRequest
from albert.runs.sweep.results import row_of
from albert.runs.sweep.search import Space, space_of, values_of

# A file that is only added to: SQLite on network disks is not safe.
JOURNAL = "optuna.journal"
_SEARCH = "search"  # in a study: what its scores are of


@dataclasses.dataclass(eq=False)
class _Open:
    """A trial whose runs are not all done."""

    trial: Any
    study: Any
    runs: list[Trained]
    waiting: list[Job]
    reported: set[int]
    is_pruned: bool = False


class TpeQueue:
    """The runs of the trials that Optuna asks for; see `albert.runs.sweep.scheduler.Queue`.

    The objective is the mean over the seeds. What an earlier call tried is known from the journal, and a trial that it
    left open is continued with the same setting.
    """

    def __init__(self, request: SweepRequest, planner: Planner, tasks: Sequence[TaskOfSweep], seeds: Sequence[int]):
        self._optuna = import_optuna()
        self._request, self._planner, self._seeds = request, planner, seeds
        self._spaces = [space_of(text) for text in request.space]
        self._fixed: Setting = tuple((name, values[0]) for name, values in map(values_of, request.grid))
        self._studies = {task.name: self._checked_study(task) for task in tasks}
        self._open: list[_Open] = []
        self._of_job: dict[Job, list[_Open]] = {}  # several, where a setting was drawn again
        for name, study in self._studies.items():
            for trial in study.get_trials(states=(self._optuna.trial.TrialState.RUNNING,)):
                self._begin(name, self._optuna.trial.Trial(study, trial._trial_id))

    @property
    def waiting(self) -> int:
        """Runs of open trials, and of those that are still to come."""
        to_come = sum(max(0, self._request.trials - len(study.trials)) for study in self._studies.values())
        return sum(len(each.waiting) for each in self._open) + to_come * len(self._seeds)

    def next_job(self) -> Job | None:
        """A run of an open trial, otherwise the first of a new one."""
        while True:
            for each in self._open:
                if each.waiting:
                    return each.waiting.pop(0)
            counts = {name: len(study.trials) for name, study in self._studies.items()}
            name = min(counts, key=lambda name: counts[name])
            if counts[name] >= self._request.trials:
                return None
            self._begin(name, self._studies[name].ask())

    def put_back(self, job: Job) -> None:
        """To the front of its trial."""
        self._open_of(job)[0].waiting.insert(0, job)

    def ended(self, job: Job, is_finished: bool) -> None:
        """Tells the study, where this was the last run of a trial, or it is not worth the others."""
        for each in self._open_of(job):
            self._ended(each, job, is_finished)

    def _ended(self, each: _Open, job: Job, is_finished: bool) -> None:
        if is_finished and not each.is_pruned:
            if job == each.runs[0].job:
                _report(each)  # what later trials are compared with, however quickly this run was done
            self._tell_if_done(each)
            return
        each.waiting.clear()
        if each.is_pruned:
            each.study.tell(each.trial, state=self._optuna.trial.TrialState.PRUNED)
        # A trial whose run failed stays open in the journal: the same command tries it again.
        self._open.remove(each)

    def should_end(self, job: Job) -> bool:
        """Reports what the first seed has scored; whether that is below the median of the trials before."""
        sharing = self._open_of(job)
        if not self._request.prune or not sharing or job != sharing[0].runs[0].job:
            return False
        is_hopeless = any(_report(each) for each in sharing if not each.is_pruned)
        for each in sharing:
            each.is_pruned = each.is_pruned or is_hopeless
        return is_hopeless

    def runs(self) -> list[Trained]:
        """The runs of all trials, whatever became of them."""
        return [
            trained
            for name, study in self._studies.items()
            for setting in dict.fromkeys(self._setting_of(trial.params) for trial in study.get_trials(deepcopy=False))
            for trained in self._runs_of(name, setting)
        ]

    def _begin(self, name: str, trial: Any) -> None:
        setting = self._setting_of({space.name: _suggest(trial, space) for space in self._spaces})
        runs = self._runs_of(name, setting)
        study = self._studies[name]
        known = next(each for each in study.get_trials(deepcopy=False) if each.number == trial.number)
        jobs = [trained.job for trained in runs]
        waiting = [job for job in jobs if not (self._open_of(job) or job.is_finished())]
        each = _Open(trial, study, runs, waiting, set(known.intermediate_values))
        self._open.append(each)
        for job in jobs:
            self._of_job.setdefault(job, []).append(each)
        self._tell_if_done(each)

    def _open_of(self, job: Job) -> list[_Open]:
        """The open trials that wait for a job: several have the same setting."""
        return [each for each in self._of_job.get(job, ()) if each in self._open]

    def _tell_if_done(self, each: _Open) -> None:
        scores = [row_of(dataclasses.replace(trained, evaluated={})).score for trained in each.runs]
        # Runs whose files are complete may end after that: the first of them tells.
        if each in self._open and all(trained.job.is_finished() for trained in each.runs):
            self._open.remove(each)
            numbers = [score for score in scores if score is not None]
            if len(numbers) == len(scores):
                each.study.tell(each.trial, sum(numbers) / len(numbers))
            else:
                each.study.tell(each.trial, state=self._optuna.trial.TrialState.FAIL)

    def _runs_of(self, name: str, setting: Setting) -> list[Trained]:
        return [self._planner.run(name, setting, seed) for seed in self._seeds]

    def _setting_of(self, params: dict[str, Any]) -> Setting:
        drawn = ((space.name, space.text(params[space.name])) for space in self._spaces if space.name in params)
        return (*self._fixed, *drawn)

    def _checked_study(self, task: TaskOfSweep) -> Any:
        """The study of a task. Raises UserError for one of another search, whose scores would be taken for ours."""
        journal = self._request.output_dir / JOURNAL
        try:
            study = self._study(task, self._request.output_dir)
        except (ValueError, KeyError) as error:
            raise UserError(f"{journal} is damaged ({error}): move it away; finished runs stay finished.") from error
        deciding = dict(task.parsed.deciding)
        weights = deciding.pop(CLASS_WEIGHTS, "")
        asked = {
            "seeds": ",".join(map(str, sorted(self._seeds))),
            "set": ",".join(f"{name}={value}" for name, value in self._fixed),
            "space": "; ".join(sorted(f"{s.name} {s.kind or ','.join(s.choices)}" for s in self._spaces)),
            "flags of the runs": "; ".join(f"{name}={value}" for name, value in sorted(deciding.items())),
            "data": task.data_digest,
        }
        later = {"model": digest_of_weights(task.parsed.settings)}
        later |= {CLASS_WEIGHTS: weights} if weights else {}
        asked |= later
        known = study.user_attrs.get(_SEARCH)
        if known is None:
            study.set_user_attr(_SEARCH, asked)
            return study
        known = {**later, **known}  # which earlier versions did not say
        if different := [name for name, value in asked.items() if known.get(name) != value]:
            raise UserError(
                f"{journal} is of a search for {task.name} with another {', '.join(different)}, whose scores do not "
                "fit: give the same, or another `output_dir`."
            )
        return study

    def _study(self, task: TaskOfSweep, folder: Path) -> Any:
        backend = self._optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # parts of Optuna that may still change
            study = self._optuna.create_study(
                study_name=task.name,
                storage=self._optuna.storages.JournalStorage(backend),
                load_if_exists=True,
                direction="minimize" if task.lower_is_better else "maximize",
                pruner=self._optuna.pruners.MedianPruner() if self._request.prune else self._optuna.pruners.NopPruner(),
            )
            # A sampler that begins again with its seed would propose the first trials again.
            seed = (self._request.search_seed + len(study.trials)) % 2**32
            study.sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            return study


def _report(each: _Open) -> bool:
    """Reports what the first seed has scored since the last time; whether nothing is expected of the trial."""
    is_hopeless = False
    first = each.runs[0]
    for step, score in read_evaluations(first.job.folder, first.task.score_metrics):
        # Of a correlation that is undefined early in training nothing follows; Optuna would end the run by it.
        if step not in each.reported and math.isfinite(score):
            each.reported.add(step)
            each.trial.report(score, step)
            is_hopeless = is_hopeless or each.trial.should_prune()
    return is_hopeless


def _suggest(trial: Any, space: Space) -> float | str:
    if space.choices:
        return trial.suggest_categorical(space.name, space.choices)
    if space.kind == "int":
        return trial.suggest_int(space.name, int(space.low), int(space.high))
    return trial.suggest_float(space.name, space.low, space.high, log=space.kind == "log")


def import_optuna() -> Any:
    """The library. Raises UserError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            '`search`=tpe needs Optuna: .venv/bin/python -m pip install -e ".[hpo]"; `search`=random needs no library.'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    return optuna
