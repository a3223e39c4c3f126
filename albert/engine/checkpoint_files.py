"""Reads and writes TF1 name-based checkpoints, the one format for interchange and for resuming.

Owns the files, which are written whole or not at all and validated before they are read; not what their entries mean.
A checkpoint is a prefix with two files, `<prefix>.index` and `<prefix>.data-00000-of-00001`;
`tf.train.load_checkpoint`, TensorFlow 1.15 and upstream's code read it.
"""

import contextlib
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert.engine.checkpoint_index import check_index
from albert.errors import UserError
from albert.system.files import advice_on, as_os_error, flush_to_disk, temporary_beside, write_text
from albert.system.text_encoding import read_regular

SUFFIXES = (".data-00000-of-00001", ".index")
GLOBAL_STEP = "global_step"
# In names of folders, what TensorFlow takes for a part of a pattern that does not stand for itself.
_PATTERN = re.compile(r"[\[\\]")
# Where TMPDIR is called so.
_PLAINLY_NAMED = ("/tmp", "/var/tmp", "/dev/shm")


class DamagedCheckpoint(UserError):
    """A checkpoint that is there, but lacks one of its files or cannot be read."""


def has_traces(prefix: Path) -> bool:
    """Whether at least one file of the checkpoint is there."""
    return any(Path(f"{prefix}{suffix}").is_file() for suffix in SUFFIXES)


def exists(prefix: Path) -> bool:
    """Whether both files of the checkpoint are there; the index is placed last, so this means complete."""
    return all(Path(f"{prefix}{suffix}").is_file() for suffix in SUFFIXES)


def load_tensors(prefix: Path) -> dict[str, np.ndarray]:
    """Every entry of the checkpoint. Raises UserError when it is missing, and DamagedCheckpoint when it is damaged."""
    with open_checkpoint(prefix) as reader:
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@contextlib.contextmanager
def open_checkpoint(prefix: Path) -> Iterator[Any]:
    """TensorFlow's reader of the checkpoint; its errors, those of reading entries too, become one line.

    Raises UserError when the checkpoint is missing, and DamagedCheckpoint when it is incomplete or cannot be read.
    """
    if not exists(prefix):
        missing = [f"{prefix}{suffix}" for suffix in SUFFIXES if not Path(f"{prefix}{suffix}").is_file()]
        kind = DamagedCheckpoint if has_traces(prefix) else UserError
        raise kind(
            f"checkpoint {prefix} is incomplete or missing: no {' and no '.join(missing)}. "
            "Give the prefix without .index; ./download_pretrained_models.sh fetches Google's models."
        )
    data, index = (Path(f"{prefix}{suffix}") for suffix in SUFFIXES)
    name = str(prefix)
    try:
        check_index(index, data.stat().st_size)
        with _plainly_named(prefix) as name:
            yield tf.train.load_checkpoint(name)
    # The reader's C++ errors come as built-in exceptions; a file that is too short is an IndexError.
    except (tf.errors.OpError, OSError, RuntimeError, ValueError, IndexError) as error:
        # Where there is no memory for what was read, as on a small GPU, the file is not damaged.
        if isinstance(error, UserError | tf.errors.ResourceExhaustedError):
            raise
        reason = str(error).splitlines()[0].replace(name, str(prefix))[:200] if str(error) else type(error).__name__
        raise DamagedCheckpoint(f"checkpoint {prefix} cannot be read, it may be damaged: {reason}") from error


@contextlib.contextmanager
def _plainly_named(prefix: Path) -> Iterator[str]:
    """A prefix of the same files that TensorFlow finds them by.

    It takes a prefix for a pattern, in which a bracket or a backslash of a folder's name does not stand for itself.
    """
    if not _PATTERN.search(str(prefix)):
        yield str(prefix)
        return
    usual = tempfile.gettempdir()
    places = (place for place in _PLAINLY_NAMED if os.access(place, os.W_OK | os.X_OK))
    with tempfile.TemporaryDirectory(dir=next(places, usual) if _PATTERN.search(usual) else usual) as folder:
        for suffix in SUFFIXES:
            Path(folder, f"checkpoint{suffix}").symlink_to(Path(f"{prefix}{suffix}").absolute())
        yield f"{folder}/checkpoint"


def save(prefix: Path, tensors: Mapping[str, object]) -> None:
    """Writes `tensors` (values keyed by name) as the checkpoint `prefix`: whole or not at all.

    Raises UserError when the disk is full or not writable; nothing half-written stays and files already at `prefix`
    are untouched.
    """
    with _placing(Path(prefix)) as temporary:
        tf.raw_ops.SaveV2(
            prefix=str(temporary),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.convert_to_tensor(value) for value in tensors.values()],
        )


def copy(source: Path, target: Path) -> None:
    """Makes checkpoint `target` the same as `source`, by hard links where the file system has them.

    Raises UserError as `save` does.
    """
    with _placing(Path(target)) as temporary:
        for suffix in SUFFIXES:
            try:
                os.link(f"{source}{suffix}", f"{temporary}{suffix}")
            except OSError:
                shutil.copyfile(f"{source}{suffix}", f"{temporary}{suffix}")


@contextlib.contextmanager
def _placing(prefix: Path) -> Iterator[Path]:
    """Yields a temporary prefix; what was written there is flushed to disk and renamed to `prefix`, the index last."""
    temporary = temporary_beside(prefix)
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for suffix in SUFFIXES:
            flush_to_disk(f"{temporary}{suffix}")
        # What was there stops being complete before any of it changes: data and index never come from two checkpoints.
        Path(f"{prefix}.index").unlink(missing_ok=True)
        for suffix in SUFFIXES:
            os.replace(f"{temporary}{suffix}", f"{prefix}{suffix}")
        with contextlib.suppress(OSError):  # some file systems cannot flush a directory
            flush_to_disk(prefix.parent)
    except (tf.errors.OpError, OSError) as error:
        reason = as_os_error(error)
        raise UserError(
            f"cannot write checkpoint {prefix}: {reason.strerror}. {advice_on(reason, 'choose another `output_dir`')}; "
            "the checkpoints written before are intact, and the same command continues from them."
        ) from error
    finally:
        for leftover in temporary.parent.glob(f"{glob.escape(temporary.name)}*"):
            leftover.unlink(missing_ok=True)


def delete(prefix: Path) -> None:
    """Removes a checkpoint, the index first, so that what is left is never taken for complete."""
    for suffix in reversed(SUFFIXES):
        Path(f"{prefix}{suffix}").unlink(missing_ok=True)


def clean_up(directory: Path) -> None:
    """Puts in order what a killed writer left. Only the process that writes here may call it.

    A checkpoint that only had to be renamed is finished; other temporary files are removed. The index is
    written last, so where that is there the data are whole.
    """
    for index in sorted(Path(directory).glob("model.ckpt-*.tmp-*.index")):
        temporary = index.with_suffix("")
        prefix = temporary.with_name(temporary.name.rpartition(".tmp-")[0])
        if not Path(f"{prefix}.index").exists():
            for suffix in SUFFIXES:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{temporary}{suffix}", f"{prefix}{suffix}")
    for leftover in Path(directory).glob("model.ckpt-*.tmp-*"):
        leftover.unlink(missing_ok=True)


def write_state(directory: Path, names: Sequence[str]) -> None:
    """Writes TensorFlow's `checkpoint` file, which `tf.train.latest_checkpoint` reads; the newest name comes last."""
    lines = [f'model_checkpoint_path: "{names[-1]}"'] + [f'all_model_checkpoint_paths: "{name}"' for name in names]
    write_text(Path(directory) / "checkpoint", "\n".join(lines) + "\n")


def read_state(directory: Path) -> list[str]:
    """The names that `write_state` wrote; none where its file is missing or not readable."""
    try:
        text = read_regular(Path(directory) / "checkpoint").decode()
    except (OSError, ValueError):
        return []
    return re.findall(r'^all_model_checkpoint_paths: "(.*)"$', text, re.MULTILINE)
