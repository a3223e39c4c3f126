"""The checkpoints of one run: which there are, which can be used, which are kept, and which is the best.

Owns the names `model.ckpt-<step>` and `model.ckpt-best` in one directory, and what happens when some are damaged. A
state is arrays by name, with the step under `checkpoint_files.GLOBAL_STEP`.
"""

import logging
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from albert.engine import checkpoint_files
from albert.engine.checkpoint_files import DamagedCheckpoint
from albert.errors import UserError

State = dict[str, np.ndarray]
BEST = "best"


class CheckpointStore:
    """The checkpoints in `directory`. Retention keeps the newest `keep_max` (0: all) and the best."""

    def __init__(self, directory: Path, keep_max: int):
        self._directory = directory
        self._keep_max = keep_max

    def path(self, step: int | str) -> Path:
        """Prefix of the checkpoint after `step` updates, or of "best"."""
        return self._directory / f"model.ckpt-{step}"

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return [step for step in self._traces() if checkpoint_files.exists(self.path(step))]

    def _traces(self) -> list[int]:
        """Steps with at least one file, ascending."""
        found = (re.match(r"model\.ckpt-(\d+)\.(index|data-)", p.name) for p in self._directory.glob("model.ckpt-*"))
        steps = {int(match.group(1)) for match in found if match}
        return sorted(step for step in steps if checkpoint_files.has_traces(self.path(step)))

    # Writing ----------------------------------------------------------------------------------------------------------

    def save(self, step: int, state: Mapping[str, object], is_due: Callable[[int], bool]) -> None:
        """Saves `state` and removes what is no longer kept.

        A checkpoint that a stop saved between two due steps does not count for `keep_max`; the next save removes it. It
        also removes those of later steps: a run that resumed before them could not use them, and recomputes them.
        """
        checkpoint_files.save(self.path(step), state)
        self._keep_newest(step, is_due)

    def finish_save(self, step: int, is_due: Callable[[int], bool]) -> None:
        """Completes a save that a kill interrupted after the checkpoint of `step`, the newest, was written.

        After a complete save this removes nothing, even if `keep_max` is smaller by now.
        """
        named = checkpoint_files.read_state(self._directory)
        if self.path(step).name not in named:
            self._keep_newest(step, is_due)
        else:
            self._delete_all_but(named)

    def _keep_newest(self, step: int, is_due: Callable[[int], bool]) -> None:
        due = [kept for kept in self.steps if is_due(kept) and kept <= step]
        # A maximum of 0 keeps all: [-0:] is the whole list.
        kept = [self.path(each).name for each in sorted({*due[-self._keep_max :], step})]
        checkpoint_files.write_state(self._directory, kept)
        self._delete_all_but(kept)

    def _delete_all_but(self, names: Collection[str]) -> None:
        for prefix in map(self.path, self._traces()):
            if prefix.name not in names:
                checkpoint_files.delete(prefix)

    def keep_as_best(self, step: int) -> None:
        """Makes `model.ckpt-best` a copy of the checkpoint of `step`."""
        checkpoint_files.copy(self.path(step), self.path(BEST))

    def name_best_by_step(self) -> None:
        """Gives `model.ckpt-best` the name of its step as well, if no checkpoint has that.

        Where nothing says how it scored, another would otherwise take its place before the two are compared.
        """
        try:
            with checkpoint_files.open_checkpoint(self.path(BEST)) as reader:
                step = int(reader.get_tensor(checkpoint_files.GLOBAL_STEP))
        except UserError:  # missing, or damaged
            return
        if not checkpoint_files.exists(self.path(step)):
            checkpoint_files.copy(self.path(BEST), self.path(step))

    # Reading ----------------------------------------------------------------------------------------------------------

    def load_to_resume(self, best_step: int | None) -> tuple[Path, State] | None:
        """The checkpoint from which training resumes, and its state; None where there never was one.

        The newest that is not damaged; the log names those that are. `model.ckpt-best`, which is as good as any, is the
        last resort. The best model so far, that of `best_step`, must not get lost: where it is damaged too, training
        resumes from a checkpoint before it and recomputes it.

        Raises UserError, naming all, where there are checkpoints but none will do. Then nothing was changed.
        """
        checkpoint_files.clean_up(self._directory)
        problems: dict[Path, str] = {}
        has_best = best_step is None or self._restore_best_copy(best_step, problems)
        limit = math.inf if has_best or best_step is None else best_step
        usable = [self.path(step) for step in reversed(self._traces()) if step < limit]
        for prefix in [*usable, *([self.path(BEST)] if has_best else [])]:
            state = self._try_to_load(prefix, problems)
            if state is not None:
                if prefix == self.path(BEST):  # to be evaluated and kept as the others are
                    checkpoint_files.copy(prefix, self.path(int(state[checkpoint_files.GLOBAL_STEP])))
                if problems:
                    logging.warning("Training resumes from %s; the steps after it are recomputed.", prefix)
                return prefix, state
        if self._traces() or checkpoint_files.has_traces(self.path(BEST)):
            raise self._nothing_to_resume(problems, None if has_best else best_step)
        return None

    def _restore_best_copy(self, best_step: int, problems: dict[Path, str]) -> bool:
        """Whether the model of `best_step` is in `model.ckpt-best`, into which it is copied again if need be."""
        if self._try_to_load(self.path(BEST), problems) is not None:
            return True
        if self._try_to_load(self.path(best_step), problems) is None:
            return False
        self.keep_as_best(best_step)
        del problems[self.path(BEST)]
        logging.warning("%s is copied again from %s.", self.path(BEST), self.path(best_step))
        return True

    def _nothing_to_resume(self, problems: Mapping[Path, str], lost_best: int | None) -> UserError:
        readable = [self.path(step).name for step in self._traces() if self.path(step) not in problems]
        advice = "Put back a copy of one, or train again with another `output_dir` or `overwrite_output_dir`."
        if readable:
            advice = (
                f"{', '.join(readable)} can be read, but the best model, that of step {lost_best}, is lost, and "
                "no checkpoint from before it is left to recompute it. To do without it, move evaluations.json away."
            )
        return UserError(f"no checkpoint in {self._directory} to continue from: {_summary(problems)}. {advice}")

    def load_best(self, best_step: int | None) -> tuple[Path, State] | None:
        """The state of the best model, that of `best_step` (None: nothing was evaluated); None without any checkpoint.

        That is `model.ckpt-best`, or the checkpoint that it is a copy of; without evaluations the newest. Raises
        UserError where these are damaged: the next best is never used instead. A warning says where `model.ckpt-best`
        is of another step, as a run leaves it that was killed after it chose a better model and before it noted that.
        """
        problems: dict[Path, str] = {}
        if best_step is None and not checkpoint_files.has_traces(self.path(BEST)):
            return self._load_newest()
        names = (BEST,) if best_step is None else (BEST, best_step)
        for name in names:
            state = self._try_to_load(self.path(name), problems)
            if state is None:
                continue
            step = int(state[checkpoint_files.GLOBAL_STEP])
            if best_step not in (None, step):
                logging.warning("%s is of step %d, not of step %d.", self.path(name), step, best_step)
            if name != BEST:
                logging.warning("Using %s instead, which model.ckpt-best is a copy of.", self.path(name))
            return self.path(name), state
        raise UserError(
            f"the best model in {self._directory} is lost: {_summary(problems)}. Put back a copy of it, or train on: "
            "it is recomputed if a checkpoint from before it is left."
        )

    def _load_newest(self) -> tuple[Path, State] | None:
        if not self._traces():
            return None
        prefix = self.path(self._traces()[-1])
        try:
            return prefix, checkpoint_files.load_tensors(prefix)
        except DamagedCheckpoint as error:
            raise UserError(f"{error}. Train on to have it recomputed, or remove it to use the one before.") from error

    def load_step(self, step: int) -> tuple[Path, State] | None:
        """The checkpoint of `step` updates and its state; None, with a warning, where it is damaged."""
        state = self._try_to_load(self.path(step), {})
        return None if state is None else (self.path(step), state)

    def _try_to_load(self, prefix: Path, problems: dict[Path, str]) -> State | None:
        """The state in the checkpoint; None where it is missing or damaged, which goes into `problems` and the log."""
        if prefix in problems:
            return None
        if not checkpoint_files.has_traces(prefix):
            problems[prefix] = "missing"
            return None
        try:
            return checkpoint_files.load_tensors(prefix)
        except DamagedCheckpoint as error:
            problems[prefix] = "incomplete" if not checkpoint_files.exists(prefix) else "damaged"
            logging.warning("%s", error)
            return None


def _summary(problems: Mapping[Path, str]) -> str:
    return ", ".join(f"{prefix.name} is {what}" for prefix, what in problems.items())
