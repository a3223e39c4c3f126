"""Checksums of files that nobody publishes one for: recorded when a file is first fetched, binding from then on."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from albert.downloads.dataset import RemoteFile
from albert.errors import UserError
from albert.system.files import write_text
from albert.system.json_text import parse_json
from albert.system.text_encoding import read_regular

FILE_NAME = "download.lock.json"


def bind(files: Iterable[RemoteFile], folder: Path) -> list[RemoteFile]:
    """The files, those without a checksum with the one recorded in `folder`, if any.

    Raises UserError when the record cannot be read.
    """
    path = folder / FILE_NAME
    recorded = _read(path)
    origin = f"recorded in {path} when it was first fetched; delete its entry to accept another"
    return [
        dataclasses.replace(file, **recorded[file.name], origin=origin)
        if not file.has_checksum and file.name in recorded
        else file
        for file in files
    ]


def record(files: Iterable[RemoteFile], folder: Path) -> None:
    """Adds the size and checksum of each of the fetched `files` to the record in `folder`."""
    path = folder / FILE_NAME
    recorded = _read(path)
    recorded |= {file.name: {"num_bytes": file.num_bytes, "sha256": file.sha256} for file in files}
    write_text(path, json.dumps(recorded, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, dict]:
    try:
        recorded = parse_json(read_regular(path))
        return {
            str(name): {"num_bytes": int(entry["num_bytes"]), "sha256": str(entry["sha256"]).lower()}
            for name, entry in recorded.items()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise UserError(
            f"{path} is damaged: it maps file names to num_bytes and sha256. Correct or delete it."
        ) from None
