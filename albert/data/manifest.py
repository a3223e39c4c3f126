"""The JSON file beside a file of records that says what made it and what it holds."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert.system.json_text import parse_json
from albert.system.text_encoding import read_regular

_CHECKSUM = "manifest_sha256"


class ManifestError(Exception):
    """A manifest that cannot be used; the message says why, with "it" for the manifest's file."""


def manifest_path(path: Path) -> Path:
    """Where the manifest of the file at `path` is."""
    return path.with_name(path.name + ".json")


def canonical(value: Any) -> bytes:
    """`value` as the only JSON text for it: what digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The text of a manifest, with a checksum of its own."""
    return json.dumps({**manifest, _CHECKSUM: hashlib.sha256(canonical(manifest)).hexdigest()}).encode()


def read(path: Path) -> dict[str, Any]:
    """The manifest in the file `path`, whose checksum is right. Raises ManifestError."""
    try:
        manifest = parse_json(read_regular(path))
    except FileNotFoundError as error:
        raise ManifestError("is missing") from error
    except OSError as error:
        raise ManifestError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ManifestError("is not JSON") from error
    checksum = manifest.pop(_CHECKSUM, None) if isinstance(manifest, dict) else None
    try:
        is_whole = checksum == hashlib.sha256(canonical(manifest)).hexdigest()
    except (ValueError, RecursionError):  # with NaN, or deeper than can be written
        is_whole = False
    if not is_whole or not isinstance(manifest, dict):
        raise ManifestError("is damaged")
    return manifest
