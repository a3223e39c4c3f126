"""A folder in which TensorFlow keeps the code that XLA compiled, for the next process to load. No TensorFlow.

TensorFlow looks an entry up by the program that is compiled. What else decides the code is not part of its key: its own
version, the processor, how many cores the process may use, the GPUs and their driver, the compiler's options. So each
combination of these has a folder of its own.
"""

import atexit
import contextlib
import hashlib
import json
import logging
import os
import platform
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from albert.errors import UserError
from albert.system.compiler_options import compiler_options
from albert.system.files import write_text
from albert.system.imports import tensorflow_computes
from albert.system.printing import counted

_DIRECTORY = "--tf_xla_persistent_cache_directory="
_GPUS = Path("/proc/driver/nvidia")
_CPU = Path("/proc/cpuinfo")
# Lines of /proc/cpuinfo that are the same on every core and at any time.
_CPU_LINES = ("vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part")

_in_use: Path | None = None  # the folder of this process's entries


def use(folder: Path, deterministic: bool = False) -> None:
    """Makes this process load compiled code from `folder`, and keep there what it compiles.

    TensorFlow reads the environment when it first computes, and must not have done so yet.
    `deterministic`: whether the process makes TensorFlow repeat its bits, which decides what GPUs' code looks like.

    Raises:
      UserError: nothing can be written there.
    """
    entries = folder.absolute() / _key(deterministic)
    try:
        entries.mkdir(parents=True, exist_ok=True)
        _remove_damaged(entries)
    except OSError as error:
        raise UserError(
            f"`compilation_cache`={folder}: {error.strerror}. Set it to a folder that you may write to."
        ) from error
    if not os.access(entries, os.W_OK):
        raise UserError(f"`compilation_cache`={folder} is not writable. Set it to a folder that you may write to.")
    os.environ["TF_XLA_FLAGS"] = " ".join(map(_as_tensorflow_reads, [*_other_flags(), f"{_DIRECTORY}{entries}"]))
    global _in_use
    _in_use = entries
    # What a killed process left has its digest from the next start on.
    atexit.register(_add_digests, entries)
    # TensorFlow reads each entry as text first, and reports as an error (level 2) that it is none.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def use_if_new(folder: Path, deterministic: bool = False) -> None:
    """The same in a process that may have computed already, which is right if it was with this folder.

    Raises UserError where it was not, and as `use` does.
    """
    if not tensorflow_computes():
        use(folder, deterministic)
    elif folder.absolute() / _key(deterministic) != _in_use:
        raise UserError(
            f"`compilation_cache`={folder}: TensorFlow computes in this process already, and takes a folder before it "
            "does. Restart the process, in a notebook the kernel, and begin with this run, or leave the folder out."
        )


def as_user_error(folder: Path, error: Exception) -> UserError | None:
    """What to raise where `error` says that TensorFlow could not read or write an entry of `folder`; otherwise None."""
    if isinstance(error, UserError) or not type(error).__module__.startswith("tensorflow"):
        return None
    line = next((line for line in str(error).splitlines() if str(folder.absolute()) in line), None)
    if line is None:
        return None
    reason = line.rpartition("; ")[2].strip()
    return UserError(
        f"`compilation_cache`={folder}: {reason}. Free space, set it to another folder or leave it out; what was saved "
        "before is intact."
    )


def _key(deterministic: bool) -> str:
    """Names the folder of what this process compiles."""
    decides = {
        "machine": platform.machine(),
        "processor": sorted({line for line in _lines(_CPU) if line.startswith(_CPU_LINES)}),
        # The compiler divides a loop among them.
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": sorted(line for file in _GPUS.glob("gpus/*/information") for line in _lines(file) if "Model" in line),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "driver": [line for line in _lines(_GPUS / "version") if "NVRM" in line],
        "options": [*_other_flags(), compiler_options(), os.environ.get("TF_DETERMINISTIC_OPS", "")],
        "deterministic": deterministic,
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return f"tensorflow-{_tensorflow_version()}_{digest[:16]}"


def _other_flags() -> list[str]:
    """Those of TF_XLA_FLAGS, without the folder that a process which started this one has set."""
    flags = shlex.split(os.environ.get("TF_XLA_FLAGS", ""))
    return [flag for flag in flags if not flag.startswith(_DIRECTORY)]


def _as_tensorflow_reads(flag: str) -> str:
    """`flag` for TF_XLA_FLAGS, where only what follows the `=` may stand in quotes."""
    name, equals, value = flag.partition("=")
    if not equals or not set(value) & set(" \t\n\r\v\f'\"\\"):
        return flag
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


def _tensorflow_version() -> str:
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _remove_damaged(entries: Path) -> None:
    """Removes what is no whole entry, or not as it was written.

    TensorFlow moves an entry into place when it is written, so only a disk or a person damages one. But then it raises
    an error in the middle of a step, at every start; and it believes what is left of the code.
    """
    for digest in entries.glob("*.pb.sha256"):
        if not digest.with_suffix("").exists():
            digest.unlink(missing_ok=True)  # or the entry that comes in place of the one that was deleted is damaged
    damaged = [path for path in entries.glob("*.pb") if not _is_intact(path)]
    for path in damaged:
        path.unlink(missing_ok=True)
        _digest_path(path).unlink(missing_ok=True)
    if damaged:
        logging.warning("%s: compiled again, being damaged: %s.", entries, counted(len(damaged), "entr", "ies", "y"))
    _add_digests(entries)


def _is_intact(path: Path) -> bool:
    try:
        entry = path.read_bytes()
    except FileNotFoundError:
        return True  # a process that started at the same time has removed it
    if not _is_entry(entry, path.name):
        return False
    try:
        return _digest_path(path).read_text(errors="replace") == _digest(entry)
    except FileNotFoundError:
        return True


def _add_digests(entries: Path) -> None:
    """Writes the digest of every entry that has none beside it, as far as the disk lets it."""
    with contextlib.suppress(OSError, UserError):
        for path in entries.glob("*.pb"):
            if not _digest_path(path).exists():
                write_text(_digest_path(path), _digest(path.read_bytes()))


def _digest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digest(entry: bytes) -> str:
    return hashlib.sha256(entry).hexdigest()


def _is_entry(entry: bytes, name: str) -> bool:
    """Whether `entry` is an XlaSerializedCacheEntry of TensorFlow with its key (1), which is its name, and code (3)."""
    try:
        fields = _fields(entry)
        key = _fields(fields[1])
        words = [key[4].decode(), str(key.get(1, 0)), str(key.get(2, 0)), key[3].decode()]
        return bool(fields[3]) and name.startswith("__".join(words))
    except (DecodeError, KeyError, ValueError, TypeError, AttributeError):
        return False


def _fields(message: bytes) -> dict[int, Any]:
    """Values by number. Raises DecodeError where `message` is cut, and TypeError where it is none.

    TensorFlow keeps the message's description to itself; to one without fields all of them are unknown ones.
    """
    return {field.field_number: field.data for field in UnknownFieldSet(Empty.FromString(message))}
