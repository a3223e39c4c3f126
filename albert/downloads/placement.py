"""From fetched files to a folder in its place: whole or not at all, and never over something that is there.

Owns the record `.<name>.download.json` in the folder, which says what was put there, and the working folder
`.<name>.download` beside it, which holds what is not finished.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from albert.downloads.addresses import shown
from albert.downloads.checksums import sha256_of
from albert.downloads.dataset import Dataset, DownloadError, RemoteFile
from albert.system.json_text import parse_json
from albert.system.text_encoding import read_regular


@dataclasses.dataclass(frozen=True, eq=False)
class Destination:
    """Where a data set belongs: in its folder below `root`."""

    dataset: Dataset
    root: Path

    @property
    def folder(self) -> Path:
        """What the user gets."""
        return self.root / self.dataset.folder

    @property
    def working_folder(self) -> Path:
        """Unfinished things; on the same disk, so that a rename makes them finished."""
        return self.root / f".{self.dataset.name}.download"

    @property
    def record_name(self) -> str:
        """The record's name in the folder; other data sets may share the folder."""
        return f".{self.dataset.name}.download.json"

    def look(self, verify: bool) -> str | None:
        """What can be said of the data set if it is there; None if it, or a part of it, is to be fetched.

        Raises DownloadError when what is there is not what was put there; `verify` compares checksums, too.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise DownloadError(f"{self.folder} is a file, and a folder is to be there: move it away")
        files = self._recorded_files()
        self._refuse_other_kinds({*self.dataset.expected, *(files or ())})
        if files is None:
            return self._look_at_others(verify)
        changed = [
            name for name, known in files.items() if self._differs(name, known["bytes"], known["sha256"], verify)
        ]
        self._refuse_changed(changed)
        if not all((self.folder / name).exists() for name in files):
            return None
        return "checksums right" if verify else ""

    def fill(self, fetched: Mapping[str, RemoteFile], paths: Mapping[str, Path]) -> list[str]:
        """Builds the data set from the files at `paths` and puts it in place; returns remarks for the user.

        Raises DownloadError when the files are not such a data set, OSError when the folder cannot be written to.
        """
        staging = self.working_folder / "unpacked"
        if staging.exists():  # an earlier call was stopped
            shutil.rmtree(staging)
        staging.mkdir(parents=True)
        try:
            content, remarks = self.dataset.build(paths, staging)
            if missing := self.dataset.lacks(content):
                raise DownloadError(f"what was fetched does not hold {', '.join(missing)}, or nothing in it")
            files = {name: _size_and_digest(content / name) for name in _file_names(content)}
            remarks += self._put(content, files, fetched)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self.clean_up()
        return remarks

    @property
    def has_unfinished(self) -> bool:
        """Whether something has arrived that a later call continues with."""
        return self.working_folder.is_dir() and any(self.working_folder.iterdir())

    def clean_up(self) -> None:
        """Removes what is unfinished."""
        shutil.rmtree(self.working_folder, ignore_errors=True)

    def _put(self, content: Path, files: dict[str, Any], fetched: Mapping[str, RemoteFile]) -> list[str]:
        sources = [{**dataclasses.asdict(file), "url": shown(file.url)} for file in fetched.values()]
        if not self.folder.exists():
            self._write_record(content, sources, files)
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            content.rename(self.folder)
            return []
        kept = []
        for name in list(files):
            target = self.folder / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                (content / name).rename(target)
            elif not target.is_file() or _size_and_digest(target) != files[name]:
                kept.append(name)
                del files[name]
        self._write_record(content, sources, files)
        (content / self.record_name).replace(self.folder / self.record_name)
        return [f"left your own {', '.join(kept)} as it was"] if kept else []

    def _write_record(self, folder: Path, sources: list[dict], files: dict[str, Any]) -> None:
        record = {"sources": sources, "files": files}
        (folder / self.record_name).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def _recorded_files(self) -> dict[str, Any] | None:
        """File name -> bytes and sha256; None where nothing was put, or the record is damaged."""
        try:
            files = parse_json(read_regular(self.folder / self.record_name))["files"]
            return {
                name: {"bytes": int(known["bytes"]), "sha256": str(known["sha256"])} for name, known in files.items()
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
            return None

    def _look_at_others(self, verify: bool) -> str | None:
        """Looks at a folder that somebody else has filled, or is not there."""
        official = self.dataset.official
        self._refuse_changed(
            [name for name, file in official.items() if self._differs(name, file.num_bytes, file.sha256, verify)]
        )
        if self.dataset.lacks(self.folder):
            return None
        return "" if official else "not put there by this program, so not checked"

    def _differs(self, name: str, num_bytes: int | None, sha256: str | None, verify: bool) -> bool:
        path = self.folder / name
        if not path.exists():
            return False
        if path.stat().st_size != num_bytes:
            return True
        return verify and _size_and_digest(path)["sha256"] != sha256

    def _refuse_other_kinds(self, names: Iterable[str]) -> None:
        """A folder, a pipe or a device where a file is to be, a file in place of a folder, or one without content."""
        for name in sorted(names):
            path, wanted = self.folder / name, "folder" if name.endswith("/") else "file"
            if path.exists() and not (path.is_dir() if wanted == "folder" else path.is_file()):
                raise DownloadError(f"{path} is to be a {wanted}, and is something else: move it away")
            if name in self.dataset.expected and wanted == "file" and path.exists() and not path.stat().st_size:
                raise DownloadError(f"{path} is empty: delete it to have it fetched")

    def _refuse_changed(self, names: list[str]) -> None:
        if names:
            some = ", ".join(str(self.folder / name) for name in names[:3])
            raise DownloadError(
                f"{some}{' and more' if len(names) > 3 else ''}: not as it was downloaded, left as it is. Move it away "
                "to fetch it again"
            )


def _file_names(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())


def _size_and_digest(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
