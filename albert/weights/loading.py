"""Starts a model from a checkpoint: which entry each variable is read from, and what became of every name.

`assignment_map` decides by names alone; `load_weights` checks names, shapes and types before it assigns anything.
Every variable of the encoder comes from the file. Only heads may start fresh, and a pooler that the file never had.
"""

import dataclasses
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.custom_optimization import OPTIMIZERS
from albert.engine.checkpoint_files import GLOBAL_STEP
from albert.errors import UserError
from albert.system.json_text import short_text
from albert.system.printing import counted
from albert.system.progress import progress_bar
from albert.weights.differences import CLASSIFIER_MARK, Mismatch, check_coverage, check_shapes, no_encoder
from albert.weights.named_tensors import NamedTensors, Reader
from albert.weights.names import (
    POOLER,
    WORD_PROJECTION,
    WORD_TABLE,
    Names,
    canonical_names,
    has_use_for_pooler,
    is_constant,
    is_of_known_head,
    is_of_pretraining,
    remarks_on,
)
from albert.weights.paths import format_of, open_weights, remarks_on_adapters
from albert.weights.stored_tensors import Block

# What only training needs: our slots, upstream's, those of TensorFlow's optimizers, and the state of a loss scale.
_SLOT_NAMES = {"lamb_m", "lamb_v", "AdamWeightDecayOptimizer", "AdamWeightDecayOptimizer_1", "LAMBOptimizer"}.union(
    ("LAMBOptimizer_1", "Adam", "Adam_1", "Momentum"), *(optimizer.slot_names for optimizer in OPTIMIZERS.values())
)
_TRAINING_SCALARS = {GLOBAL_STEP, "beta1_power", "beta2_power", "good_steps", "loss_scale", "current_loss_scale"}
_SHOWN_UNUSED = 5
_SHOWN_UNREAD = 3
_BYTES_WITH_PROGRESS = 100_000_000
_BYTES_AT_ONCE = 16 << 20


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of every name: variables read (and from which entry), left at their initial value, entries unused.

    `remarks` are sentences on what is unusual.
    """

    loaded: Mapping[str, str]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def log(self, prefix: Path, expects_new_head: bool = False) -> None:
        """One line on what was loaded; warnings on what is unusual.

        Fresh variables are a warning, unless `expects_new_head` and they are the whole head.
        """
        are_a_head = not any(name.startswith("bert/") for name in self.fresh)
        is_whole = all(name.startswith("bert/") for name in self.loaded)
        is_expected = expects_new_head and are_a_head and is_whole
        fresh = f"newly initialised (not in the checkpoint or discarded): {', '.join(self.fresh)}"
        parts = [f"{counted(len(self.loaded), 'variable')} loaded"]
        of_pretraining = tuple(name for name in self.unused if is_of_pretraining(name))
        others = tuple(name for name in self.unused if name not in of_pretraining)
        if of_pretraining:
            parts.append(
                f"{counted(len(of_pretraining), 'entr', 'ies', 'y')} of the pretraining heads unused, as usual "
                f"({_shortened(of_pretraining)})"
            )
        if others:
            parts.append(f"{counted(len(others), 'entr', 'ies', 'y')} unused ({_shortened(others)})")
        if self.fresh and is_expected:
            parts.append(f"{counted(len(self.fresh), 'variable')} of the task's new head {fresh}")
        logging.info("%s (%s): %s", prefix, format_of(prefix), ", ".join(parts))
        for remark in self.remarks:
            logging.warning("%s: %s.", prefix, remark)
        if self.fresh and not is_expected:
            logging.warning("%s: %s", prefix, fresh)


def _shortened(names: Sequence[str]) -> str:
    """The names of entries; of many, what they begin with."""
    shown = [short_text(name) for name in names]
    if len(shown) > _SHOWN_UNUSED:
        shown = list(dict.fromkeys("/".join([*name.split("/")[:2], "..."]) for name in shown))
    more = f", and {len(shown) - _SHOWN_UNUSED} more" if len(shown) > _SHOWN_UNUSED else ""
    return ", ".join(shown[:_SHOWN_UNUSED]) + more


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
    """Assigns what the checkpoint at `prefix` (see `paths`) holds for `weights`; outside a replica, of all.

    Raises UserError when the checkpoint is missing or damaged, when a variable of the encoder (`bert/`) is not in it
    or it has others than the model, and when a shape, a type or a value cannot be that of a weight. Nothing is assigned
    then. Values are read twice, one variable at a time, so that a large model is never in memory a second time.
    """
    with open_weights(prefix) as reader:
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
        names = canonical_names(shapes)
        chosen = assignment_map(list(weights), names.entries, num_of_group, discard_classifier_weights)
        if not any(name.startswith("bert/") for name in chosen):
            raise no_encoder(prefix, len(weights), shapes)
        used = {names.entries[name] for name in chosen.values()}
        if WORD_PROJECTION in names.entries and WORD_TABLE in chosen:
            used.add(names.entries[WORD_PROJECTION])
            shapes |= _shape_of_product(prefix, names, shapes, tuple(weights[WORD_TABLE].shape))
        unused = [entry for name, entry in names.entries.items() if entry not in used and not _is_state(name, names)]
        remarks = _check_encoder(prefix, weights, chosen, names, unused, num_of_group)
        remarks += _remarks_on_unread(unused, names, shapes) + remarks_on_adapters(prefix)
        check_shapes(prefix, _mismatches(weights, chosen, names, shapes))
        dtypes = reader.get_variable_to_dtype_map()
        remarks += _check_types(prefix, weights, chosen, names, dtypes)
        _check_values(prefix, reader, chosen, names, weights)
        for name, source in _with_progress(chosen, weights, "load"):
            _assign(weights[name], reader, names, source)
    loaded = {name: names.entries[source] for name, source in chosen.items()}
    fresh = tuple(name for name in weights if name not in chosen)
    return LoadReport(loaded, fresh, tuple(sorted(unused)), tuple(remarks))


def _is_state(name: str, names: Names) -> bool:
    """Slots lie below their variable's name, as moving averages beside the weights do; no weight does."""
    parent, _, leaf = name.rpartition("/")
    return name in _TRAINING_SCALARS or leaf in _SLOT_NAMES or parent in names.entries


def _check_encoder(
    prefix: Path,
    weights: Mapping[str, tf.Variable],
    chosen: Mapping[str, str],
    names: Names,
    unused: Collection[str],
    num_of_group: int,
) -> list[str]:
    """Raises UserError unless the encoders of file and model are the same; what to remark on those that are."""
    canonical = {entry: name for name, entry in names.entries.items()}
    missing = [name for name in weights if name.startswith("bert/") and name not in chosen]
    stray = [
        entry for entry in unused if canonical[entry].startswith("bert/") and not is_constant(canonical[entry])
    ]  # fmt: skip
    remarks = []
    if names.layouts:
        remarks.append(f"its names were mapped ({', '.join(names.layouts)})")
        remarks += remarks_on(names.layouts)
    if num_of_group > 1 and stray and not missing:
        found = counted(len(stray), "entr", "ies", "y")
        remarks.append(f"not used of its encoder: {found}, among them {short_text(stray[0])}")
        stray = []
    if set(missing) == set(POOLER) and not stray and not has_use_for_pooler(names.entries):
        remarks.append("it has no pooler (bert/pooler/dense), which starts from random values")
        missing = []
    check_coverage(prefix, missing, stray, weights, list(names.entries))
    return remarks


def _remarks_on_unread(unused: Collection[str], names: Names, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """On entries that may change what a model computes, such as an adapter's, but are part of none that is known here.

    Numbers, as an optimizer's or a counter's, and what has a variable's name inside its own, as slots, are passed over.
    """
    encoder = [name for name in names.entries if name.startswith("bert/")]
    canonical = {entry: name for name, entry in names.entries.items()}
    unread = [
        short_text(entry)
        for entry in sorted(unused)
        if shapes[entry] != ()
        and not is_of_known_head(canonical[entry])
        and not any(part in canonical[entry] for part in encoder)
    ]
    if not unread:
        return []
    more = f", and {len(unread) - _SHOWN_UNREAD} more" if len(unread) > _SHOWN_UNREAD else ""
    shown = ", ".join(unread[:_SHOWN_UNREAD])
    return [
        f"{counted(len(unread), 'entr', 'ies are', 'y is')} not used, as this model has no such part: {shown}{more}"
    ]


def _mismatches(
    weights: Mapping[str, tf.Variable],
    chosen: Mapping[str, str],
    names: Names,
    shapes: Mapping[str, tuple[int, ...]],
) -> list[Mismatch]:
    compared = [
        Mismatch(name, names.entries[source], tuple(weights[name].shape), shapes[names.entries[source]])
        for name, source in chosen.items()
    ]
    return [pair for pair in compared if pair.ours != pair.theirs]


def _shape_of_product(
    prefix: Path, names: Names, shapes: Mapping[str, tuple[int, ...]], ours: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """The word table's entry, with the shape that it has once it is multiplied by albert_zh's projection.

    Positions and the first normalisation there are as wide as the layers, so that only a model without a smaller
    embedding computes the same.
    """
    table, projection = (shapes[names.entries[name]] for name in (WORD_TABLE, WORD_PROJECTION))
    if len(table) != 2 or len(projection) != 2 or table[1] != projection[0] or projection[1:] != ours[1:]:
        raise UserError(
            f"{prefix} has albert_zh's embeddings: a word table {list(table)} times a projection {list(projection)}, "
            f"normalised behind it, but the model's table is {list(ours)}. In albert_config.json set embedding_size to "
            "hidden_size: their product is then read as the table, which computes the same."
        )
    return {names.entries[WORD_TABLE]: (table[0], projection[1])}


def _check_types(
    prefix: Path,
    weights: Mapping[str, tf.Variable],
    chosen: Mapping[str, str],
    names: Names,
    dtypes: Mapping[str, tf.DType | str],
) -> list[str]:
    """Raises UserError for a type that is no floating point; a remark on those of other widths, which are converted."""
    converted = {}
    for name, source in chosen.items():
        entry = names.entries[source]
        ours, theirs = weights[name].dtype, tf.as_dtype(dtypes[entry])
        if not theirs.is_floating:
            raise UserError(
                f"{prefix}: {short_text(entry)} has type {theirs.name}, but the model needs {ours.name}. "
                "Save the checkpoint again in that type."
            )
        if ours != theirs:
            converted[entry] = theirs.name
    if not converted:
        return []
    kinds = ", ".join(sorted(set(converted.values())))
    return [f"{counted(len(converted), 'entr', 'ies', 'y')} of type {kinds}, converted to the model's"]


def _blocks(reader: Reader, names: Names, source: str, dtype: tf.DType) -> Iterator[Block]:
    """The parts of a variable's value, as the file is read, of the variable's type."""
    entry = names.entries[source]
    if source == WORD_TABLE and WORD_PROJECTION in names.entries:
        factors = (np.asarray(reader.get_tensor(name), np.float64) for name in (entry, names.entries[WORD_PROJECTION]))
        blocks = _cut(np.matmul(*factors))
    else:
        blocks = reader.get_blocks(entry) if isinstance(reader, NamedTensors) else _cut(reader.get_tensor(entry))
    for begin, block in blocks:
        with np.errstate(over="ignore"):  # an infinity is found by _check_values
            yield begin, np.asarray(block).astype(dtype.as_numpy_dtype, copy=False)


def _cut(value: np.ndarray) -> Iterator[Block]:
    """Parts of rows."""
    value = np.asarray(value)
    num_rows = max(1, _BYTES_AT_ONCE // max(1, value[:1].nbytes)) if value.ndim else 1
    for first in range(0, len(value) if value.ndim else 1, num_rows):
        yield (first, *[0] * (value.ndim - 1))[: value.ndim], value[first : first + num_rows] if value.ndim else value


def _assign(variable: tf.Variable, reader: Reader, names: Names, source: str) -> None:
    """In parts: TensorFlow copies what it is given more than once."""
    shape = tuple(variable.shape)
    whole = None
    for begin, block in _blocks(reader, names, source, variable.dtype):
        if block.shape == shape:
            variable.assign(block)
        elif isinstance(variable, tf.distribute.DistributedValues):  # which cannot be assigned in parts
            whole = np.empty(shape, block.dtype) if whole is None else whole
            whole[tuple(slice(at, at + size) for at, size in zip(begin, block.shape, strict=True))] = block
        else:
            end = [at + size for at, size in zip(begin, block.shape, strict=True)]
            tf.raw_ops.ResourceStridedSliceAssign(
                ref=variable.handle, begin=list(begin), end=end, strides=[1] * len(end), value=block
            )
    if whole is not None:
        variable.assign(whole)


def _check_values(
    prefix: Path, reader: Reader, chosen: Mapping[str, str], names: Names, weights: Mapping[str, tf.Variable]
) -> None:
    bad = [
        source
        for name, source in _with_progress(chosen, weights, "check")
        if not all(_is_finite(block) for _, block in _blocks(reader, names, source, weights[name].dtype))
    ]
    if bad:
        more = counted(len(bad) - 1, "more entr", "ies", "y")
        others = f", and so in {more}" if len(bad) > 1 else ""
        first = short_text(names.entries[bad[0]])
        raise UserError(f"{prefix}: {first} holds NaN or infinite values{others}. Use an earlier checkpoint.")


def _is_finite(value: np.ndarray) -> bool:
    # Both are NaN where one value is. Asking every value would take a fourth of its memory for the answers.
    return value.size == 0 or bool(np.isfinite(value.min()) and np.isfinite(value.max()))


def _with_progress(
    chosen: Mapping[str, str], weights: Mapping[str, tf.Variable], what: str
) -> Iterator[tuple[str, str]]:
    """The items of `chosen`; with a progress bar, of bytes, where there are many."""
    sizes = {name: weights[name].shape.num_elements() * weights[name].dtype.size for name in chosen}
    is_small = sum(sizes.values()) < _BYTES_WITH_PROGRESS
    with progress_bar(
        total=sum(sizes.values()),
        desc=f"{what} weights",
        unit="B",
        unit_scale=True,
        disable=True if is_small else None,
        leave=False,
    ) as bar:
        for name, source in chosen.items():
            yield name, source
            bar.update(sizes[name])
