"""A job: one run of a program in a folder of its own, and how to tell whether it is finished. No TensorFlow."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.data.source_files import SourceFiles
from albert.runs.output_dir import PARTS, RUN_SETTINGS
from albert.system.files import write_text
from albert.system.json_text import parse_json
from albert.system.text_encoding import read_regular
from albert.tasks.base import Split
from albert.tasks.leaderboard import score_of
from albert.tasks.scoring import TEST_SCORES

RECORD = "sweep_run.json"
EVAL_RESULTS = "eval_results.json"
EVALUATIONS = "evaluations.json"
START = "init_checkpoint"  # in the identity of a run that begins from another's model
# What else decides a result than the flags, the model and the data of training: the digests of data and model of the
# run whose model it begins from, of the data that the model is evaluated on and that it predicts, and the weights in
# the file that `class_weights` names. Records of earlier versions do not have them, and count as if they did.
DATA_OF_START, MODEL_OF_START = "data of start", "model of start"
DATA_OF_EVALUATION, DATA_OF_PREDICTION = "data of evaluation", "data of prediction"
CLASS_WEIGHTS = "class weights"
_LATER = (DATA_OF_START, MODEL_OF_START, DATA_OF_EVALUATION, DATA_OF_PREDICTION, CLASS_WEIGHTS)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run says of itself in `eval_results.json`. `last_step` and `best_step` count updates."""

    best_metric: str
    best: Mapping[str, float]
    last_step: int
    hyperparameters: Mapping[str, Any]

    @property
    def best_step(self) -> int:
        """The step of the best checkpoint."""
        return int(self.best.get("global_step", 0))

    @property
    def has_trained_to_the_end(self) -> bool:
        """Whether there is an evaluation of the last step, or early stopping ended training there."""
        steps = self.hyperparameters.get("Training steps")
        return steps is None or self.last_step in (steps, self.hyperparameters.get("Stopped early at step"))


@dataclasses.dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
      name: for people: task, setting and seed.
      folder: its `output_dir`.
      module: the program, in the package.
      flags: all flags by name, but those of devices and `output_dir`.
      identity: what decides its result, by name: a folder with another one is not this run's.
      products: the files that it leaves, the last ones to be written among them.
      cost: how long it takes, in any unit: the longest begin first.
      after: the job whose model it needs.
      data: the digests of its data by split.
      sources: the files of these data.
    """

    name: str
    folder: Path
    module: str
    flags: Mapping[str, str] = dataclasses.field(hash=False)
    identity: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    products: tuple[str, ...] = (EVAL_RESULTS,)
    cost: float = 0.0
    after: "Job | None" = None
    data: Mapping[Split, str] = dataclasses.field(default_factory=dict, compare=False)
    sources: tuple[SourceFiles, ...] = dataclasses.field(default=(), compare=False)

    @property
    def log(self) -> Path:
        """What the program says, of all its starts."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def depth(self) -> int:
        """How many jobs must be done before it."""
        return 0 if self.after is None else 1 + self.after.depth

    def all_flags(self, of_devices: Mapping[str, str]) -> dict[str, str]:
        """Those of its command line on some devices, unless it has its own for these."""
        return {**of_devices, **self.flags, "output_dir": str(self.folder)}

    def begin(self) -> None:
        """Says in its folder which run it is of. A folder of another run keeps what it says, until this one is done."""
        if not (self.folder / RECORD).exists():
            self._write_record()

    def confirm(self) -> None:
        """After the program ended well: the folder is this run's, whatever was there before."""
        if self._recorded() != self.identity:
            self._write_record()

    def begin_unattended(self) -> Path | None:
        """As `begin`, for a program after which nothing calls `confirm`: the record to be put in place of the folder's.

        None where the folder has it. Its name is of its contents: what is begun later with other flags has another one.
        """
        self.begin()
        if self._is_recorded():
            return None
        text = self._record()
        path = self.folder / f"{Path(RECORD).stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
        write_text(path, text)
        return path

    def is_finished(self) -> bool:
        """Whether its folder has all that a finished run with this identity leaves."""
        if not all((self.folder / name).is_file() for name in self.products):
            return False
        if EVAL_RESULTS in self.products:
            outcome = read_outcome(self.folder)
            if outcome is None or not outcome.has_trained_to_the_end:
                return False
        return self._is_recorded() and not self.has_read_other_data()

    def changed_file(self) -> Path | None:
        """A file of its data that is not what it was when the job was planned."""
        return next(filter(None, (source.changed() for source in self.sources)), None)

    def has_read_other_data(self) -> bool:
        """Whether what was trained or evaluated in its folder are other data than the job was planned with."""
        found = _json_of(self.folder / RUN_SETTINGS)
        parts = found if isinstance(found, dict) else {}
        digests = {name: part.get("data_sha256") for name, part in parts.items() if isinstance(part, dict)}
        return any(digests.get(PARTS.get(split)) not in (None, digest) for split, digest in self.data.items())

    def damaged_file(self) -> Path | None:
        """A file of a finished run that is there but cannot be read as one, for which the run is not finished."""
        if (self.folder / RECORD).exists() and self._recorded() is None:
            return self.folder / RECORD
        is_read = EVAL_RESULTS in self.products and (self.folder / EVAL_RESULTS).exists()
        return self.folder / EVAL_RESULTS if is_read and read_outcome(self.folder) is None else None

    def _is_recorded(self) -> bool:
        recorded = self._recorded()
        if not isinstance(recorded, dict):
            return False
        later = {name: self.identity[name] for name in _LATER if name in self.identity}
        recorded = {**later, **recorded}
        if self.after and START in recorded:
            # Earlier records say of every seed where the first one of the call began: in the same folder but for the
            # seed, which is recorded besides.
            ours, theirs = (Path(str(known.get(START))) for known in (self.identity, recorded))
            if (ours.name, ours.parent.parent) == (theirs.name, theirs.parent.parent):
                recorded = {**recorded, START: self.identity[START]}
        return recorded == self.identity

    def _write_record(self) -> None:
        write_text(self.folder / RECORD, self._record())

    def _record(self) -> str:
        return json.dumps(dict(self.identity), indent=2, sort_keys=True) + "\n"

    def _recorded(self) -> object:
        return _json_of(self.folder / RECORD)


def read_outcome(folder: Path) -> Outcome | None:
    """What the run in `folder` says of itself; None where it has not finished, or the file is not what a run writes."""
    found = _json_of(folder / EVAL_RESULTS)
    try:
        metric, best, hyperparameters = found["best_metric"], found["best"], found["hyperparameters"]
        numbers = {name: math.nan if value is None else float(value) for name, value in best.items()}
        best_step = int(numbers.get("global_step", 0))
        # The last one in the file may be of an older checkpoint.
        last_step = max((int(evaluation["global_step"]) for evaluation in found["evaluations"]), default=best_step)
        if metric not in numbers or not isinstance(hyperparameters, dict):
            return None
        return Outcome(metric, numbers, last_step, hyperparameters)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return None


def read_test_metrics(folder: Path) -> dict[str, float]:
    """What the run in `folder` scores on the labelled rows of a test file; {} where there are none."""
    found = _json_of(folder / TEST_SCORES)
    try:
        return {name: math.nan if value is None else float(value) for name, value in found["metrics"].items()}
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}


def has_damaged_test_metrics(folder: Path) -> bool:
    """Whether the run in `folder` left test scores that cannot be read."""
    return (folder / TEST_SCORES).exists() and not isinstance(_json_of(folder / TEST_SCORES), dict)


def read_evaluated_metrics(folder: Path) -> list[dict[str, float]]:
    """All metrics of every checkpoint that the run in `folder` has evaluated."""
    found = _json_of(folder / EVALUATIONS)
    try:
        return [dict(entry["metrics"]) for entry in found]
    except (TypeError, KeyError, ValueError):
        return []


def read_evaluations(folder: Path, metrics: Sequence[str] = ()) -> list[tuple[int, float]]:
    """(step, score) of each checkpoint that the run in `folder` has evaluated, by the mean of `metrics` or its best."""
    found = _json_of(folder / EVALUATIONS)
    try:
        return [
            (int(entry["step"]), float(score_of(metrics or (entry["best_metric"],), entry["metrics"])))
            for entry in found
        ]
    except (TypeError, KeyError, ValueError, OverflowError):
        return []


def _json_of(path: Path) -> Any:
    try:
        return parse_json(read_regular(path))
    except (OSError, ValueError):
        return None
