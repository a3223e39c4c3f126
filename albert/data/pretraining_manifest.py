"""What `create_pretraining_data` says of a file of records, in JSON beside it. No TensorFlow.

With it a file is taken after its digest was compared, without parsing a record. Without it, as upstream's own program
and older versions of this one leave files, every record is parsed.
"""

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert.data import manifest
from albert.data.record_file import RecordWriter

_KIND, _FORMAT_VERSION = "pretraining records", 1


@dataclasses.dataclass(frozen=True)
class RecordsManifest:
    """What made a file of records, and what they are.

    Attributes:
      vocabulary: the tokenizer's digest.
      vocab_size: ids are below.
      max_seq_length: S, the positions of every record.
      predictions: P, the predictions that every record has room for.
      settings: what else the program was asked to do, by its flags' names.
      records, size, sha256: of the file.
    """

    vocabulary: str
    vocab_size: int
    max_seq_length: int
    predictions: int
    settings: Mapping[str, Any]
    records: int = 0
    size: int = 0
    sha256: str = ""

    def text_for(self, written: RecordWriter) -> bytes:
        """The text of the file beside the records `written`."""
        found = dataclasses.replace(self, records=written.count, size=written.size, sha256=written.sha256)
        return manifest.encode({"kind": _KIND, "format_version": _FORMAT_VERSION, **dataclasses.asdict(found)})

    @classmethod
    def read_beside(cls, path: Path) -> "RecordsManifest | None":
        """That of the file at `path`; None where there is none. Raises ManifestError where it cannot be used."""
        file = manifest.manifest_path(path)
        if not file.exists():
            return None
        contents = manifest.read(file)
        if contents.pop("kind", None) != _KIND or contents.pop("format_version", None) != _FORMAT_VERSION:
            raise manifest.ManifestError(f"is of another kind or version than {_FORMAT_VERSION}")
        types = {name: typing.get_origin(kind) or kind for name, kind in typing.get_type_hints(cls).items()}
        if contents.keys() != types.keys() or not all(isinstance(contents[name], types[name]) for name in types):
            raise manifest.ManifestError("has other entries")
        return cls(**contents)


def is_manifest(path: Path) -> bool:
    """Whether there is a manifest of records at `path`, and not another file with such a name."""
    try:
        return manifest.read(path).get("kind") == _KIND
    except manifest.ManifestError:
        return False


def without_manifests(paths: tuple[Path, ...]) -> list[Path]:
    """`paths` without the manifests of other ones among them, which a pattern such as "records*" matches too."""
    manifests = {manifest.manifest_path(path) for path in paths}
    return [path for path in paths if path not in manifests]
