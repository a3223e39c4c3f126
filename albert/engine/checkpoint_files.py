"""Weights in and out of TF1 name-based checkpoints, the one format for interchange and for resuming.

Owns names, files and what matches what. Knows nothing of training. A checkpoint is a prefix with two files,
`<prefix>.index` and `<prefix>.data-00000-of-00001`; `tf.train.load_checkpoint`, TensorFlow 1.15 and upstream's code
read it.
"""

import contextlib
import dataclasses
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from albert.engine.checkpoint_index import check_index
from albert.errors import UserError
from albert.system.files import advice_on, as_os_error, flush_to_disk, temporary_beside, write_text

SUFFIXES = (".data-00000-of-00001", ".index")
GLOBAL_STEP = "global_step"
# What upstream's discard_classifier_weights looks for in a name; "attention_1/output/dense" has a slash there.
CLASSIFIER_MARK = "output_"


class DamagedCheckpoint(UserError):
    """A checkpoint that is there, but lacks one of its files or cannot be read."""


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of every name: variables read (and from which entry), left at their initial value, entries unused."""

    loaded: Mapping[str, str]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def log(self, prefix: Path) -> None:
        """One line with the counts, and one each naming fresh variables and unused entries."""
        logging.info(
            "%s: %d variables loaded, %d fresh, %d entries unused",
            prefix, len(self.loaded), len(self.fresh), len(self.unused),
        )  # fmt: skip
        if self.fresh:
            logging.info("fresh (not in the checkpoint or discarded): %s", ", ".join(self.fresh))
        if self.unused:
            logging.info("unused entries of the checkpoint: %s", ", ".join(self.unused))


def has_traces(prefix: Path) -> bool:
    """Whether at least one file of the checkpoint is there."""
    return any(Path(f"{prefix}{suffix}").is_file() for suffix in SUFFIXES)


def exists(prefix: Path) -> bool:
    """Whether both files of the checkpoint are there; the index is placed last, so this means complete."""
    return all(Path(f"{prefix}{suffix}").is_file() for suffix in SUFFIXES)


def assignment_map(
    variables: Collection[str],
    entries: Collection[str],
    num_of_group: int = 0,
    discard_classifier_weights: bool = False,
) -> dict[str, str]:
    """Variable name -> checkpoint entry it starts from, by upstream's `get_assignment_map_from_checkpoint`.

    The same name wins. With more than one group, a name that is missing falls back to group 0, then to the first
    `ffn`, then to the first `attention` of its block, so that a one-group checkpoint can start a model of many.
    """
    fallbacks = ((r"/group_\d+/", "/group_0/"), (r"/ffn_\d+/", "/ffn_1/"), (r"/attention_\d+/", "/attention_1/"))
    chosen = {}
    for name in variables:
        if name in entries and not (discard_classifier_weights and CLASSIFIER_MARK in name):
            chosen[name] = name
        elif num_of_group > 1:
            for pattern, replacement in fallbacks:
                candidate = re.sub(pattern, replacement, name)
                if re.search(pattern, name) and candidate in entries:
                    chosen[name] = candidate
                    break
    return chosen


def load_weights(
    prefix: Path,
    weights: Mapping[str, tf.Variable],
    discard_classifier_weights: bool = False,
    num_of_group: int = 0,
) -> LoadReport:
    """Assigns what the checkpoint at `prefix` holds for `weights`; outside a replica, it reaches all of them.

    Raises UserError when the checkpoint is missing or damaged, naming both shapes when one differs, and when it holds
    nothing for the encoder at all.
    """
    with _reader(prefix) as reader:
        shapes = reader.get_variable_to_shape_map()
        chosen = assignment_map(list(weights), shapes, num_of_group, discard_classifier_weights)
        _check_shapes(prefix, weights, chosen, shapes)
        _check_types(prefix, weights, chosen, reader.get_variable_to_dtype_map())
        if not any(name.startswith("bert/") for name in chosen):
            raise UserError(
                f"{prefix} holds none of the encoder's {len(weights)} variables (bert/...); it begins with "
                f"{', '.join(sorted(shapes)[:3])}. A TF1 name-based ALBERT checkpoint is needed."
            )
        values = {name: reader.get_tensor(entry) for name, entry in chosen.items()}
    for name, value in values.items():
        weights[name].assign(value)
    fresh = tuple(name for name in weights if name not in chosen)
    unused = tuple(sorted(name for name in set(shapes) - set(chosen.values()) if not _is_training_state(name)))
    return LoadReport(chosen, fresh, unused)


def _is_training_state(name: str) -> bool:
    return name == GLOBAL_STEP or name.rsplit("/", 1)[-1] in ("adam_m", "adam_v", "lamb_m", "lamb_v")


def _check_shapes(prefix, weights, chosen, shapes) -> None:
    for name, entry in chosen.items():
        ours, theirs = list(weights[name].shape), list(shapes[entry])
        if ours == theirs:
            continue
        advice = "Use the albert_config.json that belongs to the checkpoint."
        if entry == "bert/embeddings/word_embeddings":
            advice = "vocab_size in albert_config.json and the checkpoint must agree. " + advice
        if CLASSIFIER_MARK in name:
            advice = "To start this task with a fresh head, add --discard_classifier_weights."
        raise UserError(f"{prefix}: {entry} has shape {theirs}, but the model needs {ours}. {advice}")


def _check_types(prefix, weights, chosen, dtypes) -> None:
    for name, entry in chosen.items():
        ours, theirs = weights[name].dtype, dtypes[entry]
        if ours != theirs:
            raise UserError(
                f"{prefix}: {entry} has type {theirs.name}, but the model needs {ours.name}. "
                "Save the checkpoint again in that type."
            )


def load_tensors(prefix: Path) -> dict[str, np.ndarray]:
    """Every entry of the checkpoint. Raises UserError when it is missing, and DamagedCheckpoint when it is damaged."""
    with _reader(prefix) as reader:
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@contextlib.contextmanager
def _reader(prefix: Path) -> Iterator[Any]:
    """Opens a checkpoint; TensorFlow's errors, also those of reading entries, become one line."""
    if not exists(prefix):
        missing = [f"{prefix}{suffix}" for suffix in SUFFIXES if not Path(f"{prefix}{suffix}").is_file()]
        kind = DamagedCheckpoint if has_traces(prefix) else UserError
        raise kind(
            f"checkpoint {prefix} is incomplete or missing: no {' and no '.join(missing)}. "
            "Give the prefix without .index; ./download_pretrained_models.sh fetches Google's models."
        )
    data, index = (Path(f"{prefix}{suffix}") for suffix in SUFFIXES)
    try:
        check_index(index, data.stat().st_size)
        yield tf.train.load_checkpoint(str(prefix))
    # The reader's C++ errors come as built-in exceptions; a file that is too short is an IndexError.
    except (tf.errors.OpError, OSError, RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, UserError):
            raise
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DamagedCheckpoint(f"checkpoint {prefix} cannot be read, it may be damaged: {reason}") from error


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
            f"cannot write checkpoint {prefix}: {reason.strerror}. {advice_on(reason, 'choose another --output_dir')}; "
            "the checkpoints written before are intact, and the same command continues from them."
        ) from error
    finally:
        for leftover in temporary.parent.glob(f"{temporary.name}*"):
            leftover.unlink(missing_ok=True)


def delete(prefix: Path) -> None:
    """Removes a checkpoint, the index first, so that what is left is never taken for complete."""
    for suffix in reversed(SUFFIXES):
        Path(f"{prefix}{suffix}").unlink(missing_ok=True)


def clean_up(directory: Path) -> None:
    """Puts in order what a killed writer left. Only the process that writes here may call it.

    A checkpoint of which only the renaming was left to do is finished; other temporary files are removed. The index is
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
        text = (Path(directory) / "checkpoint").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    return re.findall(r'^all_model_checkpoint_paths: "(.*)"$', text, re.MULTILINE)
