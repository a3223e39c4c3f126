"""Which rows of one's own files are in which split, for tasks of every kind of own data. No TensorFlow."""

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from albert.data.source_files import FileState
from albert.errors import UserError
from albert.tasks.base import Split
from albert.tasks.own.selection import HoldOut, sampled
from albert.tasks.own.settings import OwnDataSettings
from albert.tasks.rows import RowTally


class RowFile(Protocol):
    """A file of rows."""

    @property
    def path(self) -> Path:
        """Where it is."""

    def rows(self, tally: RowTally, chosen: bytes | None = None) -> Iterator[Any]:
        """Its rows, one by one; where `chosen` is given, those that it has a 1 for.

        Raises UserError naming file and line.
        """


F = TypeVar("F", bound=RowFile)


@dataclasses.dataclass(frozen=True)
class Part(Generic[F]):
    """The rows of one split: all of a file, or those that are held out of it, or the others; of these a sample.

    `state` is that of the file when its rows were looked at, `num_examples` how many of them are in the split, and
    `chosen` has a 1 for each of them, a 0 for each other row; None: all are. `is_sample`: not all that could be.
    """

    file: F
    state: FileState
    num_examples: int
    chosen: bytes | None = None
    is_sample: bool = False


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
        part = self.parts[split]
        if FileState.of(path) != part.state:
            raise UserError(f"{path} was changed since its rows were counted. Start again.")
        return part.file.rows(RowTally(path), part.chosen)

    def num_items(self, split: Split) -> int | None:
        """How many rows a split has."""
        return self.parts[split].num_examples if split in self.parts else None

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the records depend on; see `Task`."""

    def identity_of_choice(self) -> dict[str, Any]:
        """The part of the identity that says which rows are chosen."""
        return {
            "hold_out": self.hold_out and self.hold_out.identity(),
            "samples": {split: part.num_examples for split, part in self.parts.items() if part.is_sample},
            "seed": self.seed if any(part.is_sample for part in self.parts.values()) else None,
        }

    def identity_of_rows(self) -> dict[str, Any]:
        """The columns, labels and rows of training; without it the choice of rows to evaluate on, if there are any."""
        identity = self.identity()
        samples = {split: count for split, count in identity["samples"].items() if split != "test"}
        if "train" not in self.parts:
            return {"hold_out": None, "samples": samples} if "dev" in self.parts else {}
        return {name: value for name, value in identity.items() if name not in ("name", "seed")} | {"samples": samples}


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
    members: np.ndarray,
    settings: OwnDataSettings,
) -> Part[F]:
    """The part of `file` that is `split`: its `members` (bool [rows]), or as many of them as `settings` want.

    `fingerprints` are those of all rows, uint64.
    """
    counts = {
        "train": settings.max_train_samples,
        "dev": settings.max_eval_samples,
        "test": settings.max_predict_samples,
    }
    chosen = sampled(fingerprints, members, counts[split])
    number = int(chosen.sum())
    return Part(file, state, number, None if chosen.all() else chosen.tobytes(), number < int(members.sum()))
