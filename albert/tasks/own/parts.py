"""Which rows of one's own files are in which split, for tasks of every kind of own data. No TensorFlow."""

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from albert.data.source_files import FileState
from albert.errors import UserError
from albert.tasks.base import Split
from albert.tasks.own.selection import HoldOut, Sample, Sampler, sample
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.own.survey import Fingerprints, Label
from albert.tasks.rows import RowTally


class RowFile(Protocol):
    """A file of rows."""

    @property
    def path(self) -> Path:
        """Where it is."""

    def rows(self, tally: RowTally) -> Iterator[Any]:
        """Its rows, one by one. Raises UserError naming file and line."""


F = TypeVar("F", bound=RowFile)


@dataclasses.dataclass(frozen=True)
class Part(Generic[F]):
    """The rows of one split: all of a file, or those that are held out of it, or the others; of these a sample.

    `state` is that of the file when its rows were looked at, `num_examples` how many of them are in the split.
    """

    file: F
    state: FileState
    num_examples: int
    held_out: bool | None = None
    sample: Sample | None = None


class Keyed(NamedTuple):
    """What decides where a row belongs: its texts and what they are labelled with, and what is held out evenly of."""

    texts: Sequence[str]
    label: Label
    stratum: Label


class ChosenRows(abc.ABC):
    """The part of a task that is the same whatever the rows of its files hold.

    `seed` decides which rows are held out and sampled.
    """

    parts: Mapping[Split, Part[Any]]
    seed: int
    hold_out: HoldOut | None

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that there are files for."""
        return tuple(self.parts)

    def source_files(self, split: Split, data_dir: Path) -> tuple[Path, ...]:
        """The file of a split; held out rows are in that of train. Raises UserError where there is none."""
        if split not in self.parts:
            flag = {"train": "`train_file`", "dev": "`validation_file`", "test": "`test_file`"}[split]
            raise UserError(f"There are no own data for {split}: give {flag}.")
        return (self.parts[split].file.path,)

    def chosen_rows(self, split: Split, data_dir: Path) -> Iterator[Any]:
        """The rows of a split, one by one. Raises UserError naming file and line."""
        (path,) = self.source_files(split, data_dir)
        part, fingerprints = self.parts[split], Fingerprints(self.seed)
        if FileState.of(path) != part.state:
            raise UserError(f"{path} was changed since its rows were counted. Start again.")
        sampler = Sampler(part.sample)
        for row in part.file.rows(RowTally(path)):
            if part.held_out is not None or part.sample is not None:
                key = self.key_of(row)
                fingerprint = fingerprints.of(key.texts, key.label)
                if part.held_out is not None and self._is_held_out(key.stratum, fingerprint) != part.held_out:
                    continue
                if not sampler.takes(fingerprint):
                    continue
            yield row

    @abc.abstractmethod
    def key_of(self, row: Any) -> Keyed:
        """What decides about a row."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the records depend on; see `Task`."""

    def identity_of_choice(self) -> dict[str, Any]:
        """The part of the identity that says which rows are chosen."""
        return {
            "hold_out": self.hold_out and self.hold_out.identity(),
            "samples": {split: part.sample.count for split, part in self.parts.items() if part.sample},
            "seed": self.seed if any(part.sample for part in self.parts.values()) else None,
        }

    def identity_of_rows(self) -> dict[str, Any]:
        """The columns, labels and rows of training; without it the choice of rows to evaluate on, if there are any."""
        identity = self.identity()
        samples = {split: count for split, count in identity["samples"].items() if split != "test"}
        if "train" not in self.parts:
            return {"hold_out": None, "samples": samples} if "dev" in self.parts else {}
        return {name: value for name, value in identity.items() if name not in ("name", "seed")} | {"samples": samples}

    def _is_held_out(self, stratum: Label, fingerprint: int) -> bool:
        assert self.hold_out, "a part of a file needs a hold-out"
        return self.hold_out.holds(stratum, fingerprint)


def state_of(path: Path) -> FileState:
    """The state of a file before its rows are looked at. Raises UserError where it cannot be read."""
    try:
        return FileState.of(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def part_of_file(
    file: F,
    state: FileState,
    split: Split,
    fingerprints: np.ndarray,
    settings: OwnDataSettings,
    held: HoldOut | None,
) -> Part[F]:
    """The part of `file` that is `split`: the rows with these fingerprints (uint64), or as many as `settings` want."""
    counts = {
        "train": settings.max_train_samples,
        "dev": settings.max_eval_samples,
        "test": settings.max_predict_samples,
    }
    held_out = None if held is None or split == "test" else split == "dev"
    chosen = sample(fingerprints, counts[split])
    return Part(file, state, chosen.count if chosen else len(fingerprints), held_out, chosen)
