"""An output directory belongs to one run, `run_settings.json` says to which, and at any time to one process.

Owns that file, and moving a directory aside. No TensorFlow.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from albert.data.row_shapes import PACKINGS
from albert.errors import UserError
from albert.runs.run_differences import SCORING, differences
from albert.settings import ONCE_CONSTANT, Settings
from albert.system.files import delete_leftovers, finish_texts, write_text
from albert.system.json_text import parse_json, short_repr
from albert.system.locks import LOCK, OutputLock
from albert.system.text_encoding import read_regular
from albert.tasks.tags.words import WINDOWS_VERSION

RUN_SETTINGS = "run_settings.json"
# How a run packs its batches (`row_shapes`), which it keeps to its end.
PACKING_VERSION, SHAPE_COST = "packing_version", "shape_cost"
# Which rows of own data a run trains and evaluates on.
ROWS, HOLD_OUT, SAMPLES = "rows", "hold_out", "samples"
# The digest of what `init_checkpoint` holds when a run begins, which runs of before do not say.
INIT_WEIGHTS = "init_weights"
# The version of the windows in which a run reads long texts, which one that cuts them does not say, nor one that has
# none; and the part of the record that says so of a split.
WINDOWS, PARTS = "windows", {"train": "training", "dev": "evaluation"}
# That epochs are counted without a rounding error: of runs that would have a step more with it.
EXACT_STEPS = "exact_steps"
_WITH_SHAPE_COST = 3  # the first version that has one
# What makes a directory worth protecting: checkpoints and result files. A run that stopped before it had any, say
# because of a wrong flag, leaves nothing that other settings could mix with.
_WORK = ("model.ckpt-*.index", "*_results.*", "evaluations.json")


class Claim(OutputLock):
    """The right to write in a directory, whose `run_settings.json` goes again if the run stops before it wrote more.

    `aside`: where the directory was moved that was there before. It comes back then.
    """

    def __init__(self, directory: Path, aside: Path | None = None):
        self._aside = aside
        super().__init__(directory)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.withdraw()

    def withdraw(self) -> None:
        """Releases the directory, and leaves it as it was if there is nothing of a run, say because of a wrong row."""
        is_unused = False
        with contextlib.suppress(OSError):
            is_held = self._descriptor is not None and self._is_ours()
            is_unused = is_held and {path.name for path in self.directory.iterdir()} <= {LOCK, RUN_SETTINGS}
            if is_unused:
                (self.directory / RUN_SETTINGS).unlink(missing_ok=True)
        self.release()
        if self._aside and is_unused:
            with contextlib.suppress(OSError):  # not empty: another process claimed it by now
                self.directory.rmdir()
                self._aside.rename(self.directory)
                logging.info("Moved %s back to %s.", self._aside, self.directory)


def claim_output_dir(
    settings: Settings, identity: Mapping[str, Mapping[str, object]], source_files: Iterable[Path] = ()
) -> Claim:
    """Makes `settings.output_dir` this run's, or checks that it is, and keeps other processes out of it.

    `identity` has a dictionary of settings for each part of this run; a part that the directory has too must agree.
    A run from before its packing was recorded has version 1 and remains without a record (`recorded_packing`).
    `source_files` are the data that the run reads. Others may come in when the lock that is returned is released.

    Raises UserError naming the process that works there, every setting that differs, when the directory holds
    checkpoints or results whose settings are unknown, or when it cannot be written.
    """
    lock = Claim(settings.output_dir)
    try:
        if settings.overwrite_output_dir:
            _check_may_move(settings, source_files)
            lock = _moved_aside(lock)
        _claim(settings.output_dir, identity)
    except BaseException:
        lock.withdraw()
        raise
    return lock


class StillClaimed:
    """Follows a training and ends it where its directory was taken from it, before it writes there again."""

    def __init__(self, lock: OutputLock):
        self._lock = lock

    def on_start(self, first_step: int) -> None:
        """The directory was claimed just now."""

    def on_steps(self, records: object) -> None:
        """Comes at every line of the log, so before every checkpoint."""
        self.check()

    def on_evaluation(self, evaluation: object) -> None:
        """Comes before the results of the evaluation are written."""
        self.check()

    def check(self) -> None:
        """Raises UserError where another process works in the directory, or another directory is in its place."""
        directory = self._lock.directory
        holder = self._lock.keep()
        if holder is not None:
            raise UserError(
                f"{directory} is in use by {holder}, too: {LOCK} was removed from it while this run went on. This run "
                "ends; what it saved is intact. Let the other one go on, or stop it and start this one again."
            )
        if not (directory / RUN_SETTINGS).exists():
            raise UserError(
                f"{directory} was moved, deleted or replaced while this run worked there: it has no {RUN_SETTINGS}. "
                "Put the directory back; the same command continues from its newest checkpoint."
            )


def still_claimed(lock: OutputLock | None) -> list[StillClaimed]:
    """What watches over the claim; nothing in a worker that has none."""
    return [] if lock is None else [StillClaimed(lock)]


def check_known(directory: Path, known: Mapping[str, Mapping[str, object]]) -> None:
    """Raises UserError as `claim_output_dir` for what is `known` of a run's identity before it is claimed."""
    _raise_for(directory, known_differences(directory, known))


def known_differences(directory: Path, known: Mapping[str, Mapping[str, object]]) -> list[str]:
    """What differs between the run in `directory` and what is `known` of another one's identity, each as one phrase.

    Of each part, a setting that was once constant and is not among `known` has that value.
    """
    path = directory / RUN_SETTINGS
    if not _holds_work(directory) or not path.exists():
        return []
    found = _read(path)
    differing: list[str] = []
    for part in known.keys() & found.keys():
        rest = {name: value for name, value in found[part].items() if name not in ONCE_CONSTANT}
        differing += differences(found[part], {**rest, **known[part]})
    return sorted(differing)


def recorded_training(directory: Path) -> Mapping[str, object]:
    """What is recorded of the training in `directory`, also before it is claimed.

    Empty where nothing of a run is kept. So it is where the record cannot be read, which `claim_output_dir` reports.
    """
    return _recorded(directory).get("training", {})


def recorded_cuts(directory: Path) -> list[str]:
    """The splits whose long texts the run in `directory` cuts, if there are any: it began before they were split."""
    found = _recorded(directory)
    return [split for split, part in PARTS.items() if part in found and WINDOWS not in found[part]]


def record_windows(directory: Path, splits: Iterable[str]) -> None:
    """Writes into the record of the claimed `directory` that long texts of `splits` are read in windows."""
    path = directory / RUN_SETTINGS
    found = _read(path)
    parts = {
        part: {**found[part], WINDOWS: WINDOWS_VERSION} for split in splits if (part := PARTS.get(split, "")) in found
    }
    if any(found[part] != recorded for part, recorded in parts.items()):
        _write(path, {**found, **parts})


def _recorded(directory: Path) -> dict[str, dict[str, object]]:
    path = directory / RUN_SETTINGS
    try:
        return _read(path) if _holds_work(directory) and path.exists() else {}
    except (OSError, UserError):
        return {}


def record_scoring(directory: Path, scoring: Mapping[str, Any]) -> None:
    """Writes into the record of the training in the claimed `directory` how it is scored, if that says nothing of it.

    So later calls compare it, whoever began the run: an earlier version, or a call with the default.
    """
    if not scoring:
        return
    path = directory / RUN_SETTINGS
    found = _read(path)
    training = found.get("training", {})
    if training and SCORING not in training:
        _write(path, {**found, "training": {**training, SCORING: dict(scoring)}})


def counts_steps_exactly(directory: Path) -> bool:
    """Whether the training in the claimed `directory` counts its epochs without a rounding error; then it says so.

    Only one that an earlier version began does not: it keeps its number of steps.
    """
    path = directory / RUN_SETTINGS
    found = _read(path)
    if EXACT_STEPS in found["training"]:
        return True
    if next(directory.glob("model.ckpt-*.index"), None):
        logging.info("Epochs are counted as when the run in %s began: a rounding error adds a step.", directory)
        return False
    _write(path, {**found, "training": {**found["training"], EXACT_STEPS: True}})
    return True


def recorded_packing(directory: Path) -> tuple[int, float]:
    """The packing that training in the claimed `directory` began with: its version and `row_shapes.shape_cost`.

    Raises UserError where it is none of this program's.
    """
    path = directory / RUN_SETTINGS
    training: Mapping[str, Any] = _read(path)["training"]
    version, cost = training.get(PACKING_VERSION, 1), training.get(SHAPE_COST, 0)
    if type(version) is not int or version not in PACKINGS:
        raise UserError(
            f"{path} has {PACKING_VERSION} {short_repr(version)}, this program has {', '.join(map(str, PACKINGS))}: "
            "continue with the program that began the run, or choose another `output_dir`"
        )
    if version >= _WITH_SHAPE_COST and SHAPE_COST not in training:
        raise UserError(
            f"{path} has {PACKING_VERSION} {version} without {SHAPE_COST}, which a run of that version records: put "
            "it back, or choose another `output_dir`"
        )
    if type(cost) not in (int, float) or not 0 <= cost <= sys.float_info.max:
        raise UserError(
            f"{path} has {SHAPE_COST} {short_repr(cost)}, not a number from 0 on: put back what it was, or choose "
            "another `output_dir`"
        )
    return version, cost


def _claim(directory: Path, identity: Mapping[str, Mapping[str, object]]) -> None:
    path = directory / RUN_SETTINGS
    found = {}
    if _holds_work(directory):
        if not path.exists():
            raise UserError(
                f"`output_dir`={directory} holds checkpoints or results, but no {RUN_SETTINGS} with their settings. "
                "Choose another `output_dir`; `init_checkpoint` reads a model from where it is."
            )
        found = _read(path)
    identity = _with_windows(_as_begun(identity, found), found)
    parts = [part for part in identity if part in found]
    _raise_for(directory, (line for part in parts for line in differences(found[part], identity[part])))
    finish_texts(directory)
    delete_leftovers(directory)
    claimed = {**found, **identity}
    if claimed != found:
        _write(path, claimed)


def _raise_for(directory: Path, differing: Iterable[str]) -> None:
    if differing := dict.fromkeys(differing):
        raise UserError(
            f"`output_dir`={directory} holds another run: {'; '.join(differing)}. Choose another `output_dir`, repeat "
            "that run's settings, or add `overwrite_output_dir` to move it aside."
        )


def _write(path: Path, claimed: Mapping[str, object]) -> None:
    write_text(path, json.dumps(claimed, indent=2, sort_keys=True) + "\n")


def _as_begun(identity: Mapping[str, Mapping[str, object]], found: Mapping[str, Mapping[str, object]]) -> dict:
    """`identity` with the packing that the training in `found` began with, and without what that does not say."""
    if "training" not in identity:
        return _with_rows_of_training(identity, found)
    if "training" not in found:
        return dict(identity)
    training, recorded = dict(identity["training"]), found["training"]
    for later in (INIT_WEIGHTS, SCORING):
        if later not in recorded:
            training.pop(later, None)
    training |= {name: value for name, value in recorded.items() if name == EXACT_STEPS}
    if PACKING_VERSION in training:
        packing = (PACKING_VERSION, SHAPE_COST)
        training = {name: value for name, value in training.items() if name not in packing}
        training |= {name: value for name, value in recorded.items() if name in packing}
    return {**identity, "training": training}


def _with_windows(identity: Mapping[str, Mapping[str, object]], found: Mapping[str, Mapping[str, object]]) -> dict:
    """`identity` with windows where `found` has some: whether there are any is known when texts are read."""
    recorded = [part for part in PARTS.values() if WINDOWS in found.get(part, {})]
    ours = {WINDOWS: WINDOWS_VERSION}
    return {part: {**values, **ours} if part in recorded else values for part, values in identity.items()}


def _with_rows_of_training(
    identity: Mapping[str, Mapping[str, object]], found: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, object]]:
    """Where only rows to evaluate on are chosen, all other choices are those of the training in `found`, if any."""
    chosen: Mapping[str, Any] = identity.get(ROWS, {})
    if chosen.keys() != {HOLD_OUT, SAMPLES}:
        return dict(identity)
    rest = {name: part for name, part in identity.items() if name != ROWS}
    trained = found.get(ROWS, {})
    if not isinstance(trained.get(SAMPLES), dict):
        return rest
    of_training = {split: count for split, count in trained[SAMPLES].items() if split != "dev"}
    return {**rest, ROWS: {**trained, **chosen, SAMPLES: of_training | chosen[SAMPLES]}}


def _holds_work(directory: Path) -> bool:
    return any(next(directory.glob(pattern), None) for pattern in _WORK)


def _read(path: Path) -> dict[str, dict[str, object]]:
    try:
        found = parse_json(read_regular(path))
        if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
            raise ValueError("it does not hold the settings of a run")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): choose another `output_dir` or add `overwrite_output_dir`"
        ) from error
    return found


def _check_may_move(settings: Settings, source_files: Iterable[Path]) -> None:
    """Raises UserError if what this run reads, or the working directory, would move away with the output directory."""
    data, model = settings.data, settings.model
    needed = (Path.cwd(), *data.paths(), *source_files, model.albert_config_file, model.init_checkpoint)
    for path in needed:
        if path and path.resolve().is_relative_to(settings.output_dir.resolve()):
            raise UserError(
                f"`overwrite_output_dir` would move `output_dir`={settings.output_dir} aside, and with it {path}, "
                "which this run needs. Choose another `output_dir`."
            )


def _moved_aside(lock: Claim) -> Claim:
    """Renames the directory, unless it is empty; the lock of the new, empty one.

    Where the directory is a link, that is the one it names: what is new belongs on the same disk.
    """
    directory, number = lock.directory.resolve() if lock.directory.is_symlink() else lock.directory, 1
    if [file.name for file in directory.iterdir()] == [LOCK]:
        return lock
    while (target := directory.with_name(f"{directory.name}.old-{number}")).exists():
        number += 1
    try:
        directory.rename(target)
    except OSError as error:
        raise UserError(f"cannot move `output_dir`={directory} aside to {target}: {error.strerror}") from error
    lock.follow(target)
    lock.release()
    logging.info("Moved %s aside to %s.", directory, target)
    return Claim(directory, target)
