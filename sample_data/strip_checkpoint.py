#!/usr/bin/env python3
"""Copies a checkpoint without what only training needs, the optimizer's slots and the step.

python -m sample_data.strip_checkpoint SOURCE_PREFIX TARGET_PREFIX
"""

import sys
from pathlib import Path

from albert.custom_optimization import SLOT_NAMES
from albert.engine import checkpoint_files


def strip(source: Path, target: Path) -> None:
    """Writes the weights of the checkpoint `source` as `target`."""
    tensors = checkpoint_files.load_tensors(source)
    is_state = {name: name == checkpoint_files.GLOBAL_STEP or name.rpartition("/")[2] in SLOT_NAMES for name in tensors}
    checkpoint_files.save(target, {name: value for name, value in sorted(tensors.items()) if not is_state[name]})


if __name__ == "__main__":
    strip(*map(Path, sys.argv[1:]))
