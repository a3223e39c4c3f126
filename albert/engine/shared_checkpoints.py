"""Checkpoints that the chief of several workers chooses and all of them read.

The state of a large model would not fit through a collective at an acceptable price, so that all read the same file.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from albert.engine import checkpoint_files
from albert.engine.checkpoint_store import CheckpointStore, State
from albert.engine.workers import Workers
from albert.errors import UserError

Choice = Callable[[], tuple[Path, State] | None]


def load_together(workers: Workers, store: CheckpointStore, choose: Choice) -> tuple[Path, State] | None:
    """The checkpoint that `choose`, a method of `store`, loads on the chief, and its state, on all workers.

    Raises UserError on all where one of them does not find it in its own directory, or finds another.
    """
    if workers.count == 1:
        return choose()
    found = workers.on_chief(choose)
    chosen = workers.agree(lambda: None if found is None else [str(found[0].absolute()), digest_of(found[1])])
    if chosen is None:
        return None
    chiefs, digest = chosen
    return workers.together(lambda: found or _read(store.path(Path(chiefs).name.partition("-")[2]), chiefs, digest))


def _read(prefix: Path, chiefs: str, digest: str) -> tuple[Path, State]:
    """The checkpoint of this worker that the chief calls `chiefs`."""
    try:
        state = checkpoint_files.load_tensors(prefix)
        problem = None if digest_of(state) == digest else "it holds other numbers"
    except UserError as error:
        problem = str(error)
    if problem is None:
        return prefix, state
    raise UserError(
        f"{prefix.absolute()} is not what worker 0 reads as {chiefs} ({problem}). `output_dir` must be a folder "
        "that all workers share."
    )


def digest_of(state: Mapping[str, Any]) -> str:
    """The first 16 digits of the SHA-256 of names and numbers; `state` has arrays or variables."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = np.asarray(state[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
