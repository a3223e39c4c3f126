"""Where RACE's articles are: one a file, or one a line of all.txt; and what lies beside them."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from albert.errors import UserError
from albert.system.printing import counted
from albert.system.text_encoding import open_text, read_regular
from albert.tasks.base import Split

_LOG = logging.getLogger(__name__)

MERGED = "all.txt"
_LIKE_ARTICLES = (".txt", ".json", ".jsonl", ".txt.gz")


def race_folder(data_dir: Path, split: Split) -> Path:
    """`data_dir`/RACE, or `data_dir` where that is RACE's own folder."""
    inside = data_dir / "RACE"
    return data_dir if not inside.is_dir() and (data_dir / split).is_dir() else inside


def text_files(folder: Path) -> tuple[tuple[Path, ...], Path | None]:
    """The files of one article each in the order of their numbers, and all.txt if it is there.

    Names that begin with a dot are none of them: archives made on a Mac hold a "._1.txt" beside each "1.txt".
    """
    try:
        paths = [path for path in folder.iterdir() if path.suffix == ".txt" and not path.name.startswith(".")]
    except FileNotFoundError:
        return (), None
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from error
    singles = tuple(sorted((path for path in paths if path.name != MERGED), key=_file_order))
    return singles, folder / MERGED if len(singles) < len(paths) else None


def warn_of_unread(folder: Path, files: Mapping[str, tuple[Path, ...]]) -> None:
    """Warns of what lies in the folder of a split and looks like articles, but is not read."""
    beside = [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__MACOSX"))]
    levels = [path.name for path in beside if path.is_dir() and path.name not in files and any(text_files(path))]
    if levels:
        _LOG.warning("%s: not read: %s. Read is: %s", folder, ", ".join(levels), ", ".join(files))
    in_no_level = [path.name for path in beside if path.suffix == ".txt"]
    if in_no_level:
        unread = counted(len(in_no_level), "file"), in_no_level[0]
        _LOG.warning("%s: not read, being in no level's folder: %s, as %s", folder, *unread)
    for level in files:
        names = [path.name for path in sorted((folder / level).iterdir()) if not path.name.startswith(".")]
        other = [name for name in names if name.lower().endswith(_LIKE_ARTICLES) and not name.endswith(".txt")]
        if other:
            unread = counted(len(other), "file"), other[0]
            _LOG.warning("%s: not read, not being called .txt: %s, as %s", folder / level, *unread)


def _file_order(path: Path) -> tuple[float, str]:
    return (int(path.stem) if path.stem.isdecimal() else math.inf), path.name


def documents(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """(place for messages, JSON) of every article: each line that is not blank, or a whole file."""
    for path in paths:
        try:
            if path.name != MERGED and path.suffix != ".jsonl":
                yield str(path), read_regular(path)
                continue
            with open_text(path) as file:
                for line, data in enumerate(file, start=1):
                    if data.strip():
                        yield f"{path}, line {line}", data
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _files_beside(path: Path) -> int:
    """How many files of one article lie unread beside an all.txt."""
    return len(text_files(path.parent)[0]) if path.name == MERGED else 0


def remedy(path: Path) -> str:
    """What to do about a file that cannot be used."""
    num_files = _files_beside(path)
    if num_files:
        return f"correct it, or remove {MERGED} to have the {num_files} files beside it read instead"
    return "correct it or fetch it again"


def compare_with_single_files(path: Path, num_articles: int) -> None:
    """Warns where an all.txt, perhaps a half-written one, holds another number of articles than lie beside it."""
    num_files = _files_beside(path)
    if num_files not in (0, num_articles):
        _LOG.warning(
            "%s holds %s and is read, not what is beside it: %s. Remove it to have them read instead.",
            *(path, counted(num_articles, "article"), counted(num_files, "file")),
        )
