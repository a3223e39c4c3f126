"""One case of fuzzing: how it is made from (reader, seed, number), and what is held against a reader.

Knows no particular reader and no processes.
"""

import contextlib
import dataclasses
import fnmatch
import logging
import os
import random
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from albert.errors import UserError
from robustness.fuzz_mutations import BYTES, Mutator

# A longer message is not a line that a person reads.
_MAX_MESSAGE = 1000
_ONE_IN_PLACES = 50  # of so many cases one is about what is at a path, not about what is in a file


@dataclasses.dataclass(frozen=True)
class Seed:
    """Small valid input: file contents by path, and what else `Reader.read` and `Reader.count` need to know."""

    files: Mapping[str, bytes]
    options: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rows:
    """What became of rows: read, and reported as left out."""

    out: int
    reported: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reader:
    """One row of the table.

    Attributes:
      name: what --reader takes.
      seeds: makes the valid inputs; called once a process.
      read: (folder, warnings so far, *options) -> rows, None where nothing is counted. It may write to folder/"out" and
        nowhere else but where `writes` says. Raises one of `refusals`, or AssertionError for a result that is wrong.
      count: (folder, *options) -> rows that are in the files, counted in another way; asked when they were accepted.
      mutators: beside those of bytes.
      seal: makes checksums good again, after which damage can get behind them.
      line_based: a refusal names a line, unless it says what is wrong with the whole file in one of `about_the_whole`.
      writes: patterns of files in the folder that the reader keeps up to date.
    """

    name: str
    seeds: Callable[[], Sequence[Seed]]
    read: Callable[..., Rows | None]
    count: Callable[..., int] | None = None
    mutators: tuple[Mutator, ...] = ()
    seal: Callable[[dict[str, bytes]], dict[str, bytes]] | None = None
    refusals: tuple[type[Exception], ...] = (UserError,)
    line_based: bool = False
    about_the_whole: tuple[str, ...] = ("cannot be read", "is empty", "lacks")
    writes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Case:
    """The files of one case; `place` is what is at one of the paths instead of a file, if anything is."""

    seed: Seed
    files: Mapping[str, bytes]
    place: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What happened: "accepted", "refused" or a kind of fault, and what to show of it."""

    kind: str
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether a property was broken."""
        return self.kind not in ("accepted", "refused")


def make_case(reader: Reader, seeds: Sequence[Seed], seed: int, number: int) -> Case:
    """Case `number` of a reader: one of its seeds after one to four mutations. Case 0 to len(seeds) - 1 are the seeds.

    Says the same for the same arguments on every machine.
    """
    if number < len(seeds):
        return Case(seeds[number], seeds[number].files)
    rng = random.Random(f"{reader.name} {seed} {number}")
    chosen, other = rng.choice(seeds), rng.choice(seeds)
    files = dict(chosen.files)
    if rng.randrange(_ONE_IN_PLACES) == 0:
        return Case(chosen, files, (rng.choice(sorted(files)), rng.choice(tuple(_PLACES))))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        name = rng.choice(sorted(files))
        donor = other.files.get(name) or rng.choice(list(other.files.values()))
        files[name] = rng.choice((*BYTES, *reader.mutators))(rng, files[name], donor)
    if reader.seal and rng.random() < 0.7:
        files = reader.seal(files)
    return Case(chosen, files)


def write_case(case: Case, folder: Path) -> None:
    """Puts the files of a case into `folder`."""
    for name, data in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if case.place:
        name, place = case.place
        _PLACES[place](folder / name)


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link_instead(target: str) -> Callable[[Path], None]:
    def place(path: Path) -> None:
        path.unlink()
        path.symlink_to(target.format(name=path.name))

    return place


_PLACES: Mapping[str, Callable[[Path], None]] = {
    "folder": _folder_instead,
    "nothing": Path.unlink,
    "dangling link": _link_instead("nowhere"),
    "circle of links": _link_instead("{name}"),
    "unreadable": lambda path: path.chmod(0),
    "pipe": _pipe_instead,
    "device": _link_instead("/dev/zero"),
}


# --- Judging ----------------------------------------------------------------------------------------------------------


class _Warnings(logging.Handler):
    """Keeps every message of a warning or worse."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    handler, root = _Warnings(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.messages
    finally:
        root.removeHandler(handler)


def judge(reader: Reader, case: Case, sandbox: Path) -> Verdict:
    """Has the case read in a fresh folder of `sandbox` and looks for broken properties.

    Beside the folder lies another one that no reader has any business in.
    """
    folder, outside = sandbox / "case", sandbox / "outside"
    for path in (folder, outside):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    (outside / "precious.txt").write_text("precious\n")
    write_case(case, folder)
    (folder / "out").mkdir(exist_ok=True)
    before = _listing(sandbox, reader)
    verdict = _read_and_judge(reader, case, folder)
    changed = before ^ _listing(sandbox, reader)
    if changed and not verdict.is_fault:
        return Verdict("writes outside", f"changed: {sorted({entry[0] for entry in changed})[:5]}")
    return verdict


def _read_and_judge(reader: Reader, case: Case, folder: Path) -> Verdict:
    with _warnings() as messages:
        try:
            rows = reader.read(folder, messages, *case.seed.options)
        except reader.refusals as error:
            fault = _fault_of_message(reader, case, str(error))
            return Verdict("bad message", f"{fault}: {str(error)[:_MAX_MESSAGE]}") if fault else Verdict("refused")
        except MemoryError:
            return Verdict("memory", traceback.format_exc())
        except AssertionError:
            return Verdict("wrong result", traceback.format_exc())
        except Exception:
            return Verdict("traceback", traceback.format_exc())
    if rows is not None and reader.count:
        present = reader.count(folder, *case.seed.options)
        if present != rows.out + rows.reported:
            return Verdict("rows lost", f"{present} in the files, {rows.out} read, {rows.reported} reported")
    return Verdict("accepted")


def _fault_of_message(reader: Reader, case: Case, message: str) -> str | None:
    if len(message) > _MAX_MESSAGE:
        return f"{len(message)} characters"
    if not any(Path(name).name in message or str(Path(name).parent) in message for name in case.files):
        return "names no file"
    if reader.line_based and "line " not in message and not any(part in message for part in reader.about_the_whole):
        return "names no line"
    return None


def _listing(sandbox: Path, reader: Reader) -> set[tuple[Any, ...]]:
    """Everything in the sandbox but in case/out: path, kind, size and time of change; without what may change."""
    found = set()
    for root, folders, files in os.walk(sandbox):
        if Path(root) == sandbox / "case":
            folders[:] = [name for name in folders if name != "out"]
        for name in (*folders, *files):
            path = Path(root, name)
            if any(fnmatch.fnmatch(name, pattern) for pattern in (*reader.writes, "stderr")):
                continue
            status = path.lstat()
            facts = () if name in folders else (status.st_size, status.st_mtime_ns)
            found.add((str(path.relative_to(sandbox)), status.st_mode, *facts))
    return found
