"""Starts a model from a checkpoint: which entry each variable is read from, and what became of every name.

`assignment_map` decides by names alone; `load_weights` checks shapes and types before it assigns anything.
"""

import dataclasses
import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import tensorflow as tf

from albert.custom_optimization import OPTIMIZERS
from albert.engine.checkpoint_files import GLOBAL_STEP, open_checkpoint
from albert.errors import UserError

# What upstream's discard_classifier_weights looks for in a name; "attention_1/output/dense" has a slash there.
CLASSIFIER_MARK = "output_"
# What only training needs; upstream's LAMB calls its slots otherwise than ours.
_SLOT_NAMES = {"lamb_m", "lamb_v"}.union(*(optimizer.slot_names for optimizer in OPTIMIZERS.values()))


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
    with open_checkpoint(prefix) as reader:
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
    return name == GLOBAL_STEP or name.rpartition("/")[2] in _SLOT_NAMES


def _check_shapes(prefix, weights, chosen, shapes) -> None:
    for name, entry in chosen.items():
        ours, theirs = list(weights[name].shape), list(shapes[entry])
        if ours == theirs:
            continue
        advice = "Use the albert_config.json that belongs to the checkpoint."
        if entry == "bert/embeddings/word_embeddings":
            advice = "vocab_size in albert_config.json and the checkpoint must agree. " + advice
        if CLASSIFIER_MARK in name:
            advice = "To start this task with a fresh head, add `discard_classifier_weights`."
        raise UserError(f"{prefix}: {entry} has shape {theirs}, but the model needs {ours}. {advice}")


def _check_types(prefix, weights, chosen, dtypes) -> None:
    for name, entry in chosen.items():
        ours, theirs = weights[name].dtype, dtypes[entry]
        if ours != theirs:
            raise UserError(
                f"{prefix}: {entry} has type {theirs.name}, but the model needs {ours.name}. "
                "Save the checkpoint again in that type."
            )
